// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading what a step measured, and adding it up over a pass.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/core/session_parts.h"

namespace fusegrad::runtime {

namespace {

template <typename T>
double read_as(const std::byte* memory) {
  T value = 0;
  std::memcpy(&value, memory, sizeof value);
  return static_cast<double>(value);
}

double read_number(const std::byte* memory, ElementType element) {
  switch (element) {
    case ElementType::boolean:
    case ElementType::u8:
      return read_as<uint8_t>(memory);
    case ElementType::i32:
      return read_as<int32_t>(memory);
    case ElementType::f32:
      return read_as<float>(memory);
    case ElementType::f64:
      return read_as<double>(memory);
  }
  return 0;
}

/// The larger (or smaller) one; NaN stays.
double extreme(double kept, double value, bool largest) {
  if (std::isnan(kept) || std::isnan(value)) return std::isnan(kept) ? kept : value;
  return (largest ? value > kept : value < kept) ? value : kept;
}

}  // namespace

double read_scalar(const std::byte* memory, ElementType element) {
  if (element == ElementType::f64) {
    double value = 0;
    std::memcpy(&value, memory, sizeof value);
    return value;
  }
  float value = 0;
  std::memcpy(&value, memory, sizeof value);
  return static_cast<double>(value);
}

Session::Accumulators::Accumulators(const Program& program) : table_(*program.table) {
  for (const int index : program.parts) {
    const ResultEntry& result = table_.results[index];
    const auto elements =
        static_cast<size_t>(table_.buffers[result.buffer].layout.natural_elements());
    parts_.push_back({&result, std::vector<double>(elements)});
  }
}

void Session::Accumulators::add(const std::vector<void*>& pointers) {
  for (Part& part : parts_) {
    const BufferEntry& buffer = table_.buffers[part.result->buffer];
    const auto* memory = static_cast<const std::byte*>(pointers[part.result->buffer]);
    const int64_t size = element_size(buffer.element);
    for (size_t i = 0; i < part.values.size(); ++i) {
      const double value = read_number(memory + static_cast<int64_t>(i) * size, buffer.element);
      double& kept = part.values[i];
      if (part.result->kind == ResultKind::total) {
        kept += value;
      } else {
        kept = is_first_ ? value : extreme(kept, value, part.result->kind == ResultKind::largest);
      }
    }
  }
  is_first_ = false;
}

void Session::Accumulators::store(const std::vector<NamedBuffer>& states) const {
  for (const Part& part : parts_) {
    const auto state = std::find_if(states.begin(), states.end(), [&](const NamedBuffer& buffer) {
      return buffer.name == part.result->label;
    });
    RUNTIME_CHECK(state != states.end() && state->element == ElementType::f64,
                  "nothing receives {}", part.result->label);
    std::vector<std::byte> bytes(part.values.size() * sizeof(double));
    std::memcpy(bytes.data(), part.values.data(), bytes.size());
    store_natural_elements(*state, bytes);
  }
}

}  // namespace fusegrad::runtime
