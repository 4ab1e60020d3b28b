// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A metric is a number about a whole split, not about a batch: the mean over batches of a root is
// not the root of the mean. What adds up over batches is accumulated; the rest is computed once.
#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/passes/passes.h"
#include "ir/passes/simplify_steps.h"
#include "ir/passes/widen.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

bool depends_on_rows(const Shape& shape) {
  return std::any_of(shape.begin(), shape.end(),
                     [](const Extent& extent) { return extent.depends_on_rows(); });
}

/// How a reduction over part of the rows is combined with that over the others; nothing where that
/// cannot be done element by element.
std::optional<TensorResultKind> accumulation(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return TensorResultKind::total;
    case Reduction::max:
    case Reduction::any:
      return TensorResultKind::largest;
    case Reduction::min:
    case Reduction::all:
      return TensorResultKind::smallest;
    case Reduction::none:
    case Reduction::argmax:
    case Reduction::argmin:
      return std::nullopt;
  }
  return std::nullopt;
}

/// Takes the metrics of one program apart.
class Splitter {
 public:
  explicit Splitter(TensorProgram& program) : program_(program) {
    for (const TensorStatement& statement : program.statements) {
      classify(statement);
      statements_[statement.name] = &statement;
    }
  }

  /// The finishing program; nothing where all metrics are means over the batch.
  std::optional<TensorProgram> run() {
    std::vector<TensorResult> moved;
    bool is_needed = false;
    for (const TensorResult& result : program_.results) {
      if (result.kind != TensorResultKind::metric || !can_finish(result.tensor)) continue;
      moved.push_back(result);
      is_needed = is_needed || !is_mean(result.tensor);
    }
    if (!is_needed) return std::nullopt;
    finish_.name = program_.name + ".metrics";
    finish_.batch = std::numeric_limits<int32_t>::max();  // rows of a whole split
    finish_.real = ScalarType::f64;
    for (const TensorResult& result : moved) take(result.tensor);
    // Statements come in the order of definition.
    for (const TensorStatement& statement : program_.statements) {
      if (taken_.contains(statement.name)) write(statement);
    }
    for (const TensorResult& result : moved) {
      TensorResult metric = result;
      if (parts_.contains(result.tensor)) metric.tensor = copy_of_part(result.tensor);
      finish_.results.push_back(metric);
    }
    std::erase_if(program_.results, [&](const TensorResult& result) {
      return std::find_if(moved.begin(), moved.end(), [&](const TensorResult& metric) {
               return metric.kind == result.kind && metric.label == result.label;
             }) != moved.end();
    });
    for (const auto& [name, label] : parts_) {
      program_.results.push_back({*accumulation(statements_.at(name)->reduction), label, name});
    }
    return std::move(finish_);
  }

 private:
  /// What a tensor depends on, and whether it can be computed after a pass.
  enum class Nature : uint8_t {
    constant,  ///< of no sample: parameters, states, numbers
    sample,    ///< different in each batch
    part,      ///< a reduction over samples that can be accumulated
    finished,  ///< computed from parts and constants
    stuck,     ///< needs parts and samples at once, or a part that cannot be accumulated
  };

  Nature nature_of(const std::string& name) const {
    if (const auto found = nature_.find(name); found != nature_.end()) return found->second;
    const TensorDeclaration* declaration = program_.find_declaration(name);
    FG_CHECK(declaration != nullptr, "there is no tensor `{}`", name);
    return declaration->kind == TensorKind::input ? Nature::sample : Nature::constant;
  }

  void classify(const TensorStatement& statement) {
    bool sample = depends_on_rows(statement.shape());
    bool over_rows = false;
    bool has_part = false;
    bool stuck = false;
    for (const IndexRange& binder : statement.binders) {
      over_rows = over_rows || binder.end.depends_on_rows();
    }
    visit_reads(statement, [&](const Expr& read) {
      const Nature nature = nature_of(read.name);
      sample = sample || nature == Nature::sample;
      has_part = has_part || nature == Nature::part || nature == Nature::finished;
      stuck = stuck || nature == Nature::stuck;
      // What is accumulated becomes a number in f64, which is no index.
      for (size_t d = 0; d < read.index_count(); ++d) {
        walk(read.operands[d], [&](const Expr& node) { stuck = stuck || is_part_read(node); });
      }
    });
    bool random = false;
    bool rows = false;
    for (const ExprRef& e : {statement.condition, statement.value}) {
      if (e == nullptr) continue;
      walk(e, [&](const Expr& node) {
        random = random || node.op == Op::rand || node.op == Op::normal;
        rows = rows || (node.op == Op::uniform && node.name == "rows");
      });
    }
    Nature& nature = nature_[statement.name];
    if (stuck || (has_part && (sample || over_rows || random))) {
      nature = Nature::stuck;
    } else if (has_part) {
      nature = Nature::finished;
      // `sum(b: x[b] / rows)` cannot be accumulated as it stands.
    } else if (over_rows && !depends_on_rows(statement.shape()) &&
               accumulation(statement.reduction) && !rows) {
      nature = Nature::part;
    } else if (sample || over_rows || random) {
      // A value of one sample that no reduction has gathered, such as an element of row 0.
      nature = depends_on_rows(statement.shape()) ? Nature::sample : Nature::stuck;
    } else {
      nature = rows ? Nature::finished : Nature::constant;
    }
  }

  bool is_part_read(const Expr& node) const {
    if (node.op != Op::read) return false;
    const Nature nature = nature_of(node.name);
    return nature == Nature::part || nature == Nature::finished;
  }

  bool can_finish(const std::string& name) const {
    const Nature nature = nature_of(name);
    return nature == Nature::part || nature == Nature::finished;
  }

  /// Is it a mean over the samples, up to constants? Then the weighted mean over batches is it too.
  bool is_mean(const std::string& name) const {
    auto found = statements_.find(name);
    if (found == statements_.end() || !found->second->indices.empty()) return false;
    if (nature_of(name) == Nature::part) return false;
    return found->second->reduction == Reduction::none && is_mean(found->second->value);
  }

  bool is_mean(const ExprRef& e) const {
    const auto is_fixed = [](const ExprRef& operand) { return is_constant(operand); };
    switch (e->op) {
      case Op::constant:
        return true;
      case Op::read:
        return e->operands.empty() && is_mean(e->name);
      case Op::negate:
        return is_mean(e->operands[0]);
      case Op::add:
      case Op::subtract:
        return is_mean(e->operands[0]) && is_mean(e->operands[1]);
      case Op::multiply:
        return (is_fixed(e->operands[0]) && is_mean(e->operands[1])) ||
               (is_fixed(e->operands[1]) && is_mean(e->operands[0]));
      case Op::divide:
        if (is_fixed(e->operands[1])) return is_mean(e->operands[0]);
        return is_sum(e->operands[0]) && is_row_count(e->operands[1]);
      default:
        return false;
    }
  }

  bool is_sum(const ExprRef& e) const {
    if (e->op == Op::convert) return is_sum(e->operands[0]);
    return e->op == Op::read && e->operands.empty() && nature_of(e->name) == Nature::part &&
           statements_.at(e->name)->reduction == Reduction::sum;
  }

  /// rows, or a multiple of it.
  static bool is_row_count(const ExprRef& e) {
    if (e->op == Op::convert) return is_row_count(e->operands[0]);
    if (e->op == Op::multiply) {
      return (is_constant(e->operands[0]) && is_row_count(e->operands[1])) ||
             (is_constant(e->operands[1]) && is_row_count(e->operands[0]));
    }
    return e->op == Op::uniform && e->name == "rows";
  }

  /// Everything that the tensor needs, down to parts and declarations.
  void take(const std::string& name) {
    std::vector<std::string> pending = {name};
    while (!pending.empty()) {
      const std::string next = std::move(pending.back());
      pending.pop_back();
      auto found = statements_.find(next);
      if (found == statements_.end()) {
        declare(*program_.find_declaration(next));
      } else if (nature_of(next) == Nature::part) {
        declare_part(*found->second);
      } else if (taken_.insert(next).second) {
        visit_reads(*found->second, [&](const Expr& read) { pending.push_back(read.name); });
      }
    }
  }

  void declare(const TensorDeclaration& declaration) {
    if (finish_.find_declaration(declaration.name) == nullptr) {
      finish_.declarations.push_back(declaration);
    }
  }

  /// The state that receives the part: the prime keeps its name apart from all others.
  void declare_part(const TensorStatement& statement) {
    const std::string label = program_.name + "." + statement.name + "'";
    if (!parts_.emplace(statement.name, label).second) return;
    TensorDeclaration state;
    state.kind = TensorKind::state;
    state.name = label;
    state.type = ScalarType::f64;
    state.shape = statement.shape();
    state.origin = statement.origin;
    finish_.declarations.push_back(std::move(state));
  }

  /// A read of a part: the state, as the type that the part had.
  ExprRef read_of(const ExprRef& read) const {
    auto part = parts_.find(read->name);
    if (part == parts_.end()) {
      auto statement = statements_.find(read->name);
      if (statement == statements_.end() || !is_real(statement->second->type)) return read;
      Expr node = *read;  // the copied statement is in f64
      node.type.scalar = ScalarType::f64;
      if (node.has_else) node.operands.back() = widen(node.operands.back());
      return make_node(std::move(node));
    }
    std::vector<ExprRef> indices(
        read->operands.begin(),
        read->operands.begin() + static_cast<std::ptrdiff_t>(read->index_count()));
    ExprRef otherwise;
    if (read->has_else) otherwise = to_f64(widen(read->else_value()));
    ExprRef value = make_read(part->second, ScalarType::f64, std::move(indices), otherwise);
    const ScalarType type = read->type.scalar;
    if (is_real(type)) return value;
    if (type == ScalarType::boolean) {
      return make_binary(Op::not_equal, value, make_real(0, ScalarType::f64));
    }
    return make_convert(type, make_convert(ScalarType::i32, value));
  }

  static ExprRef to_f64(const ExprRef& e) {
    if (e->type.scalar == ScalarType::f64) return e;
    if (e->type.scalar == ScalarType::boolean) {
      return make_select(e, make_real(1, ScalarType::f64), make_real(0, ScalarType::f64));
    }
    return make_convert(ScalarType::f64, e);
  }

  void write(const TensorStatement& statement) {
    TensorStatement copy = statement;
    const auto read = [this](const ExprRef& e) { return read_of(e); };
    if (copy.condition != nullptr) copy.condition = widen(copy.condition, read);
    copy.value = widen(copy.value, read);
    if (copy.type == ScalarType::f32) copy.type = ScalarType::f64;
    finish_.statements.push_back(std::move(copy));
  }

  /// A metric that is a part itself still needs a statement, which results are.
  std::string copy_of_part(const std::string& name) {
    TensorStatement copy;
    copy.name = finish_.fresh_name(name);
    copy.type = ScalarType::f64;
    copy.value = make_read(parts_.at(name), ScalarType::f64, {});
    copy.origin = statements_.at(name)->origin;
    finish_.statements.push_back(std::move(copy));
    return finish_.statements.back().name;
  }

  TensorProgram& program_;
  TensorProgram finish_;
  std::map<std::string, Nature, std::less<>> nature_;
  std::map<std::string, const TensorStatement*, std::less<>> statements_;
  std::map<std::string, std::string> parts_;  ///< statement to state
  std::set<std::string> taken_;
};

}  // namespace

TensorModule split_metrics(const TensorModule& module) {
  TensorModule result = module;
  std::vector<TensorProgram> finishing;
  for (TensorProgram& program : result.programs) {
    if (program.name != "train" && program.name != "eval") continue;
    if (std::optional<TensorProgram> finish = Splitter(program).run()) {
      finishing.push_back(std::move(*finish));
    }
  }
  for (TensorProgram& program : finishing) result.programs.push_back(std::move(program));
  return result;
}

}  // namespace fusegrad::ir
