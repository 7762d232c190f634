// What this process holds of the machine's memory, as Linux counts it, and how to give back what is free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pocketlm {

struct Memory {  // bytes
  int64_t resident = 0;   // VmRSS
  int64_t peak = 0;       // VmHWM: the most that was ever resident
  int64_t anonymous = 0;  // RssAnon: heap and planned memory
  int64_t file = 0;       // RssFile: pages of mapped files, which the system can drop and read again
  int64_t large = 0;      // AnonHugePages: what of the anonymous memory lies in large pages
};

Memory read_memory();  // of /proc/self/status and smaps_rollup; zeros where there are none

// Lets the allocator keep big blocks apart, so that they go back to the system when they are freed.
void prepare_heap();

// Gives back the heap's free pages.
void trim_heap();

// Moves the heap's big blocks, that is the packed weights, into large pages (2 MiB) as far as Linux has them: a token
// reads all weights once, and with small pages the processor looks up 150,000 addresses on the way.
void use_large_pages();

// The same for one stretch of written memory.
void use_large_pages(const void* begin, size_t bytes);

// Zeroed memory that becomes resident page by page as it is written; a plain heap block would be written at once.
class LazyMemory {
 public:
  explicit LazyMemory(size_t bytes);  // throws Fault (no memory)
  ~LazyMemory();
  LazyMemory(LazyMemory&& other) noexcept;
  LazyMemory& operator=(LazyMemory&&) = delete;

  std::span<uint8_t> bytes() const { return bytes_; }

 private:
  std::span<uint8_t> bytes_;
};

}  // namespace pocketlm
