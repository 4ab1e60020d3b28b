// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums along sorted places: the form, the text, the rules of K and L, the derived buffers.
#include "ir/kernel/segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/kernel/evaluate.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/verify.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::ir {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* inputs = R"(  input text: i32[rows, 3] in 0..5
  input g: f32[rows, 3, 4]
  param table: f32[5, 4]
)";
constexpr const char* lists = R"(  derived text.starts: i32[6] = starts of text
  derived text.positions: i32[rows*3] = positions of text
)";

std::string kernel(const std::string& schedule = "segment text by v",
                   const std::string& where = "text[b, t] == v",
                   const std::string& term = "g[b, t, d]",
                   const std::string& binders = "b in 0..rows, t in 0..3") {
  return "  launch {\n    kernel k rows(v in 0..5, d in 0..4) schedule(" + schedule +
         ") {\n      local s: f32 = sum(" + binders + " where " + where + ": " + term +
         ")\n      inplace table[v, d]: f32 = table[v, d] - s\n    }\n  }\n";
}

KernelProgram program(const std::string& lines) {
  SourceManager sources;
  Diagnostics diagnostics;
  auto parsed = parse_kernel_module(
      sources, sources.add("p.kernels", "stage kernels\nprogram p batch 4 {\n" + lines + "\n}\n"),
      diagnostics);
  EXPECT_TRUE(parsed.has_value()) << render(diagnostics, sources);
  return parsed ? parsed->programs.at(0) : KernelProgram{};
}

std::vector<std::string> violations(const std::string& lines) { return verify(program(lines)); }

TEST(Segment, TextComesBack) {
  const KernelProgram read = program(std::string(inputs) + lists + kernel());
  EXPECT_THAT(verify(read), IsEmpty());
  const std::string text = print(read);
  EXPECT_THAT(text, HasSubstr("derived text.starts: i32[6] = starts of text  # 24 bytes"));
  EXPECT_THAT(text, HasSubstr("derived text.positions: i32[rows*3] = positions of text"));
  EXPECT_THAT(text, HasSubstr("schedule(segment text by v)"));
  EXPECT_EQ(print(program(text.substr(text.find('\n') + 1, text.rfind('}') - text.find('\n') - 1))),
            text);
}

TEST(Segment, FormsThatFit) {
  auto form = [](const std::string& where, const std::string& binders = "b in 0..rows, t in 0..3",
                 const std::string& term = "g[b, t, d]") {
    const KernelProgram p = program(std::string(inputs) + kernel("tile d 4", where, term, binders));
    return segment_form(p.launches.at(0).kernels.at(0).statements.at(0), p.buffers.at(0), "v");
  };
  auto plain = form("v == text[b, t]");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->first_binder, 0U);
  EXPECT_EQ(plain->binders, 2U);
  EXPECT_EQ(plain->condition, nullptr);
  auto between =
      form("d < 3 and text[b, t] == v and t < 2", "e in 0..2, b in 0..rows, t in 0..3, f in 0..2");
  ASSERT_TRUE(between);
  EXPECT_EQ(between->first_binder, 1U);
  EXPECT_NE(between->condition, nullptr);
  // In another order the terms would change places.
  EXPECT_FALSE(form("text[b, t] == v", "t in 0..3, b in 0..rows"));
  EXPECT_FALSE(form("text[b, t] == v", "b in 0..rows, e in 0..2, t in 0..3"));
  EXPECT_FALSE(form("text[b, t] == v", "b in 0..rows, t in 0..2"));
  EXPECT_FALSE(form("text[b, 1] == v", "b in 0..rows, t in 0..3"));
  EXPECT_FALSE(form("text[b, t] == v or t == 0"));
  EXPECT_FALSE(form("text[b, t] < v"));
  // An address with the value may be in bounds only where the input has it.
  EXPECT_FALSE(form("text[b, t] == v", "b in 0..rows, t in 0..3", "table[v, d] * g[b, t, d]"));
}

TEST(Segment, RulesOfK) {
  const std::string in = inputs;
  EXPECT_THAT(violations(in + kernel()),
              ElementsAre(HasSubstr("`segment text by v` of kernel k needs starts of `text`"),
                          HasSubstr("needs positions of `text`")));
  EXPECT_THAT(violations(in + lists + kernel("segment text by z")),
              Contains(HasSubstr("there is no index for `segment text by z`")));
  EXPECT_THAT(violations(in + lists + kernel("segment text by d")),
              Contains(HasSubstr("no sum has the form of `segment text by d`")));
  EXPECT_THAT(violations(in + lists + kernel("segment text by v", "text[b, t] <= v")),
              Contains(HasSubstr("no sum has the form")));
  EXPECT_THAT(violations(in + lists + kernel("tile v 5, segment text by v")),
              ElementsAre(HasSubstr("`v` takes several values at once")));
  EXPECT_THAT(violations(in + lists + kernel("lanes t 8, segment text by v")),
              ElementsAre(HasSubstr("`t` has lanes")));
  EXPECT_THAT(violations(in + lists + kernel("segment text by v, segment text by v")),
              ElementsAre(HasSubstr("stands twice")));
  auto lists_of = [](const std::string& starts, const std::string& positions) {
    return "  derived list: " + starts + "\n  derived places: " + positions + "\n";
  };
  const std::string good_positions = "i32[rows*3] = positions of text";
  const std::string good_starts = "i32[6] = starts of text";
  EXPECT_THAT(violations(in + lists_of(good_starts, good_positions) + kernel()), IsEmpty());
  EXPECT_THAT(violations(in + lists_of("i32[9] = starts of text", good_positions) + kernel()),
              IsEmpty());
  EXPECT_THAT(violations(in + lists_of("i32[5] = starts of text", good_positions) + kernel()),
              Contains(HasSubstr("the values of `text` are not declared to be below")));
  EXPECT_THAT(violations(in + lists_of(good_starts, "i32[rows*2] = positions of text") + kernel()),
              Contains(HasSubstr("`text` has 3 places in a row")));
  EXPECT_THAT(violations(in + lists_of("f32[6] = starts of text", good_positions) + kernel()),
              Contains(HasSubstr("one dimension of i32")));
  EXPECT_THAT(violations(in + lists_of("i32[6] = starts of g", good_positions) + kernel()),
              Contains(HasSubstr("`g` is no input of u8 or i32")));
  EXPECT_THAT(violations(in + lists + "  derived more: i32[6] = starts of text\n" + kernel()),
              ElementsAre(HasSubstr("`text` has starts already")));
  EXPECT_THAT(
      violations("  input text: i32[rows, 3] in 0..5\n  derived s: i32[6] = starts of text\n"
                 "  launch { kernel k rows(v in 0..6) { out s[v]: i32 = 1 } }\n"),
      Contains(HasSubstr("stores to derived")));
  KernelProgram bad = program(in + lists + kernel());
  bad.buffers[2].source = "text";
  EXPECT_THAT(verify(bad), Contains(HasSubstr("only derived buffers follow from others")));
}

TEST(Segment, TextMistakes) {
  auto mistake = [](const std::string& lines) {
    SourceManager sources;
    Diagnostics diagnostics;
    auto parsed = parse_kernel_module(
        sources, sources.add("p", "stage kernels program p batch 4 {" + lines + "}"), diagnostics);
    EXPECT_FALSE(parsed.has_value());
    return diagnostics.all().empty() ? "" : diagnostics.all()[0].message;
  };
  EXPECT_EQ(mistake("derived s: i32[6]"), "expected `=`, found `}`");
  EXPECT_EQ(mistake("derived s: i32[6] = ends of x"), "expected starts or positions, found `ends`");
  EXPECT_EQ(mistake("launch { kernel k rows(v in 0..5) schedule(segment x v) {} }"),
            "expected `by`, found `v`");
}

TEST(Segment, DerivedElements) {
  const KernelProgram p = program(std::string(inputs) + lists + kernel());
  const std::vector<int64_t> values = {3, 0, 3, 4, 0, 3};
  EXPECT_THAT(derived_elements(p.buffers[3], values), ElementsAre(0, 2, 2, 2, 5, 6));
  EXPECT_THAT(derived_elements(p.buffers[4], values), ElementsAre(1, 4, 0, 2, 5, 3));
}

TEST(Segment, EvaluatorOfKMakesTheLists) {
  // A kernel may read them like any other buffer.
  const KernelProgram p = program(std::string(inputs) + lists + R"(
  result first: i32[rows]
  launch {
    kernel k rows(b in 0..rows) {
      out first[b]: i32 = text.positions[b * 3] + text.starts[5]
    }
  }
  result output first = first
)");
  EXPECT_THAT(verify(p), IsEmpty());
  TensorValues given;
  TensorValue text(ScalarType::i32, {2, 3});
  text.integers = {3, 0, 3, 4, 0, 3};
  given.emplace("text", text);
  given.emplace("g", TensorValue(ScalarType::f32, {2, 3, 4}));
  given.emplace("table", TensorValue(ScalarType::f32, {5, 4}));
  Uniforms uniforms;
  uniforms.rows = 2;
  const TensorValues values = evaluate(p, given, uniforms, Precision::all_f64);
  EXPECT_THAT(values.at("first").integers, ElementsAre(7, 8));
  EXPECT_THAT(values.at("text.starts").integers, ElementsAre(0, 2, 2, 2, 5, 6));
}

TEST(Segment, RulesOfL) {
  auto loop_violations = [](const std::string& buffers, const std::string& parameter,
                            const std::string& statements) {
    SourceManager sources;
    Diagnostics diagnostics;
    auto parsed = parse_loop_module(
        sources,
        sources.add("p.loops",
                    "stage loops\nprogram p batch 4 {\n  input text: i32[rows, 3] in 0..5\n" +
                        buffers + "  param w: f32[12]\n  func f(" + parameter +
                        ", mutable w: ptr<f32>[12]) tasks() {\n" + statements +
                        "\n  }\n  launch { f }\n}\n"),
        diagnostics);
    EXPECT_TRUE(parsed.has_value()) << render(diagnostics, sources);
    return parsed ? verify(parsed->programs.at(0)) : std::vector<std::string>{"not read"};
  };
  const std::string positions = "text.positions: ptr<i32>[12]";
  // Positions lie below 12 and are proved to.
  EXPECT_THAT(loop_violations(lists, positions, "store w[i64(load text.positions[0])] = 1.0"),
              IsEmpty());
  EXPECT_THAT(loop_violations(lists, positions, "store w[i64(load text.positions[0]) + 12] = 1.0"),
              Contains(HasSubstr("outside of")));
  EXPECT_THAT(loop_violations(lists, "mutable " + positions, "store w[0] = 1.0"),
              Contains(HasSubstr("the derived buffer `text.positions` is mutable")));
  EXPECT_THAT(loop_violations("  derived text.positions: i32[rows*4] = positions of text\n",
                              positions, "store w[0] = 1.0"),
              Contains(HasSubstr("`text` has 3 places in a row")));
}

}  // namespace
}  // namespace fusegrad::ir
