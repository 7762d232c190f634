// JSON values (RFC 8259): a recursive reader with a limit of depth, and a writer of one line.
#include "runner/json.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "runner/fault.h"

namespace pocketlm {
namespace {

constexpr int kMostDepth = 64;

class Reader {
 public:
  Reader(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  Json whole() {
    Json value = read(0);
    skip_space();
    if (at_ != text_.size()) fail("something after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* why) const {
    throw Fault(ExitCode::bad_input,
                what_ + " is not JSON: " + why + " at byte " + std::to_string(at_) + "; send one value, whole");
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  Json literal(std::string_view word, Json value) {
    if (text_.substr(at_, word.size()) != word) fail("an unknown word");
    at_ += word.size();
    return value;
  }

  Json read(int depth) {
    if (depth > kMostDepth) fail("too many levels");
    skip_space();
    if (at_ == text_.size()) fail("the text ends");
    switch (text_[at_]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return literal("true", true);
      case 'f':
        return literal("false", false);
      case 'n':
        return literal("null", Json());
      default:
        return number();
    }
  }

  Json object(int depth) {
    Json::Object members;
    ++at_;
    if (take('}')) return members;
    do {
      skip_space();
      if (at_ == text_.size() || text_[at_] != '"') fail("a name is missing");
      std::string name = string();
      if (!take(':')) fail("a colon is missing");
      members.emplace_back(std::move(name), read(depth + 1));
    } while (take(','));
    if (!take('}')) fail("a brace is missing");
    return members;
  }

  Json array(int depth) {
    Json::Array items;
    ++at_;
    if (take(']')) return items;
    do items.push_back(read(depth + 1));
    while (take(','));
    if (!take(']')) fail("a bracket is missing");
    return items;
  }

  Json number() {
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    int64_t integer = 0;
    const auto whole = std::from_chars(begin, end, integer);
    const bool is_whole = whole.ec == std::errc() && (whole.ptr == end || !is_number_part(*whole.ptr));
    if (is_whole) {
      at_ = whole.ptr - text_.data();
      return integer;
    }
    double real = 0;
    const auto part = std::from_chars(begin, end, real);
    if (part.ec != std::errc() || !std::isfinite(real)) fail("no value");
    at_ = part.ptr - text_.data();
    return real;
  }

  static bool is_number_part(char c) { return c == '.' || c == 'e' || c == 'E' || (c >= '0' && c <= '9'); }

  std::string string() {
    std::string out;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return out;
      }
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a text");
      if (c == '\\') {
        escape(out);
      } else {
        out += c;
      }
    }
    fail("a text without an end");
  }

  void escape(std::string& out) {
    if (++at_ == text_.size()) fail("a text without an end");
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (const size_t index = names.find(text_[at_]); index != std::string_view::npos) {
      out += values[index];
      return;
    }
    if (text_[at_] != 'u') fail("an unknown escape");
    uint32_t code = hex();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_ + 1, 2) == "\\u") {
      at_ += 2;
      code = 0x10000 + ((code - 0xD800) << 10) + ((hex() - 0xDC00) & 0x3FF);
    }
    append_utf8(out, code);
  }

  uint32_t hex() {
    uint32_t code = 0;
    const char* begin = text_.data() + at_ + 1;
    if (at_ + 4 >= text_.size() || std::from_chars(begin, begin + 4, code, 16).ptr != begin + 4) fail("a bad \\u");
    at_ += 4;
    return code;
  }

  static void append_utf8(std::string& out, uint32_t code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr uint32_t first[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(first[more] | code >> (6 * more));
    for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
  }

  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
};

void write_text(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out += code;
    } else {
      out += c;
    }
  }
  out += '"';
}

void write(std::string& out, const auto& value) {
  using Value = std::decay_t<decltype(value)>;
  if constexpr (std::is_same_v<Value, std::monostate>) {
    out += "null";
  } else if constexpr (std::is_same_v<Value, bool>) {
    out += value ? "true" : "false";
  } else if constexpr (std::is_same_v<Value, int64_t>) {
    out += std::to_string(value);
  } else if constexpr (std::is_same_v<Value, double>) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value);  // the shortest that reads back equal
    out += std::isfinite(value) ? std::string(digits, end.ptr) : "null";
  } else if constexpr (std::is_same_v<Value, std::string>) {
    write_text(out, value);
  } else if constexpr (std::is_same_v<Value, Json::Array>) {
    for (size_t i = 0; i < value.size(); ++i) out += (i ? ", " : "[") + value[i].dump();
    out += value.empty() ? "[]" : "]";
  } else {
    for (size_t i = 0; i < value.size(); ++i) {
      out += i ? ", " : "{";
      write_text(out, value[i].first);
      out += ": " + value[i].second.dump();
    }
    out += value.empty() ? "{}" : "}";
  }
}

}  // namespace

Json Json::parse(std::string_view text, const std::string& what) { return Reader(text, what).whole(); }

const Json& Json::operator[](std::string_view name) const {
  static const Json nothing;
  if (const auto* members = std::get_if<Object>(&value_)) {
    for (const auto& [key, value] : *members) {
      if (key == name) return value;
    }
  }
  return nothing;
}

int64_t Json::integer(const std::string& what) const {
  if (const auto* value = std::get_if<int64_t>(&value_)) return *value;
  throw Fault(ExitCode::bad_input, what + " is " + dump() + "; it must be an integer");
}

double Json::number(const std::string& what) const {
  if (const auto* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  throw Fault(ExitCode::bad_input, what + " is " + dump() + "; it must be a number");
}

const std::string& Json::text(const std::string& what) const {
  if (const auto* value = std::get_if<std::string>(&value_)) return *value;
  throw Fault(ExitCode::bad_input, what + " is " + dump() + "; it must be a text");
}

const Json::Array& Json::items(const std::string& what) const {
  if (const auto* value = std::get_if<Array>(&value_)) return *value;
  throw Fault(ExitCode::bad_input, what + " is " + dump() + "; it must be a list");
}

std::string Json::dump() const {
  std::string out;
  std::visit([&](const auto& value) { write(out, value); }, value_);
  return out;
}

}  // namespace pocketlm
