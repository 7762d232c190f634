// The runner's commands, and what they share. Each prints JSON lines on stdout and returns nothing or throws a Fault.
#pragma once

#include <memory>
#include <span>

#include "runner/arguments.h"
#include "runner/json.h"
#include "runner/memory.h"
#include "runner/model.h"
#include "runner/sampler.h"

namespace pocketlm {

std::span<const Option> info_options();
std::span<const Option> generate_options();
std::span<const Option> serve_options();
std::span<const Option> bench_options();
std::span<const Option> profile_options();

void info(const Arguments& arguments);
void generate(const Arguments& arguments);
void serve(const Arguments& arguments);
void bench(const Arguments& arguments);
void profile(const Arguments& arguments);

// Options of every command that loads a program.
inline constexpr Option kKernels{"--kernels", "NAME", "own (the best for this processor), or one of its paths"};
inline constexpr Option kThreads{"--threads", "T", "threads that compute (default: the fast cores)"};
inline constexpr Option kWeightsCache{"--weights-cache", "FILE", "map packed weights from FILE, made when it is not there"};
inline constexpr Option kEndless{"--endless", nullptr, "the program is endless (said by its manifest where that lies beside)"};
inline constexpr Option kVerbose{"--verbose", nullptr, "show ExecuTorch's log on stderr"};

constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostTokens = 1'000'000'000;

// Sets the log and the kernels; returns how to open the program.
ModelOptions prepare(const Arguments& arguments);

// prepare, then the threads and the program; says on stderr what runs.
std::unique_ptr<Model> open_model(const Arguments& arguments);

// Prints one value as one line on stdout. Throws Fault (environment) where nobody takes it.
void emit(const Json& json);

Json runner_json();
Json model_json(const ModelFacts& facts);
Json memory_json(const Memory& memory);
Json load_json(const LoadTimes& times);

}  // namespace pocketlm
