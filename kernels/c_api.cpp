// Attention by plain C calls, for tests and measurements.
#include "kernels/c_api.h"

#include <string>

#include "kernels/attention.h"
#include "kernels/parallel.h"
#include "kernels/paths.h"

namespace pocketlm {
namespace {

Strides strides(const pocketlm_case& c, int64_t tokens, int64_t heads, int64_t width) {
  const int64_t token = c.heads_first ? width : heads * width, head = c.heads_first ? tokens * width : width;
  return {tokens * heads * width, token, head};
}

template <typename T>
Operand<T> operand(const pocketlm_case& c, int64_t tokens, int64_t heads, const void* values, const float* scales,
                   const int8_t* zeros) {
  return {static_cast<const T*>(values), strides(c, tokens, heads, c.width), scales, zeros,
          strides(c, tokens, heads, 1)};
}

template <typename T>
void attend_case(const Path& path, const pocketlm_case& c) {
  Call<T> call;
  call.batch = c.batch, call.tokens = c.tokens, call.slots = c.slots;
  call.heads = c.heads, call.kv_heads = c.kv_heads, call.width = c.width;
  call.q = operand<T>(c, c.tokens, c.heads, c.q, c.q_scales, c.q_zeros);
  call.k = operand<T>(c, c.slots, c.kv_heads, c.k, c.k_scales, c.k_zeros);
  call.v = operand<T>(c, c.slots, c.kv_heads, c.v, c.v_scales, c.v_zeros);
  call.out = c.out;
  call.out_strides = strides(c, c.tokens, c.heads, c.width);
  call.scale = static_cast<float>(c.scale);
  call.mask = c.mode == 2 ? c.mask : nullptr;
  call.mask_stride = c.slots;
  call.keys = c.mode == 1 ? c.start + 1 : c.start + c.tokens;
  call.is_causal = c.mode == 1;
  attend(path, call);
}

}  // namespace
}  // namespace pocketlm

extern "C" const char* pocketlm_attend(const char* isa, const pocketlm_case* what) {
  const char* error = nullptr;
  const pocketlm::Path* path = pocketlm::choose_path(isa, &error);
  if (!path) return error;
  const pocketlm::Serially serially(what->is_serial != 0);
  if (what->is_int8) {
    pocketlm::attend_case<int8_t>(*path, *what);
  } else {
    pocketlm::attend_case<float>(*path, *what);
  }
  return nullptr;
}

extern "C" void pocketlm_set_serial(int is_on) { pocketlm::set_serial(is_on != 0); }

extern "C" const char* pocketlm_paths() {
  static const std::string names = [] {
    std::string text;
    for (const pocketlm::Path* path : pocketlm::all_paths()) {
      if (path->is_supported()) text.append(text.empty() ? "" : " ").append(path->name);
    }
    return text;
  }();
  return names.c_str();
}
