// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hostile and damaged texts: the parser ends, in time, on a small stack, with located errors.
#include <gtest/gtest.h>
#include <pthread.h>

#include <cstdint>
#include <ctime>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/ast_print.h"
#include "frontend/lexer.h"
#include "frontend/parser.h"

namespace fusegrad::frontend {
namespace {

std::string repeated(std::string_view text, size_t count) {
  std::string out;
  out.reserve(text.size() * count);
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

// Runs `work` on a thread with 1 MiB of stack: destructors of what it makes included. Sanitizers
// need more.
void on_small_stack(std::function<void()> work) {
#if defined(FUSEGRAD_SANITIZED)
  constexpr size_t stack_bytes = size_t{8} << 20;
#else
  constexpr size_t stack_bytes = size_t{1} << 20;
#endif
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
  pthread_t thread;
  auto run = [](void* argument) -> void* {
    (*static_cast<std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &work), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

struct Outcome {
  std::vector<std::string> codes;
  uint32_t first_line = 0;  // of the first message
};

// Parses, prints and destroys; every message must have a place in the file, and must render.
Outcome parse_text(const std::string& text) {
  Outcome outcome;
  on_small_stack([&] {
    SourceManager sources;
    Diagnostics diagnostics;
    uint32_t number = sources.add("t.fg", text);
    ast::File file = parse(sources, number, diagnostics);
    print(file);
    for (const Diagnostic& diagnostic : diagnostics.all()) {
      if (outcome.codes.empty()) {
        outcome.first_line = sources.position(number, diagnostic.primary.span.begin).line;
      }
      outcome.codes.push_back(diagnostic.code);
      EXPECT_TRUE(diagnostic.primary.span.valid()) << diagnostic.message;
      EXPECT_LE(diagnostic.primary.span.begin, diagnostic.primary.span.end);
      EXPECT_LE(diagnostic.primary.span.end, text.size());
      EXPECT_LT(render(diagnostic, sources).size(), 8000U);
    }
    EXPECT_LE(diagnostics.all().size(), max_syntax_errors + max_lexical_errors + 2);
  });
  return outcome;
}

using Codes = std::vector<std::string>;

TEST(ParserRobustness, NestingIsLimited) {
  for (std::string open :
       {"(", "[", "-", "not ", "if ", "if a then ", "if a then b else ", "x[", "f(",
        "sum(i: ", "f(a, ", "2 ^ ", "f(K = ", "[1, ", "x[i else ", "sum(i where ", "sum(i in 0..",
        "f() init a = (", "(a or b and c == d + e * "}) {
    for (size_t count : {size_t{10000}, 200000 / open.size()}) {
      EXPECT_EQ(parse_text("const a = " + repeated(open, count)).codes, Codes{"E0009"}) << open;
    }
  }
  EXPECT_EQ(parse_text("const a = " + repeated("(", 10000) + "1" + repeated(")", 10000)).codes,
            Codes{"E0009"});
  for (std::string open : {"when a { ", "repeat 2 { ", "when a { } else { "}) {
    std::string text = "layer f() -> y: real[] { " + repeated(open, 100000);
    EXPECT_EQ(parse_text(text).codes.front(), "E0009") << open;
    EXPECT_EQ(parse_text(text + repeated("}", 100001)).codes, Codes{"E0009"}) << open;
  }
}

TEST(ParserRobustness, NestingUpToTheLimitWorks) {
  EXPECT_EQ(parse_text("const a = " + repeated("(", 200) + "1" + repeated(")", 200)).codes,
            Codes{});
  EXPECT_EQ(parse_text("const a = " + repeated("(", 201) + "1" + repeated(")", 201)).codes,
            Codes{"E0009"});
  EXPECT_EQ(parse_text("const a = " + repeated("f(", 200) + "1" + repeated(")", 200)).codes,
            Codes{});
  EXPECT_EQ(parse_text("const a = " + repeated("(a or b and c == d + e * ", 199) + "1" +
                       repeated(")", 199))
                .codes,
            Codes{});
  EXPECT_EQ(
      parse_text("layer f() -> y: real[] {" + repeated("when a {", 199) + repeated("}", 200)).codes,
      Codes{});
  EXPECT_EQ(
      parse_text("layer f() -> y: real[] {" + repeated("when a {", 200) + repeated("}", 201)).codes,
      Codes{"E0009"});
}

TEST(ParserRobustness, ChainsAreLimitedByTheHeightOfTheirTree) {
  for (std::string link : {" + 1", " * 1", " and 1", " or 1", "[1]", " - 1", " // 1"}) {
    EXPECT_EQ(parse_text("const a = x" + repeated(link, 999)).codes, Codes{}) << link;
    EXPECT_EQ(parse_text("const a = x" + repeated(link, 1000)).codes, Codes{"E0009"}) << link;
    EXPECT_EQ(parse_text("const a = x" + repeated(link, 200000)).codes, Codes{"E0009"}) << link;
  }
  // 200 levels of 900 terms each would be a tree of height 180,000.
  std::string text = "1";
  for (int level = 0; level < 3; ++level) text = "(" + text + repeated(" + 1", 500) + ")";
  EXPECT_EQ(parse_text("const a = " + text).codes, Codes{"E0009"});
}

TEST(ParserRobustness, AfterALongExpressionTheNextStatementIsParsed) {
  Outcome outcome = parse_text("layer f() -> y: real[] {\n  a = 1" + repeated(" + 1", 5000) +
                               "\n  b = $\n}\nconst c = ;");
  EXPECT_EQ(outcome.codes, (Codes{"E0009", "E0008", "E0001"}));
}

TEST(ParserRobustness, WideTextsAreNoProblem) {
  EXPECT_EQ(parse_text("const a = [1" + repeated(", 1", 100000) + "]").codes, Codes{});
  EXPECT_EQ(parse_text("const a = f(1" + repeated(", 1", 100000) + ")").codes, Codes{});
  EXPECT_EQ(parse_text(repeated("const a = 1\n", 50000)).codes, Codes{});
  EXPECT_EQ(parse_text("# " + repeated("a ", 1000000)).codes, Codes{});
}

TEST(ParserRobustness, TellingCallsFromReductionsTakesLinearTime) {
  // Each `max(` would scan to the end of the file if the `:` were looked for from there.
  auto seconds = [](size_t count) {
    std::string text = "const a = [" + repeated("max(a, ", 150) + "1" + repeated(")", 150);
    for (size_t i = 0; i < count; ++i) text += ", max(max(a, b), max(k: x[k]))";
    text += "]";
    std::clock_t begin = std::clock();  // of this process, so that a busy machine does not matter
    EXPECT_EQ(parse_text(text).codes, Codes{});
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  seconds(1000);
  double small = seconds(2000);
  double large = seconds(16000);
  EXPECT_LT(large, 8 * small * 4 + 0.5);
}

TEST(ParserRobustness, ErrorsInBulkStayBounded) {
  for (std::string text : {";",
                           ")",
                           "}",
                           "{",
                           "fn ",
                           "model m ",
                           "x = ",
                           "data d { ",
                           "train { ",
                           "a < b < ",
                           "sum(i) ",
                           "layer f(",
                           "@",
                           "..",
                           "\"",
                           "\\",
                           "1.",
                           "import ",
                           "when ",
                           "fn f() = ",
                           "deriv x = ",
                           "optimizer o() for ",
                           "const a = x[",
                           "layer f() -> (",
                           "\xFF",
                           "a,",
                           "if then else "}) {
    for (std::string before :
         {"", "const a = ", "layer f() -> y: real[] { ", "train { ", "data d { train { "}) {
      for (std::string between : {"", "\n"}) {
        parse_text(before + repeated(text + between, 2000));
      }
    }
  }
}

TEST(ParserRobustness, EveryPrefixOfAFileParsesWithoutCrash) {
  std::ifstream file(std::string(FUSEGRAD_SOURCE_DIR) + "/tests/frontend/programs/own_parts.fg");
  std::stringstream buffer;
  buffer << file.rdbuf();
  std::string text = buffer.str();
  ASSERT_GT(text.size(), 1000U);
  for (size_t length = 0; length < text.size(); length += 3) parse_text(text.substr(0, length));
}

TEST(ParserRobustness, RandomBytesParseWithoutCrash) {
  std::mt19937 random(1);
  const std::string alphabet = "abX01 \n\t(){}[]<>=-+*/%^:,.;@!\"\\#_\x01\xC3\xA9\xFF";
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += alphabet[random() % alphabet.size()];
    parse_text(text);
  }
}

// One token left out or doubled, two thousand times over all programs: nothing crashes, everything
// ends, and where there is a message, the first one is near the change.
TEST(ParserRobustness, SingleTokenMutations) {
  constexpr size_t mutations = 2000;
  SourceManager sources;
  Diagnostics diagnostics;
  std::vector<TokenStream> streams;
  for (std::string name : {"library", "softmax_regression", "mlp", "lenet", "resnet",
                           "char_transformer", "autoencoder", "churn", "own_parts"}) {
    std::ifstream file(std::string(FUSEGRAD_SOURCE_DIR) + "/tests/frontend/programs/" + name +
                       ".fg");
    std::stringstream buffer;
    buffer << file.rdbuf();
    streams.push_back(lex(sources, sources.add(name, buffer.str()), diagnostics));
    ASSERT_GT(streams.back().tokens.size(), 100U) << name;
  }
  std::mt19937 random(2);
  size_t with_error = 0;
  size_t near = 0;
  for (size_t round = 0; round < mutations; ++round) {
    uint32_t number = static_cast<uint32_t>(random() % streams.size());
    const std::vector<Token>& tokens = streams[number].tokens;
    const Token& token = tokens[random() % (tokens.size() - 1)];
    std::string mutated(sources.text(number));
    std::string word = mutated.substr(token.begin, token.end - token.begin);
    bool removes = random() % 2 == 0;
    if (removes) {
      mutated.replace(token.begin, word.size(), " ");
    } else {
      mutated.insert(token.end, " " + word);
    }
    Outcome outcome = parse_text(mutated);
    if (outcome.codes.empty()) continue;
    ++with_error;
    EXPECT_LE(outcome.codes.size(), 10U)
        << "one mistake, many messages, " << (removes ? "without `" : "twice `") << word << "`";
    uint32_t wanted = sources.position(number, token.begin).line;
    near += outcome.first_line >= wanted && outcome.first_line <= wanted + 1 ? 1 : 0;
  }
  RecordProperty("with_error", static_cast<int>(with_error));
  RecordProperty("near", static_cast<int>(near));
  EXPECT_GT(with_error, mutations / 2);
  EXPECT_GT(near * 10, with_error * 9) << near << " of " << with_error;
}

}  // namespace
}  // namespace fusegrad::frontend
