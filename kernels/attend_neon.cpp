// Attention compiled for NEON with dot product.
#if defined(__aarch64__)
#include "kernels/attend.h"
#include "kernels/isa_neon.h"
#include "kernels/paths.h"

#include <sys/auxv.h>

namespace pocketlm {
namespace {

constexpr unsigned long kHasDotProduct = 1UL << 20;  // HWCAP_ASIMDDP of Linux

bool is_supported() { return getauxval(AT_HWCAP) & kHasDotProduct; }

}  // namespace

const Path kNeonDotPath = {"neondot", "NEON with dot product", is_supported,
    attend_with<NeonDot, int8_t>, attend_with<NeonDot, float>};

}  // namespace pocketlm
#endif
