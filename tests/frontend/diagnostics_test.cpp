// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How messages look, to the byte: the renderer by itself, and every message of the lexer and the
// parser.
#include "ir/support/diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/lexer.h"
#include "frontend/parser.h"

namespace fusegrad::frontend {
namespace {

// ----------------------------------------------------------------------------------------------
// the renderer

class Rendering : public ::testing::Test {
 protected:
  void file(std::string name, std::string text) {
    number_ = sources_.add(std::move(name), std::move(text));
  }

  // The first place of `part` at or after the first place of `context`.
  Span find(std::string_view part, std::string_view context = "") const {
    std::string_view text = sources_.text(number_);
    size_t at = text.find(part, context.empty() ? 0 : text.find(context));
    EXPECT_NE(at, std::string_view::npos) << part;
    return {number_, static_cast<uint32_t>(at), static_cast<uint32_t>(at + part.size())};
  }

  std::string rendered(const Diagnostic& diagnostic) const {
    return "\n" + render(diagnostic, sources_);
  }

  SourceManager sources_;
  uint32_t number_ = 0;
};

TEST_F(Rendering, LabelsOnLinesApart) {
  file(
      "norm.fg",
      "a\nb\nc\nd\n  state running_mean: real[C] = 0\n6\n7\n8\n  running_mean[c] = keep * mu[c]\n");
  Diagnostic d{Severity::error,
               "E0004",
               "state is changed with `<-`, not `=`",
               {find("=", "running_mean[c]"), "this would define a new tensor"},
               {{find("running_mean", "state"), "state declared here"}},
               {},
               {"write `running_mean[c] <- keep * mu[c]`"}};
  EXPECT_EQ(rendered(d), R"(
error[E0004]: state is changed with `<-`, not `=`
 --> norm.fg:9:19
  |
5 |   state running_mean: real[C] = 0
  |         ------------ state declared here
 ...
9 |   running_mean[c] = keep * mu[c]
  |                   ^ this would define a new tensor
  |
  = help: write `running_mean[c] <- keep * mu[c]`
)");
}

TEST_F(Rendering, TwoLabelsOnALineAndOneOnTheLineAbove) {
  file("mlp.fg", "\n\n\n\n  param w: real[800, 10] = f()\n  y[b, o] = sum(i: x[b, i] * w[i, o])\n");
  Diagnostic d{Severity::error,
               "E0201",
               "index `i` has two different sizes",
               {find("w[i, o]"), "here `i` has size 800"},
               {{find("800"), "this size"}, {find("x[b, i]"), "here `i` has size 784"}},
               {"the size of an index comes from every dimension it indexes by itself"},
               {"change line 5"}};
  EXPECT_EQ(rendered(d), R"(
error[E0201]: index `i` has two different sizes
 --> mlp.fg:6:30
  |
5 |   param w: real[800, 10] = f()
  |                 --- this size
6 |   y[b, o] = sum(i: x[b, i] * w[i, o])
  |                    -------   ^^^^^^^ here `i` has size 800
  |                    |
  |                    here `i` has size 784
  |
  = note: the size of an index comes from every dimension it indexes by itself
  = help: change line 5
)");
}

TEST_F(Rendering, TheTextStandsBesideTheMarkThatEndsLast) {
  file("diag.fg", "\n  y[i, i] = x[i]\n");
  Span second = find("i]");
  second.end = second.begin + 1;
  Diagnostic d{Severity::error,
               "E0204",
               "index `i` appears twice on the left",
               {find("i,"), "first use"},
               {},
               {},
               {}};
  d.primary.span.end = d.primary.span.begin + 1;
  d.others.push_back({second, "second use"});
  EXPECT_EQ(rendered(d), R"(
error[E0204]: index `i` appears twice on the left
 --> diag.fg:2:5
  |
2 |   y[i, i] = x[i]
  |     ^  - second use
  |     |
  |     first use
)");
}

TEST_F(Rendering, ThreeLabelsHangOneBelowTheOther) {
  file("a.fg", "aa bb cc\n");
  Diagnostic d{Severity::warning,
               "W0001",
               "m",
               {find("cc"), "three"},
               {{find("aa"), "one"}, {find("bb"), "two"}},
               {},
               {}};
  EXPECT_EQ(rendered(d), R"(
warning[W0001]: m
 --> a.fg:1:7
  |
1 | aa bb cc
  | -- -- ^^ three
  | |  |
  | |  two
  | one
)");
}

TEST_F(Rendering, WhereMarksOverlapThePrimaryOneIsSeen) {
  file("a.fg", "abcdef\n");
  Diagnostic d{
      Severity::error, "E1", "m", {find("cd"), "inner"}, {{find("abcdef"), "outer"}}, {}, {}};
  EXPECT_EQ(rendered(d), R"(
error[E1]: m
 --> a.fg:1:3
  |
1 | abcdef
  | --^^-- outer
  |   |
  |   inner
)");
}

TEST_F(Rendering, LineNumbersAreAlignedAndEmptyLabelsGiveContext) {
  std::string text;
  for (int i = 1; i <= 12; ++i) text += "line" + std::to_string(i) + "\n";
  file("a.fg", text);
  Span context = find("line9");
  context.end = context.begin;
  Diagnostic d{
      Severity::error, "E1", "m", {find("line12"), ""}, {{context, ""}, {find("line3"), "x"}},
      {"n"},           {}};
  EXPECT_EQ(rendered(d), R"(
error[E1]: m
  --> a.fg:12:1
   |
 3 | line3
   | ----- x
  ...
 9 | line9
  ...
12 | line12
   | ^^^^^^
   |
   = note: n
)");
}

TEST_F(Rendering, PlacesInOtherFilesFollow) {
  file("std.fg", "\n  require a\n");
  Span other = find("require a");
  file("m.fg", "h = f(x)\n");
  Diagnostic d{
      Severity::error, "E1", "m", {find("f(x)"), "here"}, {{other, "required here"}}, {}, {"h"}};
  EXPECT_EQ(rendered(d), R"(
error[E1]: m
 --> m.fg:1:5
  |
1 | h = f(x)
  |     ^^^^ here
 ::: std.fg:2:3
  |
2 |   require a
  |   --------- required here
  |
  = help: h
)");
}

TEST_F(Rendering, WithoutAPlaceOnlyTextIsPrinted) {
  Diagnostic d{Severity::error, "E1", "m", {}, {}, {"n"}, {"h"}};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n  = note: n\n  = help: h\n");
}

TEST_F(Rendering, PlacesAtTheEndOfLineAndFile) {
  file("a.fg", "ab\n");
  Diagnostic d{Severity::error, "E1", "m", {{number_, 2, 2}, "line"}, {}, {}, {}};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n --> a.fg:1:3\n  |\n1 | ab\n  |   ^ line\n");
  d.primary = {{number_, 3, 3}, "file"};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n --> a.fg:2:1\n  |\n2 |\n  | ^ file\n");
}

TEST_F(Rendering, OfAPlaceOverSeveralLinesTheFirstIsMarked) {
  file("a.fg", "f(a,\n  b)\n");
  Diagnostic d{Severity::error, "E1", "m", {find("(a,\n  b)"), "x"}, {}, {}, {}};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n --> a.fg:1:2\n  |\n1 | f(a,\n  |  ^^^ x\n");
}

TEST_F(Rendering, TabsAreFourColumns) {
  file("a.fg", "\ta\tb\n");
  Diagnostic d{Severity::error, "E1", "m", {find("b"), "x"}, {}, {}, {}};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n --> a.fg:1:4\n  |\n1 |     a    b\n  |          ^ x\n");
}

TEST_F(Rendering, MarksStandUnderWideAndCombiningCharacters) {
  file("a.fg", "\xE6\xBC\xA2 e\xCC\x81 \xC3\xA9 z\n");  // a wide character, a combining accent, an
                                                        // e with accent
  Diagnostic d{Severity::error, "E1", "m", {find("z"), "x"}, {}, {}, {}};
  EXPECT_EQ(rendered(d),
            "\nerror[E1]: m\n --> a.fg:1:12\n  |\n1 | \xE6\xBC\xA2 e\xCC\x81 \xC3\xA9 z\n  |       "
            " ^ x\n");
}

TEST_F(Rendering, WhatATerminalWouldObeyIsEscaped) {
  using namespace std::string_literals;
  file("a\x1b.fg",
       "\x1b[2J \xFF \xE2\x80\xAE \xC2\x85 z\r\n"s);  // escape, no UTF-8, right-to-left, control
  Diagnostic d{Severity::error, "E1", "m\x1b\n", {find("z"), "\x07"}, {}, {"\xC0\x80"}, {}};
  EXPECT_EQ(rendered(d), R"(
error[E1]: m\x1b\n
 --> a\x1b.fg:1:15
  |
1 | \x1b[2J \xff \u{202e} \x85 z
  |                            ^ \x07
  |
  = note: \xc0\x80
)");
}

TEST_F(Rendering, OfLongLinesAWindowIsShown) {
  std::string line = std::string(5000, 'a') + "MARK" + std::string(5000, 'b');
  file("a.fg", line + "\n");
  Diagnostic d{
      Severity::error, "E1", "m", {find("MARK"), "x"}, {{{number_, 0, 3}, "far left"}}, {}, {}};
  EXPECT_EQ(rendered(d), "\nerror[E1]: m\n --> a.fg:1:5001\n  |\n1 | ..." + std::string(60, 'a') +
                             "MARK" + std::string(96, 'b') + "...\n  | -" + std::string(62, ' ') +
                             "^^^^ x\n  | |\n  | far left\n");
  // Up to 200 bytes a line is whole.
  file("b.fg", std::string(200, 'a') + "\n");
  Diagnostic whole{Severity::error, "E1", "m", {{number_, 150, 151}, ""}, {}, {}, {}};
  EXPECT_NE(rendered(whole).find(std::string(200, 'a')), std::string::npos);
}

TEST_F(Rendering, EveryPlaceOfAHostileLineRendersSanely) {
  std::string line;
  for (int i = 0; i < 900; ++i) line += static_cast<char>(i * 37 % 256);
  std::replace(line.begin(), line.end(), '\n', '\t');
  file("a.fg", line);
  for (uint32_t begin = 0; begin <= line.size(); begin += 7) {
    for (uint32_t length : {0U, 1U, 300U}) {
      uint32_t end = std::min(begin + length, static_cast<uint32_t>(line.size()));
      Diagnostic d{Severity::error,
                   "E1",
                   "m",
                   {{number_, begin, end}, "x"},
                   {{{number_, 400, 410}, "y"}},
                   {},
                   {}};
      std::string text = render(d, sources_);
      EXPECT_LT(text.size(), 5000U);
      EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](char c) {
        return (c < 0x20 && c >= 0 && c != '\n') || c == 0x7F;
      }));
    }
  }
}

TEST_F(Rendering, SeveralMessagesAreSeparatedByAnEmptyLine) {
  Diagnostics all;
  all.add({Severity::warning, "W1", "one", {}, {}, {}, {}});
  EXPECT_FALSE(all.has_errors());
  all.add({Severity::error, "E1", "two", {}, {}, {}, {}});
  EXPECT_EQ(all.error_count(), 1U);
  EXPECT_EQ(render(all, sources_), "warning[W1]: one\n\nerror[E1]: two\n");
}

// ------------------------------------------------------------------------------- messages of lexer
// and parser

// `source` begins on line `line` of the file; empty lines stand in front.
std::string messages(const std::string& name, const std::string& source, size_t line = 1) {
  SourceManager sources;
  Diagnostics diagnostics;
  uint32_t number = sources.add(name, std::string(line - 1, '\n') + source);
  parse(sources, number, diagnostics);
  return "\n" + render(diagnostics, sources);
}

// A statement of a layer, on the second line of the file.
std::string of_statement(const std::string& statement) {
  return messages("t.fg", "layer f(x: real[N]) -> y: real[N] {\n  " + statement + "\n}\n");
}

TEST(Messages, E0001AsInTheStudy) {
  EXPECT_EQ(
      messages("mlp.fg", "layer f(x: real[N]) -> y: real[N] {\n  logits = dense(h, 10);\n}\n", 6),
      R"(
error[E0001]: unexpected `;`
 --> mlp.fg:7:24
  |
7 |   logits = dense(h, 10);
  |                        ^ a statement ends where the next one begins
  |
  = help: delete the `;`
)");
}

TEST(Messages, E0002AsInTheStudy) {
  EXPECT_EQ(
      messages("dense.fg",
               "layer f() -> y: real[] {\n\n  y[b, o] = sum(i) x[b, i] * w[i, o] + c[o]\n}\n", 2),
      R"(
error[E0002]: expected `:` after the reduction indices
 --> dense.fg:4:18
  |
4 |   y[b, o] = sum(i) x[b, i] * w[i, o] + c[o]
  |                  ^^ the body belongs inside the parentheses
  |
  = note: the extent of a reduction is always written out; nothing is summed by precedence
  = help: write `sum(i: x[b, i] * w[i, o]) + c[o]`
)");
}

TEST(Messages, E0003AsInTheStudy) {
  EXPECT_EQ(
      messages("mask.fg",
               "layer f() -> y: real[] {\n  y[b, i] = if 0 <= i + k < 28 then x[b, i] else 0\n}\n",
               8),
      R"(
error[E0003]: comparisons do not chain
 --> mask.fg:9:27
  |
9 |   y[b, i] = if 0 <= i + k < 28 then x[b, i] else 0
  |                ---------- ^ a second comparison
  |                |
  |                this is already a `bool`
  |
  = help: write `0 <= i + k and i + k < 28`, or read with a default: `x[b, i + k else 0]`
)");
}

TEST(Messages, E0005AsInTheStudy) {
  EXPECT_EQ(messages("dense.fg",
                     "layer f() -> y: real[] {\n  param w: real[i, o] = glorot_uniform(i, o)\n}\n"),
            R"(
error[E0005]: a dimension name starts with a capital letter
 --> dense.fg:2:17
  |
2 |   param w: real[i, o] = glorot_uniform(i, o)
  |                 ^^^^ `i` and `o` are index names
  |
  = note: `[...]` after a type lists sizes; `[...]` after a tensor lists indices
  = help: write `param w: real[I, O]`, with `I` and `O` taken from the layer signature
)");
}

TEST(Messages, E0001AdviceForHabitsOfOtherLanguages) {
  EXPECT_EQ(of_statement("y = a ** 2"), R"(
error[E0001]: unexpected `*`
 --> t.fg:2:10
  |
2 |   y = a ** 2
  |          ^ expected an expression
  |
  = help: powers are written `a ^ b`
)");
  EXPECT_EQ(of_statement("v += 1"), R"(
error[E0001]: unexpected `+`
 --> t.fg:2:5
  |
2 |   v += 1
  |     ^ expected `=` or `<-`
  |
  = help: write `v = v + ...`, or `v <- v + ...` for a state
)");
  EXPECT_EQ(of_statement("when O = C { y = x }"), R"(
error[E0001]: unexpected `=`
 --> t.fg:2:10
  |
2 |   when O = C { y = x }
  |          ^ expected `{`
  |
  = help: to compare, write `==`
)");
  EXPECT_EQ(of_statement("y = not_a + !a"), R"(
error[E0001]: unexpected `!`
 --> t.fg:2:15
  |
2 |   y = not_a + !a
  |               ^ expected an expression
  |
  = help: negation is written `not`
)");
  EXPECT_EQ(of_statement("y = dense(data, 3)"), R"(
error[E0001]: unexpected `data`
 --> t.fg:2:13
  |
2 |   y = dense(data, 3)
  |             ^^^^ expected an expression
  |
  = note: `data` is a word of the language and cannot be a name
)");
  EXPECT_EQ(of_statement("relu(x)"), R"(
error[E0001]: unexpected `(`
 --> t.fg:2:7
  |
2 |   relu(x)
  |       ^ a statement gives its value a name
  |
  = help: write `y = relu(...)`
)");
  EXPECT_EQ(of_statement("y[2 * i] = x[i]"), R"(
error[E0001]: unexpected `2`
 --> t.fg:2:5
  |
2 |   y[2 * i] = x[i]
  |     ^ expected the name of an index, or `...`
  |
  = note: a definition gives every element once: its left side lists distinct index names
)");
  EXPECT_EQ(of_statement("y = x + if a then b else c"), R"(
error[E0001]: unexpected `if`
 --> t.fg:2:11
  |
2 |   y = x + if a then b else c
  |           ^^ an `if` inside an expression stands in parentheses
)");
}

TEST(Messages, E0001NamesTheLineWhereSomethingIsMissing) {
  EXPECT_EQ(of_statement("y =\n  z = x"), R"(
error[E0001]: unexpected end of the line
 --> t.fg:2:6
  |
2 |   y =
  |      ^ expected an expression
)");
  EXPECT_EQ(of_statement("param w: real[N]\n  z = x"), R"(
error[E0001]: unexpected end of the line
 --> t.fg:2:19
  |
2 |   param w: real[N]
  |                   ^ expected `=` and the initial value
)");
}

TEST(Messages, E0001AtTheTopOfAFile) {
  EXPECT_EQ(messages("t.fg", "func f(x) = 3\n"), R"(
error[E0001]: unexpected `func`
 --> t.fg:1:1
  |
1 | func f(x) = 3
  | ^^^^ expected a definition
  |
  = note: a file holds `import`, `const`, `fn`, `layer`, `optimizer`, `gradient`, `model`, `data` and `train`
)");
  EXPECT_EQ(messages("t.fg", "h = dense(x, 3)\n"), R"(
error[E0001]: unexpected `h`
 --> t.fg:1:1
  |
1 | h = dense(x, 3)
  | ^ a statement stands inside a `layer`, a `model` or an `optimizer`
)");
}

TEST(Messages, E0002InOtherForms) {
  EXPECT_EQ(of_statement("y = sum(i in 0..3, j where i < j) x[i, j]"), R"(
error[E0002]: expected `:` after the reduction indices
 --> t.fg:2:35
  |
2 |   y = sum(i in 0..3, j where i < j) x[i, j]
  |                                   ^^ the body belongs inside the parentheses
  |
  = note: the extent of a reduction is always written out; nothing is summed by precedence
  = help: write `sum(i in 0..3, j where i < j: x[i, j])`
)");
  EXPECT_EQ(of_statement("y = (max(i) x[i]) + sum(j: x[j])"), R"(
error[E0002]: expected `:` after the reduction indices
 --> t.fg:2:13
  |
2 |   y = (max(i) x[i]) + sum(j: x[j])
  |             ^^ the body belongs inside the parentheses
  |
  = note: the extent of a reduction is always written out; nothing is summed by precedence
  = help: write `max(i: x[i])`
)");
  EXPECT_EQ(of_statement("y = sum(i x[i])"), R"(
error[E0002]: expected `:` after the reduction indices
 --> t.fg:2:13
  |
2 |   y = sum(i x[i])
  |             ^ the body begins here, after a `:`
)");
  // A whole tensor is reduced, and another statement follows on the line: no mistake.
  EXPECT_EQ(of_statement("y = mean(x) z = x"), "\n");
  EXPECT_EQ(of_statement("y = mean(x) z[i] = x[i]"), "\n");
}

TEST(Messages, E0006) {
  EXPECT_EQ(messages("t.fg", "import \"a.fg\n"), R"(
error[E0006]: this string does not end
 --> t.fg:1:8
  |
1 | import "a.fg
  |        ^^^^^ a `"` is missing on this line
)");
  EXPECT_EQ(messages("t.fg", "import \"a\\d.fg\"\n"), R"(
error[E0006]: unknown escape in a string
 --> t.fg:1:10
  |
1 | import "a\d.fg"
  |          ^^ the escapes are `\"`, `\\` and `\n`
  |
  = help: for a backslash write `\\`
)");
}

TEST(Messages, E0007) {
  EXPECT_EQ(messages("t.fg", "const a = 99999999999999999999\n"), R"(
error[E0007]: this is not a number
 --> t.fg:1:11
  |
1 | const a = 99999999999999999999
  |           ^^^^^^^^^^^^^^^^^^^^ too large: the largest integer is 9223372036854775807
)");
}

TEST(Messages, E0008) {
  EXPECT_EQ(messages("t.fg", "const a = b && c\n"), R"(
error[E0008]: unexpected character `&`
 --> t.fg:1:13
  |
1 | const a = b && c
  |             ^^
  |
  = help: write `and`
)");
}

TEST(Messages, E0009) {
  std::string deep(201, '(');
  EXPECT_EQ(
      messages("t.fg", "const a =\n" + deep.substr(0, 150) + "\n" + deep.substr(150) + "\n1"), R"(
error[E0009]: this expression is nested too deep
 --> t.fg:3:51
  |
3 | ()" + std::string(50, '(') + R"(
  |)" + std::string(51, ' ') + R"(^ more than 200 levels
  |
  = help: split it into parts with names of their own
)");
  std::string chain = "1";
  for (int i = 0; i < 1000; ++i) chain += "\n  + 1";
  EXPECT_EQ(messages("t.fg", "const a = " + chain), R"(
error[E0009]: this expression is too long
    --> t.fg:1001:3
     |
1001 |   + 1
     |   ^ more than 1000 operations depend on one another here
     |
     = help: split it into statements with names of their own
)");
}

TEST(Messages, E0010) {
  std::string text = messages("t.fg", "const a = 1\n" + std::string(max_source_bytes, ' '));
  EXPECT_EQ(text, R"(
error[E0010]: this file is too large
 --> t.fg:1:1
  |
1 | const a = 1
  | ^ it has 16777228 bytes, the limit is 16777216
  |
  = help: split it: definitions can live in a file of their own, read with `import`
)");
}

TEST(Messages, E0011) {
  std::string name(256, 'n');
  EXPECT_THAT(messages("t.fg", "const " + name + " = 1"),
              ::testing::StartsWith("\nerror[E0011]: this name is too long\n --> t.fg:1:7\n"));
}

TEST(Messages, E0012) {
  EXPECT_EQ(messages("t.fg", "fn Square(x) = x * x\n"), R"(
error[E0012]: `Square` starts with a capital letter
 --> t.fg:1:4
  |
1 | fn Square(x) = x * x
  |    ^^^^^^ this is the name of a function
  |
  = note: capital letters are for sizes; all other names start with a small one
)");
}

TEST(Messages, E0013) {
  EXPECT_EQ(of_statement("input z: real[N]"), R"(
error[E0013]: `input` has no meaning here
 --> t.fg:2:3
  |
2 |   input z: real[N]
  |   ^^^^^ this belongs in a `model`
  |
  = help: a layer names them in its head: `layer f(x: real[N]) -> y: real[N]`
)");
}

TEST(Messages, E0014) {
  EXPECT_EQ(of_statement("y[..., i, ...] = x[i]"), R"(
error[E0014]: `...` stands twice in one list
 --> t.fg:2:13
  |
2 |   y[..., i, ...] = x[i]
  |     ---     ^^^ again here
  |     |
  |     first here
)");
}

TEST(Messages, E0015) {
  EXPECT_EQ(of_statement("param w: float32[N] = 0"), R"(
error[E0015]: there is no element type `float32`
 --> t.fg:2:12
  |
2 |   param w: float32[N] = 0
  |            ^^^^^^^ not an element type
  |
  = note: element types are `real`, `int`, `any`, `f16`, `bf16`, `f32`, `f64`, `u8`, `i32` and `bool`
  = help: did you mean `f32`?
)");
}

TEST(Messages, E0016) {
  EXPECT_EQ(of_statement("y = relu(dense(x, 3)\n  z = y"), R"(
error[E0016]: a `)` is missing
 --> t.fg:2:23
  |
2 |   y = relu(dense(x, 3)
  |           -           ^ expected it here at the latest
  |           |
  |           this `(` is not closed
)");
  EXPECT_EQ(messages("t.fg", "model a {\n  x = 1\nmodel b {\n}\n"), R"(
error[E0016]: a `}` is missing
 --> t.fg:3:1
  |
1 | model a {
  |         - this block is still open
2 |   x = 1
3 | model b {
  | ^^^^^ `model` cannot begin inside a block
)");
}

TEST(Messages, E0017) {
  EXPECT_EQ(messages("t.fg", "train { batch = 1 batch = 2 }\n"), R"(
error[E0017]: key `batch` is given twice
 --> t.fg:1:19
  |
1 | train { batch = 1 batch = 2 }
  |         -----     ^^^^^ given again here
  |         |
  |         first given here
)");
}

TEST(Messages, E0018) {
  std::string source = "layer f() -> y: real[] {\n";
  for (size_t i = 0; i < max_syntax_errors + 20; ++i) source += "  y = )\n";
  std::string text = messages("t.fg", source + "}\n");
  EXPECT_THAT(text, ::testing::EndsWith(R"(
error[E0018]: too many errors
  --> t.fg:52:7
   |
52 |   y = )
   |       ^ the file is read up to here
)"));
}

TEST(Messages, SeveralPerRunInTheOrderOfTheText) {
  SourceManager sources;
  Diagnostics diagnostics;
  uint32_t number = sources.add("t.fg",
                                "layer f(x: real[N]) -> y: real[N] {\n"
                                "  a = x )\n"
                                "  b = $x\n"
                                "  c = sum(i) x[i]\n"
                                "  when a { d = (x }\n"
                                "  param w: float[N] = 0\n"
                                "}\n"
                                "fn g(x = = 3\n"
                                "const k = 1e999\n"
                                "train { batch = }\n");
  ast::File file = parse(sources, number, diagnostics);
  std::vector<std::string> found;
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    LineColumn at = sources.position(number, diagnostic.primary.span.begin);
    found.push_back(diagnostic.code + " " + std::to_string(at.line) + ":" +
                    std::to_string(at.column));
  }
  EXPECT_THAT(found,
              ::testing::ElementsAre("E0001 2:9", "E0008 3:7", "E0002 4:12", "E0016 5:18",
                                     "E0015 6:12", "E0001 8:10", "E0007 9:11", "E0001 10:17"));
  EXPECT_EQ(file.items.size(), 4U);
}

}  // namespace
}  // namespace fusegrad::frontend
