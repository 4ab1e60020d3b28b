// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes L down as LLVM IR in SSA form. No instruction gets a fast-math flag; what L leaves to be
// rounded is rounded, what L fuses is llvm.fma.
#include "codegen/cpu/emit_llvm.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "codegen/cpu/function_frame.h"
#include "codegen/cpu/llvm_state.h"
#include "ir/kernel/buffer_index.h"
#include "ir/loop/equal_functions.h"
#include "ir/support/check.h"

namespace fusegrad::codegen {
namespace {

using ir::Expr;
using ir::ExprRef;
using ir::LoopBlock;
using ir::LoopFunction;
using ir::LoopParameter;
using ir::LoopProgram;
using ir::LoopStatement;
using ir::Op;
using ir::ScalarType;
using ir::Type;

/// Pointers that the runtime hands over are aligned to this many bytes, and so is `stack` memory.
constexpr int64_t buffer_alignment = 64;

llvm::Type* element_type(llvm::LLVMContext& context, ScalarType type) {
  switch (type) {
    case ScalarType::boolean:
      return llvm::Type::getInt1Ty(context);
    case ScalarType::u8:
      return llvm::Type::getInt8Ty(context);
    case ScalarType::i32:
      return llvm::Type::getInt32Ty(context);
    case ScalarType::i64:
      return llvm::Type::getInt64Ty(context);
    case ScalarType::f32:
      return llvm::Type::getFloatTy(context);
    case ScalarType::f64:
      return llvm::Type::getDoubleTy(context);
  }
  FG_UNREACHABLE("scalar type {}", static_cast<int>(type));
}

/// In registers a bool is one bit; in memory it is a byte of 0 or 1.
llvm::Type* stored_element_type(llvm::LLVMContext& context, ScalarType type) {
  return type == ScalarType::boolean ? llvm::Type::getInt8Ty(context) : element_type(context, type);
}

llvm::Type* with_lanes(llvm::Type* element, int lanes) {
  return lanes == 1 ? element : llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
}

llvm::Type* value_type(llvm::LLVMContext& context, Type type) {
  return with_lanes(element_type(context, type.scalar), type.lanes);
}

bool is_unsigned(ScalarType type) { return type == ScalarType::u8 || type == ScalarType::boolean; }

/// Where the elements of a parameter or a `stack` lie, and what is known about that place.
struct Memory {
  llvm::Value* pointer = nullptr;
  ScalarType type = ScalarType::f32;
  int64_t alignment = 1;  ///< of element 0
  bool written = true;
  llvm::MDNode* scope = nullptr;   ///< of its accesses; null for a stack, which LLVM sees through
  llvm::MDNode* others = nullptr;  ///< scopes that its accesses never touch
};

/// A value, and how many low bits of it (of every lane) are zero for sure: only for integers.
struct Emitted {
  llvm::Value* value = nullptr;
  int zero_bits = 0;
};

struct Binding {
  Emitted value;
  Type type;
  bool assignable = false;
};

/// Places of buffers in a table of pointers, by name.
using TablePositions = std::unordered_map<std::string, size_t>;

size_t position_of(const TablePositions& positions, const LoopFunction& function,
                   const LoopParameter& parameter) {
  auto found = positions.find(parameter.name);
  FG_CHECK(found != positions.end(), "`{}` has a parameter `{}` but no such buffer", function.name,
           parameter.name);
  return found->second;
}

/// Emits one function.
class FunctionEmitter {
 public:
  /// `function` has no body yet; `table_positions` says where the table that it is called with has
  /// the pointers of its parameters.
  FunctionEmitter(llvm::Function* function, const LoopProgram& program,
                  const ir::BufferIndex& buffers, const TablePositions& table_positions,
                  const LoopFunction& source)
      : context_(function->getContext()),
        program_(program),
        buffers_(buffers),
        table_positions_(table_positions),
        source_(source),
        function_(function),
        builder_(context_) {}

  void emit() {
    prologue_ = llvm::BasicBlock::Create(context_, "prologue", function_);
    llvm::BasicBlock* body = llvm::BasicBlock::Create(context_, "body", function_);
    builder_.SetInsertPoint(prologue_);
    prologue_end_ = builder_.CreateBr(body);
    load_parameters();
    bind("begin", {function_->getArg(2), 0}, {ScalarType::i64}, false);
    bind("end", {function_->getArg(3), 0}, {ScalarType::i64}, false);
    builder_.SetInsertPoint(body);
    emit_block(source_.body);
    builder_.CreateRetVoid();
  }

 private:
  // ---- The frame: parameters, uniforms.

  /// A load from a table that does not change while the function runs.
  llvm::LoadInst* load_constant(llvm::Value* table, llvm::Type* type, int64_t position,
                                const std::string& name) {
    llvm::IRBuilder<> at_prologue(prologue_end_);
    llvm::Value* address = at_prologue.CreateConstInBoundsGEP1_64(type, table, position);
    llvm::LoadInst* load = at_prologue.CreateAlignedLoad(type, address, llvm::Align(8), name);
    load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
    return load;
  }

  void load_parameters() {
    llvm::MDBuilder metadata(context_);
    llvm::MDNode* domain = metadata.createAliasScopeDomain(function_->getName());
    const std::vector<LoopParameter>& parameters = source_.parameters;
    std::vector<llvm::MDNode*> scopes;
    scopes.reserve(parameters.size());
    for (const LoopParameter& parameter : parameters) {
      scopes.push_back(metadata.createAliasScope(symbol_part(parameter.name), domain));
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      const LoopParameter& parameter = parameters[i];
      const ir::Buffer* buffer = buffers_.find(parameter.name);
      std::vector<llvm::Metadata*> others;
      for (size_t j = 0; j < parameters.size(); ++j) {
        if (j != i && !ir::may_share_memory(buffer, buffers_.find(parameters[j].name))) {
          others.push_back(scopes[j]);
        }
      }
      Memory memory;
      memory.pointer =
          load_constant(function_->getArg(0), llvm::PointerType::get(context_, 0),
                        static_cast<int64_t>(position_of(table_positions_, source_, parameter)),
                        symbol_part(parameter.name));
      memory.type = parameter.type;
      // A resident column may begin behind a file's header: inputs promise no alignment.
      bool promised = buffer != nullptr && buffer->kind != ir::BufferKind::input;
      memory.alignment = promised ? buffer_alignment : ir::byte_size(parameter.type);
      memory.written = parameter.written;
      memory.scope = llvm::MDNode::get(context_, {scopes[i]});
      if (!others.empty()) memory.others = llvm::MDNode::get(context_, others);
      bool fresh = memories_.emplace(parameter.name, memory).second;
      FG_CHECK(fresh, "`{}` has two parameters `{}`", source_.name, parameter.name);
    }
  }

  Emitted uniform(const std::string& name) {
    if (auto found = uniforms_.find(name); found != uniforms_.end()) return {found->second, 0};
    const auto* position = std::find(uniform_order.begin(), uniform_order.end(), name);
    FG_CHECK(position != uniform_order.end(), "unknown uniform `{}`", name);
    llvm::LoadInst* load =
        load_constant(function_->getArg(1), llvm::Type::getInt64Ty(context_),
                      position - uniform_order.begin(), "uniform_" + symbol_part(name));
    if (name == "rows") {
      load->setMetadata(llvm::LLVMContext::MD_range,
                        llvm::MDBuilder(context_).createRange(llvm::APInt(64, 0),
                                                              llvm::APInt(64, program_.batch + 1)));
    }
    uniforms_[name] = load;
    return {load, 0};
  }

  // ---- Names.

  void bind(const std::string& name, Emitted value, Type type, bool assignable) {
    auto found = names_.find(name);
    hidden_.emplace_back(
        name, found == names_.end() ? std::nullopt : std::optional<Binding>(found->second));
    names_[name] = {value, type, assignable};
  }

  /// Leaves the scopes that were opened since `hidden_` had `outer` entries.
  void restore_names(size_t outer) {
    for (; hidden_.size() > outer; hidden_.pop_back()) {
      auto& [name, binding] = hidden_.back();
      if (binding) {
        names_[name] = *binding;
      } else {
        names_.erase(name);
      }
    }
  }

  Binding& binding(const std::string& name) {
    auto found = names_.find(name);
    FG_CHECK(found != names_.end(), "`{}` is not defined in `{}`", name, source_.name);
    return found->second;
  }

  Memory& memory(const std::string& name) {
    auto found = memories_.find(name);
    FG_CHECK(found != memories_.end(), "`{}` is no parameter and no stack of `{}`", name,
             source_.name);
    return found->second;
  }

  // ---- Statements.

  void emit_block(const LoopBlock& block) {
    size_t outer = hidden_.size();
    size_t outer_stacks = stacks_.size();
    for (const LoopStatement& statement : block) {
      memo_.clear();  // a load must not be reused behind a store
      std::visit([&](const auto& node) { emit_statement(node); }, statement.node);
    }
    restore_names(outer);
    for (; stacks_.size() > outer_stacks; stacks_.pop_back()) memories_.erase(stacks_.back());
  }

  void emit_statement(const ir::LoopLet& let) {
    Emitted value = emit_value(let.value);
    name_value(value.value, let.name);
    bind(let.name, value, let.value->type, false);
  }

  void emit_statement(const ir::LoopVar& var) {
    bind(var.name, emit_value(var.value), var.value->type, true);
  }

  void emit_statement(const ir::LoopAssign& assign) {
    Emitted value = emit_value(assign.value);
    Binding& target = binding(assign.name);
    FG_CHECK(target.assignable && target.type == assign.value->type,
             "assignment of {} to `{}` of {}", spelling(assign.value->type), assign.name,
             spelling(target.type));
    name_value(value.value, assign.name);
    target.value = value;
  }

  void emit_statement(const ir::LoopStack& stack) {
    FG_CHECK(stack.elements > 0, "stack `{}` of {} elements", stack.name, stack.elements);
    llvm::Type* type = llvm::ArrayType::get(stored_element_type(context_, stack.type),
                                            static_cast<uint64_t>(stack.elements));
    llvm::IRBuilder<> at_start(prologue_, prologue_->begin());
    llvm::AllocaInst* place = at_start.CreateAlloca(type, nullptr, symbol_part(stack.name));
    place->setAlignment(llvm::Align(buffer_alignment));
    Memory memory = {place, stack.type, buffer_alignment, true, nullptr, nullptr};
    bool fresh = memories_.emplace(stack.name, memory).second;
    FG_CHECK(fresh, "`{}` is already memory of `{}`", stack.name, source_.name);
    stacks_.push_back(stack.name);
  }

  void emit_statement(const ir::LoopStore& store) {
    const Memory& target = memory(store.buffer);
    Emitted address = emit_value(store.address);
    llvm::Value* value = emit_value(store.value).value;
    FG_CHECK(target.written, "store to the read-only parameter `{}`", store.buffer);
    FG_CHECK(target.type == store.value->type.scalar, "store of {} to `{}` of {}",
             spelling(store.value->type), store.buffer, spelling(target.type));
    const int lanes = store.value->type.lanes;
    llvm::Type* element = stored_element_type(context_, target.type);
    if (target.type == ScalarType::boolean) {
      value = builder_.CreateZExt(value, with_lanes(element, lanes));
    }
    if (store.address->type.lanes == 1) {
      mark(builder_.CreateAlignedStore(value, element_pointer(target, element, address.value),
                                       access_alignment(target, address)),
           target);
      return;
    }
    FG_CHECK(store.address->type.lanes == lanes, "store of {} at {}", spelling(store.value->type),
             spelling(store.address->type));
    for (int lane = 0; lane < lanes; ++lane) {
      llvm::Value* at = builder_.CreateExtractElement(address.value, static_cast<uint64_t>(lane));
      llvm::Value* part = builder_.CreateExtractElement(value, static_cast<uint64_t>(lane));
      mark(builder_.CreateAlignedStore(part, element_pointer(target, element, at),
                                       access_alignment(target, address)),
           target);
    }
  }

  /// Variables of enclosing blocks that `block` assigns, in the order of their first assignment.
  std::vector<std::string> assigned_variables(const LoopBlock& block) {
    std::vector<std::string> names;
    std::unordered_set<std::string> seen;
    std::vector<std::pair<const LoopBlock*, size_t>> pending = {{&block, 0}};
    while (!pending.empty()) {
      auto& [current, next] = pending.back();
      if (next == current->size()) {
        pending.pop_back();
        continue;
      }
      const LoopStatement& statement = (*current)[next++];
      if (const auto* assign = std::get_if<ir::LoopAssign>(&statement.node)) {
        auto found = names_.find(assign->name);
        if (found != names_.end() && found->second.assignable && seen.insert(assign->name).second) {
          names.push_back(assign->name);
        }
      } else if (const auto* loop = std::get_if<ir::LoopFor>(&statement.node)) {
        pending.emplace_back(&loop->body, 0);
      } else if (const auto* branch = std::get_if<ir::LoopIf>(&statement.node)) {
        pending.emplace_back(&branch->else_block, 0);
        pending.emplace_back(&branch->then_block, 0);
      }
    }
    return names;
  }

  /// `if (begin < end) do { body; next = i + step } while (next < end)`: already rotated, so that
  /// invariant code has a place to go.
  void emit_statement(const ir::LoopFor& loop) {
    FG_CHECK(loop.step > 0, "loop `{}` with step {}", loop.name, loop.step);
    Emitted begin = emit_value(loop.begin);
    Emitted end = emit_value(loop.end);
    const std::string name = symbol_part(loop.name);
    llvm::BasicBlock* before = builder_.GetInsertBlock();
    llvm::BasicBlock* body = llvm::BasicBlock::Create(context_, "for_" + name, function_);
    llvm::BasicBlock* after = llvm::BasicBlock::Create(context_, "after_" + name, function_);
    auto* first = llvm::dyn_cast<llvm::ConstantInt>(begin.value);
    auto* limit = llvm::dyn_cast<llvm::ConstantInt>(end.value);
    const bool always =
        first != nullptr && limit != nullptr && first->getSExtValue() < limit->getSExtValue();
    if (always) {
      builder_.CreateBr(body);
    } else {
      builder_.CreateCondBr(builder_.CreateICmpSLT(begin.value, end.value), body, after);
    }

    struct Carried {
      std::string name;
      llvm::Value* before = nullptr;
      llvm::PHINode* phi = nullptr;
      llvm::Value* behind = nullptr;
    };
    std::vector<Carried> carried;
    builder_.SetInsertPoint(body);
    llvm::PHINode* counter = builder_.CreatePHI(builder_.getInt64Ty(), 2, name);
    for (const std::string& variable : assigned_variables(loop.body)) {
      Binding& target = binding(variable);
      llvm::PHINode* phi =
          builder_.CreatePHI(value_type(context_, target.type), 2, symbol_part(variable));
      carried.push_back({variable, target.value.value, phi, nullptr});
      target.value = {phi, 0};
    }
    counter->addIncoming(begin.value, before);
    size_t outer = hidden_.size();
    int step_bits = std::countr_zero(static_cast<uint64_t>(loop.step));
    bind(loop.name, {counter, std::min(begin.zero_bits, step_bits)}, {ScalarType::i64}, false);
    emit_block(loop.body);
    restore_names(outer);

    llvm::BasicBlock* latch = builder_.GetInsertBlock();
    // No signed wrap: the counter stays below `end`, and steps are small against 2^63.
    llvm::Value* next = builder_.CreateNSWAdd(counter, builder_.getInt64(loop.step));
    counter->addIncoming(next, latch);
    for (Carried& variable : carried) {
      variable.behind = binding(variable.name).value.value;
      variable.phi->addIncoming(variable.before, before);
      variable.phi->addIncoming(variable.behind, latch);
    }
    builder_.CreateCondBr(builder_.CreateICmpSLT(next, end.value), body, after);

    builder_.SetInsertPoint(after);
    for (Carried& variable : carried) {
      Emitted value = {variable.behind, 0};
      if (!always) {
        llvm::PHINode* phi =
            builder_.CreatePHI(variable.behind->getType(), 2, symbol_part(variable.name));
        phi->addIncoming(variable.before, before);
        phi->addIncoming(variable.behind, latch);
        value.value = phi;
      }
      binding(variable.name).value = value;
    }
  }

  void emit_statement(const ir::LoopIf& branch) {
    FG_CHECK((branch.condition->type == Type{ScalarType::boolean}), "condition of type {}",
             spelling(branch.condition->type));
    llvm::Value* condition = emit_value(branch.condition).value;
    std::vector<std::string> names = assigned_variables(branch.then_block);
    for (std::string& name : assigned_variables(branch.else_block)) {
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(std::move(name));
      }
    }
    std::vector<llvm::Value*> before;
    before.reserve(names.size());
    for (const std::string& name : names) before.push_back(binding(name).value.value);

    llvm::BasicBlock* then_block = llvm::BasicBlock::Create(context_, "then", function_);
    llvm::BasicBlock* else_block = llvm::BasicBlock::Create(context_, "else", function_);
    llvm::BasicBlock* after = llvm::BasicBlock::Create(context_, "after_if", function_);
    builder_.CreateCondBr(condition, then_block, else_block);
    std::vector<llvm::PHINode*> joined;
    builder_.SetInsertPoint(after);
    for (size_t i = 0; i < names.size(); ++i) {
      joined.push_back(builder_.CreatePHI(before[i]->getType(), 2, symbol_part(names[i])));
    }
    for (auto [block, statements] :
         {std::pair{then_block, &branch.then_block}, std::pair{else_block, &branch.else_block}}) {
      builder_.SetInsertPoint(block);
      for (size_t i = 0; i < names.size(); ++i) binding(names[i]).value = {before[i], 0};
      emit_block(*statements);
      for (size_t i = 0; i < names.size(); ++i) {
        joined[i]->addIncoming(binding(names[i]).value.value, builder_.GetInsertBlock());
      }
      builder_.CreateBr(after);
    }
    builder_.SetInsertPoint(after);
    for (size_t i = 0; i < names.size(); ++i) binding(names[i]).value = {joined[i], 0};
  }

  // ---- Memory.

  llvm::Value* element_pointer(const Memory& memory, llvm::Type* element, llvm::Value* address) {
    return builder_.CreateInBoundsGEP(element, memory.pointer, address);
  }

  static llvm::Align access_alignment(const Memory& memory, Emitted address) {
    int64_t element = ir::byte_size(memory.type);
    int bits = std::min(address.zero_bits, 8);
    return llvm::Align(static_cast<uint64_t>(std::min(memory.alignment, element << bits)));
  }

  template <typename Access>
  Access* mark(Access* access, const Memory& memory) {
    if (memory.scope != nullptr) {
      access->setMetadata(llvm::LLVMContext::MD_alias_scope, memory.scope);
    }
    if (memory.others != nullptr) {
      access->setMetadata(llvm::LLVMContext::MD_noalias, memory.others);
    }
    return access;
  }

  llvm::Value* emit_load(const Expr& load) {
    const Memory& source = memory(load.name);
    FG_CHECK(source.type == load.type.scalar, "load of {} from `{}` of {}", spelling(load.type),
             load.name, spelling(source.type));
    const ExprRef& address_expression = load.operands[0];
    Emitted address = memo_.at(address_expression.get());
    const int lanes = load.type.lanes;
    llvm::Type* element = stored_element_type(context_, source.type);
    llvm::Align alignment = access_alignment(source, address);
    llvm::Value* value = nullptr;
    if (address_expression->type.lanes == 1) {
      value = mark(
          builder_.CreateAlignedLoad(with_lanes(element, lanes),
                                     element_pointer(source, element, address.value), alignment),
          source);
    } else {
      value = llvm::PoisonValue::get(with_lanes(element, lanes));
      for (int lane = 0; lane < lanes; ++lane) {
        auto position = static_cast<uint64_t>(lane);
        llvm::Value* at = builder_.CreateExtractElement(address.value, position);
        llvm::Value* part = mark(
            builder_.CreateAlignedLoad(element, element_pointer(source, element, at), alignment),
            source);
        value = builder_.CreateInsertElement(value, part, position);
      }
    }
    if (source.type == ScalarType::boolean) value = builder_.CreateIsNotNull(value);
    return value;
  }

  // ---- Expressions.

  void name_value(llvm::Value* value, const std::string& name) {
    if (llvm::isa<llvm::Instruction>(value) && !value->hasName()) value->setName(symbol_part(name));
  }

  /// Emits operands before their node without recursion, each node once per statement however often
  /// it is shared.
  Emitted emit_value(const ExprRef& root) {
    std::vector<const Expr*> pending = {root.get()};
    while (!pending.empty()) {
      const Expr* e = pending.back();
      if (memo_.contains(e)) {
        pending.pop_back();
        continue;
      }
      bool ready = true;
      for (size_t i = e->operands.size(); i-- > 0;) {
        if (!memo_.contains(e->operands[i].get())) {
          pending.push_back(e->operands[i].get());
          ready = false;
        }
      }
      if (!ready) continue;
      pending.pop_back();
      memo_[e] = emit_node(*e);
    }
    return memo_.at(root.get());
  }

  Emitted operand(const Expr& e, size_t position) const {
    return memo_.at(e.operands.at(position).get());
  }

  Emitted emit_node(const Expr& e) {
    if (e.op == Op::uniform) return uniform(e.name);
    if (e.op == Op::variable) {
      const Binding& bound = binding(e.name);
      FG_CHECK(bound.type == e.type, "`{}` is {} and used as {}", e.name, spelling(bound.type),
               spelling(e.type));
      return bound.value;
    }
    Emitted result = {emit_instruction(e), 0};
    FG_CHECK(result.value->getType() == value_type(context_, e.type), "`{}` of type {} has none",
             spelling(e.op), spelling(e.type));
    if (ir::is_integer(e.type.scalar)) result.zero_bits = zero_bits(e);
    return result;
  }

  /// Zeros at the low end of an integer value; arithmetic that wraps keeps them.
  int zero_bits(const Expr& e) const {
    constexpr int most = 62;
    switch (e.op) {
      case Op::constant:
        return e.integer == 0 ? most
                              : std::min(most, std::countr_zero(static_cast<uint64_t>(e.integer)));
      case Op::add:
      case Op::subtract:
      case Op::minimum:
      case Op::maximum:
        return std::min(operand(e, 0).zero_bits, operand(e, 1).zero_bits);
      case Op::select:
        return std::min(operand(e, 1).zero_bits, operand(e, 2).zero_bits);
      case Op::multiply:
        return std::min(most, operand(e, 0).zero_bits + operand(e, 1).zero_bits);
      case Op::negate:
      case Op::splat:
      case Op::lane:
        return operand(e, 0).zero_bits;
      case Op::convert:
        return ir::is_integer(e.operands[0]->type.scalar) ? operand(e, 0).zero_bits : 0;
      default:  // unknown is always right
        return 0;
    }
  }

  llvm::Value* emit_instruction(const Expr& e) {
    switch (e.op) {
      case Op::constant:
        return emit_constant(e);
      case Op::read:
        return emit_load(e);
      case Op::negate:
        return ir::is_real(e.type.scalar) ? builder_.CreateFNeg(operand(e, 0).value)
                                          : builder_.CreateNeg(operand(e, 0).value);
      case Op::add:
      case Op::subtract:
      case Op::multiply:
      case Op::divide:
        return emit_arithmetic(e);
      case Op::floor_divide:
      case Op::modulo:
        return emit_floor_division(e);
      case Op::minimum:
      case Op::maximum:
        return emit_minimum(e);
      case Op::less:
      case Op::less_equal:
      case Op::greater:
      case Op::greater_equal:
      case Op::equal:
      case Op::not_equal:
        return emit_comparison(e);
      case Op::logical_and:
      case Op::bit_and:
        return builder_.CreateAnd(operand(e, 0).value, operand(e, 1).value);
      case Op::logical_or:
      case Op::bit_or:
        return builder_.CreateOr(operand(e, 0).value, operand(e, 1).value);
      case Op::bit_xor:
        return builder_.CreateXor(operand(e, 0).value, operand(e, 1).value);
      case Op::logical_not:
        return builder_.CreateNot(operand(e, 0).value);
      case Op::select:
        return builder_.CreateSelect(operand(e, 0).value, operand(e, 1).value, operand(e, 2).value);
      case Op::sqrt:
        return emit_intrinsic(llvm::Intrinsic::sqrt, e);
      case Op::abs:
        if (is_unsigned(e.type.scalar)) return operand(e, 0).value;
        if (!ir::is_real(e.type.scalar)) {
          // The smallest integer keeps its bits, as wrapping arithmetic has it.
          return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::abs, operand(e, 0).value,
                                                builder_.getFalse());
        }
        return emit_intrinsic(llvm::Intrinsic::fabs, e);
      case Op::floor:
        return emit_intrinsic(llvm::Intrinsic::floor, e);
      case Op::fma:
        return emit_intrinsic(llvm::Intrinsic::fma, e);
      case Op::convert:
        return emit_conversion(e);
      case Op::splat:
        return builder_.CreateVectorSplat(static_cast<unsigned>(e.type.lanes), operand(e, 0).value);
      case Op::lane:
        return builder_.CreateExtractElement(operand(e, 0).value, operand(e, 1).value);
      case Op::iota: {
        std::vector<llvm::Constant*> lanes;
        for (int i = 0; i < e.type.lanes; ++i) {
          lanes.push_back(builder_.getInt64(static_cast<uint64_t>(i)));
        }
        return e.type.lanes == 1 ? lanes[0] : llvm::ConstantVector::get(lanes);
      }
      case Op::bit_cast:
        return builder_.CreateBitCast(operand(e, 0).value, value_type(context_, e.type));
      case Op::shift_left:
      case Op::shift_right:
        return emit_shift(e);
      case Op::vector_sum:
        return emit_vector_sum(e);
      case Op::uniform:
      case Op::variable:
        break;  // emit_node has them
      case Op::index:
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
      case Op::stop_gradient:
      case Op::custom:
        break;
    }
    FG_UNREACHABLE("`{}` reached code generation in `{}`", spelling(e.op), source_.name);
  }

  llvm::Constant* emit_constant(const Expr& e) {
    llvm::Type* type = value_type(context_, e.type);
    switch (e.type.scalar) {
      case ScalarType::boolean:
      case ScalarType::u8:
      case ScalarType::i32:
      case ScalarType::i64:
        return llvm::ConstantInt::get(
            type,
            llvm::APInt(64, static_cast<uint64_t>(e.integer)).trunc(type->getScalarSizeInBits()));
      case ScalarType::f32:
        return llvm::ConstantFP::get(type, llvm::APFloat(static_cast<float>(e.real)));
      case ScalarType::f64:
        return llvm::ConstantFP::get(type, llvm::APFloat(e.real));
    }
    FG_UNREACHABLE("scalar type {}", static_cast<int>(e.type.scalar));
  }

  llvm::Value* emit_arithmetic(const Expr& e) {
    llvm::Value* a = operand(e, 0).value;
    llvm::Value* b = operand(e, 1).value;
    const bool real = ir::is_real(e.type.scalar);
    FG_CHECK(real || (e.op != Op::divide && e.type.scalar != ScalarType::boolean), "`{}` of {}",
             spelling(e.op), spelling(e.type));
    if (e.op == Op::add) return real ? builder_.CreateFAdd(a, b) : builder_.CreateAdd(a, b);
    if (e.op == Op::subtract) return real ? builder_.CreateFSub(a, b) : builder_.CreateSub(a, b);
    if (e.op == Op::multiply) return real ? builder_.CreateFMul(a, b) : builder_.CreateMul(a, b);
    return builder_.CreateFDiv(a, b);
  }

  llvm::Value* emit_intrinsic(llvm::Intrinsic::ID intrinsic, const Expr& e) {
    FG_CHECK(ir::is_real(e.type.scalar), "`{}` of {}", spelling(e.op), spelling(e.type));
    std::vector<llvm::Value*> arguments;
    for (size_t i = 0; i < e.operands.size(); ++i) arguments.push_back(operand(e, i).value);
    return builder_.CreateIntrinsic(intrinsic, {value_type(context_, e.type)}, arguments);
  }

  /// The divisor is a positive constant, or a vector of one (`splat` of it).
  llvm::Value* emit_floor_division(const Expr& e) {
    const bool quotient = e.op == Op::floor_divide;
    llvm::Value* a = operand(e, 0).value;
    llvm::Value* b = operand(e, 1).value;
    const Expr* constant = e.operands[1].get();
    if (constant->op == Op::splat) constant = constant->operands[0].get();
    FG_CHECK(constant->op == Op::constant && constant->integer > 0, "`{}` by no positive constant",
             spelling(e.op));
    if (is_unsigned(e.type.scalar)) {
      return quotient ? builder_.CreateUDiv(a, b) : builder_.CreateURem(a, b);
    }
    const auto divisor = static_cast<uint64_t>(constant->integer);
    llvm::Type* type = a->getType();
    if (std::has_single_bit(divisor)) {
      return quotient ? builder_.CreateAShr(
                            a, llvm::ConstantInt::get(
                                   type, static_cast<uint64_t>(std::countr_zero(divisor))))
                      : builder_.CreateAnd(a, llvm::ConstantInt::get(type, divisor - 1));
    }
    // Rounded toward zero first; a negative remainder shows that floor is one less.
    llvm::Value* remainder = builder_.CreateSRem(a, b);
    llvm::Value* sign = builder_.CreateAShr(
        remainder, llvm::ConstantInt::get(type, type->getScalarSizeInBits() - 1));
    if (quotient) return builder_.CreateAdd(builder_.CreateSDiv(a, b), sign);
    return builder_.CreateAdd(remainder, builder_.CreateAnd(sign, b));
  }

  static bool is_real_constant_but_nan(llvm::Value* value) {
    auto* constant = llvm::dyn_cast<llvm::Constant>(value);
    if (constant == nullptr) return false;
    if (value->getType()->isVectorTy()) constant = constant->getSplatValue();
    auto* real = llvm::dyn_cast_or_null<llvm::ConstantFP>(constant);
    return real != nullptr && !real->isNaN();
  }

  /// max(a, b) = if a >= b or a != a then a else b; min with <=.
  llvm::Value* emit_minimum(const Expr& e) {
    const bool minimum = e.op == Op::minimum;
    llvm::Value* a = operand(e, 0).value;
    llvm::Value* b = operand(e, 1).value;
    if (!ir::is_real(e.type.scalar)) {
      llvm::Intrinsic::ID signed_op = minimum ? llvm::Intrinsic::smin : llvm::Intrinsic::smax;
      llvm::Intrinsic::ID unsigned_op = minimum ? llvm::Intrinsic::umin : llvm::Intrinsic::umax;
      return builder_.CreateBinaryIntrinsic(is_unsigned(e.type.scalar) ? unsigned_op : signed_op, a,
                                            b);
    }
    // b beats a: strictly. When b cannot be NaN this one comparison decides, and x86 has it as an
    // instruction (minps, maxps).
    llvm::Value* b_wins = minimum ? builder_.CreateFCmpOLT(b, a) : builder_.CreateFCmpOGT(b, a);
    if (!is_real_constant_but_nan(b)) {
      // One after the other: the order in which arguments are evaluated is the C++ compiler's
      // choice.
      llvm::Value* a_is_number = builder_.CreateFCmpORD(a, a);
      llvm::Value* b_is_nan = builder_.CreateFCmpUNO(b, b);
      llvm::Value* b_alone_is_nan = builder_.CreateAnd(b_is_nan, a_is_number);
      b_wins = builder_.CreateOr(b_wins, b_alone_is_nan);
    }
    return builder_.CreateSelect(b_wins, b, a);
  }

  llvm::Value* emit_comparison(const Expr& e) {
    using Predicate = llvm::CmpInst::Predicate;
    struct Row {
      Predicate real;
      Predicate signed_integer;
      Predicate unsigned_integer;
    };
    auto row = [&]() -> Row {
      if (e.op == Op::less) {
        return {Predicate::FCMP_OLT, Predicate::ICMP_SLT, Predicate::ICMP_ULT};
      }
      if (e.op == Op::less_equal) {
        return {Predicate::FCMP_OLE, Predicate::ICMP_SLE, Predicate::ICMP_ULE};
      }
      if (e.op == Op::greater) {
        return {Predicate::FCMP_OGT, Predicate::ICMP_SGT, Predicate::ICMP_UGT};
      }
      if (e.op == Op::greater_equal) {
        return {Predicate::FCMP_OGE, Predicate::ICMP_SGE, Predicate::ICMP_UGE};
      }
      if (e.op == Op::equal) return {Predicate::FCMP_OEQ, Predicate::ICMP_EQ, Predicate::ICMP_EQ};
      // Of the six only `!=` is true for NaN.
      return {Predicate::FCMP_UNE, Predicate::ICMP_NE, Predicate::ICMP_NE};
    }();
    ScalarType type = e.operands[0]->type.scalar;
    llvm::Value* a = operand(e, 0).value;
    llvm::Value* b = operand(e, 1).value;
    if (ir::is_real(type)) return builder_.CreateFCmp(row.real, a, b);
    return builder_.CreateICmp(is_unsigned(type) ? row.unsigned_integer : row.signed_integer, a, b);
  }

  llvm::Value* emit_conversion(const Expr& e) {
    llvm::Value* value = operand(e, 0).value;
    const ScalarType from = e.operands[0]->type.scalar;
    const ScalarType to = e.type.scalar;
    llvm::Type* type = value_type(context_, e.type);
    if (from == to) return value;
    FG_CHECK(to != ScalarType::boolean, "L has no conversion of {} to bool", spelling(from));
    if (ir::is_real(from) && ir::is_real(to)) return builder_.CreateFPCast(value, type);
    if (ir::is_real(from)) {
      llvm::Intrinsic::ID saturating =
          is_unsigned(to) ? llvm::Intrinsic::fptoui_sat : llvm::Intrinsic::fptosi_sat;
      return builder_.CreateIntrinsic(saturating, {type, value->getType()}, {value});
    }
    if (ir::is_real(to)) {
      return is_unsigned(from) ? builder_.CreateUIToFP(value, type)
                               : builder_.CreateSIToFP(value, type);
    }
    return builder_.CreateIntCast(value, type, !is_unsigned(from));
  }

  /// The amount is a constant within the width, or a splat of it, of any integer type.
  llvm::Value* emit_shift(const Expr& e) {
    const Expr* amount = e.operands[1].get();
    if (amount->op == Op::splat) amount = amount->operands[0].get();
    llvm::Value* value = operand(e, 0).value;
    const auto width = static_cast<int64_t>(value->getType()->getScalarSizeInBits());
    FG_CHECK(amount->op == Op::constant && amount->integer >= 0 && amount->integer < width,
             "shift of {} by what is no constant within its width", spelling(e.type));
    llvm::Constant* bits =
        llvm::ConstantInt::get(value->getType(), static_cast<uint64_t>(amount->integer));
    return e.op == Op::shift_left ? builder_.CreateShl(value, bits)
                                  : builder_.CreateLShr(value, bits);
  }

  llvm::Value* emit_vector_sum(const Expr& e) {
    llvm::Value* sum = operand(e, 0).value;
    int lanes = e.operands[0]->type.lanes;
    FG_CHECK(std::has_single_bit(static_cast<unsigned>(lanes)), "vector_sum of {} lanes", lanes);
    const bool real = ir::is_real(e.type.scalar);
    while (lanes > 1) {
      lanes /= 2;
      llvm::Value* low = half(sum, 0, lanes);
      llvm::Value* high = half(sum, lanes, lanes);
      sum = real ? builder_.CreateFAdd(low, high) : builder_.CreateAdd(low, high);
    }
    return sum;
  }

  /// Lanes [first, first + count); one lane is a scalar.
  llvm::Value* half(llvm::Value* vector, int first, int count) {
    if (count == 1) return builder_.CreateExtractElement(vector, static_cast<uint64_t>(first));
    std::vector<int> mask;
    for (int i = 0; i < count; ++i) mask.push_back(first + i);
    return builder_.CreateShuffleVector(vector, mask);
  }

  llvm::LLVMContext& context_;
  const LoopProgram& program_;
  const ir::BufferIndex& buffers_;
  const TablePositions& table_positions_;
  const LoopFunction& source_;
  llvm::Function* function_;
  llvm::IRBuilder<> builder_;
  llvm::BasicBlock* prologue_ = nullptr;
  llvm::Instruction* prologue_end_ = nullptr;  ///< loads of pointers and uniforms go before it
  std::map<std::string, Memory> memories_;
  std::vector<std::string> stacks_;  ///< of the open blocks
  std::map<std::string, llvm::Value*> uniforms_;
  std::map<std::string, Binding> names_;
  /// What names meant before the bindings of the open blocks, innermost last.
  std::vector<std::pair<std::string, std::optional<Binding>>> hidden_;
  /// Values of the current statement's nodes.
  std::unordered_map<const Expr*, Emitted> memo_;
};

/// Emits all functions of a program: those that are equal share a body.
class ProgramEmitter {
 public:
  ProgramEmitter(llvm::Module& module, const LoopProgram& program,
                 const std::vector<std::string>& buffer_names, const CpuTarget& target,
                 std::string_view symbol_prefix)
      : module_(module),
        program_(program),
        target_(target),
        symbol_prefix_(symbol_prefix),
        buffers_(program.buffers) {
    for (const std::string& name : buffer_names) positions_.emplace(name, positions_.size());
  }

  void emit() {
    const std::vector<std::string> symbols = symbol_names(program_, symbol_prefix_);
    const std::vector<ir::EqualFunction> equal = ir::equal_functions(program_);
    std::vector<size_t> uses(equal.size(), 0);
    for (const ir::EqualFunction& function : equal) ++uses[function.first];
    std::vector<llvm::Function*> shared(equal.size(), nullptr);
    for (size_t i = 0; i < equal.size(); ++i) {
      const LoopFunction& source = program_.functions[i];
      const size_t first = equal[i].first;
      if (uses[first] > 1 && first == i) shared[i] = emit_shared(source, symbols[i] + "_shared");
      llvm::Function* entry = create_function(module_, symbols[i], FunctionUse::entry, target_);
      if (uses[first] > 1) {
        std::vector<size_t> positions;
        for (const size_t parameter : equal[i].parameters) {
          positions.push_back(position_of(positions_, source, source.parameters[parameter]));
        }
        emit_call_of_shared(*entry, *shared[first], positions);
      } else {
        FunctionEmitter(entry, program_, buffers_, positions_, source).emit();
      }
    }
  }

 private:
  /// Its table holds the parameters of the source, in order.
  llvm::Function* emit_shared(const LoopFunction& source, const std::string& symbol) {
    llvm::Function* function = create_function(module_, symbol, FunctionUse::shared, target_);
    TablePositions positions;
    for (const LoopParameter& parameter : source.parameters) {
      positions.emplace(parameter.name, positions.size());
    }
    FunctionEmitter(function, program_, buffers_, positions, source).emit();
    return function;
  }

  llvm::Module& module_;
  const LoopProgram& program_;
  const CpuTarget& target_;
  std::string_view symbol_prefix_;
  const ir::BufferIndex buffers_;
  TablePositions positions_;  ///< in the runtime's table
};

}  // namespace

LlvmModule emit_llvm(const LoopProgram& program, const std::vector<std::string>& buffer_names,
                     const CpuTarget& target, const EmitOptions& options) {
  auto state = std::make_unique<LlvmModule::State>();
  state->machine = make_target_machine(target);
  state->context.setDiscardValueNames(!options.value_names);
  state->module = std::make_unique<llvm::Module>(symbol_part(program.name), state->context);
  state->module->setTargetTriple(target.triple);
  state->module->setDataLayout(state->machine->createDataLayout());
  ProgramEmitter(*state->module, program, buffer_names, target, options.symbol_prefix).emit();
  std::string problems;
  llvm::raw_string_ostream stream(problems);
  FG_CHECK(!llvm::verifyModule(*state->module, &stream), "{}", problems);
  return LlvmModule(std::move(state));
}

}  // namespace fusegrad::codegen
