// Puts our kernels into ExecuTorch's registry, in the place of stock ones where there are any.
//
// The registry (runtime/kernel/operator_registry.cpp, one table in libexecutorch.so) aborts on a second registration of
// a name but hands its table out; what a name stands for is a plain function pointer there, which we exchange.
#include "kernels/registry.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "kernels/operators.h"
#include "kernels/paths.h"

namespace pocketlm {
namespace {

using executorch::runtime::Kernel;
using executorch::runtime::OpFunction;

std::mutex mutex;
std::string title = "stock kernels";

/// The registry's entry of that name for any dtype; null: none.
Kernel* find(const char* name) {
  for (const Kernel& kernel : executorch::runtime::get_registered_kernels()) {
    if (std::strcmp(kernel.name_, name) == 0 && kernel.kernel_key_.is_fallback()) return const_cast<Kernel*>(&kernel);
  }
  return nullptr;
}

/// What stood in the place of our kernel `i`; null where ours was registered.
OpFunction& stock(size_t i) {
  static OpFunction functions[8] = {};
  return functions[i];
}

}  // namespace

const char* install_kernels(const char* isa) {
  if (isa == nullptr || *isa == '\0') isa = std::getenv("POCKETLM_ISA");
  const char* error = nullptr;
  const Path* path = choose_path(isa, &error);
  if (!path) return error;
  const std::lock_guard lock(mutex);
  set_path(path);
  const auto ours = kernels();
  for (size_t i = 0; i < ours.size(); ++i) {
    Kernel* present = find(ours[i].name_);
    if (!present) {
      (void)executorch::runtime::register_kernel(ours[i]);
    } else if (present->op_ != ours[i].op_) {
      stock(i) = present->op_;
      set_fallback(i, present->op_);
      present->op_ = ours[i].op_;
    }
  }
  title = std::string("own kernels, ").append(path->title);
  return nullptr;
}

void restore_kernels() {
  const std::lock_guard lock(mutex);
  const auto ours = kernels();
  for (size_t i = 0; i < ours.size(); ++i) {
    Kernel* present = find(ours[i].name_);
    if (present && present->op_ == ours[i].op_ && stock(i)) {
      present->op_ = stock(i);
      title = "stock kernels";
    }
  }
}

const char* kernels_title() {
  const std::lock_guard lock(mutex);
  return title.c_str();
}

}  // namespace pocketlm

extern "C" const char* pocketlm_install_kernels(const char* isa) { return pocketlm::install_kernels(isa); }
extern "C" void pocketlm_restore_kernels() { pocketlm::restore_kernels(); }
extern "C" const char* pocketlm_kernels_title() { return pocketlm::kernels_title(); }
