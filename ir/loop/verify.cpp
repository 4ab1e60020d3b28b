// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules of L, one after the other; proofs about addresses are in address_check.cpp and run only
// when everything else holds.
#include "ir/loop/verify.h"

#include <fmt/format.h>

#include <bit>
#include <map>
#include <set>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "ir/expr_text.h"
#include "ir/expr_types.h"
#include "ir/kernel/buffer_index.h"
#include "ir/kernel/memory_check.h"
#include "ir/kernel/segment.h"
#include "ir/loop/address_check.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"
#include "ir/support/check.h"
#include "ir/text_reader.h"

namespace fusegrad::ir {
namespace {

/// More are not reported: one mistake often makes many.
constexpr size_t most_violations = 50;

/// Reserved where loads are written: `load` and `load8` with a name behind them.
bool looks_like_load(std::string_view name) {
  if (!name.starts_with("load")) return false;
  name.remove_prefix(4);
  return name.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_variable_name(std::string_view name) {
  return is_valid_name(name) && !looks_like_load(name);
}

/// A constant, or one in all lanes.
const Expr* constant_of(const ExprRef& e) {
  const Expr* node = e->op == Op::splat && !e->operands.empty() ? e->operands[0].get() : e.get();
  return node->op == Op::constant ? node : nullptr;
}

bool is_call(Op op) {
  switch (op) {
    case Op::power:
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::expm1:
    case Op::rsqrt:
    case Op::tanh:
    case Op::erf:
    case Op::sin:
    case Op::cos:
    case Op::rand:
    case Op::normal:
      return true;
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
      return false;
  }
  return false;
}

class FunctionVerifier {
 public:
  FunctionVerifier(const LoopProgram& program, const BufferIndex& buffers,
                   const LoopFunction& function, bool expanded,
                   std::vector<std::string>& violations)
      : program_(program),
        buffers_(buffers),
        function_(function),
        expanded_(expanded),
        violations_(violations) {}

  void run() {
    parameters();
    for (const TaskDimension& dimension : function_.tasks) {
      if (dimension.tile < 1) add("a tile of {}", dimension.tile);
      if (dimension.extent.maximum < 0) add("tasks over {}", dimension.extent.maximum);
    }
    scopes_.emplace_back();
    for (const char* name : {"begin", "end"}) scopes_.back()[name] = {{ScalarType::i64}, false};
    block(function_.body, 1);
    if (stack_bytes_ > maximum_stack_bytes) {
      statement_ = nullptr;
      add("stack arrays of {} bytes, more than {}", stack_bytes_, maximum_stack_bytes);
    }
  }

 private:
  struct Variable {
    Type type;
    bool changes = false;
  };
  struct Memory {
    ScalarType type = ScalarType::f32;
    bool writable = false;
  };

  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (violations_.size() >= most_violations) return;
    std::string place = fmt::format("function `{}`", function_.name);
    if (statement_ != nullptr && printable_) {
      place += fmt::format(", statement `{}`", print_statement_head(*statement_, program_.real));
    }
    violations_.push_back(place + ": " +
                          fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  // ---- Parameters.

  void parameters() {
    for (const LoopParameter& parameter : function_.parameters) {
      if (!is_valid_name(parameter.name)) add("`{}` is no name", parameter.name);
      if (!memory_.emplace(parameter.name, Memory{parameter.type, parameter.written}).second) {
        add("there are two parameters `{}`", parameter.name);
      }
      if (parameter.name == row_list_name) {
        if (parameter.type != ScalarType::i32 || parameter.written) {
          add("`{}` is i32 and not mutable", parameter.name);
        }
        if (parameter.elements != program_.batch) {
          add("`{}` has {} elements, not one for each of {} rows", parameter.name,
              parameter.elements, program_.batch);
        }
        continue;
      }
      const Buffer* buffer = buffers_.find(parameter.name);
      if (buffer == nullptr) {
        add("there is no buffer `{}`", parameter.name);
        continue;
      }
      if (buffer->type != parameter.type) {
        add("`{}` is a buffer of {}, not {}", parameter.name, spelling(buffer->type),
            spelling(parameter.type));
      }
      const bool is_input = buffer->kind == BufferKind::input;
      if (is_input && parameter.written) add("the input `{}` is mutable", parameter.name);
      if (buffer->kind == BufferKind::derived && parameter.written) {
        add("the derived buffer `{}` is mutable", parameter.name);
      }
      if (parameter.elements < (is_input ? -1 : 0) ||
          parameter.elements > buffer->physical_elements()) {
        add("`{}` has {} elements as a parameter and {} as a buffer", parameter.name,
            parameter.elements, buffer->physical_elements());
      }
    }
  }

  // ---- Names.

  const Variable* find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      auto found = scope->find(name);
      if (found != scope->end()) return &found->second;
    }
    return nullptr;
  }

  void define(const std::string& name, Type type, bool changes) {
    if (!is_variable_name(name)) add("`{}` cannot be the name of a variable", name);
    if (find(name) != nullptr) add("`{}` hides a variable of that name", name);
    scopes_.back()[name] = {type, changes};
  }

  // ---- Expressions.

  /// False: nothing can be said about the expression.
  bool expression(const ExprRef& e) {
    printable_ = e != nullptr;
    if (e == nullptr) {
      add("a value is missing");
      return false;
    }
    if (e->depth() > maximum_expression_depth) {
      printable_ = false;
      add("an expression is nested {} levels deep, more than {}", e->depth(),
          maximum_expression_depth);
      return false;
    }
    const size_t before = violations_.size();
    walk(e, [this](const Expr& node) { this->node(node); });
    return violations_.size() == before;
  }

  void node(const Expr& e) {
    if (e.type.lanes < 1 || e.type.lanes > 64) add("{} lanes", e.type.lanes);
    if (std::string mistake = type_mistake(e); !mistake.empty()) return add("{}", mistake);
    if (expanded_ && is_call(e.op)) add("`{}` is not expanded", spelling(e.op));
    switch (e.op) {
      case Op::index:
      case Op::stop_gradient:
      case Op::custom:
        return add("`{}` does not exist on L", e.op == Op::index ? e.name : spelling(e.op));
      case Op::uniform:
        if (!is_uniform_name(e.name) || !(e.type == Type{ScalarType::i64})) {
          add("there is no uniform `{}` of {}", e.name, spelling(e.type));
        }
        if (find(e.name) != nullptr) add("a variable hides the uniform `{}`", e.name);
        return;
      case Op::variable: {
        const Variable* variable = find(e.name);
        if (variable == nullptr) return add("there is no variable `{}`", e.name);
        if (!(variable->type == e.type)) {
          add("`{}` is {}, not {}", e.name, spelling(variable->type), spelling(e.type));
        }
        return;
      }
      case Op::read:
        return load(e);
      case Op::floor_divide:
      case Op::modulo: {
        const Expr* divisor = constant_of(e.operands[1]);
        if (divisor == nullptr || divisor->integer <= 0) {
          add("the divisor of `{}` is no positive constant", spelling(e.op));
        }
        return;
      }
      case Op::shift_left:
      case Op::shift_right: {
        const Expr* shift = constant_of(e.operands[1]);
        if (shift == nullptr || shift->integer < 0 ||
            shift->integer >= 8 * byte_size(e.type.scalar)) {
          add("the count of `{}` is no constant below the width of {}", spelling(e.op),
              spelling(e.type.scalar));
        }
        return;
      }
      case Op::vector_sum:
        if (!std::has_single_bit(static_cast<unsigned>(e.operands[0]->type.lanes))) {
          add("`vector_sum` of {} lanes, no power of two", e.operands[0]->type.lanes);
        }
        return;
      case Op::convert:
        if (e.type.scalar == ScalarType::boolean) add("a conversion to bool; write `x != 0`");
        return;
      case Op::iota:
        if (e.type.scalar != ScalarType::i64) add("`iota` is i64, not {}", spelling(e.type));
        return;
      case Op::constant:
      case Op::negate:
      case Op::add:
      case Op::subtract:
      case Op::multiply:
      case Op::divide:
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
      case Op::exp:
      case Op::log:
      case Op::log1p:
      case Op::expm1:
      case Op::sqrt:
      case Op::rsqrt:
      case Op::tanh:
      case Op::erf:
      case Op::sin:
      case Op::cos:
      case Op::abs:
      case Op::floor:
      case Op::rand:
      case Op::normal:
      case Op::fma:
      case Op::splat:
      case Op::lane:
      case Op::bit_cast:
      case Op::bit_and:
      case Op::bit_or:
      case Op::bit_xor:
        return;
    }
  }

  void load(const Expr& e) {
    auto memory = memory_.find(e.name);
    if (memory == memory_.end()) return add("there is no memory `{}`", e.name);
    if (e.operands.size() != 1 || e.has_else) {
      return add("a load of `{}` has one address and no else", e.name);
    }
    if (memory->second.type != e.type.scalar) {
      add("`{}` has elements of {}, not {}", e.name, spelling(memory->second.type),
          spelling(e.type.scalar));
    }
    const int lanes = e.operands[0]->type.lanes;
    if (lanes != 1 && lanes != e.type.lanes) {
      add("a load of {} lanes from {} addresses", e.type.lanes, lanes);
    }
  }

  /// An expression of exactly this type.
  void expression_of(const ExprRef& e, Type type, std::string_view what) {
    if (expression(e) && !(e->type == type)) {
      add("{} is {}, not {}", what, spelling(e->type), spelling(type));
    }
  }

  // ---- Statements.

  void block(const LoopBlock& statements, int depth) {
    if (depth > maximum_block_depth) {
      if (statements.empty()) return;
      return add("blocks are nested more than {} levels deep", maximum_block_depth);
    }
    scopes_.emplace_back();
    const size_t outer_stacks = stacks_.size();
    for (const LoopStatement& statement : statements) {
      statement_ = &statement;
      printable_ = true;
      std::visit([this, depth](const auto& node) { visit(node, depth); }, statement.node);
    }
    for (; stacks_.size() > outer_stacks; stacks_.pop_back()) memory_.erase(stacks_.back());
    scopes_.pop_back();
  }

  void visit(const LoopLet& let, int) {
    if (expression(let.value)) define(let.name, let.value->type, false);
  }

  void visit(const LoopVar& var, int) {
    if (expression(var.value)) define(var.name, var.value->type, true);
  }

  void visit(const LoopAssign& assign, int) {
    if (!expression(assign.value)) return;
    const Variable* variable = find(assign.name);
    if (variable == nullptr) return add("there is no variable `{}`", assign.name);
    if (!variable->changes) return add("`{}` is no var and cannot be assigned", assign.name);
    if (!(variable->type == assign.value->type)) {
      add("`{}` is {}, the value is {}", assign.name, spelling(variable->type),
          spelling(assign.value->type));
    }
  }

  void visit(const LoopStack& stack, int) {
    if (!is_valid_name(stack.name)) add("`{}` is no name", stack.name);
    if (stack.elements < 1) return add("a stack array of {} elements", stack.elements);
    if (memory_.contains(stack.name)) return add("there is memory `{}` already", stack.name);
    const std::optional<int64_t> bytes = checked_multiply(stack.elements, byte_size(stack.type));
    stack_bytes_ = saturating_add(stack_bytes_, bytes.value_or(INT64_MAX));
    memory_[stack.name] = {stack.type, true};
    stacks_.push_back(stack.name);
  }

  void visit(const LoopStore& store, int) {
    const bool both = expression(store.address) && expression(store.value);
    auto memory = memory_.find(store.buffer);
    if (memory == memory_.end()) return add("there is no memory `{}`", store.buffer);
    if (!memory->second.writable) add("`{}` is not mutable", store.buffer);
    if (!both) return;
    const Type address = store.address->type;
    if (address.scalar != ScalarType::i64) add("the address is {}, not i64", spelling(address));
    if (address.lanes != 1 && address.lanes != store.value->type.lanes) {
      add("a store of {} lanes to {} addresses", store.value->type.lanes, address.lanes);
    }
    if (memory->second.type != store.value->type.scalar) {
      add("`{}` has elements of {}, not {}", store.buffer, spelling(memory->second.type),
          spelling(store.value->type.scalar));
    }
  }

  void visit(const LoopFor& loop, int depth) {
    expression_of(loop.begin, {ScalarType::i64}, "the begin of the loop");
    expression_of(loop.end, {ScalarType::i64}, "the end of the loop");
    if (loop.step < 1) add("a loop with step {}", loop.step);
    scopes_.emplace_back();
    define(loop.name, {ScalarType::i64}, false);
    block(loop.body, depth + 1);
    scopes_.pop_back();
  }

  void visit(const LoopIf& branch, int depth) {
    expression_of(branch.condition, {ScalarType::boolean}, "the condition");
    block(branch.then_block, depth + 1);
    block(branch.else_block, depth + 1);
  }

  const LoopProgram& program_;
  const BufferIndex& buffers_;
  const LoopFunction& function_;
  bool expanded_;
  std::vector<std::string>& violations_;
  std::vector<std::map<std::string, Variable, std::less<>>> scopes_;
  std::map<std::string, Memory, std::less<>> memory_;
  std::vector<std::string> stacks_;  ///< of the open blocks
  int64_t stack_bytes_ = 0;
  const LoopStatement* statement_ = nullptr;
  bool printable_ = true;
};

class ProgramVerifier {
 public:
  ProgramVerifier(const LoopProgram& program, const BufferIndex& buffers,
                  std::vector<std::string>& violations)
      : program_(program), buffers_(buffers), violations_(violations) {
    for (const LoopFunction& function : program.functions) {
      functions_.emplace(function.name, &function);
    }
  }

  void run() {
    if (!is_valid_name(program_.name)) add("`{}` is no name of a program", program_.name);
    if (program_.batch < 1 || program_.batch > INT32_MAX) add("a batch of {}", program_.batch);
    if (!is_real(program_.real)) add("{} is no precision", spelling(program_.real));
    buffers();
    std::set<std::string> functions;
    for (const LoopFunction& function : program_.functions) {
      if (!is_valid_name(function.name)) add("`{}` is no name of a function", function.name);
      if (!functions.insert(function.name).second) {
        add("there are two functions `{}`", function.name);
      }
    }
    for (const LoopLaunch& launch : program_.launches) check(launch);
    arena();
    for (const KernelResult& result : program_.results) {
      if (buffers_.find(result.buffer) == nullptr) {
        add("result `{}`: there is no buffer `{}`", result.label, result.buffer);
      }
    }
  }

 private:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (violations_.size() >= most_violations) return;
    violations_.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  const LoopFunction* find_function(const std::string& name) const {
    auto found = functions_.find(name);
    return found == functions_.end() ? nullptr : found->second;
  }

  void buffers() {
    std::set<std::string> names;
    if (program_.arena_bytes < 0) add("an arena of {} bytes", program_.arena_bytes);
    for (const Buffer& buffer : program_.buffers) {
      if (!is_valid_name(buffer.name) || buffer.name == row_list_name) {
        add("`{}` is no name of a buffer", buffer.name);
      }
      if (!names.insert(buffer.name).second) add("there are two buffers `{}`", buffer.name);
      for (const std::string& mistake : derivation_mistakes(program_.buffers, buffer)) {
        add("`{}`: {}", buffer.name, mistake);
      }
      if (!bytes_of(buffer)) {
        add("the number of bytes of `{}` does not fit 63 bits", buffer.name);
      }
    }
  }

  /// Which function uses which buffer is in their parameters.
  void arena() {
    std::vector<TouchedBuffers> launches;
    for (const LoopLaunch& launch : program_.launches) {
      TouchedBuffers& touched = launches.emplace_back();
      for (const std::string& name : launch.functions) {
        const LoopFunction* function = find_function(name);
        if (function == nullptr) continue;
        for (const LoopParameter& parameter : function->parameters) touched.insert(parameter.name);
      }
    }
    for (const std::string& violation :
         check_arena(program_.buffers, program_.arena_bytes, launches)) {
      add("{}", violation);
    }
  }

  /// Functions of a launch may run at the same time.
  void check(const LoopLaunch& launch) {
    std::map<std::string, std::pair<std::string, bool>> users;  // the function, whether it writes
    std::set<std::string> launched;
    for (const std::string& name : launch.functions) {
      const LoopFunction* function = find_function(name);
      if (function == nullptr) {
        add("a launch of `{}`, which does not exist", name);
        continue;
      }
      if (!launched.insert(name).second) add("`{}` twice in a launch", name);
      for (const LoopParameter& parameter : function->parameters) {
        auto [user, first] = users.try_emplace(parameter.name, std::pair(name, parameter.written));
        if (first || user->second.first == name) continue;
        if (parameter.written || user->second.second) {
          add("`{}` and `{}` are in one launch, and one of them writes `{}`", user->second.first,
              name, parameter.name);
        }
      }
    }
  }

  const LoopProgram& program_;
  const BufferIndex& buffers_;
  std::unordered_map<std::string_view, const LoopFunction*> functions_;
  std::vector<std::string>& violations_;
};

/// Whether no value is missing, so that the text can be printed.
bool printable(const LoopBlock& statements) {
  for (const LoopStatement& statement : statements) {
    const auto complete = [](const auto& node) {
      using Node = std::decay_t<decltype(node)>;
      if constexpr (std::is_same_v<Node, LoopStack>) return true;
      if constexpr (requires { node.buffer; }) {
        return node.address != nullptr && node.value != nullptr;
      } else if constexpr (requires { node.value; }) {
        return node.value != nullptr;
      } else if constexpr (requires { node.condition; }) {
        return node.condition != nullptr && printable(node.then_block) &&
               printable(node.else_block);
      } else if constexpr (requires { node.begin; }) {
        return node.begin != nullptr && node.end != nullptr && printable(node.body);
      }
      return true;
    };
    if (!std::visit(complete, statement.node)) return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> verify(const LoopProgram& program, bool expanded, AddressCount* count) {
  std::vector<std::string> violations;
  const BufferIndex buffers(program.buffers);
  ProgramVerifier(program, buffers, violations).run();
  // What follows relies on sizes that make sense.
  if (!violations.empty()) return violations;
  for (const LoopFunction& function : program.functions) {
    FunctionVerifier(program, buffers, function, expanded, violations).run();
  }
  if (!violations.empty()) return violations;
  AddressCount addresses;
  for (const LoopFunction& function : program.functions) {
    if (violations.size() >= most_violations) break;
    check_addresses(program, buffers, function, violations, addresses);
  }
  if (count != nullptr) *count = addresses;
  return violations;
}

std::vector<std::string> verify(const LoopModule& module, bool expanded) {
  std::vector<std::string> violations;
  std::set<std::string> names;
  SharedMemoryCheck shared;
  for (const LoopProgram& program : module.programs) {
    if (!names.insert(program.name).second) {
      violations.push_back(fmt::format("there are two programs `{}`", program.name));
    }
    for (std::string& violation : verify(program, expanded)) {
      violations.push_back(fmt::format("program {}: {}", program.name, violation));
    }
    shared.add(program.name, program.buffers, violations);
  }
  return violations;
}

void check_verified(const LoopProgram& program, std::string_view stage, bool expanded) {
  const std::vector<std::string> violations = verify(program, expanded);
  if (violations.empty()) return;
  bool text = true;
  for (const LoopFunction& function : program.functions) text = text && printable(function.body);
  FG_CHECK(violations.empty(), "program {} at stage {}:\n  {}\n{}", program.name, stage,
           fmt::join(violations, "\n  "), text ? print(program) : "");
}

}  // namespace fusegrad::ir
