// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Constructs of the language in real training runs: what they do, and the same bits whatever the
// number of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

constexpr const char* head = R"(
model m {
  input image: u8[B, 28, 28]
  input label: u8[B] in 0..10
  x = reshape(real(image) / 255, [B, 784])
)";
constexpr const char* tail = R"(
  loss = mean(cross_entropy(logits, label))
  metric accuracy = mean(b: if argmax(k: logits[b, k]) == label[b] then 1 else 0)
}
data d {
  train { image = idx("train-images-idx3-ubyte")  label = idx("train-labels-idx1-ubyte") }
  test  { image = idx("t10k-images-idx3-ubyte")   label = idx("t10k-labels-idx1-ubyte") }
}
)";

/// A folder with data and the model `body`, which defines logits.
struct Job {
  std::string folder;
  std::string model;

  Job(const std::string& definitions, const std::string& body, const std::string& train) {
    folder = make_folder("job");
    model = folder + "/m.fg";
    write_small_images(folder);
    write_file(model, definitions + head + body + tail +
                          "train { batch = 32 epochs = 3 seed = 5 last = keep " + train + " }\n");
  }

  ToolRun train(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"train",  model,         "--data",     folder,
                                          "--save", folder + "/w", "--log-json", folder + "/log"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_tool(arguments);
  }

  std::string weights(const std::vector<std::string>& more = {}) const {
    ToolRun run = train(more);
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    return read_file(folder + "/w");
  }

  void expect_same_bits_for_all_threads() const {
    const std::string one = weights({"--threads", "1"});
    for (const char* threads : {"2", "3", "8"}) {
      EXPECT_EQ(weights({"--threads", threads}), one) << threads << " threads";
    }
  }

  void expect_right_gradients() const {
    ToolRun run = run_tool({"grad-check", model});
    EXPECT_EQ(run.exit_code, 0) << run.output << run.errors;
  }

  /// The last value of a key in the log.
  double last(const std::string& key) const {
    const std::string log = read_file(folder + "/log");
    const size_t at = log.rfind("\"" + key + "\":");
    EXPECT_NE(at, std::string::npos) << key << " in " << log;
    return at == std::string::npos ? NAN : std::atof(log.c_str() + at + key.size() + 3);
  }

  int epochs() const { return static_cast<int>(last("epoch")); }
};

constexpr const char* sgd = "optimizer = sgd(lr = 0.1)";

TEST(Constructs, DropoutDrawsTheSameNumbersOnAnyThreads) {
  Job job("", "logits = dense(dropout(relu(dense(x, 37)), 0.3), 10)", sgd);
  job.expect_same_bits_for_all_threads();
  job.expect_right_gradients();
  EXPECT_NE(job.weights({"--seed", "6"}), job.weights());
}

TEST(Constructs, ANewDrawInEveryStep) {
  // With a rate of one half, the output of a step is 0 or twice the input; were the draws the same
  // in all steps, the mean over many of them would not come near the input.
  Job job("",
          "one[b] = real(label[b]) * 0 + 1\n"
          "  drawn = dropout(one, 0.5)\n"
          "  metric level = mean(drawn)\n"
          "  param p: real[10] = 0\n"
          "  logits[b, k] = p[k] * drawn[b]",
          "optimizer = sgd(lr = 0.1)");
  ToolRun run = job.train({"--batch", "1", "--epochs", "20"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const std::string log = read_file(job.folder + "/log");
  const size_t at = log.rfind("\"metrics\":{\"level\":", log.rfind("\"val_loss\""));
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_NEAR(std::atof(log.c_str() + at + 19), 1.0, 0.25);
}

TEST(Constructs, StateFollowsTrainingAndIsSaved) {
  Job job(R"(layer centred(x: real[N, I]) -> y: real[N, I] {
  state mean_of: real[I] = 0
  when training { mean_of[i] <- 0.5 * mean_of[i] + 0.5 * mean(n: x[n, i]) }
  y[n, i] = x[n, i] - mean_of[i]
})",
          "logits = dense(centred(x), 10)", "optimizer = momentum(lr = 0.05)");
  job.expect_same_bits_for_all_threads();
  job.expect_right_gradients();
  const std::string saved = job.weights();
  EXPECT_NE(saved.find("\"centred.mean_of\""), std::string::npos);
  // The optimizer's states are no part of the model.
  EXPECT_EQ(saved.find("\"dense.w.v\""), std::string::npos);
}

TEST(Constructs, BatchNormEvaluatesWithRunningStatistics) {
  Job job("", "logits = dense(relu(batch_norm(dense(x, 19))), 10)", "optimizer = adam(lr = 0.01)");
  job.expect_same_bits_for_all_threads();
  job.expect_right_gradients();
  const std::string saved = job.weights();
  EXPECT_NE(saved.find("\"batch_norm.running_mean\""), std::string::npos);
  EXPECT_NE(saved.find("\"batch_norm.running_var\""), std::string::npos);
}

TEST(Constructs, GradientTransformsWithTotalsAndStates) {
  Job job(R"(gradient smooth(keep) for g {
  state average = 0
  next = keep * average + (1 - keep) * g
  average <- next
  g <- next
}
gradient share(limit) for p, g {
  size = sqrt(total(p * p)) + 1
  g <- if tagged("nodecay") then g else g * min(1, limit * size / (sqrt(total(g * g)) + 1e-6))
})",
          "logits = dense(relu(dense(x, 23)), 10)",
          "optimizer = momentum(lr = 0.1)  "
          "transforms = [clip_value(0.5), smooth(0.5), share(0.2), clip_norm(1.0 / step), "
          "smooth(keep = 0.1)]");
  job.expect_same_bits_for_all_threads();
  EXPECT_GT(job.last("accuracy"), 0.5);
}

TEST(Constructs, ClippedGradientsMoveTheWeightsByTheLimit) {
  // One step of size 1 with gradients of norm 0.01: that is how far all parameters go.
  const std::string body =
      "param a: real[784, 10] = 0\n  param c: real[10] = 0\n"
      "  logits[b, k] = sum(i: x[b, i] * a[i, k]) + c[k]\n"
      "  metric moved = sqrt(sum(i, k: square(a[i, k])) + sum(k: square(c[k])))";
  Job job("", body, "optimizer = sgd(lr = 1)  transforms = [clip_norm(0.01)]");
  ToolRun run = job.train({"--batch", "300", "--epochs", "1"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NEAR(job.last("moved"), 0.01, 1e-6);
}

TEST(Constructs, SchedulesAreComputedOnceAStep) {
  Job job("fn halves(base) = base * 0.5 ^ floor((step - 1) / 4)", "logits = dense(x, 10)",
          "optimizer = adam(lr = halves(warmup_cosine(0.02, 5)))");
  job.expect_same_bits_for_all_threads();
  ToolRun text = run_tool({"emit", job.model, "--stage=tensor.opt", "--program=train"});
  ASSERT_EQ(text.exit_code, 0) << text.errors;
  size_t cosines = 0;
  for (size_t at = text.output.find("cos("); at != std::string::npos;
       at = text.output.find("cos(", at + 1)) {
    ++cosines;
  }
  EXPECT_EQ(cosines, 1U) << text.output;
}

TEST(Constructs, MetricsAreAboutTheWholeSplit) {
  const std::string body = R"(logits = dense(x, 10)
  hit[b] = if argmax(k: logits[b, k]) == label[b] then 1.0 else 0.0
  right[c in 0..10] = sum(b where label[b] == c: hit[b])
  all_of[c in 0..10] = sum(b where label[b] == c: 1.0)
  metric rms = sqrt(mean(square(logits)))
  metric largest = max(logits)
  metric lowest = min(b, k: logits[b, k])
  metric recall = mean(c: right[c] / max(all_of[c], 1))
  metric count = sum(b: hit[b] * 0 + 1)
  metric any_high = if any(b: logits[b, 0] > 0.5) then 1 else 0
  metric plain = mean(logits))";
  // Without learning, all passes see the same weights.
  Job job("", body, "optimizer = sgd(lr = 0)");
  const std::vector<std::string> keys = {"rms",   "largest",  "lowest", "recall",
                                         "count", "any_high", "plain",  "accuracy"};
  std::vector<double> whole;
  ASSERT_EQ(job.train({"--batch", "300"}).exit_code, 0);
  for (const std::string& key : keys) whole.push_back(job.last(key));
  EXPECT_EQ(job.last("count"), 77);
  for (const char* batch : {"1", "7", "32", "76"}) {
    for (const char* threads : {"1", "3"}) {
      ToolRun run = job.train({"--batch", batch, "--threads", threads, "--epochs", "1"});
      ASSERT_EQ(run.exit_code, 0) << run.errors;
      for (size_t i = 0; i < keys.size(); ++i) {
        EXPECT_NEAR(job.last(keys[i]), whole[i], 1e-6 * std::max(1.0, std::fabs(whole[i])))
            << keys[i] << " with batches of " << batch;
      }
    }
  }
}

TEST(Ending, TargetEndsTrainingAndMissingItIsAnAnswer) {
  Job job("", "logits = dense(x, 10)", sgd);
  ToolRun reached = job.train({"--epochs", "50", "--set", "target=accuracy >= 0.9"});
  EXPECT_EQ(reached.exit_code, 0) << reached.errors;
  EXPECT_LT(job.epochs(), 50);
  EXPECT_NE(reached.errors.find("target reached in epoch"), std::string::npos) << reached.errors;
  ToolRun loss = job.train({"--epochs", "50", "--set", "target=loss < 1"});
  EXPECT_EQ(loss.exit_code, 0) << loss.errors;
  EXPECT_LT(job.last("val_loss"), 1.0);
  EXPECT_LT(job.epochs(), 50);
  ToolRun missed = job.train({"--epochs", "2", "--set", "target=accuracy > 1"});
  EXPECT_EQ(missed.exit_code, 1) << missed.errors;
  EXPECT_EQ(job.epochs(), 2);
  ToolRun unknown = job.train({"--set", "target=acuracy > 1"});
  EXPECT_EQ(unknown.exit_code, 3) << unknown.errors;
  EXPECT_NE(unknown.errors.find("did you mean `accuracy`?"), std::string::npos) << unknown.errors;
}

TEST(Ending, TimeLimit) {
  Job job("", "logits = dense(x, 10)", sgd);
  ToolRun run = job.train({"--epochs", "100000000", "--set", "time_limit=0.2"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.errors.find("the time limit of 0.2 s ends training"), std::string::npos)
      << run.errors;
  EXPECT_GE(job.last("epochs"), 1);
}

TEST(Ending, PatienceKeepsTheBestWeights) {
  // A rate that grows with every step: the loss falls, then explodes.
  Job job("", "logits = dense(x, 10)", "optimizer = sgd(lr = 0.0005 * 1.3 ^ step)");
  ToolRun run = job.train({"--epochs", "60", "--set", "patience=2"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const int last = job.epochs();
  ASSERT_LT(last, 60) << run.output;
  EXPECT_NE(run.errors.find("the weights are those of epoch " + std::to_string(last - 2)),
            std::string::npos)
      << run.errors;
  const std::string kept = read_file(job.folder + "/w");
  ToolRun shorter = job.train({"--epochs", std::to_string(last - 2)});
  ASSERT_EQ(shorter.exit_code, 0) << shorter.errors;
  EXPECT_TRUE(read_file(job.folder + "/w") == kept) << "weights or step differ";
}

TEST(Ending, ValidationEveryFewEpochs) {
  Job job("", "logits = dense(x, 10)", sgd);
  ToolRun run = job.train({"--epochs", "5", "--set", "eval_every=2"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const std::string log = read_file(job.folder + "/log");
  size_t judged = 0;
  for (size_t at = log.find("val_loss"); at != std::string::npos; at = log.find("val_loss", at + 1))
    ++judged;
  EXPECT_EQ(judged, 3U) << log;  // epochs 2, 4 and the last one
}

TEST(Imports, DefinitionsOfOtherFiles) {
  Job job("import \"parts/layers.fg\"\n", "logits = double_dense(x, 10)", "optimizer = slow(rate)");
  ASSERT_EQ(std::system(("mkdir -p " + job.folder + "/parts/deep").c_str()), 0);
  write_file(job.folder + "/parts/layers.fg",
             "import \"deep/rules.fg\"\nimport \"layers.fg\"\n"
             "layer double_dense(x: real[N, I], O: dim) -> y: real[N, O] {\n"
             "  y = dense(twice(dense(x, Hidden)), O)\n}\n"
             "train { batch = 1 }\n");
  write_file(job.folder + "/parts/deep/rules.fg",
             "const Hidden = 12\nconst rate = 0.1\nfn twice(x) = x + x\n"
             "optimizer slow(lr) for p, g { p <- p - lr * g }\n");
  job.expect_same_bits_for_all_threads();
  job.expect_right_gradients();
  EXPECT_NE(job.weights({"-D", "Hidden=13"}), job.weights());
  // A mistake is shown where it is.
  write_file(job.folder + "/parts/deep/rules.fg", "const Hidden = 12\nfn twice(x) = x +\n");
  ToolRun wrong = job.train();
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_NE(wrong.errors.find("parts/deep/rules.fg:"), std::string::npos) << wrong.errors;
  write_file(job.folder + "/parts/deep/rules.fg",
             "layer double_dense(x: real[N]) -> y: real[N] { y = x }\n");
  ToolRun twice = job.train();
  EXPECT_EQ(twice.exit_code, 3);
  EXPECT_NE(twice.errors.find("`double_dense` is defined twice"), std::string::npos)
      << twice.errors;
}

// ---- Whole models on MNIST.

const char* test_data() { return std::getenv("FUSEGRAD_TEST_DATA"); }

/// The first `samples` records of a gzipped file of MNIST, as a file of their own.
void write_first_records(const std::string& name, uint32_t samples, const std::string& folder) {
  const std::string whole = folder + "/whole";
  const std::string command =
      "gzip -dc '" + std::string(test_data()) + "/mnist/" + name + ".gz' > '" + whole + "'";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::string bytes = read_file(whole);
  ASSERT_GT(bytes.size(), 16U);
  const size_t header = 4 + 4 * static_cast<size_t>(bytes[3]);
  const size_t record = bytes[3] == 3 ? 784 : 1;
  ASSERT_GE(bytes.size(), header + samples * record);
  bytes.resize(header + samples * record);
  for (int i = 0; i < 4; ++i) bytes[4 + i] = static_cast<char>(samples >> (24 - 8 * i));
  write_file(folder + "/" + name, bytes);
}

/// Of validation, after training on 6,000 images.
double accuracy_of(const std::string& program, const std::vector<std::string>& more) {
  const std::string folder = make_folder("run");
  for (const char* kind : {"images-idx3-ubyte", "labels-idx1-ubyte"}) {
    write_first_records(std::string("train-") + kind, 6000, folder);
    write_first_records(std::string("t10k-") + kind, 1000, folder);
  }
  std::vector<std::string> arguments = {
      "train",      repository_path("tests/driver/programs/" + program),
      "--data",     folder,
      "--log-json", folder + "/log"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  const std::string log = read_file(folder + "/log");
  const size_t at = log.rfind("\"accuracy\":");
  return at == std::string::npos ? 0 : std::atof(log.c_str() + at + 11);
}

TEST(Models, DropoutMlpLearnsDigits) {
  if (test_data() == nullptr) GTEST_SKIP() << "FUSEGRAD_TEST_DATA is not set";
  EXPECT_GT(accuracy_of("dropout_mlp.fg", {"--epochs", "6"}), 0.92);
}

TEST(Models, LenetLearnsDigits) {
  if (test_data() == nullptr) GTEST_SKIP() << "FUSEGRAD_TEST_DATA is not set";
  EXPECT_GT(accuracy_of("lenet.fg", {"--epochs", "1"}), 0.9);
}

TEST(Models, BatchNormLearnsDigits) {
  if (test_data() == nullptr) GTEST_SKIP() << "FUSEGRAD_TEST_DATA is not set";
  EXPECT_GT(accuracy_of("batch_norm.fg", {"--epochs", "2"}), 0.9);
}

}  // namespace
}  // namespace fusegrad::test
