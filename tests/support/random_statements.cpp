// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generating programs that are right by construction: every index is chosen with its interval in
// hand.
#include "tests/support/random_statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <utility>

#include "ir/linear_form.h"

namespace fusegrad::test {
namespace {

using namespace ir;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  TensorProgram run() {
    program_.name = "train";
    program_.batch = pick<int64_t>({1, 3, 8, 9, 16, 21, 40});
    declare();
    int64_t count = 2 + number(6);
    for (int64_t s = 0; s < count; ++s) add_statement(s);
    choose_roots();
    return std::move(program_);
  }

 private:
  int64_t number(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }
  bool chance(int percent) { return number(100) < percent; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + number(static_cast<int64_t>(values.size())));
  }
  Extent size() { return Extent::number(pick<int64_t>({1, 2, 3, 5, 7, 8, 9, 10, 16, 17, 20, 33})); }
  Extent rows() { return Extent::of_rows(program_.batch); }

  void declare() {
    auto add = [&](TensorKind kind, const char* name, ScalarType type, Shape shape,
                   std::optional<IntegerRange> range) {
      TensorDeclaration declaration;
      declaration.kind = kind;
      declaration.name = name;
      declaration.type = type;
      declaration.shape = std::move(shape);
      declaration.range = range;
      program_.declarations.push_back(std::move(declaration));
    };
    add(TensorKind::input, "real_input", ScalarType::f32, {rows(), size()}, std::nullopt);
    if (chance(60))
      add(TensorKind::input, "byte_input", ScalarType::u8, {rows(), size(), size()}, std::nullopt);
    if (chance(60)) {
      add(TensorKind::input, "index_input", ScalarType::i32, {rows()},
          IntegerRange{0, 1 + number(12)});
    }
    add(TensorKind::parameter, "w", ScalarType::f32, {size(), size()}, std::nullopt);
    if (chance(50)) add(TensorKind::parameter, "v", ScalarType::f32, {size()}, std::nullopt);
    if (chance(30))
      add(TensorKind::state, "s", ScalarType::f32, {size(), size(), size()}, std::nullopt);
  }

  struct Tensor {
    std::string name;
    ScalarType type;
    Shape shape;
  };

  std::vector<Tensor> tensors() const {
    std::vector<Tensor> all;
    for (const TensorDeclaration& d : program_.declarations)
      all.push_back({d.name, d.type, d.shape});
    for (const TensorStatement& s : program_.statements) all.push_back({s.name, s.type, s.shape()});
    return all;
  }

  IndexRanges ranges() const {
    IndexRanges ranges;
    for (const IndexRange& index : scope_) ranges.add(index.name, index.begin, index.end);
    ranges.add_rows(program_.batch);
    return ranges;
  }

  bool inside(const ExprRef& index, const Extent& extent) const {
    std::optional<Interval> range = interval(index, ranges());
    return range && range->min >= 0 && range->max < extent.maximum;
  }

  /// An index into a dimension of that extent; null if none of the tries fits. `may_leave`: the
  /// read will have a default.
  ExprRef index_for(const Extent& extent, bool may_leave) {
    std::vector<const IndexRange*> same;
    std::vector<const IndexRange*> plain;
    for (const IndexRange& index : scope_) {
      if (index.end == extent && index.begin == 0) same.push_back(&index);
      if (!index.end.depends_on_rows()) plain.push_back(&index);
    }
    if (!same.empty() && chance(extent.depends_on_rows() ? 95 : 75)) {
      ExprRef index =
          make_index(same[static_cast<size_t>(number(static_cast<int64_t>(same.size())))]->name);
      if (extent.depends_on_rows() || chance(75)) return index;
      // Reversed.
      return make_binary(Op::subtract, make_integer(extent.maximum - 1), index);
    }
    if (extent.depends_on_rows()) return make_integer(0);
    if (plain.empty() || chance(10)) return make_integer(number(extent.maximum));
    ExprRef a =
        make_index(plain[static_cast<size_t>(number(static_cast<int64_t>(plain.size())))]->name);
    ExprRef b =
        make_index(plain[static_cast<size_t>(number(static_cast<int64_t>(plain.size())))]->name);
    ExprRef index;
    switch (number(6)) {
      case 0:  // a window
        index = make_binary(Op::add, make_binary(Op::multiply, a, make_integer(1 + number(2))), b);
        break;
      case 1:
        index = make_binary(Op::floor_divide, a, make_integer(1 + number(4)));
        break;
      case 2:
        index = make_binary(Op::modulo, a, make_integer(extent.maximum));
        break;
      case 3:  // part of a reshape
        index = make_binary(
            Op::floor_divide,
            make_binary(Op::add, make_binary(Op::multiply, a, make_integer(1 + number(5))), b),
            make_integer(1 + number(5)));
        break;
      case 4:
        if (program_.find_declaration("index_input") != nullptr) {
          ExprRef row = row_index();
          if (row != nullptr) index = make_read("index_input", ScalarType::i32, {row});
          if (index != nullptr) {
            int64_t end = program_.find_declaration("index_input")->range->end;
            if (end <= extent.maximum || may_leave) return index;
          }
        }
        index = a;
        break;
      default:
        index = make_binary(Op::subtract, a, make_integer(number(3)));
        break;
    }
    if (may_leave || inside(index, extent)) return index;
    return make_binary(Op::modulo, index, make_integer(extent.maximum));
  }

  ExprRef row_index() {
    for (const IndexRange& index : scope_) {
      if (index.end == rows()) return make_index(index.name);
    }
    return nullptr;
  }

  ExprRef real_constant() {
    return make_real(pick<double>({0.0, 1.0, -1.0, 0.5, 0.25, 3.0, 0.1, -2.5}), ScalarType::f32);
  }

  ExprRef read() {
    std::vector<Tensor> all = tensors();
    const Tensor& tensor = all[static_cast<size_t>(number(static_cast<int64_t>(all.size())))];
    bool with_else = chance(25) && !tensor.shape.empty();
    std::vector<ExprRef> indices;
    for (const Extent& extent : tensor.shape) indices.push_back(index_for(extent, with_else));
    ExprRef other;
    if (with_else) {
      other = is_real(tensor.type)                 ? real_constant()
              : tensor.type == ScalarType::boolean ? make_boolean(chance(50))
                                                   : make_integer(number(5));
    }
    ExprRef value = make_read(tensor.name, tensor.type, indices, other);
    if (tensor.type == ScalarType::boolean) {
      return make_select(value, make_real(1.0, ScalarType::f32), make_real(0.5, ScalarType::f32));
    }
    if (!is_real(tensor.type)) {
      value = make_binary(Op::multiply, make_convert(ScalarType::f32, value),
                          make_real(0.01, ScalarType::f32));
    }
    return value;
  }

  ExprRef condition(int depth) {
    if (chance(50) && scope_.size() >= 2) {
      const IndexRange& a =
          scope_[static_cast<size_t>(number(static_cast<int64_t>(scope_.size())))];
      const IndexRange& b =
          scope_[static_cast<size_t>(number(static_cast<int64_t>(scope_.size())))];
      Op op = pick({Op::less, Op::less_equal, Op::greater, Op::equal, Op::not_equal});
      return make_binary(op, make_index(a.name), make_index(b.name));
    }
    ExprRef simple =
        make_binary(pick({Op::less, Op::greater_equal}), real(depth - 1), real_constant());
    if (chance(20))
      return make_binary(pick({Op::logical_and, Op::logical_or}), simple, condition(depth - 1));
    if (chance(15)) return make_unary(Op::logical_not, simple);
    return simple;
  }

  ExprRef real(int depth) {
    if (depth <= 0) return chance(85) ? read() : real_constant();
    switch (number(15)) {
      case 0:
      case 1:
        return make_binary(Op::add, real(depth - 1), real(depth - 1));
      case 2:
        return make_binary(Op::subtract, real(depth - 1), real(depth - 1));
      case 3:
      case 4:
      case 5:
        return make_binary(Op::multiply, real(depth - 1), real(depth - 1));
      case 6: {
        ExprRef denominator = make_binary(Op::add, make_unary(Op::abs, real(depth - 1)),
                                          make_real(1.0, ScalarType::f32));
        return make_binary(Op::divide, real(depth - 1), denominator);
      }
      case 7:
        return make_binary(pick({Op::maximum, Op::minimum}), real(depth - 1), real(depth - 1));
      case 8:
        return make_unary(
            Op::exp, make_binary(Op::minimum, real(depth - 1), make_real(3.0, ScalarType::f32)));
      case 9: {
        ExprRef positive = make_binary(Op::add, make_unary(Op::abs, real(depth - 1)),
                                       make_real(0.5, ScalarType::f32));
        return make_unary(pick({Op::log, Op::sqrt, Op::rsqrt}), positive);
      }
      case 10:
        return make_unary(pick({Op::tanh, Op::negate, Op::abs}), real(depth - 1));
      case 11:
      case 12:
        return make_select(condition(depth), real(depth - 1), real(depth - 1));
      case 13:
        if (!scope_.empty()) {
          const IndexRange& index =
              scope_[static_cast<size_t>(number(static_cast<int64_t>(scope_.size())))];
          return make_binary(Op::multiply, make_convert(ScalarType::f32, make_index(index.name)),
                             make_real(0.125, ScalarType::f32));
        }
        return read();
      default:
        return read();
    }
  }

  void add_statement(int64_t ordinal) {
    TensorStatement statement;
    statement.name = fmt::format("t{}", ordinal);
    scope_.clear();
    int64_t rank = number(4);
    std::vector<Tensor> all = tensors();
    const Tensor& model = all[static_cast<size_t>(number(static_cast<int64_t>(all.size())))];
    for (int64_t d = 0; d < rank; ++d) {
      Extent extent = d == 0 && chance(65) ? rows() : size();
      // Often the shape of something that exists, so that statements align.
      if (!(d == 0 && extent.depends_on_rows()) && d < static_cast<int64_t>(model.shape.size()) &&
          chance(60) && !model.shape[static_cast<size_t>(d)].depends_on_rows()) {
        extent = model.shape[static_cast<size_t>(d)];
      }
      statement.indices.push_back({fmt::format("i{}", d), 0, extent});
    }
    scope_ = statement.indices;
    if (chance(55)) {
      statement.reduction = pick({Reduction::sum, Reduction::sum, Reduction::sum, Reduction::sum,
                                  Reduction::max, Reduction::min, Reduction::argmax,
                                  Reduction::argmin, Reduction::any, Reduction::all});
      int64_t binders = 1 + number(2);
      bool has_rows = std::any_of(scope_.begin(), scope_.end(),
                                  [](const IndexRange& i) { return i.end.depends_on_rows(); });
      for (int64_t b = 0; b < binders; ++b) {
        Extent extent = !has_rows && chance(40) ? rows() : size();
        int64_t begin = !extent.depends_on_rows() && extent.maximum > 2 && chance(15) ? 1 : 0;
        statement.binders.push_back({fmt::format("k{}", b), begin, extent});
        scope_.push_back(statement.binders.back());
      }
      if (chance(25)) statement.condition = condition(1);
    }
    switch (statement.reduction) {
      case Reduction::any:
      case Reduction::all:
        statement.type = ScalarType::boolean;
        statement.value = condition(1);
        break;
      case Reduction::argmax:
      case Reduction::argmin:
        statement.type = ScalarType::i32;
        statement.value = real(1);
        break;
      case Reduction::sum:
        // Mostly contractions.
        statement.value = chance(70) ? make_binary(Op::multiply, real(1), real(1)) : real(2);
        break;
      default:
        statement.value = real(2 + static_cast<int>(number(2)));
        break;
    }
    program_.statements.push_back(std::move(statement));
  }

  void choose_roots() {
    int64_t count = static_cast<int64_t>(program_.statements.size());
    for (int64_t s = 0; s < count; ++s) {
      bool last = s + 1 == count;
      if (last || chance(30)) {
        const std::string name = program_.statements[static_cast<size_t>(s)].name;
        program_.results.push_back({TensorResultKind::output, name, name});
      }
    }
    // A step of some parameters by something of their shape.
    for (const TensorDeclaration& declaration :
         std::vector<TensorDeclaration>(program_.declarations)) {
      if (declaration.kind == TensorKind::input || chance(40)) continue;
      TensorStatement update;
      update.name = declaration.name + "'";
      std::vector<ExprRef> own;
      for (size_t d = 0; d < declaration.shape.size(); ++d) {
        update.indices.push_back({fmt::format("i{}", d), 0, declaration.shape[d]});
        own.push_back(make_index(update.indices.back().name));
      }
      scope_ = update.indices;
      update.value =
          make_binary(Op::subtract, make_read(declaration.name, declaration.type, own),
                      make_binary(Op::multiply, make_real(0.1, ScalarType::f32), real(1)));
      program_.updates.push_back({declaration.name, update.name});
      program_.statements.push_back(std::move(update));
    }
  }

  std::mt19937_64 random_;
  TensorProgram program_;
  std::vector<IndexRange> scope_;
};

}  // namespace

TensorProgram random_statements(uint64_t seed) { return Generator(seed).run(); }

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
