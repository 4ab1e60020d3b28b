// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One token of a valid file is deleted, doubled, swapped with its neighbour or replaced: nothing
// crashes, no message speaks of names that the compiler made up, and what does not parse any more
// is reported near the change. FUSEGRAD_MUTANT=N runs the mutant with that number alone and prints
// it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <set>
#include <string>
#include <vector>

#include "frontend/data_readers.h"
#include "frontend/diagnostic_codes.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/library.h"
#include "ir/tensor/verify.h"
#include "tests/support/mutants.h"

namespace fusegrad::frontend {
namespace {

#if defined(FUSEGRAD_SANITIZED)
constexpr size_t mutants = 1'000;
constexpr size_t parts = 2;  // the share that is reported near the change needs hundreds
#else
constexpr size_t mutants = 20'000;
constexpr size_t parts = 16;
#endif

using test::FrontEndRun;
using test::Mutant;
using Words = std::set<std::string, std::less<>>;

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Words in the text outside of comments, those of strings included; and the same with a capital,
/// which helps suggest for sizes.
Words words_of(const std::string& text) {
  Words words;
  for (const Token& token : test::tokens_of(text)) {
    for (size_t at = token.begin; at < token.end;) {
      size_t end = at;
      while (end < token.end && is_word_character(text[end])) ++end;
      std::string word = text.substr(at, end - at);
      at = std::max(end, at + 1);
      if (word.empty()) continue;
      words.insert(word);
      const bool is_small = word[0] >= 'a' && word[0] <= 'z';
      const bool is_capital = word[0] >= 'A' && word[0] <= 'Z';
      if (is_small) word[0] = static_cast<char>(word[0] - 'a' + 'A');
      if (is_capital) word[0] = static_cast<char>(word[0] - 'A' + 'a');
      words.insert(word);
    }
  }
  return words;
}

/// The first word in quotes that neither the files nor the language contain; empty if there is
/// none.
std::string foreign_word(const std::string& message, const Words& of_model) {
  static const Words of_library = words_of(std::string(library_text()));
  static const Words of_language = [] {
    Words words = {
        // keys, readers, types and placeholders that helps show
        "model",      "data",       "train",      "valid",     "test",       "batch",   "epochs",
        "optimizer",  "seed",       "shuffle",    "last",      "drop",       "keep",    "precision",
        "transforms", "eval_every", "checkpoint", "log_every", "time_limit", "target",  "idx",
        "npy",        "csv",        "chars",      "shift",     "raw",        "path",    "sgd",
        "lr",         "f16",        "bf16",       "f32",       "f64",        "u8",      "i32",
        "bool",       "real",       "int",        "any",       "dim",        "float",   "fusegrad",
        "list",       "NAME",       "B",          "N",         "a",          "b",       "c",
        "e",          "i",          "k",          "n",         "p",          "g",       "t",
        "x",          "y",          "f",          "name",      "key",        "value",   "sizes",
        "deriv",      "state",      "import",     "const",     "fn",         "layer",   "gradient",
        "param",      "input",      "output",     "loss",      "metric",     "require", "when",
        "repeat",     "return",     "if",         "then",      "else",       "and",     "or",
        "not",        "where",      "in",         "as",        "for",        "true",    "false",
        "inf",        "training",   "init",       "sum",       "mean",       "max",     "min",
        "argmax",     "argmin",     "all",        "step",      "steps",      "epoch",   "nodecay",
        "tagged",     "O",          "_"};
    for (std::string name : builtin_function_names()) words.insert(std::move(name));
    for (const ReaderSignature& reader : reader_signatures()) {
      words.merge(words_of(std::string(reader.text)));
    }
    return words;
  }();
  bool quoted = false;
  for (size_t at = 0; at < message.size();) {
    if (message[at] == '`') quoted = !quoted;
    if (!quoted || !is_word_character(message[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < message.size() && is_word_character(message[end])) ++end;
    std::string word = message.substr(at, end - at);
    // Instances are `dense`, `dense_2`; their parameters `dense_2.w`.
    const bool is_instance = end < message.size() && message[end] == '.' &&
                             (end + 1 < message.size() && is_word_character(message[end + 1]));
    const bool is_cut = message.compare(end, 3, "...") == 0;  // a quotation that was too long
    at = end;
    if (is_instance) {
      const size_t digits = word.find_last_not_of("0123456789");
      if (digits != std::string::npos && digits + 1 < word.size() && word[digits] == '_')
        word.resize(digits);
    }
    const bool is_number = word[0] >= '0' && word[0] <= '9';
    const bool is_known = of_model.contains(word) || of_library.contains(word) ||
                          of_language.contains(word) || is_number || is_cut;
    if (!is_known) return word;
  }
  return "";
}

std::vector<std::string> texts_of(const Diagnostic& diagnostic) {
  std::vector<std::string> texts = {diagnostic.message, diagnostic.primary.text};
  for (const Label& label : diagnostic.others) texts.push_back(label.text);
  for (const std::string& note : diagnostic.notes) texts.push_back(note);
  for (const std::string& help : diagnostic.helps) texts.push_back(help);
  return texts;
}

/// Whether the place of a message is within one token of the change; the end of the file counts as
/// a token.
bool is_near_change(Span span, const Mutant& mutant) {
  const std::vector<Token> tokens = test::tokens_of(mutant.text);
  size_t at = 0;
  while (at < tokens.size() && tokens[at].end <= span.begin) ++at;
  const bool points_behind = span.begin == span.end && at > 0;  // behind the token before
  return (at >= mutant.first && at <= mutant.last) ||
         (points_behind && at - 1 >= mutant.first && at - 1 <= mutant.last);
}

struct Totals {
  size_t compiled = 0;  ///< without an error
  size_t unparsed = 0;
  size_t near = 0;     ///< of these, reported near the change
  size_t single = 0;   ///< with exactly one error
  double slowest = 0;  ///< processor seconds
  size_t slowest_mutant = 0;
  std::vector<std::string> far;  ///< a few of them
};

void run_mutant(size_t number, Totals& totals) {
  test::set_current_mutant(number);
  const Mutant mutant = test::make_mutant(number);
  SCOPED_TRACE(fmt::format("FUSEGRAD_MUTANT={}: {}", number, mutant.what));
  const std::clock_t begin = std::clock();
  const FrontEndRun run = test::run_front_end(mutant.text);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  if (seconds > totals.slowest) {
    totals.slowest = seconds;
    totals.slowest_mutant = number;
  }
  if (!run.of_parser.empty()) {
    ++totals.unparsed;
    const bool is_near = is_near_change(run.of_parser[0].primary.span, mutant);
    totals.near += is_near ? 1 : 0;
    if (!is_near && totals.far.size() < 8)
      totals.far.push_back(
          fmt::format("{}: {}\n{}", number, mutant.what, render(run.of_parser[0], run.sources)));
  }
  EXPECT_EQ(run.job.has_value(), !run.diagnostics.has_errors());
  if (run.job) {
    ++totals.compiled;
    for (const std::string& mistake : ir::verify(run.job->module)) ADD_FAILURE() << mistake;
  } else {
    totals.single += run.diagnostics.error_count() == 1 ? 1 : 0;
  }
  const Words words = words_of(mutant.text);
  for (const Diagnostic& diagnostic : run.diagnostics.all()) {
    EXPECT_TRUE(diagnostic.primary.span.valid()) << diagnostic.message;
    EXPECT_NE(find_diagnostic_code(diagnostic.code), nullptr) << diagnostic.code;
    const std::string rendered = render(diagnostic, run.sources);
    EXPECT_LT(rendered.size(), 8'000U);
    for (const std::string& text : texts_of(diagnostic)) {
      EXPECT_EQ(text.find('$'), std::string::npos) << rendered;
      EXPECT_EQ(foreign_word(text, words), "") << rendered;
    }
  }
  if (std::getenv("FUSEGRAD_MUTANT") != nullptr) {
    fmt::print("{}\n{}\n{}", mutant.what, mutant.text, render(run.diagnostics, run.sources));
  }
  if (std::getenv("FUSEGRAD_MANY") != nullptr && run.diagnostics.error_count() > 3) {
    fmt::print("MANY {} {} {}\n", number, run.diagnostics.error_count(), mutant.what);
  }
}

class Mutants : public ::testing::TestWithParam<size_t> {};

TEST_P(Mutants, AreReportedNearTheChange) {
  ASSERT_GT(test::model_files().size(), 20U);
  test::tell_mutant_on_crash();
  Totals totals;
  if (const char* alone = std::getenv("FUSEGRAD_MUTANT")) {
    run_mutant(std::strtoul(alone, nullptr, 10), totals);
    return;
  }
  const size_t count = mutants / parts;
  for (size_t i = 0; i < count; ++i) run_mutant(GetParam() * count + i, totals);
  std::string far;
  for (const std::string& one : totals.far) far += one + "\n";
  fmt::print(
      "{} mutants: {} compile, {} do not parse, {} of them ({:.1f} %) are reported near the "
      "change; {} ({:.1f} %) of those with errors have one; the slowest, {}, took {:.3f} s\n",
      count, totals.compiled, totals.unparsed, totals.near,
      100.0 * static_cast<double>(totals.near) / static_cast<double>(totals.unparsed),
      totals.single,
      100.0 * static_cast<double>(totals.single) / static_cast<double>(count - totals.compiled),
      totals.slowest_mutant, totals.slowest);
  EXPECT_GT(totals.unparsed * 3, count);
  EXPECT_GT(totals.compiled * 50, count);
  EXPECT_GE(totals.near * 10, totals.unparsed * 9) << far;
  EXPECT_LT(totals.slowest, 20);
}

INSTANTIATE_TEST_SUITE_P(Parts, Mutants, ::testing::Range(size_t{0}, parts));

}  // namespace
}  // namespace fusegrad::frontend
