// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One token of a valid file is deleted, doubled, swapped with its neighbour or replaced: nothing
// crashes, no message speaks of names that the compiler made up, and what does not parse any more
// is reported near the change. FUSEGRAD_MUTANT=N runs the mutant with that number alone and prints
// it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/diagnostic_codes.h"
#include "frontend/elaborate.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/lexer.h"
#include "frontend/library.h"
#include "frontend/parser.h"
#include "ir/tensor/verify.h"

namespace fusegrad::frontend {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t mutants = 1'000;
#else
constexpr size_t mutants = 20'000;
#endif
constexpr size_t parts = 16;

struct CorpusFile {
  std::string name;
  std::string text;
  std::vector<Token> tokens;  ///< without the end of the file
};

/// The tool's order of files: the model first.
struct Parsed {
  SourceManager sources;
  Diagnostics diagnostics;
  ast::File model;
};

ElaborateOptions model_alone() {
  ElaborateOptions options;
  options.needs_train_block = false;
  options.needs_data = false;
  options.needs_epochs = false;
  options.needs_optimizer = false;
  return options;
}

std::optional<Job> elaborate_one(Parsed& parsed) {
  static const ast::File library = [] {
    SourceManager sources;
    Diagnostics diagnostics;
    sources.add("model.fg", "");
    const uint32_t file = sources.add(std::string(library_file_name), std::string(library_text()));
    return parse(sources, file, diagnostics);
  }();
  parsed.sources.add(std::string(library_file_name), std::string(library_text()));
  return elaborate(parsed.model, library, model_alone(), parsed.sources, parsed.diagnostics);
}

Parsed parse_one(const std::string& text) {
  Parsed parsed;
  const uint32_t file = parsed.sources.add("model.fg", text);
  parsed.model = parse(parsed.sources, file, parsed.diagnostics);
  return parsed;
}

std::vector<Token> tokens_of(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("model.fg", text);
  std::vector<Token> tokens = lex(sources, file, diagnostics).tokens;
  tokens.pop_back();
  return tokens;
}

/// All model files of examples and tests that are valid, in the order of their names.
const std::vector<CorpusFile>& corpus() {
  static const std::vector<CorpusFile> files = [] {
    const std::filesystem::path root = FUSEGRAD_SOURCE_DIR;
    std::vector<std::pair<std::string, std::string>> texts;
    for (const char* folder : {"examples", "tests"}) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
        if (entry.path().extension() != ".fg") continue;
        std::ifstream in(entry.path(), std::ios::binary);
        std::stringstream text;
        text << in.rdbuf();
        texts.emplace_back(std::filesystem::relative(entry.path(), root).string(), text.str());
      }
    }
    for (const DiagnosticCode& entry : diagnostic_codes) {
      texts.emplace_back(std::string(entry.code), entry.right);
    }
    std::sort(texts.begin(), texts.end());
    std::vector<CorpusFile> valid;
    for (auto& [name, text] : texts) {
      // What needs more than this compiler has is tried without its data.
      for (const std::string& tried : {text, text.substr(0, text.find("\ndata ") + 1)}) {
        Parsed parsed = parse_one(tried);
        if (parsed.diagnostics.has_errors() || !elaborate_one(parsed)) continue;
        valid.push_back({name, tried, tokens_of(tried)});
        break;
      }
    }
    return valid;
  }();
  return files;
}

struct Mutant {
  std::string text;
  std::string what;  ///< for messages of this test
  size_t first = 0;  ///< tokens of the mutant that are within one token of the change ...
  size_t last = 0;   ///< ... the last of them included
};

Mutant make_mutant(size_t number) {
  std::mt19937 random(static_cast<uint32_t>(number));
  const std::vector<CorpusFile>& files = corpus();
  const CorpusFile& file = files[random() % files.size()];
  const std::vector<Token>& tokens = file.tokens;
  const size_t at = random() % tokens.size();
  const Token& token = tokens[at];
  const std::string word = file.text.substr(token.begin, token.end - token.begin);
  Mutant mutant{file.text, "", at == 0 ? 0 : at - 1, at + 1};
  switch (random() % 6) {
    case 0:
      mutant.what = fmt::format("without `{}`", word);
      mutant.text.replace(token.begin, word.size(), " ");
      mutant.last = at;
      break;
    case 1:
      mutant.what = fmt::format("twice `{}`", word);
      mutant.text.insert(token.end, " " + word);
      mutant.last = at + 2;
      break;
    case 2: {
      const Token& next = tokens[at + 1 < tokens.size() ? at + 1 : at];
      const std::string after = file.text.substr(next.begin, next.end - next.begin);
      mutant.what = fmt::format("`{}` and `{}` swapped", word, after);
      mutant.text.replace(next.begin, after.size(), " " + word + " ");
      mutant.text.replace(token.begin, word.size(), " " + after + " ");
      mutant.last = at + 2;
      break;
    }
    case 3:
    case 4:
    case 5: {
      const CorpusFile& other = files[random() % files.size()];
      const Token* source = &other.tokens[random() % other.tokens.size()];
      // Two times of three a token of the same kind: what parses is for the elaboration to judge.
      for (size_t tried = random() % 3 == 0 ? 100 : 0; tried < 100; ++tried) {
        source = &other.tokens[random() % other.tokens.size()];
        if (source->kind == token.kind) break;
      }
      const std::string replacement = other.text.substr(source->begin, source->end - source->begin);
      mutant.what = fmt::format("`{}` for `{}`", replacement, word);
      mutant.text.replace(token.begin, word.size(), " " + replacement + " ");
      break;
    }
  }
  const LineColumn place = [&] {
    SourceManager sources;
    return sources.position(sources.add(file.name, file.text), token.begin);
  }();
  mutant.what += fmt::format(" at {}:{}:{}", file.name, place.line, place.column);
  return mutant;
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Words in the text outside of comments, those of strings included; and the same with a capital,
/// which helps suggest for sizes.
std::set<std::string, std::less<>> words_of(const std::string& text) {
  std::set<std::string, std::less<>> words;
  for (const Token& token : tokens_of(text)) {
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
std::string foreign_word(const std::string& message,
                         const std::set<std::string, std::less<>>& of_model) {
  static const std::set<std::string, std::less<>> of_library =
      words_of(std::string(library_text()));
  static const std::set<std::string, std::less<>> of_language = [] {
    std::set<std::string, std::less<>> words = {
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

// What runs when the process dies, so that the mutant can be run again.
volatile std::sig_atomic_t current_mutant = 0;
void tell_mutant(int signal_number) {
  char text[] = "\nwhile FUSEGRAD_MUTANT=0000000000 was compiled\n";
  char* digit = std::strstr(text, "0000000000") + 9;
  for (int rest = current_mutant; rest > 0; rest /= 10)
    *digit-- = static_cast<char>('0' + rest % 10);
  static_cast<void>(!write(STDERR_FILENO, text, sizeof text - 1));
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

struct Totals {
  size_t compiled = 0;  ///< without an error
  size_t unparsed = 0;
  size_t near = 0;
  double slowest = 0;  ///< processor seconds
  size_t slowest_mutant = 0;
  std::vector<std::string> far;  ///< a few of them
};

void run_mutant(size_t number, Totals& totals) {
  current_mutant = static_cast<std::sig_atomic_t>(number);
  const Mutant mutant = make_mutant(number);
  SCOPED_TRACE(fmt::format("FUSEGRAD_MUTANT={}: {}", number, mutant.what));
  const std::clock_t begin = std::clock();
  Parsed parsed = parse_one(mutant.text);
  if (parsed.diagnostics.has_errors()) {
    ++totals.unparsed;
    const Span span = parsed.diagnostics.all().front().primary.span;
    const std::vector<Token> tokens = tokens_of(mutant.text);
    // The token that the first message points at; the end of the file counts as one.
    size_t at = 0;
    while (at < tokens.size() && tokens[at].end <= span.begin) ++at;
    const bool points_behind = span.begin == span.end && at > 0;
    const bool is_near = (at >= mutant.first && at <= mutant.last) ||
                         (points_behind && at - 1 >= mutant.first && at - 1 <= mutant.last);
    totals.near += is_near ? 1 : 0;
    if (!is_near && totals.far.size() < 8)
      totals.far.push_back(fmt::format("{}: {}\n{}", number, mutant.what,
                                       render(parsed.diagnostics.all().front(), parsed.sources)));
  }
  const std::optional<Job> job = elaborate_one(parsed);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  if (seconds > totals.slowest) {
    totals.slowest = seconds;
    totals.slowest_mutant = number;
  }
  EXPECT_EQ(job.has_value(), !parsed.diagnostics.has_errors());
  if (job) {
    ++totals.compiled;
    for (const std::string& mistake : ir::verify(job->module)) ADD_FAILURE() << mistake;
  }
  const std::set<std::string, std::less<>> words = words_of(mutant.text);
  for (const Diagnostic& diagnostic : parsed.diagnostics.all()) {
    EXPECT_TRUE(diagnostic.primary.span.valid()) << diagnostic.message;
    EXPECT_NE(find_diagnostic_code(diagnostic.code), nullptr) << diagnostic.code;
    EXPECT_LT(render(diagnostic, parsed.sources).size(), 8'000U);
    for (const std::string& text : texts_of(diagnostic)) {
      EXPECT_EQ(text.find('$'), std::string::npos) << render(diagnostic, parsed.sources);
      EXPECT_EQ(foreign_word(text, words), "") << render(diagnostic, parsed.sources);
    }
  }
  if (std::getenv("FUSEGRAD_MUTANT") != nullptr) {
    fmt::print("{}\n{}\n{}", mutant.what, mutant.text, render(parsed.diagnostics, parsed.sources));
  }
}

class Mutants : public ::testing::TestWithParam<size_t> {};

TEST_P(Mutants, AreReportedNearTheChange) {
  ASSERT_GT(corpus().size(), 20U);
  for (int number : {SIGABRT, SIGSEGV, SIGFPE, SIGILL}) std::signal(number, tell_mutant);
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
      "change; the slowest, {}, took {:.3f} s\n",
      count, totals.compiled, totals.unparsed, totals.near,
      100.0 * static_cast<double>(totals.near) / static_cast<double>(totals.unparsed),
      totals.slowest_mutant, totals.slowest);
  EXPECT_GT(totals.unparsed * 3, count);
  EXPECT_GT(totals.compiled * 50, count);
  EXPECT_GE(totals.near * 10, totals.unparsed * 9) << far;
  EXPECT_LT(totals.slowest, 20);
}

INSTANTIATE_TEST_SUITE_P(Parts, Mutants, ::testing::Range(size_t{0}, parts));

}  // namespace
}  // namespace fusegrad::frontend
