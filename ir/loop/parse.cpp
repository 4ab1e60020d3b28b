// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parsing L. A statement's keyword counts only if a name follows, so that every word may name a
// variable.
#include "ir/loop/parse.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "ir/expr_text.h"
#include "ir/kernel/buffer_text.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

class FunctionParser {
 public:
  FunctionParser(TextReader& reader, int64_t batch, ScalarType real)
      : reader_(reader), batch_(batch), options_{real, ExprLevel::loop} {
    resolve_ = [this](std::string_view name, bool loaded) { return meaning(name, loaded); };
  }

  /// What follows the word `func`.
  std::optional<LoopFunction> parse() {
    function_.name = reader_.take_name("the name of a function");
    parse_parameters();
    parse_tasks();
    variables_.emplace_back();
    for (const char* name : {"begin", "end"}) variables_.back()[name] = {ScalarType::i64};
    parse_block(function_.body);
    if (reader_.failed()) return std::nullopt;
    return std::move(function_);
  }

 private:
  void parse_parameters() {
    if (!reader_.expect("(") || reader_.accept(")")) return;
    do {
      LoopParameter parameter;
      parameter.written = reader_.at_name(1) && reader_.accept("mutable");
      const Span span = reader_.peek().span;
      parameter.name = reader_.take_name("the name of a buffer");
      if (!reader_.expect(":") || !reader_.expect("ptr") || !reader_.expect("<")) return;
      const std::optional<ScalarType> type = reader_.take_scalar_type();
      if (!type || !reader_.expect(">")) return;
      parameter.type = *type;
      parameter.elements = -1;
      if (reader_.accept("[")) {
        const Span size_span = reader_.peek().span;
        const std::optional<int64_t> elements = reader_.take_integer("the number of elements");
        if (!elements || !reader_.expect("]")) return;
        if (*elements < 0) return reader_.error(size_span, "a size is not negative");
        parameter.elements = *elements;
      }
      if (!memory_.emplace(parameter.name, parameter.type).second) {
        return reader_.error(span, fmt::format("`{}` is defined twice", parameter.name));
      }
      function_.parameters.push_back(std::move(parameter));
    } while (reader_.accept(","));
    reader_.expect(")");
  }

  void parse_tasks() {
    if (!reader_.expect("tasks") || !reader_.expect("(") || reader_.accept(")")) return;
    do {
      TaskDimension dimension;
      const std::optional<Extent> extent = reader_.take_extent(batch_);
      if (!extent || !reader_.expect("tile")) return;
      dimension.extent = *extent;
      const Span span = reader_.peek().span;
      const std::optional<int64_t> tile = reader_.take_integer("the size of a tile");
      if (!tile) return;
      if (*tile < 1) return reader_.error(span, "a tile is at least 1");
      dimension.tile = *tile;
      function_.tasks.push_back(dimension);
    } while (reader_.accept(","));
    reader_.expect(")");
  }

  NameMeaning meaning(std::string_view name, bool loaded) const {
    if (!loaded) {
      for (auto scope = variables_.rbegin(); scope != variables_.rend(); ++scope) {
        auto found = scope->find(name);
        if (found != scope->end()) return NameMeaning::variable(found->second);
      }
      if (is_uniform_name(name)) return NameMeaning::uniform();
    }
    auto found = memory_.find(name);
    return found == memory_.end() ? NameMeaning() : NameMeaning::tensor(found->second, 1);
  }

  ExprRef expression() { return parse_expression(reader_, resolve_, options_); }

  /// An expression of type i64, one lane if `scalar`.
  ExprRef integer(std::string_view what, bool scalar) {
    const Span span = reader_.peek().span;
    ExprRef e = expression();
    if (e == nullptr) return nullptr;
    if (e->type.scalar == ScalarType::i64 && (!scalar || e->type.lanes == 1)) return e;
    reader_.error(span, fmt::format("{} is {}, not i64", what, spelling(e->type)));
    return nullptr;
  }

  void parse_block(LoopBlock& statements) {
    const Span span = reader_.peek().span;
    if (!reader_.expect("{")) return;
    if (++depth_ > maximum_block_depth) {
      return reader_.error(
          span, fmt::format("blocks are nested more than {} levels deep", maximum_block_depth));
    }
    variables_.emplace_back();
    while (!reader_.failed() && !reader_.accept("}")) parse_statement(statements);
    variables_.pop_back();
    --depth_;
  }

  void define(std::string name, Type type) { variables_.back()[std::move(name)] = type; }

  void parse_statement(LoopBlock& statements) {
    if (reader_.at("if")) return parse_if(statements);
    if (reader_.at_name(1)) {
      if (reader_.accept("let")) return parse_let(statements);
      if (reader_.accept("var")) return parse_var(statements);
      if (reader_.accept("stack")) return parse_stack(statements);
      if (reader_.accept("store")) return parse_store(statements);
      if (reader_.accept("for")) return parse_for(statements);
    }
    if (!reader_.at("=", 1)) {
      return reader_.error_expected("let, var, stack, store, for, if, an assignment or `}`");
    }
    LoopAssign assign;
    const Span span = reader_.peek().span;
    assign.name = reader_.take_name("the name of a variable");
    reader_.take();
    const NameMeaning target = meaning(assign.name, false);
    if (target.kind != NameMeaning::Kind::variable) {
      return reader_.error(span, fmt::format("there is no variable `{}` here", assign.name));
    }
    assign.value = expression();
    if (assign.value == nullptr) return;
    if (!(assign.value->type == target.type)) {
      return reader_.error(span, fmt::format("`{}` is {}, the value is {}", assign.name,
                                             spelling(target.type), spelling(assign.value->type)));
    }
    statements.push_back({std::move(assign)});
  }

  void parse_let(LoopBlock& statements) {
    LoopLet let;
    if (!parse_definition(let.name, let.value)) return;
    statements.push_back({std::move(let)});
  }

  void parse_var(LoopBlock& statements) {
    LoopVar var;
    if (!parse_definition(var.name, var.value)) return;
    statements.push_back({std::move(var)});
  }

  /// `NAME = value`; the name is in scope afterwards.
  bool parse_definition(std::string& name, ExprRef& value) {
    name = reader_.take_name("the name of a variable");
    if (!reader_.expect("=")) return false;
    value = expression();
    if (value == nullptr) return false;
    define(name, value->type);
    return true;
  }

  void parse_stack(LoopBlock& statements) {
    LoopStack stack;
    const Span span = reader_.peek().span;
    stack.name = reader_.take_name("the name of a stack array");
    if (!reader_.expect(":")) return;
    const std::optional<ScalarType> type = reader_.take_scalar_type();
    if (!type || !reader_.expect("[")) return;
    stack.type = *type;
    const Span size_span = reader_.peek().span;
    const std::optional<int64_t> elements = reader_.take_integer("the number of elements");
    if (!elements || !reader_.expect("]")) return;
    if (*elements < 1) return reader_.error(size_span, "a stack array has at least one element");
    stack.elements = *elements;
    if (!memory_.emplace(stack.name, stack.type).second) {
      return reader_.error(span, fmt::format("`{}` is defined twice", stack.name));
    }
    statements.push_back({std::move(stack)});
  }

  void parse_store(LoopBlock& statements) {
    LoopStore store;
    const Span span = reader_.peek().span;
    store.buffer = reader_.take_name("the name of a buffer");
    auto memory = memory_.find(store.buffer);
    if (memory == memory_.end()) {
      return reader_.error(span, fmt::format("there is no memory `{}` here", store.buffer));
    }
    if (!reader_.expect("[")) return;
    store.address = integer("an address", false);
    if (store.address == nullptr || !reader_.expect("]") || !reader_.expect("=")) return;
    store.value = expression();
    if (store.value == nullptr) return;
    const int address_lanes = store.address->type.lanes;
    if (store.value->type.scalar != memory->second ||
        (address_lanes != 1 && address_lanes != store.value->type.lanes)) {
      return reader_.error(
          span, fmt::format("`{}` has elements of {}; stored is {} with an address of {}",
                            store.buffer, spelling(memory->second), spelling(store.value->type),
                            spelling(store.address->type)));
    }
    statements.push_back({std::move(store)});
  }

  void parse_for(LoopBlock& statements) {
    LoopFor loop;
    loop.name = reader_.take_name("the name of a variable");
    if (!reader_.expect("=")) return;
    loop.begin = integer("the begin of a loop", true);
    if (loop.begin == nullptr || !reader_.expect("to")) return;
    loop.end = integer("the end of a loop", true);
    if (loop.end == nullptr || !reader_.expect("step")) return;
    const Span span = reader_.peek().span;
    const std::optional<int64_t> step = reader_.take_integer("the step of a loop");
    if (!step) return;
    if (*step < 1) return reader_.error(span, "the step of a loop is at least 1");
    loop.step = *step;
    variables_.emplace_back();
    define(loop.name, {ScalarType::i64});
    parse_block(loop.body);
    variables_.pop_back();
    statements.push_back({std::move(loop)});
  }

  void parse_if(LoopBlock& statements) {
    LoopIf branch;
    reader_.take();
    const Span span = reader_.peek().span;
    branch.condition = expression();
    if (branch.condition == nullptr) return;
    if (!(branch.condition->type == Type{ScalarType::boolean})) {
      return reader_.error(span, fmt::format("the condition of `if` is {}, not bool",
                                             spelling(branch.condition->type)));
    }
    parse_block(branch.then_block);
    if (reader_.accept("else")) parse_block(branch.else_block);
    statements.push_back({std::move(branch)});
  }

  TextReader& reader_;
  int64_t batch_;
  ExprTextOptions options_;
  NameResolver resolve_;
  LoopFunction function_;
  std::vector<std::map<std::string, Type, std::less<>>> variables_;
  std::map<std::string, ScalarType, std::less<>> memory_;  ///< parameters and stack arrays
  int depth_ = 0;
};

class ProgramParser {
 public:
  explicit ProgramParser(TextReader& reader) : reader_(reader) {}

  std::optional<LoopProgram> parse() {
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
  void parse_line() {
    const Span span = reader_.peek(1).span;
    if (at_buffer(reader_)) {
      std::optional<Buffer> buffer = parse_buffer(reader_, program_.batch);
      if (!buffer) return;
      if (program_.find_buffer(buffer->name) != nullptr) {
        return reader_.error(span, fmt::format("there are two buffers `{}`", buffer->name));
      }
      program_.buffers.push_back(std::move(*buffer));
    } else if (reader_.at("result")) {
      std::optional<KernelResult> result = parse_kernel_result(reader_);
      if (result) program_.results.push_back(std::move(*result));
    } else if (reader_.accept("arena")) {
      const std::optional<int64_t> bytes = reader_.take_integer("a number of bytes");
      if (!bytes) return;
      if (*bytes < 0) return reader_.error(span, "a size is not negative");
      program_.arena_bytes = *bytes;
    } else if (reader_.accept("func")) {
      std::optional<LoopFunction> function =
          FunctionParser(reader_, program_.batch, program_.real).parse();
      if (!function) return;
      if (program_.find_function(function->name) != nullptr) {
        return reader_.error(span, fmt::format("there are two functions `{}`", function->name));
      }
      program_.functions.push_back(std::move(*function));
    } else if (reader_.accept("launch")) {
      parse_launch();
    } else {
      reader_.error_expected("a buffer, arena, func, launch, result or `}`");
    }
  }

  void parse_launch() {
    if (!reader_.expect("{")) return;
    LoopLaunch launch;
    while (!reader_.failed() && !reader_.accept("}")) {
      const Span span = reader_.peek().span;
      std::string name = reader_.take_name("the name of a function");
      if (!reader_.failed() && program_.find_function(name) == nullptr) {
        return reader_.error(span, fmt::format("there is no function `{}`", name));
      }
      launch.functions.push_back(std::move(name));
    }
    program_.launches.push_back(std::move(launch));
  }

  TextReader& reader_;
  LoopProgram program_;
};

}  // namespace

std::optional<LoopModule> parse_loop_module(const SourceManager& sources, uint32_t file,
                                            Diagnostics& diagnostics) {
  TextReader reader(sources, file, diagnostics);
  LoopModule module;
  parse_stage_line(reader, {"loops"});
  while (!reader.failed() && !reader.at_end()) {
    const Span span = reader.peek(1).span;
    std::optional<LoopProgram> program = ProgramParser(reader).parse();
    if (!program) return std::nullopt;
    if (module.find(program->name) != nullptr) {
      reader.error(span, fmt::format("there are two programs `{}`", program->name));
      return std::nullopt;
    }
    module.programs.push_back(std::move(*program));
  }
  if (reader.failed()) return std::nullopt;
  return module;
}

}  // namespace fusegrad::ir
