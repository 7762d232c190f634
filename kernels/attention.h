// One call of attention in raw pointers and strides, and the paths (instruction sets) that can compute it.
//
// Shapes: B batch, T query tokens, S cache slots, H query heads, G key-value heads, R = H / G, D head width.
#pragma once

#include <cstdint>

namespace pocketlm {

/// How far apart neighbours lie, in elements.
struct Strides {
  int64_t batch, token, head;
};

/// [B, tokens, heads, D] with D contiguous: float values, or int8 codes of value (code - zero) * scale.
template <typename T>
struct Operand {
  const T* values;
  Strides strides;
  const float* scales;  // a (token, head) each; null where T is float
  const int8_t* zeros;
  Strides params;  // of scales and of zeros
};

/// softmax(q k^T * scale + mask) v for every row, where a row is a (batch, token, query head).
///
/// With a mask, row t sees the slots whose mask is not -inf. Without one it sees slots 0 .. keys + t * is_causal - 1.
/// A slot that no row sees is never read. A row that sees nothing comes out as zeros.
template <typename T>
struct Call {
  int64_t batch, tokens, slots, heads, kv_heads, width;
  Operand<T> q, k, v;
  float* out;
  Strides out_strides;
  float scale;
  const float* mask;  // [T, S], added to the scores; null: none
  int64_t mask_stride;
  int64_t keys;  // that token 0 sees
  bool is_causal;
};

/// Slots that at least one row of a task sees.
struct Run {
  int32_t start, count;
  bool is_plain;  // every row sees all of them, with nothing to add
};

/// What one thread computes at a time: some tokens and key-value heads over some keys.
struct Task {
  int64_t batch, first_token, tokens, first_head, heads;
  const Run* runs;  // in the order of slots
  int64_t num_runs;
  float* partial;  // [heads, tokens, R, D + 2] (maximum, sum, weighted values); null: writes Call::out
};

/// One way to compute, for one instruction set.
struct Path {
  const char* name;   // as $POCKETLM_ISA has it
  const char* title;  // for people
  bool (*is_supported)();
  void (*attend_int8)(const Call<int8_t>&, const Task&);
  void (*attend_float)(const Call<float>&, const Task&);
};

/// Computes a whole call on ExecuTorch's threads. The result does not depend on their number.
void attend(const Path& path, const Call<int8_t>& call);
void attend(const Path& path, const Call<float>& call);

}  // namespace pocketlm
