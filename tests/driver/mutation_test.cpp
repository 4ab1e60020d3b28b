// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Models that nobody would write, but that the front end accepts: every stage down to loops takes
// them, and every verifier is content. FUSEGRAD_MUTANT=N runs the mutant with that number alone,
// FUSEGRAD_MUTANTS=N that many, for a longer search.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "driver/compile.h"
#include "ir/support/check.h"
#include "tests/driver/tool.h"
#include "tests/support/mutants.h"
#include "tests/support/repeats.h"

namespace fusegrad::driver {
namespace {

constexpr size_t mutants = test::repeats(1'000);
constexpr size_t parts = 4;

/// Compiles down to loops; what the front end accepts must not fail after that in a way of its own.
void compile_text(const std::string& text, const std::string& what, const std::string& path) {
  SCOPED_TRACE(what);
  test::write_file(path, text);
  CompileRequest request;
  request.model_path = path;
  request.elaborate.needs_train_block = false;
  request.elaborate.needs_data = false;
  request.elaborate.needs_epochs = false;
  request.elaborate.needs_optimizer = false;
  request.verify_each = true;
  request.until = Stage::loops;
  Messages messages;
  const BugContext on_bug([&] { return what; });
  const std::optional<Compilation> compilation = compile(request, messages);
  // A derivative that does not exist is the only mistake that is found so late.
  for (const Diagnostic& diagnostic : messages.diagnostics.all()) {
    const bool is_expected = diagnostic.severity == Severity::warning || diagnostic.code == "E0503";
    EXPECT_TRUE(is_expected) << render(diagnostic, messages.sources);
  }
  EXPECT_EQ(messages.failure, "");
  EXPECT_EQ(compilation.has_value(), !messages.diagnostics.has_errors());
}

/// Whether the front end accepted the mutant.
bool compile_mutant(size_t number, const std::string& path) {
  test::set_current_mutant(number);
  const test::Mutant mutant = test::make_mutant(number);
  if (!test::run_front_end(mutant.text).job) return false;
  compile_text(mutant.text, fmt::format("FUSEGRAD_MUTANT={}: {}", number, mutant.what), path);
  return true;
}

TEST(ModelFiles, AllCompile) {
  const std::string path = test::make_folder("all") + "/m.fg";
  for (const test::ModelFile& file : test::model_files()) {
    compile_text(file.text, file.name, path);
  }
}

class Mutants : public ::testing::TestWithParam<size_t> {};

TEST_P(Mutants, ThatAreAcceptedCompile) {
  test::tell_mutant_on_crash();
  const std::string path = test::make_folder("part" + std::to_string(GetParam())) + "/m.fg";
  if (const char* alone = std::getenv("FUSEGRAD_MUTANT")) {
    compile_mutant(std::strtoul(alone, nullptr, 10), path);
    return;
  }
  const char* wanted = std::getenv("FUSEGRAD_MUTANTS");
  const size_t count = (wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : mutants) / parts;
  size_t accepted = 0;
  for (size_t i = 0; i < count; ++i) {
    accepted += compile_mutant(GetParam() * count + i, path) ? 1 : 0;
  }
  fmt::print("{} of {} mutants compile\n", accepted, count);
  EXPECT_GT(accepted * 10, count);
}

INSTANTIATE_TEST_SUITE_P(Parts, Mutants, ::testing::Range(size_t{0}, parts));

}  // namespace
}  // namespace fusegrad::driver
