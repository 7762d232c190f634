// Attention by plain C calls, for tests and measurements: contiguous arrays in, one array out.
#pragma once

#include <cstdint>

extern "C" {

/// What an attention call is about. int8: q [B, T, H, D], k and v [B, S, G, D] are codes with scales and zeros, one a
/// (token, head); float: values, and the other pointers are null. With `heads_first` tokens and heads change places.
struct pocketlm_case {
  int64_t batch, tokens, slots, heads, kv_heads, width;
  int64_t start;  // of the causal mode
  int64_t mode;   // 0: slots 0 .. start + T - 1; 1: causal; 2: mask
  int64_t heads_first, is_int8, is_serial;
  const void *q, *k, *v;
  const float *q_scales, *k_scales, *v_scales;
  const int8_t *q_zeros, *k_zeros, *v_zeros;
  const float* mask;  // [T, S]
  float* out;         // as q
  double scale;
};

/// Computes the case on path `isa` ("" or null: the best). Returns null, or a sentence that says what is wrong.
const char* pocketlm_attend(const char* isa, const pocketlm_case* what);

/// The names of the paths that this processor runs, separated by spaces, best first.
const char* pocketlm_paths();

/// Whether the calling thread runs ExecuTorch's tasks, stock kernels' included, alone.
void pocketlm_set_serial(int is_on);
}
