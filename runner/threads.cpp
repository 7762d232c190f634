// Cores from /sys, the share from /sys/fs/cgroup, the pool from libexecutorch_threadpool.
#include "runner/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "runner/fault.h"

// The wheel ships the library and not its header (extension/threadpool/threadpool.h of executorch 1.5.1); nothing is
// constructed here, so only the names of the members matter.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace pocketlm {
namespace {

using std::filesystem::path;

constexpr double kFast = 0.6;  // a phone's middle cores have 0.7 to 0.9 of the largest one's capacity, its small 0.2 to 0.4

std::string first_line(const path& file) {
  std::string line;
  std::getline(std::ifstream(file) >> std::ws, line);
  return line;
}

// CPUs of the cgroup's quota, rounded up; no limit where there is none.
int cgroup_share(const path& root) {
  const std::string quota = first_line(root / "sys/fs/cgroup/cpu.max");  // "200000 100000", or "max 100000"
  const size_t space = quota.find(' ');
  if (space == std::string::npos || quota.starts_with("max")) return INT32_MAX;
  return std::max(1, static_cast<int>(std::ceil(std::stod(quota) / std::stod(quota.substr(space)))));
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  return cpus;
}

}  // namespace

int fast_cores(const path& root) {
  std::vector<std::pair<double, std::string>> cores;  // capacity (0 unknown) and the threads that share the core
  double largest = 0;
  for (const int cpu : allowed_cpus()) {
    const path folder = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu));
    if (!exists(folder)) continue;
    std::string capacity = first_line(folder / "cpu_capacity");
    if (capacity.empty()) capacity = first_line(folder / "cpufreq/cpuinfo_max_freq");
    std::string siblings = first_line(folder / "topology/thread_siblings_list");
    if (siblings.empty()) siblings = std::to_string(cpu);
    cores.emplace_back(capacity.empty() ? 0 : std::stod(capacity), siblings);
    largest = std::max(largest, cores.back().first);
  }
  std::set<std::string> fast;
  for (const auto& [capacity, siblings] : cores) {
    if (capacity >= kFast * largest) fast.insert(siblings);
  }
  return std::clamp(static_cast<int>(fast.size()), 1, cgroup_share(root));
}

void set_threads(int count) {
  if (!executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(static_cast<uint32_t>(count))) {
    throw Fault(ExitCode::environment, "the system gave no " + std::to_string(count) +
                                           " threads; ask for fewer with --threads");
  }
}

int threads() { return static_cast<int>(executorch::extension::threadpool::get_threadpool()->get_thread_count()); }

}  // namespace pocketlm
