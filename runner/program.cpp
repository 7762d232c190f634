// Loading, and what its errors mean to a person.
#include "runner/program.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "runner/fault.h"
#include "runner/log.h"

namespace pocketlm {

using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::Program;
using executorch::runtime::Span;

namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const char* step, Error error) {
  const std::string first = take_first_error();
  if (error == Error::OperatorMissing) {
    std::string names;
    for (const std::string& name : missing_operators()) names += (names.empty() ? "" : ", ") + name;
    throw Fault(ExitCode::bad_input, path.string() + " uses operators that this runner does not have (error 20): " +
                                         (names.empty() ? first : names) +
                                         "; export it again with this version, or use --runner python");
  }
  if (error == Error::MemoryAllocationFailed) {
    throw Fault(ExitCode::no_memory, path.string() + ": not enough memory to " + step + "; close other programs");
  }
  throw Fault(ExitCode::bad_input, path.string() + ": ExecuTorch cannot " + step + " (error " +
                                       std::to_string(static_cast<int>(error)) + (first.empty() ? "" : ": " + first) +
                                       "); the file is damaged or of another version: export it again");
}

}  // namespace

LoadedMethod::LoadedMethod(const Program& program, const std::filesystem::path& path, const char* name,
                           const executorch::runtime::LoadBackendOptionsMap* options,
                           executorch::runtime::EventTracer* tracer) {
  const auto meta = program.method_meta(name);
  if (!meta.ok()) refuse(path, (std::string("find the method ") + name).c_str(), meta.error());
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    planned_.emplace_back(static_cast<size_t>(meta->memory_planned_buffer_size(i).get()));
    spans_.emplace_back(planned_.back().bytes().data(), planned_.back().bytes().size());
  }
  planned_memory_.emplace(Span<Span<uint8_t>>(spans_.data(), spans_.size()));
  manager_.emplace(&method_memory_, &*planned_memory_, &temporary_memory_);
  auto method = program.load_method(name, &*manager_, tracer, nullptr, options);
  if (!method.ok()) refuse(path, (std::string("load the method ") + name).c_str(), method.error());
  method_.emplace(std::move(*method));
}

int64_t LoadedMethod::planned_bytes() const {
  int64_t bytes = 0;
  for (const auto& span : spans_) bytes += static_cast<int64_t>(span.size());
  return bytes;
}

MappedProgram::MappedProgram(const std::filesystem::path& path)
    : path_(path), file_(std::make_unique<MappedFile>(path)) {
  auto program = Program::load(file_.get(), Program::Verification::InternalConsistency);
  if (!program.ok()) refuse(path, "read its tables", program.error());
  program_.emplace(std::move(*program));
}

std::vector<int64_t> MappedProgram::constants(const char* name) const {
  if (!program_->method_meta(name).ok()) {
    take_first_error();
    return {};
  }
  LoadedMethod loaded(*program_, path_, name, nullptr, nullptr);
  if (const Error error = loaded.method().execute(); error != Error::Ok) refuse(path_, name, error);
  std::vector<int64_t> values;
  for (size_t i = 0; i < loaded.method().outputs_size(); ++i) {
    const EValue& value = loaded.method().get_output(i);
    if (value.isInt()) values.push_back(value.toInt());
    if (value.isBool()) values.push_back(value.toBool());
  }
  return values;
}

}  // namespace pocketlm
