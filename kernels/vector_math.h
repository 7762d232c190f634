// Arithmetic over an instruction set's vectors that all paths share.
//
// An instruction set ("Isa", isa_*.h) has W lanes of float (F) or int32 (I) and the operations on them. Everything here
// is a template over it or local to its file: code compiled for one processor must not be linked into another's path.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/attention.h"

namespace pocketlm {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLeastExponent = -127.0f;  // 2^x below it is taken for 0

/// 2^x for x <= 0, relative error <= 2e-7; 0 below 2^-126.5 and at -infinity.
///
/// x = n + f with |f| <= 1/2; the polynomial for 2^f is minimax of degree 6 in relative error, 1.9e-9 (fitted by Remez'
/// exchange on [-1/2, 1/2]); float rounding is the rest.
template <typename Isa>
inline typename Isa::F exp2_of_negative(typename Isa::F x) {
  x = Isa::max(Isa::set(kLeastExponent), x);  // in this order a NaN stays one
  const typename Isa::F n = Isa::round(x), f = Isa::sub(x, n);
  typename Isa::F r = Isa::set(0.00015345810970757157f);
  r = Isa::fma(r, f, Isa::set(0.0013399930903688073f));
  r = Isa::fma(r, f, Isa::set(0.009618489071726799f));
  r = Isa::fma(r, f, Isa::set(0.05550328642129898f));
  r = Isa::fma(r, f, Isa::set(0.24022646248340607f));
  r = Isa::fma(r, f, Isa::set(0.6931471824645996f));
  r = Isa::fma(r, f, Isa::set(1.0f));
  return Isa::times_power_of_two(r, n);
}

/// Calls `body` with the number `count` (1 .. Most) as a constant of the compiler.
template <int Most, typename Body>
inline void with_constant(int count, Body&& body) {
  if (count == Most) {
    body(std::integral_constant<int, Most>{});
  } else if constexpr (Most > 1) {
    with_constant<Most - 1>(count, body);
  }
}

inline int64_t up_to_multiple(int64_t value, int64_t of) { return (value + of - 1) / of * of; }
inline int least(int a, int b) { return a < b ? a : b; }

/// The keys that are worked on together: slots that some row sees, gathered in order.
template <int Most>
struct KeyBlock {
  int count = 0;
  bool is_plain = true;  // every row sees all of them, with nothing to add
  int32_t slots[Most];

  KeyBlock(const Run* runs, int64_t num_runs) : runs_(runs), end_(runs + num_runs) {}

  /// The next keys; false after the last.
  bool next() {
    count = 0;
    is_plain = true;
    while (runs_ != end_ && count < Most) {
      const int taken = least(Most - count, runs_->count - used_);
      for (int i = 0; i < taken; ++i) slots[count + i] = runs_->start + used_ + i;
      is_plain = is_plain && runs_->is_plain;
      count += taken;
      used_ += taken;
      if (used_ == runs_->count) ++runs_, used_ = 0;
    }
    return count > 0;
  }

 private:
  const Run* runs_;
  const Run* end_;
  int32_t used_ = 0;  // of the first run
};

/// The keys or the values of one batch and key-value head.
template <typename T>
struct Source {
  const T* values;
  int64_t stride;
  const float* scales;
  const int8_t* zeros;
  int64_t params_stride;

  Source(const Operand<T>& from, int64_t batch, int64_t head)
      : values(from.values + batch * from.strides.batch + head * from.strides.head),
        stride(from.strides.token),
        scales(from.scales ? from.scales + batch * from.params.batch + head * from.params.head : nullptr),
        zeros(from.zeros ? from.zeros + batch * from.params.batch + head * from.params.head : nullptr),
        params_stride(from.params.token) {}

  const T* row(int64_t slot) const { return values + slot * stride; }
};

/// Scales and zeros (plus `offset`) of a block's keys, one after the other, and zeros up to a multiple of `padding`.
template <typename T, typename Zero, int Keys>
inline void load_params(const Source<T>& from, const KeyBlock<Keys>& block, int padding, int offset,
                        float* __restrict scales, Zero* __restrict zeros) {
  const float* __restrict from_scales = from.scales;
  const int8_t* __restrict from_zeros = from.zeros;
  const int32_t* __restrict slots = block.slots;
  const int64_t stride = from.params_stride;
  const int count = block.count;
  for (int i = 0; i < count; ++i) {
    scales[i] = from_scales[slots[i] * stride];
    zeros[i] = static_cast<Zero>(from_zeros[slots[i] * stride] + offset);
  }
  for (int i = count; i % padding; ++i) scales[i] = 0, zeros[i] = 0;
}

/// W values of a row from `values` on as floats, less `zero`; those past `count` are 0.
template <typename Isa, typename T>
inline typename Isa::F load_values(const T* values, int64_t count, [[maybe_unused]] int zero) {
  if (count >= Isa::kLanes) {
    if constexpr (std::is_same_v<T, float>) {
      return Isa::load(values);
    } else {
      return Isa::sub(Isa::widen(values), Isa::set(static_cast<float>(zero)));
    }
  }
  alignas(64) float whole[Isa::kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      whole[i] = values[i];
    } else {
      whole[i] = static_cast<float>(values[i] - zero);
    }
  }
  return Isa::load(whole);
}

}  // namespace
}  // namespace pocketlm
