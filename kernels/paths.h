// Which instruction sets there are code for, and which of them this processor has.
#pragma once

#include <span>

#include "kernels/attention.h"

namespace pocketlm {

/// Best first; the last one runs everywhere.
std::span<const Path* const> all_paths();

/// The path of that name, or the best one that this processor has for "" or null.
///
/// Returns: null where there is no such path or this processor lacks it; `*error` is then a sentence.
const Path* choose_path(const char* name, const char** error);

extern const Path kPortablePath;
#if defined(__x86_64__)
extern const Path kAvx2Path;
extern const Path kAvx512Path;
#elif defined(__aarch64__)
extern const Path kNeonDotPath;
#endif

}  // namespace pocketlm
