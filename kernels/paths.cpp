// Chooses a path for this processor, or the one that was asked for.
#include "kernels/paths.h"

#include <cstring>
#include <string>

namespace pocketlm {
namespace {

#if defined(__x86_64__)
constexpr const Path* kPaths[] = {&kAvx512Path, &kAvx2Path, &kPortablePath};
#elif defined(__aarch64__)
constexpr const Path* kPaths[] = {&kNeonDotPath, &kPortablePath};
#else
constexpr const Path* kPaths[] = {&kPortablePath};
#endif

const char* refusal(const char* name) {
  static thread_local std::string sentence;
  std::string known, runs;
  for (const Path* path : kPaths) {
    known.append(known.empty() ? "" : ", ").append(path->name);
    if (path->is_supported()) runs.append(runs.empty() ? "" : ", ").append(path->name);
  }
  sentence = std::string("POCKETLM_ISA is ").append(name).append(", which this processor cannot run; of ");
  sentence.append(known).append(" it runs ").append(runs);
  return sentence.c_str();
}

}  // namespace

std::span<const Path* const> all_paths() { return kPaths; }

const Path* choose_path(const char* name, const char** error) {
  *error = nullptr;
  for (const Path* path : kPaths) {
    const bool is_meant = name == nullptr || *name == '\0' || std::strcmp(name, path->name) == 0;
    if (is_meant && path->is_supported()) return path;
  }
  *error = refusal(name);
  return nullptr;
}

}  // namespace pocketlm
