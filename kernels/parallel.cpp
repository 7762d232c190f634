// Runs independent tasks on ExecuTorch's threads.
#include "kernels/parallel.h"

#include <atomic>

#define ET_USE_THREADPOOL
#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

namespace pocketlm {

void run_tasks(size_t count, void (*body)(void* context, size_t i), void* context) {
  if (count <= 1) {
    if (count == 1) body(context, 0);
    return;
  }
  std::atomic<size_t> next{0};
  // The pool cuts the range into one piece a thread; each piece then takes tasks until none is left, so that a thread
  // that the machine holds up does not hold up the call.
  const auto work = [&](int64_t, int64_t) {
    for (size_t i = next++; i < count; i = next++) body(context, i);
  };
  executorch::extension::parallel_for(0, static_cast<int64_t>(count), 1, work);
}

using Guard = executorch::extension::threadpool::NoThreadPoolGuard;

void set_serial(bool is_on) { Guard::set_enabled(is_on); }

Serially::Serially(bool is_on) : before_(Guard::is_enabled()) { Guard::set_enabled(before_ || is_on); }
Serially::~Serially() { Guard::set_enabled(before_); }

}  // namespace pocketlm
