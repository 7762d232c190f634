// Which slots the rows of a task see.
#include "kernels/visible.h"

#include <algorithm>
#include <limits>

namespace pocketlm {
namespace {

std::vector<Run> first_slots(int64_t all_see, int64_t some_see) {
  std::vector<Run> runs;
  if (all_see > 0) runs.push_back({0, static_cast<int32_t>(all_see), true});
  if (some_see > all_see) {
    runs.push_back({static_cast<int32_t>(all_see), static_cast<int32_t>(some_see - all_see), false});
  }
  return runs;
}

std::vector<Run> masked_slots(const float* mask, int64_t stride, int64_t tokens, int64_t slots) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  constexpr uint8_t kSeen = 1, kMixed = 2;
  std::vector<uint8_t> states(slots, 0);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = mask + t * stride;
    for (int64_t s = 0; s < slots; ++s) {
      states[s] |= static_cast<uint8_t>((row[s] != kHidden ? kSeen : 0) | (row[s] != 0.0f ? kMixed : 0));
    }
  }
  std::vector<Run> runs;
  for (int64_t s = 0; s < slots;) {
    const uint8_t state = states[s];
    int64_t end = s + 1;
    while (end < slots && states[end] == state) ++end;
    if (state & kSeen) runs.push_back({static_cast<int32_t>(s), static_cast<int32_t>(end - s), !(state & kMixed)});
    s = end;
  }
  return runs;
}

}  // namespace

template <typename T>
std::vector<Run> visible_runs(const Call<T>& call, int64_t first_token, int64_t tokens) {
  if (call.mask) return masked_slots(call.mask + first_token * call.mask_stride, call.mask_stride, tokens, call.slots);
  const int64_t step = call.is_causal ? 1 : 0;
  const auto seen = [&](int64_t token) { return std::clamp<int64_t>(call.keys + step * token, 0, call.slots); };
  return first_slots(seen(first_token), seen(first_token + tokens - 1));
}

template std::vector<Run> visible_runs(const Call<int8_t>&, int64_t, int64_t);
template std::vector<Run> visible_runs(const Call<float>&, int64_t, int64_t);

std::vector<std::vector<Run>> split(const std::vector<Run>& runs, int64_t keys) {
  std::vector<std::vector<Run>> pieces(1);
  int64_t left = keys;
  for (Run run : runs) {
    while (run.count > 0) {
      if (left == 0) {
        pieces.emplace_back();
        left = keys;
      }
      const auto count = static_cast<int32_t>(std::min<int64_t>(run.count, left));
      pieces.back().push_back({run.start, count, run.is_plain});
      run.start += count;
      run.count -= count;
      left -= count;
    }
  }
  return pieces;
}

}  // namespace pocketlm
