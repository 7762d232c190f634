// The ceilings of ARM processors with 8-bit matrix products (i8mm): 32 products an instruction.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "runner/roofline.h"
#include "runner/roofline_sum.h"

namespace pocketlm {
namespace {

constexpr int kAccumulators = 16;

bool is_supported() { return getauxval(AT_HWCAP2) & HWCAP2_I8MM; }

int64_t multiply(int a, int b, size_t steps) {
  int8x16_t left = vdupq_n_s8(static_cast<int8_t>(a)), right = vdupq_n_s8(static_cast<int8_t>(b));
  int32x4_t sums[kAccumulators] = {};
  for (auto& sum : sums) asm volatile("" : "+w"(sum));  // or all of them would be computed as one
  for (size_t step = 0; step < steps; ++step) {
    asm volatile("" : "+w"(left), "+w"(right));
#pragma GCC unroll 16
    for (auto& sum : sums) sum = vmmlaq_s32(sum, left, right);
  }
  return add_lanes(sums);
}

}  // namespace

extern const Loops i8mm_loops;
const Loops i8mm_loops{"NEON i8mm", is_supported, sum_words<16>, multiply, kAccumulators * 32};

}  // namespace pocketlm

#endif  // __aarch64__
