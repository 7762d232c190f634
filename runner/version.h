// Versions that the runner reports.
#pragma once

#ifndef POCKETLM_VERSION  // runner/build.py says them
#error "build the runner with runner/build.py"
#endif

namespace pocketlm {

inline constexpr char kVersion[] = POCKETLM_VERSION;
inline constexpr char kExecutorchVersion[] = POCKETLM_EXECUTORCH_VERSION;
#if defined(__x86_64__)
inline constexpr char kMachine[] = "x86_64";
#elif defined(__aarch64__)
inline constexpr char kMachine[] = "aarch64";
#else
#error "x86-64 and 64-bit ARM are known"
#endif

}  // namespace pocketlm
