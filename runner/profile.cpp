// The command profile: ExecuTorch's trace of every operator of some calls, as an ETDump file.
#include <executorch/devtools/etdump/etdump_flatcc.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "kernels/registry.h"
#include "runner/commands.h"
#include "runner/fault.h"
#include "runner/threads.h"

namespace pocketlm {
namespace {

constexpr Option kProfileOptions[] = {
    {"-p", "N", "tokens of the prefill that is traced (default: the chunk; 0: none)"},
    {"-n", "N", "tokens of the decode that is traced (default 8; 0: none)"},
    {"--depth", "N", "positions that are in the cache before (default 0)"},
    {"--etdump", "FILE", "where to write the trace"},
    kThreads, kKernels, kWeightsCache, kEndless, kVerbose};

void write_trace(executorch::etdump::ETDumpGen& trace, const std::filesystem::path& file) {
  const executorch::etdump::ETDumpResult data = trace.get_etdump_data();
  const std::filesystem::path partial = file.string() + ".partial";
  std::ofstream out(partial, std::ios::binary);
  out.write(static_cast<const char*>(data.buf), static_cast<std::streamsize>(data.size));
  std::free(data.buf);
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(partial, file, error);
  if (!out || error || data.size == 0) {
    throw Fault(ExitCode::environment, "the trace " + file.string() + " cannot be written; name another --etdump");
  }
}

}  // namespace

std::span<const Option> profile_options() { return kProfileOptions; }

void profile(const Arguments& arguments) {
  const std::string file = arguments.text("--etdump", "");
  if (file.empty()) throw Fault(ExitCode::usage, "no place for the trace was given; add --etdump FILE");
  executorch::etdump::ETDumpGen trace;
  ModelOptions options = prepare(arguments);
  options.tracer = &trace;
  set_threads(static_cast<int>(arguments.integer("--threads", fast_cores(), 1, kMostThreads)));
  Model model(options);
  const int64_t prefill = arguments.integer("-p", model.facts().chunk, 0, kMostTokens);
  const int64_t decode = arguments.integer("-n", 8, 0, kMostTokens);
  const int64_t depth = arguments.integer("--depth", 0, 0, kMostTokens);
  if (prefill + decode == 0) throw Fault(ExitCode::usage, "-p 0 -n 0 leaves nothing to trace; give one of them");
  Xoshiro256 random(uint64_t{1});
  std::vector<int64_t> ids(static_cast<size_t>(depth + prefill));
  for (int64_t& id : ids) id = static_cast<int64_t>(random.next() % static_cast<uint64_t>(model.facts().vocab_size));
  const std::span<const int64_t> all(ids);
  int64_t id = 0;
  if (depth > 0) model.run(all.first(depth), 0);
  if (prefill > 0) model.run(all.subspan(depth), depth);  // the first time touches memory that a second finds warm
  if (decode > 0) model.run({&id, 1}, depth);
  trace.reset();  // what came before is none of the question
  std::vector<double> prefill_ms, decode_ms;
  for (int64_t at = 0; at < prefill; at += model.facts().chunk) {
    const double start = now_ms();
    model.run(all.subspan(depth + at, std::min(model.facts().chunk, prefill - at)), depth + at);
    prefill_ms.push_back(now_ms() - start);
  }
  for (int64_t i = 0; i < decode; ++i) {
    const double start = now_ms();
    id = likeliest(model.run({&id, 1}, depth + i));
    decode_ms.push_back(now_ms() - start);
  }
  write_trace(trace, file);
  const auto phase = [](int64_t start, int64_t tokens, const std::vector<double>& ms) {
    return Json::object({{"start", start}, {"tokens", tokens}, {"calls_ms", Json::array(ms)}});
  };
  emit(Json::object({{"runner", runner_json()},
                     {"model", model_json(model.facts())},
                     {"threads", static_cast<int64_t>(threads())},
                     {"depth", depth},
                     {"etdump", file},
                     {"prefill", phase(depth, prefill, prefill_ms)},
                     {"decode", phase(depth, decode, decode_ms)}}));
}

}  // namespace pocketlm
