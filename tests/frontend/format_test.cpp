// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The canonical layout of model files.
#include "frontend/format.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace fusegrad::frontend {
namespace {

std::string formatted(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("m.fg", text);
  return format(sources, file, diagnostics).value_or("(syntax error)");
}

TEST(Format, SpacesBetweenTokens) {
  EXPECT_EQ(formatted("fn f ( x,a=- 1 )=if x>=0 and not(x==a)then-x else x^2-a*(  x +1 )\n"
                      "  deriv ! x=1\n"),
            "fn f(x, a = -1) = if x >= 0 and not (x == a) then -x else x ^ 2 - a * (x + 1)\n"
            "  deriv! x = 1\n");
  EXPECT_EQ(formatted("layer l(x :real[...,I],O:dim=3)->(y:real[..., O],z : real[ ]) {\n"
                      "param w:real[I,O]=0@nodecay\n"
                      "y[...,o in 0 .. O]=sum( i where i<2 :x[..., i - 1 else-1]*w[i,o])\n"
                      "require O>0,\"why\"\n}\n"),
            "layer l(x: real[..., I], O: dim = 3) -> (y: real[..., O], z: real[]) {\n"
            "  param w: real[I, O] = 0 @nodecay\n"
            "  y[..., o in 0..O] = sum(i where i < 2: x[..., i - 1 else -1] * w[i, o])\n"
            "  require O > 0, \"why\"\n"
            "}\n");
}

TEST(Format, IndentsBlocksAndContinuations) {
  EXPECT_EQ(formatted("model m {\n"
                      "when training {\n"
                      "h = f(\n"
                      "a,\n"
                      "b\n"
                      ")\n"
                      "   } else {\n"
                      "h = a\n"
                      "      + b\n"
                      "}\n"
                      "}\n"),
            "model m {\n"
            "  when training {\n"
            "    h = f(\n"
            "        a,\n"
            "        b\n"
            "    )\n"
            "  } else {\n"
            "    h = a\n"
            "        + b\n"
            "  }\n"
            "}\n");
}

TEST(Format, KeepsWhatTheAuthorAligned) {
  EXPECT_EQ(formatted("model m {\n"
                      "  x      =   1\n"
                      "  logits = 2\n"
                      "  a = 3\n"
                      "  longer = 4\n"
                      "}\n"),
            "model m {\n"
            "  x      = 1\n"
            "  logits = 2\n"
            "  a = 3\n"
            "  longer = 4\n"
            "}\n");
}

TEST(Format, StatementsOfOneLineStandInColumns) {
  EXPECT_EQ(formatted("train {\n"
                      "batch = 128 epochs = 3\n"
                      "shuffle = false      last = keep\n"
                      "}\n"
                      "data d { train { a = idx(\"x\")  b = idx(\"y\") } }\n"),
            "train {\n"
            "  batch = 128       epochs = 3\n"
            "  shuffle = false   last = keep\n"
            "}\n"
            "data d { train { a = idx(\"x\")   b = idx(\"y\") } }\n");
}

TEST(Format, CommentsStayWhereTheyBelong) {
  EXPECT_EQ(formatted("\n\n# about f\nfn f(x) = x # one   \n"
                      "fn longer(x) = x    # two\n\n\n\n"
                      "model m {\n\n# first\nx = f(  # inside\n# more\n1)\n\n  # last\n\n}\n\n"),
            "# about f\n"
            "fn f(x) = x       # one\n"
            "fn longer(x) = x  # two\n"
            "\n"
            "model m {\n"
            "  # first\n"
            "  x = f(  # inside\n"
            "      # more\n"
            "      1)\n"
            "\n"
            "  # last\n"
            "}\n");
}

TEST(Format, RefusesWhatDoesNotParse) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("m.fg", "model m {\n  x = = 1\n}\n");
  EXPECT_FALSE(format(sources, file, diagnostics));
  EXPECT_TRUE(diagnostics.has_errors());
}

TEST(Format, EveryFileOfTheRepositoryKeepsItsLayoutTheSecondTime) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(FUSEGRAD_SOURCE_DIR)) {
    if (entry.path().extension() != ".fg") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    const std::string once = formatted(text.str());
    if (once == "(syntax error)") continue;
    ++files;
    EXPECT_EQ(formatted(once), once) << entry.path();
  }
  EXPECT_GT(files, 50);
}

TEST(Format, ExamplesAndLibraryAreFormatted) {
  for (const char* folder : {"examples", "frontend", "bench"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             std::filesystem::path(FUSEGRAD_SOURCE_DIR) / folder)) {
      if (entry.path().extension() != ".fg") continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::stringstream text;
      text << in.rdbuf();
      EXPECT_EQ(formatted(text.str()), text.str()) << entry.path();
    }
  }
}

}  // namespace
}  // namespace fusegrad::frontend
