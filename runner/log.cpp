// ExecuTorch's platform layer with our own log and abort.
#include "runner/log.h"

#include <executorch/runtime/platform/platform.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <string_view>
#include <utility>

#include "runner/fault.h"

namespace pocketlm {
namespace {

struct Log {
  std::mutex mutex;
  bool is_shown = false;
  std::string first_error;
  std::set<std::string> missing;
};

Log& log() {
  static Log instance;
  return instance;
}

void emit(et_timestamp_t, et_pal_log_level_t level, const char* file, const char*, size_t line, const char* message,
          size_t length) {
  constexpr std::string_view kMissing = "Missing operator: [";
  const std::string_view text(message, length);
  Log& kept = log();
  const std::scoped_lock lock(kept.mutex);
  if (kept.is_shown) std::fprintf(stderr, "%c %s:%zu %s\n", level, file, line, message);
  if (text.starts_with(kMissing)) kept.missing.emplace(text.substr(text.find(' ', kMissing.size()) + 1));
  if ((level == kError || level == kFatal) && kept.first_error.empty()) kept.first_error = text;
}

void abort_cleanly() {
  const std::string what = take_first_error();
  std::fprintf(stderr, "pocketlm-runner: ExecuTorch gave up: %s; check the file with pocketlm inspect\n", what.c_str());
  _exit(static_cast<int>(ExitCode::bad_input));
}

}  // namespace

void capture_log(bool is_shown) {
  log().is_shown = is_shown;
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(
      nullptr, abort_cleanly, nullptr, nullptr, emit, nullptr, nullptr, "runner/log.cpp"));
  executorch::runtime::pal_init();
}

std::string take_first_error() {
  const std::scoped_lock lock(log().mutex);
  return std::exchange(log().first_error, "");
}

const std::set<std::string>& missing_operators() { return log().missing; }

}  // namespace pocketlm
