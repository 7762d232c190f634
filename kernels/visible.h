// Which slots the rows of a task see.
#pragma once

#include <vector>

#include "kernels/attention.h"

namespace pocketlm {

/// The slots that at least one of the tokens sees, in order.
template <typename T>
std::vector<Run> visible_runs(const Call<T>& call, int64_t first_token, int64_t tokens);

/// `runs` cut into pieces of at most `keys` keys each, in order; at least one piece, which may be empty.
std::vector<std::vector<Run>> split(const std::vector<Run>& runs, int64_t keys);

}  // namespace pocketlm
