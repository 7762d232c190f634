// Attention compiled for AVX2 with FMA.
#if defined(__x86_64__)
#include "kernels/attend.h"
#include "kernels/isa_avx2.h"
#include "kernels/paths.h"

namespace pocketlm {
namespace {

bool is_supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

const Path kAvx2Path = {"avx2", "AVX2", is_supported,
    attend_with<Avx2, int8_t>, attend_with<Avx2, float>};

}  // namespace pocketlm
#endif
