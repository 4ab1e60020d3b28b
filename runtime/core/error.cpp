// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A data failure reads the same wherever it is printed without a place in a model file.
#include "runtime/core/error.h"

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

Failure to_failure(DataFailure failure) {
  std::string message = failure.message;
  const int exit_code =
      failure.kind == DataFailureKind::no_memory ? ExitCode::memory : ExitCode::data;
  return Failure{exit_code, std::move(message), std::move(failure)};
}

std::string render(const Failure& failure) {
  std::string text = failure.message + "\n";
  if (!failure.data) return text;
  for (const std::string& note : failure.data->notes) text += "  = note: " + note + "\n";
  for (const std::string& help : failure.data->helps) text += "  = help: " + help + "\n";
  return text;
}

}  // namespace fusegrad::runtime
