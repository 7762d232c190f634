// Our kernels as ExecuTorch calls them: a stack of values in, the last one written.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

#include <span>

#include "kernels/attention.h"

namespace pocketlm {

/// llama::custom_quantized_sdpa.out, llama::custom_sdpa.out and llama::update_cache_with_indices.out, with the schemas
/// and the meaning of ExecuTorch 1.5.1 (extension/llm/custom_ops/op_sdpa.cpp and op_update_cache.cpp). Two things
/// differ: slots that no row sees are never read, and a row that sees nothing comes out as zeros instead of NaN.
std::span<const executorch::runtime::Kernel> kernels();

/// The path that attention takes from now on.
void set_path(const Path* path);

/// What an operator of ours runs for dtypes that it has no code for (float16, bfloat16); null: nothing, it fails.
void set_fallback(size_t kernel, executorch::runtime::OpFunction fallback);

}  // namespace pocketlm
