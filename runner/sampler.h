// From logits to the next token id: greedy, temperature, nucleus; the same ids for the same seed on every machine.
// V vocabulary.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace pocketlm {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): seeds the other one.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next();

 private:
  uint64_t state_;
};

// xoshiro256** 1.0 (Blackman, Vigna: Scrambled linear pseudorandom number generators, arXiv 1805.01407).
class Xoshiro256 {
 public:
  explicit Xoshiro256(const std::array<uint64_t, 4>& state) : state_(state) {}
  explicit Xoshiro256(uint64_t seed);
  uint64_t next();
  double uniform();  // in [0, 1), a multiple of 2^-53

 private:
  std::array<uint64_t, 4> state_;
};

struct SamplerSettings {
  double temperature = 0.0;  // 0: always the likeliest
  double top_p = 1.0;        // the smallest set of ids whose probability reaches it (arXiv 1904.09751)
  uint64_t seed = 0;

  void check() const;  // throws Fault (bad input)
};

// A seed from the system, below 2^63.
uint64_t random_seed();

class Sampler {
 public:
  explicit Sampler(const SamplerSettings& settings);

  // Throws Fault (bad input) where a logit is NaN or all are infinite: the model's numbers have overflowed.
  int64_t pick(std::span<const float> logits_V);

 private:
  SamplerSettings settings_;
  Xoshiro256 random_;
  std::vector<std::pair<double, int64_t>> candidates_;  // probability (not normalised) and id
};

// The id of the largest logit, the first of equals. Throws like Sampler::pick.
int64_t likeliest(std::span<const float> logits_V);

}  // namespace pocketlm
