// The ceilings of processors with AVX2: 32 products of 8-bit integers in three instructions.
#if defined(__x86_64__)
#include <immintrin.h>

#include "runner/roofline.h"
#include "runner/roofline_sum.h"

namespace pocketlm {
namespace {

constexpr int kAccumulators = 8;

bool is_supported() { return __builtin_cpu_supports("avx2"); }

int64_t multiply(int a, int b, size_t steps) {
  __m256i left = _mm256_set1_epi8(static_cast<char>(a)), right = _mm256_set1_epi8(static_cast<char>(b));
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[kAccumulators] = {};
  for (auto& sum : sums) asm volatile("" : "+x"(sum));  // or all of them would be computed as one
  for (size_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      asm volatile("" : "+x"(left), "+x"(right));  // each product is computed for itself
      const __m256i pairs = _mm256_maddubs_epi16(left, right);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  return add_lanes(sums);
}

}  // namespace

extern const Loops avx2_loops;
const Loops avx2_loops{"AVX2", is_supported, sum_words<32>, multiply, kAccumulators * 32};

}  // namespace pocketlm

#endif  // __x86_64__
