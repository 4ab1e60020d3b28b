// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The optimizer as statements: what a rule says of one element is said of every element of every
// parameter, so that updates are grouped, fused and compiled like anything else.
#include <algorithm>
#include <set>
#include <utility>

#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Names for the elements' indices: those of the gradient's statement, which follow the model.
std::vector<IndexRange> element_indices(const TensorProgram& program, const std::string& gradient,
                                        const Shape& shape) {
  if (const TensorStatement* statement = program.find_statement(gradient)) {
    return statement->indices;
  }
  std::vector<IndexRange> indices;
  for (const Extent& extent : shape) {
    std::string base = "q" + (indices.empty() ? "" : std::to_string(indices.size() + 1));
    indices.push_back({program.fresh_name(base), 0, extent});
  }
  return indices;
}

std::vector<ExprRef> positions(const std::vector<IndexRange>& indices) {
  std::vector<ExprRef> result;
  for (const IndexRange& index : indices) result.push_back(make_index(index.name));
  return result;
}

/// The rule's expression with its variables replaced.
ExprRef fill(const ExprRef& e, const std::map<std::string, ExprRef>& values) {
  return rewrite(e, [&](const ExprRef& node) {
    if (node->op != Op::variable) return node;
    auto found = values.find(node->name);
    FG_CHECK(found != values.end(), "an update rule mentions `{}`", node->name);
    return found->second;
  });
}

void add_update(TensorProgram& program, const std::string& target,
                const std::vector<IndexRange>& indices, ScalarType type, ExprRef value,
                Span origin) {
  TensorStatement statement;
  statement.name = program.fresh_name(target + "'");
  statement.indices = indices;
  statement.type = type;
  statement.value = std::move(value);
  statement.origin = origin;
  program.updates.push_back({target, statement.name});
  program.statements.push_back(std::move(statement));
}

/// Initial values of the states of one parameter.
void add_initial_values(TensorProgram& init, const TensorDeclaration& parameter,
                        const std::vector<IndexRange>& indices, const UpdateRule& rule) {
  std::map<std::string, ExprRef> values;
  for (const TensorUpdate& update : init.updates) {
    if (update.target != parameter.name) continue;
    values["p"] = make_read(update.value, parameter.type, positions(indices));
  }
  for (const UpdateRule::State& state : rule.states) {
    const std::string name = parameter.name + "." + state.name;
    add_update(init, name, indices, parameter.type, fill(state.initial, values), rule.origin);
  }
}

void declare_states(TensorProgram& program, const TensorDeclaration& parameter,
                    const UpdateRule& rule) {
  for (const UpdateRule::State& state : rule.states) {
    TensorDeclaration declaration = parameter;
    declaration.kind = TensorKind::state;
    declaration.name = parameter.name + "." + state.name;
    declaration.origin = rule.origin;
    FG_CHECK(!program.type_of(declaration.name), "there already is a tensor `{}`",
             declaration.name);
    program.declarations.push_back(std::move(declaration));
  }
}

}  // namespace

TensorModule apply_update_rules(const TensorModule& module,
                                const std::map<std::string, UpdateRule>& rules) {
  TensorModule result = module;
  TensorProgram* train = result.find("train");
  TensorProgram* init = result.find("init");
  FG_CHECK(train != nullptr && init != nullptr, "programs init and train are needed");
  std::vector<TensorResult> gradients;
  for (const TensorResult& item : train->results) {
    if (item.kind == TensorResultKind::gradient) gradients.push_back(item);
  }
  std::erase_if(train->results,
                [](const TensorResult& item) { return item.kind == TensorResultKind::gradient; });
  for (const TensorResult& gradient : gradients) {
    auto found = rules.find(gradient.label);
    if (found == rules.end()) continue;
    const UpdateRule& rule = found->second;
    const TensorDeclaration* declared = train->find_declaration(gradient.label);
    FG_CHECK(declared != nullptr, "gradient of `{}`, which is no parameter", gradient.label);
    const TensorDeclaration parameter = *declared;
    const std::vector<IndexRange> indices =
        element_indices(*train, gradient.tensor, parameter.shape);
    declare_states(*train, parameter, rule);
    declare_states(*init, parameter, rule);
    add_initial_values(*init, parameter, indices, rule);
    std::map<std::string, ExprRef> values;
    values["p"] = make_read(parameter.name, parameter.type, positions(indices));
    values["g"] = make_read(gradient.tensor, parameter.type, positions(indices));
    for (const UpdateRule::State& state : rule.states) {
      values[state.name] =
          make_read(parameter.name + "." + state.name, parameter.type, positions(indices));
    }
    for (const UpdateRule::Update& update : rule.updates) {
      const std::string target =
          update.target == "p" ? parameter.name : parameter.name + "." + update.target;
      add_update(*train, target, indices, parameter.type, fill(update.value, values), rule.origin);
    }
  }
  return result;
}

}  // namespace fusegrad::ir
