// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parsing T: a line is told apart by its first two tokens, so that every word may name a tensor.
#include "ir/tensor/parse.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

class TensorParser {
 public:
  explicit TensorParser(TextReader& reader) : reader_(reader) {}

  std::optional<TensorProgram> parse_program() {
    std::optional<ProgramHead> head = parse_program_head(reader_);
    if (!head) return std::nullopt;
    program_.name = head->name;
    program_.batch = head->batch;
    program_.real = head->real;
    while (!reader_.failed() && !reader_.accept("}")) parse_line();
    if (reader_.failed()) return std::nullopt;
    return std::move(program_);
  }

 private:
  struct Tensor {
    ScalarType type = ScalarType::f32;
    int rank = 0;
  };

  void parse_line() {
    const Token first = reader_.peek();
    if (first.kind != TokenKind::name) return reader_.error_expected("a statement or `}`");
    if (reader_.at_name(1)) {
      reader_.take();
      if (first.text == "input") return parse_declaration(TensorKind::input, first.span);
      if (first.text == "param") return parse_declaration(TensorKind::parameter, first.span);
      if (first.text == "state") return parse_declaration(TensorKind::state, first.span);
      if (first.text == "result") {
        if (std::optional<TensorResult> result = parse_result(reader_)) {
          program_.results.push_back(std::move(*result));
        }
        return;
      }
      return reader_.error(first.span, "expected input, param, state, result or a statement");
    }
    if (reader_.at("<-", 1)) return parse_update();
    parse_statement();
  }

  void define(const std::string& name, Span span, Tensor tensor) {
    if (!tensors_.emplace(name, tensor).second) {
      reader_.error(span, fmt::format("`{}` is defined twice", name));
    }
  }

  void parse_declaration(TensorKind kind, Span begin) {
    TensorDeclaration declaration;
    declaration.kind = kind;
    const Span name_span = reader_.peek().span;
    declaration.name = reader_.take_name("the name of a tensor");
    if (!reader_.expect(":")) return;
    std::optional<ScalarType> type = reader_.take_scalar_type();
    std::optional<Shape> shape = reader_.take_shape(program_.batch);
    if (!type || !shape) return;
    declaration.type = *type;
    declaration.shape = std::move(*shape);
    if (reader_.accept("in")) {
      declaration.range = parse_integer_range(reader_);
      if (!declaration.range) return;
    }
    while (reader_.accept("@")) declaration.tags.push_back(reader_.take_name("a tag"));
    declaration.origin = join(begin, name_span);
    define(declaration.name, name_span,
           {declaration.type, static_cast<int>(declaration.shape.size())});
    program_.declarations.push_back(std::move(declaration));
  }

  void parse_update() {
    TensorUpdate update;
    update.target = reader_.take_name("the name of a parameter or state");
    reader_.take();
    update.value = reader_.take_name("the name of a tensor");
    program_.updates.push_back(std::move(update));
  }

  void parse_statement() {
    TensorStatement statement;
    const Span name_span = reader_.peek().span;
    statement.name = reader_.take_name("the name of a tensor");
    std::vector<std::string> scope;
    if (reader_.accept("[")) {
      do {
        std::optional<IndexRange> range = parse_range(reader_, program_.batch);
        if (!range) return;
        scope.push_back(range->name);
        statement.indices.push_back(std::move(*range));
      } while (reader_.accept(","));
      if (!reader_.expect("]")) return;
    }
    if (!element_count(statement.shape())) {
      return reader_.error(name_span, "the number of elements does not fit 63 bits");
    }
    if (!reader_.expect(":")) return;
    std::optional<ScalarType> type = reader_.take_scalar_type();
    if (!type || !reader_.expect("=")) return;
    statement.type = *type;
    NameResolver resolve = [this](std::string_view name, bool) {
      auto found = tensors_.find(name);
      if (found != tensors_.end()) {
        return NameMeaning::tensor(found->second.type, found->second.rank);
      }
      return is_uniform_name(name) ? NameMeaning::uniform() : NameMeaning();
    };
    std::optional<RightSide> right_side = parse_right_side(reader_, program_.batch, scope, resolve,
                                                           {program_.real, ExprLevel::tensor});
    if (!right_side) return;
    statement.reduction = right_side->reduction;
    statement.binders = std::move(right_side->binders);
    statement.condition = std::move(right_side->condition);
    statement.value = std::move(right_side->value);
    statement.origin = name_span;
    define(statement.name, name_span, {statement.type, static_cast<int>(statement.indices.size())});
    program_.statements.push_back(std::move(statement));
  }

  TextReader& reader_;
  TensorProgram program_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace

std::optional<TensorStage> parse_tensor_module(const SourceManager& sources, uint32_t file,
                                               Diagnostics& diagnostics) {
  TextReader reader(sources, file, diagnostics);
  TensorStage result;
  result.stage = parse_stage_line(reader, {"tensor", "tensor.grad", "tensor.opt"});
  while (!reader.failed() && !reader.at_end()) {
    const Span span = reader.peek(1).span;
    std::optional<TensorProgram> program = TensorParser(reader).parse_program();
    if (!program) return std::nullopt;
    if (result.module.find(program->name) != nullptr) {
      reader.error(span, fmt::format("there are two programs `{}`", program->name));
      return std::nullopt;
    }
    result.module.programs.push_back(std::move(*program));
  }
  if (reader.failed()) return std::nullopt;
  return result;
}

}  // namespace fusegrad::ir
