// Holds every loop that this processor supports against plain arithmetic, then measures; for machines without Python.
#include <cstdio>
#include <numeric>
#include <vector>

#include "runner/roofline.h"

int main() {
  std::vector<uint64_t> words(100'003);
  uint64_t state = 1;
  for (auto& word : words) word = state = state * 6364136223846793005u + 1442695040888963407u;
  const uint64_t expected = std::accumulate(words.begin(), words.end(), uint64_t{0});
  for (const pocketlm::Loops* loops : pocketlm::all_loops()) {
    if (!loops->is_supported()) continue;
    for (int streams : {1, 2, 4}) {
      if (loops->sum(words.data(), words.size(), streams) != expected) return std::puts("a sum is wrong"), 1;
    }
    if (loops->multiply(127, -128, 9) != int64_t{9} * 127 * -128 * static_cast<int64_t>(loops->products)) {
      return std::puts("a product is wrong"), 1;
    }
    std::printf("%s\n", loops->title);
  }
  const double bandwidth = pocketlm::read_bandwidth(2), peak = pocketlm::int8_peak(2);
  std::printf("%s %g %g\n", pocketlm::roofline_title(), bandwidth, peak);
  return bandwidth > 0 && peak > 0 ? 0 : 1;
}
