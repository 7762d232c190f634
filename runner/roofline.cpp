// Measures the machine's two ceilings with the best loops that it supports, all threads starting together.
#include "runner/roofline.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "runner/memory.h"
#include "runner/roofline_sum.h"

namespace pocketlm {

#if defined(__x86_64__)
extern const Loops avx512vnni_loops, avxvnni_loops, avx2_loops;
#elif defined(__aarch64__)
extern const Loops i8mm_loops, neondot_loops;
#endif

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kBytes = size_t{256} << 20;  // far above any last-level cache that one core fills
constexpr int kPasses = 4;                    // of each kind; the first one also warms up
constexpr double kPassSeconds = 0.02;         // of integer products

int64_t multiply_portable(int a, int b, size_t steps) {
  volatile int8_t left = static_cast<int8_t>(a), right = static_cast<int8_t>(b);
  int32_t sums[16] = {};
  for (auto& sum : sums) asm volatile("" : "+r"(sum));  // or all of them would be computed as one
  for (size_t step = 0; step < steps; ++step) {
    const int32_t x = left, y = right;
    for (auto& sum : sums) sum += x * y;
  }
  return add_lanes(sums);
}

const Loops portable_loops{"portable", [] { return true; }, sum_words<16>, multiply_portable, 16};

const Loops* const every[] = {
#if defined(__x86_64__)
    &avx512vnni_loops, &avxvnni_loops, &avx2_loops,
#elif defined(__aarch64__)
    &i8mm_loops, &neondot_loops,
#endif
    &portable_loops};

const Loops& best_loops() {
  for (const Loops* loops : every) {
    if (loops->is_supported()) return *loops;
  }
  return portable_loops;
}

// Seconds from the common start of all threads to the end of the last one; `work(thread)` returns anything.
template <class Work>
double time_together(int threads, Work work) {
  std::barrier start(threads);
  std::vector<Clock::time_point> starts(threads), ends(threads);
  std::vector<uint64_t> results(threads);
  auto run = [&](int thread) {
    start.arrive_and_wait();
    starts[thread] = Clock::now();
    results[thread] = static_cast<uint64_t>(work(thread));
    ends[thread] = Clock::now();
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (auto& other : others) other.join();
  [[maybe_unused]] volatile uint64_t kept = results[0];  // or the work could be left out
  const auto span = *std::max_element(ends.begin(), ends.end()) - *std::min_element(starts.begin(), starts.end());
  return std::max(1e-9, std::chrono::duration<double>(span).count());
}

}  // namespace

std::span<const Loops* const> all_loops() { return every; }

const char* roofline_title() { return best_loops().title; }

double read_bandwidth(int threads) {
  threads = std::max(1, threads);
  const Loops& loops = best_loops();
  const std::unique_ptr<uint64_t, void (*)(void*)> buffer(static_cast<uint64_t*>(std::malloc(kBytes)), std::free);
  if (!buffer) throw std::bad_alloc();
  const size_t words = kBytes / sizeof(uint64_t), part = words / threads;
  uint64_t* const data = buffer.get();
  time_together(threads, [&](int thread) {  // pages belong to whom they are first written by
    std::fill_n(data + thread * part, part, uint64_t(thread) + 1);
    return 0;
  });
  use_large_pages(data, kBytes);
  double best = 1e9;
  for (int pass = 0; pass < kPasses; ++pass) {
    for (int streams : {1, 2, 4}) {
      best = std::min(best, time_together(threads, [&](int thread) {
                        return loops.sum(data + thread * part, part, streams);
                      }));
    }
  }
  return double(part) * threads * sizeof(uint64_t) / best / 1e9;
}

double int8_peak(int threads) {
  threads = std::max(1, threads);
  const Loops& loops = best_loops();
  size_t steps = 1000;
  auto pass = [&] { return time_together(threads, [&](int thread) { return loops.multiply(3, -thread, steps); }); };
  while (pass() < kPassSeconds / 2 && steps < (size_t{1} << 40)) steps *= 2;
  double best = 1e9;
  for (int i = 0; i < 2 * kPasses; ++i) best = std::min(best, pass());
  return 2.0 * double(loops.products) * double(steps) * threads / best / 1e9;
}

}  // namespace pocketlm
