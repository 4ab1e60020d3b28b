// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running the same L twice and finding differences.
#include "tests/codegen/loops.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "ir/loop/print.h"
#include "ir/support/check.h"

namespace fusegrad::test {

using ir::ExprRef;
using ir::Op;
using ir::ScalarType;

ExprRef operator+(ExprRef a, ExprRef b) {
  return ir::make_binary(Op::add, std::move(a), std::move(b));
}
ExprRef operator-(ExprRef a, ExprRef b) {
  return ir::make_binary(Op::subtract, std::move(a), std::move(b));
}
ExprRef operator*(ExprRef a, ExprRef b) {
  return ir::make_binary(Op::multiply, std::move(a), std::move(b));
}

ir::LoopStatement let(std::string name, ExprRef value) {
  return {ir::LoopLet{std::move(name), std::move(value)}};
}
ir::LoopStatement var(std::string name, ExprRef value) {
  return {ir::LoopVar{std::move(name), std::move(value)}};
}
ir::LoopStatement assign(std::string name, ExprRef value) {
  return {ir::LoopAssign{std::move(name), std::move(value)}};
}
ir::LoopStatement stack(std::string name, ScalarType type, int64_t elements) {
  return {ir::LoopStack{std::move(name), type, elements}};
}
ir::LoopStatement store(std::string buffer, ExprRef address, ExprRef value) {
  return {ir::LoopStore{std::move(buffer), std::move(address), std::move(value)}};
}
ir::LoopStatement loop(std::string name, ExprRef begin, ExprRef end, int64_t step,
                       ir::LoopBlock body) {
  return {ir::LoopFor{std::move(name), std::move(begin), std::move(end), step, std::move(body)}};
}
ir::LoopStatement branch(ExprRef condition, ir::LoopBlock then_block, ir::LoopBlock else_block) {
  return {ir::LoopIf{std::move(condition), std::move(then_block), std::move(else_block)}};
}

ir::Buffer buffer(std::string name, ScalarType type, int64_t elements, ir::BufferKind kind) {
  ir::Buffer result;
  result.kind = kind;
  result.name = std::move(name);
  result.type = type;
  result.shape = {ir::Extent::number(elements)};
  return result;
}

ir::LoopParameter parameter(const ir::LoopProgram& program, std::string_view name, bool written) {
  if (name == ir::row_list_name) {
    return {std::string(name), ScalarType::i32, program.batch, written};
  }
  const ir::Buffer* found = program.find_buffer(name);
  FG_CHECK(found != nullptr, "no buffer `{}`", name);
  int64_t elements = found->kind == ir::BufferKind::input ? -1 : found->physical_elements();
  return {std::string(name), found->type, elements, written};
}

namespace {

constexpr size_t alignment = 64;
constexpr std::byte guard{0xa5};

size_t rounded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// Vectors of the widest kind may not reach past the end either.
constexpr size_t guard_bytes = 2 * alignment;

}  // namespace

void AlignedMemory::Free::operator()(std::byte* memory) const { std::free(memory); }

AlignedMemory::Block AlignedMemory::allocate(size_t bytes) {
  Block block;
  const size_t total = rounded(bytes) + guard_bytes;
  block.memory.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, total)));
  block.bytes = bytes;
  std::memset(block.memory.get(), 0, bytes);
  std::memset(block.memory.get() + bytes, static_cast<int>(guard), total - bytes);
  return block;
}

AlignedMemory::AlignedMemory(const ir::LoopProgram& program, int64_t samples)
    : program_(&program), row_list_(static_cast<size_t>(program.batch)) {
  std::iota(row_list_.begin(), row_list_.end(), 0);
  for (const ir::Buffer& buffer : program.buffers) {
    int64_t bytes = buffer.physical_elements() * byte_size(buffer.type);
    if (buffer.kind == ir::BufferKind::input) bytes = bytes / program.batch * samples;
    const bool in_arena = buffer.kind == ir::BufferKind::temporary && buffer.offset >= 0;
    blocks_.push_back(in_arena ? Block{} : allocate(static_cast<size_t>(bytes)));
  }
  blocks_.push_back(allocate(static_cast<size_t>(program.arena_bytes)));
  lay_out();
}

AlignedMemory::AlignedMemory(const AlignedMemory& other)
    : program_(other.program_), row_list_(other.row_list_) {
  for (const Block& block : other.blocks_) {
    if (block.memory == nullptr) {
      blocks_.emplace_back();
      continue;
    }
    blocks_.push_back(allocate(block.bytes));
    std::memcpy(blocks_.back().memory.get(), block.memory.get(), block.bytes);
  }
  lay_out();
}

void AlignedMemory::lay_out() {
  for (size_t i = 0; i < program_->buffers.size(); ++i) {
    const ir::Buffer& buffer = program_->buffers[i];
    Block& block = blocks_[i];
    std::span<std::byte> bytes(block.memory.get(), block.bytes);
    if (block.memory == nullptr) {
      bytes = {blocks_.back().memory.get() + buffer.offset,
               static_cast<size_t>(buffer.physical_elements() * byte_size(buffer.type))};
    }
    view_.buffers.push_back(bytes);
  }
  view_.row_list = row_list_;
}

std::byte* AlignedMemory::data(std::string_view name) {
  const ir::Buffer* found = program_->find_buffer(name);
  FG_CHECK(found != nullptr, "no buffer `{}`", name);
  return view_.buffers[static_cast<size_t>(found - program_->buffers.data())].data();
}

std::vector<void*> AlignedMemory::pointers(const std::vector<std::string>& names) {
  std::vector<void*> table;
  for (const std::string& name : names) {
    table.push_back(name == ir::row_list_name ? static_cast<void*>(row_list_.data())
                                              : static_cast<void*>(data(name)));
  }
  return table;
}

bool AlignedMemory::guards_hold() const {
  for (const Block& block : blocks_) {
    if (block.memory == nullptr) continue;
    const size_t total = rounded(block.bytes) + guard_bytes;
    for (size_t i = block.bytes; i < total; ++i) {
      if (block.memory.get()[i] != guard) return false;
    }
  }
  return true;
}

namespace {

template <typename T, typename Bits>
bool differs(const std::byte* a, const std::byte* b) {
  T x;
  T y;
  Bits p;
  Bits q;
  std::memcpy(&x, a, sizeof(T));
  std::memcpy(&y, b, sizeof(T));
  std::memcpy(&p, a, sizeof(T));
  std::memcpy(&q, b, sizeof(T));
  return p != q && !(x != x && y != y);
}

bool element_differs(ScalarType type, const std::byte* a, const std::byte* b) {
  if (type == ScalarType::f32) return differs<float, uint32_t>(a, b);
  if (type == ScalarType::f64) return differs<double, uint64_t>(a, b);
  return std::memcmp(a, b, static_cast<size_t>(byte_size(type))) != 0;
}

std::string element_text(ScalarType type, const std::byte* at) {
  std::string text = "0x";
  for (int64_t i = byte_size(type); i-- > 0;)
    text += fmt::format("{:02x}", static_cast<int>(at[i]));
  if (type == ScalarType::f32) {
    float x;
    std::memcpy(&x, at, sizeof(x));
    text += fmt::format(" ({})", x);
  }
  if (type == ScalarType::f64) {
    double x;
    std::memcpy(&x, at, sizeof(x));
    text += fmt::format(" ({})", x);
  }
  return text;
}

}  // namespace

std::string difference(const ir::LoopProgram& program, AlignedMemory& expected,
                       AlignedMemory& found) {
  constexpr int most = 4;
  int count = 0;
  std::string text;
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const ir::Buffer& buffer = program.buffers[i];
    const auto size = static_cast<size_t>(byte_size(buffer.type));
    std::span<std::byte> a = expected.view().buffers[i];
    std::span<std::byte> b = found.view().buffers[i];
    for (size_t at = 0; at + size <= a.size(); at += size) {
      if (!element_differs(buffer.type, &a[at], &b[at])) continue;
      if (++count > most) return text;
      text += fmt::format("{}[{}] is {}, should be {}\n", buffer.name, at / size,
                          element_text(buffer.type, &b[at]), element_text(buffer.type, &a[at]));
    }
  }
  return text;
}

std::string run_and_compare(const ir::LoopProgram& program, const AlignedMemory& memory,
                            const ir::LoopUniforms& uniforms, const runtime::JitOptions& options) {
  auto compiled = runtime::compile(program, options);
  if (!compiled) return compiled.error().message;
  ir::LoopEvaluator evaluator(program);
  AlignedMemory expected(memory);
  AlignedMemory found(memory);
  std::vector<void*> pointers = found.pointers(compiled->buffer_names());
  const runtime::Uniforms given = {uniforms.rows, uniforms.step, uniforms.epoch, uniforms.steps,
                                   uniforms.seed};
  auto run = [&](const ir::LoopFunction& function) -> std::string {
    const int64_t tasks = ir::task_count(function, uniforms.rows);
    Status status = evaluator.run_function(function.name, expected.view(), uniforms, 0, tasks);
    if (!status) return status.error().message;
    runtime::KernelFunction generated = compiled->function(function.name);
    if (generated == nullptr) return "it was not compiled";
    generated(pointers.data(), &given, 0, tasks);
    return "";
  };
  auto compare = [&] {
    std::string text = difference(program, expected, found);
    if (!found.guards_hold()) text += "memory behind a buffer was written\n";
    return text;
  };
  auto all = [&](bool one_by_one) -> std::string {
    for (const ir::LoopFunction& function : program.functions) {
      std::string problem = run(function);
      if (problem.empty() && one_by_one) problem = compare();
      if (!problem.empty()) return problem + "\n" + print(function, program.real);
    }
    return compare();
  };
  std::string problem = all(false);
  if (problem.empty()) return "";
  // Once more from the start, to find the first function that is wrong.
  expected = AlignedMemory(memory);
  found = AlignedMemory(memory);
  pointers = found.pointers(compiled->buffer_names());
  std::string first = all(true);
  return first.empty() ? problem : first;
}

}  // namespace fusegrad::test
