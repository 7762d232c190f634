// The command line's reader.
#include "runner/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "runner/fault.h"

namespace pocketlm {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Fault(ExitCode::usage, what + "; see pocketlm-runner --help");
}

template <typename Number>
Number read(std::string_view name, std::string_view text, Number low, Number high) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || !(value >= low && value <= high)) {
    std::ostringstream what;
    what << name << " is '" << text << "'; it takes a number from " << low << " to " << high;
    refuse(what.str());
  }
  return value;
}

}  // namespace

Arguments::Arguments(std::span<char* const> words, std::span<const Option> options) {
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      if (!model_.empty()) refuse("a second model was given, '" + word + "' after '" + model_ + "'");
      model_ = word;
      continue;
    }
    std::string value;
    const size_t equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
      word.resize(equals);
    }
    const auto option = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == word; });
    if (option == options.end()) refuse("unknown option " + word);
    if (option->value != nullptr && equals == std::string::npos) {
      if (++i == words.size()) refuse(word + " needs a value, " + option->value);
      value = words[i];
    } else if (option->value == nullptr && equals != std::string::npos) {
      refuse(word + " takes no value");
    }
    if (!values_.emplace(word, value).second) refuse(word + " was given twice");
  }
  if (model_.empty()) refuse("no model was given; name a package's folder or its model.pte");
}

std::string Arguments::text(std::string_view name, const std::string& otherwise) const {
  const auto found = values_.find(std::string(name));
  return found == values_.end() ? otherwise : found->second;
}

int64_t Arguments::integer(std::string_view name, int64_t otherwise, int64_t low, int64_t high) const {
  return has(name) ? read(name, text(name, ""), low, high) : otherwise;
}

double Arguments::number(std::string_view name, double otherwise, double low, double high) const {
  return has(name) ? read(name, text(name, ""), low, high) : otherwise;
}

std::vector<int64_t> Arguments::integers(std::string_view name, std::vector<int64_t> otherwise, int64_t low,
                                         int64_t high) const {
  if (!has(name)) return otherwise;
  const std::string all = text(name, "");
  std::vector<int64_t> values;
  for (size_t start = 0; start <= all.size();) {
    const size_t end = std::min(all.find(',', start), all.size());
    values.push_back(read(name, std::string_view(all).substr(start, end - start), low, high));
    start = end + 1;
  }
  return values;
}

}  // namespace pocketlm
