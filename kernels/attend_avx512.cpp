// Attention compiled for AVX-512 with VNNI.
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header leaves operands undefined on purpose and then warns of them (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "kernels/attend.h"
#include "kernels/isa_avx512.h"
#include "kernels/paths.h"

namespace pocketlm {
namespace {

bool is_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

}  // namespace

const Path kAvx512Path = {"avx512vnni", "AVX-512 VNNI", is_supported,
    attend_with<Avx512, int8_t>, attend_with<Avx512, float>};

}  // namespace pocketlm
#endif
