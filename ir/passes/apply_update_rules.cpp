// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The optimizer as statements: what a rule says of one element is said of every element of every
// parameter, so that updates are grouped, fused and compiled like anything else.
#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "ir/passes/passes.h"
#include "ir/support/check.h"
#include "ir/tensor/tensor_index.h"

namespace fusegrad::ir {
namespace {

/// A program that grows.
class Growing {
 public:
  explicit Growing(TensorProgram& program) : program_(program), index_(program) {
    for (const TensorUpdate& update : program.updates) values_[update.target] = update.value;
  }

  const TensorProgram& operator*() const { return program_; }
  const TensorProgram* operator->() const { return &program_; }
  const TensorIndex& index() const { return index_; }
  std::string fresh_name(const std::string& base) const { return index_.fresh_name(base); }
  /// What the tensor becomes at the end of the step; null if nothing is said about it.
  const std::string* value_after(const std::string& target) const {
    auto found = values_.find(target);
    return found == values_.end() ? nullptr : &found->second;
  }

  void add(TensorStatement statement) {
    program_.statements.push_back(std::move(statement));
    index_.added(program_.statements.back());
  }
  void add(TensorDeclaration declaration) {
    program_.declarations.push_back(std::move(declaration));
    index_.added(program_.declarations.back());
  }
  void add(TensorUpdate update) {
    values_[update.target] = update.value;
    program_.updates.push_back(std::move(update));
  }

 private:
  TensorProgram& program_;
  TensorIndex index_;
  std::unordered_map<std::string, std::string> values_;
};

/// Names for the elements' indices: those of the gradient's statement, which follow the model.
std::vector<IndexRange> element_indices(const Growing& program, const std::string& gradient,
                                        const Shape& shape) {
  if (const TensorStatement* statement = program.index().statement(*program, gradient)) {
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

/// Appends a map under a name that is still free, and returns the name.
std::string add_map(Growing& program, const std::string& base,
                    const std::vector<IndexRange>& indices, ScalarType type, ExprRef value,
                    Span origin) {
  TensorStatement statement;
  statement.name = program.fresh_name(base);
  statement.indices = indices;
  statement.type = type;
  statement.value = std::move(value);
  statement.origin = origin;
  program.add(std::move(statement));
  return program->statements.back().name;
}

void add_update(Growing& program, const std::string& target, const std::vector<IndexRange>& indices,
                ScalarType type, ExprRef value, Span origin) {
  program.add(TensorUpdate{
      target, add_map(program, target + "'", indices, type, std::move(value), origin)});
}

/// The tensor of a rule's state. A transform's states have its name between: an optimizer and
/// several transforms may each have a state `m`.
std::string state_name(const std::string& parameter, const std::string& prefix,
                       const UpdateRule::State& state) {
  return parameter + "." + prefix + state.name;
}

/// One parameter of the job and the rule that is applied to it.
struct Subject {
  TensorDeclaration parameter;
  std::vector<IndexRange> indices;
  std::string gradient;  ///< the tensor, as the transforms so far have left it
};

/// Initial values of the states of one parameter.
void add_initial_values(Growing& init, const Subject& subject, const UpdateRule& rule,
                        const std::string& prefix) {
  const TensorDeclaration& parameter = subject.parameter;
  std::map<std::string, ExprRef> values;
  if (const std::string* value = init.value_after(parameter.name)) {
    values["p"] = make_read(*value, parameter.type, positions(subject.indices));
  }
  for (const UpdateRule::State& state : rule.states) {
    add_update(init, state_name(parameter.name, prefix, state), subject.indices, parameter.type,
               fill(state.initial, values), rule.origin);
  }
}

void declare_states(Growing& program, const TensorDeclaration& parameter, const UpdateRule& rule,
                    const std::string& prefix) {
  for (const UpdateRule::State& state : rule.states) {
    TensorDeclaration declaration = parameter;
    declaration.kind = TensorKind::state;
    declaration.name = state_name(parameter.name, prefix, state);
    declaration.origin = rule.origin;
    FG_CHECK(!program.index().is_taken(declaration.name), "there already is a tensor `{}`",
             declaration.name);
    program.add(std::move(declaration));
  }
}

/// What the variables of a rule stand for, totals excepted.
std::map<std::string, ExprRef> element_values(const Subject& subject, const UpdateRule& rule,
                                              const std::string& prefix) {
  const TensorDeclaration& parameter = subject.parameter;
  std::map<std::string, ExprRef> values;
  values["p"] = make_read(parameter.name, parameter.type, positions(subject.indices));
  values["g"] = make_read(subject.gradient, parameter.type, positions(subject.indices));
  for (const UpdateRule::State& state : rule.states) {
    values[state.name] = make_read(state_name(parameter.name, prefix, state), parameter.type,
                                   positions(subject.indices));
  }
  return values;
}

/// A tree of additions, so that thousands of parameters make no expression of thousands of levels.
ExprRef sum_of(std::vector<ExprRef> terms) {
  while (terms.size() > 1) {
    std::vector<ExprRef> sums;
    for (size_t i = 0; i < terms.size(); i += 2) {
      sums.push_back(i + 1 == terms.size() ? terms[i]
                                           : make_binary(Op::add, terms[i], terms[i + 1]));
    }
    terms = std::move(sums);
  }
  return terms[0];
}

/// Applies transforms and optimizer to the two programs.
class RuleWriter {
 public:
  RuleWriter(Growing& train, Growing& init) : train_(train), init_(init) {}

  void transform(std::vector<Subject>& subjects, const GradientTransform& transform) {
    const std::string prefix = transform.name + ".";
    std::map<std::string, ExprRef> totals;
    // All rules name the same totals; what a later one mentions of an earlier one is known by then.
    std::vector<std::string> names;
    for (const auto& [parameter, rule] : transform.rules) {
      for (const UpdateRule::Total& total : rule.totals) {
        if (std::find(names.begin(), names.end(), total.name) == names.end()) {
          names.push_back(total.name);
        }
      }
    }
    for (const std::string& name : names) {
      if (ExprRef value = total_of(subjects, transform, name, totals)) totals[name] = value;
    }
    scalars_.clear();
    for (Subject& subject : subjects) {
      const UpdateRule* rule = rule_for(transform, subject);
      if (rule == nullptr) continue;
      declare(subject, *rule, prefix);
      std::map<std::string, ExprRef> values = element_values(subject, *rule, prefix);
      std::string gradient = subject.gradient;
      for (const UpdateRule::Update& update : rule->updates) {
        const ExprRef text = with_scalars(update.value, transform, totals, rule->origin);
        values.insert(totals.begin(), totals.end());
        ExprRef value = fill(text, values);
        if (update.target == "g") {
          gradient = add_map(train_, subject.gradient + "." + transform.name, subject.indices,
                             subject.parameter.type, std::move(value), rule->origin);
        } else {
          add_update(train_, subject.parameter.name + "." + prefix + update.target, subject.indices,
                     subject.parameter.type, std::move(value), rule->origin);
        }
      }
      subject.gradient = gradient;
    }
  }

  void optimize(const Subject& subject, const UpdateRule& rule) {
    const TensorDeclaration& parameter = subject.parameter;
    for (const UpdateRule::Setting& setting : rule.settings) declare_setting(setting, rule.origin);
    declare(subject, rule, "");
    const std::map<std::string, ExprRef> values = element_values(subject, rule, "");
    for (const UpdateRule::Update& update : rule.updates) {
      const std::string target =
          update.target == "p" ? parameter.name : parameter.name + "." + update.target;
      add_update(train_, target, subject.indices, parameter.type, fill(update.value, values),
                 rule.origin);
    }
  }

 private:
  static const UpdateRule* rule_for(const GradientTransform& transform, const Subject& subject) {
    auto found = transform.rules.find(subject.parameter.name);
    return found == transform.rules.end() ? nullptr : &found->second;
  }

  /// What is made of totals alone is computed once: it becomes a statement, and the expression a
  /// mention of it. Equal ones of several parameters share one.
  ExprRef with_scalars(const ExprRef& e, const GradientTransform& transform,
                       std::map<std::string, ExprRef>& totals, Span origin) {
    bool has_total = false;
    bool has_element = false;
    walk(e, [&](const Expr& node) {
      if (node.op != Op::variable) return;
      (totals.contains(node.name) ? has_total : has_element) = true;
    });
    if (!has_total || e->op == Op::variable) return e;
    if (has_element || !is_real(e->type.scalar)) {
      std::vector<ExprRef> operands;
      for (const ExprRef& operand : e->operands) {
        operands.push_back(with_scalars(operand, transform, totals, origin));
      }
      return with_operands(*e, std::move(operands));
    }
    auto known = std::find_if(scalars_.begin(), scalars_.end(),
                              [&](const auto& scalar) { return same(scalar.first, e); });
    if (known == scalars_.end()) {
      const std::string name =
          add_map(train_, transform.name + ".scalar", {}, e->type.scalar, fill(e, totals), origin);
      // A number for all elements, as a total is.
      Expr variable;
      variable.op = Op::variable;
      variable.type = e->type;
      variable.name = name;
      totals[name] = make_read(name, e->type.scalar, {});
      known = scalars_.insert(scalars_.end(), {e, make_node(std::move(variable))});
    }
    return known->second;
  }

  /// A state of one number; the first rule that has it declares it for all.
  void declare_setting(const UpdateRule::Setting& setting, Span origin) {
    if (train_.index().declaration(*train_, setting.name) != nullptr) return;
    TensorDeclaration declaration;
    declaration.kind = TensorKind::state;
    declaration.name = setting.name;
    declaration.type = ScalarType::f64;
    declaration.origin = origin;
    train_.add(declaration);
    init_.add(std::move(declaration));
    add_update(init_, setting.name, {}, ScalarType::f64,
               make_real(setting.initial, ScalarType::f64), origin);
  }

  void declare(const Subject& subject, const UpdateRule& rule, const std::string& prefix) {
    declare_states(train_, subject.parameter, rule, prefix);
    declare_states(init_, subject.parameter, rule, prefix);
    add_initial_values(init_, subject, rule, prefix);
  }

  /// The sum of `value` over all elements: over those of each first index by themselves first, so
  /// that there are rows which can be worked on side by side.
  ExprRef add_sum(const std::string& base, const std::vector<IndexRange>& indices, ScalarType type,
                  ExprRef value, Span origin) {
    std::vector<IndexRange> binders = indices;
    if (indices.size() > 1) {
      TensorStatement rows;
      rows.name = train_.fresh_name(base + ".rows");
      rows.indices = {indices[0]};
      rows.type = type;
      rows.reduction = Reduction::sum;
      rows.binders.assign(indices.begin() + 1, indices.end());
      rows.value = std::move(value);
      rows.origin = origin;
      value = make_read(rows.name, type, {make_index(indices[0].name)});
      binders = {indices[0]};
      train_.add(std::move(rows));
    }
    TensorStatement sum;
    sum.name = train_.fresh_name(base);
    sum.type = type;
    sum.value = std::move(value);
    sum.origin = origin;
    if (!binders.empty()) {
      sum.reduction = Reduction::sum;
      sum.binders = std::move(binders);
    }
    train_.add(std::move(sum));
    return make_read(train_->statements.back().name, type, {});
  }

  /// A read of the number; null if no parameter has that total.
  ExprRef total_of(const std::vector<Subject>& subjects, const GradientTransform& transform,
                   const std::string& name, const std::map<std::string, ExprRef>& earlier) {
    std::vector<ExprRef> parts;
    ScalarType type = train_->real;
    Span origin;
    for (const Subject& subject : subjects) {
      const UpdateRule* rule = rule_for(transform, subject);
      if (rule == nullptr) continue;
      for (const UpdateRule::Total& total : rule->totals) {
        if (total.name != name) continue;
        // States mean the values before the step, like everywhere in a rule; they are declared
        // when the rule itself is written, which makes no difference to a read.
        std::map<std::string, ExprRef> values =
            element_values(subject, *rule, transform.name + ".");
        values.insert(earlier.begin(), earlier.end());
        const std::string base = transform.name + ".total." + subject.parameter.name;
        type = subject.parameter.type;
        origin = rule->origin;
        parts.push_back(add_sum(base, subject.indices, type, fill(total.value, values), origin));
      }
    }
    if (parts.empty()) return nullptr;
    const std::string sum =
        add_map(train_, transform.name + ".total", {}, type, sum_of(std::move(parts)), origin);
    return make_read(sum, type, {});
  }

  Growing& train_;
  Growing& init_;
  std::vector<std::pair<ExprRef, ExprRef>> scalars_;  ///< of the current transform
};

}  // namespace

TensorModule apply_update_rules(const TensorModule& module,
                                const std::map<std::string, UpdateRule>& rules,
                                const std::vector<GradientTransform>& transforms) {
  TensorModule result = module;
  TensorProgram* train = result.find("train");
  TensorProgram* init = result.find("init");
  FG_CHECK(train != nullptr && init != nullptr, "programs init and train are needed");
  Growing growing_train(*train);
  Growing growing_init(*init);
  std::vector<Subject> subjects;
  for (const TensorResult& item : train->results) {
    if (item.kind != TensorResultKind::gradient || !rules.contains(item.label)) continue;
    const TensorDeclaration* declared = growing_train.index().declaration(*train, item.label);
    FG_CHECK(declared != nullptr, "gradient of `{}`, which is no parameter", item.label);
    subjects.push_back(
        {*declared, element_indices(growing_train, item.tensor, declared->shape), item.tensor});
  }
  std::erase_if(train->results,
                [](const TensorResult& item) { return item.kind == TensorResultKind::gradient; });
  RuleWriter writer(growing_train, growing_init);
  for (const GradientTransform& transform : transforms) writer.transform(subjects, transform);
  for (const Subject& subject : subjects) {
    writer.optimize(subject, rules.at(subject.parameter.name));
  }
  return result;
}

}  // namespace fusegrad::ir
