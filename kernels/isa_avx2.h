// AVX2 with FMA: 8 lanes, products in float.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pocketlm {
namespace {

struct Avx2 {
  using F = __m256;
  using I = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kTile = 2;  // vectors a row of a tile: 6 rows * 2 sums of 16 registers
  static constexpr bool kHasDots = false;
  static constexpr bool kHasDigits = false;

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F times_power_of_two(F x, F n) {
    const I bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return mul(x, _mm256_castsi256_ps(bits));
  }
  static float reduce_max(F x) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
  }
  static float reduce_add(F x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  static float first(F x) { return _mm256_cvtss_f32(x); }
  static F keep_first(F x, int count, F other) {
    const I kept = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(kept));
  }
  static F widen(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }

  static I iset(int32_t x) { return _mm256_set1_epi32(x); }
  static I bits(F x) { return _mm256_castps_si256(x); }
  static F floats(I x) { return _mm256_castsi256_ps(x); }

  /// 8 x 8 words: doubles the distance between exchanged words three times.
  static void transpose(I (&r)[8]) {
#pragma GCC unroll 24
    for (int i = 0; i < 8; i += 4) {  // r[i + j], lane L: word 4L + j of rows i .. i + 3
      const I ab_low = _mm256_unpacklo_epi32(r[i], r[i + 1]), ab_high = _mm256_unpackhi_epi32(r[i], r[i + 1]);
      const I cd_low = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]), cd_high = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
      r[i] = _mm256_unpacklo_epi64(ab_low, cd_low);
      r[i + 1] = _mm256_unpackhi_epi64(ab_low, cd_low);
      r[i + 2] = _mm256_unpacklo_epi64(ab_high, cd_high);
      r[i + 3] = _mm256_unpackhi_epi64(ab_high, cd_high);
    }
#pragma GCC unroll 24
    for (int j = 0; j < 4; ++j) {
      const I low = r[j], high = r[4 + j];
      r[j] = _mm256_permute2x128_si256(low, high, 0x20);
      r[4 + j] = _mm256_permute2x128_si256(low, high, 0x31);
    }
  }
};

}  // namespace
}  // namespace pocketlm
