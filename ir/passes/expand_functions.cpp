// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L to L: calls of exp, log, tanh, powers, random numbers become arithmetic, one definition for all
// targets. What a call needs stands as `let`s right before the statement that contains it.
#include <set>
#include <utility>

#include "ir/passes/lane_math.h"
#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using Expansion = Lanes (*)(LaneWriter&, const Lanes&);

/// The expansion of a function of one argument; null for any other operator.
Expansion expansion_of(Op op) {
  switch (op) {
    case Op::exp:
      return expand_exp;
    case Op::log:
      return expand_log;
    case Op::log1p:
      return expand_log1p;
    case Op::expm1:
      return expand_expm1;
    case Op::rsqrt:
      return expand_rsqrt;
    case Op::tanh:
      return expand_tanh;
    case Op::erf:
      return expand_erf;
    case Op::sin:
      return expand_sin;
    case Op::cos:
      return expand_cos;
    case Op::constant:
    case Op::index:
    case Op::uniform:
    case Op::read:
    case Op::variable:
    case Op::negate:
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
    case Op::floor_divide:
    case Op::modulo:
    case Op::power:
    case Op::minimum:
    case Op::maximum:
    case Op::less:
    case Op::less_equal:
    case Op::greater:
    case Op::greater_equal:
    case Op::equal:
    case Op::not_equal:
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not:
    case Op::select:
    case Op::sqrt:
    case Op::abs:
    case Op::floor:
    case Op::convert:
    case Op::rand:
    case Op::normal:
    case Op::stop_gradient:
    case Op::custom:
    case Op::fma:
    case Op::splat:
    case Op::lane:
    case Op::iota:
    case Op::bit_cast:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::shift_left:
    case Op::shift_right:
    case Op::vector_sum:
      return nullptr;
  }
  return nullptr;
}

bool is_call(const Expr& node) {
  return expansion_of(node.op) != nullptr || node.op == Op::power || node.op == Op::rand ||
         node.op == Op::normal;
}

bool has_call(const ExprRef& e) {
  bool found = false;
  walk(e, [&](const Expr& node) { found = found || is_call(node); });
  return found;
}

/// Every name that the block gives to something.
void collect_names(const LoopBlock& block, std::set<std::string>& names) {
  for (const LoopStatement& statement : block) {
    if (const auto* let = std::get_if<LoopLet>(&statement.node)) names.insert(let->name);
    if (const auto* var = std::get_if<LoopVar>(&statement.node)) names.insert(var->name);
    if (const auto* stack = std::get_if<LoopStack>(&statement.node)) names.insert(stack->name);
    if (const auto* loop = std::get_if<LoopFor>(&statement.node)) {
      names.insert(loop->name);
      collect_names(loop->body, names);
    }
    if (const auto* branch = std::get_if<LoopIf>(&statement.node)) {
      collect_names(branch->then_block, names);
      collect_names(branch->else_block, names);
    }
  }
}

std::set<std::string> names_of(const LoopFunction& function) {
  std::set<std::string> names = {"begin", "end", "rows", "step", "epoch", "steps", "seed"};
  for (const LoopParameter& parameter : function.parameters) names.insert(parameter.name);
  collect_names(function.body, names);
  return names;
}

class FunctionExpansion {
 public:
  explicit FunctionExpansion(const LoopFunction& function) : writer_(names_of(function)) {}

  LoopBlock block(const LoopBlock& statements) {
    writer_.open_block();
    for (const LoopStatement& statement : statements) {
      std::visit([this](const auto& node) { write(node); }, statement.node);
    }
    return writer_.close_block();
  }

 private:
  void write(const LoopLet& let) { writer_.add({LoopLet{let.name, expanded(let.value)}}); }
  void write(const LoopVar& var) {
    writer_.add({LoopVar{var.name, expanded(var.value)}});
    writer_.mark_changing(var.name);
  }
  void write(const LoopAssign& assign) {
    writer_.add({LoopAssign{assign.name, expanded(assign.value)}});
  }
  void write(const LoopStack& stack) { writer_.add({stack}); }
  void write(const LoopStore& store) {
    ExprRef address = expanded(store.address);
    ExprRef value = expanded(store.value);
    writer_.add({LoopStore{store.buffer, std::move(address), std::move(value)}});
  }
  void write(const LoopFor& loop) {
    ExprRef begin = expanded(loop.begin);
    ExprRef end = expanded(loop.end);
    writer_.add(
        {LoopFor{loop.name, std::move(begin), std::move(end), loop.step, block(loop.body)}});
  }
  void write(const LoopIf& branch) {
    ExprRef condition = expanded(branch.condition);
    LoopBlock then_block = block(branch.then_block);
    LoopBlock else_block = block(branch.else_block);
    writer_.add({LoopIf{std::move(condition), std::move(then_block), std::move(else_block)}});
  }

  /// The expression without calls; what they need is written before.
  ExprRef expanded(const ExprRef& e) {
    if (!has_call(e)) return e;
    return rewrite(e, [this](const ExprRef& node) {
      return is_call(*node) ? writer_.name(name_of(node->op), call(*node)).e : node;
    });
  }

  static std::string_view name_of(Op op) { return op == Op::power ? "power" : spelling(op); }

  Lanes call(const Expr& node) {
    const Lanes x = writer_.name("x", {node.operands[0]});
    if (const Expansion expand = expansion_of(node.op)) return expand(writer_, x);
    if (node.op == Op::power) {
      return expand_power(writer_, x, writer_.name("y", {node.operands[1]}));
    }
    const auto expand = node.op == Op::rand ? expand_rand : expand_normal;
    return expand(writer_, node.integer, x, node.type.scalar);
  }

  LaneWriter writer_;
};

}  // namespace

LoopProgram expand_functions(const LoopProgram& program) {
  LoopProgram result = program;
  for (LoopFunction& function : result.functions) {
    function.body = FunctionExpansion(function).block(function.body);
  }
  return result;
}

}  // namespace fusegrad::ir
