// The packed weights' file, and FILE.key beside it: what it belongs to, its size and the checksum of its bytes.
#include "runner/weights_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <vector>

#include "runner/fault.h"
#include "runner/json.h"
#include "runner/version.h"

namespace pocketlm {
namespace {

using std::filesystem::path;

constexpr int64_t kFormat = 1;
constexpr size_t kMostPath = 240;  // XNNPACK's option holds 255 characters (kMaxOptionValueLength)
constexpr size_t kBlock = 1 << 20, kLanes = 8;

// A checksum against damage, not against malice: eight lanes of multiply and rotate, as fast as memory is read.
class Checksum {
 public:
  void add(const std::vector<uint64_t>& words, size_t count) {
    for (size_t i = 0; i + kLanes <= count; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) step(lanes_[lane], words[i + lane]);
    }
    for (size_t i = count / kLanes * kLanes; i < count; ++i) step(lanes_[0], words[i]);
  }

  std::string hex() const {
    uint64_t all = 0;
    for (const uint64_t lane : lanes_) step(all, lane);
    std::ostringstream out;
    out << std::hex << all;
    return out.str();
  }

 private:
  static void step(uint64_t& state, uint64_t word) { state = std::rotl(state ^ word, 29) * 0x9E3779B97F4A7C15; }

  std::array<uint64_t, kLanes> lanes_{1, 2, 3, 4, 5, 6, 7, 8};
};

// Read through a small buffer, so that the pages do not become this process's.
std::string checksum_of(const path& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return "";
  Checksum sum;
  std::vector<uint64_t> block(kBlock / sizeof(uint64_t));
  ssize_t got = 0;
  while ((got = read(descriptor, block.data(), kBlock)) > 0) {
    std::memset(reinterpret_cast<char*>(block.data()) + got, 0, (kBlock - got) % sizeof(uint64_t));
    sum.add(block, (static_cast<size_t>(got) + sizeof(uint64_t) - 1) / sizeof(uint64_t));
  }
  close(descriptor);
  return got < 0 ? "" : sum.hex();
}

// What decides which packing XNNPACK chooses: the lines of /proc/cpuinfo that name the processor and its instructions.
std::string processor() {
  std::set<std::string> lines;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    for (const char* name : {"model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant"}) {
      if (line.starts_with(name)) lines.insert(line);
    }
  }
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (const std::string& line : lines) {
    for (const char c : line) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  }
  return std::to_string(hash);
}

std::string key_of(const path& model) {
  struct stat facts{};
  stat(model.c_str(), &facts);
  const int64_t changed = facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec;
  return Json::object({{"model", absolute(model).lexically_normal().string()},
                       {"bytes", static_cast<int64_t>(facts.st_size)},
                       {"changed_ns", changed},
                       {"executorch", std::string(kExecutorchVersion)},
                       {"processor", processor()}})
      .dump();
}

std::string read_text(const path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool belongs(const path& file, const path& key_path, const std::string& model_key) {
  try {
    const Json key = Json::parse(read_text(key_path), key_path.string());
    return key["format"].integer("format") == kFormat && key["model"].dump() == model_key &&
           key["bytes"].integer("bytes") == static_cast<int64_t>(file_size(file)) &&
           key["checksum"].text("checksum") == checksum_of(file);
  } catch (const Fault&) {  // no key, or a damaged one
    return false;
  } catch (const std::filesystem::filesystem_error&) {  // no file
    return false;
  }
}

}  // namespace

WeightsCache::WeightsCache(const path& file, const path& model) : file_(absolute(file)), model_key_(key_of(model)) {
  packed_path_ = file_.string();
  if (packed_path_.size() > kMostPath) {
    throw Fault(ExitCode::usage, "--weights-cache has a path of " + std::to_string(packed_path_.size()) +
                                     " characters and XNNPACK takes " + std::to_string(kMostPath) +
                                     "; name a shorter one");
  }
  if (is_directory(file_)) throw Fault(ExitCode::usage, packed_path_ + " is a folder; name a file");
  is_reused_ = belongs(file_, key_path(), model_key_);
  if (is_reused_) return;
  std::error_code error;
  const auto room = space(file_.parent_path(), error);
  // Its pages are written through a mapping: on a full disk that would kill the process.
  if (error || room.available < file_size(model) + file_size(model) / 4) {
    throw Fault(ExitCode::environment, "no room for packed weights in " + file_.parent_path().string() + ": " +
                                           (error ? error.message() : std::string("the disk is nearly full")) +
                                           "; name another --weights-cache, or leave it out");
  }
  packed_path_ += ".partial-" + std::to_string(getpid());
}

WeightsCache::~WeightsCache() {
  std::error_code ignored;
  if (!is_reused_) remove(path(packed_path_), ignored);
}

void WeightsCache::keep() {
  if (is_reused_) return;
  std::error_code error;
  remove(key_path(), error);  // from here on until the new key is there, the file is nobody's
  const Json key = Json::object({{"format", kFormat},
                                 {"model", Json::parse(model_key_, "the key")},
                                 {"bytes", static_cast<int64_t>(std::filesystem::file_size(packed_path_, error))},
                                 {"checksum", checksum_of(packed_path_)}});
  if (!error) rename(path(packed_path_), file_, error);
  const path partial = key_path().string() + ".partial-" + std::to_string(getpid());
  std::ofstream(partial) << key.dump() << '\n';
  if (!error) rename(partial, key_path(), error);
  if (error) {
    throw Fault(ExitCode::environment, "the packed weights " + file_.string() + " cannot be kept: " + error.message() +
                                           "; name another --weights-cache, or leave it out");
  }
  is_reused_ = true;
}

}  // namespace pocketlm
