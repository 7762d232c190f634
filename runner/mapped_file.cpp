// mmap and madvise under ExecuTorch's DataLoader.
#include "runner/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "runner/fault.h"

namespace pocketlm {

using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;

namespace {

constexpr auto kDropEvery = std::chrono::milliseconds(2);  // packing reads about 1 MB meanwhile

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat facts{};
  if (file_ < 0 || fstat(file_, &facts) != 0) {
    throw Fault(ExitCode::bad_input, path.string() + " cannot be read; name a package's folder or its model.pte");
  }
  size_ = static_cast<size_t>(facts.st_size);
}

MappedFile::~MappedFile() {
  for (const auto& [data, piece] : pieces_) munmap(piece.begin, piece.size);
  if (file_ >= 0) close(file_);
}

Result<FreeableBuffer> MappedFile::load(size_t offset, size_t size, const SegmentInfo& info) const {
  if (size == 0) return FreeableBuffer(nullptr, 0, nullptr);
  if (offset > size_ || size > size_ - offset) return Error::InvalidProgram;  // the file was cut short
  const size_t before = offset % static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* begin = mmap(nullptr, before + size, PROT_READ, MAP_PRIVATE, file_, static_cast<off_t>(offset - before));
  if (begin == MAP_FAILED) return Error::MemoryAllocationFailed;
  auto* first = static_cast<std::byte*>(begin);
  const std::scoped_lock lock(mutex_);
  pieces_[first + before] = {first, before + size, info.segment_type == SegmentInfo::Type::Program};
  return FreeableBuffer(first + before, size, release, const_cast<MappedFile*>(this));
}

void MappedFile::release(void* context, void* data, size_t) {
  auto* file = static_cast<MappedFile*>(context);
  const std::scoped_lock lock(file->mutex_);
  const auto found = file->pieces_.find(data);
  if (found == file->pieces_.end()) return;
  munmap(found->second.begin, found->second.size);
  file->pieces_.erase(found);
}

Error MappedFile::load_into(size_t offset, size_t size, const SegmentInfo&, void* buffer) const {
  if (offset > size_ || size > size_ - offset) return Error::InvalidProgram;
  for (size_t done = 0; done < size;) {
    const ssize_t got = pread(file_, static_cast<std::byte*>(buffer) + done, size - done,
                              static_cast<off_t>(offset + done));
    if (got <= 0) return Error::AccessFailed;
    done += static_cast<size_t>(got);
  }
  return Error::Ok;
}

void MappedFile::drop_pages() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [data, piece] : pieces_) {
    if (!piece.is_table) madvise(piece.begin, piece.size, MADV_DONTNEED);  // read-only: the file has all of it
  }
}

PageDropper::PageDropper(MappedFile& file)
    : thread_([&file](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          std::this_thread::sleep_for(kDropEvery);
          file.drop_pages();
        }
      }) {}

}  // namespace pocketlm
