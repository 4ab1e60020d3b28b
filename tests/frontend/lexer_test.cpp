// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tokens: kinds, values, places, and what happens at bytes that are no tokens.
#include "frontend/lexer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace fusegrad::frontend {
namespace {

using ::testing::ElementsAre;

struct Lexed {
  SourceManager sources;
  Diagnostics diagnostics;
  TokenStream stream;

  explicit Lexed(std::string text) {
    uint32_t file = sources.add("t.fg", std::move(text));
    stream = lex(sources, file, diagnostics);
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    for (const Token& token : stream.tokens) {
      if (token.kind == TokenKind::end_of_file) continue;
      out.emplace_back(sources.text(Span{0, token.begin, token.end}));
    }
    return out;
  }
  // "CODE line:column" of every message.
  std::vector<std::string> errors() const {
    std::vector<std::string> out;
    for (const Diagnostic& diagnostic : diagnostics.all()) {
      LineColumn at = sources.position(0, diagnostic.primary.span.begin);
      out.push_back(diagnostic.code + " " + std::to_string(at.line) + ":" +
                    std::to_string(at.column));
    }
    return out;
  }
};

TEST(Lexer, TellsRangesFromFractionsAndEllipses) {
  EXPECT_THAT(Lexed("i in 0..3").texts(), ElementsAre("i", "in", "0", "..", "3"));
  EXPECT_THAT(Lexed("0..0.5").texts(), ElementsAre("0", "..", "0.5"));
  EXPECT_THAT(Lexed("x[..., 1...]").texts(), ElementsAre("x", "[", "...", ",", "1", "...", "]"));
  EXPECT_THAT(Lexed("1.5..2.5").texts(), ElementsAre("1.5", "..", "2.5"));
}

TEST(Lexer, TakesTheLongestSign) {
  EXPECT_THAT(Lexed("a<-b<=c->d//e/f==g=h!=!i").texts(),
              ElementsAre("a", "<-", "b", "<=", "c", "->", "d", "//", "e", "/", "f", "==", "g", "=",
                          "h", "!=", "!", "i"));
}

TEST(Lexer, TheFirstLetterDecidesBetweenNameAndDimension) {
  Lexed lexed("hidden Hidden h_1 H2 training trainings Layer layer");
  std::vector<TokenKind> kinds;
  for (const Token& token : lexed.stream.tokens) kinds.push_back(token.kind);
  EXPECT_THAT(kinds,
              ElementsAre(TokenKind::name, TokenKind::dimension, TokenKind::name,
                          TokenKind::dimension, TokenKind::word_training, TokenKind::name,
                          TokenKind::dimension, TokenKind::word_layer, TokenKind::end_of_file));
}

TEST(Lexer, NumbersHaveExactValues) {
  Lexed lexed("128 60_000 0.1 3e-4 2E+2 9223372036854775807 1_0.2_5 0.1e1 007");
  EXPECT_THAT(lexed.errors(), ElementsAre());
  const std::vector<ast::Number>& numbers = lexed.stream.numbers;
  ASSERT_EQ(numbers.size(), 9U);
  EXPECT_TRUE(numbers[0].is_integer);
  EXPECT_EQ(numbers[0].integer, 128);
  EXPECT_EQ(numbers[0].real, 128.0);
  EXPECT_EQ(numbers[1].integer, 60000);
  EXPECT_FALSE(numbers[2].is_integer);
  EXPECT_EQ(numbers[2].real, 0.1);
  EXPECT_EQ(numbers[3].real, 3e-4);
  EXPECT_EQ(numbers[4].real, 200.0);
  EXPECT_FALSE(numbers[4].is_integer);
  EXPECT_EQ(numbers[5].integer, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(numbers[6].real, 10.25);
  EXPECT_EQ(numbers[7].real, 1.0);
  EXPECT_EQ(numbers[8].integer, 7);
}

TEST(Lexer, BadNumbersAreReportedAndLexingGoesOn) {
  for (std::string bad : {"9223372036854775808", "1e400", "1e-400", "3x", "0x10", "1.", "1.x", ".5",
                          "1__0", "1_", "1._5", "1e", "1e+", "60_000K"}) {
    Lexed lexed("a = " + bad + " b");
    // `1e+` is the bad number `1e` and a sign.
    ASSERT_EQ(lexed.errors().size(), 1U) << bad;
    EXPECT_EQ(lexed.errors()[0], "E0007 1:5") << bad;
    EXPECT_EQ(lexed.texts().back(), "b") << bad;
  }
  EXPECT_THAT(Lexed(std::string(1000, '7')).errors(), ElementsAre("E0007 1:1"));
  EXPECT_THAT(Lexed("0." + std::string(1000, '7')).errors(), ElementsAre("E0007 1:1"));
}

TEST(Lexer, StringsResolveTheirEscapes) {
  Lexed lexed(R"("plain" "a\"b" "a\\b" "a\nb" "" "# no comment")");
  EXPECT_THAT(lexed.errors(), ElementsAre());
  EXPECT_THAT(lexed.stream.strings,
              ElementsAre("plain", "a\"b", "a\\b", "a\nb", "", "# no comment"));
}

TEST(Lexer, BrokenStringsEndWithTheirLine) {
  Lexed lexed("x = \"abc\ny = \"d\\");
  EXPECT_THAT(lexed.errors(), ElementsAre("E0006 1:5", "E0006 2:7", "E0006 2:5"));
  EXPECT_THAT(lexed.texts(), ElementsAre("x", "=", "\"abc", "y", "=", "\"d\\"));
  EXPECT_THAT(Lexed(R"("a\tb" c)").errors(), ElementsAre("E0006 1:3"));
  EXPECT_THAT(Lexed("\"abc\r\nd").texts(), ElementsAre("\"abc", "d"));
}

TEST(Lexer, BadCharactersAreReportedOnce) {
  EXPECT_THAT(Lexed("a $ b").errors(), ElementsAre("E0008 1:3"));
  EXPECT_THAT(Lexed("a && b").errors(), ElementsAre("E0008 1:3"));
  EXPECT_THAT(Lexed("a \xE2\x86\x92 b").errors(),
              ElementsAre("E0008 1:3"));  // one arrow of three bytes
  EXPECT_THAT(Lexed("a \xFF b").errors(), ElementsAre("E0008 1:3"));
  EXPECT_THAT(Lexed("a . b").errors(), ElementsAre("E0008 1:3"));
  EXPECT_THAT(Lexed("_a").errors(), ElementsAre("E0008 1:1"));
  EXPECT_THAT(Lexed("a $ b").texts(), ElementsAre("a", "b"));
}

TEST(Lexer, ZeroBytesAreErrorsEverywhere) {
  using namespace std::string_literals;
  EXPECT_THAT(Lexed("a \0 b"s).errors(), ElementsAre("E0008 1:3"));
  EXPECT_THAT(Lexed("# a \0 b\nc"s).errors(), ElementsAre("E0008 1:5"));
  EXPECT_THAT(Lexed("\"a\0b\""s).errors(), ElementsAre("E0008 1:3"));
}

TEST(Lexer, SemicolonsAreTokensForTheParser) {
  EXPECT_THAT(Lexed("a; b").texts(), ElementsAre("a", ";", "b"));
  EXPECT_THAT(Lexed("a; b").errors(), ElementsAre());
}

TEST(Lexer, KnowsWhatStandsFirstOnALine) {
  Lexed lexed("a b # c\r\n  c\n\n# d\nd");
  std::vector<bool> first;
  for (const Token& token : lexed.stream.tokens) first.push_back(token.first_on_line);
  EXPECT_THAT(first, ElementsAre(true, false, true, true, true));
}

TEST(Lexer, AByteOrderMarkIsNoText) {
  Lexed lexed(
      "\xEF\xBB\xBF"
      "a = 1");
  EXPECT_THAT(lexed.errors(), ElementsAre());
  EXPECT_EQ(lexed.sources.position(0, lexed.stream.tokens[0].begin).column, 1U);
}

TEST(Lexer, LimitsNamesTextsAndErrors) {
  EXPECT_THAT(Lexed(std::string(255, 'a')).errors(), ElementsAre());
  EXPECT_THAT(Lexed(std::string(256, 'a')).errors(), ElementsAre("E0011 1:1"));
  EXPECT_THAT(Lexed(std::string(max_source_bytes, ' ')).errors(), ElementsAre());
  EXPECT_THAT(Lexed(std::string(max_source_bytes + 1, ' ')).errors(), ElementsAre("E0010 1:1"));

  Lexed many(std::string(100000, '$'));
  EXPECT_EQ(many.diagnostics.all().size(), max_lexical_errors + 1);
  EXPECT_EQ(many.diagnostics.all().back().code, "E0018");
}

TEST(Lexer, PairsBrackets) {
  Lexed lexed("f(a[0], (b))");
  const std::vector<Token>& tokens = lexed.stream.tokens;
  EXPECT_EQ(tokens[1].value, 10U);  // the call's parentheses
  EXPECT_EQ(tokens[10].value, 1U);
  EXPECT_EQ(tokens[3].value, 5U);
  EXPECT_FALSE(tokens[1].in_group);
  EXPECT_TRUE(tokens[2].in_group);
  EXPECT_TRUE(tokens[3].in_group);
  EXPECT_FALSE(tokens[10].in_group);
}

TEST(Lexer, AForgottenBracketDoesNotSwallowTheFile) {
  Lexed lexed("y = max(a, b\nparam w: real[I] = f(x)\n");
  const std::vector<Token>& tokens = lexed.stream.tokens;
  ASSERT_EQ(tokens[3].kind, TokenKind::left_paren);
  EXPECT_EQ(tokens[3].value, 3U) << "no partner";
  EXPECT_FALSE(tokens[3].has_colon) << "the colon belongs to the declaration";
  EXPECT_FALSE(tokens[7].in_group);
}

TEST(Lexer, AColonBelongsToTheInnermostBracket) {
  Lexed lexed("max(a, sum(k: x[k]))");
  EXPECT_FALSE(lexed.stream.tokens[1].has_colon);
  EXPECT_TRUE(lexed.stream.tokens[5].has_colon);
}

}  // namespace
}  // namespace fusegrad::frontend
