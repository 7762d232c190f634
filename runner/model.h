// A package's program, loaded and ready: token ids in, logits out, over a cache that lasts between calls.
// T new tokens of a call, at most the chunk; V vocabulary.
#pragma once

#include <executorch/runtime/core/event_tracer.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace pocketlm {

// What the program and the manifest beside it say.
struct ModelFacts {
  std::filesystem::path path;
  int64_t bytes = 0;
  int64_t chunk = 0;    // most tokens of one call
  int64_t context = 0;  // positions that a token sees at most; of a bounded program also where it ends
  int64_t vocab_size = 0;
  bool is_bounded = true;
  std::set<int64_t> stop_ids;
  int64_t planned_bytes = 0;  // caches, masks and activations outside of the delegates
};

struct LoadTimes {  // milliseconds
  double map = 0;
  double method = 0;  // delegates made, weights packed
  double first_call = 0;
};

struct ModelOptions {
  std::filesystem::path path;           // a .pte, or the package's folder
  std::filesystem::path weights_cache;  // empty: weights are packed to the heap
  bool is_endless = false;              // said by the user, for a program without its manifest
  executorch::runtime::EventTracer* tracer = nullptr;
};

class Model {
 public:
  // Throws Fault: no file, no program of this kind, an operator that is missing, no memory. Kernels and threads are
  // set before.
  explicit Model(const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;

  const ModelFacts& facts() const { return facts_; }
  const LoadTimes& load_times() const { return times_; }
  bool is_cache_reused() const { return is_cache_reused_; }

  // Writes the ids from `position` on, chunk by chunk, and returns the last one's logits [V], which live until the
  // next call. Throws Fault where there are no ids, an id is none of the vocabulary or a bounded context ends before;
  // nothing is written then.
  std::span<const float> run(std::span<const int64_t> ids, int64_t position);

 private:
  struct Program;

  void load(const ModelOptions& options);
  std::span<const float> call(std::span<const int64_t> ids_T, int64_t position);

  ModelFacts facts_;
  LoadTimes times_;
  bool is_cache_reused_ = false;
  int64_t written_ = 0;  // tokens since pages were dropped
  std::unique_ptr<Program> program_;
};

// The facts alone, without loading weights. Throws as Model does.
ModelFacts read_facts(const ModelOptions& options);

// Milliseconds since any fixed moment.
double now_ms();

}  // namespace pocketlm
