// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Element types, expression types, extents and shapes of all IR levels.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::ir {

/// Types of stored elements and of scalar values. On T and K every integer value is `i64` while it
/// is computed with (u8 and i32 are storage only), so index arithmetic cannot overflow silently; on
/// L all types are explicit.
enum class ScalarType : uint8_t { boolean, u8, i32, i64, f32, f64 };

/// "bool", "u8", "i32", "i64", "f32", "f64".
std::string_view spelling(ScalarType type);
std::optional<ScalarType> parse_scalar_type(std::string_view text);
/// Bytes in memory (bool: 1).
int64_t byte_size(ScalarType type);
inline bool is_real(ScalarType type) { return type == ScalarType::f32 || type == ScalarType::f64; }
inline bool is_integer(ScalarType type) {
  return type == ScalarType::u8 || type == ScalarType::i32 || type == ScalarType::i64;
}
/// The type that a read of a stored element has in an expression of T or K: u8 and i32 become i64.
inline ScalarType value_type(ScalarType stored) {
  return is_integer(stored) ? ScalarType::i64 : stored;
}

/// The type of an expression. `lanes` is 1 except on L, where vectors exist ("f32x8").
struct Type {
  ScalarType scalar = ScalarType::f32;
  int lanes = 1;
  bool operator==(const Type&) const = default;
};
std::string spelling(Type type);

/// A size: a number, or the run-time number of rows of the batch times a number.
/// `maximum` is its value for a full batch; `per_row` is 0 for plain numbers.
/// Text: `784`, `rows`, `rows*28`.
struct Extent {
  int64_t maximum = 1;
  int64_t per_row = 0;

  static Extent number(int64_t value) { return {value, 0}; }
  static Extent of_rows(int64_t batch, int64_t factor = 1) { return {batch * factor, factor}; }
  bool depends_on_rows() const { return per_row != 0; }
  /// The size when the batch has `rows` samples.
  int64_t at(int64_t rows) const { return per_row == 0 ? maximum : per_row * rows; }
  bool operator==(const Extent&) const = default;
};
std::string spelling(Extent extent);

using Shape = std::vector<Extent>;

/// Number of elements at the full batch; nothing if it does not fit 63 bits.
std::optional<int64_t> element_count(const Shape& shape);

/// A half-open range of integers [begin, end).
struct IntegerRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const IntegerRange&) const = default;
};

/// Checked 64-bit arithmetic: nothing on overflow.
std::optional<int64_t> checked_add(int64_t a, int64_t b);
std::optional<int64_t> checked_multiply(int64_t a, int64_t b);
/// For counts and costs, which are not negative: INT64_MAX on overflow.
inline int64_t saturating_add(int64_t a, int64_t b) {
  return checked_add(a, b).value_or(INT64_MAX);
}
inline int64_t saturating_multiply(int64_t a, int64_t b) {
  return checked_multiply(a, b).value_or(INT64_MAX);
}
/// Division and remainder that round toward minus infinity (the language's `//` and `%`); b > 0.
int64_t floor_divide(int64_t a, int64_t b);
int64_t floor_modulo(int64_t a, int64_t b);

}  // namespace fusegrad::ir
