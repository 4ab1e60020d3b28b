// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scopes and value numbering while L is built.
#include "ir/passes/loop_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {

namespace {

void count_uses(const ExprRef& e, std::set<std::string, std::less<>>& used) {
  walk(e, [&](const Expr& node) {
    if (node.op == Op::variable) used.insert(node.name);
  });
}

/// Drops lets that nothing after them uses. Walks backwards, so that a let that only a dead one
/// uses dies too; every use stands after its let and every name is defined once, so one walk is
/// enough.
void drop_unused_lets(LoopBlock& block, std::set<std::string, std::less<>>& used) {
  LoopBlock kept;
  for (size_t i = block.size(); i-- > 0;) {
    LoopStatement& statement = block[i];
    if (auto* let = std::get_if<LoopLet>(&statement.node)) {
      if (!used.contains(let->name)) continue;
      count_uses(let->value, used);
    } else if (auto* variable = std::get_if<LoopVar>(&statement.node)) {
      count_uses(variable->value, used);
    } else if (auto* assign = std::get_if<LoopAssign>(&statement.node)) {
      count_uses(assign->value, used);
    } else if (auto* store = std::get_if<LoopStore>(&statement.node)) {
      count_uses(store->address, used);
      count_uses(store->value, used);
    } else if (auto* loop = std::get_if<LoopFor>(&statement.node)) {
      drop_unused_lets(loop->body, used);
      count_uses(loop->begin, used);
      count_uses(loop->end, used);
    } else if (auto* branch = std::get_if<LoopIf>(&statement.node)) {
      drop_unused_lets(branch->then_block, used);
      drop_unused_lets(branch->else_block, used);
      count_uses(branch->condition, used);
    }
    kept.push_back(std::move(statement));
  }
  block.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
}

}  // namespace

LoopBuilder::LoopBuilder(LoopBlock& body) : body_(body) {
  scopes_.emplace_back();
  for (const char* name : {"begin", "end"}) {
    depth_by_name_[name] = 0;
    used_[name] = 1;
  }
  for (const char* name : {"rows", "step", "epoch", "steps", "seed"}) used_[name] = 1;
}

std::string LoopBuilder::fresh(std::string_view base) {
  std::string name;
  for (char c : base) name += (c == '.' || c == '\'') ? '_' : c;
  for (;;) {
    int count = ++used_[name];
    std::string candidate = count == 1 ? name : fmt::format("{}_{}", name, count);
    if (count == 1 || used_.try_emplace(candidate, 1).second) return candidate;
  }
}

bool LoopBuilder::is_leaf(const Expr& node) const {
  return node.op == Op::constant || node.op == Op::variable || node.op == Op::uniform ||
         node.op == Op::iota;
}

size_t LoopBuilder::depth_of(const Expr& node) const {
  if (node.op == Op::variable) {
    if (mutable_.contains(node.name)) return scopes_.size() - 1;
    auto found = depth_by_name_.find(node.name);
    FG_CHECK(found != depth_by_name_.end(), "L variable `{}` is not defined", node.name);
    return found->second;
  }
  size_t depth = 0;
  if (node.op == Op::read) {
    if (written_.contains(node.name)) return scopes_.size() - 1;
    for (size_t s = 0; s < scopes_.size(); ++s) {
      if (scopes_[s].kind == ScopeKind::then_block || scopes_[s].kind == ScopeKind::else_block)
        depth = s;
    }
  }
  for (const ExprRef& operand : node.operands) depth = std::max(depth, depth_of(*operand));
  return depth;
}

ExprRef LoopBuilder::hoist(const ExprRef& value) {
  if (value->operands.empty()) return value;
  size_t depth = depth_of(*value);
  std::vector<ExprRef> operands;
  bool changed = false;
  for (const ExprRef& operand : value->operands) {
    ExprRef replacement = hoist(operand);
    bool constant_splat = replacement->op == Op::splat && is_constant(replacement->operands[0]);
    if (!is_leaf(*replacement) && !constant_splat && depth_of(*replacement) < depth) {
      replacement = bind(replacement, replacement->type.scalar == ScalarType::i64 ? "at" : "v");
    }
    changed = changed || replacement != operand;
    operands.push_back(std::move(replacement));
  }
  return changed ? with_operands(*value, std::move(operands)) : value;
}

ExprRef LoopBuilder::bind(const ExprRef& value, std::string_view base) {
  if (is_leaf(*value)) return value;
  ExprRef ready = hoist(value);
  bool fixed = false;  // its value may change between two evaluations
  walk(ready, [&](const Expr& node) {
    fixed = fixed || (node.op == Op::variable && mutable_.contains(node.name)) ||
            (node.op == Op::read && written_.contains(node.name));
  });
  size_t depth = depth_of(*ready);
  auto& known = scopes_[depth].values[ready->hash()];
  if (!fixed) {
    for (const auto& [expression, variable] : known) {
      if (same(expression, ready)) return variable;
    }
  }
  std::string name = fresh(base);
  ExprRef variable = make_variable(name, ready->type);
  scopes_[depth].block.push_back({LoopLet{name, ready}});
  depth_by_name_[name] = depth;
  if (ready->type == Type{ScalarType::i64}) {
    if (std::optional<Interval> range = interval(ready, ranges_)) ranges_.by_name[name] = *range;
  }
  if (!fixed) known.emplace_back(ready, variable);
  return variable;
}

ExprRef LoopBuilder::declare_var(std::string_view base, const ExprRef& initial) {
  std::string name = fresh(base);
  scopes_.back().block.push_back({LoopVar{name, hoist(initial)}});
  mutable_.insert(name);
  depth_by_name_[name] = scopes_.size() - 1;
  return make_variable(name, initial->type);
}

void LoopBuilder::assign(const ExprRef& variable, const ExprRef& value) {
  ExprRef ready = hoist(value);
  scopes_.back().block.push_back({LoopAssign{variable->name, std::move(ready)}});
}

void LoopBuilder::store(std::string_view memory, const ExprRef& address, const ExprRef& value) {
  ExprRef ready_address = hoist(address);
  ExprRef ready_value = hoist(value);
  scopes_.back().block.push_back(
      {LoopStore{std::string(memory), std::move(ready_address), std::move(ready_value)}});
}

void LoopBuilder::declare_stack(const std::string& name, ScalarType type, int64_t elements) {
  used_[name] = 1;
  written_.insert(name);
  LoopBlock& top = scopes_.front().block;
  auto first_other = std::find_if(top.begin(), top.end(), [](const LoopStatement& statement) {
    return !std::holds_alternative<LoopStack>(statement.node);
  });
  top.insert(first_other, {LoopStack{name, type, elements}});
}

ExprRef LoopBuilder::open_for(std::string_view base, const ExprRef& begin, const ExprRef& end,
                              Interval range) {
  ExprRef ready_begin = hoist(begin);
  ExprRef ready_end = hoist(end);
  Scope scope;
  scope.kind = ScopeKind::loop;
  scope.loop.name = fresh(base);
  scope.loop.begin = std::move(ready_begin);
  scope.loop.end = std::move(ready_end);
  scope.loop.step = 1;
  scopes_.push_back(std::move(scope));
  const std::string& name = scopes_.back().loop.name;
  depth_by_name_[name] = scopes_.size() - 1;
  ranges_.by_name[name] = range;
  return make_variable(name, {ScalarType::i64});
}

void LoopBuilder::set_range(const ExprRef& variable, Interval range) {
  ranges_.by_name[variable->name] = range;
}

void LoopBuilder::open_if(const ExprRef& condition) {
  Scope scope;
  scope.kind = ScopeKind::then_block;
  scope.condition = hoist(condition);
  scopes_.push_back(std::move(scope));
}

void LoopBuilder::open_else() {
  Scope& scope = scopes_.back();
  FG_CHECK(scope.kind == ScopeKind::then_block, "else without if");
  scope.then_block = std::move(scope.block);
  scope.block.clear();
  scope.values.clear();
  scope.kind = ScopeKind::else_block;
}

void LoopBuilder::close() {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  switch (scope.kind) {
    case ScopeKind::function: {
      std::set<std::string, std::less<>> used;
      drop_unused_lets(scope.block, used);
      body_ = std::move(scope.block);
      return;
    }
    case ScopeKind::loop:
      scope.loop.body = std::move(scope.block);
      scopes_.back().block.push_back({std::move(scope.loop)});
      return;
    case ScopeKind::then_block:
      scopes_.back().block.push_back({LoopIf{scope.condition, std::move(scope.block), {}}});
      return;
    case ScopeKind::else_block:
      scopes_.back().block.push_back(
          {LoopIf{scope.condition, std::move(scope.then_block), std::move(scope.block)}});
      return;
  }
}

}  // namespace fusegrad::ir
