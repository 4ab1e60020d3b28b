// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What lies in a session's memory, looked at from outside: weights, layouts, numbers that are not
// finite.
#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "runtime/core/session_parts.h"

namespace fusegrad::runtime {

bool is_finite(float value) {
  return (std::bit_cast<uint32_t>(value) & 0x7f800000U) != 0x7f800000U;
}

bool is_finite(double value) {
  constexpr uint64_t exponent = uint64_t{0x7ff} << 52;
  return (std::bit_cast<uint64_t>(value) & exponent) != exponent;
}

bool all_finite(std::span<const std::byte> bytes, ElementType element) {
  const size_t size = static_cast<size_t>(element_size(element));
  if (element == ElementType::f32) {
    for (size_t offset = 0; offset < bytes.size(); offset += size) {
      float value = 0;
      std::memcpy(&value, bytes.data() + offset, sizeof value);
      if (!is_finite(value)) return false;
    }
  } else if (element == ElementType::f64) {
    for (size_t offset = 0; offset < bytes.size(); offset += size) {
      double value = 0;
      std::memcpy(&value, bytes.data() + offset, sizeof value);
      if (!is_finite(value)) return false;
    }
  }
  return true;
}

std::vector<NamedBuffer> Session::buffers(BufferKind kind) const {
  std::vector<NamedBuffer> result;
  for (const auto& [name, persistent] : persistent_) {
    if (persistent.entry->kind != kind) continue;
    result.push_back({name, kind, persistent.entry->element, persistent.entry->layout,
                      const_cast<std::byte*>(persistent.bytes.data())});
  }
  return result;
}

std::vector<NamedBuffer> Session::weights() const {
  std::vector<NamedBuffer> result = buffers(BufferKind::parameter);
  const Program* eval = find("eval");
  if (eval == nullptr) return result;
  std::set<std::string_view> read;
  for (const BufferEntry& buffer : eval->table->buffers) {
    if (buffer.kind == BufferKind::state) read.insert(buffer.name);
  }
  for (NamedBuffer& state : buffers(BufferKind::state)) {
    if (read.contains(state.name)) result.push_back(std::move(state));
  }
  std::sort(result.begin(), result.end(),
            [](const NamedBuffer& a, const NamedBuffer& b) { return a.name < b.name; });
  return result;
}

int64_t memory_bytes(const NamedBuffer& buffer) {
  return buffer.layout.physical_elements() * element_size(buffer.element);
}

std::vector<const BufferEntry*> run_buffer_entries(const JobTable& job) {
  std::map<std::string_view, const BufferEntry*> entries;
  for (const ProgramTable& program : job.programs) {
    // What only a finishing program knows are sums of a pass.
    if (program.name.ends_with(".metrics")) continue;
    for (const BufferEntry& buffer : program.buffers) {
      if (buffer.kind != BufferKind::parameter && buffer.kind != BufferKind::state) continue;
      entries.emplace(buffer.name, &buffer);
    }
  }
  std::vector<const BufferEntry*> result;
  for (const auto& [name, entry] : entries) result.push_back(entry);
  return result;
}

std::vector<NamedBuffer> Session::run_buffers() const {
  std::vector<NamedBuffer> result;
  for (const BufferEntry* entry : run_buffer_entries(job_)) {
    const Persistent& persistent = persistent_.at(entry->name);
    result.push_back({entry->name, entry->kind, entry->element, entry->layout,
                      const_cast<std::byte*>(persistent.bytes.data())});
  }
  return result;
}

bool Session::set_learning_rate(double rate) {
  const std::optional<LearningRate>& setting = job_.settings.learning_rate;
  if (!setting) return false;
  for (const NamedBuffer& state : buffers(BufferKind::state)) {
    if (state.name != setting->state) continue;
    RUNTIME_CHECK(state.element == ElementType::f64 && state.layout.natural_elements() == 1,
                  "{} is no number", state.name);
    std::memcpy(state.data, &rate, sizeof rate);
    return true;
  }
  return false;
}

std::optional<std::string> Session::non_finite_parameter() const {
  for (const NamedBuffer& buffer : buffers(BufferKind::parameter)) {
    // All bytes in memory first, which is quick; only where that finds something the padding is
    // told apart.
    const auto bytes = static_cast<size_t>(memory_bytes(buffer));
    if (all_finite({buffer.data, bytes}, buffer.element)) continue;
    if (buffer.layout.block == 0 || !all_finite(natural_elements(buffer), buffer.element)) {
      return buffer.name;
    }
  }
  return std::nullopt;
}

std::vector<std::byte> natural_elements(const NamedBuffer& buffer) {
  const int64_t size = element_size(buffer.element);
  const int64_t elements = buffer.layout.natural_elements();
  std::vector<std::byte> result(static_cast<size_t>(elements * size));
  if (buffer.layout.block == 0) {
    std::copy_n(buffer.data, result.size(), result.data());
    return result;
  }
  for (int64_t i = 0; i < elements; ++i) {
    std::copy_n(buffer.data + buffer.layout.physical_position(i) * size, size,
                result.data() + i * size);
  }
  return result;
}

void store_natural_elements(const NamedBuffer& buffer, const std::vector<std::byte>& elements) {
  const int64_t size = element_size(buffer.element);
  const int64_t count = buffer.layout.natural_elements();
  RUNTIME_CHECK(static_cast<int64_t>(elements.size()) == count * size,
                "{}: {} bytes for {} elements", buffer.name, elements.size(), count);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(elements.data() + i * size, size,
                buffer.data + buffer.layout.physical_position(i) * size);
  }
}

}  // namespace fusegrad::runtime
