// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions are compared by a text in which names are numbers, counted as they first occur. The
// numbers are one to one with the names, so equal texts mean equal functions.
#include "ir/loop/equal_functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "ir/kernel/buffer_index.h"

namespace fusegrad::ir {
namespace {

std::optional<IntegerRange> arena_bytes(const Buffer& buffer) {
  if (buffer.kind != BufferKind::temporary || buffer.offset < 0) return std::nullopt;
  const int64_t bytes = buffer.physical_elements() * byte_size(buffer.type);
  return IntegerRange{buffer.offset, buffer.offset + bytes};
}

/// Numbers for names, from 0 in the order of first occurrence.
class Numbering {
 public:
  size_t of(const std::string& name) { return numbers_.try_emplace(name, size()).first->second; }
  size_t size() const { return numbers_.size(); }

 private:
  std::unordered_map<std::string, size_t> numbers_;
};

/// The text of one function.
class CanonicalText {
 public:
  CanonicalText(const BufferIndex& buffers, const LoopFunction& function)
      : buffers_(buffers), function_(function) {}

  std::string text() {
    for (const char* name : {"begin", "end"}) values_.of(name);
    block(function_.body);
    write_parameters();
    return std::move(text_);
  }

  /// Positions of the parameters, in the order in which the body first mentions them.
  const std::vector<size_t>& order() const { return order_; }

 private:
  template <typename... Parts>
  void write(fmt::format_string<Parts...> format, Parts&&... parts) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
  }

  // ---- Parameters. `memories_` also has the names of stacks.

  void write_parameters() {
    std::vector<std::pair<size_t, size_t>> numbered;
    for (size_t i = 0; i < function_.parameters.size(); ++i) {
      numbered.emplace_back(memories_.of(function_.parameters[i].name), i);
    }
    std::sort(numbered.begin(), numbered.end());
    for (const auto& [number, position] : numbered) {
      const LoopParameter& parameter = function_.parameters[position];
      const Buffer* buffer = buffers_.find(parameter.name);
      write("p{} {} {} {} {}:", number, spelling(parameter.type), parameter.elements,
            parameter.written,
            buffer == nullptr ? "no buffer"
                              : (buffer->kind == BufferKind::input ? "input" : "buffer"));
      for (const size_t other : order_) {
        const std::string& name = function_.parameters[other].name;
        if (may_share_memory(buffer, buffers_.find(name))) write(" {}", memories_.of(name));
      }
      order_.push_back(position);
    }
  }

  // ---- Statements.

  void block(const LoopBlock& statements) {
    text_ += '{';
    for (const LoopStatement& statement : statements) {
      std::visit([&](const auto& node) { write_statement(node); }, statement.node);
      text_ += ';';
    }
    text_ += '}';
  }

  void write_statement(const LoopLet& let) {
    expression(let.value);
    write("let{}", values_.of(let.name));
  }
  void write_statement(const LoopVar& var) {
    expression(var.value);
    write("var{}", values_.of(var.name));
  }
  void write_statement(const LoopAssign& assign) {
    expression(assign.value);
    write("set{}", values_.of(assign.name));
  }
  void write_statement(const LoopStack& stack) {
    write("stack{} {} {}", memories_.of(stack.name), spelling(stack.type), stack.elements);
  }
  void write_statement(const LoopStore& store) {
    expression(store.address);
    expression(store.value);
    write("store{}", memories_.of(store.buffer));
  }
  void write_statement(const LoopFor& loop) {
    expression(loop.begin);
    expression(loop.end);
    write("for{} {}", values_.of(loop.name), loop.step);
    block(loop.body);
  }
  void write_statement(const LoopIf& branch) {
    expression(branch.condition);
    text_ += "if";
    block(branch.then_block);
    block(branch.else_block);
  }

  // ---- Expressions, operands first. Shared nodes are written once and then by number.

  void expression(const ExprRef& e) {
    if (auto known = nodes_.find(e.get()); known != nodes_.end()) {
      write("#{},", known->second);
      return;
    }
    for (const ExprRef& operand : e->operands) expression(operand);
    write("{}:{}x{}", static_cast<int>(e->op), static_cast<int>(e->type.scalar), e->type.lanes);
    if (e->op == Op::read) {
      write("m{}", memories_.of(e->name));
    } else if (e->op == Op::variable || e->op == Op::index) {
      write("v{}", values_.of(e->name));
    } else {
      write("{}", e->name);  // uniforms keep their names
    }
    write("/{}/{:x}/{},", e->integer, std::bit_cast<uint64_t>(e->real), e->operands.size());
    if (!e->operands.empty()) nodes_.emplace(e.get(), nodes_.size());
  }

  const BufferIndex& buffers_;
  const LoopFunction& function_;
  std::string text_;
  Numbering values_;
  Numbering memories_;
  std::vector<size_t> order_;
  std::unordered_map<const Expr*, size_t> nodes_;
};

}  // namespace

bool may_share_memory(const Buffer* a, const Buffer* b) {
  if (a == nullptr || b == nullptr) return false;
  const std::optional<IntegerRange> x = arena_bytes(*a);
  const std::optional<IntegerRange> y = arena_bytes(*b);
  return x && y && x->begin < y->end && y->begin < x->end;
}

std::vector<EqualFunction> equal_functions(const LoopProgram& program) {
  std::vector<EqualFunction> result;
  std::unordered_map<std::string, size_t> seen;
  std::vector<std::vector<size_t>> orders;
  const BufferIndex buffers(program.buffers);
  for (size_t i = 0; i < program.functions.size(); ++i) {
    CanonicalText canonical(buffers, program.functions[i]);
    const size_t first = seen.try_emplace(canonical.text(), i).first->second;
    orders.push_back(canonical.order());
    EqualFunction equal = {first, std::vector<size_t>(orders[i].size())};
    for (size_t k = 0; k < orders[i].size(); ++k) {
      equal.parameters.at(orders[first].at(k)) = orders[i].at(k);
    }
    result.push_back(std::move(equal));
  }
  return result;
}

}  // namespace fusegrad::ir
