// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Spellings and checked size arithmetic.
#include "ir/types.h"

#include <fmt/format.h>

namespace fusegrad::ir {

std::string_view spelling(ScalarType type) {
  switch (type) {
    case ScalarType::boolean:
      return "bool";
    case ScalarType::u8:
      return "u8";
    case ScalarType::i32:
      return "i32";
    case ScalarType::i64:
      return "i64";
    case ScalarType::f32:
      return "f32";
    case ScalarType::f64:
      return "f64";
  }
  return "?";
}

std::optional<ScalarType> parse_scalar_type(std::string_view text) {
  for (ScalarType type : {ScalarType::boolean, ScalarType::u8, ScalarType::i32, ScalarType::i64,
                          ScalarType::f32, ScalarType::f64}) {
    if (spelling(type) == text) return type;
  }
  return std::nullopt;
}

int64_t byte_size(ScalarType type) {
  switch (type) {
    case ScalarType::boolean:
    case ScalarType::u8:
      return 1;
    case ScalarType::i32:
    case ScalarType::f32:
      return 4;
    case ScalarType::i64:
    case ScalarType::f64:
      return 8;
  }
  return 0;
}

std::string spelling(Type type) {
  if (type.lanes == 1) return std::string(spelling(type.scalar));
  return fmt::format("{}x{}", spelling(type.scalar), type.lanes);
}

std::string spelling(Extent extent) {
  if (extent.per_row == 0) return fmt::format("{}", extent.maximum);
  if (extent.per_row == 1) return "rows";
  return fmt::format("rows*{}", extent.per_row);
}

std::optional<int64_t> element_count(const Shape& shape) {
  int64_t count = 1;
  for (const Extent& extent : shape) {
    std::optional<int64_t> product = checked_multiply(count, extent.maximum);
    if (!product) return std::nullopt;
    count = *product;
  }
  return count;
}

std::optional<int64_t> checked_add(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

std::optional<int64_t> checked_multiply(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

int64_t floor_divide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

int64_t floor_modulo(int64_t a, int64_t b) {
  int64_t remainder = a % b;
  return (remainder != 0 && (remainder < 0) != (b < 0)) ? remainder + b : remainder;
}

}  // namespace fusegrad::ir
