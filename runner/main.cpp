// pocketlm-runner: runs a package's program without Python and without libtorch.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "kernels/registry.h"
#include "runner/commands.h"
#include "runner/fault.h"
#include "runner/log.h"
#include "runner/threads.h"
#include "runner/version.h"

namespace pocketlm {
namespace {

struct Command {
  const char* name;
  const char* what;
  std::span<const Option> (*options)();
  void (*run)(const Arguments&);
};

constexpr Command kCommands[] = {
    {"info", "what a program is and what would run it, without loading its weights", info_options, info},
    {"generate", "continue token ids; a JSON line for each new one", generate_options, generate},
    {"serve", "answer JSON lines on stdin until it ends (runner/engine.py drives it)", serve_options, serve},
    {"bench", "time prefill and decode; one JSON object", bench_options, bench},
    {"profile", "trace operators into an ETDump file", profile_options, profile},
};

void help() {
  std::printf("pocketlm-runner %s: runs a package's program without Python.\n\n", kVersion);
  for (const Command& command : kCommands) {
    std::printf("pocketlm-runner %s MODEL [options]\n    %s\n", command.name, command.what);
    for (const Option& option : command.options()) {
      const std::string words = std::string(option.name) + " " + (option.value ? option.value : "");
      std::printf("      %-24s %s\n", words.c_str(), option.help);
    }
  }
  std::printf("\nMODEL is a package's folder or its model.pte. Exit codes: 0 fine, 1 bad input, 2 usage, 4 environment,\n"
              "5 not enough memory.\n");
}

int run(std::span<char* const> words) {
  const std::string_view name = words.empty() ? "" : words[0];
  if (name == "--help" || name == "-h" || name == "help") {
    help();
    return 0;
  }
  if (name == "--version") {
    std::printf("%s\n", runner_json().dump().c_str());
    return 0;
  }
  for (const Command& command : kCommands) {
    if (name != command.name) continue;
    command.run(Arguments(words.subspan(1), command.options()));
    return 0;
  }
  throw Fault(ExitCode::usage, name.empty() ? std::string("no command was given; see pocketlm-runner --help")
                                            : "unknown command '" + std::string(name) + "'; see pocketlm-runner --help");
}

}  // namespace

ModelOptions prepare(const Arguments& arguments) {
  capture_log(arguments.has("--verbose"));
  const std::string isa = arguments.text("--kernels", "own");
  if (const char* wrong = install_kernels(isa == "own" ? nullptr : isa.c_str())) throw Fault(ExitCode::bad_input, wrong);
  return {.path = arguments.model(),
          .weights_cache = arguments.text("--weights-cache", ""),
          .is_endless = arguments.has("--endless")};
}

std::unique_ptr<Model> open_model(const Arguments& arguments) {
  const ModelOptions options = prepare(arguments);
  set_threads(static_cast<int>(arguments.integer("--threads", fast_cores(), 1, kMostThreads)));
  auto model = std::make_unique<Model>(options);
  std::fprintf(stderr, "%s; %d thread%s; loaded in %.2f s%s\n", kernels_title(), threads(), threads() == 1 ? "" : "s",
               (model->load_times().map + model->load_times().method) / 1000,
               model->is_cache_reused() ? ", packed weights mapped" : "");
  return model;
}

void emit(const Json& json) {
  const std::string line = json.dump() + "\n";
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0) {
    throw Fault(ExitCode::environment, "stdout cannot be written; is the disk full, or did its reader end?");
  }
}

Json runner_json() {
  return Json::object({{"version", kVersion},
                       {"executorch", kExecutorchVersion},
                       {"kernels", kernels_title()},
                       {"machine", kMachine}});
}

Json model_json(const ModelFacts& facts) {
  return Json::object({{"path", facts.path.string()},
                       {"bytes", facts.bytes},
                       {"context", facts.is_bounded ? "bounded" : "endless"},
                       {"max_context", facts.context},
                       {"chunk", facts.chunk},
                       {"vocab_size", facts.vocab_size},
                       {"stop_ids", Json::array(std::vector<int64_t>(facts.stop_ids.begin(), facts.stop_ids.end()))},
                       {"planned_bytes", facts.planned_bytes}});
}

Json memory_json(const Memory& memory) {
  return Json::object({{"steady_bytes", memory.resident},
                       {"peak_bytes", memory.peak},
                       {"anonymous_bytes", memory.anonymous},
                       {"file_bytes", memory.file},
                       {"large_page_bytes", memory.large}});
}

Json load_json(const LoadTimes& times) {
  return Json::object({{"map", times.map}, {"method", times.method}, {"first_call", times.first_call}});
}

}  // namespace pocketlm

int main(int count, char** words) {
  using pocketlm::ExitCode;
  try {
    return pocketlm::run({words + 1, static_cast<size_t>(count > 0 ? count - 1 : 0)});
  } catch (const pocketlm::Fault& fault) {
    std::fprintf(stderr, "pocketlm-runner: %s\n", fault.what());
    return static_cast<int>(fault.code);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "pocketlm-runner: not enough memory; close other programs\n");
    return static_cast<int>(ExitCode::no_memory);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pocketlm-runner: %s\n", error.what());
    return static_cast<int>(ExitCode::bad_input);
  }
}
