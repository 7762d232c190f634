// Memory for intermediate values that a thread keeps from call to call.
#include "kernels/scratch.h"

#include <memory>
#include <new>

namespace pocketlm {
namespace {

constexpr std::align_val_t kAlignment{64};

struct Free {
  void operator()(void* block) const { ::operator delete(block, kAlignment); }
};

struct Buffer {
  std::unique_ptr<void, Free> block;
  size_t bytes = 0;
};

thread_local Buffer buffers[2];

}  // namespace

void* scratch(Scratch kind, size_t bytes) {
  Buffer& buffer = buffers[static_cast<int>(kind)];
  if (buffer.bytes < bytes) {
    buffer.block.reset();
    buffer.block.reset(::operator new(bytes, kAlignment));
    buffer.bytes = bytes;
  }
  return buffer.block.get();
}

}  // namespace pocketlm
