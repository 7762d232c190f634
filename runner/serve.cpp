// The command serve: a request a line on stdin, an answer a line on stdout, the cache kept between them.
//
//   {"do": "sampler", "temperature": 0.8, "top_p": 0.9, "seed": 7}    {"seed": 7}; no seed: one from the system
//   {"do": "prefill", "ids": [..], "position": p}                     {"ms": x}
//   {"do": "pick", "ids": [..], "position": p}                        {"id": i, "ms": x}: the next id
//   {"do": "logits", "ids": [..], "position": p}                      {"logits": [..]}: of the last id
//   {"do": "memory"}                                                  {"steady_bytes": ..}
//
// The first line, without a request, is {"ready": ..}. A request that cannot be answered gives {"error": "...",
// "exit_code": c} and changes nothing; the next one may follow. The end of stdin ends the program.
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "runner/commands.h"
#include "runner/fault.h"
#include "runner/threads.h"

namespace pocketlm {
namespace {

constexpr Option kServeOptions[] = {kThreads, kKernels, kWeightsCache, kEndless, kVerbose};

class Server {
 public:
  explicit Server(Model& model) : model_(model), sampler_({}) {}

  Json answer(const Json& request) {
    const std::string& what = request["do"].text("the request's \"do\"");
    if (what == "sampler") return set_sampler(request);
    if (what == "memory") return memory_json(read_memory());
    if (what != "prefill" && what != "pick" && what != "logits") {
      throw Fault(ExitCode::usage, "unknown request '" + what + "'; send sampler, prefill, pick, logits or memory");
    }
    std::vector<int64_t> ids;
    for (const Json& id : request["ids"].items("the request's \"ids\"")) ids.push_back(id.integer("a token id"));
    const int64_t position = request["position"].integer("the request's \"position\"");
    const double start = now_ms();
    const std::span<const float> logits = model_.run(ids, position);
    if (what == "prefill") return Json::object({{"ms", now_ms() - start}});
    if (what == "logits") return Json::object({{"logits", Json::array(std::vector<double>(logits.begin(), logits.end()))}});
    const int64_t id = sampler_.pick(logits);
    return Json::object({{"id", id}, {"ms", now_ms() - start}});
  }

 private:
  Json set_sampler(const Json& request) {
    SamplerSettings settings;
    settings.temperature = request["temperature"].number("the temperature");
    if (!request["top_p"].is_null()) settings.top_p = request["top_p"].number("top_p");
    const bool has_seed = !request["seed"].is_null();
    settings.seed = has_seed ? static_cast<uint64_t>(request["seed"].integer("the seed")) : random_seed();
    sampler_ = Sampler(settings);
    return Json::object({{"seed", static_cast<int64_t>(settings.seed)}});
  }

  Model& model_;
  Sampler sampler_;
};

Json error_json(const Fault& fault) {
  return Json::object({{"error", fault.what()}, {"exit_code", static_cast<int>(fault.code)}});
}

}  // namespace

std::span<const Option> serve_options() { return kServeOptions; }

void serve(const Arguments& arguments) {
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C is for whoever drives; this program ends with its stdin
  std::unique_ptr<Model> model;
  try {
    model = open_model(arguments);
  } catch (const Fault& fault) {
    emit(error_json(fault));
    throw;
  }
  emit(Json::object({{"ready", Json::object({{"runner", runner_json()},
                                             {"model", model_json(model->facts())},
                                             {"threads", static_cast<int64_t>(threads())},
                                             {"load_ms", load_json(model->load_times())}})}}));
  Server server(*model);
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    try {
      answer = server.answer(Json::parse(line, "the request"));
    } catch (const Fault& fault) {
      answer = error_json(fault);
    }
    emit(answer);
  }
}

}  // namespace pocketlm
