// The ceilings of processors with VNNI in 256 bits only: 32 products of 8-bit integers an instruction.
#if defined(__x86_64__)
#include <immintrin.h>

#include "runner/roofline.h"
#include "runner/roofline_sum.h"

namespace pocketlm {
namespace {

constexpr int kAccumulators = 12;

bool is_supported() { return __builtin_cpu_supports("avxvnni"); }

int64_t multiply(int a, int b, size_t steps) {
  __m256i left = _mm256_set1_epi8(static_cast<char>(a)), right = _mm256_set1_epi8(static_cast<char>(b));
  __m256i sums[kAccumulators] = {};
  for (auto& sum : sums) asm volatile("" : "+x"(sum));  // or all of them would be computed as one
  for (size_t step = 0; step < steps; ++step) {
    asm volatile("" : "+x"(left), "+x"(right));
#pragma GCC unroll 16
    for (auto& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, left, right);
  }
  return add_lanes(sums);
}

}  // namespace

extern const Loops avxvnni_loops;
const Loops avxvnni_loops{"AVX-VNNI", is_supported, sum_words<32>, multiply, kAccumulators * 32};

}  // namespace pocketlm

#endif  // __x86_64__
