// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L as text: round trips of everything there is, located mistakes, hostile texts.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/kernel/buffer_text.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"

namespace fusegrad::ir {
namespace {

using ::testing::HasSubstr;

/// Everything that L has.
constexpr const char* everything = R"(stage loops

program train batch 128 {
  input image: u8[rows, 28, 28]
  input label: u8[rows] in 0..10
  param dense.w: f32[784, 10] packed 1 by 8
  state dense.w.v: f32[784, 10]
  buffer g: f32[rows, 10] at 0
  buffer h: f32[rows*3] at 5120
  result objective: f32[]
  arena 6656
  func k0(row_list: ptr<i32>[128], image: ptr<u8>, label: ptr<u8>, dense.w: ptr<f32>[12544], mutable g: ptr<f32>[1280]) tasks(rows tile 8, 10 tile 1) {
    stack l: f32[80]
    for t = begin to end step 1 {
      let b0 = t // 10 * 8
      let row = i64(load row_list[b0])
      let c = load row_list[b0] < 7:i32 and not b0 == 3
      var acc = splat8(0.0)
      for i = 0 to 784 step 4 {
        let x = splat8(f32(load image[row * 784 + i]) * 0.003921568859368563)
        acc = fma(x, load8 dense.w[i * 8], acc)
        acc = acc + load8 dense.w[splat8(i) * 10:i64x8 + iota8()]
      }
      store l[0] = acc
      store l[iota8() * splat8(2)] = exp(acc)
      if c {
        store g[b0 * 10] = vector_sum(acc) + lane(acc, 3)
      } else {
        if rows < 8 {
          store g[0] = if c then 1.0 else -2.5e-07
        }
      }
    }
  }
  func k1(mutable objective: ptr<f32>[1]) tasks() {
    store objective[0] = rand.3(0) + bits.f32(bit_xor(7:i32, shift_left(bits.i32(normal.2(step)), 3:i32)))
  }
  func empty() tasks(rows*3 tile 16) {
  }
  launch { k0 }
  launch { k1 empty }
  result loss = objective
  result metric accuracy = objective
}

program eval batch 128 precision f64 {
  arena 0
  func f() tasks() {
    let x = 1.5
    let y = 1.5:f32
  }
}
)";

struct Parsed {
  std::optional<LoopModule> module;
  std::string messages;
  size_t errors = 0;
};

Parsed parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("test.loops", text);
  Parsed result;
  result.module = parse_loop_module(sources, file, diagnostics);
  result.messages = render(diagnostics, sources);
  result.errors = diagnostics.error_count();
  return result;
}

TEST(LoopText, PrintsWhatItReads) {
  Parsed parsed = parse(everything);
  ASSERT_TRUE(parsed.module) << parsed.messages;
  EXPECT_EQ(print(*parsed.module), everything);
}

/// All expressions and all other fields, for comparing modules by structure.
bool same_block(const LoopBlock& a, const LoopBlock& b);

bool same_statement(const LoopLet& a, const LoopLet& b) {
  return a.name == b.name && same(a.value, b.value);
}
bool same_statement(const LoopVar& a, const LoopVar& b) {
  return a.name == b.name && same(a.value, b.value);
}
bool same_statement(const LoopAssign& a, const LoopAssign& b) {
  return a.name == b.name && same(a.value, b.value);
}
bool same_statement(const LoopStack& a, const LoopStack& b) {
  return a.name == b.name && a.type == b.type && a.elements == b.elements;
}
bool same_statement(const LoopStore& a, const LoopStore& b) {
  return a.buffer == b.buffer && same(a.address, b.address) && same(a.value, b.value);
}
bool same_statement(const LoopFor& a, const LoopFor& b) {
  return a.name == b.name && a.step == b.step && same(a.begin, b.begin) && same(a.end, b.end) &&
         same_block(a.body, b.body);
}
bool same_statement(const LoopIf& a, const LoopIf& b) {
  return same(a.condition, b.condition) && same_block(a.then_block, b.then_block) &&
         same_block(a.else_block, b.else_block);
}

bool same_block(const LoopBlock& a, const LoopBlock& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].node.index() != b[i].node.index()) return false;
    const bool equal = std::visit(
        [&](const auto& node) {
          return same_statement(node, std::get<std::decay_t<decltype(node)>>(b[i].node));
        },
        a[i].node);
    if (!equal) return false;
  }
  return true;
}

TEST(LoopText, ReadsWhatItPrints) {
  Parsed first = parse(everything);
  ASSERT_TRUE(first.module) << first.messages;
  Parsed second = parse(print(*first.module));
  ASSERT_TRUE(second.module) << second.messages;
  ASSERT_EQ(second.module->programs.size(), 2u);
  for (size_t p = 0; p < 2; ++p) {
    const LoopProgram& a = first.module->programs[p];
    const LoopProgram& b = second.module->programs[p];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.batch, b.batch);
    EXPECT_EQ(a.real, b.real);
    EXPECT_EQ(a.arena_bytes, b.arena_bytes);
    ASSERT_EQ(a.buffers.size(), b.buffers.size());
    for (size_t i = 0; i < a.buffers.size(); ++i) {
      EXPECT_EQ(print_buffer(a.buffers[i]), print_buffer(b.buffers[i]));
      EXPECT_EQ(a.buffers[i].shape, b.buffers[i].shape);
      EXPECT_EQ(a.buffers[i].range, b.buffers[i].range);
    }
    ASSERT_EQ(a.functions.size(), b.functions.size());
    for (size_t i = 0; i < a.functions.size(); ++i) {
      EXPECT_EQ(a.functions[i].name, b.functions[i].name);
      ASSERT_EQ(a.functions[i].parameters.size(), b.functions[i].parameters.size());
      for (size_t k = 0; k < a.functions[i].parameters.size(); ++k) {
        const LoopParameter& x = a.functions[i].parameters[k];
        const LoopParameter& y = b.functions[i].parameters[k];
        EXPECT_TRUE(x.name == y.name && x.type == y.type && x.elements == y.elements &&
                    x.written == y.written);
      }
      ASSERT_EQ(a.functions[i].tasks.size(), b.functions[i].tasks.size());
      for (size_t k = 0; k < a.functions[i].tasks.size(); ++k) {
        EXPECT_EQ(a.functions[i].tasks[k].extent, b.functions[i].tasks[k].extent);
        EXPECT_EQ(a.functions[i].tasks[k].tile, b.functions[i].tasks[k].tile);
      }
      EXPECT_TRUE(same_block(a.functions[i].body, b.functions[i].body));
    }
    ASSERT_EQ(a.launches.size(), b.launches.size());
    for (size_t i = 0; i < a.launches.size(); ++i) {
      EXPECT_EQ(a.launches[i].functions, b.launches[i].functions);
    }
    ASSERT_EQ(a.results.size(), b.results.size());
  }
}

TEST(LoopText, StatementHeads) {
  Parsed parsed = parse(everything);
  ASSERT_TRUE(parsed.module) << parsed.messages;
  const LoopBlock& body = parsed.module->programs[0].functions[0].body;
  EXPECT_EQ(print_statement_head(body[0]), "stack l: f32[80]");
  EXPECT_EQ(print_statement_head(body[1]), "for t = begin to end step 1");
}

TEST(LoopText, WordsOfStatementsMayNameVariables) {
  const std::string text = R"(stage loops

program eval batch 1 {
  arena 0
  func f() tasks() {
    var let = 1
    let = 2
    var store = let
    store = store + let
    for for = 0 to 3 step 1 {
      let step = for
    }
    let stack = 2
    let var = stack
  }
}
)";
  Parsed parsed = parse(text);
  ASSERT_TRUE(parsed.module) << parsed.messages;
  EXPECT_EQ(print(*parsed.module), text);
}

// ---- Mistakes.

struct Mistake {
  const char* body;     ///< of a function with x: ptr<f32>[8], mutable y: ptr<f32>[8]
  const char* message;  ///< part of the message
};

std::string in_function(const std::string& body) {
  return "stage loops\nprogram eval batch 4 {\n  buffer x: f32[8]\n  buffer y: f32[8]\n"
         "  func f(x: ptr<f32>[8], mutable y: ptr<f32>[8]) tasks() {\n" +
         body + "\n  }\n}\n";
}

TEST(LoopText, MistakesInStatements) {
  const Mistake mistakes[] = {
      {"let a = b", "there is no `b` here"},
      {"let a = load z[0]", "there is no memory `z` here"},
      {"let a = x", "`x` is memory; write `load x[...]`"},
      {"store z[0] = 1.0", "there is no memory `z` here"},
      {"store y[0.5] = 1.0", "an address is f32, not i64"},
      {"store y[0] = 1", "`y` has elements of f32; stored is i64"},
      {"store y[iota4()] = splat8(1.0)", "stored is f32x8 with an address of i64x4"},
      {"a = 1", "there is no variable `a` here"},
      {"var a = 1\na = 1.0", "`a` is i64, the value is f32"},
      {"for i = 0 to 8 step 0 { }", "the step of a loop is at least 1"},
      {"for i = 0.0 to 8 step 1 { }", "the begin of a loop is f32, not i64"},
      {"for i = 0 to iota8() step 1 { }", "the end of a loop is i64x8, not i64"},
      {"for i = 0 to 8 step 1 { }\nlet a = i", "there is no `i` here"},
      {"if 1 { }", "the condition of `if` is i64, not bool"},
      {"stack s: f32[0]", "a stack array has at least one element"},
      {"stack x: f32[4]", "`x` is defined twice"},
      {"let a = load3 x[iota2()]", "a load of 3 lanes with 2 addresses"},
      {"5", "expected let, var, stack, store, for, if, an assignment or `}`"},
      {"let a = 1 +", "expected an expression"},
  };
  for (const Mistake& mistake : mistakes) {
    Parsed parsed = parse(in_function(mistake.body));
    EXPECT_FALSE(parsed.module) << mistake.body;
    EXPECT_EQ(parsed.errors, 1u);
    EXPECT_THAT(parsed.messages, HasSubstr(mistake.message)) << mistake.body;
    // The place is in the body, not at the end of the text.
    EXPECT_THAT(parsed.messages, HasSubstr("test.loops:")) << mistake.body;
  }
}

TEST(LoopText, MistakesAreLocated) {
  Parsed parsed = parse(in_function("    let a = 1\n    let b = a + nothing"));
  EXPECT_EQ(parsed.messages,
            "error[E0901]: there is no `nothing` here\n"
            " --> test.loops:7:17\n"
            "  |\n"
            "7 |     let b = a + nothing\n"
            "  |                 ^^^^^^^\n");
}

TEST(LoopText, MistakesInPrograms) {
  const Mistake mistakes[] = {
      {"buffer a: f32[4] at 32", "a multiple of 64"},
      {"param a: f32[4] at 64", "only a temporary has a position"},
      {"param a: f32[4] in 0..3", "only an input of integers has a range"},
      {"param a: f32[4] packed 1 by 8", "`a` has no dimension 1 to pack by 8"},
      {"param a: f32[4] packed 0 by 0", "`a` has no dimension 0 to pack by 0"},
      {"param a: f64[2000000000, 2000000000]", "does not fit 63 bits"},
      {"param a: f32[4]\nparam a: f32[4]", "there are two buffers `a`"},
      {"func f() tasks() { }\nfunc f() tasks() { }", "there are two functions `f`"},
      {"launch { f }", "there is no function `f`"},
      {"arena -64", "a size is not negative"},
      {"func f(x: ptr<f32>[-1]) tasks() { }", "a size is not negative"},
      {"func f(x: ptr<f32>, x: ptr<f32>) tasks() { }", "`x` is defined twice"},
      {"func f() tasks(rows tile 0) { }", "a tile is at least 1"},
      {"func f() tasks(rows) { }", "expected `tile`"},
      {"result loss", "expected `=`"},
      {"kernel k", "expected a buffer, arena, func, launch, result or `}`"},
  };
  for (const Mistake& mistake : mistakes) {
    Parsed parsed =
        parse(fmt::format("stage loops\nprogram eval batch 4 {{\n{}\n}}\n", mistake.body));
    EXPECT_FALSE(parsed.module) << mistake.body;
    EXPECT_THAT(parsed.messages, HasSubstr(mistake.message)) << mistake.body;
  }
  EXPECT_THAT(parse("stage kernels\n").messages, HasSubstr("expected loops, found `kernels`"));
  EXPECT_THAT(parse("stage loops\nprogram a batch 1 { }\nprogram a batch 1 { }\n").messages,
              HasSubstr("there are two programs `a`"));
}

TEST(LoopText, DeepNestingIsAnError) {
  std::string body;
  for (int i = 0; i < 100000; ++i) body += fmt::format("for i{} = 0 to 1 step 1 {{ ", i);
  EXPECT_THAT(parse(in_function(body)).messages,
              HasSubstr("blocks are nested more than 200 levels deep"));
  EXPECT_THAT(parse(in_function("let a = " + std::string(100000, '('))).messages,
              HasSubstr("error[E0901]"));
}

/// Any text gives a module or one error.
TEST(LoopText, DamagedTexts) {
  const std::string text = everything;
  for (size_t cut = 0; cut < text.size(); cut += 7) {
    Parsed parsed = parse(text.substr(0, cut));
    EXPECT_EQ(parsed.errors, parsed.module ? 0u : 1u) << cut;
  }
  uint64_t state = 1;
  auto next = [&state](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = text;
    for (int i = 0; i < 3; ++i) {
      const size_t at = next(damaged.size());
      switch (next(3)) {
        case 0:
          damaged[at] = static_cast<char>(next(256));
          break;
        case 1:
          damaged.erase(at, next(20));
          break;
        case 2:
          damaged.insert(at, damaged.substr(next(damaged.size()), next(40)));
          break;
      }
    }
    Parsed parsed = parse(damaged);
    EXPECT_EQ(parsed.errors, parsed.module ? 0u : 1u) << damaged;
    if (!parsed.module) continue;
    // What was read prints and reads back.
    const std::string printed = print(*parsed.module);
    Parsed again = parse(printed);
    ASSERT_TRUE(again.module) << again.messages;
    EXPECT_EQ(print(*again.module), printed);
  }
}

}  // namespace
}  // namespace fusegrad::ir
