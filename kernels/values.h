// Weighted sums of values for a block of keys.
//
// Two kinds: values as floats, and values as the bytes that they are, with weights as fixed-point numbers of three
// bytes.
// Shapes: W lanes, D head width, DP the width of a row of sums (D rounded up).
#pragma once

#include "kernels/scores.h"

namespace pocketlm {
namespace {

/// Sums in float; codes of int8 are made floats once a block.
template <typename Isa, typename T, int Keys>
class FloatValues {
 public:
  using F = typename Isa::F;
  static constexpr int kLanes = Isa::kLanes;

  static int64_t padded(int64_t width) { return up_to_multiple(width, kLanes); }

  FloatValues(Arena& arena, int64_t width)
      : width_(width),
        padded_(padded(width)),
        values_(arena.take<float>(Keys * padded_)),
        scales_(arena.take<float>(Keys)) {}

  [[gnu::noinline]] void pack(const Source<T>& values, const KeyBlock<Keys>& block) {
    for (int i = 0; i < block.count; ++i) {
      const int64_t slot = block.slots[i];
      const int zero = values.zeros ? values.zeros[slot * values.params_stride] : 0;
      if (values.scales) scales_[i] = values.scales[slot * values.params_stride];
      const T* row = values.row(slot);
      for (int64_t d = 0; d < width_; d += kLanes) {
        Isa::store(values_ + i * padded_ + d, load_values<Isa>(row + d, width_ - d, zero));
      }
    }
    if (values.scales) {
      for (int i = block.count; i % kLanes; ++i) scales_[i] = 0;
    }
  }

  /// What the probabilities of a group's keys are multiplied by.
  F weigh(F probability, int group) const {
    return std::is_same_v<T, float> ? probability : Isa::mul(probability, Isa::load(scales_ + group * kLanes));
  }

  /// sums[i] = sums[i] * decays[i] + sum of weights[i] * values, for `rows` rows.
  void accumulate(int rows, int keys, const float* weights, const float* decays, float* sums) {
    with_constant<kRowsATile>(rows, [&](auto r) {
      const auto dims = static_cast<int>(padded_ / kLanes);
      int d = 0;
      for (; d + Isa::kTile <= dims; d += Isa::kTile) tile<r.value, Isa::kTile>(d, keys, weights, decays, sums);
      for (; d < dims; ++d) tile<r.value, 1>(d, keys, weights, decays, sums);
    });
  }

  void restore_order(float*) const {}

 private:
  template <int Rows, int Dims>
  [[gnu::noinline]] void tile(int first, int keys, const float* weights, const float* decays, float* sums) const {
    F t[Rows * Dims];
    float* place = sums + first * kLanes;
#pragma GCC unroll 24
    for (int n = 0; n < Rows * Dims; ++n) {
      t[n] = Isa::mul(Isa::load(place + n / Dims * padded_ + n % Dims * kLanes), Isa::set(decays[n / Dims]));
    }
    for (int k = 0; k < keys; ++k) {
      F v[Dims];
#pragma GCC unroll 24
      for (int d = 0; d < Dims; ++d) v[d] = Isa::load(values_ + k * padded_ + (first + d) * kLanes);
#pragma GCC unroll 24
      for (int i = 0; i < Rows; ++i) {
        const F w = Isa::set(weights[i * Keys + k]);
#pragma GCC unroll 24
        for (int d = 0; d < Dims; ++d) t[i * Dims + d] = Isa::fma(v[d], w, t[i * Dims + d]);
      }
    }
#pragma GCC unroll 24
    for (int n = 0; n < Rows * Dims; ++n) Isa::store(place + n / Dims * padded_ + n % Dims * kLanes, t[n]);
  }

  int64_t width_, padded_;
  float* values_;  // [Keys, DP]
  float* scales_;  // [Keys]
};

/// Sums in integers: a row's weights of a block become whole steps of (largest weight / kSteps), written as
/// hi * 2^16 + mid * 2^8 + lo with signed bytes; each byte's sum of products with the codes is exact in int32.
///
/// A weight's error is half a step, 6e-8 of the largest weight in the block: a float's own. With encoded values
/// v' = v + 128 and zeros z' = z + 128: sum w (v - z) = sum w v' - sum w z'.
/// Bounds: |sum of hi| <= 127 * 255 * Keys, times 256, stays below 2^31 for Keys <= 256.
template <typename Isa, int Keys>
class DigitValues {
 public:
  using F = typename Isa::F;
  using I = typename Isa::I;
  static constexpr int kLanes = Isa::kLanes;
  static constexpr float kSteps = 8355000.0f;  // at most 127 * (2^16 + 2^8 + 1), with room for rounding
  static constexpr float kLeastWeight = 1e-30f;
  static constexpr int kOffset = 128;  // values are the unsigned factor
  static_assert(Keys <= 256 && Keys % (4 * kLanes) == 0);

  static int64_t padded(int64_t width) { return up_to_multiple(width, kLanes); }

  DigitValues(Arena& arena, int64_t width)
      : width_(width),
        padded_(padded(width)),
        words_(arena.take<int32_t>(Keys / 4 * padded_)),
        zeros_(arena.take<uint8_t>(Keys)),
        scales_(arena.take<float>(Keys)),
        digits_(arena.take<int8_t>(kRowsATile * 3 * Keys)) {}

  [[gnu::noinline]] void pack(const Source<int8_t>& values, const KeyBlock<Keys>& block) {
    load_params(values, block, 4 * kLanes, kOffset, scales_, zeros_);
    const int64_t ahead = Keys * values.stride;
    for (int i = 0; i < block.count; i += 4) {
      const int8_t* rows[4];
      for (int j = 0; j < 4; ++j) {
        rows[j] = values.row(block.slots[least(i + j, block.count - 1)]);  // the last one again: its weight is 0
        for (int64_t d = 0; d < width_; d += 64) __builtin_prefetch(rows[j] + ahead + d, 0, 2);
      }
      interleave(rows, words_ + i / 4 * padded_);
    }
  }

  F weigh(F probability, int group) const { return Isa::mul(probability, Isa::load(scales_ + group * kLanes)); }

  void accumulate(int rows, int keys, const float* weights, const float* decays, float* sums) {
    int32_t rests[kRowsATile][2];
    float steps[kRowsATile];
    const int used = static_cast<int>(up_to_multiple(keys, kLanes));
    for (int i = 0; i < rows; ++i) steps[i] = split_weights(weights + i * Keys, used, digits_ + i * 3 * Keys, rests[i]);
    const int quads = (keys + 3) / 4, dims = static_cast<int>(padded_ / kLanes);
    for (int i = 0; i < rows; i += 2) {
      with_constant<2>(least(2, rows - i), [&](auto r) {
        const auto sum = [&](auto d, int first) {
          tile<r.value, d.value>(first, quads, digits_ + i * 3 * Keys, rests + i, steps + i, decays + i,
                                 sums + i * padded_);
        };
        int first = 0;
        for (; first + 4 <= dims; first += 4) sum(std::integral_constant<int, 4>{}, first);
        if (first < dims) with_constant<3>(dims - first, [&](auto d) { sum(d, first); });
      });
    }
  }

  /// Undoes the order in which `interleave` leaves whole chunks.
  void restore_order(float* sums) const {
    for (int64_t d = 0; d + 4 * kLanes <= width_; d += 4 * kLanes) Isa::undo_interleave(sums + d);
  }

 private:
  /// Words of four keys' codes at the same place.
  void interleave(const int8_t* const rows[4], int32_t* words) const {
    int64_t d = 0;
    for (; d + 4 * kLanes <= width_; d += 4 * kLanes) {
      const int8_t* at[4] = {rows[0] + d, rows[1] + d, rows[2] + d, rows[3] + d};
      Isa::interleave(at, words + d);
    }
    for (; d < width_; ++d) {
      auto* bytes = reinterpret_cast<int8_t*>(words + d);
      for (int j = 0; j < 4; ++j) bytes[j] = static_cast<int8_t>(rows[j][d] ^ -128);
    }
    for (; d < padded_; ++d) words[d] = 0;
  }

  /// Writes the digits of a row's weights, [3, Keys] (hi, mid, lo), and sum w z' as {hi * 2^8 + mid, lo}.
  [[gnu::noinline]] float split_weights(const float* weights, int used, int8_t* digits, int32_t rests[2]) const {
    F most = Isa::set(0.0f);
    for (int k = 0; k < used; k += kLanes) most = Isa::max(most, Isa::load(weights + k));
    const float largest = Isa::reduce_max(most);
    const float factor = largest > kLeastWeight ? kSteps / largest : 0.0f;
    for (int k = 0; k < used; k += kLanes) {
      const I steps = Isa::to_int(Isa::mul(Isa::load(weights + k), Isa::set(factor)));
      Isa::store_digits(steps, digits + k, digits + Keys + k, digits + 2 * Keys + k);
    }
    for (int k = used; k % (4 * kLanes); k += kLanes) {
      Isa::store_digits(Isa::iset(0), digits + k, digits + Keys + k, digits + 2 * Keys + k);
    }
    I sums[3] = {Isa::iset(0), Isa::iset(0), Isa::iset(0)};
    for (int k = 0; k < used; k += 4 * kLanes) {
      const I z = Isa::load_bytes(reinterpret_cast<const int8_t*>(zeros_ + k));
      for (int j = 0; j < 3; ++j) sums[j] = Isa::dot(sums[j], z, Isa::load_bytes(digits + j * Keys + k));
    }
    rests[0] = Isa::ireduce_add(Isa::iadd(Isa::shift_left_8(sums[0]), sums[1]));
    rests[1] = Isa::ireduce_add(sums[2]);
    return largest > kLeastWeight ? largest / kSteps : 0.0f;
  }

  template <int Rows, int Dims>
  [[gnu::noinline]] void tile(int first, int quads, const int8_t* digits, const int32_t (*rests)[2],
                              const float* steps, const float* decays, float* sums) const {
    I t[Rows * 3 * Dims];
#pragma GCC unroll 24
    for (I& sum : t) sum = Isa::iset(0);
    const int32_t* words = words_ + first * kLanes;
    for (int q = 0; q < quads; ++q) {
      I v[Dims];
#pragma GCC unroll 24
      for (int d = 0; d < Dims; ++d) v[d] = Isa::iload(words + q * padded_ + d * kLanes);
#pragma GCC unroll 24
      for (int n = 0; n < Rows * 3; ++n) {
        int32_t four;
        std::memcpy(&four, digits + n * Keys + 4 * q, sizeof four);
        const I w = Isa::iset(four);
#pragma GCC unroll 24
        for (int d = 0; d < Dims; ++d) t[n * Dims + d] = Isa::dot(t[n * Dims + d], v[d], w);
      }
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 24
      for (int d = 0; d < Dims; ++d) {
        float* sum = sums + i * padded_ + (first + d) * kLanes;
        const I high = Isa::iadd(Isa::shift_left_8(t[i * 3 * Dims + d]), t[(i * 3 + 1) * Dims + d]);
        const F low = Isa::to_float(Isa::isub(t[(i * 3 + 2) * Dims + d], Isa::iset(rests[i][1])));
        const F total = Isa::fma(Isa::to_float(Isa::isub(high, Isa::iset(rests[i][0]))), Isa::set(256.0f), low);
        const F before = Isa::mul(Isa::load(sum), Isa::set(decays[i]));
        Isa::store(sum, Isa::fma(total, Isa::set(steps[i]), before));
      }
    }
  }

  int64_t width_, padded_;
  int32_t* words_;  // [Keys / 4, DP]: four encoded codes each
  uint8_t* zeros_;  // [Keys]: z'
  float* scales_;   // [Keys]
  int8_t* digits_;  // [kRowsATile, 3, Keys]
};

}  // namespace
}  // namespace pocketlm
