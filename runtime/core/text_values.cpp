// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Strict: nothing may stand before or behind.
#include "runtime/core/text_values.h"

#include <charconv>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Expected<Unit> add_assignment(std::string_view option, std::string_view form, std::string_view text,
                              std::map<std::string, std::string>& target) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == text.size()) {
    return Failure{
        ExitCode::usage, fmt::format("{} takes {}, not {}", option, form, quoted(text)), {}};
  }
  target[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  return Unit{};
}

}  // namespace fusegrad::runtime
