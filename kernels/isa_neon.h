// NEON with dot product (ARMv8.2): 4 lanes; four signed bytes times four signed bytes in one instruction (sdot).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace pocketlm {
namespace {

struct NeonDot {
  using F = float32x4_t;
  using I = int32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kTile = 4;  // vectors a row of a tile: 6 rows * 4 sums of 32 registers
  static constexpr bool kHasDots = true;
  static constexpr bool kHasDigits = false;
  static constexpr int kKeyOffset = 0;

  static F load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, F x) { vst1q_f32(p, x); }
  static F set(float x) { return vdupq_n_f32(x); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F max(F a, F b) { return vmaxq_f32(a, b); }
  static F round(F x) { return vrndnq_f32(x); }
  static F times_power_of_two(F x, F n) {
    const I bits = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return mul(x, vreinterpretq_f32_s32(bits));
  }
  static float reduce_max(F x) { return vmaxvq_f32(x); }
  static float reduce_add(F x) { return vaddvq_f32(x); }
  static float first(F x) { return vgetq_lane_f32(x, 0); }
  static F keep_first(F x, int count, F other) {
    const I places = {0, 1, 2, 3};
    return vbslq_f32(vcltq_s32(places, vdupq_n_s32(count)), x, other);
  }
  static F widen(const int8_t* p) {
    const int8x8_t four = vreinterpret_s8_s32(vld1_dup_s32(reinterpret_cast<const int32_t*>(p)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))));
  }

  static I iload(const int32_t* p) { return vld1q_s32(p); }
  static void istore(int32_t* p, I x) { vst1q_s32(p, x); }
  static I iset(int32_t x) { return vdupq_n_s32(x); }
  static I iadd(I a, I b) { return vaddq_s32(a, b); }
  static I isub(I a, I b) { return vsubq_s32(a, b); }
  static I imul(I a, I b) { return vmulq_s32(a, b); }
  static F to_float(I x) { return vcvtq_f32_s32(x); }
  static I bits(F x) { return vreinterpretq_s32_f32(x); }
  static F floats(I x) { return vreinterpretq_f32_s32(x); }

  /// sums + four signed bytes of each word of `a` times four signed bytes of `b`.
  static I dot(I sums, I a, I b) { return vdotq_s32(sums, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)); }
  static I load_codes(const int8_t* p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }

  /// 4 x 4 words.
  static void transpose(I (&r)[4]) {
    const int64x2_t ab_low = vreinterpretq_s64_s32(vzip1q_s32(r[0], r[1]));
    const int64x2_t ab_high = vreinterpretq_s64_s32(vzip2q_s32(r[0], r[1]));
    const int64x2_t cd_low = vreinterpretq_s64_s32(vzip1q_s32(r[2], r[3]));
    const int64x2_t cd_high = vreinterpretq_s64_s32(vzip2q_s32(r[2], r[3]));
    r[0] = vreinterpretq_s32_s64(vzip1q_s64(ab_low, cd_low));
    r[1] = vreinterpretq_s32_s64(vzip2q_s64(ab_low, cd_low));
    r[2] = vreinterpretq_s32_s64(vzip1q_s64(ab_high, cd_high));
    r[3] = vreinterpretq_s32_s64(vzip2q_s64(ab_high, cd_high));
  }
};

}  // namespace
}  // namespace pocketlm
