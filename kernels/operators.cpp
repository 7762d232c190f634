// Our kernels as ExecuTorch calls them: checks what it is given, and hands pointers on.
#include "kernels/operators.h"

#include <executorch/runtime/core/evalue.h>
#include <executorch/runtime/core/event_tracer_hooks.h>
#include <executorch/runtime/core/exec_aten/util/dim_order_util.h>
#include <executorch/runtime/core/exec_aten/util/tensor_util.h>
#include <executorch/runtime/kernel/kernel_runtime_context.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "kernels/paths.h"

namespace pocketlm {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::KernelRuntimeContext;
using executorch::runtime::OpFunction;
using Stack = executorch::runtime::Span<EValue*>;
using Profile = executorch::runtime::internal::EventTracerProfileOpScope;

enum Operator { kQuantizedAttention, kFloatAttention, kUpdateCache, kNumOperators };
constexpr const char* kNames[] = {"llama::custom_quantized_sdpa.out", "llama::custom_sdpa.out",
                                  "llama::update_cache_with_indices.out"};
constexpr const char* kTraceNames[] = {"native_call_llama::custom_quantized_sdpa.out",
                                       "native_call_llama::custom_sdpa.out",
                                       "native_call_llama::update_cache_with_indices.out"};

std::atomic<const Path*> current_path{nullptr};
std::array<std::atomic<OpFunction>, kNumOperators> fallbacks{};

const Path* path() {
  const Path* chosen = current_path.load();
  if (chosen) return chosen;
  const char* error = nullptr;
  chosen = choose_path(std::getenv("POCKETLM_ISA"), &error);
  if (!chosen) ET_LOG(Error, "%s", error);
  current_path = chosen;
  return chosen;
}

/// Logs the sentence and fails the call where `is_right` is false.
bool require(KernelRuntimeContext& context, bool is_right, const char* sentence) {
  if (!is_right) {
    ET_LOG(Error, "attention: %s", sentence);
    context.fail(Error::InvalidArgument);
  }
  return is_right;
}

bool is_contiguous(const Tensor& x) {
  return executorch::runtime::is_contiguous_dim_order(x.dim_order().data(), static_cast<size_t>(x.dim()));
}

std::optional<Tensor> optional_tensor(const EValue& value) {
  return value.isNone() ? std::nullopt : std::optional<Tensor>(value.toTensor());
}

/// q, k or v; tokens are dimension 1 and heads dimension 2, or the other way round.
template <typename T>
struct Input {
  Tensor values;
  std::optional<Tensor> zeros, scales;
  int token_dim;

  int64_t tokens() const { return values.size(token_dim); }
  int64_t heads() const { return values.size(3 - token_dim); }

  bool is_valid() const {
    const auto type = std::is_same_v<T, float> ? ScalarType::Float : ScalarType::Char;
    if (values.dim() != 4 || values.scalar_type() != type || !is_contiguous(values)) return false;
    if constexpr (std::is_same_v<T, float>) return true;
    return zeros && scales && zeros->scalar_type() == ScalarType::Char && scales->scalar_type() == ScalarType::Float &&
           matches(*zeros) && matches(*scales);
  }

  bool matches(const Tensor& params) const {
    if (params.dim() != 4 || !is_contiguous(params)) return false;
    for (int i = 0; i < 3; ++i) {
      if (params.size(i) != values.size(i)) return false;
    }
    return params.size(3) == 1;
  }

  Strides strides(const Tensor& x) const {
    return {x.strides()[0], x.strides()[token_dim], x.strides()[3 - token_dim]};
  }

  Operand<T> operand() const {
    Operand<T> result{values.const_data_ptr<T>(), strides(values), nullptr, nullptr, {}};
    if constexpr (std::is_same_v<T, int8_t>) {
      result.scales = scales->const_data_ptr<float>();
      result.zeros = zeros->const_data_ptr<int8_t>();
      result.params = strides(*scales);
    }
    return result;
  }
};

template <typename T>
struct Inputs {
  Input<T> q, k, v;
  int64_t start;
  std::optional<Tensor> mask;
  bool is_causal;
  std::optional<double> scale;
};

template <typename T>
bool is_valid(KernelRuntimeContext& context, const Inputs<T>& in, const Tensor& out) {
  const auto check = [&](bool is_right, const char* sentence) { return require(context, is_right, sentence); };
  if (!check(in.q.is_valid() && in.k.is_valid() && in.v.is_valid(),
             "q, k and v must be contiguous, with four dimensions, of one type, and with a scale and a zero for each "
             "token and head where they are int8") ||
      !check(out.scalar_type() == ScalarType::Float, "the output must be float32")) {
    return false;
  }
  const int64_t slots = in.k.tokens(), tokens = in.q.tokens();
  const bool agree = in.q.values.size(0) == in.k.values.size(0) && in.q.values.size(3) == in.k.values.size(3);
  bool are_alike = agree;
  for (int i = 0; i < 4; ++i) are_alike = are_alike && in.k.values.size(i) == in.v.values.size(i);
  if (!check(are_alike, "k and v must have the same shape, and q their batch and head width") ||
      !check(in.k.heads() > 0 && in.q.heads() % in.k.heads() == 0, "q's heads must be a multiple of k's heads") ||
      !check(!in.mask || !in.is_causal, "a mask and causal mode exclude each other")) {
    return false;
  }
  if (in.mask) {
    const Tensor& mask = *in.mask;
    return check(mask.dim() == 2 && mask.scalar_type() == ScalarType::Float && is_contiguous(mask) &&
                     mask.size(0) == tokens && mask.size(1) == slots,
                 "the mask must be contiguous float32 [tokens, slots]");
  }
  return check(in.start >= 0 && in.start + tokens <= slots, "the tokens must end within the cache");
}

template <typename T>
void compute(KernelRuntimeContext& context, const Inputs<T>& in, Tensor& out) {
  const Path* chosen = path();
  if (!require(context, chosen != nullptr, "no code for this processor") || !is_valid(context, in, out)) return;
  if (!require(context, executorch::runtime::resize_tensor(out, in.q.values.sizes()) == Error::Ok,
               "the output cannot take q's shape")) {
    return;
  }
  Call<T> call;
  call.batch = in.q.values.size(0), call.tokens = in.q.tokens(), call.slots = in.k.tokens();
  call.heads = in.q.heads(), call.kv_heads = in.k.heads(), call.width = in.q.values.size(3);
  call.q = in.q.operand(), call.k = in.k.operand(), call.v = in.v.operand();
  call.out = out.mutable_data_ptr<float>();
  call.out_strides = in.q.strides(out);
  call.scale = static_cast<float>(in.scale ? *in.scale : 1.0 / std::sqrt(static_cast<double>(call.width)));
  call.mask = in.mask ? in.mask->template const_data_ptr<float>() : nullptr;
  call.mask_stride = call.slots;
  call.keys = in.is_causal ? in.start + 1 : in.start + call.tokens;
  call.is_causal = in.is_causal;
  attend(*chosen, call);
}

template <typename T>
Inputs<T> common_inputs(Stack stack) {
  Inputs<T> in{{stack[0]->toTensor(), {}, {}, 1}, {stack[1]->toTensor(), {}, {}, 1}, {stack[2]->toTensor(), {}, {}, 1},
               stack[3]->toInt(), optional_tensor(*stack[4]), stack[6]->toBool(), {}};
  if (!stack[7]->isNone()) in.scale = stack[7]->toDouble();
  return in;
}

/// Runs the stock kernel for what we have no code for; false: there is none.
bool runs_stock(Operator which, KernelRuntimeContext& context, Stack stack, const Tensor& out) {
  const OpFunction stock = fallbacks[which].load();
  if (out.scalar_type() == ScalarType::Float || !stock) return false;
  stock(context, stack);
  return true;
}

// (q, k, v, start_pos, attn_mask, dropout_p, is_causal, scale, out)
void float_attention(KernelRuntimeContext& context, Stack stack) {
  Tensor& out = stack[8]->toTensor();
  if (runs_stock(kFloatAttention, context, stack, out)) return;
  Profile profile(context.internal_event_tracer(), kTraceNames[kFloatAttention]);
  compute(context, common_inputs<float>(stack), out);
}

// (q, k, v, start_pos, attn_mask, dropout_p, is_causal, scale, q_zero_point, q_scale, k_zero_point, k_scale,
//  v_zero_point, v_scale, is_seq_at_dim_2, out)
void quantized_attention(KernelRuntimeContext& context, Stack stack) {
  Tensor& out = stack[15]->toTensor();
  if (runs_stock(kQuantizedAttention, context, stack, out)) return;
  Profile profile(context.internal_event_tracer(), kTraceNames[kQuantizedAttention]);
  if (stack[0]->toTensor().scalar_type() == ScalarType::Float) {
    compute(context, common_inputs<float>(stack), out);
    return;
  }
  Inputs<int8_t> in = common_inputs<int8_t>(stack);
  Input<int8_t>* inputs[] = {&in.q, &in.k, &in.v};
  for (int i = 0; i < 3; ++i) {
    inputs[i]->zeros = optional_tensor(*stack[8 + 2 * i]);
    inputs[i]->scales = optional_tensor(*stack[9 + 2 * i]);
    inputs[i]->token_dim = stack[14]->toBool() ? 2 : 1;
  }
  compute(context, in, out);
}

// (value [B, T, ...], cache [B, S, ...], start_pos (not used), indices int64 [B, T], out (not written))
void update_cache(KernelRuntimeContext& context, Stack stack) {
  Profile profile(context.internal_event_tracer(), kTraceNames[kUpdateCache]);
  const Tensor& value = stack[0]->toTensor();
  Tensor& cache = stack[1]->toTensor();
  const Tensor& indices = stack[3]->toTensor();
  const bool fits = value.dim() == 4 && cache.dim() == 4 && is_contiguous(value) && is_contiguous(cache) &&
                    value.size(0) == cache.size(0) && value.size(2) == cache.size(2) &&
                    value.size(3) == cache.size(3) && value.element_size() == cache.element_size();
  if (!require(context, fits, "a cache and what is written to it must agree in all but the number of tokens") ||
      !require(context, indices.dim() == 2 && indices.scalar_type() == ScalarType::Long && is_contiguous(indices) &&
                            indices.size(0) == value.size(0) && indices.size(1) == value.size(1),
               "the indices must be contiguous int64 [batch, tokens]")) {
    return;
  }
  const int64_t tokens = value.size(1), slots = cache.size(1), count = value.size(0) * tokens;
  const size_t bytes = static_cast<size_t>(value.size(2) * value.size(3) * value.element_size());
  const auto* slot = indices.const_data_ptr<int64_t>();
  const auto* from = static_cast<const std::byte*>(value.const_data_ptr());
  auto* to = static_cast<std::byte*>(cache.mutable_data_ptr());
  for (int64_t i = 0; i < count; ++i) {
    if (!require(context, slot[i] >= 0 && slot[i] < slots, "an index lies outside of the cache")) return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<size_t>(i / tokens * slots + slot[i]);
    std::memcpy(to + place * bytes, from + static_cast<size_t>(i) * bytes, bytes);
  }
}

}  // namespace

std::span<const executorch::runtime::Kernel> kernels() {
  using executorch::runtime::Kernel;
  static const std::array<Kernel, kNumOperators> all = {Kernel(kNames[kQuantizedAttention], quantized_attention),
                                                        Kernel(kNames[kFloatAttention], float_attention),
                                                        Kernel(kNames[kUpdateCache], update_cache)};
  return all;
}

void set_path(const Path* path) { current_path = path; }

void set_fallback(size_t kernel, OpFunction fallback) { fallbacks[kernel] = fallback; }

}  // namespace pocketlm
