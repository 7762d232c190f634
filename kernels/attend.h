// One task of attention for one instruction set: blocks of keys, softmax that goes along (Milakov and Gimelshein, arXiv
// 1805.02867; blocked as in FlashAttention, arXiv 2205.14135).
//
// Each block of keys is packed once and used by all rows of a key-value head, which are the task's tokens times the
// query heads that share it. Exponents are of 2: scores carry the factor log2(e).
#pragma once

#include "kernels/scores.h"
#include "kernels/values.h"

namespace pocketlm {
namespace {

template <typename Isa, typename T, bool UsesDots, int Keys>
struct ScoresOf {
  using Type = FloatScores<Isa, T, Keys>;
};
template <typename Isa, int Keys>
struct ScoresOf<Isa, int8_t, true, Keys> {
  using Type = DotScores<Isa, Keys>;
};
template <typename Isa, typename T, bool UsesDigits, int Keys>
struct ValuesOf {
  using Type = FloatValues<Isa, T, Keys>;
};
template <typename Isa, int Keys>
struct ValuesOf<Isa, int8_t, true, Keys> {
  using Type = DigitValues<Isa, Keys>;
};

template <typename Isa, typename T>
class Worker {
 public:
  using F = typename Isa::F;
  static constexpr int kLanes = Isa::kLanes;
  static constexpr bool kIsSmall = std::is_same_v<T, int8_t> && Isa::kHasDigits;  // packed codes, not floats
  static constexpr int kKeys = kIsSmall ? 128 : 64;                              // what stays in a first-level cache
  static constexpr int kGroups = kKeys / kLanes;
  using Scores = typename ScoresOf<Isa, T, Isa::kHasDots, kKeys>::Type;
  using Values = typename ValuesOf<Isa, T, Isa::kHasDigits, kKeys>::Type;

  Worker(Arena& arena, const Call<T>& call, const Task& task)
      : call_(call),
        task_(task),
        group_(call.heads / call.kv_heads),
        rows_a_head_(task.tokens * group_),
        padded_(Values::padded(call.width)),
        scores_(arena, rows_a_head_ * task.heads, call.width),
        values_(arena, call.width),
        maxima_(arena.take<float>(rows_a_head_ * task.heads)),
        totals_(arena.take<float>(rows_a_head_ * task.heads * kLanes)),
        sums_(arena.take<float>(rows_a_head_ * task.heads * padded_)),
        weights_(arena.take<float>(kRowsATile * kKeys)),
        bias_(arena.take<float>(kKeys)) {}

  void work() {
    load_queries();
    KeyBlock<kKeys> block(task_.runs, task_.num_runs);
    while (block.next()) {
      next_ = block.slots[0] + kKeys;
      for (int64_t g = 0; g < task_.heads; ++g) {
        scores_.pack(Source<T>(call_.k, task_.batch, task_.first_head + g), block);
        values_.pack(Source<T>(call_.v, task_.batch, task_.first_head + g), block);
        const int64_t first = g * rows_a_head_;
        for (int64_t r = 0; r < rows_a_head_; r += kRowsATile) {
          attend_rows(first + r, least(kRowsATile, static_cast<int>(rows_a_head_ - r)), block);
        }
      }
    }
    for (int64_t row = 0; row < rows_a_head_ * task_.heads; ++row) write(row);
  }

 private:
  int64_t token_of(int64_t row) const { return task_.first_token + row % rows_a_head_ / group_; }
  int64_t head_of(int64_t row) const {
    return (task_.first_head + row / rows_a_head_) * group_ + row % rows_a_head_ % group_;
  }

  [[gnu::noinline]] void load_queries() {
    const Operand<T>& q = call_.q;
    for (int64_t row = 0; row < rows_a_head_ * task_.heads; ++row) {
      const int64_t token = token_of(row), head = head_of(row);
      const int64_t at = task_.batch * q.params.batch + token * q.params.token + head * q.params.head;
      const float scale = q.scales ? q.scales[at] * call_.scale : call_.scale;
      const T* from = q.values + task_.batch * q.strides.batch + token * q.strides.token + head * q.strides.head;
      scores_.load_query(row, from, scale, q.zeros ? q.zeros[at] : 0);
      maxima_[row] = -__builtin_inff();
      for (int i = 0; i < kLanes; ++i) totals_[row * kLanes + i] = 0;
      for (int64_t d = 0; d < padded_; ++d) sums_[row * padded_ + d] = 0;
    }
  }

  /// How many keys of the block, from its first on, a row may see; a mask may hide some of them.
  int seen(int64_t row, const KeyBlock<kKeys>& block) const {
    if (block.is_plain || call_.mask) return block.count;
    const int64_t end = call_.keys + (call_.is_causal ? token_of(row) : 0) - block.slots[0];
    return end <= 0 ? 0 : least(block.count, static_cast<int>(end < kKeys ? end : kKeys));
  }

  void attend_rows(int64_t row, int rows, const KeyBlock<kKeys>& block) {
    const int most = seen(row + rows - 1, block);  // the last row's token is the latest
    if (most == 0) return;
    const int groups = (most + kLanes - 1) / kLanes;
    float decays[kRowsATile];
    scores_.multiply(row, rows, groups, weights_);
    int64_t masked_token = -1;
    for (int i = 0; i < rows; ++i) {
      const bool is_masked = call_.mask && !block.is_plain;
      if (is_masked && masked_token != token_of(row + i)) {
        masked_token = token_of(row + i);
        load_mask(masked_token, block);
      }
      const int visible = seen(row + i, block);
      fetch_ahead(row + i);
      float* weights = weights_ + i * kKeys;
      if (groups == kGroups && visible == kKeys && !is_masked) {
        decays[i] = softmax<kGroups>(row + i, kGroups, kKeys, nullptr, weights);
      } else {
        decays[i] = softmax<0>(row + i, groups, visible, is_masked ? bias_ : nullptr, weights);
      }
    }
    values_.accumulate(rows, most, weights_, decays, sums_ + row * padded_);
  }

  /// Asks for a row's share of the keys and values that come next, while this block is computed. Slots mostly follow
  /// each other, and where they do not, nothing is lost. (Inlined by force: GCC drops calls that only prefetch.)
  [[gnu::always_inline]] void fetch_ahead(int64_t row) const {
    const int64_t rows = rows_a_head_ * task_.heads;
    fetch_share(call_.k, row, rows);
    fetch_share(call_.v, row, rows);
  }

  [[gnu::always_inline]] void fetch_share(const Operand<T>& from, int64_t row, int64_t rows) const {
    const int64_t first = task_.batch * from.strides.batch + task_.first_head * from.strides.head;
    const auto* start = reinterpret_cast<const char*>(from.values + first + next_ * from.strides.token);
    const int64_t bytes = kKeys * from.strides.token * static_cast<int64_t>(sizeof(T));
    for (int64_t at = bytes * row / rows; at < bytes * (row + 1) / rows; at += 64) __builtin_prefetch(start + at, 0, 2);
  }

  void load_mask(int64_t token, const KeyBlock<kKeys>& block) {
    const float* mask = call_.mask + token * call_.mask_stride;
    for (int i = 0; i < block.count; ++i) bias_[i] = mask[block.slots[i]] * kLog2E;
    for (int i = block.count; i % kLanes; ++i) bias_[i] = 0;
  }

  /// Turns a row's products into weights of the values and its running maximum and total into those with the block.
  ///
  /// Args: Fixed, the groups where that is known to the compiler, else 0; visible, how many keys count.
  /// Returns: what the row's earlier sums are multiplied by.
  template <int Fixed>
  [[gnu::noinline]] float softmax(int64_t row, int num_groups, int visible, const float* bias, float* weights) {
    const int groups = Fixed ? Fixed : num_groups;
    const F hidden = Isa::set(-__builtin_inff());
    F x[kGroups], most = hidden;
    for (int g = 0; g < groups; ++g) {
      x[g] = scores_.score(row, g, weights);
      if (!Fixed) {
        if (bias) x[g] = Isa::add(x[g], Isa::load(bias + g * kLanes));
        if ((g + 1) * kLanes > visible) x[g] = Isa::keep_first(x[g], visible - g * kLanes, hidden);
      }
      most = Isa::max(most, x[g]);
    }
    const float before = maxima_[row], block = Isa::reduce_max(most), maximum = before > block ? before : block;
    maxima_[row] = maximum;
    const F from = Isa::set(maximum == -__builtin_inff() ? 0.0f : maximum);
    F total = Isa::set(0.0f);
    for (int g = 0; g < groups; ++g) {
      const F p = exp2_of_negative<Isa>(Isa::sub(x[g], from));
      const F weight = values_.weigh(p, g);
      total = Isa::add(total, p);
      if constexpr (kIsSmall) total = Isa::fma(weight, Isa::set(0.0f), total);  // integers would hide a NaN
      Isa::store(weights + g * kLanes, weight);
    }
    const F decay = exp2_of_negative<Isa>(Isa::sub(Isa::set(before), from));
    float* totals = totals_ + row * kLanes;
    Isa::store(totals, Isa::fma(Isa::load(totals), decay, total));
    return Isa::first(decay);
  }

  [[gnu::noinline]] void write(int64_t row) {
    const float total = Isa::reduce_add(Isa::load(totals_ + row * kLanes));
    float* sums = sums_ + row * padded_;
    values_.restore_order(sums);
    if (task_.partial) {
      float* to = task_.partial + row * (call_.width + 2);
      to[0] = maxima_[row];
      to[1] = total;
      for (int64_t d = 0; d < call_.width; ++d) to[2 + d] = sums[d];
      return;
    }
    const Strides& at = call_.out_strides;
    float* to = call_.out + task_.batch * at.batch + token_of(row) * at.token + head_of(row) * at.head;
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;  // no key: zeros
    for (int64_t d = 0; d < call_.width; ++d) to[d] = sums[d] * inverse;
  }

  const Call<T>& call_;
  const Task& task_;
  int64_t group_, rows_a_head_, padded_;
  Scores scores_;
  Values values_;
  float* maxima_;   // [rows]
  float* totals_;   // [rows, W]: parts of the sum of probabilities
  float* sums_;     // [rows, DP]
  float* weights_;  // [kRowsATile, kKeys]: products, then weights
  float* bias_;     // [kKeys]: one token's mask
  int64_t next_ = 0;  // slot of the next block
};

template <typename Isa, typename T>
void attend_with(const Call<T>& call, const Task& task) {
  Arena size(nullptr);
  Worker<Isa, T>(size, call, task);
  Arena arena(scratch(Scratch::kTask, size.used()));
  Worker<Isa, T>(arena, call, task).work();
}

}  // namespace
}  // namespace pocketlm
