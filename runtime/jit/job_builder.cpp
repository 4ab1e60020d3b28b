// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The joint between the compiler and runtime/core: here alone both are visible.
#include "runtime/jit/job_builder.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

#include "codegen/calling_convention.h"
#include "ir/kernel/buffer_index.h"
#include "ir/support/check.h"
#include "runtime/jit/machine_code.h"

namespace fusegrad::runtime {
namespace {

// Generated code reads the uniforms as an array in codegen's order.
constexpr bool uniform_is(size_t position, std::string_view name, size_t offset) {
  return codegen::uniform_order.at(position) == name && offset == 8 * position;
}
static_assert(sizeof(Uniforms) == 8 * codegen::uniform_order.size());
static_assert(uniform_is(0, "rows", offsetof(Uniforms, rows)));
static_assert(uniform_is(1, "step", offsetof(Uniforms, step)));
static_assert(uniform_is(2, "epoch", offsetof(Uniforms, epoch)));
static_assert(uniform_is(3, "steps", offsetof(Uniforms, steps)));
static_assert(uniform_is(4, "seed", offsetof(Uniforms, seed)));

std::optional<ElementType> element_type(ir::ScalarType type) {
  switch (type) {
    case ir::ScalarType::boolean:
      return ElementType::boolean;
    case ir::ScalarType::u8:
      return ElementType::u8;
    case ir::ScalarType::i32:
      return ElementType::i32;
    case ir::ScalarType::i64:
      return std::nullopt;
    case ir::ScalarType::f32:
      return ElementType::f32;
    case ir::ScalarType::f64:
      return ElementType::f64;
  }
  return std::nullopt;
}

BufferKind buffer_kind(const ir::Buffer& buffer) {
  switch (buffer.kind) {
    case ir::BufferKind::input:
      return BufferKind::input;
    case ir::BufferKind::parameter:
      return BufferKind::parameter;
    case ir::BufferKind::state:
      return BufferKind::state;
    case ir::BufferKind::result:
      return BufferKind::result;
    case ir::BufferKind::temporary:
      return BufferKind::temporary;
    case ir::BufferKind::derived:
      return buffer.derivation == ir::Derivation::starts ? BufferKind::starts
                                                         : BufferKind::positions;
  }
  FG_UNREACHABLE("buffer kind {}", static_cast<int>(buffer.kind));
}

Error no_such_element(const ir::Buffer& buffer) {
  return Error{fmt::format("buffer `{}` has elements of type {}, which cannot be stored",
                           buffer.name, spelling(buffer.type))};
}

/// Shape of one row of an input: all dimensions but the leading one, which must be the rows.
Result<std::vector<int64_t>> row_shape(const ir::Buffer& input) {
  if (input.shape.empty() || !input.shape[0].depends_on_rows()) {
    return Error{fmt::format("input `{}` does not begin with the rows of the batch", input.name)};
  }
  std::vector<int64_t> shape;
  for (size_t d = 1; d < input.shape.size(); ++d) shape.push_back(input.shape[d].maximum);
  return shape;
}

Result<BufferEntry> buffer_entry(const ir::Buffer& buffer) {
  std::optional<ElementType> element = element_type(buffer.type);
  if (!element) return no_such_element(buffer);
  BufferEntry entry;
  entry.name = buffer.name;
  entry.kind = buffer_kind(buffer);
  entry.element = *element;
  if (buffer.kind == ir::BufferKind::input) {
    if (buffer.packed_dimension >= 0) {
      return Error{fmt::format("input `{}` cannot be packed", buffer.name)};
    }
    auto shape = row_shape(buffer);
    if (!shape) return shape.error();
    entry.layout.shape = std::move(*shape);
    return entry;
  }
  for (const ir::Extent& extent : buffer.shape) entry.layout.shape.push_back(extent.maximum);
  if (buffer.packed_dimension >= 0) {
    entry.layout.blocked_dimension = buffer.packed_dimension;
    entry.layout.block = buffer.packed_block;
  }
  if (buffer.kind == ir::BufferKind::temporary) {
    FG_CHECK(buffer.offset >= 0, "memory of `{}` is not planned", buffer.name);
    entry.arena_offset = buffer.offset;
  }
  entry.source = buffer.source;
  return entry;
}

Extent extent(ir::Extent source) { return {source.maximum, source.per_row}; }

Result<ResultEntry> result_entry(const ir::KernelResult& result,
                                 const std::vector<std::string>& buffer_names) {
  ResultEntry entry;
  switch (result.kind) {
    case ir::TensorResultKind::loss:
      entry.kind = ResultKind::loss;
      break;
    case ir::TensorResultKind::metric:
      entry.kind = ResultKind::metric;
      break;
    case ir::TensorResultKind::output:
      entry.kind = ResultKind::output;
      break;
    case ir::TensorResultKind::total:
      entry.kind = ResultKind::total;
      break;
    case ir::TensorResultKind::largest:
      entry.kind = ResultKind::largest;
      break;
    case ir::TensorResultKind::smallest:
      entry.kind = ResultKind::smallest;
      break;
    case ir::TensorResultKind::gradient:
      return Error{
          fmt::format("result `{}`: gradients are no results of a compiled program", result.label)};
  }
  entry.label = result.label;
  auto found = std::find(buffer_names.begin(), buffer_names.end(), result.buffer);
  if (found == buffer_names.end()) {
    return Error{fmt::format("result `{}`: there is no buffer `{}`", result.label, result.buffer)};
  }
  entry.buffer = static_cast<int>(found - buffer_names.begin());
  return entry;
}

int64_t statement_count(const ir::LoopProgram& program) {
  int64_t count = 0;
  std::vector<const ir::LoopBlock*> pending;
  for (const ir::LoopFunction& function : program.functions) pending.push_back(&function.body);
  while (!pending.empty()) {
    const ir::LoopBlock& block = *pending.back();
    pending.pop_back();
    count += static_cast<int64_t>(block.size());
    for (const ir::LoopStatement& statement : block) {
      if (const auto* loop = std::get_if<ir::LoopFor>(&statement.node)) {
        pending.push_back(&loop->body);
      } else if (const auto* branch = std::get_if<ir::LoopIf>(&statement.node)) {
        pending.push_back(&branch->then_block);
        pending.push_back(&branch->else_block);
      }
    }
  }
  return count;
}

}  // namespace

Result<ProgramTable> build_program_table(const ir::LoopProgram& program,
                                         const CompiledProgram& compiled) {
  auto table = build_program_table(program, compiled.buffer_names());
  if (!table) return table.error();
  for (LaunchEntry& launch : table->launches) {
    for (KernelEntry& kernel : launch.kernels) {
      kernel.function = compiled.function(kernel.name);
      FG_CHECK(kernel.function != nullptr, "`{}` was not compiled", kernel.name);
    }
  }
  return table;
}

Result<ProgramTable> build_program_table(const ir::LoopProgram& program,
                                         const std::vector<std::string>& buffer_names) {
  ProgramTable table;
  table.name = program.name;
  table.batch = program.batch;
  table.arena_bytes = program.arena_bytes;
  const ir::BufferIndex buffers(program.buffers);
  for (const std::string& name : buffer_names) {
    const ir::Buffer* buffer = buffers.find(name);
    if (buffer == nullptr) {
      FG_CHECK(name == ir::row_list_name, "compiled code expects an unknown buffer `{}`", name);
      BufferEntry entry;
      entry.name = name;
      entry.kind = BufferKind::row_list;
      entry.element = ElementType::i32;
      entry.layout.shape = {program.batch};
      table.buffers.push_back(std::move(entry));
      continue;
    }
    auto entry = buffer_entry(*buffer);
    if (!entry) return entry.error();
    table.buffers.push_back(std::move(*entry));
  }
  std::unordered_map<std::string_view, const ir::LoopFunction*> functions;
  for (const ir::LoopFunction& function : program.functions) {
    functions.emplace(function.name, &function);
  }
  for (const ir::LoopLaunch& launch : program.launches) {
    LaunchEntry launch_entry;
    for (const std::string& name : launch.functions) {
      auto found = functions.find(name);
      if (found == functions.end()) {
        return Error{fmt::format("launch of an unknown function `{}`", name)};
      }
      const ir::LoopFunction* function = found->second;
      KernelEntry kernel;
      kernel.name = name;
      for (const ir::TaskDimension& dimension : function->tasks) {
        kernel.tasks.push_back({extent(dimension.extent), dimension.tile});
      }
      launch_entry.kernels.push_back(std::move(kernel));
    }
    table.launches.push_back(std::move(launch_entry));
  }
  for (const ir::KernelResult& result : program.results) {
    auto entry = result_entry(result, buffer_names);
    if (!entry) return entry.error();
    if (entry->kind == ResultKind::output) {
      const ir::Buffer* buffer = buffers.find(result.buffer);
      if (buffer != nullptr && !buffer->shape.empty()) entry->per_row = buffer->shape[0].per_row;
    }
    table.results.push_back(std::move(*entry));
  }
  return table;
}

Result<std::vector<InputEntry>> build_input_entries(const ir::LoopModule& module) {
  std::vector<InputEntry> entries;
  for (const ir::LoopProgram& program : module.programs) {
    for (const ir::Buffer& buffer : program.buffers) {
      if (buffer.kind != ir::BufferKind::input) continue;
      std::optional<ElementType> element = element_type(buffer.type);
      if (!element) return no_such_element(buffer);
      auto shape = row_shape(buffer);
      if (!shape) return shape.error();
      InputEntry entry;
      entry.name = buffer.name;
      entry.element = *element;
      entry.row_shape = std::move(*shape);
      entry.has_range = buffer.range.has_value();
      if (buffer.range) {
        entry.range_begin = buffer.range->begin;
        entry.range_end = buffer.range->end;
      }
      auto known = std::find_if(entries.begin(), entries.end(),
                                [&](const InputEntry& other) { return other.name == entry.name; });
      if (known == entries.end()) {
        entries.push_back(std::move(entry));
      } else if (known->element != entry.element || known->row_shape != entry.row_shape) {
        return Error{fmt::format("input `{}` has two types", entry.name)};
      }
    }
  }
  return entries;
}

Result<JobTable> build_job_table(const ir::LoopModule& module, const JobSettings& settings) {
  JobTable table;
  table.model_name = settings.model_name;
  table.model_file = settings.model_file;
  table.model_text = settings.model_text;
  table.data = settings.data;
  table.settings = settings.train;
  auto inputs = build_input_entries(module);
  if (!inputs) return inputs.error();
  table.inputs = std::move(*inputs);
  const std::vector<std::string>& for_outputs = settings.inputs_of_outputs;
  for (InputEntry& input : table.inputs) {
    input.is_for_outputs =
        std::find(for_outputs.begin(), for_outputs.end(), input.name) != for_outputs.end();
  }
  return table;
}

Result<CompiledJob> build_job(const ir::LoopModule& module, const JobSettings& settings,
                              const JitOptions& options) {
  Result<const MachineCode*> machine = machine_code();
  if (!machine) return machine.error();
  const size_t count = module.programs.size();
  std::vector<std::optional<Result<CompiledProgram>>> compiled(count);
  // Programs are independent and each has an LLVM context of its own. The largest goes first: it
  // sets the time.
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<int64_t> sizes;
  for (const ir::LoopProgram& program : module.programs) sizes.push_back(statement_count(program));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      compiled[order[i]] = (*machine)->compile(module.programs[order[i]], options);
    }
  };
  const size_t processors = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(processors, count); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();

  CompiledJob job;
  auto job_table = build_job_table(module, settings);
  if (!job_table) return job_table.error();
  job.table = std::move(*job_table);
  for (size_t i = 0; i < count; ++i) {
    if (!*compiled[i]) return compiled[i]->error();
    auto table = build_program_table(module.programs[i], compiled[i]->value());
    if (!table) return table.error();
    job.table.programs.push_back(std::move(*table));
    job.programs.push_back(std::move(compiled[i]->value()));
  }
  return job;
}

}  // namespace fusegrad::runtime
