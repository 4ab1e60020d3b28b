// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running compiled loop functions on memory, launch by launch.
#include "ir/loop/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "ir/kernel/segment.h"
#include "ir/loop/machine.h"
#include "ir/loop/print.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

struct LoopEvaluator::Compiled {
  const LoopFunction* function = nullptr;
  MachineCode code;
  Machine machine;
  /// Frame and stacks; parameters are bound for each run.
  std::vector<std::byte> frame;
  std::vector<std::vector<std::byte>> stacks;
  std::vector<std::vector<uint8_t>> written;
};

namespace {

/// Elements of one sample of an input: all dimensions but the rows.
int64_t bytes_at_batch(const Buffer& buffer) {
  return buffer.physical_elements() * byte_size(buffer.type);
}

/// The values of an input of integers over the rows of the batch, row by row.
Result<std::vector<int64_t>> batch_values(const Buffer& input, std::span<const std::byte> column,
                                          std::span<const int32_t> rows) {
  const int64_t in_a_row = element_count(input.shape).value_or(0) / input.shape[0].maximum;
  const int64_t size = byte_size(input.type);
  std::vector<int64_t> values;
  for (const int32_t row : rows) {
    if (row < 0 || (row + 1) * in_a_row * size > static_cast<int64_t>(column.size())) {
      return Error{fmt::format("row {} of `{}` is not resident", row, input.name)};
    }
    for (int64_t i = 0; i < in_a_row; ++i) {
      const std::byte* element = column.data() + (row * in_a_row + i) * size;
      int32_t value = static_cast<uint8_t>(*element);
      if (input.type == ScalarType::i32) std::memcpy(&value, element, sizeof value);
      values.push_back(value);
    }
  }
  return values;
}

/// Fills the derived buffers.
Status derive(const LoopProgram& program, LoopMemory& memory, int64_t row_count) {
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    if (buffer.kind != BufferKind::derived) continue;
    const Buffer* source = program.find_buffer(buffer.source);
    FG_CHECK(source != nullptr && memory.buffers.size() == program.buffers.size(),
             "`{}` follows from nothing", buffer.name);
    if (static_cast<int64_t>(memory.row_list.size()) < row_count) {
      return Error{
          fmt::format("the row list has {} of {} rows", memory.row_list.size(), row_count)};
    }
    auto values =
        batch_values(*source, memory.buffers[static_cast<size_t>(source - program.buffers.data())],
                     memory.row_list.first(static_cast<size_t>(row_count)));
    if (!values) return values.error();
    const std::vector<int64_t> elements = derived_elements(buffer, *values);
    const std::span<std::byte> bytes = memory.buffers[i];
    if (bytes.size() < elements.size() * sizeof(int32_t)) {
      return Error{fmt::format("`{}` has {} elements, the memory given holds {}", buffer.name,
                               elements.size(), bytes.size() / sizeof(int32_t))};
    }
    for (size_t e = 0; e < elements.size(); ++e) {
      const auto element = static_cast<int32_t>(elements[e]);
      std::memcpy(bytes.data() + e * sizeof element, &element, sizeof element);
    }
  }
  return success();
}

}  // namespace

OwnedLoopMemory::OwnedLoopMemory(const LoopProgram& program, int64_t samples)
    : arena_(static_cast<size_t>(program.arena_bytes)),
      row_list_(static_cast<size_t>(program.batch)) {
  FG_CHECK(samples >= program.batch, "{} resident samples for batches of {}", samples,
           program.batch);
  std::iota(row_list_.begin(), row_list_.end(), 0);
  owned_.resize(program.buffers.size());
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    names_.push_back(buffer.name);
    int64_t bytes = bytes_at_batch(buffer);
    if (buffer.kind == BufferKind::temporary && buffer.offset >= 0) {
      FG_CHECK(buffer.offset <= program.arena_bytes - bytes, "`{}` leaves the arena", buffer.name);
      view_.buffers.push_back(std::span(arena_).subspan(static_cast<size_t>(buffer.offset),
                                                        static_cast<size_t>(bytes)));
      continue;
    }
    // An input's column is as long as the data set.
    if (buffer.kind == BufferKind::input && !buffer.shape.empty() &&
        buffer.shape[0].depends_on_rows()) {
      bytes = bytes / program.batch * samples;
    }
    owned_[i].resize(static_cast<size_t>(bytes));
    view_.buffers.emplace_back(owned_[i]);
  }
  view_.row_list = row_list_;
}

std::span<std::byte> OwnedLoopMemory::bytes(std::string_view buffer) {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == buffer) return view_.buffers[i];
  }
  FG_UNREACHABLE("no buffer `{}`", buffer);
}

int64_t task_count(const LoopFunction& function, int64_t rows) {
  int64_t count = 1;
  for (const TaskDimension& dimension : function.tasks) {
    const int64_t extent = dimension.extent.at(rows);
    const int64_t tasks = extent / dimension.tile + (extent % dimension.tile != 0 ? 1 : 0);
    const std::optional<int64_t> product = checked_multiply(count, tasks);
    FG_CHECK(product.has_value(), "number of tasks of `{}`", function.name);
    count = *product;
  }
  return count;
}

LoopEvaluator::LoopEvaluator(const LoopProgram& program) : program_(&program) {
  for (const LoopFunction& function : program.functions) {
    Compiled compiled;
    compiled.function = &function;
    compiled.code = compile_for_machine(function);
    compiled.frame = compiled.code.frame;
    compiled.machine.regions.resize(compiled.code.region_names.size());
    for (const MachineCode::Stack& stack : compiled.code.stacks) {
      compiled.stacks.emplace_back(static_cast<size_t>(stack.elements * stack.element_bytes));
      compiled.written.emplace_back(static_cast<size_t>(stack.elements));
    }
    functions_.push_back(std::move(compiled));
  }
}

LoopEvaluator::~LoopEvaluator() = default;
LoopEvaluator::LoopEvaluator(LoopEvaluator&&) noexcept = default;

LoopEvaluator::Compiled& LoopEvaluator::find(std::string_view function) {
  for (Compiled& compiled : functions_) {
    if (compiled.function->name == function) return compiled;
  }
  FG_UNREACHABLE("no function `{}`", function);
}

Status LoopEvaluator::run_function(std::string_view function, LoopMemory& memory,
                                   const Uniforms& uniforms, int64_t begin, int64_t end) {
  return run_tasks(find(function), memory, uniforms, begin, end);
}

Status LoopEvaluator::run_tasks(Compiled& compiled, LoopMemory& memory, const Uniforms& uniforms,
                                int64_t begin, int64_t end) {
  const LoopFunction& function = *compiled.function;
  Machine& machine = compiled.machine;
  machine.frame = compiled.frame.data();
  FG_CHECK(memory.buffers.size() == program_->buffers.size(), "{} buffers for {}",
           memory.buffers.size(), program_->buffers.size());
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    const LoopParameter& parameter = function.parameters[i];
    MachineRegion& region = machine.regions[i];
    int64_t available = 0;
    if (parameter.name == row_list_name) {
      region.data = reinterpret_cast<std::byte*>(memory.row_list.data());
      available = std::min<int64_t>(static_cast<int64_t>(memory.row_list.size()), uniforms.rows);
      region.elements = available;
      if (available >= uniforms.rows) continue;
      return Error{fmt::format("function `{}`: the row list has {} of {} rows", function.name,
                               available, uniforms.rows)};
    }
    const Buffer* buffer = program_->find_buffer(parameter.name);
    FG_CHECK(buffer != nullptr, "parameter `{}` of `{}` is no buffer", parameter.name,
             function.name);
    const std::span<std::byte> bytes =
        memory.buffers[static_cast<size_t>(buffer - program_->buffers.data())];
    available = static_cast<int64_t>(bytes.size()) / byte_size(parameter.type);
    region.data = bytes.data();
    region.elements = parameter.elements >= 0 ? parameter.elements : available;
    if (available < region.elements) {
      return Error{fmt::format("function `{}`: `{}` has {} elements, the memory given holds {}",
                               function.name, parameter.name, region.elements, available)};
    }
  }
  for (size_t i = 0; i < compiled.code.stacks.size(); ++i) {
    const MachineCode::Stack& stack = compiled.code.stacks[i];
    machine.regions[static_cast<size_t>(stack.region)] = {compiled.stacks[i].data(), stack.elements,
                                                          compiled.written[i].data()};
  }
  const int64_t values[] = {
      uniforms.rows, uniforms.step, uniforms.epoch, uniforms.steps, uniforms.seed, begin, end};
  static_assert(std::size(values) == std::size(machine_uniform_names) + 2);
  std::memcpy(machine.frame, values, sizeof(values));

  machine.fault = {};
  const Instruction* next = compiled.code.instructions.data();
  while (next != nullptr) next = next->run(machine, next);
  if (machine.fault.instruction == nullptr) return success();

  const MachineFault& fault = machine.fault;
  const auto position = static_cast<size_t>(fault.instruction - compiled.code.instructions.data());
  const auto region = static_cast<size_t>(fault.instruction->region);
  const std::string statement =
      print_statement_head(*compiled.code.statements[position], program_->real);
  const std::string& name = compiled.code.region_names[region];
  if (fault.unwritten) {
    return Error{
        fmt::format("function `{}`, statement `{}`: element {} of `{}` is read before it is "
                    "written",
                    function.name, statement, fault.address, name)};
  }
  return Error{fmt::format("function `{}`, statement `{}`: address {} of `{}` is outside [0, {})",
                           function.name, statement, fault.address, name,
                           machine.regions[region].elements)};
}

Status LoopEvaluator::run(LoopMemory& memory, const Uniforms& uniforms, const LoopOrder& order) {
  FG_CHECK(order.pieces > 0, "{} pieces", order.pieces);
  Status derived = derive(*program_, memory, uniforms.rows);
  if (!derived) return derived;
  for (const LoopLaunch& launch : program_->launches) {
    std::vector<std::string> functions = launch.functions;
    if (order.reverse) std::reverse(functions.begin(), functions.end());
    for (const std::string& name : functions) {
      Compiled& compiled = find(name);
      const int64_t tasks = task_count(*compiled.function, uniforms.rows);
      const int64_t pieces = std::max<int64_t>(1, std::min(order.pieces, tasks));
      for (int64_t i = 0; i < pieces; ++i) {
        const int64_t piece = order.reverse ? pieces - 1 - i : i;
        // The first `tasks % pieces` pieces get one task more.
        const int64_t size = tasks / pieces;
        const int64_t longer = tasks % pieces;
        const int64_t begin = piece * size + std::min(piece, longer);
        const int64_t end = begin + size + (piece < longer ? 1 : 0);
        Status status = run_tasks(compiled, memory, uniforms, begin, end);
        if (!status) return status;
      }
    }
  }
  return success();
}

Status evaluate(const LoopProgram& program, LoopMemory& memory, const Uniforms& uniforms,
                const LoopOrder& order) {
  return LoopEvaluator(program).run(memory, uniforms, order);
}

}  // namespace fusegrad::ir
