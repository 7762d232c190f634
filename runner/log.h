// ExecuTorch's log: kept for error messages, or shown.
#pragma once

#include <set>
#include <string>

namespace pocketlm {

// First of all, and once. `is_shown`: every line also goes to stderr.
void capture_log(bool is_shown);

// The first error since the last call, "" if there was none.
std::string take_first_error();

// The operators that a load did not find, such as "llama::custom_quantized_sdpa.out".
const std::set<std::string>& missing_operators();

}  // namespace pocketlm
