// Memory through /proc, mmap and glibc's malloc.
#include "runner/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__GLIBC__) || __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "runner/fault.h"

namespace pocketlm {

namespace {

constexpr uintptr_t kSmallPage = 4096, kLargePage = 2 << 20;
constexpr int kCollapse = 25;  // MADV_COLLAPSE of Linux 6.1, which older headers leave out

// The number after `name` in a line of /proc, in bytes; the files have KiB.
void read_value(const std::string& line, const char* name, int64_t& out) {
  if (line.starts_with(name)) out = std::stoll(line.substr(line.find(':') + 1)) * 1024;
}

// Whether most of it is resident: a thread's stack is not, and would become so.
bool is_filled(uintptr_t page) {
  std::array<unsigned char, kLargePage / kSmallPage> resident;
  if (mincore(reinterpret_cast<void*>(page), kLargePage, resident.data()) != 0) return false;
  const auto count = std::count_if(resident.begin(), resident.end(), [](unsigned char byte) { return byte & 1; });
  return static_cast<size_t>(count) > resident.size() / 2;
}

}  // namespace

Memory read_memory() {
  Memory memory;
  std::string line;
  for (std::ifstream status("/proc/self/status"); std::getline(status, line);) {
    read_value(line, "VmRSS:", memory.resident);
    read_value(line, "VmHWM:", memory.peak);
    read_value(line, "RssAnon:", memory.anonymous);
    read_value(line, "RssFile:", memory.file);
  }
  for (std::ifstream sums("/proc/self/smaps_rollup"); std::getline(sums, line);) {
    read_value(line, "AnonHugePages:", memory.large);
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

void use_large_pages(const void* begin, size_t bytes) {
#ifdef __linux__
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(kSmallPage)) return;  // with others a large page is another size, up to 512 MiB
  const auto start = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t first = (start + kLargePage - 1) & ~(kLargePage - 1), last = (start + bytes) & ~(kLargePage - 1);
  // Each page by itself: where the system has no free one, the rest still gets what there is.
  for (uintptr_t page = first; page < last; page += kLargePage) {
    if (is_filled(page)) madvise(reinterpret_cast<void*>(page), kLargePage, kCollapse);
  }
#endif
}

void use_large_pages() {
#ifdef __linux__
  std::string line;
  for (std::ifstream maps("/proc/self/maps"); std::getline(maps, line);) {
    unsigned long long begin = 0, end = 0, inode = 1;
    char rights[5] = "";
    if (std::sscanf(line.c_str(), "%llx-%llx %4s %*x %*s %llu", &begin, &end, rights, &inode) != 4) continue;
    const bool is_stack = line.find('[') != std::string::npos && line.find("[heap]") == std::string::npos;
    if (inode != 0 || std::string(rights) != "rw-p" || is_stack) continue;
    use_large_pages(reinterpret_cast<const void*>(static_cast<uintptr_t>(begin)), static_cast<size_t>(end - begin));
  }
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
#ifdef MADV_NOHUGEPAGE
  madvise(address, bytes, MADV_NOHUGEPAGE);  // a large page would make 2 MiB resident for one written byte
#endif
  bytes_ = {static_cast<uint8_t*>(address), bytes};
}

LazyMemory::LazyMemory(LazyMemory&& other) noexcept : bytes_(other.bytes_) { other.bytes_ = {}; }

LazyMemory::~LazyMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace pocketlm
