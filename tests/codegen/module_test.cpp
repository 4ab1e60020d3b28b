// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Properties of the generated text, object and memory, whatever the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "codegen/cpu/emit_llvm.h"
#include "tests/codegen/loops.h"

namespace fusegrad::test {
namespace {

using ir::ExprRef;
using ir::LoopFunction;
using ir::LoopProgram;
using ir::make_load;
using ir::Op;
using ir::ScalarType;
using testing::HasSubstr;
using testing::Not;

/// Two functions with every kind of real arithmetic, a loop, a branch and constants.
LoopProgram sample_program() {
  LoopProgram program;
  program.name = "train";
  program.buffers = {buffer("dense.w", ScalarType::f32, 64), buffer("x", ScalarType::f32, 64),
                     buffer("y", ScalarType::f32, 64)};
  ExprRef w = make_load("dense.w", ScalarType::f32, index("i"), 8);
  ExprRef x = make_load("x", ScalarType::f32, index("i"), 8);
  ExprRef root = ir::make_unary(Op::sqrt, ir::make_binary(Op::divide, w, x * x + real(3.25, 8)));
  ExprRef best = ir::make_binary(Op::maximum, root, ir::make_binary(Op::minimum, w, x));
  ExprRef rounded = ir::make_unary(Op::floor, ir::make_unary(Op::abs, best) - real(0.1, 8));
  LoopFunction first;
  first.name = "k.logits-1";
  first.parameters = {parameter(program, "dense.w", false), parameter(program, "x", false),
                      parameter(program, "y", true)};
  first.body = {loop("i", number(0), number(64), 8,
                     {let("r", rounded),
                      store("y", index("i"), ir::make_fma(w, x, value("r", ScalarType::f32, 8)))})};
  LoopFunction second;
  second.name = "k.logits/1";
  second.parameters = {parameter(program, "x", false), parameter(program, "dense.w", true)};
  second.body = {var("sum", real(0, 8)),
                 loop("i", number(0), ir::make_uniform("rows"), 8,
                      {assign("sum", value("sum", ScalarType::f32, 8) + x)}),
                 branch(ir::make_binary(Op::less, ir::make_uniform("step"), number(3)),
                        {store("dense.w", number(0),
                               ir::make_unary(Op::negate, ir::make_vector_sum(value(
                                                              "sum", ScalarType::f32, 8))))})};
  program.functions = {first, second};
  return program;
}

runtime::JitOptions with_text() {
  runtime::JitOptions options;
  options.keep_text = true;
  return options;
}

TEST(Module, NoFastMathFlagAndNoContractionAnywhere) {
  auto compiled = runtime::compile(sample_program(), with_text());
  ASSERT_TRUE(compiled);
  for (const std::string& text : {compiled->llvm_text(), compiled->optimized_llvm_text()}) {
    EXPECT_THAT(text, HasSubstr("fdiv"));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      for (std::string word; words >> word;) {
        for (const char* flag :
             {"nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc", "fast"}) {
          EXPECT_NE(word, flag) << line;
        }
        EXPECT_THAT(word, Not(HasSubstr("unsafe-fp-math"))) << line;
        EXPECT_THAT(word, Not(HasSubstr("fmuladd"))) << line;
      }
    }
  }
}

TEST(Module, EqualProgramsGiveEqualTextAndCode) {
  auto first = runtime::compile(sample_program(), with_text());
  auto second = runtime::compile(sample_program(), with_text());
  auto without_text = runtime::compile(sample_program());
  ASSERT_TRUE(first && second && without_text);
  EXPECT_EQ(first->llvm_text(), second->llvm_text());
  EXPECT_EQ(first->optimized_llvm_text(), second->optimized_llvm_text());
  EXPECT_EQ(first->assembly(), second->assembly());
  EXPECT_EQ(first->object(), second->object());
  EXPECT_EQ(first->object(), without_text->object()) << "asking for text changed the code";
  EXPECT_EQ(without_text->llvm_text(), "");
}

TEST(Module, SymbolsArePlainAndDiffer) {
  std::vector<std::string> symbols = codegen::symbol_names(sample_program());
  EXPECT_THAT(symbols, testing::ElementsAre("k_logits_1_0", "k_logits_1_1"));
}

TEST(Module, AssemblyShowsFunctionsLabelsAndConstants) {
  runtime::JitOptions options;
  auto compiled = runtime::compile(sample_program(), options);
  ASSERT_TRUE(compiled);
  std::string text = compiled->assembly();
  EXPECT_THAT(text, HasSubstr("k_logits_1_0:\n"));
  EXPECT_THAT(text, HasSubstr("k_logits_1_1:\n"));
  EXPECT_THAT(text, HasSubstr(".L0:\n"));
  EXPECT_THAT(text, HasSubstr("0x40500000")) << "the bits of 3.25";
  EXPECT_THAT(text, HasSubstr("sqrtps"));
  // Every jump goes to a label of the text.
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("\tj", 0) != 0) continue;
    EXPECT_THAT(line, HasSubstr("\t.L"));
  }
}

TEST(Module, FusedMultiplyAddIsOneInstructionOrAnExactCall) {
  auto here = runtime::compile(sample_program());
  runtime::JitOptions old;
  old.target = codegen::baseline_target();
  auto there = runtime::compile(sample_program(), old);
  ASSERT_TRUE(here && there);
  EXPECT_THAT(there->assembly(), HasSubstr("# fmaf"));
  EXPECT_THAT(there->assembly(), Not(HasSubstr("ymm")));
  if (codegen::host_target().features.find("+fma,") != std::string::npos) {
    EXPECT_THAT(here->assembly(), HasSubstr("vfmadd"));
    EXPECT_THAT(here->assembly(), Not(HasSubstr("fmaf")));
  }
}

TEST(Module, EveryFeatureIsNamedOnOrOff) {
  std::string features = codegen::host_target().features;
  for (const char* name : {"avx512f", "avx2", "fma", "sse4.1"}) {
    bool on = features.find(std::string("+") + name + ",") != std::string::npos;
    bool off = features.find(std::string("-") + name + ",") != std::string::npos;
    EXPECT_NE(on, off) << name << " in " << features;
  }
}

TEST(Module, NoMemoryIsWritableAndExecutable) {
  auto compiled = runtime::compile(sample_program());
  ASSERT_TRUE(compiled);
  const auto address = reinterpret_cast<uintptr_t>(compiled->function("k.logits-1"));
  bool found = false;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    std::string rights;
    words >> std::hex >> begin >> dash >> end >> rights;
    EXPECT_FALSE(rights.find('w') != std::string::npos && rights.find('x') != std::string::npos)
        << line;
    if (begin <= address && address < end) {
      found = true;
      EXPECT_EQ(rights.substr(0, 3), "r-x") << line;
    }
  }
  EXPECT_TRUE(found);
}

/// Asks the kernel to refuse memory that becomes executable after it was writable, compiles, and
/// says how that went.
[[noreturn]] void compile_where_nothing_becomes_executable() {
  constexpr int set_memory_deny_write_execute = 65;  // PR_SET_MDWE of Linux 6.3
  constexpr unsigned long refuse_gain = 1;
  if (prctl(set_memory_deny_write_execute, refuse_gain, 0UL, 0UL, 0UL) != 0) std::_Exit(77);
  auto compiled = runtime::compile(sample_program());
  if (compiled) std::_Exit(1);
  std::fputs(compiled.error().message.c_str(), stderr);
  std::_Exit(2);
}

TEST(ModuleDeath, RefusedExecutableMemoryIsAnError) {
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) compile_where_nothing_becomes_executable();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel cannot refuse it";
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

TEST(Module, UnknownFunctionIsNull) {
  auto compiled = runtime::compile(sample_program());
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->function("nothing"), nullptr);
}

TEST(Module, AProgramWithoutFunctionsCompiles) {
  LoopProgram program;
  program.name = "init";
  auto compiled = runtime::compile(program, with_text());
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->assembly(), "");
}

TEST(Module, ThreadsCompileAtTheSameTime) {
  auto expected = runtime::compile(sample_program());
  ASSERT_TRUE(expected);
  std::vector<std::thread> threads;
  std::vector<int> equal(3, 0);
  for (size_t i = 0; i < equal.size(); ++i) {
    threads.emplace_back([&, i] {
      auto compiled = runtime::compile(sample_program());
      equal[i] = compiled && compiled->object() == expected->object() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, testing::Each(1));
}

TEST(Module, TimesOfAllStagesAreMeasured) {
  auto compiled = runtime::compile(sample_program());
  ASSERT_TRUE(compiled);
  const runtime::CompileSeconds& seconds = compiled->seconds();
  for (double stage : {seconds.emit, seconds.optimize, seconds.codegen, seconds.link}) {
    EXPECT_GT(stage, 0.0);
  }
}

}  // namespace
}  // namespace fusegrad::test
