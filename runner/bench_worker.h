// A process of the bench with a number of threads of its own: XNNPACK's delegates keep the pool that they were made
// with, so another number needs another load, and alternating between numbers needs several processes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "runner/memory.h"
#include "runner/model.h"

namespace pocketlm {

enum class Task : int32_t { load, fill, prefill, decode, bandwidth, int8_peak };

struct Result {
  double value = 0;  // milliseconds, GB/s or Gop/s
  LoadTimes load;
  Memory memory;  // after it
  int64_t chunk = 0, context = 0, vocab_size = 0, bytes = 0, planned_bytes = 0, is_bounded = 0, is_cache_reused = 0;
};

class Worker {
 public:
  // Forks; nothing may have started a thread before.
  Worker(const ModelOptions& options, int threads);
  ~Worker();
  Worker(const Worker&) = delete;

  // Asks and waits. Throws the worker's Fault, or one that says that it died.
  Result ask(Task task, int64_t position = 0, int64_t tokens = 0);

 private:
  pid_t process_ = -1;
  int channel_ = -1;
  int threads_;
};

}  // namespace pocketlm
