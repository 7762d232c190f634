// An error that ends the program: one line for a person, and the exit code of docs/architecture.md.
#pragma once

#include <stdexcept>
#include <string>

namespace pocketlm {

enum class ExitCode { ok = 0, bad_input = 1, usage = 2, gate = 3, environment = 4, no_memory = 5 };

class Fault : public std::runtime_error {
 public:
  // `what` says what was given, what is allowed and what to do.
  Fault(ExitCode code, const std::string& what) : std::runtime_error(what), code(code) {}

  const ExitCode code;
};

}  // namespace pocketlm
