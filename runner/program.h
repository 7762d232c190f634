// ExecuTorch's objects for one program: the mapped file, its methods and what they need while they live.
#pragma once

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/backend/backend_options_map.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "runner/mapped_file.h"
#include "runner/memory.h"

namespace pocketlm {

// A method with the memory that it was planned for. Its planned memory begins as zeros and stays unmapped until used.
class LoadedMethod {
 public:
  // Throws Fault: the program has no such method, lacks an operator, or is damaged.
  LoadedMethod(const executorch::runtime::Program& program, const std::filesystem::path& path, const char* name,
               const executorch::runtime::LoadBackendOptionsMap* options, executorch::runtime::EventTracer* tracer);

  executorch::runtime::Method& method() { return *method_; }
  int64_t planned_bytes() const;

 private:
  executorch::extension::MallocMemoryAllocator method_memory_, temporary_memory_;
  std::vector<LazyMemory> planned_;
  std::vector<executorch::runtime::Span<uint8_t>> spans_;
  std::optional<executorch::runtime::HierarchicalAllocator> planned_memory_;
  std::optional<executorch::runtime::MemoryManager> manager_;
  std::optional<executorch::runtime::Method> method_;
};

// The file mapped, its tables checked. Throws Fault where it is no program.
class MappedProgram {
 public:
  explicit MappedProgram(const std::filesystem::path& path);

  const executorch::runtime::Program& program() const { return *program_; }

  MappedFile& file() const { return *file_; }

  // What a method without inputs returns: integers, one or several; none where there is no such method.
  std::vector<int64_t> constants(const char* name) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<MappedFile> file_;
  std::optional<executorch::runtime::Program> program_;
};

}  // namespace pocketlm
