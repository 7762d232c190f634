// Attention for any processor.
#include "kernels/attend.h"
#include "kernels/isa_portable.h"
#include "kernels/paths.h"

namespace pocketlm {
namespace {

bool is_supported() { return true; }

}  // namespace

const Path kPortablePath = {"portable", "portable", is_supported,
    attend_with<Portable, int8_t>, attend_with<Portable, float>};

}  // namespace pocketlm
