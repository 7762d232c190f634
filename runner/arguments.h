// A command line: words, options with values and flags, read strictly.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pocketlm {

struct Option {
  const char* name;   // "--threads", or "-n"
  const char* value;  // what stands for its value in the help, nullptr: a flag
  const char* help;
};

class Arguments {
 public:
  // Throws Fault (usage): an unknown option, one given twice, a value that is missing, a second model or none.
  Arguments(std::span<char* const> words, std::span<const Option> options);

  const std::string& model() const { return model_; }
  bool has(std::string_view name) const { return values_.contains(std::string(name)); }
  std::string text(std::string_view name, const std::string& otherwise) const;

  // These throw Fault (usage) that says what is allowed.
  int64_t integer(std::string_view name, int64_t otherwise, int64_t low, int64_t high) const;
  double number(std::string_view name, double otherwise, double low, double high) const;
  std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> otherwise, int64_t low,
                                int64_t high) const;  // separated by commas

 private:
  std::string model_;
  std::map<std::string, std::string> values_;
};

}  // namespace pocketlm
