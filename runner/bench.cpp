// The command bench: prefill and decode at several depths and numbers of threads, alternating, beside the machine's
// own memory bandwidth and integer peak.
#include <algorithm>
#include <cstdio>
#include <list>
#include <map>
#include <vector>

#include "runner/bench_worker.h"
#include "runner/commands.h"
#include "runner/fault.h"
#include "runner/threads.h"

namespace pocketlm {
namespace {

constexpr Option kBenchOptions[] = {
    {"-p", "N", "tokens of a prefill (default 512; 0: none)"},
    {"-n", "N", "tokens of a decode (default 128; 0: none)"},
    {"--depth", "0,2048", "positions that are in the cache before (default 0)"},
    {"--threads", "1,2", "numbers of threads, each in a process of its own (default: the fast cores)"},
    {"-r", "N", "repeats (default 5)"},
    kKernels, kWeightsCache, kEndless, kVerbose};

struct Plan {
  int64_t prefill, decode, repeats;
  std::vector<int64_t> depths, threads;

  // The deepest position that anything writes.
  int64_t end() const { return depths.back() + std::max(prefill, decode); }
};

// What one number of threads gave: a list of repeats for each depth.
struct Series {
  std::map<int64_t, std::vector<double>> prefill_ms, decode_ms;
  std::vector<double> first_token_ms, bandwidth, int8;
};

std::vector<int64_t> sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

Plan read_plan(const Arguments& arguments) {
  Plan plan{.prefill = arguments.integer("-p", 512, 0, kMostTokens),
            .decode = arguments.integer("-n", 128, 0, kMostTokens),
            .repeats = arguments.integer("-r", 5, 1, 10'000),
            .depths = sorted(arguments.integers("--depth", {0}, 0, kMostTokens)),
            .threads = sorted(arguments.integers("--threads", {fast_cores()}, 1, kMostThreads))};
  if (plan.prefill + plan.decode == 0) throw Fault(ExitCode::usage, "-p 0 -n 0 leaves nothing to time; give one of them");
  return plan;
}

void check_room(const Plan& plan, const Result& loaded) {
  if (loaded.is_bounded && plan.end() > loaded.context) {
    throw Fault(ExitCode::bad_input, "depth " + std::to_string(plan.depths.back()) + " and " +
                                         std::to_string(std::max(plan.prefill, plan.decode)) +
                                         " tokens more would pass the end of this bounded package, " +
                                         std::to_string(loaded.context) + "; give smaller numbers");
  }
}

struct Loaded {
  Result first;     // of the first worker
  Memory filled;    // with its cache filled to the deepest depth
  Memory steady;    // after a prefill and a decode there: what a long chat holds
};

// Loads, fills and warms up, before anything else takes memory (read_bandwidth does).
Loaded load_all(std::list<Worker>& workers, const Plan& plan) {
  Loaded loaded;
  for (Worker& worker : workers) {
    const Result result = worker.ask(Task::load);
    check_room(plan, result);
    std::fprintf(stderr, "loaded in %.2f s%s\n", (result.load.map + result.load.method) / 1000,
                 result.is_cache_reused ? ", packed weights mapped" : "");
    const int64_t depth = plan.depths.back();
    const Memory filled = depth > 0 ? worker.ask(Task::fill, 0, depth).memory : result.memory;
    Memory steady = filled;
    if (plan.prefill > 0) steady = worker.ask(Task::prefill, depth, plan.prefill).memory;
    if (plan.decode > 0) steady = worker.ask(Task::decode, depth, plan.decode).memory;
    if (&worker == &workers.front()) loaded = {.first = result, .filled = filled, .steady = steady};
  }
  return loaded;
}

void measure(Worker& worker, const Plan& plan, Series& series) {
  series.bandwidth.push_back(worker.ask(Task::bandwidth).value);
  series.int8.push_back(worker.ask(Task::int8_peak).value);
  if (plan.prefill > 0) series.first_token_ms.push_back(worker.ask(Task::prefill, 0, plan.prefill).value);
  for (const int64_t depth : plan.depths) {
    if (plan.prefill > 0) {
      const bool is_same = depth == 0;  // the first token's prefill was this one
      series.prefill_ms[depth].push_back(is_same ? series.first_token_ms.back()
                                                 : worker.ask(Task::prefill, depth, plan.prefill).value);
    }
    if (plan.decode > 0) series.decode_ms[depth].push_back(worker.ask(Task::decode, depth, plan.decode).value);
  }
}

void say_progress(const Plan& plan, const Series& series, int64_t repeat, int64_t threads) {
  std::fprintf(stderr, "repeat %lld of %lld, %lld thread%s:", static_cast<long long>(repeat + 1),
               static_cast<long long>(plan.repeats), static_cast<long long>(threads), threads == 1 ? "" : "s");
  for (const int64_t depth : plan.depths) {
    std::fprintf(stderr, "  depth %lld", static_cast<long long>(depth));
    if (plan.prefill) std::fprintf(stderr, " prefill %.0f/s", 1000.0 * plan.prefill / series.prefill_ms.at(depth).back());
    if (plan.decode) std::fprintf(stderr, " decode %.1f/s", 1000.0 * plan.decode / series.decode_ms.at(depth).back());
  }
  std::fprintf(stderr, "\n");
}

Json depth_json(const std::map<int64_t, std::vector<double>>& ms, int64_t tokens) {
  Json::Array rows;
  for (const auto& [depth, repeats] : ms) {
    rows.push_back(Json::object({{"depth", depth}, {"tokens", tokens}, {"ms", Json::array(repeats)}}));
  }
  return rows;
}

Json series_json(const Plan& plan, const Series& series, int64_t threads) {
  return Json::object({{"threads", threads},
                       {"first_token_ms", Json::array(series.first_token_ms)},
                       {"prefill", depth_json(series.prefill_ms, plan.prefill)},
                       {"decode", depth_json(series.decode_ms, plan.decode)},
                       {"bandwidth_gb_s", Json::array(series.bandwidth)},
                       {"int8_peak_gops", Json::array(series.int8)}});
}

Json model_of(const ModelOptions& options, const Result& loaded) {
  return Json::object({{"path", options.path.string()},
                       {"bytes", loaded.bytes},
                       {"context", loaded.is_bounded ? "bounded" : "endless"},
                       {"max_context", loaded.context},
                       {"chunk", loaded.chunk},
                       {"vocab_size", loaded.vocab_size},
                       {"planned_bytes", loaded.planned_bytes}});
}

Json memory_of(const Plan& plan, const Loaded& loaded) {
  return Json::object({{"steady_bytes", loaded.steady.resident},
                       {"peak_bytes", loaded.steady.peak},
                       {"file_bytes", loaded.steady.file},
                       {"anonymous_bytes", loaded.steady.anonymous},
                       {"large_page_bytes", loaded.steady.large},
                       {"filled_to", plan.end()},
                       {"max_context", loaded.first.context},
                       {"planned_bytes", loaded.first.planned_bytes},
                       {"after_load", memory_json(loaded.first.memory)},
                       {"after_fill", memory_json(loaded.filled)}});
}

}  // namespace

std::span<const Option> bench_options() { return kBenchOptions; }

void bench(const Arguments& arguments) {
  const Plan plan = read_plan(arguments);
  const ModelOptions options = prepare(arguments);
  std::list<Worker> workers;
  for (const int64_t count : plan.threads) workers.emplace_back(options, static_cast<int>(count));
  const Loaded loaded = load_all(workers, plan);
  std::vector<Series> all(workers.size());
  for (int64_t repeat = 0; repeat < plan.repeats; ++repeat) {
    size_t index = 0;
    for (Worker& worker : workers) {
      measure(worker, plan, all[index]);
      say_progress(plan, all[index], repeat, plan.threads[index]);
      ++index;
    }
  }
  Json::Array results;
  for (size_t i = 0; i < all.size(); ++i) results.push_back(series_json(plan, all[i], plan.threads[i]));
  emit(Json::object({{"runner", runner_json()},
                     {"model", model_of(options, loaded.first)},
                     {"weights_cache", !arguments.has("--weights-cache") ? "none"
                                       : loaded.first.is_cache_reused    ? "mapped"
                                                                         : "made"},
                     {"load_ms", load_json(loaded.first.load)},
                     {"results", results},
                     {"memory", memory_of(plan, loaded)}}));
}

}  // namespace pocketlm
