// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a loop function to instructions: names become places in a frame, equal subexpressions of a
// statement are computed once, constants stand ready before the first instruction.
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>

#include "ir/loop/machine.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Offsets with this bit count from the start of the constants, whose place is known only at the
/// end.
constexpr uint32_t constant_bit = 0x80000000U;
constexpr uint32_t nowhere = 0xffffffffU;

/// A bool takes a byte, like u8.
size_t bytes_of(Type type) {
  return static_cast<size_t>(byte_size(type.scalar)) * static_cast<size_t>(type.lanes);
}

class FunctionCompiler {
 public:
  explicit FunctionCompiler(const LoopFunction& function) : function_(function) {}

  MachineCode compile() {
    scopes_.emplace_back();
    for (const char* uniform : machine_uniform_names) uniforms_[uniform] = allocate(8);
    scopes_.back()["begin"] = {allocate(8), {ScalarType::i64}, false};
    scopes_.back()["end"] = {allocate(8), {ScalarType::i64}, false};
    for (const LoopParameter& parameter : function_.parameters) add_region(parameter.name);
    block(function_.body);
    statement_ = nullptr;
    emit({.run = machine_end()});
    place_constants();
    return std::move(code_);
  }

 private:
  struct Name {
    uint32_t offset = 0;
    Type type;
    bool changes = false;
  };

  uint32_t allocate(size_t bytes) {
    const uint32_t alignment = bytes >= 32 ? 32 : 8;
    used_ = (used_ + alignment - 1) / alignment * alignment;
    const uint32_t offset = used_;
    FG_CHECK(bytes < constant_bit - used_, "frame of `{}`", function_.name);
    used_ += static_cast<uint32_t>(bytes);
    frame_bytes_ = std::max(frame_bytes_, used_);
    return offset;
  }

  int32_t add_region(const std::string& name) {
    const auto region = static_cast<int32_t>(code_.region_names.size());
    code_.region_names.push_back(name);
    regions_[name] = region;
    return region;
  }

  void emit(Instruction instruction) {
    FG_CHECK(instruction.run != nullptr, "an operation of `{}` that the evaluator lacks",
             function_.name);
    code_.instructions.push_back(instruction);
    code_.statements.push_back(statement_);
  }

  int64_t position() const { return static_cast<int64_t>(code_.instructions.size()); }

  const Name& find(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      auto found = scope->find(name);
      if (found != scope->end()) return found->second;
    }
    FG_UNREACHABLE("`{}` is not defined in `{}`", name, function_.name);
  }

  // ---- Statements.

  void block(const LoopBlock& statements) {
    scopes_.emplace_back();
    const uint32_t mark = used_;
    for (const LoopStatement& statement : statements) {
      statement_ = &statement;
      computed_.clear();
      std::visit([this](const auto& node) { run(node); }, statement.node);
    }
    used_ = mark;
    scopes_.pop_back();
  }

  void define(const std::string& name, const ExprRef& value, bool changes) {
    const uint32_t place = allocate(bytes_of(value->type));
    const uint32_t mark = used_;
    compute_into(place, value);
    used_ = mark;
    scopes_.back()[name] = {place, value->type, changes};
  }

  void run(const LoopLet& let) { define(let.name, let.value, false); }
  void run(const LoopVar& var) { define(var.name, var.value, true); }

  void run(const LoopAssign& assign) {
    const Name& name = find(assign.name);
    FG_CHECK(name.changes && name.type == assign.value->type, "assignment to `{}`", assign.name);
    const uint32_t mark = used_;
    compute_into(name.offset, assign.value);
    used_ = mark;
  }

  void run(const LoopStack& stack) {
    const int32_t region = add_region(stack.name);
    code_.stacks.push_back({region, stack.elements, byte_size(stack.type)});
    emit({.run = machine_clear_stack(), .region = region});
  }

  void run(const LoopStore& store) {
    const uint32_t mark = used_;
    const uint32_t address = compute(store.address);
    const uint32_t value = compute(store.value);
    emit({.run = machine_store(store.value->type.scalar, store.address->type.lanes > 1),
          .a = address,
          .b = value,
          .lanes = store.value->type.lanes,
          .region = region(store.buffer)});
    used_ = mark;
  }

  void run(const LoopFor& loop) {
    const LoopStatement* statement = statement_;
    const uint32_t mark = used_;
    const uint32_t counter = allocate(8);
    const uint32_t end = allocate(8);
    compute_into(counter, loop.begin);
    compute_into(end, loop.end);
    const int64_t test = position();
    emit({.run = machine_loop_test(), .result = counter, .a = end});
    scopes_.emplace_back();
    scopes_.back()[loop.name] = {counter, {ScalarType::i64}, false};
    block(loop.body);
    scopes_.pop_back();
    statement_ = statement;
    const int64_t next = position();
    emit({.run = machine_loop_next(), .result = counter, .number = loop.step, .jump = test - next});
    code_.instructions[static_cast<size_t>(test)].jump = position() - test;
    used_ = mark;
  }

  void run(const LoopIf& branch) {
    const LoopStatement* statement = statement_;
    const uint32_t mark = used_;
    const uint32_t condition = compute(branch.condition);
    used_ = mark;
    const int64_t test = position();
    emit({.run = machine_jump_if_false(), .a = condition});
    block(branch.then_block);
    statement_ = statement;
    if (branch.else_block.empty()) {
      code_.instructions[static_cast<size_t>(test)].jump = position() - test;
      return;
    }
    const int64_t skip = position();
    emit({.run = machine_jump()});
    code_.instructions[static_cast<size_t>(test)].jump = position() - test;
    block(branch.else_block);
    code_.instructions[static_cast<size_t>(skip)].jump = position() - skip;
  }

  int32_t region(const std::string& name) const {
    auto found = regions_.find(name);
    FG_CHECK(found != regions_.end(), "`{}` is not memory of `{}`", name, function_.name);
    return found->second;
  }

  // ---- Expressions.

  /// The value of `e` in `place`, which may be a place that `e` reads.
  void compute_into(uint32_t place, const ExprRef& e) {
    const uint32_t found = compute(e, place);
    if (found == place) return;
    emit({.run = machine_copy(),
          .result = place,
          .a = found,
          .number = static_cast<int64_t>(bytes_of(e->type))});
  }

  /// Where the value of `e` is. `place`: where it would best be.
  uint32_t compute(const ExprRef& e, uint32_t place = nowhere) {
    if (e->op == Op::constant || e->op == Op::iota ||
        (e->op == Op::splat && e->operands[0]->op == Op::constant)) {
      return constant(*e);
    }
    if (e->op == Op::variable) {
      const Name& name = find(e->name);
      FG_CHECK(name.type == e->type, "`{}` is used as {}", e->name, spelling(e->type));
      return name.offset;
    }
    if (e->op == Op::uniform) {
      auto found = uniforms_.find(e->name);
      FG_CHECK(found != uniforms_.end(), "uniform `{}`", e->name);
      return found->second;
    }
    auto& candidates = computed_[e->hash()];
    for (const auto& [expression, offset] : candidates) {
      if (same(expression, e)) return offset;
    }
    const uint32_t offset = operation(*e, place);
    // The result may stand where an assignment writes; nothing of this statement comes after it.
    computed_[e->hash()].emplace_back(e, offset);
    return offset;
  }

  uint32_t operation(const Expr& e, uint32_t place) {
    Instruction instruction;
    instruction.lanes = e.type.lanes;
    uint32_t operands[3] = {0, 0, 0};
    FG_CHECK(e.operands.size() <= 3, "`{}` with {} operands", spelling(e.op), e.operands.size());
    const bool constant_second =
        e.op == Op::lane || e.op == Op::shift_left || e.op == Op::shift_right;
    for (size_t i = 0; i < e.operands.size(); ++i) {
      if (i == 1 && constant_second) break;
      operands[i] = compute(e.operands[i]);
    }
    instruction.a = operands[0];
    instruction.b = operands[1];
    instruction.c = operands[2];
    const Type first = e.operands[0]->type;
    bool lane_by_lane = false;
    if (e.op == Op::read) {
      instruction.run = machine_load(e.type.scalar, first.lanes > 1);
      instruction.region = region(e.name);
    } else if (e.op == Op::select) {
      instruction.run = machine_select(e.type.scalar, first.lanes == 1);
    } else if (e.op == Op::splat) {
      instruction.run = machine_splat(e.type.scalar);
    } else if (e.op == Op::lane) {
      instruction.run = machine_lane(e.type.scalar);
      instruction.number = e.operands[1]->integer;
    } else if (e.op == Op::vector_sum) {
      instruction.run = machine_vector_sum(e.type.scalar);
      instruction.lanes = first.lanes;
    } else if (e.op == Op::bit_cast) {
      instruction.run = machine_copy();
      instruction.number = static_cast<int64_t>(bytes_of(e.type));
    } else {
      instruction.run = machine_operation(e.op, first.scalar, e.type.scalar);
      FG_CHECK(instruction.run != nullptr, "`{}` of {} reached the evaluator of L", spelling(e.op),
               spelling(first));
      lane_by_lane = true;
      if (constant_second) {
        const ExprRef& count = e.operands[1];
        const ExprRef& scalar = count->op == Op::splat ? count->operands[0] : count;
        FG_CHECK(scalar->op == Op::constant && scalar->integer >= 0 &&
                     scalar->integer < 8 * byte_size(e.type.scalar),
                 "shift of `{}` by what is no constant within its width", spelling(first));
        instruction.number = scalar->integer;
      }
    }
    // Only what goes lane by lane may write over its own operands.
    instruction.result = lane_by_lane && place != nowhere && first.scalar == e.type.scalar
                             ? place
                             : allocate(bytes_of(e.type));
    emit(instruction);
    return instruction.result;
  }

  /// Constants, splats of constants, iota.
  uint32_t constant(const Expr& e) {
    const Expr& scalar = e.op == Op::splat ? *e.operands[0] : e;
    std::vector<std::byte> bytes;
    for (int lane = 0; lane < e.type.lanes; ++lane) {
      if (e.op == Op::iota) {
        append(bytes, int64_t{lane});
        continue;
      }
      switch (e.type.scalar) {
        case ScalarType::boolean:
          append(bytes, static_cast<uint8_t>(scalar.integer != 0));
          break;
        case ScalarType::u8:
          append(bytes, static_cast<uint8_t>(scalar.integer));
          break;
        case ScalarType::i32:
          append(bytes, static_cast<int32_t>(scalar.integer));
          break;
        case ScalarType::i64:
          append(bytes, scalar.integer);
          break;
        case ScalarType::f32:
          append(bytes, static_cast<float>(scalar.real));
          break;
        case ScalarType::f64:
          append(bytes, scalar.real);
          break;
      }
    }
    auto [found, inserted] = constants_.try_emplace(bytes, static_cast<uint32_t>(pool_.size()));
    if (inserted) {
      pool_.insert(pool_.end(), bytes.begin(), bytes.end());
      pool_.resize((pool_.size() + 7) / 8 * 8);
    }
    return found->second | constant_bit;
  }

  template <typename T>
  static void append(std::vector<std::byte>& bytes, T value) {
    const size_t size = bytes.size();
    bytes.resize(size + sizeof(T));
    std::memcpy(bytes.data() + size, &value, sizeof(T));
  }

  void place_constants() {
    const uint32_t base = (frame_bytes_ + 31) / 32 * 32;
    FG_CHECK(pool_.size() < constant_bit - base, "frame of `{}`", function_.name);
    for (Instruction& instruction : code_.instructions) {
      for (uint32_t* offset : {&instruction.a, &instruction.b, &instruction.c}) {
        if (*offset & constant_bit) *offset = base + (*offset & ~constant_bit);
      }
    }
    code_.frame.resize(base);
    code_.frame.insert(code_.frame.end(), pool_.begin(), pool_.end());
  }

  const LoopFunction& function_;
  MachineCode code_;
  std::vector<std::map<std::string, Name>> scopes_;
  std::map<std::string, uint32_t> uniforms_;
  std::map<std::string, int32_t> regions_;
  /// Of the statement under work, by hash.
  std::unordered_map<uint64_t, std::vector<std::pair<ExprRef, uint32_t>>> computed_;
  const LoopStatement* statement_ = nullptr;
  uint32_t used_ = 0;
  uint32_t frame_bytes_ = 0;
  std::map<std::vector<std::byte>, uint32_t> constants_;
  std::vector<std::byte> pool_;
};

}  // namespace

MachineCode compile_for_machine(const LoopFunction& function) {
  return FunctionCompiler(function).compile();
}

}  // namespace fusegrad::ir
