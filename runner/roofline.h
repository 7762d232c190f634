// What the machine itself can do: how fast it reads memory and multiplies 8-bit integers, measured where a model runs.
//
// The two ceilings of a roofline (Williams, Waterman and Patterson, doi 10.1145/1498765.1498785): decode is bound by the
// first, prefill by the second. Both measure for some tenths of a second. Needs nothing of ExecuTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pocketlm {

// GB/s (10^9 bytes) at which `threads` threads together read a buffer far larger than the caches: the best of several
// passes, in one, two and four streams a thread. The buffer lies in large pages as far as Linux has them, as a model's
// weights do. Holds 256 MiB while it runs, so ask for a process's peak memory first.
double read_bandwidth(int threads);

// Gop/s (10^9 multiplications and additions) of 8-bit integers summed in 32 bits, out of registers, by the widest
// instruction that this processor has for it: the best of several passes.
double int8_peak(int threads);

// Which instructions those are: "AVX-512 VNNI".
const char* roofline_title();

// One way to compute, as a processor offers it.
struct Loops {
  const char* title;
  bool (*is_supported)();
  // The sum of 64-bit words, modulo 2^64, read as `streams` (1, 2 or 4) stretches at a time.
  uint64_t (*sum)(const uint64_t* words, size_t count, int streams);
  // `steps` times all accumulators += a * b; returns the sum of what they hold in the end, steps * products * a * b.
  // a is in 0..127, b in -128..127.
  int64_t (*multiply)(int a, int b, size_t steps);
  size_t products;  // multiplications of a step
};

// All of this build, the fastest first; the last one runs anywhere.
std::span<const Loops* const> all_loops();

}  // namespace pocketlm
