// The runner's arithmetic for Python's tests: random numbers, the sampler, the choice of cores, JSON.
#include <cstring>
#include <string>

#include "runner/fault.h"
#include "runner/json.h"
#include "runner/sampler.h"
#include "runner/threads.h"

extern "C" {

void check_splitmix(uint64_t seed, uint64_t* out, int count) {
  pocketlm::SplitMix64 random(seed);
  for (int i = 0; i < count; ++i) out[i] = random.next();
}

void check_xoshiro(const uint64_t* state, uint64_t* out, int count) {
  pocketlm::Xoshiro256 random({state[0], state[1], state[2], state[3]});
  for (int i = 0; i < count; ++i) out[i] = random.next();
}

void check_pick(const float* logits, int vocab_size, double temperature, double top_p, uint64_t seed, int64_t* out,
                int count) {
  pocketlm::Sampler sampler({.temperature = temperature, .top_p = top_p, .seed = seed});
  for (int i = 0; i < count; ++i) {
    try {
      out[i] = sampler.pick({logits, static_cast<size_t>(vocab_size)});
    } catch (const pocketlm::Fault&) {
      out[i] = -1;
    }
  }
}

int check_fast_cores(const char* root) { return pocketlm::fast_cores(root); }

// The text written again, or "!" and the error.
void check_json(const char* text, char* out, int size) {
  std::string answer;
  try {
    answer = pocketlm::Json::parse(text, "the text").dump();
  } catch (const pocketlm::Fault& fault) {
    answer = std::string("!") + fault.what();
  }
  std::strncpy(out, answer.c_str(), static_cast<size_t>(size) - 1);
}
}
