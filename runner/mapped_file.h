// A program's file, mapped piece by piece as ExecuTorch asks, whose pages can be let go while they are mapped.
//
// A page that was read counts as this process's until it is unmapped, though the system could drop it. Packing reads
// every weight once, and a long chat reads ever more rows of the table: without this both stay resident.
#pragma once

#include <executorch/runtime/core/data_loader.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

namespace pocketlm {

class MappedFile : public executorch::runtime::DataLoader {
 public:
  explicit MappedFile(const std::filesystem::path& path);  // throws Fault where it cannot be read
  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;

  // Lets go of the pages of all pieces but the program's tables; who reads on gets them back from the system.
  void drop_pages();

  executorch::runtime::Result<executorch::runtime::FreeableBuffer> load(size_t offset, size_t size,
                                                                        const SegmentInfo& info) const override;
  executorch::runtime::Error load_into(size_t offset, size_t size, const SegmentInfo& info,
                                       void* buffer) const override;
  executorch::runtime::Result<size_t> size() const override { return size_; }

 private:
  struct Piece {
    std::byte* begin;
    size_t size;
    bool is_table;
  };

  static void release(void* context, void* data, size_t size);

  int file_ = -1;
  size_t size_ = 0;
  mutable std::mutex mutex_;
  mutable std::map<void*, Piece> pieces_;  // by the address that ExecuTorch knows
};

// While it lives, a thread lets go of pages all the time: of a load's file only what is being packed is resident.
class PageDropper {
 public:
  explicit PageDropper(MappedFile& file);

 private:
  std::jthread thread_;
};

}  // namespace pocketlm
