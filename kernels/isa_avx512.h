// AVX-512 with VNNI: 16 lanes; four unsigned bytes times four signed bytes in one instruction (dpbusd).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pocketlm {
namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int kLanes = 16;
  static constexpr int kTile = 4;  // vectors a row of a tile: 6 rows * 4 sums of 32 registers
  static constexpr bool kHasDots = true;
  static constexpr bool kHasDigits = true;
  static constexpr int kKeyOffset = 128;  // keys are the unsigned factor

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F round(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F times_power_of_two(F x, F n) {
    const I bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return mul(x, _mm512_castsi512_ps(bits));
  }
  static float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
  static float reduce_add(F x) { return _mm512_reduce_add_ps(x); }
  static float first(F x) { return _mm512_cvtss_f32(x); }
  static F keep_first(F x, int count, F other) {
    const auto kept = count <= 0 ? __mmask16(0) : static_cast<__mmask16>((1u << (count < 16 ? count : 16)) - 1u);
    return _mm512_mask_blend_ps(kept, other, x);
  }
  static F widen(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }

  static I iload(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void istore(int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  static I iset(int32_t x) { return _mm512_set1_epi32(x); }
  static I iadd(I a, I b) { return _mm512_add_epi32(a, b); }
  static I isub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I imul(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static I shift_left_8(I x) { return _mm512_slli_epi32(x, 8); }
  static int32_t ireduce_add(I x) { return _mm512_reduce_add_epi32(x); }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static I to_int(F x) { return _mm512_cvtps_epi32(x); }
  static I bits(F x) { return _mm512_castps_si512(x); }
  static F floats(I x) { return _mm512_castsi512_ps(x); }

  /// sums + four unsigned bytes of each word of `a` times four signed bytes of `b`.
  /// Written as assembly because GCC 12 copies and spills the sums of _mm512_dpbusd_epi32 in every round of a loop.
  static I dot(I sums, I a, I b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
    return sums;
  }
  /// 64 codes, made unsigned.
  static I load_codes(const int8_t* p) { return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128)); }
  static I load_bytes(const int8_t* p) { return _mm512_loadu_si512(p); }

  /// 16 x 16 words: doubles the distance between exchanged words four times.
  static void transpose(I (&r)[16]) {
#pragma GCC unroll 24
    for (int i = 0; i < 16; i += 4) {  // r[i + j], lane L: word 4L + j of rows i .. i + 3
      const I ab_low = _mm512_unpacklo_epi32(r[i], r[i + 1]), ab_high = _mm512_unpackhi_epi32(r[i], r[i + 1]);
      const I cd_low = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]), cd_high = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
      r[i] = _mm512_unpacklo_epi64(ab_low, cd_low);
      r[i + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
      r[i + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
      r[i + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
#pragma GCC unroll 24
    for (int j = 0; j < 4; ++j) transpose_lanes(r[j], r[4 + j], r[8 + j], r[12 + j]);
  }

  /// Words of the four rows' codes (made unsigned) at each of 64 places, to 64 words: lane L of vector x holds places
  /// 16 L + 4 x .. + 3.
  static void interleave(const int8_t* const rows[4], int32_t* words) {
    I r[4];
    for (int i = 0; i < 4; ++i) r[i] = load_codes(rows[i]);
    const I ab_low = _mm512_unpacklo_epi8(r[0], r[1]), ab_high = _mm512_unpackhi_epi8(r[0], r[1]);
    const I cd_low = _mm512_unpacklo_epi8(r[2], r[3]), cd_high = _mm512_unpackhi_epi8(r[2], r[3]);
    istore(words, _mm512_unpacklo_epi16(ab_low, cd_low));
    istore(words + 16, _mm512_unpackhi_epi16(ab_low, cd_low));
    istore(words + 32, _mm512_unpacklo_epi16(ab_high, cd_high));
    istore(words + 48, _mm512_unpackhi_epi16(ab_high, cd_high));
  }
  /// 64 sums in the order of places.
  static void undo_interleave(float* sums) {
    I r[4];
    for (int i = 0; i < 4; ++i) r[i] = bits(load(sums + 16 * i));
    transpose_lanes(r[0], r[1], r[2], r[3]);
    for (int i = 0; i < 4; ++i) store(sums + 16 * i, floats(r[i]));
  }

  /// Signed bytes with steps = hi * 2^16 + mid * 2^8 + lo, for 0 <= steps <= 127 * (2^16 + 2^8 + 1).
  static void store_digits(I steps, int8_t* hi, int8_t* mid, int8_t* lo) {
    const I offset = _mm512_set1_epi32(0x8080);
    const I digits = _mm512_xor_si512(_mm512_add_epi32(steps, offset), offset);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lo), _mm512_cvtepi32_epi8(digits));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(mid), _mm512_cvtepi32_epi8(_mm512_srli_epi32(digits, 8)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(hi), _mm512_cvtepi32_epi8(_mm512_srli_epi32(digits, 16)));
  }

 private:
  /// 4 x 4 lanes of 128 bits.
  static void transpose_lanes(I& a, I& b, I& c, I& d) {
    const I ab_low = _mm512_shuffle_i32x4(a, b, 0x44), ab_high = _mm512_shuffle_i32x4(a, b, 0xee);
    const I cd_low = _mm512_shuffle_i32x4(c, d, 0x44), cd_high = _mm512_shuffle_i32x4(c, d, 0xee);
    a = _mm512_shuffle_i32x4(ab_low, cd_low, 0x88);
    b = _mm512_shuffle_i32x4(ab_low, cd_low, 0xdd);
    c = _mm512_shuffle_i32x4(ab_high, cd_high, 0x88);
    d = _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd);
  }
};

}  // namespace
}  // namespace pocketlm
