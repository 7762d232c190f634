// JSON values, read strictly and written on one line. Numbers without a fraction stay exact integers.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pocketlm {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of writing

  Json() = default;
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  static Json object(std::initializer_list<std::pair<std::string, Json>> members) { return Json(Object(members)); }

  template <typename Number>
  static Json array(const std::vector<Number>& numbers) {
    return Json(Array(numbers.begin(), numbers.end()));
  }

  // Throws Fault (bad input) that names the byte at which the text is no JSON. `what` says whose text it is.
  static Json parse(std::string_view text, const std::string& what);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

  // A member of an object, or null where this is no object or has no such member.
  const Json& operator[](std::string_view name) const;

  // These throw Fault (bad input) that names `what` where the value is of another kind.
  int64_t integer(const std::string& what) const;
  double number(const std::string& what) const;
  const std::string& text(const std::string& what) const;
  const Array& items(const std::string& what) const;

  std::string dump() const;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

}  // namespace pocketlm
