// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What model files become on T.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string program_file(const std::string& name) {
  std::ifstream in(std::filesystem::path(FUSEGRAD_SOURCE_DIR) / "tests" / "frontend" / "programs" /
                   (name + ".fg"));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

ElaborateOptions model_alone() {
  ElaborateOptions options;
  options.needs_data = false;
  options.needs_epochs = false;
  options.needs_optimizer = false;
  options.train = {{"batch", "4"}};
  return options;
}

// ---------------------------------------------------------------- whole files

TEST(Elaborate, SoftmaxRegression) {
  Elaborated e = elaborate_text(program_file("softmax_regression"));
  ASSERT_TRUE(e.job) << e.messages();
  EXPECT_EQ(e.messages(), "");
  EXPECT_EQ(e.job->model, "softmax_regression");
  EXPECT_EQ(program_text(e, "init"),
            "param dense.w: f32[784, 10]\n"
            "param dense.c: f32[10] @nodecay\n"
            "dense.w'[i in 0..784, i2 in 0..10]: f32 = -0.0869291381699617 + 0.1738582763399234 * "
            "rand.1214165819(i * 10 + i2)\n"
            "dense.c'[i in 0..10]: f32 = 0.0\n"
            "dense.w <- dense.w'\n"
            "dense.c <- dense.c'\n");
  const std::string forward =
      "input image: u8[rows, 28, 28]\n"
      "input label: u8[rows] in 0..10\n"
      "param dense.w: f32[784, 10]\n"
      "param dense.c: f32[10] @nodecay\n"
      "x[i in 0..rows, i2 in 0..784]: f32 = f32(image[i, i2 // 28, i2 % 28]) / 255.0\n"
      "dense.y_sum[p in 0..rows, o in 0..10]: f32 = sum(i in 0..784: x[p, i] * dense.w[i, o])\n"
      "dense.y[p in 0..rows, o in 0..10]: f32 = dense.y_sum[p, o] + dense.c[o]\n"
      "cross_entropy.logsumexp.m_max[p in 0..rows]: f32 = max(k in 0..10: dense.y[p, k])\n"
      "cross_entropy.logsumexp.m[p in 0..rows]: f32 = "
      "stop_gradient(cross_entropy.logsumexp.m_max[p])\n"
      "cross_entropy.logsumexp.y_sum[p in 0..rows]: f32 = "
      "sum(k in 0..10: exp(dense.y[p, k] - cross_entropy.logsumexp.m[p]))\n"
      "cross_entropy.logsumexp.y[p in 0..rows]: f32 = "
      "cross_entropy.logsumexp.m[p] + log(cross_entropy.logsumexp.y_sum[p])\n"
      "cross_entropy.nll[p in 0..rows]: f32 = "
      "cross_entropy.logsumexp.y[p] - dense.y[p, label[p]]\n"
      "loss_sum: f32 = sum(r in 0..rows: cross_entropy.nll[r])\n"
      "loss: f32 = loss_sum / f32(rows)\n"
      "accuracy_argmax[b in 0..rows]: i32 = argmax(k in 0..10: dense.y[b, k])\n"
      "accuracy_sum: f32 = "
      "sum(b in 0..rows: if accuracy_argmax[b] == label[b] then 1.0 else 0.0)\n"
      "accuracy: f32 = accuracy_sum / f32(rows)\n"
      "result loss = loss\n"
      "result metric accuracy = accuracy\n";
  EXPECT_EQ(program_text(e, "train"), forward);
  EXPECT_EQ(program_text(e, "eval"), forward + "result output logits = dense.y\n");
  EXPECT_EQ(rule_text(e, "dense.w"), "p <- p - f32(optimizer.lr) * g\n");
  EXPECT_EQ(rule_text(e, "dense.c"), "p <- p - f32(optimizer.lr) * g\n");
  ASSERT_TRUE(e.job->learning_rate);
  EXPECT_EQ(e.job->learning_rate->name, "optimizer.lr");
  EXPECT_EQ(e.job->learning_rate->initial, 0.1);

  const TrainSettings& settings = e.job->settings;
  EXPECT_EQ(settings.batch, 128);
  EXPECT_EQ(settings.epochs, 10);
  EXPECT_EQ(settings.seed, 1);
  EXPECT_TRUE(settings.shuffle);
  EXPECT_FALSE(settings.keep_last);
  EXPECT_EQ(e.sources.text(settings.batch_span), "128");

  ASSERT_EQ(e.job->inputs.size(), 2u);
  EXPECT_EQ(e.job->inputs[1].name, "label");
  EXPECT_EQ(e.job->inputs[1].type, ir::ScalarType::u8);
  EXPECT_EQ(e.job->inputs[1].range, (ir::IntegerRange{0, 10}));
  EXPECT_EQ(e.sources.text(e.job->inputs[1].range_span), "0..10");
  EXPECT_EQ(e.sources.text(e.job->inputs[0].type_span), "u8[B, 28, 28]");

  ASSERT_EQ(e.job->splits.size(), 2u);
  EXPECT_EQ(e.job->splits[0].name, "train");
  EXPECT_EQ(e.job->splits[1].name, "test");
  ASSERT_EQ(e.job->splits[0].bindings.size(), 2u);
  const DataBinding& binding = e.job->splits[0].bindings[0];
  EXPECT_EQ(binding.input, "image");
  EXPECT_EQ(binding.reader, "idx");
  EXPECT_EQ(binding.path, "data/train-images-idx3-ubyte");
}

TEST(Elaborate, EveryProgramOfTheDocuments) {
  // What they need beyond this compiler's readers and transforms is left out of the text.
  for (const char* name : {"autoencoder", "char_transformer", "churn", "lenet", "mlp", "own_parts",
                           "resnet", "softmax_regression"}) {
    std::string text = program_file(name);
    const size_t data = text.find("\ndata ");
    ASSERT_NE(data, std::string::npos) << name;
    Elaborated e = elaborate_text(text.substr(0, data + 1), model_alone());
    EXPECT_TRUE(e.job) << name << "\n" << e.messages();
    EXPECT_EQ(e.messages(), "") << name;
  }
}

TEST(Elaborate, StatementsKnowTheTextTheyCameFrom) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  h = relu(dense(x, 2))\n"
      "  loss = mean(h)\n");
  ASSERT_TRUE(e.job) << e.messages();
  const ir::TensorProgram& train = *e.job->module.find("train");
  EXPECT_EQ(e.sources.text(train.find_statement("h")->origin), "h = relu(dense(x, 2))");
  EXPECT_EQ(e.sources.text(train.find_statement("dense.y_sum")->origin),
            "y[..., o] = sum(i: x[..., i] * w[i, o]) + c[o]");
  EXPECT_EQ(e.sources.text(train.find_declaration("dense.c")->origin),
            "param c: real[O] = 0 @nodecay");
}

// ---------------------------------------------------------------- tensors and reductions

TEST(Elaborate, ReductionsAtTheRootNeedNoCopyAndOthersAreLifted) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  a[b] = sum(i: x[b, i])\n"
      "  c[b, i] = x[b, i] / (1 + max(j: abs(x[b, j])))\n"
      "  d[i, b] = sum(k in 0..2: x[b, i])\n"
      "  loss = sum(b, i: c[b, i] * min(j: x[b, j])) + mean(a) + mean(d)\n");
  EXPECT_EQ(statements_text(e),
            "a[b in 0..rows]: f32 = sum(i in 0..3: x[b, i])\n"
            "c_max[b in 0..rows]: f32 = max(j in 0..3: abs(x[b, j]))\n"
            "c[b in 0..rows, i in 0..3]: f32 = x[b, i] / (1.0 + c_max[b])\n"
            "d[i in 0..3, b in 0..rows]: f32 = sum(k in 0..2: x[b, i])\n"
            "loss_min[b in 0..rows]: f32 = min(j in 0..3: x[b, j])\n"
            "loss_sum: f32 = sum(b in 0..rows, i in 0..3: c[b, i] * loss_min[b])\n"
            "loss_sum_2: f32 = sum(r in 0..rows: a[r])\n"
            "loss_sum_3: f32 = sum(r in 0..3, r2 in 0..rows: d[r, r2])\n"
            "loss: f32 = loss_sum + loss_sum_2 / f32(rows) + loss_sum_3 / f32(rows * 3)\n");
}

TEST(Elaborate, AReductionThatIgnoresALeftIndexIsComputedOnce) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  y[b, o in 0..5] = sum(i: x[b, i])\n"
      "  loss = mean(y)\n");
  EXPECT_EQ(statements_text(e),
            "y_sum[b in 0..rows]: f32 = sum(i in 0..3: x[b, i])\n"
            "y[b in 0..rows, o in 0..5]: f32 = y_sum[b]\n"
            "loss_sum: f32 = sum(r in 0..rows, r2 in 0..5: y[r, r2])\n"
            "loss: f32 = loss_sum / f32(rows * 5)\n");
}

TEST(Elaborate, RangesOfOuterIndicesMoveToZeroInLiftedReductions) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 6]\n"
      "  loss = sum(b, i in 2..5: max(k in 0..3: x[b, i + k - 2]))\n");
  EXPECT_EQ(statements_text(e),
            "loss_max[b in 0..rows, i in 0..3]: f32 = max(k in 0..3: x[b, i + 2 + k - 2])\n"
            "loss_sum: f32 = sum(b in 0..rows, i in 2..5: loss_max[b, i - 2])\n");
}

TEST(Elaborate, MeansCountWhatPassesWhere) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  a[b] = mean(i: x[b, i])\n"
      "  c = mean(b, i where x[b, i] > 0: x[b, i])\n"
      "  d[b] = mean(i in 2..2: x[b, i])\n"
      "  loss = mean(a) + c + mean(d)\n");
  EXPECT_EQ(statements_text(e),
            "a_sum[b in 0..rows]: f32 = sum(i in 0..3: x[b, i])\n"
            "a[b in 0..rows]: f32 = a_sum[b] / 3.0\n"
            "c_sum: f32 = sum(b in 0..rows, i in 0..3 where x[b, i] > 0.0: x[b, i])\n"
            "c_count: f32 = sum(b in 0..rows, i in 0..3 where x[b, i] > 0.0: 1.0)\n"
            "c: f32 = c_sum / max(c_count, 1.0)\n"
            "d[b in 0..rows]: f32 = sum(i in 2..2: x[b, i])\n"
            "loss_sum: f32 = sum(r in 0..rows: a[r])\n"
            "loss_sum_2: f32 = sum(r in 0..rows: d[r])\n"
            "loss: f32 = loss_sum / f32(rows) + c + loss_sum_2 / f32(rows)\n");
}

TEST(Elaborate, PositionsAreIndicesOfTheRange) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 9]\n"
      "  k[b] = argmax(i in 3..9: x[b, i])\n"
      "  n[b] = argmin(i: x[b, i])\n"
      "  y[b] = x[b, k[b]] + x[b, n[b]]\n"
      "  both = argmax(x)\n"
      "  loss = mean(y) + real(both)\n");
  EXPECT_EQ(statements_text(e),
            "k_argmax[b in 0..rows]: i32 = argmax(i in 3..9: x[b, i])\n"
            "k[b in 0..rows]: i32 = k_argmax[b] + 3\n"
            "n[b in 0..rows]: i32 = argmin(i in 0..9: x[b, i])\n"
            "y[b in 0..rows]: f32 = x[b, k[b]] + x[b, n[b]]\n"
            "both_argmax: i32 = argmax(r in 0..rows, r2 in 0..9: x[r, r2])\n"
            "loss_sum: f32 = sum(r in 0..rows: y[r])\n"
            "loss: f32 = loss_sum / f32(rows) + f32(both_argmax)\n");
}

TEST(Elaborate, AnyAndAllAndIntegersKeepTheirTypes) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  input i: u8[B, 3]\n"
      "  input j: i32[B, 3]\n"
      "  a[b] = any(k where k > 0: x[b, k] > 0.5)\n"
      "  c = all(i < 7)\n"
      "  s[b] = sum(k: i[b, k])\n"
      "  m[b] = max(k: j[b, k] * 2 - i[b, k])\n"
      "  t[b, k in 0..3] = i[b, 2 - k]\n"
      "  u = i + 1\n"
      "  loss = mean(b: if a[b] and c then real(s[b] + m[b] // 2 % 3) else real(t[b, 0] + u[b, "
      "0]))\n");
  EXPECT_EQ(
      statements_text(e),
      "a[b in 0..rows]: bool = any(k in 0..3 where k > 0: x[b, k] > 0.5)\n"
      "c_all: bool = all(r in 0..rows, r2 in 0..3: i[r, r2] < 7)\n"
      "s[b in 0..rows]: i32 = sum(k in 0..3: i[b, k])\n"
      "m[b in 0..rows]: i32 = max(k in 0..3: j[b, k] * 2 - i[b, k])\n"
      "t[b in 0..rows, k in 0..3]: u8 = i[b, 2 - k]\n"
      "u[i_2 in 0..rows, i2 in 0..3]: i32 = i[i_2, i2] + 1\n"
      "loss_sum: f32 = sum(b in 0..rows: if a[b] and c_all then f32(s[b] + m[b] // 2 % 3) else "
      "f32(t[b, 0] + u[b, 0]))\n"
      "loss: f32 = loss_sum / f32(rows)\n");
}

TEST(Elaborate, ReadsWithDefaultsLoseThemWhereTheyCannotMatter) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 8]\n"
      "  y[b, i] = x[b, i else 5] + x[b, 7 - i else -inf]\n"
      "  z[b, i in 0..8] = sum(k in 0..3: x[b, i + k - 1 else 0])\n"
      "  loss = mean(y) + mean(z)\n");
  EXPECT_EQ(statements_text(e).substr(0, statements_text(e).find("loss_sum")),
            "y[b in 0..rows, i in 0..8]: f32 = x[b, i] + x[b, 7 - i]\n"
            "z[b in 0..rows, i in 0..8]: f32 = sum(k in 0..3: x[b, i + k - 1 else 0.0])\n");
}

TEST(Elaborate, IndicesFromDataNeedARangeAndClampGivesOne) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 8]\n"
      "  input k: i32[B]\n"
      "  input n: u8[B] in 2..8\n"
      "  param t: real[256] = 0\n"
      "  y[b] = x[b, clamp(k[b], 0, 7)] + x[b, n[b]] + x[b, n[b] - 2] + x[b, k[b] else 0]\n"
      "  z[b] = x[b, clamp(i32(x[b, 0] * 8), 0, 7)]\n"
      "  loss = mean(y) + mean(z)\n");
  EXPECT_EQ(statements_text(e).substr(0, statements_text(e).find("loss_sum")),
            "y[b in 0..rows]: f32 = "
            "x[b, if k[b] < 0 then 0 else if k[b] > 7 then 7 else k[b] else 0.0] + x[b, n[b]] + "
            "x[b, n[b] - 2] + x[b, k[b] else 0.0]\n"
            "z[b in 0..rows]: f32 = x[b, if i64(i32(x[b, 0] * 8.0)) < 0 then 0 else if "
            "i64(i32(x[b, 0] * 8.0)) > 7 then 7 else i64(i32(x[b, 0] * 8.0)) else 0.0]\n");
}

// ---------------------------------------------------------------- numbers and the batch

TEST(Elaborate, LiteralsAndSizesTakeTheTypeOfTheirNeighbours) {
  Elaborated e = elaborate_body(
      "  input x: f32[B, 3]\n"
      "  input i: i32[B, 3]\n"
      "  const Half = 7 // 2\n"
      "  a = x * 2 + 1 / 4 - Half ^ 2\n"
      "  c[b, k] = if i[b, k] + 2 > 3 then 1 else 0\n"
      "  d[b, k] = x[b, k] ^ 2 + real(i[b, k]) * 1\n"
      "  f[b, k] = if x[b, k] > 0 then x[b, k] else 0\n"
      "  g[b] = min(x[b, 0], max(x[b, 1], 3))\n"
      "  loss = mean(a) + mean(c) + mean(d) + mean(f) + mean(g)\n");
  EXPECT_EQ(statements_text(e).substr(0, statements_text(e).find("loss_sum")),
            "a[i in 0..rows, i2 in 0..3]: f32 = x[i, i2] * 2.0 + 0.25 - 9.0\n"
            "c[b in 0..rows, k in 0..3]: f32 = if i[b, k] + 2 > 3 then 1.0 else 0.0\n"
            "d[b in 0..rows, k in 0..3]: f32 = x[b, k] ^ 2.0 + f32(i[b, k])\n"
            "f[b in 0..rows, k in 0..3]: f32 = if x[b, k] > 0.0 then x[b, k] else 0.0\n"
            "g[b in 0..rows]: f32 = min(x[b, 0], max(x[b, 1], 3.0))\n");
}

TEST(Elaborate, InDoublePrecisionASinglePrecisionInputIsConvertedByHand) {
  ElaborateOptions options = model_alone();
  options.train["precision"] = "f64";
  Elaborated e =
      elaborate_text("model m {\n  input x: f32[B, 3]\n  loss = mean(dense(x, 1))\n}\n", options);
  EXPECT_EQ(e.messages(),
            "error[E0401]: `dense` takes `real`, but `x` is `f32`\n"
            " --> model.fg:3:21\n"
            "  |\n"
            "3 |   loss = mean(dense(x, 1))\n"
            "  |                     ^ `f32[B, 3]`\n"
            "  |\n"
            "  = note: types are never changed silently\n"
            "  = help: write `real(x)`; the conversion costs no extra pass over memory\n");
}

TEST(Elaborate, TheCommandLineChoosesATrainBlock) {
  const std::string text =
      "model m { input x: f32[B, 3]  loss = mean(square(dense(x, 2))) }\n"
      "train quick { batch = 4  epochs = 1  optimizer = sgd(0.1) }\n"
      "train long { batch = 64  epochs = 100  optimizer = adam(0.01) }\n";
  ElaborateOptions options;
  options.needs_data = false;
  options.train = {{"train", "long"}, {"epochs", "7"}};
  Elaborated chosen = elaborate_text(text, options);
  ASSERT_TRUE(chosen.job) << chosen.messages();
  EXPECT_EQ(chosen.job->settings.batch, 64);
  EXPECT_EQ(chosen.job->settings.epochs, 7);
  options.train = {{"train", "lang"}};
  EXPECT_THAT(elaborate_text(text, options).messages(),
              AllOf(HasSubstr("there is no train block `lang`"), HasSubstr("mean `long`?")));
  // A check looks at the first.
  options.train = {};
  options.needs_train_block = false;
  Elaborated checked = elaborate_text(text, options);
  ASSERT_TRUE(checked.job) << checked.messages();
  EXPECT_EQ(checked.job->settings.batch, 4);
}

TEST(Elaborate, EvaluationIsElaboratedAgainOnlyWhereSomethingAsksForTraining) {
  Elaborated same = elaborate_body(
      "input x: f32[B, 3]\nh = relu(x)\noutput h\nloss = mean(h)\nmetric top = max(h)\n");
  EXPECT_EQ(statements_text(same, "eval"), statements_text(same, "train"));
  EXPECT_THAT(program_text(same, "eval"), HasSubstr("result output h = h"));
  EXPECT_THAT(program_text(same, "train"), Not(HasSubstr("output")));
  Elaborated other = elaborate_body("input x: f32[B, 3]\nh = dropout(x, 0.5)\nloss = mean(h)\n");
  EXPECT_THAT(statements_text(other, "train"), HasSubstr("rand"));
  EXPECT_THAT(statements_text(other, "eval"), Not(HasSubstr("rand")));
  Elaborated updated =
      elaborate_body("input x: f32[B, 3]\nstate s: real[] = 0\ns <- s + 1\nloss = mean(x)\n");
  EXPECT_THAT(program_text(updated, "train"), HasSubstr("s <- "));
  EXPECT_THAT(program_text(updated, "eval"), Not(HasSubstr("<-")));
}

}  // namespace
}  // namespace fusegrad::frontend
