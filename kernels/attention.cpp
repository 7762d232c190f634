// Cuts a call of attention into tasks, runs them, and merges what was computed over parts of the keys.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/visible.h"

namespace pocketlm {
namespace {

// Of a key-value head: up to so many rows, or with a single token, a task takes all heads, since reading is what costs.
constexpr int64_t kFewRows = 16;
constexpr int64_t kRowsATask = 64;    // otherwise; what is packed of a key block is used by all of them
constexpr int64_t kKeysASplit = 512;  // of a task with few rows; fixed, so that threads do not change results
constexpr int64_t kMaximum = 0, kSum = 1, kValues = 2;  // places in a partial row

void run(const Path& path, const Call<int8_t>& call, const Task& task) { path.attend_int8(call, task); }
void run(const Path& path, const Call<float>& call, const Task& task) { path.attend_float(call, task); }

/// softmax over the union of key sets from each set's (maximum, sum, weighted values); exponents are of 2.
void merge_row(const float* const* parts, int64_t num_parts, int64_t width, float* out) {
  float maximum = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < num_parts; ++i) maximum = std::max(maximum, parts[i][kMaximum]);
  float sum = 0;
  std::fill_n(out, width, 0.0f);
  for (int64_t i = 0; i < num_parts; ++i) {
    if (parts[i][kMaximum] == -std::numeric_limits<float>::infinity()) continue;
    const float weight = std::exp2(parts[i][kMaximum] - maximum);
    sum += weight * parts[i][kSum];
    for (int64_t d = 0; d < width; ++d) out[d] += weight * parts[i][kValues + d];
  }
  if (sum == 0.0f) return;
  const float inverse = 1.0f / sum;
  for (int64_t d = 0; d < width; ++d) out[d] *= inverse;
}

/// Few rows: all heads in one task, so that the cache is read in one stream; the keys are cut into pieces.
template <typename T>
void attend_few_rows(const Path& path, const Call<T>& call) {
  const auto pieces = split(visible_runs(call, 0, call.tokens), kKeysASplit);
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  const int64_t rows = call.heads * call.tokens, floats = rows * (call.width + kValues);
  float* partials = nullptr;
  if (num_pieces > 1) {
    const size_t bytes = sizeof(float) * static_cast<size_t>(call.batch * num_pieces * floats);
    partials = static_cast<float*>(scratch(Scratch::kCall, bytes));
  }
  run_tasks(static_cast<size_t>(call.batch * num_pieces), [&](size_t i) {
    const auto& runs = pieces[i % num_pieces];
    const auto batch = static_cast<int64_t>(i) / num_pieces;
    float* partial = partials ? partials + static_cast<int64_t>(i) * floats : nullptr;
    run(path, call, {batch, 0, call.tokens, 0, call.kv_heads, runs.data(), std::ssize(runs), partial});
  });
  if (!partials) return;
  const int64_t group = call.heads / call.kv_heads;
  std::vector<const float*> parts(num_pieces);
  for (int64_t i = 0; i < call.batch * rows; ++i) {
    const int64_t batch = i / rows, row = i % rows;
    for (int64_t p = 0; p < num_pieces; ++p) {
      parts[p] = partials + (batch * num_pieces + p) * floats + row * (call.width + kValues);
    }
    const int64_t head = row / (call.tokens * group) * group + row % group, token = row / group % call.tokens;
    const Strides& to = call.out_strides;
    merge_row(parts.data(), num_pieces, call.width, call.out + batch * to.batch + token * to.token + head * to.head);
  }
}

/// Many rows: a task is some tokens of one key-value head over all that they see.
template <typename T>
void attend_many_rows(const Path& path, const Call<T>& call) {
  const int64_t group = call.heads / call.kv_heads;
  const int64_t tokens = std::min(call.tokens, std::max<int64_t>(1, kRowsATask / group));
  const int64_t num_blocks = (call.tokens + tokens - 1) / tokens;
  std::vector<std::vector<Run>> runs(num_blocks);
  const auto count = [&](int64_t block) { return std::min(tokens, call.tokens - block * tokens); };
  const auto look = [&](size_t i) {
    const auto block = static_cast<int64_t>(i);
    runs[i] = visible_runs(call, block * tokens, count(block));
  };
  if (call.mask) {
    run_tasks(static_cast<size_t>(num_blocks), look);
  } else {
    for (int64_t block = 0; block < num_blocks; ++block) look(static_cast<size_t>(block));
  }
  const int64_t num_tasks = call.batch * call.kv_heads * num_blocks;
  run_tasks(static_cast<size_t>(num_tasks), [&](size_t i) {
    const auto left = num_tasks - 1 - static_cast<int64_t>(i);  // later tokens, which see more, first
    const int64_t block = left / (call.batch * call.kv_heads), head = left % call.kv_heads;
    const int64_t batch = left / call.kv_heads % call.batch;
    const auto& seen = runs[block];
    run(path, call, {batch, block * tokens, count(block), head, 1, seen.data(), std::ssize(seen), nullptr});
  });
}

template <typename T>
void attend_call(const Path& path, const Call<T>& call) {
  if (call.batch * call.tokens * call.heads * call.width == 0) return;
  if (call.tokens == 1 || call.tokens * (call.heads / call.kv_heads) <= kFewRows) {
    attend_few_rows(path, call);
  } else {
    attend_many_rows(path, call);
  }
}

}  // namespace

void attend(const Path& path, const Call<int8_t>& call) { attend_call(path, call); }
void attend(const Path& path, const Call<float>& call) { attend_call(path, call); }

}  // namespace pocketlm
