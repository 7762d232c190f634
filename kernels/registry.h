// Puts our kernels into ExecuTorch's registry, in the place of stock ones where there are any.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

#include <span>

namespace pocketlm {

/// Our kernels, for callers that hand them to a method themselves.
std::span<const executorch::runtime::Kernel> kernels();

/// Replaces the registered kernels of our operators' names, or registers ours where there are none. A method that is
/// loaded keeps what it was loaded with.
///
/// Args: isa, the path's name (avx512vnni, avx2, neondot, portable); null or "": $POCKETLM_ISA, or else the best one
/// that this processor runs.
/// Returns: null, or a sentence that says what is wrong with `isa`; nothing is changed then.
[[nodiscard]] const char* install_kernels(const char* isa);

/// Puts the replaced stock kernels back. Kernels that replaced none stay.
void restore_kernels();

/// "own kernels, AVX-512 VNNI", or "stock kernels".
const char* kernels_title();

}  // namespace pocketlm

extern "C" {
const char* pocketlm_install_kernels(const char* isa);
void pocketlm_restore_kernels();
const char* pocketlm_kernels_title();
}
