// Memory through /proc, mmap and glibc's malloc.
#include "runner/memory.h"

#include <sys/mman.h>

#if defined(__GLIBC__) || __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <fstream>
#include <string>

#include "runner/fault.h"

namespace pocketlm {

Memory read_memory() {
  std::ifstream status("/proc/self/status");
  Memory memory;
  std::string line;
  while (std::getline(status, line)) {
    const auto value = [&](const char* name, int64_t& out) {
      if (line.starts_with(name)) out = std::stoll(line.substr(line.find(':') + 1)) * 1024;  // the file has KiB
    };
    value("VmRSS:", memory.resident);
    value("VmHWM:", memory.peak);
    value("RssAnon:", memory.anonymous);
    value("RssFile:", memory.file);
  }
  return memory;
}

void prepare_heap() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 20);  // fixed: glibc would raise it to 32 MiB with the first big block that is freed
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

void trim_heap() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

LazyMemory::LazyMemory(size_t bytes) {
  if (bytes == 0) return;
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw Fault(ExitCode::no_memory, "no room for " + std::to_string(bytes >> 20) +
                                         " MiB of caches and activations; close other programs, or export the "
                                         "package with a smaller --max-context");
  }
  bytes_ = {static_cast<uint8_t*>(address), bytes};
}

LazyMemory::LazyMemory(LazyMemory&& other) noexcept : bytes_(other.bytes_) { other.bytes_ = {}; }

LazyMemory::~LazyMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace pocketlm
