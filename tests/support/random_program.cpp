// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Declarations, statements, loss and optimizer of a random program. What the expressions may be is
// in random_expression.cpp.
#include "tests/support/random_program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/random_expression.h"

namespace fusegrad::test {
namespace {

using namespace ir;  // the whole file is about it

using Tensor = RandomExpressions::Tensor;

ExprRef binary(Op op, ExprRef a, ExprRef b) { return make_binary(op, std::move(a), std::move(b)); }

/// Points of the loops of a statement at the full batch.
int64_t points(const std::vector<IndexRange>& ranges) {
  int64_t count = 1;
  for (const IndexRange& range : ranges) {
    count = checked_multiply(count, range.end.maximum - range.begin).value_or(INT64_MAX);
  }
  return count;
}

class Generator {
 public:
  Generator(uint64_t seed, const RandomProgramOptions& options)
      : draw_(seed, options), table_engine_(seed ^ 0xa0761d6478bd642fU), options_(options) {}

  TensorProgram run() {
    program_.name = "train";
    program_.batch = options_.batch;
    program_.real = options_.real;
    declare();
    if (options_.gathers && table_engine_() % 100 < 15) add_lookup();
    const int count = 2 + draw_.below(std::max(1, options_.statements - 1));
    for (int i = 0; i < count; ++i) add_statement(fmt::format("t{}", i));
    add_state_update();
    add_outputs();
    add_loss();
    for (const std::string& violation : verify(program_)) {
      ADD_FAILURE() << violation << "\n" << print(program_);
    }
    return std::move(program_);
  }

 private:
  // ---- declarations

  void declare_one(TensorKind kind, const std::string& name, ScalarType type, Shape shape,
                   int64_t values = 0) {
    TensorDeclaration declaration;
    declaration.kind = kind;
    declaration.name = name;
    declaration.type = type;
    declaration.shape = shape;
    if (values > 0) declaration.range = IntegerRange{0, values};
    program_.declarations.push_back(declaration);
    draw_.add({name, type, std::move(shape), values, kind == TensorKind::parameter});
  }

  void declare() {
    const Extent rows = draw_.rows();
    declare_one(TensorKind::input, "x", options_.real, {rows, draw_.size(), draw_.size()});
    if (draw_.chance(50)) declare_one(TensorKind::input, "y", options_.real, {rows});
    if (draw_.chance(40)) {
      declare_one(TensorKind::input, "pixels", ScalarType::u8, {rows, draw_.size(), draw_.size()});
    }
    const int64_t classes = 2 + draw_.below(5);
    Shape label_shape = {rows};
    if (draw_.chance(40)) label_shape.push_back(draw_.size());
    declare_one(TensorKind::input, "label", draw_.chance(50) ? ScalarType::u8 : ScalarType::i32,
                label_shape, classes);
    const int parameters = 2 + draw_.below(3);
    for (int i = 0; i < parameters; ++i) {
      Shape shape;
      const int rank = i == 0 ? 1 + draw_.below(3) : draw_.below(4);
      for (int d = 0; d < rank; ++d) shape.push_back(draw_.size());
      declare_one(TensorKind::parameter, fmt::format("p{}", i), options_.real, shape);
    }
    if (draw_.chance(35)) {
      declare_one(TensorKind::state, "running", options_.real, {draw_.size()});
    }
  }

  // ---- statements

  std::vector<IndexRange> left_indices() {
    static const char* const names[] = {"i", "j", "k"};
    const Shape& model = draw_.any_of(draw_.tensors()).shape;
    std::vector<IndexRange> left;
    const int rank = draw_.below(4);
    for (int d = 0; d < rank; ++d) {
      const auto dimension = static_cast<size_t>(d);
      Extent extent = d == 0 && draw_.chance(60)
                          ? draw_.rows(draw_.chance(15) ? 2 + draw_.below(2) : 1)
                          : draw_.size();
      // Often the shape of something that exists, so that statements align.
      if (dimension < model.size() && (d == 0 || !model[dimension].depends_on_rows()) &&
          draw_.chance(60)) {
        extent = model[dimension];
      }
      left.push_back({names[d], 0, extent});
    }
    return left;
  }

  std::vector<IndexRange> binders() {
    static const char* const names[] = {"r", "s", "u"};
    const Shape& model = draw_.any_of(draw_.tensors()).shape;
    std::vector<IndexRange> result;
    const int count = 1 + draw_.below(draw_.chance(30) ? 3 : 2);
    for (int d = 0; d < count; ++d) {
      if (draw_.chance(20)) {
        result.push_back({names[d], 0, draw_.rows(draw_.chance(15) ? 2 : 1)});
      } else if (!model.empty() && draw_.chance(40)) {
        result.push_back({names[d], 0, draw_.any_of(model)});
      } else {
        const int64_t begin = draw_.chance(15) ? draw_.below(4) - 2 : 0;
        result.push_back({names[d], begin, Extent::number(begin + draw_.size().maximum)});
      }
    }
    return result;
  }

  /// Chooses loops within the budget.
  void choose_loops(TensorStatement& statement, bool reduces) {
    do {
      statement.indices = left_indices();
      statement.binders = reduces ? binders() : std::vector<IndexRange>{};
    } while (points(statement.indices) > options_.points / 4 ||
             points(statement.indices) * points(statement.binders) > options_.points);
    draw_.set_scope(statement.indices, statement.binders);
  }

  Reduction any_reduction() {
    if (!options_.reductions || draw_.chance(65)) return Reduction::sum;
    switch (draw_.below(options_.gathers ? 5 : 3)) {
      case 0:
        return Reduction::max;
      case 1:
        return Reduction::min;
      case 2:
        return draw_.chance(50) ? Reduction::any : Reduction::all;
      case 3:
        return Reduction::argmax;
      default:
        return Reduction::argmin;
    }
  }

  /// Gives the statement a right side; `values` of an integer one are 0..values.
  void choose_value(TensorStatement& statement, bool reduces, int64_t& values) {
    statement.type = options_.real;
    if (!reduces) {
      if (options_.gathers && draw_.has_indices() && draw_.chance(10)) {
        values = 2 + draw_.below(5);
        statement.type = ScalarType::i32;
        statement.value = binary(Op::modulo, draw_.chance(50) ? draw_.linear() : draw_.flattened(),
                                 make_integer(values));
      } else if (options_.masks && draw_.chance(5)) {
        statement.type = ScalarType::boolean;
        statement.value = draw_.condition();
      } else {
        statement.value = draw_.expression(1 + draw_.below(3));
      }
      return;
    }
    statement.reduction = any_reduction();
    const bool logical =
        statement.reduction == Reduction::any || statement.reduction == Reduction::all;
    const bool position =
        statement.reduction == Reduction::argmax || statement.reduction == Reduction::argmin;
    if (logical) {
      statement.type = ScalarType::boolean;
      statement.value = draw_.condition();
    } else if (statement.reduction == Reduction::sum && draw_.chance(40)) {
      statement.value = draw_.product();
    } else {
      statement.value = draw_.expression(1 + draw_.below(3));
    }
    // An empty maximum is infinite; everything else may be empty.
    const bool may_be_empty =
        statement.reduction != Reduction::max && statement.reduction != Reduction::min;
    if (may_be_empty && options_.masks && draw_.chance(30)) statement.condition = draw_.condition();
    if (position) {
      statement.type = ScalarType::i32;
      values = points(statement.binders);
    }
  }

  void add_statement(const std::string& name) {
    // Proofs of two independent analyses may differ: what the verifier does not accept is drawn
    // again.
    for (int attempt = 0; attempt < 50; ++attempt) {
      TensorStatement statement;
      statement.name = name;
      const bool reduces = draw_.chance(55);
      choose_loops(statement, reduces);
      draw_.moves = false;
      const std::set<std::string> used_before = draw_.used;
      int64_t values = 0;
      choose_value(statement, reduces, values);
      program_.statements.push_back(statement);
      if (verify(program_).empty()) {
        draw_.add({name, statement.type, statement.shape(), values,
                   draw_.moves && is_real(statement.type)});
        return;
      }
      program_.statements.pop_back();
      draw_.used = used_before;
    }
    ADD_FAILURE() << "no statement was accepted";
  }

  /// Rows of a table chosen by an input at bare indices, as an embedding reads it: the table has
  /// more rows than a gradient compares one by one. Whether there is one is drawn by itself:
  /// programs without it are what they would be if it did not exist.
  void add_lookup() {
    const auto pick = [&](int64_t least, int64_t count) {
      return least + static_cast<int64_t>(table_engine_() % static_cast<uint64_t>(count));
    };
    const Extent table_rows = Extent::number(pick(33, 8));
    const Extent columns = Extent::number(pick(1, 9));
    const TensorDeclaration input = *program_.find_declaration("label");
    static const char* const names[] = {"i", "j"};
    TensorStatement lookup;
    lookup.name = "lookup";
    lookup.type = options_.real;
    std::vector<ExprRef> place;
    for (size_t d = 0; d < input.shape.size(); ++d) {
      lookup.indices.push_back({names[d], 0, input.shape[d]});
      place.push_back(make_index(names[d]));
    }
    lookup.indices.push_back({"k", 0, columns});
    if (points(lookup.indices) > options_.points / table_rows.maximum) return;
    declare_one(TensorKind::parameter, "table", options_.real, {table_rows, columns});
    lookup.value =
        make_read("table", options_.real, {make_read("label", input.type, place), make_index("k")});
    if (pick(0, 3) == 0) lookup.value = make_unary(Op::tanh, lookup.value);
    program_.statements.push_back(lookup);
    draw_.used.insert("table");
    draw_.add({lookup.name, lookup.type, lookup.shape(), 0, true});
  }

  /// A running average, as normalisation layers keep one.
  void add_state_update() {
    const TensorDeclaration* state = program_.find_declaration("running");
    if (state == nullptr) return;
    for (int attempt = 0; attempt < 50; ++attempt) {
      TensorStatement statement;
      statement.name = "running'";
      statement.type = state->type;
      statement.indices = {{"i", 0, state->shape[0]}};
      draw_.set_scope(statement.indices, {});
      ExprRef own = make_read("running", state->type, {make_index("i")});
      statement.value = binary(Op::add, binary(Op::multiply, draw_.real(0.9), own),
                               binary(Op::multiply, draw_.real(0.1), draw_.expression(2)));
      program_.statements.push_back(statement);
      if (verify(program_).empty()) {
        program_.updates.push_back({"running", statement.name});
        return;
      }
      program_.statements.pop_back();
    }
  }

  void add_outputs() {
    if (!options_.outputs) return;
    for (const TensorStatement& statement : program_.statements) {
      if (statement.name != "running'" && draw_.chance(25)) {
        program_.results.push_back({TensorResultKind::output, statement.name, statement.name});
      }
    }
  }

  /// Every moving tensor that nothing read, and some others, bounded and with unequal weights.
  void add_loss() {
    static const char* const names[] = {"i", "j", "k"};
    ExprRef loss;
    const std::vector<Tensor> all = draw_.tensors();
    for (const Tensor& tensor : all) {
      if (!is_real(tensor.type) || !tensor.moves ||
          (draw_.used.contains(tensor.name) && draw_.chance(70))) {
        continue;
      }
      std::vector<ExprRef> indices;
      TensorStatement part;
      part.name = "loss." + tensor.name;
      part.type = options_.real;
      ExprRef weight = draw_.real(0.5);
      for (size_t d = 0; d < tensor.shape.size(); ++d) {
        part.binders.push_back({names[d], 0, tensor.shape[d]});
        indices.push_back(make_index(names[d]));
        weight = binary(Op::add, weight,
                        binary(Op::multiply, draw_.real(0.25 + 0.125 * static_cast<double>(d)),
                               make_convert(options_.real, indices.back())));
      }
      ExprRef bounded = make_unary(Op::tanh, make_read(tensor.name, tensor.type, indices));
      part.value = make_unary(Op::sin, binary(Op::multiply, weight, bounded));
      if (!part.binders.empty()) part.reduction = Reduction::sum;
      program_.statements.push_back(part);
      ExprRef term = make_read(part.name, part.type, {});
      loss = loss == nullptr ? term : binary(Op::add, loss, term);
    }
    TensorStatement total;
    total.name = "loss";
    total.type = options_.real;
    total.value = loss == nullptr ? draw_.real(1) : loss;
    program_.statements.push_back(total);
    program_.results.push_back({TensorResultKind::loss, "loss", "loss"});
  }

  RandomExpressions draw_;
  std::mt19937_64 table_engine_;
  const RandomProgramOptions options_;
  TensorProgram program_;
};

// ---------------------------------------------------------------- optimizers

ExprRef variable(const std::string& name, ScalarType real) {
  Expr node;
  node.op = Op::variable;
  node.type = {real};
  node.name = name;
  return make_node(std::move(node));
}

UpdateRule random_rule(ScalarType type, std::mt19937_64& engine) {
  auto real = [&](double value) { return make_real(value, type); };
  auto times = [](ExprRef a, ExprRef b) { return binary(Op::multiply, a, b); };
  auto plus = [](ExprRef a, ExprRef b) { return binary(Op::add, a, b); };
  const ExprRef p = variable("p", type);
  ExprRef g = variable("g", type);
  UpdateRule rule;
  if (engine() % 3 == 0) g = plus(g, times(real(0.01), p));  // decay
  ExprRef rate = real(0.05);
  if (engine() % 3 == 0) {  // a schedule
    ExprRef step = make_convert(type, make_uniform("step"));
    rate = binary(Op::divide, rate, plus(real(1), times(real(0.5), step)));
  }
  auto state = [&](const std::string& name, const ExprRef& value) {
    rule.states.push_back({name, real(0)});
    rule.updates.push_back({name, value});
  };
  switch (engine() % 4) {
    case 0:
    case 1:  // plain
      rule.updates.push_back({"p", binary(Op::subtract, p, times(rate, g))});
      break;
    case 2: {  // momentum
      ExprRef v = plus(times(real(0.9), variable("v", type)), g);
      state("v", v);
      rule.updates.push_back({"p", binary(Op::subtract, p, times(rate, v))});
      break;
    }
    default: {  // averages of the gradient and of its square
      ExprRef m = plus(times(real(0.9), variable("m", type)), times(real(0.1), g));
      ExprRef v = plus(times(real(0.99), variable("v", type)), times(times(real(0.01), g), g));
      ExprRef step = binary(Op::divide, m, plus(make_unary(Op::sqrt, v), real(0.125)));
      rule.updates.push_back({"p", binary(Op::subtract, p, times(rate, step))});
      state("m", m);
      state("v", v);
      break;
    }
  }
  return rule;
}

}  // namespace

RandomProgramOptions RandomProgramOptions::for_seed(uint64_t seed) {
  std::mt19937_64 engine(seed ^ 0x9e3779b97f4a7c15U);
  auto pick = [&](std::initializer_list<int> items) {
    return *(items.begin() + engine() % items.size());
  };
  RandomProgramOptions options;
  if (seed % 2 == 0) {
    options.plain_indices = pick({20, 40, 70});
    return options;
  }
  options.sizes = RandomSizes::around_tiles;
  options.batch = pick({1, 3, 8, 9, 16, 21, 40});
  options.plain_indices = pick({40, 70, 90, 97});
  options.statements = pick({3, 5, 7});
  return options;
}

TensorProgram random_program(uint64_t seed, const RandomProgramOptions& options) {
  return Generator(seed, options).run();
}

std::map<std::string, UpdateRule> random_rules(const TensorProgram& forward, uint64_t seed) {
  std::mt19937_64 engine(seed ^ 0xd1b54a32d192ed03U);
  std::map<std::string, UpdateRule> rules;
  for (const TensorDeclaration& declaration : forward.declarations) {
    if (declaration.kind != TensorKind::parameter) continue;
    if (engine() % 10 == 0) continue;  // frozen
    rules[declaration.name] = random_rule(forward.real, engine);
  }
  return rules;
}

TensorProgram random_init(const TensorProgram& forward) {
  TensorProgram init;
  init.name = "init";
  init.batch = forward.batch;
  init.real = forward.real;
  int64_t stream = 1;
  for (const TensorDeclaration& declaration : forward.declarations) {
    if (declaration.kind == TensorKind::input) continue;
    init.declarations.push_back(declaration);
    TensorStatement statement;
    statement.name = declaration.name + ".initial";
    statement.type = declaration.type;
    ExprRef position = make_integer(0);
    for (size_t d = 0; d < declaration.shape.size(); ++d) {
      statement.indices.push_back({fmt::format("i{}", d), 0, declaration.shape[d]});
      ExprRef index = make_index(statement.indices.back().name);
      position =
          d == 0
              ? index
              : binary(Op::add,
                       binary(Op::multiply, position, make_integer(declaration.shape[d].maximum)),
                       index);
    }
    ExprRef drawn =
        make_random(stream % 2 == 0 ? Op::normal : Op::rand, stream, position, init.real);
    ++stream;
    statement.value = binary(Op::subtract, drawn, make_real(0.5, init.real));
    init.updates.push_back({declaration.name, statement.name});
    init.statements.push_back(std::move(statement));
  }
  return init;
}

TensorValues random_values(const TensorProgram& program, int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x5bd1e995U);
  TensorValues values;
  for (const TensorDeclaration& declaration : program.declarations) {
    TensorValue value(declaration.type, sizes_at(declaration.shape, rows));
    for (double& real : value.reals) {
      real = static_cast<float>(static_cast<double>(random() % 4001) / 1000.0 - 2.0);
    }
    for (int64_t& integer : value.integers) {
      IntegerRange range = declaration.range.value_or(IntegerRange{0, 256});
      integer = range.begin +
                static_cast<int64_t>(random() % static_cast<uint64_t>(range.end - range.begin));
    }
    values.emplace(declaration.name, std::move(value));
  }
  return values;
}

}  // namespace fusegrad::test
