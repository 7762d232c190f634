// How many threads compute: a sensible number for this machine, and ExecuTorch's pool set to it.
#pragma once

#include <filesystem>

namespace pocketlm {

// Fast cores that this process may use: on a processor with several kinds those of more than 0.6 times the largest
// capacity (Linux's cpu_capacity, else the highest clock), each core once however many threads it runs, and no more
// than the cgroup's share of the machine. `root` holds `sys` and `proc` (another place in tests).
int fast_cores(const std::filesystem::path& root = "/");

// Before a program is loaded: XNNPACK's delegates keep the pool that they were made with.
void set_threads(int count);
int threads();

}  // namespace pocketlm
