// A file with XNNPACK's packed weights, mapped instead of packed again: written beside and renamed, and never trusted
// unless model, processor, versions and every byte are those that it was written with.
#pragma once

#include <filesystem>
#include <string>

namespace pocketlm {

class WeightsCache {
 public:
  // Looks whether `file` can be used for `model`. Throws Fault (environment, usage) where it can neither be used nor
  // written.
  WeightsCache(const std::filesystem::path& file, const std::filesystem::path& model);
  ~WeightsCache();  // a file that was not kept is removed
  WeightsCache(const WeightsCache&) = delete;

  // What XNNPACK is told: the file itself, or a new one beside it.
  const std::string& packed_path() const { return packed_path_; }
  bool is_reused() const { return is_reused_; }

  // After the program was loaded: a new file takes its place. Throws Fault (environment).
  void keep();

 private:
  std::filesystem::path key_path() const { return file_.string() + ".key"; }

  std::filesystem::path file_;
  std::string model_key_;
  std::string packed_path_;
  bool is_reused_ = false;
};

}  // namespace pocketlm
