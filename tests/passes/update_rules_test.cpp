// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Optimizers as statements.
#include <gtest/gtest.h>

#include "ir/passes/passes.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

ExprRef variable(const std::string& name) {
  Expr node;
  node.op = Op::variable;
  node.type = {ScalarType::f32};
  node.name = name;
  return make_node(std::move(node));
}

ExprRef real(double value) { return make_real(value, ScalarType::f32); }

TensorModule model() {
  TensorModule module;
  module.programs.push_back(test::tensor_program(R"(program init batch 4 {
  param w: f32[3, 2]
  param c: f32[2]
  param unused: f32[5]
  w.initial[i in 0..3, j in 0..2]: f32 = rand.1(i * 2 + j)
  c.initial[i in 0..2]: f32 = 0.0
  unused.initial[i in 0..5]: f32 = 0.0
  w <- w.initial
  c <- c.initial
  unused <- unused.initial
})"));
  TensorProgram train = test::tensor_program(R"(program train batch 4 {
  input x: f32[rows, 3]
  param w: f32[3, 2]
  param c: f32[2]
  param unused: f32[5]
  y[b in 0..rows, o in 0..2]: f32 = sum(i in 0..3: x[b, i] * w[i, o])
  z[b in 0..rows, o in 0..2]: f32 = y[b, o] + c[o]
  loss: f32 = sum(b in 0..rows, o in 0..2: z[b, o] * z[b, o])
  result loss = loss
})");
  Result<TensorProgram, DifferentiationError> gradient = differentiate(train);
  EXPECT_TRUE(gradient);
  module.programs.push_back(*gradient);
  return module;
}

std::map<std::string, UpdateRule> same_rule(const UpdateRule& rule) {
  return {{"w", rule}, {"c", rule}, {"unused", rule}};
}

std::string updates_of(const TensorProgram& program) {
  std::string text;
  for (const TensorUpdate& update : program.updates) {
    text += update.target + " <- " + update.value + "\n";
  }
  return text;
}

TEST(UpdateRules, PlainDescent) {
  UpdateRule rule;
  rule.updates.push_back({"p", make_binary(Op::subtract, variable("p"),
                                           make_binary(Op::multiply, real(0.5), variable("g")))});
  TensorModule module = model();
  const size_t before = module.find("train")->statements.size();
  TensorModule result = apply_update_rules(module, same_rule(rule));
  for (const std::string& violation : verify(result, tensor_rules_at("tensor.grad"))) {
    ADD_FAILURE() << violation;
  }
  const TensorProgram& train = *result.find("train");
  EXPECT_EQ(test::statement_lines(train, before),
            "w'[i in 0..3, o in 0..2]: f32 = w[i, o] - 0.5 * d.w[i, o]\n"
            "c'[o in 0..2]: f32 = c[o] - 0.5 * d.c[o]\n");
  EXPECT_EQ(updates_of(train), "w <- w'\nc <- c'\n");
  for (const TensorResult& item : train.results) {
    EXPECT_NE(item.kind, TensorResultKind::gradient);
  }
  // Without states, init is as it was.
  EXPECT_EQ(print(*result.find("init")), print(*module.find("init")));
}

TEST(UpdateRules, SettingsAreStatesThatAllRulesRead) {
  UpdateRule rule;
  rule.settings.push_back({"optimizer.lr", 0.25});
  const ExprRef rate =
      make_convert(ScalarType::f32, make_read("optimizer.lr", ScalarType::f64, {}));
  rule.updates.push_back({"p", make_binary(Op::subtract, variable("p"),
                                           make_binary(Op::multiply, rate, variable("g")))});
  TensorModule module = model();
  const size_t before = module.find("init")->statements.size();
  TensorModule result = apply_update_rules(module, same_rule(rule));
  for (const std::string& violation : verify(result, tensor_rules_at("tensor.grad"))) {
    ADD_FAILURE() << violation;
  }
  EXPECT_EQ(updates_of(*result.find("train")), "w <- w'\nc <- c'\n");
  EXPECT_EQ(test::statement_lines(*result.find("init"), before), "optimizer.lr': f64 = 0.25:f64\n");
  for (const char* program : {"init", "train"}) {
    const TensorDeclaration* declared = result.find(program)->find_declaration("optimizer.lr");
    ASSERT_NE(declared, nullptr);
    EXPECT_EQ(declared->kind, TensorKind::state);
    EXPECT_TRUE(declared->shape.empty());
  }
}

TEST(UpdateRules, StatesAreDeclaredAndInitialised) {
  UpdateRule rule;
  rule.states.push_back({"v", real(0)});
  rule.states.push_back({"start", variable("p")});
  ExprRef v =
      make_binary(Op::add, make_binary(Op::multiply, real(0.9), variable("v")), variable("g"));
  rule.updates.push_back({"v", v});
  rule.updates.push_back({"p", make_binary(Op::subtract, variable("start"), v)});
  TensorModule module = model();
  const size_t train_before = module.find("train")->statements.size();
  const size_t init_before = module.find("init")->statements.size();
  TensorModule result = apply_update_rules(module, same_rule(rule));
  for (const std::string& violation : verify(result, tensor_rules_at("tensor.grad"))) {
    ADD_FAILURE() << violation;
  }
  const TensorProgram& train = *result.find("train");
  EXPECT_EQ(test::statement_lines(train, train_before),
            "w.v'[i in 0..3, o in 0..2]: f32 = 0.9 * w.v[i, o] + d.w[i, o]\n"
            "w'[i in 0..3, o in 0..2]: f32 = w.start[i, o] - (0.9 * w.v[i, o] + d.w[i, o])\n"
            "c.v'[o in 0..2]: f32 = 0.9 * c.v[o] + d.c[o]\n"
            "c'[o in 0..2]: f32 = c.start[o] - (0.9 * c.v[o] + d.c[o])\n");
  EXPECT_EQ(updates_of(train), "w.v <- w.v'\nw <- w'\nc.v <- c.v'\nc <- c'\n");
  ASSERT_NE(train.find_declaration("w.v"), nullptr);
  EXPECT_EQ(train.find_declaration("w.v")->kind, TensorKind::state);
  EXPECT_EQ(train.find_declaration("unused.v"), nullptr);
  const TensorProgram& init = *result.find("init");
  EXPECT_EQ(test::statement_lines(init, init_before),
            "w.v'[i in 0..3, o in 0..2]: f32 = 0.0\n"
            "w.start'[i in 0..3, o in 0..2]: f32 = w.initial[i, o]\n"
            "c.v'[o in 0..2]: f32 = 0.0\n"
            "c.start'[o in 0..2]: f32 = c.initial[o]\n");
}

GradientTransform same_transform(const std::string& name, const UpdateRule& rule) {
  return {name, same_rule(rule)};
}

TEST(UpdateRules, TransformsComeFirstAndShareTheirTotals) {
  UpdateRule descent;
  descent.updates.push_back({"p", make_binary(Op::subtract, variable("p"), variable("g"))});
  UpdateRule clip;
  clip.totals.push_back({"total.1", make_binary(Op::multiply, variable("g"), variable("g"))});
  clip.updates.push_back(
      {"g", make_binary(Op::divide, variable("g"), make_unary(Op::sqrt, variable("total.1")))});
  UpdateRule smooth;
  smooth.states.push_back({"m", real(0)});
  const ExprRef next = make_binary(Op::add, variable("m"), variable("g"));
  smooth.updates.push_back({"m", next});
  smooth.updates.push_back({"g", next});
  TensorModule module = model();
  const size_t before = module.find("train")->statements.size();
  TensorModule result = apply_update_rules(
      module, same_rule(descent), {same_transform("clip", clip), same_transform("smooth", smooth)});
  for (const std::string& violation : verify(result, tensor_rules_at("tensor.grad"))) {
    ADD_FAILURE() << violation;
  }
  const TensorProgram& train = *result.find("train");
  EXPECT_EQ(test::statement_lines(train, before),
            "clip.total.w.rows[i in 0..3]: f32 = sum(o in 0..2: d.w[i, o] * d.w[i, o])\n"
            "clip.total.w: f32 = sum(i in 0..3: clip.total.w.rows[i])\n"
            "clip.total.c: f32 = sum(o in 0..2: d.c[o] * d.c[o])\n"
            "clip.total: f32 = clip.total.w + clip.total.c\n"
            "clip.scalar: f32 = sqrt(clip.total)\n"
            "d.w.clip[i in 0..3, o in 0..2]: f32 = d.w[i, o] / clip.scalar\n"
            "d.c.clip[o in 0..2]: f32 = d.c[o] / clip.scalar\n"
            "w.smooth.m'[i in 0..3, o in 0..2]: f32 = w.smooth.m[i, o] + d.w.clip[i, o]\n"
            "d.w.clip.smooth[i in 0..3, o in 0..2]: f32 = w.smooth.m[i, o] + d.w.clip[i, o]\n"
            "c.smooth.m'[o in 0..2]: f32 = c.smooth.m[o] + d.c.clip[o]\n"
            "d.c.clip.smooth[o in 0..2]: f32 = c.smooth.m[o] + d.c.clip[o]\n"
            "w'[i in 0..3, o in 0..2]: f32 = w[i, o] - d.w.clip.smooth[i, o]\n"
            "c'[o in 0..2]: f32 = c[o] - d.c.clip.smooth[o]\n");
  EXPECT_EQ(updates_of(train),
            "w.smooth.m <- w.smooth.m'\nc.smooth.m <- c.smooth.m'\nw <- w'\nc <- c'\n");
}

TEST(StripGradientMarks, KeepsValues) {
  TensorProgram program = test::tensor_program(R"(program train batch 4 {
  input x: f32[rows]
  a[b in 0..rows]: f32 = stop_gradient(x[b]) * custom(exp(x[b]), x[b], exp(stop_gradient(x[b])))
  s: f32 = sum(b in 0..rows where stop_gradient(x[b]) > 0.0: a[b])
})");
  EXPECT_EQ(test::statement_lines(strip_gradient_marks(program), 0),
            "a[b in 0..rows]: f32 = x[b] * exp(x[b])\n"
            "s: f32 = sum(b in 0..rows where x[b] > 0.0: a[b])\n");
}

}  // namespace
}  // namespace fusegrad::ir
