// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A language model with an embedding, from text to weights: its gradient runs along sorted places,
// with the bits of comparing, on any number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/driver/program.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// 40 different characters, each mostly followed by the one three places on.
std::string letters() {
  const std::string alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";
  std::string text;
  uint32_t state = 5;
  size_t at = 0;
  for (int i = 0; i < 3000; ++i) {
    state = state * 1664525U + 1013904223U;
    at = state >> 28 == 0 ? (state >> 8) % 40 : (at + 3) % 40;
    text += alphabet[at];
  }
  return text;
}

constexpr const char* model = R"(
model letters {
  input text: u8[B, 16] in 0..40
  input next: u8[B, 16] in 0..40
  x = embedding(text, 40, 12)
  logits = dense(tanh(x), 40)
  loss = mean(cross_entropy(logits, next))
}
data letters {
  train { text = chars("text", 0.0, 0.8)  next = shift(text, 1) }
  test  { text = chars("text", 0.8, 1.0)  next = shift(text, 1) }
}
train { batch = 32  epochs = 30  last = keep  seed = 3  optimizer = adam(lr = 0.03) }
)";

TEST(Segments, AnEmbeddingLearnsWithTheBitsOfComparing) {
  const std::string folder = make_folder("segments");
  write_file(folder + "/text", letters());
  write_file(folder + "/m.fg", model);
  auto weights = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train", folder + "/m.fg", "--save", folder + "/w"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ToolRun run = run_tool(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    const size_t at = run.output.rfind("val_loss ");
    EXPECT_NE(at, std::string::npos) << run.output;
    // Guessing costs 3.7.
    if (at != std::string::npos) {
      EXPECT_LT(std::atof(run.output.c_str() + at + 9), 1.5) << run.output;
    }
    return read_file(folder + "/w");
  };
  const std::string expected = weights({"--threads", "1"});
  for (const char* threads : {"2", "3"}) {
    EXPECT_TRUE(weights({"--threads", threads}) == expected) << threads;
  }

  const ToolRun emitted = run_tool({"emit", folder + "/m.fg", "--stage=kernels"});
  ASSERT_EQ(emitted.exit_code, 0) << emitted.errors;
  std::string kernels = emitted.output;
  EXPECT_THAT(kernels, HasSubstr("derived text.positions: i32[rows*16] = positions of text"));
  size_t removed = 0;
  for (size_t at = 0; (at = kernels.find("segment text by ")) != std::string::npos; ++removed) {
    size_t end = kernels.find_first_of(",)", at);
    if (kernels.compare(at - 2, 2, ", ") == 0) {
      at -= 2;
    } else if (kernels[end] == ',') {
      end += 2;
    } else {  // the only attribute
      at = kernels.rfind("schedule(", at);
      ++end;
    }
    kernels.erase(at, end - at);
  }
  EXPECT_EQ(removed, 1U) << emitted.output;
  EXPECT_THAT(kernels, Not(HasSubstr("segment")));
  write_file(folder + "/compare.kernels", kernels);
  EXPECT_TRUE(weights({"--from", folder + "/compare.kernels"}) == expected);

  // A shipped trainer sorts as well.
  const ToolRun built = run_tool({"build", folder + "/m.fg", "-o", folder + "/trainer"});
  ASSERT_EQ(built.exit_code, 0) << built.errors;
  const ToolRun shipped =
      run_program(folder + "/trainer", {"--data", folder, "--save", folder + "/shipped"});
  EXPECT_EQ(shipped.exit_code, 0) << shipped.errors;
  EXPECT_TRUE(read_file(folder + "/shipped") == expected);
}

}  // namespace
}  // namespace fusegrad::test
