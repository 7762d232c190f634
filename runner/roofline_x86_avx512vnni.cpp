// The ceilings of processors with AVX-512 VNNI: 64 products of 8-bit integers an instruction.
#if defined(__x86_64__)
#include <immintrin.h>

#include "runner/roofline.h"
#include "runner/roofline_sum.h"

namespace pocketlm {
namespace {

constexpr int kAccumulators = 16;

bool is_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vnni");
}

int64_t multiply(int a, int b, size_t steps) {
  __m512i left = _mm512_set1_epi8(static_cast<char>(a)), right = _mm512_set1_epi8(static_cast<char>(b));
  __m512i sums[kAccumulators] = {};
  for (auto& sum : sums) asm volatile("" : "+v"(sum));  // or all of them would be computed as one
  for (size_t step = 0; step < steps; ++step) {
    asm volatile("" : "+v"(left), "+v"(right));
#pragma GCC unroll 16
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, left, right);
  }
  return add_lanes(sums);
}

}  // namespace

extern const Loops avx512vnni_loops;
const Loops avx512vnni_loops{"AVX-512 VNNI", is_supported, sum_words<64>, multiply, kAccumulators * 64};

}  // namespace pocketlm

#endif  // __x86_64__
