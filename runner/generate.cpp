// The commands info and generate.
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "kernels/registry.h"
#include "runner/commands.h"
#include "runner/fault.h"
#include "runner/threads.h"

namespace pocketlm {
namespace {

constexpr Option kInfoOptions[] = {kKernels, kEndless, kVerbose};

constexpr Option kGenerateOptions[] = {
    {"--ids", "1,2,3", "the prompt's token ids; - reads them from stdin"},
    {"-n", "N", "most new tokens (default 128)"},
    {"--temperature", "X", "0 (default) always takes the likeliest"},
    {"--top-p", "P", "sample from the most likely ids that together have this probability"},
    {"--seed", "S", "makes sampling repeatable"},
    {"--stop", "1,2", "end after one of these ids (default: the package's)"},
    kThreads, kKernels, kWeightsCache, kEndless, kVerbose};

std::vector<int64_t> prompt_ids(const Arguments& arguments) {
  if (arguments.text("--ids", "") != "-") return arguments.integers("--ids", {}, 0, kMostTokens);
  std::string all{std::istreambuf_iterator<char>(std::cin), {}};
  for (char& c : all) {
    if (c == ',') c = ' ';
  }
  std::vector<int64_t> ids;
  const char* at = all.data();
  const char* end = at + all.size();
  while (true) {
    while (at != end && std::isspace(static_cast<unsigned char>(*at))) ++at;
    if (at == end) return ids;
    int64_t id = 0;
    const auto read = std::from_chars(at, end, id);
    if (read.ec != std::errc()) throw Fault(ExitCode::bad_input, "stdin holds something that is no token id; send numbers");
    ids.push_back(id);
    at = read.ptr;
  }
}

SamplerSettings sampler_settings(const Arguments& arguments) {
  SamplerSettings settings;
  settings.temperature = arguments.number("--temperature", 0, 0, 1000);
  settings.top_p = arguments.number("--top-p", 1, 0, 1);
  settings.seed = static_cast<uint64_t>(
      arguments.integer("--seed", static_cast<int64_t>(random_seed()), 0, INT64_MAX));
  settings.check();
  return settings;
}

}  // namespace

std::span<const Option> info_options() { return kInfoOptions; }
std::span<const Option> generate_options() { return kGenerateOptions; }

void info(const Arguments& arguments) {
  const ModelOptions options = prepare(arguments);
  emit(Json::object({{"runner", runner_json()},
                     {"model", model_json(read_facts(options))},
                     {"threads", static_cast<int64_t>(fast_cores())}}));
}

void generate(const Arguments& arguments) {
  const SamplerSettings settings = sampler_settings(arguments);
  const int64_t most = arguments.integer("-n", 128, 1, kMostTokens);
  const std::vector<int64_t> given = arguments.integers("--stop", {}, 0, kMostTokens);
  std::vector<int64_t> pending = prompt_ids(arguments);
  const auto model = open_model(arguments);
  const std::set<int64_t> stops = given.empty() ? model->facts().stop_ids : std::set(given.begin(), given.end());
  Sampler sampler(settings);
  const double start = now_ms();
  double first = 0;
  int64_t position = 0, made = 0;
  const int64_t prompt_tokens = static_cast<int64_t>(pending.size());
  const char* end = "length";
  while (made < most) {
    if (made > 0 && model->facts().is_bounded && position + 1 > model->facts().context) {
      end = "context";
      break;
    }
    const int64_t id = sampler.pick(model->run(pending, position));
    position += static_cast<int64_t>(pending.size());
    pending = {id};
    if (made++ == 0) first = now_ms();
    emit(Json::object({{"id", id}}));
    if (stops.contains(id)) {
      end = "stop";
      break;
    }
  }
  emit(Json::object({{"end", end},
                     {"prompt_tokens", prompt_tokens},
                     {"new_tokens", made},
                     {"prompt_ms", first - start},
                     {"decode_ms", now_ms() - first},
                     {"seed", static_cast<int64_t>(settings.seed)},
                     {"threads", static_cast<int64_t>(threads())},
                     {"kernels", kernels_title()},
                     {"load_ms", load_json(model->load_times())},
                     {"memory", memory_json(read_memory())}}));
}

}  // namespace pocketlm
