// Vectors of four floats in the compiler's own notation (GCC and Clang), for any processor.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace pocketlm {
namespace {

struct Portable {
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  static constexpr int kLanes = 4;
  static constexpr int kTile = 2;  // vectors a row of a tile: 6 rows * 2 sums of 16 registers
  static constexpr bool kHasDots = false;
  static constexpr bool kHasDigits = false;

  static F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
  static F set(float x) { return F{x, x, x, x}; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static F max(F a, F b) { return a > b ? a : b; }
  /// To whole numbers, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits behind the point (to even at halves).
  static F round(F x) {
    volatile float magic = 12582912.0f;  // volatile: the compiler must not cancel it
    const F m = set(magic);
    return (x + m) - m;
  }
  static F times_power_of_two(F x, F n) {
    const I bits = (__builtin_convertvector(n, I) + 127) << 23;
    return x * floats(bits);
  }
  static float reduce_max(F x) {
    const float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
  }
  static float reduce_add(F x) { return (x[0] + x[2]) + (x[1] + x[3]); }
  static float first(F x) { return x[0]; }
  static F keep_first(F x, int count, F other) { return I{0, 1, 2, 3} < I{count, count, count, count} ? x : other; }
  static F widen(const int8_t* p) {
    return F{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
  }

  static I iset(int32_t x) { return I{x, x, x, x}; }
  static I bits(F x) {
    I y;
    std::memcpy(&y, &x, sizeof y);
    return y;
  }
  static F floats(I x) {
    F y;
    std::memcpy(&y, &x, sizeof y);
    return y;
  }

  static void transpose(I (&r)[4]) {
    for (int i = 0; i < 4; ++i) {
      for (int j = i + 1; j < 4; ++j) {
        const int32_t word = r[i][j];
        r[i][j] = r[j][i];
        r[j][i] = word;
      }
    }
  }
};

}  // namespace
}  // namespace pocketlm
