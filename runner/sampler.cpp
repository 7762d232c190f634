// The sampler; its arithmetic is that of model/sampling.py in float64, its random numbers are its own.
#include "runner/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>

#include "runner/fault.h"

namespace pocketlm {

uint64_t SplitMix64::next() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

Xoshiro256::Xoshiro256(uint64_t seed) {
  SplitMix64 filler(seed);
  for (uint64_t& word : state_) word = filler.next();
}

uint64_t Xoshiro256::next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Xoshiro256::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

void SamplerSettings::check() const {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    throw Fault(ExitCode::bad_input,
                "temperature is " + std::to_string(temperature) + "; it must be 0 (greedy) or more");
  }
  if (!(top_p > 0 && top_p <= 1)) {
    throw Fault(ExitCode::bad_input, "top_p is " + std::to_string(top_p) + "; it must lie in (0, 1]");
  }
}

uint64_t random_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32 | device()) >> 1;
}

int64_t likeliest(std::span<const float> logits_V) {
  float largest = -INFINITY;
  int64_t best = 0;
  bool has_nan = false;
  for (size_t i = 0; i < logits_V.size(); ++i) {
    has_nan |= std::isnan(logits_V[i]);
    if (logits_V[i] > largest) {
      largest = logits_V[i];
      best = static_cast<int64_t>(i);
    }
  }
  if (has_nan || !std::isfinite(largest)) {
    throw Fault(ExitCode::bad_input, "the model's largest logit is " + (has_nan ? "nan" : std::to_string(largest)) +
                                         ": its numbers have overflowed; check the checkpoint's weights");
  }
  return best;
}

Sampler::Sampler(const SamplerSettings& settings) : settings_(settings), random_(settings.seed) { settings.check(); }

int64_t Sampler::pick(std::span<const float> logits_V) {
  const int64_t best = likeliest(logits_V);
  if (settings_.temperature == 0) return best;
  candidates_.clear();
  double total = 0;
  for (size_t i = 0; i < logits_V.size(); ++i) {
    const double scaled = (double{logits_V[i]} - double{logits_V[best]}) / settings_.temperature;  // at most 0
    candidates_.emplace_back(std::exp(scaled), -static_cast<int64_t>(i));  // negated: of equals the first id is larger
    total += candidates_.back().first;
  }
  double kept = total;
  auto end = candidates_.end();
  if (settings_.top_p < 1) {  // a heap gives them by probability, and only as many as are wanted
    kept = 0;
    std::make_heap(candidates_.begin(), end);
    while (end != candidates_.begin() && kept < settings_.top_p * total) {
      std::pop_heap(candidates_.begin(), end--);
      kept += end->first;
    }
    std::rotate(candidates_.begin(), end, candidates_.end());
    end = candidates_.begin() + (candidates_.end() - end);
  }
  double left = random_.uniform() * kept;
  for (auto at = candidates_.begin(); at != end; ++at) {
    left -= at->first;
    if (left < 0) return -at->second;
  }
  return best;  // rounding alone can leave a rest behind the last one
}

}  // namespace pocketlm
