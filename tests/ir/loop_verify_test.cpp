// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every rule of L's verifier: a program that breaks it and the words it is told with.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ir/loop/parse.h"
#include "ir/loop/verify.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoopProgram parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("test.loops", text);
  std::optional<LoopModule> module = parse_loop_module(sources, file, diagnostics);
  FG_CHECK(module.has_value(), "{}", render(diagnostics, sources));
  return module->programs.at(0);
}

/// A program with inputs, parameters, temporaries and the body of a function over them.
LoopProgram program_of(const std::string& body, const std::string& tasks = "rows tile 8") {
  return parse(fmt::format(R"(stage loops
program train batch 20 {{
  input image: u8[rows, 784]
  input label: u8[rows] in 0..10
  param w: f32[784, 10]
  buffer g: f32[rows, 10] at 0
  buffer n: i64[16] at 832
  arena 960
  func f(row_list: ptr<i32>[20], image: ptr<u8>, label: ptr<u8>, w: ptr<f32>[7840], mutable g: ptr<f32>[200], mutable n: ptr<i64>[16]) tasks({}) {{
{}
  }}
  launch {{ f }}
  result loss = g
}}
)",
                           tasks, body));
}

std::vector<std::string> violations(const std::string& body) { return verify(program_of(body)); }

LoopBlock& body_of(LoopProgram& program) { return program.functions[0].body; }

constexpr const char* tiles = R"(
    stack l: f32[80]
    for t = begin to end step 1 {
      let b0 = t * 8
      for b = b0 to min(b0 + 8, rows) step 1 {
        let row = i64(load row_list[b])
        for o = 0 to 10 step 1 {
          var acc = 0.0
          for i = 0 to 784 step 1 {
            acc = fma(f32(load image[row * 784 + i // 28 * 28 + i % 28]), load w[i * 10 + o], acc)
          }
          store l[(b - b0) * 10 + o] = acc
        }
        store g[b * 10 + i64(load label[row])] = load l[(b - b0) * 10 + i64(load label[row])]
      }
    })";

TEST(LoopVerify, AcceptsTiledLoops) {
  AddressCount count;
  EXPECT_THAT(verify(program_of(tiles), true, &count), IsEmpty());
  // The input's three loads come from the row list; everything else is proved, the label's use as
  // an address included.
  EXPECT_EQ(count.from_data, 3);
  EXPECT_EQ(count.proven, 5);
}

TEST(LoopVerify, AcceptsVectors) {
  EXPECT_THAT(violations(R"(
    for i = 0 to 7840 step 32 {
      let v = load32 w[i]
      let at = splat32(i) + iota32()
      let u = load32 w[at]
      let last = load w[lane(at, 31)]
      let strided = load4 w[iota4() * splat4(10) + splat4(i // 32)]
    })"),
              IsEmpty());
}

TEST(LoopVerify, AcceptsWhatGuardsProve) {
  EXPECT_THAT(violations(R"(
    for t = begin to end step 1 {
      if t * 8 + 8 <= rows {
        for o = 0 to 10 step 1 {
          store g[(t * 8 + 7) * 10 + o] = 0.0
        }
      } else {
        for b = t * 8 to rows step 1 {
          store g[b * 10 + 9] = 0.0
        }
      }
    }
    for i = 0 to 100 step 1 {
      let inside = i < 16 and not i < 3
      store n[if inside then i - 3 else 0] = 1
      store n[max(min(i - 5, 15), 0)] = 1
    })"),
              IsEmpty());
}

TEST(LoopVerify, AcceptsWhatIsNeverReached) {
  EXPECT_THAT(violations("for i = 5 to 5 step 1 {\nstore n[99] = 1\n}\n"
                         "if rows > 20 {\nstore n[99] = 1\n}"),
              IsEmpty());
}

// ---- Addresses.

TEST(LoopVerify, AddressesOutside) {
  EXPECT_THAT(violations("store n[16] = 1"),
              ElementsAre("function `f`, statement `store n[16] = 1`: `n` has 16 elements; the "
                          "address is outside of them: 1 element from 16..16"));
  EXPECT_THAT(violations("let a = load n[-1]"), ElementsAre(HasSubstr("outside of them")));
}

TEST(LoopVerify, AddressesPartlyOutside) {
  const char* bodies[] = {
      "for i = 0 to 17 step 1 {\nstore n[i] = 1\n}",
      "for i = 0 to 16 step 1 {\nstore n[i + 1] = 1\n}",
      "for i = 0 to 16 step 1 {\nstore n[i - 1] = 1\n}",
      // The last round of 8 starts at 8; of 7 at 14.
      "for i = 0 to 16 step 7 {\nstore n[i] = splat4(1)\n}",
      "for i = 0 to 10 step 8 {\nstore n[i + 1] = splat8(1)\n}",
      "store n[iota8() * splat8(3)] = splat8(1)",
      "for b = 0 to rows step 1 {\nstore n[b] = 1\n}",
      "for t = begin to end step 1 {\nstore g[t * 80 + 79] = 0.0\n}",
      "for i = 0 to 100 step 1 {\nif i < 17 {\nstore n[i] = 1\n}\n}",
      "store n[step] = 1",
  };
  for (const char* body : bodies) {
    EXPECT_THAT(violations(body), ElementsAre(HasSubstr("not proved within them"))) << body;
  }
  EXPECT_THAT(violations("for i = 0 to 10 step 8 {\nstore n[i] = splat8(1)\n}"), IsEmpty());
}

TEST(LoopVerify, BranchesOfAnAddress) {
  EXPECT_THAT(violations("store n[(if rows < 5 then 16 else 17)] = 1"),
              ElementsAre(HasSubstr("outside of them")));
  EXPECT_THAT(violations("for i = 0 to 20 step 1 {\nstore n[(if i < 16 then i else 0)] = 1\n}"),
              IsEmpty());
  // (task % 4 >= 1) implies task >= 1.
  EXPECT_THAT(violations("for t = begin to end step 1 {\n"
                         "store g[(if t % 4 >= 1 then t // 4 * 4 + t % 4 - 1 else 0)] = 0.0\n}"),
              IsEmpty());
  AddressCount count;
  EXPECT_THAT(verify(program_of("for i = 0 to 20 step 1 {\n"
                                "store n[(if i < 16 then i else 0)] = 1\n"
                                "store n[(if i < 18 then i else 0)] = 1\n}"),
                     false, &count),
              IsEmpty());
  EXPECT_EQ(count.clamped, 1);
}

TEST(LoopVerify, WhatIsLoadedNeedsNoProof) {
  AddressCount count;
  EXPECT_THAT(verify(program_of("let a = load n[0]\nstore n[a] = 1\nvar v = 3\nv = v * 2\n"
                                "store n[v] = 1\nstore n[i64(load w[0])] = 1"),
                     false, &count),
              IsEmpty());
  EXPECT_EQ(count.from_data, 3);
  // But it must be possible.
  EXPECT_THAT(violations("store n[i64(load label[i64(load row_list[0])]) + 16] = 1"),
              ElementsAre(HasSubstr("outside of them")));
}

TEST(LoopVerify, WhatChangesProvesNothing) {
  // The same load twice, a variable before and after its assignment, lanes of a loaded vector.
  AddressCount count;
  EXPECT_THAT(verify(program_of(R"(
    let a = load n[0]
    store n[0] = 5
    store n[load n[0] - a] = 1
    var v = 1
    let w1 = v
    v = v + 100
    store n[v - w1] = 1
    if v < 8 and 0 <= v {
      v = v + 100
      store n[v] = 1
    }
    let many = load4 n[0]
    store n[lane(many, 0) - lane(many, 1)] = 1
    store n[lane(load4 n[0], 0) - lane(load4 n[0], 1)] = 1)"),
                     false, &count),
              IsEmpty());
  EXPECT_EQ(count.from_data, 5);
}

TEST(LoopVerify, NarrowIntegersWrap) {
  // 255 + 1 is 0 in u8, and 200 * 100 has low bits above 15.
  EXPECT_THAT(violations("store n[i64(200:u8 + 100:u8) - 299] = 1"),
              ElementsAre(HasSubstr("not proved within them")));
}

TEST(LoopVerify, InputsAreReadThroughTheRowList) {
  EXPECT_THAT(
      violations("let a = load image[5]"),
      ElementsAre(HasSubstr("an address of the input `image` must come from the row list")));
}

// ---- Names and types: what the parser refuses already, and so is built here.

TEST(LoopVerify, UndefinedNames) {
  LoopProgram program = program_of("");
  const ExprRef missing = make_variable("missing", {ScalarType::i64});
  body_of(program) = {{LoopLet{"a", missing}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no variable `missing`")));
  body_of(program) = {{LoopAssign{"missing", make_integer(1)}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no variable `missing`")));
  body_of(program) = {{LoopLet{"a", make_load("nowhere", ScalarType::f32, make_integer(0))}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no memory `nowhere`")));
  body_of(program) = {{LoopStore{"nowhere", make_integer(0), make_integer(0)}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no memory `nowhere`")));
  body_of(program) = {{LoopLet{"a", make_uniform("batch")}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no uniform `batch`")));
  body_of(program) = {{LoopLet{"a", make_index("i")}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("`i` does not exist on L")));
}

TEST(LoopVerify, NamesEndWithTheirBlock) {
  LoopProgram program = program_of("for i = 0 to 4 step 1 {\nlet a = i\n}");
  body_of(program).push_back({LoopLet{"b", make_variable("a", {ScalarType::i64})}});
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no variable `a`")));
  program = program_of("if rows < 3 {\nstack s: f32[4]\n}");
  body_of(program).push_back({LoopStore{"s", make_integer(0), make_real(0, ScalarType::f32)}});
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is no memory `s`")));
}

TEST(LoopVerify, NamesHideNothing) {
  EXPECT_THAT(violations("let a = 1\nlet a = 2"),
              ElementsAre(HasSubstr("`a` hides a variable of that name")));
  EXPECT_THAT(violations("let a = 1\nfor a = 0 to 3 step 1 {\n}"),
              ElementsAre(HasSubstr("`a` hides a variable of that name")));
  EXPECT_THAT(violations("let begin = 1"),
              ElementsAre(HasSubstr("`begin` hides a variable of that name")));
  EXPECT_THAT(violations("for a = 0 to 3 step 1 {\n}\nfor a = 0 to 3 step 1 {\n}"), IsEmpty());
  EXPECT_THAT(violations("for a = 0 to 3 step 1 {\nlet g = a\n}"), IsEmpty());  // memory is apart
  LoopProgram program = program_of("let rows = 1");
  body_of(program).push_back({LoopLet{"a", make_uniform("rows")}});
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a variable hides the uniform `rows`")));
}

TEST(LoopVerify, NamesOfVariables) {
  for (const char* name : {"load", "load8", "if", "2x", "a b", ""}) {
    LoopProgram program = program_of("");
    body_of(program) = {{LoopLet{name, make_integer(1)}}};
    EXPECT_THAT(verify(program), ElementsAre(HasSubstr("cannot be the name of a variable")))
        << name;
  }
}

TEST(LoopVerify, OnlyVarsAreAssigned) {
  EXPECT_THAT(violations("let a = 1\na = 2"), ElementsAre(HasSubstr("`a` is no var")));
  EXPECT_THAT(violations("for i = 0 to 3 step 1 {\ni = 2\n}"),
              ElementsAre(HasSubstr("`i` is no var")));
  LoopProgram program = program_of("var a = 1");
  body_of(program).push_back({LoopAssign{"a", make_real(1, ScalarType::f32)}});
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("`a` is i64, the value is f32")));
}

TEST(LoopVerify, Types) {
  LoopProgram program = program_of("let a = 1");
  const auto after = [&program](LoopStatement statement) {
    LoopProgram copy = program;
    body_of(copy).push_back(std::move(statement));
    return verify(copy);
  };
  const ExprRef one = make_integer(1);
  const ExprRef real = make_real(1, ScalarType::f32);
  EXPECT_THAT(after({LoopLet{"b", make_variable("a", {ScalarType::f32})}}),
              ElementsAre(HasSubstr("`a` is i64, not f32")));
  EXPECT_THAT(after({LoopLet{"b", make_binary(Op::divide, one, one)}}),
              ElementsAre(HasSubstr("`/` needs reals, not i64")));
  EXPECT_THAT(after({LoopLet{"b", make_load("w", ScalarType::u8, one)}}),
              ElementsAre(HasSubstr("`w` has elements of f32, not u8")));
  EXPECT_THAT(after({LoopStore{"n", real, one}}),
              ElementsAre(HasSubstr("the address is f32, not i64")));
  EXPECT_THAT(after({LoopStore{"n", one, real}}),
              ElementsAre(HasSubstr("`n` has elements of i64, not f32")));
  EXPECT_THAT(after({LoopStore{"n", make_iota(4), one}}),
              ElementsAre(HasSubstr("a store of 1 lanes to 4 addresses")));
  EXPECT_THAT(after({LoopFor{"i", real, one, 1, {}}}),
              ElementsAre(HasSubstr("the begin of the loop is f32, not i64")));
  EXPECT_THAT(after({LoopFor{"i", one, make_iota(2), 1, {}}}),
              ElementsAre(HasSubstr("the end of the loop is i64x2, not i64")));
  EXPECT_THAT(after({LoopIf{one, {}, {}}}),
              ElementsAre(HasSubstr("the condition is i64, not bool")));
  EXPECT_THAT(after({LoopLet{"b", make_splat(one, 65)}}), ElementsAre(HasSubstr("65 lanes")));
  EXPECT_THAT(after({LoopLet{"b", nullptr}}), ElementsAre(HasSubstr("a value is missing")));
  // A load of 4 lanes from 2 addresses.
  Expr load = *make_load("w", ScalarType::f32, make_iota(2));
  load.type.lanes = 4;
  EXPECT_THAT(after({LoopLet{"b", make_node(load)}}),
              ElementsAre(HasSubstr("a load of 4 lanes from 2 addresses")));
}

TEST(LoopVerify, Operators) {
  const char* const bodies[][2] = {
      {"let a = rows // rows", "the divisor of `//` is no positive constant"},
      {"let a = rows % 0", "the divisor of `%` is no positive constant"},
      {"let a = rows // -2", "the divisor of `//` is no positive constant"},
      {"let a = shift_left(rows, rows)", "the count of `shift_left` is no constant below"},
      {"let a = shift_right(rows, 64)", "the count of `shift_right` is no constant below"},
      {"let a = shift_right(7:i32, 32:i32)", "the count of `shift_right` is no constant below"},
      {"let a = vector_sum(load3 w[0])", "`vector_sum` of 3 lanes, no power of two"},
      {"let a = bool(rows)", "a conversion to bool; write `x != 0`"},
      {"let a = stop_gradient(1.0)", "`stop_gradient` does not exist on L"},
  };
  for (const auto& [body, message] : bodies) {
    EXPECT_THAT(violations(body), ElementsAre(HasSubstr(message))) << body;
  }
  EXPECT_THAT(violations("let a = iota8() // splat8(2) % 3:i64x8"), IsEmpty());
}

TEST(LoopVerify, FunctionsAreExpandedAfterwards) {
  for (const char* call : {"exp(x)", "log(x)", "log1p(x)", "expm1(x)", "rsqrt(x)", "tanh(x)",
                           "erf(x)", "sin(x)", "cos(x)", "x ^ 2", "rand.0(0)", "normal.0(0)"}) {
    LoopProgram program = program_of(fmt::format("let x = load w[0]\nlet y = {}", call));
    EXPECT_THAT(verify(program, false), IsEmpty()) << call;
    EXPECT_THAT(verify(program, true), ElementsAre(HasSubstr("is not expanded"))) << call;
  }
}

TEST(LoopVerify, StoresGoToWhatIsMutable) {
  EXPECT_THAT(violations("store w[0] = 1.0"), ElementsAre(HasSubstr("`w` is not mutable")));
}

TEST(LoopVerify, StepsTilesAndStacks) {
  LoopProgram program = program_of("");
  body_of(program) = {{LoopFor{"i", make_integer(0), make_integer(4), 0, {}}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a loop with step 0")));
  body_of(program) = {{LoopStack{"s", ScalarType::f32, 0}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a stack array of 0 elements")));
  body_of(program) = {{LoopStack{"g", ScalarType::f32, 4}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("there is memory `g` already")));
  body_of(program) = {{LoopStack{"s", ScalarType::f64, maximum_stack_bytes / 16}},
                      {LoopStack{"t", ScalarType::f64, maximum_stack_bytes / 16 + 1}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("stack arrays of 4194312 bytes")));
  body_of(program) = {{LoopStack{"s", ScalarType::f64, INT64_MAX}}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("stack arrays of")));
  body_of(program).clear();
  program.functions[0].tasks = {{Extent::of_rows(20), 0}};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a tile of 0")));
}

TEST(LoopVerify, DepthOfBlocks) {
  LoopProgram program = program_of("");
  LoopBlock body;
  for (int i = 0; i < maximum_block_depth + 1; ++i) {
    LoopBlock outer;
    outer.push_back({LoopIf{make_boolean(true), std::move(body), {}}});
    body = std::move(outer);
  }
  body_of(program) = std::move(body);
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("more than 200 levels deep")));
}

// ---- Parameters, buffers, launches.

TEST(LoopVerify, Parameters) {
  const LoopProgram good = program_of("");
  const auto changed = [&good](size_t parameter, auto change) {
    LoopProgram program = good;
    change(program.functions[0].parameters[parameter]);
    return verify(program);
  };
  enum { row_list, image, label, w, g };
  EXPECT_THAT(changed(w, [](LoopParameter& p) { p.name = "v"; }),
              ElementsAre(HasSubstr("there is no buffer `v`")));
  EXPECT_THAT(changed(w, [](LoopParameter& p) { p.type = ScalarType::f64; }),
              ElementsAre(HasSubstr("`w` is a buffer of f32, not f64")));
  EXPECT_THAT(changed(w, [](LoopParameter& p) { p.elements = 7841; }),
              ElementsAre(HasSubstr("`w` has 7841 elements as a parameter and 7840 as a buffer")));
  EXPECT_THAT(changed(w, [](LoopParameter& p) { p.elements = -1; }),
              ElementsAre(HasSubstr("`w` has -1 elements as a parameter")));
  EXPECT_THAT(changed(image, [](LoopParameter& p) { p.written = true; }),
              ElementsAre(HasSubstr("the input `image` is mutable")));
  EXPECT_THAT(changed(row_list, [](LoopParameter& p) { p.type = ScalarType::i64; }),
              ElementsAre(HasSubstr("`row_list` is i32 and not mutable")));
  EXPECT_THAT(changed(row_list, [](LoopParameter& p) { p.elements = 19; }),
              ElementsAre(HasSubstr("`row_list` has 19 elements, not one for each of 20 rows")));
  EXPECT_THAT(changed(g, [](LoopParameter& p) { p.name = "w"; }),
              Contains(HasSubstr("there are two parameters `w`")));
}

TEST(LoopVerify, Buffers) {
  const LoopProgram good = program_of("");
  const auto changed = [&good](auto change) {
    LoopProgram program = good;
    change(program);
    return verify(program);
  };
  EXPECT_THAT(changed([](LoopProgram& p) { p.arena_bytes = 959; }),
              ElementsAre(HasSubstr("`n` at 832 ends behind the arena of 959 bytes")));
  EXPECT_THAT(
      changed([](LoopProgram& p) { p.buffers[3].offset = 32; }),
      ElementsAre(HasSubstr("only temporaries have a position, a multiple of 64: in `buffer g")));
  EXPECT_THAT(
      changed([](LoopProgram& p) { p.buffers[2].offset = 0; }),
      Contains(HasSubstr("only temporaries have a position, a multiple of 64: in `param w")));
  EXPECT_THAT(changed([](LoopProgram& p) { p.buffers[4].name = "g"; }),
              Contains(HasSubstr("there are two buffers `g`")));
  EXPECT_THAT(changed([](LoopProgram& p) { p.buffers[2].shape[0] = Extent::number(INT64_MAX); }),
              ElementsAre(HasSubstr("the number of bytes of `w` does not fit 63 bits")));
  EXPECT_THAT(changed([](LoopProgram& p) { p.results[0].buffer = "loss"; }),
              ElementsAre(HasSubstr("there is no buffer `loss`")));
}

TEST(LoopVerify, Launches) {
  LoopProgram program = program_of("");
  program.launches[0].functions = {"f", "f"};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("`f` twice in a launch")));
  program.launches[0].functions = {"h"};
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a launch of `h`, which does not exist")));
  LoopFunction second = program.functions[0];
  second.name = "h";
  for (LoopParameter& parameter : second.parameters) parameter.written = false;
  program.functions.push_back(second);
  program.launches[0].functions = {"f", "h"};
  EXPECT_THAT(verify(program),
              ElementsAre("`f` and `h` are in one launch, and one of them writes `g`",
                          "`f` and `h` are in one launch, and one of them writes `n`"));
  program.launches = {{{"f"}}, {{"h"}}};
  EXPECT_THAT(verify(program), IsEmpty());
}

TEST(LoopVerify, Modules) {
  LoopModule module;
  module.programs = {program_of(""), program_of("store n[16] = 1")};
  EXPECT_THAT(verify(module), ElementsAre("there are two programs `train`",
                                          HasSubstr("program train: function `f`, statement")));
}

TEST(LoopVerify, AViolationOfOurOwnEndsTheProcess) {
  check_verified(program_of(tiles), "loops", true);
  EXPECT_EXIT(check_verified(program_of("store n[16] = 1"), "loops"),
              ::testing::ExitedWithCode(internal_error_exit_code),
              "program train at stage loops:.*outside of them");
}

}  // namespace
}  // namespace fusegrad::ir
