// Runs independent tasks on ExecuTorch's threads.
#pragma once

#include <cstddef>

namespace pocketlm {

/// Calls `body(context, i)` once for each i below `count`, on all threads of ExecuTorch's pool; a free thread takes the
/// next i. One task, or any under a NoThreadPoolGuard, runs on the calling thread.
void run_tasks(size_t count, void (*body)(void* context, size_t i), void* context);

template <typename Body>
void run_tasks(size_t count, Body body) {
  run_tasks(count, [](void* context, size_t i) { (*static_cast<Body*>(context))(i); }, &body);
}

/// Whether the calling thread runs all tasks itself from now on.
void set_serial(bool is_on);

/// While it lives, the thread that made it runs all tasks itself.
class Serially {
 public:
  explicit Serially(bool is_on);
  ~Serially();
  Serially(const Serially&) = delete;
  Serially& operator=(const Serially&) = delete;

 private:
  bool before_;
};

}  // namespace pocketlm
