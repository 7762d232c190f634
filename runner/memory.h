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
};

Memory read_memory();  // of /proc/self/status; zeros where there is none

// Lets the allocator keep big blocks apart, so that they go back to the system when they are freed.
void prepare_heap();

// Gives back the heap's free pages.
void trim_heap();

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
