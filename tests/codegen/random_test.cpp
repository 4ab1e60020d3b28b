// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random functions of L: generated code equals the evaluator bit for bit. The first seed and the
// number of functions can be set with FUSEGRAD_RANDOM_SEED and FUSEGRAD_RANDOM_FUNCTIONS.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <set>

#include "tests/codegen/loops.h"

namespace fusegrad::test {
namespace {

using ir::ExprRef;
using ir::LoopBlock;
using ir::LoopFunction;
using ir::LoopProgram;
using ir::make_binary;
using ir::make_unary;
using ir::Op;
using ir::ScalarType;
using ir::Type;

constexpr ScalarType all_types[] = {ScalarType::boolean, ScalarType::u8,  ScalarType::i32,
                                    ScalarType::i64,     ScalarType::f32, ScalarType::f64};
constexpr int64_t operand_elements = 61;
constexpr int64_t result_elements = 97;
constexpr int64_t batch = 5;

int64_t setting(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  int64_t number = 0;
  auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
  return error == std::errc() && *end == 0 ? number : otherwise;
}

/// Writes one function with valid addresses, defined names and no read of unwritten memory.
class Generator {
 public:
  Generator(LoopProgram& program, uint64_t seed) : program_(program), random_(seed) {}

  LoopFunction function(int number) {
    LoopFunction result;
    result.name = fmt::format("f{}", number);
    for (ScalarType type : all_types) {
      operands_.push_back({fmt::format("a_{}", spelling(type)), type, operand_elements});
      result.parameters.push_back(parameter(program_, operands_.back().name, false));
    }
    for (ScalarType type : all_types) {
      if (type != ScalarType::f32 && pick(3) != 0) continue;
      std::string name = fmt::format("out{}_{}", number, spelling(type));
      program_.buffers.push_back(buffer(name, type, result_elements));
      results_.push_back({name, type, result_elements});
      result.parameters.push_back(parameter(program_, name, true));
    }
    result.tasks = {{ir::Extent::of_rows(batch), 2}};
    names_ = {{"begin", {ScalarType::i64}, false}, {"end", {ScalarType::i64}, false}};
    LoopBlock body;
    statements(body, 2 + pick(4), 0);
    LoopBlock task = nested(0, "t", 4 + pick(8));
    body.push_back(loop("t", index("begin"), index("end"), 1, std::move(task)));
    store_something(body);
    result.body = std::move(body);
    return result;
  }

 private:
  struct Name {
    std::string name;
    Type type;
    bool changes = false;
  };
  struct Memory {
    std::string name;
    ScalarType type;
    int64_t elements = 0;
  };

  int pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  bool chance(int percent) { return pick(100) < percent; }
  ScalarType scalar_type() { return all_types[pick(6)]; }
  ScalarType number_type() { return all_types[1 + pick(5)]; }
  int lanes() { return std::array{1, 1, 4, 8, 8, 16}[static_cast<size_t>(pick(6))]; }
  std::string fresh(const char* base) { return fmt::format("{}{}", base, count_++); }

  // ---- Statements.

  void statements(LoopBlock& block, int count, int depth) {
    for (int i = 0; i < count; ++i) statement(block, depth);
  }

  void statement(LoopBlock& block, int depth) {
    switch (pick(9)) {
      case 0:
      case 1: {
        Type type = {scalar_type(), lanes()};
        std::string name = fresh("v");
        block.push_back(let(name, expression(type, 4)));
        names_.push_back({name, type, false});
        return;
      }
      case 2: {
        Type type = {scalar_type(), lanes()};
        std::string name = fresh("w");
        block.push_back(var(name, expression(type, 3)));
        names_.push_back({name, type, true});
        return;
      }
      case 3: {
        std::vector<Name> variables;
        for (const Name& name : names_) {
          if (name.changes) variables.push_back(name);
        }
        if (variables.empty()) return;
        const Name& target =
            variables[static_cast<size_t>(pick(static_cast<int>(variables.size())))];
        block.push_back(assign(target.name, expression(target.type, 4)));
        return;
      }
      case 4: {
        // A stack, written as a whole before anything can read it.
        Memory memory = {fresh("s"), scalar_type(), 16 * (1 + pick(3))};
        block.push_back(stack(memory.name, memory.type, memory.elements));
        std::string i = fresh("i");
        names_.push_back({i, {ScalarType::i64}, false});
        block.push_back(loop(i, number(0), number(memory.elements), 8,
                             {store(memory.name, index(i), expression({memory.type, 8}, 3))}));
        names_.pop_back();
        operands_.push_back(memory);
        stacks_.push_back(memory);
        return;
      }
      case 5: {
        if (depth >= 3) return;
        std::string i = fresh("i");
        ExprRef begin = number(pick(4) - 1);
        ExprRef end = chance(30)   ? ir::make_uniform("rows")
                      : chance(30) ? modulo(expression({ScalarType::i64}, 2), 6)
                                   : number(pick(7));
        block.push_back(loop(i, begin, end, 1 + pick(3), nested(depth, i)));
        return;
      }
      case 6: {
        if (depth >= 3) return;
        ExprRef condition = expression({ScalarType::boolean}, 3);
        LoopBlock then_block = nested(depth, "");
        LoopBlock else_block = chance(60) ? nested(depth, "") : LoopBlock{};
        block.push_back(branch(condition, std::move(then_block), std::move(else_block)));
        return;
      }
      default:
        store_something(block);
    }
  }

  LoopBlock nested(int depth, const std::string& counter) {
    return nested(depth, counter, 1 + pick(4));
  }

  LoopBlock nested(int depth, const std::string& counter, int count) {
    const size_t names = names_.size();
    const size_t operands = operands_.size();
    const size_t stacks = stacks_.size();
    if (!counter.empty()) names_.push_back({counter, {ScalarType::i64}, false});
    LoopBlock block;
    statements(block, count, depth + 1);
    store_something(block);
    names_.resize(names);
    operands_.resize(operands);
    stacks_.resize(stacks);
    return block;
  }

  void store_something(LoopBlock& block) {
    const bool to_stack = !stacks_.empty() && chance(20);
    const std::vector<Memory>& targets = to_stack ? stacks_ : results_;
    const Memory target = targets[static_cast<size_t>(pick(static_cast<int>(targets.size())))];
    const int width = lanes();
    ExprRef value = expression({target.type, width}, 5);
    block.push_back(store(target.name, address(target, width, chance(30)), value));
  }

  // ---- Expressions.

  static ExprRef modulo(const ExprRef& e, int64_t divisor) {
    return make_binary(Op::modulo, e, ir::make_splat(number(divisor), e->type.lanes));
  }

  /// In bounds for that many elements: a scalar, or one address a lane.
  ExprRef address(const Memory& memory, int width, bool per_lane) {
    if (per_lane && width > 1) {
      return modulo(expression({ScalarType::i64, width}, 2), memory.elements);
    }
    if (chance(30)) return number(pick(static_cast<int>(memory.elements - width + 1)));
    return modulo(expression({ScalarType::i64}, 2), memory.elements - width + 1);
  }

  ExprRef constant(Type type) {
    ExprRef scalar;
    switch (type.scalar) {
      case ScalarType::boolean:
        scalar = ir::make_boolean(pick(2) == 0);
        break;
      case ScalarType::u8:
        scalar = ir::make_integer(pick(256), type.scalar);
        break;
      case ScalarType::i32:
        scalar = ir::make_integer(static_cast<int32_t>(random_() >> pick(32)), type.scalar);
        break;
      case ScalarType::i64:
        scalar = ir::make_integer(static_cast<int64_t>(random_() >> pick(64)), type.scalar);
        break;
      case ScalarType::f32:
      case ScalarType::f64: {
        constexpr double special[] = {0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e30, -1e-30, 255.0};
        double number =
            chance(50) ? special[pick(10)] : (static_cast<double>(random_() >> 11) * 0x1p-50 - 4);
        if (chance(3)) number = std::numeric_limits<double>::infinity();
        if (chance(2)) number = std::numeric_limits<double>::quiet_NaN();
        scalar = ir::make_real(number, type.scalar);
        break;
      }
    }
    return ir::make_splat(scalar, type.lanes);
  }

  ExprRef leaf(Type type) {
    std::vector<ExprRef> candidates;
    for (const Name& name : names_) {
      if (name.type == type) candidates.push_back(ir::make_variable(name.name, type));
    }
    if (!candidates.empty() && chance(60)) {
      return candidates[static_cast<size_t>(pick(static_cast<int>(candidates.size())))];
    }
    if (type == Type{ScalarType::i64} && chance(20)) {
      constexpr const char* uniforms[] = {"rows", "step", "epoch", "steps", "seed"};
      return ir::make_uniform(uniforms[pick(5)]);
    }
    if (type.scalar == ScalarType::i64 && type.lanes > 1 && chance(30)) {
      return ir::make_iota(type.lanes);
    }
    if (chance(30)) return constant(type);
    std::vector<Memory> sources;
    for (const std::vector<Memory>* list : {&operands_, &results_}) {
      for (const Memory& memory : *list) {
        if (memory.type == type.scalar) sources.push_back(memory);
      }
    }
    if (sources.empty()) return constant(type);
    const Memory source = sources[static_cast<size_t>(pick(static_cast<int>(sources.size())))];
    const int64_t last = source.elements - type.lanes;
    ExprRef at = number(pick(static_cast<int>(last + 1)));
    return ir::make_load(source.name, source.type, at, type.lanes);
  }

  ExprRef expression(Type type, int depth) {
    if (depth == 0 || chance(12)) return leaf(type);
    auto same = [&] { return expression(type, depth - 1); };
    const int shape = pick(10);
    // Shapes that every type has.
    if (shape == 0) {
      Type condition = {ScalarType::boolean, chance(30) ? 1 : type.lanes};
      return ir::make_select(expression(condition, depth - 1), same(), same());
    }
    if (shape == 1 && type.lanes > 1) {
      return ir::make_splat(expression({type.scalar}, depth - 1), type.lanes);
    }
    if (shape == 1) {
      ExprRef vector = expression({type.scalar, lanes()}, depth - 1);
      if (type.scalar != ScalarType::boolean && chance(60)) return ir::make_vector_sum(vector);
      return ir::make_lane(vector, pick(vector->type.lanes));
    }
    if (shape == 2) {
      std::vector<Memory> sources;
      for (const Memory& memory : operands_) {
        if (memory.type == type.scalar) sources.push_back(memory);
      }
      const Memory source = sources[static_cast<size_t>(pick(static_cast<int>(sources.size())))];
      return ir::make_load(source.name, source.type, address(source, type.lanes, chance(40)),
                           type.lanes);
    }
    if (type.scalar == ScalarType::boolean) return truth(type, depth, shape);
    if (shape == 3) {
      return ir::make_convert(type.scalar, expression({scalar_type(), type.lanes}, depth - 1));
    }
    if (ir::is_real(type.scalar)) return real_operation(type, depth);
    return integer_operation(type, depth);
  }

  ExprRef truth(Type type, int depth, int shape) {
    auto same = [&] { return expression(type, depth - 1); };
    if (shape == 3) return make_unary(Op::logical_not, same());
    if (shape == 4) return make_binary(Op::logical_and, same(), same());
    if (shape == 5) return make_binary(Op::logical_or, same(), same());
    constexpr Op ops[] = {Op::equal,      Op::not_equal, Op::less,
                          Op::less_equal, Op::greater,   Op::greater_equal};
    Type compared = {number_type(), type.lanes};
    return make_binary(ops[pick(6)], expression(compared, depth - 1),
                       expression(compared, depth - 1));
  }

  ExprRef real_operation(Type type, int depth) {
    auto same = [&] { return expression(type, depth - 1); };
    switch (pick(12)) {
      case 0:
        return make_unary(Op::negate, same());
      case 1:
        return make_unary(Op::abs, same());
      case 2:
        return make_unary(Op::sqrt, same());
      case 3:
        return make_unary(Op::floor, same());
      case 4:
        return make_binary(Op::divide, same(), same());
      case 5:
        return make_binary(Op::minimum, same(), same());
      case 6:
        return make_binary(Op::maximum, same(), same());
      case 7:
        return ir::make_fma(same(), same(), same());
      case 8:
        return same() + same();
      case 9:
        return same() - same();
      case 10: {
        ScalarType bits = type.scalar == ScalarType::f32 ? ScalarType::i32 : ScalarType::i64;
        return ir::make_bit_cast(type, expression({bits, type.lanes}, depth - 1));
      }
      default:
        return same() * same();
    }
  }

  ExprRef integer_operation(Type type, int depth) {
    auto same = [&] { return expression(type, depth - 1); };
    auto constant_of = [&](int64_t number) {
      return ir::make_splat(ir::make_integer(number, type.scalar), type.lanes);
    };
    const int64_t width = 8 * byte_size(type.scalar);
    switch (pick(14)) {
      case 0:
        return make_unary(Op::negate, same());
      case 1:
        return make_unary(Op::abs, same());
      case 2:
        return make_binary(Op::floor_divide, same(), constant_of(1 + pick(127)));
      case 3:
        return make_binary(Op::modulo, same(), constant_of(1 + pick(127)));
      case 4:
        return make_binary(Op::minimum, same(), same());
      case 5:
        return make_binary(Op::maximum, same(), same());
      case 6:
        return make_binary(Op::bit_and, same(), same());
      case 7:
        return make_binary(Op::bit_or, same(), same());
      case 8:
        return make_binary(Op::bit_xor, same(), same());
      case 9:
        return make_binary(Op::shift_left, same(), constant_of(pick(static_cast<int>(width))));
      case 10:
        return make_binary(Op::shift_right, same(), constant_of(pick(static_cast<int>(width))));
      case 11: {
        if (type.scalar == ScalarType::u8) return same();
        ScalarType real = type.scalar == ScalarType::i32 ? ScalarType::f32 : ScalarType::f64;
        Type of_real = {real, type.lanes};
        // The bits of a computed NaN are open, so a NaN is replaced before its bits are looked at.
        ExprRef number = expression(of_real, depth - 1);
        ExprRef sane = ir::make_select(make_binary(Op::equal, number, number), number,
                                       ir::make_splat(ir::make_real(0, real), type.lanes));
        return ir::make_bit_cast(type, sane);
      }
      case 12:
        return same() * same();
      default:
        return chance(50) ? same() + same() : same() - same();
    }
  }

  LoopProgram& program_;
  std::mt19937_64 random_;
  std::vector<Name> names_;
  std::vector<Memory> operands_;
  std::vector<Memory> results_;
  std::vector<Memory> stacks_;
  int count_ = 0;
};

void fill_operands(AlignedMemory& memory, std::mt19937_64& random) {
  for (int64_t i = 0; i < operand_elements; ++i) {
    memory.elements<uint8_t>("a_bool")[i] = random() & 1;
    memory.elements<uint8_t>("a_u8")[i] = static_cast<uint8_t>(random());
    memory.elements<int32_t>("a_i32")[i] = static_cast<int32_t>(random() >> (random() % 32));
    memory.elements<int64_t>("a_i64")[i] = static_cast<int64_t>(random() >> (random() % 64));
    // Mostly tame numbers, so that not everything drowns in NaN and infinity.
    double tame = static_cast<double>(random() >> 11) * 0x1p-50 - 4;
    memory.elements<float>("a_f32")[i] = static_cast<float>(tame);
    memory.elements<double>("a_f64")[i] = tame * 3;
  }
  memory.elements<float>("a_f32")[7] = std::numeric_limits<float>::quiet_NaN();
  memory.elements<float>("a_f32")[8] = -std::numeric_limits<float>::infinity();
  memory.elements<float>("a_f32")[9] = -0.0F;
  memory.elements<float>("a_f32")[10] = 1e-41F;
  memory.elements<double>("a_f64")[7] = std::numeric_limits<double>::quiet_NaN();
  memory.elements<double>("a_f64")[8] = std::numeric_limits<double>::infinity();
}

TEST(Random, GeneratedCodeEqualsTheEvaluator) {
  constexpr int functions_per_program = 25;
  const int64_t first_seed = setting("FUSEGRAD_RANDOM_SEED", 1);
  const int64_t programs = (setting("FUSEGRAD_RANDOM_FUNCTIONS", 150) + functions_per_program - 1) /
                           functions_per_program;
  for (int64_t seed = first_seed; seed < first_seed + programs; ++seed) {
    LoopProgram program;
    program.name = fmt::format("random{}", seed);
    program.batch = batch;
    for (ScalarType type : all_types) {
      program.buffers.push_back(
          buffer(fmt::format("a_{}", spelling(type)), type, operand_elements));
    }
    for (int i = 0; i < functions_per_program; ++i) {
      auto function_seed = static_cast<uint64_t>(seed * functions_per_program + i);
      program.functions.push_back(Generator(program, function_seed).function(i));
    }
    std::mt19937_64 random(static_cast<uint64_t>(seed));
    AlignedMemory memory(program, batch);
    fill_operands(memory, random);
    ir::LoopUniforms uniforms;
    uniforms.rows = 1 + seed % batch;
    uniforms.step = 17;
    uniforms.epoch = 2;
    uniforms.steps = 400;
    uniforms.seed = -3;
    // Instruction sets and effort take turns; the bits are the same for all of them.
    runtime::JitOptions options;
    options.target = seed % 3 == 2 ? codegen::baseline_target() : codegen::host_target();
    options.target->level = static_cast<codegen::CodegenLevel>(seed % 4);
    if (seed % 5 == 4) options.passes = "";
    ASSERT_EQ(run_and_compare(program, memory, uniforms, options), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace fusegrad::test
