// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Texts of stages with one wrong token, as a person would write them by hand: whatever `opt` and
// `train --from` are given is refused with a message, or compiles down to loops; it never becomes a
// crash or an internal error. FUSEGRAD_MUTANT=N runs the mutant with that number alone and prints
// it, FUSEGRAD_MUTANTS=N that many.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "driver/compile.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/verify.h"
#include "tests/driver/tool.h"
#include "tests/support/repeats.h"

namespace fusegrad::driver {
namespace {

constexpr size_t mutants = test::repeats(6'000);
constexpr size_t parts = 4;

// ---------------------------------------------------------------- the mutants

struct StageText {
  std::string name;
  Stage stage = Stage::tensor_opt;
  std::string text;
  std::vector<std::pair<size_t, size_t>> tokens;  ///< begin and end, comments and first line aside
};

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '\'';
}

std::vector<std::pair<size_t, size_t>> tokens_of(const std::string& text) {
  std::vector<std::pair<size_t, size_t>> tokens;
  for (size_t at = text.find('\n'); at < text.size();) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (c == ' ' || c == '\n') {
      ++at;
      continue;
    }
    size_t end = at + 1;
    if (is_word_character(c)) {
      while (end < text.size() && is_word_character(text[end])) ++end;
      // A range `0..10` is three tokens.
      const size_t dots = text.find("..", at);
      if (dots < end) end = dots == at ? at + 2 : dots;
    }
    tokens.emplace_back(at, end);
    at = end;
  }
  return tokens;
}

/// The stages of a few models that have between them all kinds of statements.
const std::vector<StageText>& stage_texts() {
  static const std::vector<StageText> texts = [] {
    std::vector<StageText> result;
    for (const char* model :
         {"examples/fashion-softmax/model.fg", "tests/driver/programs/batch_norm.fg",
          "tests/driver/programs/dropout_mlp.fg", "tests/driver/programs/lenet.fg",
          "tests/frontend/programs/churn.fg"}) {
      CompileRequest request;
      request.model_path = test::repository_path(model);
      request.elaborate.needs_data = false;
      request.elaborate.train = {{"batch", "12"}};
      request.until = Stage::loops;
      Messages messages;
      const std::optional<Compilation> compilation = compile(request, messages);
      EXPECT_TRUE(compilation) << render(messages.diagnostics, messages.sources);
      if (!compilation) continue;
      for (const Stage stage : {Stage::tensor_opt, Stage::kernels, Stage::loops}) {
        // One program a text: mutants are read and compiled as a whole.
        for (const char* program : {"init", "train"}) {
          StageText text;
          text.name = fmt::format("{} {} of {}", name_of(stage).name, program, model);
          text.stage = stage;
          text.text = stage_text(*compilation, stage, program);
          // Texts of machine-sized loops take long and say the same again and again.
          if (text.text.size() > 60'000) continue;
          text.tokens = tokens_of(text.text);
          result.push_back(std::move(text));
        }
      }
    }
    return result;
  }();
  return texts;
}

struct Mutant {
  const StageText* of = nullptr;
  std::string text;
  std::string what;
};

Mutant make_mutant(size_t number) {
  std::mt19937 random(static_cast<uint32_t>(number));
  const StageText& of = stage_texts()[random() % stage_texts().size()];
  Mutant mutant{&of, of.text, ""};
  const auto is_number = [](std::string_view token) { return token[0] >= '0' && token[0] <= '9'; };
  // Half of the time a number: most of those mutants can be read, and other rules must catch them.
  const bool wants_number = random() % 2 == 0;
  size_t which = random() % of.tokens.size();
  for (int tried = 0; tried < 100; ++tried) {
    if (!wants_number || is_number(std::string_view(of.text).substr(of.tokens[which].first))) break;
    which = random() % of.tokens.size();
  }
  const auto [begin, end] = of.tokens[which];
  const std::string word = of.text.substr(begin, end - begin);
  switch (random() % 8) {
    case 0:
      mutant.text.replace(begin, word.size(), " ");
      mutant.what = fmt::format("without `{}`", word);
      break;
    case 1:
      mutant.text.insert(end, " " + word);
      mutant.what = fmt::format("twice `{}`", word);
      break;
    case 2: {
      static const std::vector<std::string> odd = {
          "0",    "1",   "2",    "3",      "-1",      "7",     "8",    "rows",
          "4096", "f64", "bool", "i32",    "u8",      "65537", "inf",  "9223372036854775807",
          "1e30", "0.0", "sum",  "argmax", "1048576", "true",  "step", "batch"};
      const std::string& other = odd[random() % odd.size()];
      mutant.text.replace(begin, word.size(), " " + other + " ");
      mutant.what = fmt::format("`{}` for `{}`", other, word);
      break;
    }
    default: {
      // Mostly a token of the same kind, so that it parses.
      std::string other;
      for (int tried = 0; tried < 100; ++tried) {
        const auto [from, to] = of.tokens[random() % of.tokens.size()];
        other = of.text.substr(from, to - from);
        const bool is_same_kind = is_word_character(other[0]) == is_word_character(word[0]) &&
                                  is_number(other) == is_number(word);
        if (is_same_kind && other != word) break;
      }
      mutant.text.replace(begin, word.size(), " " + other + " ");
      mutant.what = fmt::format("`{}` for `{}`", other, word);
    }
  }
  const size_t line =
      1 + static_cast<size_t>(
              std::count(of.text.begin(), of.text.begin() + static_cast<ptrdiff_t>(begin), '\n'));
  mutant.what += fmt::format(" in line {} of {}", line, of.name);
  return mutant;
}

// ---------------------------------------------------------------- what becomes of them

enum class Outcome : uint8_t { unparsed, refused, compiled };

Outcome finish(ir::LoopModule loops) {
  for (ir::LoopProgram& program : loops.programs) program = ir::expand_functions(program);
  for (const ir::LoopProgram& program : loops.programs) {
    ir::check_verified(program, "loops", true);
  }
  return Outcome::compiled;
}

Outcome finish(const ir::KernelModule& kernels) {
  ir::LoopModule loops;
  for (const ir::KernelProgram& program : kernels.programs) {
    loops.programs.push_back(ir::lower_to_loops(ir::plan_memory(program)));
  }
  return finish(std::move(loops));
}

Outcome finish(const ir::TensorModule& tensor) {
  ir::KernelModule kernels;
  for (const ir::TensorProgram& program : tensor.programs) {
    kernels.programs.push_back(ir::group(ir::simplify(program)));
  }
  kernels = ir::schedule(kernels);
  for (ir::KernelProgram& program : kernels.programs) program = ir::plan_memory(program);
  for (const ir::KernelProgram& program : kernels.programs) ir::check_verified(program, "memory");
  return finish(kernels);
}

template <typename Module>
Outcome verify_and_finish(const Module& module) {
  if (const std::vector<std::string> violations = ir::verify(module); !violations.empty()) {
    if (std::getenv("FUSEGRAD_MUTANT") != nullptr) {
      fmt::print("refused: {}\n", fmt::join(violations, "\n  "));
    }
    return Outcome::refused;
  }
  return finish(module);
}

Outcome run(const Mutant& mutant) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("stage.txt", mutant.text);
  std::optional<Outcome> outcome;
  if (mutant.of->stage == Stage::tensor_opt) {
    if (auto parsed = ir::parse_tensor_module(sources, file, diagnostics))
      outcome = verify_and_finish(parsed->module);
  } else if (mutant.of->stage == Stage::kernels) {
    if (auto parsed = ir::parse_kernel_module(sources, file, diagnostics))
      outcome = verify_and_finish(*parsed);
  } else if (auto parsed = ir::parse_loop_module(sources, file, diagnostics)) {
    outcome = verify_and_finish(*parsed);
  }
  if (std::getenv("FUSEGRAD_MUTANT") != nullptr) {
    fmt::print("{}\n{}\n{}", mutant.what, mutant.text, render(diagnostics, sources));
  }
  if (outcome) {
    EXPECT_FALSE(diagnostics.has_errors());
    return *outcome;
  }
  // A text that is not read says where and why.
  EXPECT_EQ(diagnostics.error_count(), 1U);
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    EXPECT_TRUE(diagnostic.primary.span.valid()) << diagnostic.message;
    EXPECT_NE(diagnostic.message, "");
  }
  return Outcome::unparsed;
}

/// What the process that runs the mutants tells the one that watches it.
struct Progress {
  size_t next = 0;
  size_t outcomes[3] = {};
};

class StageMutants : public ::testing::TestWithParam<size_t> {};

TEST_P(StageMutants, AreRefusedOrCompile) {
  if (const char* alone = std::getenv("FUSEGRAD_MUTANT")) {
    run(make_mutant(std::strtoul(alone, nullptr, 10)));
    return;
  }
  const char* wanted = std::getenv("FUSEGRAD_MUTANTS");
  const size_t count = (wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : mutants) / parts;
  const size_t first = GetParam() * count;
  ASSERT_FALSE(stage_texts().empty());
  auto* progress = static_cast<Progress*>(
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(progress, MAP_FAILED);
  *progress = {};
  // In a process of its own, so that an internal error is one failure among others.
  for (int crashes = 0; progress->next < count && crashes < 20;) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (; progress->next < count; ++progress->next) {
        alarm(60);  // one mutant may not take forever
        const Outcome outcome = run(make_mutant(first + progress->next));
        if (::testing::Test::HasFailure()) _exit(1);
        ++progress->outcomes[static_cast<size_t>(outcome)];
      }
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++crashes;
    const size_t number = first + progress->next++;
    ADD_FAILURE() << fmt::format("FUSEGRAD_MUTANT={}: {}: the process ended with {}", number,
                                 make_mutant(number).what,
                                 WIFEXITED(status) ? fmt::format("code {}", WEXITSTATUS(status))
                                                   : fmt::format("signal {}", WTERMSIG(status)));
  }
  fmt::print("{} mutants: {} are not read, {} are refused, {} compile\n", count,
             progress->outcomes[0], progress->outcomes[1], progress->outcomes[2]);
  EXPECT_GT(progress->outcomes[0] * 10, count);
  EXPECT_GT(progress->outcomes[1] * 20, count);
  EXPECT_GT(progress->outcomes[2] * 50, count);
  munmap(progress, sizeof(Progress));
}

INSTANTIATE_TEST_SUITE_P(Parts, StageMutants, ::testing::Range(size_t{0}, parts));

}  // namespace
}  // namespace fusegrad::driver
