// Runs tasks on threads of its own, in the place of kernels/parallel.cpp: for builds without ExecuTorch.
#include "kernels/parallel.h"

#include <atomic>
#include <thread>
#include <vector>

namespace pocketlm {
namespace {

constexpr int kThreads = 3;
thread_local bool is_serial = false;

}  // namespace

void run_tasks(size_t count, void (*body)(void* context, size_t i), void* context) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(context, i);
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < kThreads && count > 1 && !is_serial; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

void set_serial(bool is_on) { is_serial = is_on; }

Serially::Serially(bool is_on) : before_(is_serial) { is_serial = before_ || is_on; }
Serially::~Serially() { is_serial = before_; }

}  // namespace pocketlm
