// Products of queries and keys for a block of keys.
//
// A group of W keys is packed so that each of its words holds the same place of W keys, one a lane: a product with a
// query's word then needs no sum across lanes. Two kinds: words of a float, and words of four int8.
// Shapes: rows of queries, W lanes, D head width, U words a key.
#pragma once

#include <cstring>

#include "kernels/scratch.h"
#include "kernels/vector_math.h"

namespace pocketlm {
namespace {

constexpr int kRowsATile = 6;  // query rows whose products are computed together

/// Scores from float products. Codes of int8 are exact in float, and so are sums of D <= 256 of their products.
template <typename Isa, typename T, int Keys>
class FloatScores {
 public:
  using F = typename Isa::F;
  static constexpr int kLanes = Isa::kLanes;
  static constexpr bool kIsInt8 = std::is_same_v<T, int8_t>;

  FloatScores(Arena& arena, int64_t rows, int64_t width)
      : width_(width),
        queries_(arena.take<float>(rows * width)),
        factors_(arena.take<float>(rows)),
        words_(arena.take<float>(Keys * up_to_multiple(width, kLanes))),
        scales_(arena.take<float>(Keys)) {}

  void load_query(int64_t row, const T* values, float scale, int zero) {
    for (int64_t d = 0; d < width_; ++d) queries_[row * width_ + d] = static_cast<float>(values[d] - T(0)) - zero;
    factors_[row] = scale * kLog2E;
  }

  [[gnu::noinline]] void pack(const Source<T>& keys, const KeyBlock<Keys>& block) {
    for (int g = 0; g * kLanes < block.count; ++g) {
      const int count = least(kLanes, block.count - g * kLanes);
      for (int64_t d = 0; d < width_; d += kLanes) pack_words(keys, block.slots + g * kLanes, count, g, d);
    }
    if constexpr (kIsInt8) {
      for (int i = 0; i < block.count; ++i) scales_[i] = keys.scales[block.slots[i] * keys.params_stride];
      for (int i = block.count; i % kLanes; ++i) scales_[i] = 0;
    }
  }

  /// Products of `rows` rows from `row` on with `groups` groups of keys, to `out` [rows, Keys].
  void multiply(int64_t row, int rows, int groups, float* out) const {
    with_constant<kRowsATile>(rows, [&](auto r) {
      int g = 0;
      for (; g + Isa::kTile <= groups; g += Isa::kTile) tile<r.value, Isa::kTile>(row, g, out);
      for (; g < groups; ++g) tile<r.value, 1>(row, g, out);
    });
  }

  /// Scores in units of log 2 of group `group`, from `products` of that row.
  F score(int64_t row, int group, const float* products) const {
    F s = Isa::mul(Isa::load(products + group * kLanes), Isa::set(factors_[row]));
    if constexpr (kIsInt8) s = Isa::mul(s, Isa::load(scales_ + group * kLanes));
    return s;
  }

 private:
  void pack_words(const Source<T>& keys, const int32_t* slots, int count, int group, int64_t d) {
    typename Isa::I r[kLanes];
#pragma GCC unroll 24
    for (int j = 0; j < kLanes; ++j) {
      if (j >= count) {
        r[j] = Isa::iset(0);
        continue;
      }
      const int zero = kIsInt8 ? keys.zeros[slots[j] * keys.params_stride] : 0;
      r[j] = Isa::bits(load_values<Isa>(keys.row(slots[j]) + d, width_ - d, zero));
    }
    Isa::transpose(r);
    float* words = words_ + (group * width_ + d) * kLanes;
    const int64_t left = width_ - d;
#pragma GCC unroll 24
    for (int j = 0; j < kLanes; ++j) {
      if (j < left) Isa::store(words + j * kLanes, Isa::floats(r[j]));
    }
  }

  template <int Rows, int Groups>
  [[gnu::noinline]] void tile(int64_t row, int group, float* out) const {
    F sums[Rows * Groups];
#pragma GCC unroll 24
    for (F& sum : sums) sum = Isa::set(0.0f);
    const float* words = words_ + group * width_ * kLanes;
    const float* queries = queries_ + row * width_;
    for (int64_t d = 0; d < width_; ++d) {
      F k[Groups];
#pragma GCC unroll 24
      for (int j = 0; j < Groups; ++j) k[j] = Isa::load(words + (j * width_ + d) * kLanes);
#pragma GCC unroll 24
      for (int i = 0; i < Rows; ++i) {
        const F q = Isa::set(queries[i * width_ + d]);
#pragma GCC unroll 24
        for (int j = 0; j < Groups; ++j) sums[i * Groups + j] = Isa::fma(k[j], q, sums[i * Groups + j]);
      }
    }
#pragma GCC unroll 24
    for (int n = 0; n < Rows * Groups; ++n) {
      Isa::store(out + n / Groups * Keys + (group + n % Groups) * kLanes, sums[n]);
    }
  }

  int64_t width_;
  float* queries_;  // [rows, D]
  float* factors_;  // [rows]
  float* words_;    // [Keys / W, D, W]
  float* scales_;   // [Keys]
};

/// Scores from int8 products summed in int32: exact.
///
/// With encoded keys k' = k + c and zeros z' = z + c, where c suits the instruction (Isa::kKeyOffset):
/// sum (q - zq)(k - zk) = sum q k' - z' (sum q - D zq) - zq sum k'.
template <typename Isa, int Keys>
class DotScores {
 public:
  using F = typename Isa::F;
  using I = typename Isa::I;
  static constexpr int kLanes = Isa::kLanes;
  static constexpr int64_t kBytes = 4 * kLanes;  // of a vector

  DotScores(Arena& arena, int64_t rows, int64_t width)
      : width_(width),
        num_words_((width + 3) / 4),
        queries_(arena.take<int32_t>(rows * num_words_)),
        rests_(arena.take<int32_t>(rows)),
        zeros_(arena.take<int32_t>(rows)),
        factors_(arena.take<float>(rows)),
        words_(arena.take<int32_t>(Keys * num_words_)),
        sums_(arena.take<int32_t>(Keys)),
        key_zeros_(arena.take<int32_t>(Keys)),
        scales_(arena.take<float>(Keys)) {}

  void load_query(int64_t row, const int8_t* values, float scale, int zero) {
    int32_t sum = 0;
    for (int64_t d = 0; d < width_; ++d) sum += values[d];
    queries_[(row + 1) * num_words_ - 1] = 0;  // the tail of the last word multiplies padding
    std::memcpy(queries_ + row * num_words_, values, static_cast<size_t>(width_));
    rests_[row] = sum - static_cast<int32_t>(width_) * zero;
    zeros_[row] = zero;
    factors_[row] = scale * kLog2E;
  }

  [[gnu::noinline]] void pack(const Source<int8_t>& keys, const KeyBlock<Keys>& block) {
    for (int g = 0; g * kLanes < block.count; ++g) {
      const int count = least(kLanes, block.count - g * kLanes);
      if (count == kLanes && width_ % kBytes == 0) {
        pack_group<true>(keys, block.slots + g * kLanes, kLanes, g);
      } else {
        pack_group<false>(keys, block.slots + g * kLanes, count, g);
      }
    }
    load_params(keys, block, kLanes, Isa::kKeyOffset, scales_, key_zeros_);
  }

  void multiply(int64_t row, int rows, int groups, float* out) const {
    with_constant<kRowsATile>(rows, [&](auto r) {
      int g = 0;
      for (; g + Isa::kTile <= groups; g += Isa::kTile) tile<r.value, Isa::kTile>(row, g, out);
      for (; g < groups; ++g) tile<r.value, 1>(row, g, out);
    });
  }

  F score(int64_t row, int group, const float* products) const {
    const int at = group * kLanes;
    I sum = Isa::bits(Isa::load(products + at));
    sum = Isa::isub(sum, Isa::imul(Isa::iload(key_zeros_ + at), Isa::iset(rests_[row])));
    sum = Isa::isub(sum, Isa::imul(Isa::iload(sums_ + at), Isa::iset(zeros_[row])));
    return Isa::mul(Isa::mul(Isa::to_float(sum), Isa::set(factors_[row])), Isa::load(scales_ + at));
  }

 private:
  /// Args: IsWhole, whether there are W keys and no vector reaches past a key's end.
  template <bool IsWhole>
  [[gnu::noinline]] void pack_group(const Source<int8_t>& keys, const int32_t* slots, int count, int group) {
    const int8_t* rows[kLanes];
    for (int j = 0; j < kLanes; ++j) rows[j] = keys.row(slots[least(j, count - 1)]);
    const int64_t ahead = Keys * keys.stride;
    int32_t* to = words_ + group * num_words_ * kLanes;
    I sums = Isa::iset(0);
    for (int64_t byte = 0; byte < width_; byte += kBytes, to += kLanes * kLanes) {
      I r[kLanes];
#pragma GCC unroll 24
      for (int j = 0; j < kLanes; ++j) {
        r[j] = IsWhole ? Isa::load_codes(rows[j] + byte) : load_codes(rows[j] + byte, width_ - byte);
        __builtin_prefetch(rows[j] + ahead + byte, 0, 2);
      }
      Isa::transpose(r);
      const int64_t words = num_words_ - byte / 4;
#pragma GCC unroll 24
      for (int j = 0; j < kLanes; ++j) {
        if (!IsWhole && j >= words) break;
        Isa::istore(to + j * kLanes, r[j]);
        sums = Isa::dot(sums, r[j], Isa::iset(0x01010101));
      }
    }
    Isa::istore(sums_ + group * kLanes, sums);
  }

  static I load_codes(const int8_t* codes, int64_t count) {
    if (count >= kBytes) return Isa::load_codes(codes);
    alignas(64) int8_t whole[kBytes];
    for (int8_t& code : whole) code = -Isa::kKeyOffset;  // becomes 0
    for (int64_t i = 0; i < count; ++i) whole[i] = codes[i];
    return Isa::load_codes(whole);
  }

  template <int Rows, int Groups>
  [[gnu::noinline]] void tile(int64_t row, int group, float* out) const {
    I sums[Rows * Groups];
#pragma GCC unroll 24
    for (I& sum : sums) sum = Isa::iset(0);
    const int32_t* words = words_ + group * num_words_ * kLanes;
    const int32_t* queries = queries_ + row * num_words_;
    for (int64_t u = 0; u < num_words_; ++u) {
      I k[Groups];
#pragma GCC unroll 24
      for (int j = 0; j < Groups; ++j) k[j] = Isa::iload(words + (j * num_words_ + u) * kLanes);
#pragma GCC unroll 24
      for (int i = 0; i < Rows; ++i) {
        const I q = Isa::iset(queries[i * num_words_ + u]);
#pragma GCC unroll 24
        for (int j = 0; j < Groups; ++j) sums[i * Groups + j] = Isa::dot(sums[i * Groups + j], k[j], q);
      }
    }
#pragma GCC unroll 24
    for (int n = 0; n < Rows * Groups; ++n) {
      Isa::store(out + n / Groups * Keys + (group + n % Groups) * kLanes, Isa::floats(sums[n]));
    }
  }

  int64_t width_, num_words_;
  int32_t* queries_;    // [rows, U]: four codes each
  int32_t* rests_;      // [rows]: sum q - D zq
  int32_t* zeros_;      // [rows]: zq
  float* factors_;      // [rows]
  int32_t* words_;      // [Keys / W, U, W]: four encoded codes each
  int32_t* sums_;       // [Keys]: sum k'
  int32_t* key_zeros_;  // [Keys]: z'
  float* scales_;       // [Keys]
};

}  // namespace
}  // namespace pocketlm
