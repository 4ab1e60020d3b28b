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

void Session::begin_sums(const Program& program, PassSums& sums) {
  sums = PassSums();
  sums.metrics.assign(program.metrics.size(), 0.0);
  for (const int index : program.parts) {
    const BufferEntry& buffer =
        program.table->buffers[static_cast<size_t>(program.table->results[index].buffer)];
    sums.parts.emplace_back(static_cast<size_t>(buffer.layout.natural_elements()), 0.0);
  }
}

void Session::add_parts(const Program& program, const std::vector<void*>& pointers, bool is_first,
                        PassSums& sums) {
  for (size_t part = 0; part < program.parts.size(); ++part) {
    const ResultEntry& result = program.table->results[program.parts[part]];
    const BufferEntry& buffer = program.table->buffers[result.buffer];
    const auto* memory = static_cast<const std::byte*>(pointers[result.buffer]);
    const int64_t size = element_size(buffer.element);
    std::vector<double>& values = sums.parts[part];
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = read_number(memory + static_cast<int64_t>(i) * size, buffer.element);
      double& kept = values[i];
      if (result.kind == ResultKind::total) {
        kept += value;
      } else {
        kept = is_first ? value : extreme(kept, value, result.kind == ResultKind::largest);
      }
    }
  }
}

void Session::add_outputs(const Program& program, const std::vector<void*>& pointers, int64_t rows,
                          std::vector<OutputValues>& outputs) {
  size_t next = 0;
  for (const ResultEntry& result : program.table->results) {
    if (!result.is_for_rows()) continue;
    const BufferEntry& entry = program.table->buffers[result.buffer];
    if (next == outputs.size()) {
      outputs.push_back({result.label, entry.element, entry.layout.shape, {}});
      outputs.back().shape[0] = 0;
    }
    OutputValues& output = outputs[next++];
    const std::vector<std::byte> batch =
        natural_elements({result.label, entry.kind, entry.element, entry.layout,
                          static_cast<std::byte*>(pointers[result.buffer])});
    // The first rows of what is there at the full batch.
    const int64_t extent = result.per_row * rows;
    const auto bytes = static_cast<int64_t>(batch.size()) / entry.layout.shape[0] * extent;
    output.shape[0] += extent;
    output.bytes.insert(output.bytes.end(), batch.begin(), batch.begin() + bytes);
  }
}

void Session::store_parts(const Program& program, const PassSums& sums,
                          const std::vector<NamedBuffer>& states) {
  for (size_t part = 0; part < program.parts.size(); ++part) {
    const std::string& label = program.table->results[program.parts[part]].label;
    const auto state = std::find_if(states.begin(), states.end(), [&](const NamedBuffer& buffer) {
      return buffer.name == label;
    });
    RUNTIME_CHECK(state != states.end() && state->element == ElementType::f64,
                  "nothing receives {}", label);
    const std::vector<double>& values = sums.parts[part];
    std::vector<std::byte> bytes(values.size() * sizeof(double));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    store_natural_elements(*state, bytes);
  }
}

}  // namespace fusegrad::runtime
