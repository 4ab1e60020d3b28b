// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What went wrong outside our control, and a value that may be missing for such a reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/core/check.h"

namespace fusegrad::runtime {

enum class DataFailureKind : uint8_t {
  path_refused,    ///< the path as written in the model file is not allowed
  not_found,       ///< no such file in any of the places
  unreadable,      ///< the file is there and cannot be opened or read
  malformed,       ///< the content is not what its format demands
  does_not_fit,    ///< shape or element type differ from the input's (E0701)
  out_of_range,    ///< a value lies outside the declared range (E0702)
  count_mismatch,  ///< the inputs of a split have different numbers of records
  no_records,      ///< the split is empty, or smaller than one batch where a short one is dropped
  not_provided,    ///< the split binds no file to the input, or an unknown reader
  too_large,       ///< more than the limits allow
  no_memory,       ///< ends with ExitCode::memory
  interrupted,     ///< a signal asked the job to stop
};

/// The values of a column that lie outside [begin, end). i32 and u8 values are exact in a double.
struct RangeProblem {
  int64_t record = 0;   ///< the first record with such a value, counted from 0
  double value = 0;     ///< that value
  int64_t outside = 0;  ///< how many values are outside
  int64_t values = 0;   ///< of how many
  double smallest = 0;  ///< of the whole column
  double largest = 0;
};

/// Enough for the driver to attach the message to the place in the model file where input and file
/// meet.
struct DataFailure {
  DataFailureKind kind = DataFailureKind::unreadable;
  std::string split;    ///< "" while unknown
  std::string input;    ///< "" while unknown
  std::string path;     ///< the file that was opened, or the path as written if none was
  std::string message;  ///< one line that stands alone: file, position, expected, found
  std::string label;    ///< short text for under the caret, e.g. "the file holds u8[60000, 28, 28]"
  std::vector<std::string> notes;
  std::vector<std::string> helps;
  std::optional<RangeProblem> range;  ///< for out_of_range
};

/// Why a command cannot go on. `message` is one line for the person who can mend it.
struct Failure {
  int exit_code = 0;
  std::string message;
  std::optional<DataFailure> data;  ///< set when exit_code is ExitCode::data
};

/// A data failure as the reason why a command ends.
Failure to_failure(DataFailure failure);

/// The message with its notes and helps, one a line, for stderr where no model position is known.
std::string render(const Failure& failure);

/// Either a value or the reason why there is none. Look before you take: `if (!x) return
/// x.error();`
template <typename T, typename E = Failure>
class [[nodiscard]] Expected {
 public:
  Expected(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Expected(E error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& value() {
    RUNTIME_CHECK(state_.index() == 0, "a value is taken that is not there");
    return *std::get_if<0>(&state_);
  }
  const T& value() const { return const_cast<Expected*>(this)->value(); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const E& error() const {
    RUNTIME_CHECK(state_.index() == 1, "an error is taken where there is a value");
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, E> state_;
};

/// Success without a value.
using Unit = std::monostate;

}  // namespace fusegrad::runtime
