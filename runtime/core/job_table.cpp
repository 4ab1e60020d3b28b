// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The arithmetic of the table: how large a buffer is, where an element lies, how many tasks a
// kernel has.
#include "runtime/core/job_table.h"

#include "runtime/core/check.h"

namespace fusegrad::runtime {

namespace {

int64_t checked_product(int64_t left, int64_t right) {
  int64_t product = 0;
  RUNTIME_CHECK(left >= 0 && right >= 0 && !__builtin_mul_overflow(left, right, &product),
                "{} * {} is no size", left, right);
  return product;
}

int64_t ceiling_division(int64_t numerator, int64_t denominator) {
  RUNTIME_CHECK(numerator >= 0 && denominator > 0, "{} / {}", numerator, denominator);
  return numerator / denominator + (numerator % denominator != 0 ? 1 : 0);
}

}  // namespace

int64_t element_size(ElementType type) {
  switch (type) {
    case ElementType::boolean:
    case ElementType::u8:
      return 1;
    case ElementType::i32:
    case ElementType::f32:
      return 4;
    case ElementType::f64:
      return 8;
  }
  RUNTIME_CHECK(false, "element type {}", static_cast<int>(type));
  return 0;
}

const char* element_name(ElementType type) {
  switch (type) {
    case ElementType::boolean:
      return "bool";
    case ElementType::u8:
      return "u8";
    case ElementType::i32:
      return "i32";
    case ElementType::f32:
      return "f32";
    case ElementType::f64:
      return "f64";
  }
  RUNTIME_CHECK(false, "element type {}", static_cast<int>(type));
  return "";
}

int64_t Layout::natural_elements() const {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements = checked_product(elements, extent);
  return elements;
}

int64_t Layout::physical_elements() const {
  if (block == 0) return natural_elements();
  RUNTIME_CHECK(blocked_dimension >= 0 && blocked_dimension < static_cast<int>(shape.size()),
                "blocked dimension {} of {}", blocked_dimension, shape.size());
  int64_t elements = block;
  for (int dimension = 0; dimension < static_cast<int>(shape.size()); ++dimension) {
    const int64_t extent = shape[dimension];
    elements = checked_product(
        elements, dimension == blocked_dimension ? ceiling_division(extent, block) : extent);
  }
  return elements;
}

int64_t Layout::physical_position(int64_t natural_position) const {
  if (block == 0) return natural_position;
  RUNTIME_CHECK(blocked_dimension >= 0 && blocked_dimension < static_cast<int>(shape.size()),
                "blocked dimension {} of {}", blocked_dimension, shape.size());
  // From the innermost dimension outwards; `stride` counts elements of the packed buffer.
  int64_t position = 0;
  int64_t stride = block;
  for (int dimension = static_cast<int>(shape.size()) - 1; dimension >= 0; --dimension) {
    const int64_t extent = shape[dimension];
    const int64_t index = natural_position % extent;
    natural_position /= extent;
    if (dimension == blocked_dimension) {
      position += index % block + index / block * stride;
      stride *= ceiling_division(extent, block);
    } else {
      position += index * stride;
      stride *= extent;
    }
  }
  RUNTIME_CHECK(natural_position == 0, "a position outside the buffer");
  return position;
}

bool Target::holds(double value) const {
  switch (comparison) {
    case Comparison::less:
      return value < threshold;
    case Comparison::less_equal:
      return value <= threshold;
    case Comparison::greater:
      return value > threshold;
    case Comparison::greater_equal:
      return value >= threshold;
  }
  return false;
}

const ProgramTable* JobTable::find_program(std::string_view name) const {
  for (const ProgramTable& program : programs) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

int64_t KernelEntry::task_count(int64_t rows) const {
  int64_t count = 1;
  for (const TaskDimension& dimension : tasks) {
    count = checked_product(count, ceiling_division(dimension.extent.at(rows), dimension.tile));
  }
  return count;
}

}  // namespace fusegrad::runtime
