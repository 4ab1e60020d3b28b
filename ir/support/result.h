// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A value or the reason why there is none.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "ir/support/check.h"

namespace fusegrad {

/// Why something outside our control failed: one sentence for the person who can mend it.
struct Error {
  std::string message;
};

/// Either a value or the reason why not: an Error, or a type with a `message` that says more. Look
/// before you take: `if (!result) return result.error();`
template <typename T, typename E = Error>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& value() {
    FG_CHECK(state_.index() == 0, "{}", std::get<1>(state_).message);
    return std::get<0>(state_);
  }
  const T& value() const { return const_cast<Result*>(this)->value(); }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }
  const E& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, E> state_;
};

/// Success without a value, or an Error.
using Status = Result<std::monostate>;
inline Status success() { return std::monostate{}; }

}  // namespace fusegrad
