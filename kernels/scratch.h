// Memory for intermediate values that a thread keeps from call to call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pocketlm {

enum class Scratch { kCall, kTask };

/// At least `bytes` bytes, aligned to 64, the calling thread's own; valid until the next request of the same kind.
void* scratch(Scratch kind, size_t bytes);

namespace {

/// Hands out aligned pieces of a block of memory; with no block it only counts how much would be needed.
class Arena {
 public:
  explicit Arena(void* block) : base_(static_cast<std::byte*>(block)) {}

  template <typename T>
  T* take(int64_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return piece;
  }

  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

}  // namespace
}  // namespace pocketlm
