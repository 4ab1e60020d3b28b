// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A small runtime without data sets, epochs and results: only memory and launches.
#include "tests/programs/machine.h"

#include <cstdlib>
#include <cstring>

#include "ir/kernel/segment.h"
#include "runtime/core/job_table.h"
#include "runtime/core/sorted_places.h"

namespace fusegrad::test {
namespace {

using namespace ir;

runtime::Layout layout_of(const Buffer& buffer) {
  runtime::Layout layout;
  for (const Extent& extent : buffer.shape) layout.shape.push_back(extent.maximum);
  if (buffer.packed_dimension >= 0) {
    layout.blocked_dimension = buffer.packed_dimension;
    layout.block = buffer.packed_block;
  }
  return layout;
}

/// Fills the derived buffers as the runtime does.
void sort_inputs(const LoopProgram& loops, AlignedMemory& memory,
                 std::span<const int32_t> row_list) {
  auto integers = [&](const std::string& name) {
    const std::span<std::byte> bytes = memory.bytes(name);
    return std::span(reinterpret_cast<int32_t*>(bytes.data()), bytes.size() / sizeof(int32_t));
  };
  for (const Buffer& starts : loops.buffers) {
    if (starts.derivation != Derivation::starts) continue;
    const Buffer& input = *loops.find_buffer(starts.source);
    const Buffer& positions = *find_derived(loops.buffers, Derivation::positions, input.name);
    runtime::BatchOfIntegers batch;
    batch.column = memory.bytes(input.name).data();
    batch.element =
        input.type == ScalarType::u8 ? runtime::ElementType::u8 : runtime::ElementType::i32;
    batch.row_elements = positions.shape[0].per_row;
    batch.rows = row_list;
    runtime::sort_places(batch, integers(starts.name), integers(positions.name));
  }
}

}  // namespace

void put_value(std::span<std::byte> bytes, const Buffer& buffer, const TensorValue& value,
               std::span<const int32_t> row_list) {
  const runtime::Layout layout = layout_of(buffer);
  for (int64_t i = 0; i < value.elements(); ++i) {
    int64_t at = 0;
    if (buffer.kind == BufferKind::input) {
      const int64_t row_size = value.elements() / value.shape[0];
      at = row_list[static_cast<size_t>(i / row_size)] * row_size + i % row_size;
    } else {
      at = layout.physical_position(i);
    }
    std::byte* target = bytes.data() + at * byte_size(buffer.type);
    auto n = static_cast<size_t>(i);
    if (buffer.type == ScalarType::f32) {
      auto real = static_cast<float>(value.reals[n]);
      std::memcpy(target, &real, sizeof real);
    } else if (buffer.type == ScalarType::i32) {
      auto integer = static_cast<int32_t>(value.integers[n]);
      std::memcpy(target, &integer, sizeof integer);
    } else {
      *target = static_cast<std::byte>(value.integers[n]);
    }
  }
}

TensorValue get_value(std::span<const std::byte> bytes, const Buffer& buffer, int64_t rows) {
  const runtime::Layout layout = layout_of(buffer);
  TensorValue value(buffer.type, sizes_at(buffer.shape, rows));
  for (int64_t i = 0; i < value.elements(); ++i) {
    // From the position among the actual rows to the one at the full batch.
    int64_t rest = i;
    int64_t natural = 0;
    int64_t stride = 1;
    for (size_t d = value.shape.size(); d-- > 0;) {
      natural += rest % value.shape[d] * stride;
      rest /= value.shape[d];
      stride *= buffer.shape[d].maximum;
    }
    const std::byte* source =
        bytes.data() + layout.physical_position(natural) * byte_size(buffer.type);
    auto n = static_cast<size_t>(i);
    if (buffer.type == ScalarType::f32) {
      float real = 0;
      std::memcpy(&real, source, sizeof real);
      value.reals[n] = real;
    } else if (buffer.type == ScalarType::i32) {
      int32_t integer = 0;
      std::memcpy(&integer, source, sizeof integer);
      value.integers[n] = integer;
    } else {
      value.integers[n] = static_cast<int64_t>(*source);
    }
  }
  return value;
}

void AlignedMemory::Free::operator()(std::byte* bytes) const { std::free(bytes); }

AlignedMemory::AlignedMemory(const LoopProgram& loops, int64_t samples) {
  std::byte* arena = allocate(loops.arena_bytes);
  for (const Buffer& buffer : loops.buffers) {
    int64_t bytes = buffer.physical_elements() * byte_size(buffer.type);
    if (buffer.kind == BufferKind::input) bytes = bytes / loops.batch * samples;
    std::byte* begin =
        buffer.kind == BufferKind::temporary ? arena + buffer.offset : allocate(bytes);
    buffers_[buffer.name] = {begin, static_cast<size_t>(bytes)};
  }
}

std::byte* AlignedMemory::allocate(int64_t bytes) {
  size_t size = (static_cast<size_t>(bytes) + 64 + 63) / 64 * 64;
  blocks_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(64, size)));
  std::memset(blocks_.back().get(), 0, size);
  return blocks_.back().get();
}

void run_machine_code(const LoopProgram& loops, const runtime::CompiledProgram& code,
                      AlignedMemory& memory, std::span<int32_t> row_list,
                      const LoopUniforms& uniforms, runtime::ThreadTeam& team) {
  std::vector<void*> pointers;
  for (const std::string& name : code.buffer_names()) {
    pointers.push_back(name == row_list_name ? static_cast<void*>(row_list.data())
                                             : static_cast<void*>(memory.bytes(name).data()));
  }
  const runtime::Uniforms given{uniforms.rows, uniforms.step, uniforms.epoch, uniforms.steps,
                                uniforms.seed};
  sort_inputs(loops, memory, row_list.first(static_cast<size_t>(uniforms.rows)));
  team.run([&](int thread, int threads) {
    for (const LoopLaunch& launch : loops.launches) {
      for (const std::string& name : launch.functions) {
        const int64_t tasks = task_count(*loops.find_function(name), uniforms.rows);
        const runtime::TaskRange part = runtime::part_of_tasks(tasks, thread, threads);
        if (part.begin < part.end)
          code.function(name)(pointers.data(), &given, part.begin, part.end);
      }
      team.barrier();
    }
  });
}

}  // namespace fusegrad::test
