// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The mutator, and the corpus that it works on.
#include "tests/support/mutants.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "frontend/diagnostic_codes.h"
#include "frontend/lexer.h"
#include "frontend/library.h"
#include "frontend/parser.h"

namespace fusegrad::test {

using frontend::DiagnosticCode;
using frontend::Token;

FrontEndRun run_front_end(const std::string& text) {
  // The spans of its tree hold for every run: the library is always file 1.
  static const frontend::ast::File library = [] {
    SourceManager sources;
    Diagnostics diagnostics;
    sources.add("model.fg", "");
    const uint32_t file = sources.add(std::string(frontend::library_file_name),
                                      std::string(frontend::library_text()));
    return frontend::parse(sources, file, diagnostics);
  }();
  FrontEndRun run;
  const uint32_t file = run.sources.add("model.fg", text);
  const frontend::ast::File model = frontend::parse(run.sources, file, run.diagnostics);
  run.of_parser = run.diagnostics.all();
  run.sources.add(std::string(frontend::library_file_name), std::string(frontend::library_text()));
  frontend::ElaborateOptions options;
  options.needs_train_block = false;
  options.needs_data = false;
  options.needs_epochs = false;
  options.needs_optimizer = false;
  run.job = frontend::elaborate(model, library, options, run.sources, run.diagnostics);
  return run;
}

std::vector<Token> tokens_of(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("model.fg", text);
  std::vector<Token> tokens = frontend::lex(sources, file, diagnostics).tokens;
  tokens.pop_back();
  return tokens;
}

const std::vector<ModelFile>& model_files() {
  static const std::vector<ModelFile> files = [] {
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
    for (const DiagnosticCode& entry : frontend::diagnostic_codes) {
      texts.emplace_back(std::string(entry.code), entry.right);
    }
    std::sort(texts.begin(), texts.end());
    std::vector<ModelFile> valid;
    for (auto& [name, text] : texts) {
      // What needs more than this compiler has is tried without its data.
      for (const std::string& tried : {text, text.substr(0, text.find("\ndata ") + 1)}) {
        if (!run_front_end(tried).job) continue;
        valid.push_back({name, tried, tokens_of(tried)});
        break;
      }
    }
    return valid;
  }();
  return files;
}

Mutant make_mutant(size_t number) {
  std::mt19937 random(static_cast<uint32_t>(number));
  const std::vector<ModelFile>& files = model_files();
  const ModelFile& file = files[random() % files.size()];
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
      const ModelFile& other = files[random() % files.size()];
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

namespace {

volatile std::sig_atomic_t current_mutant = 0;

void tell_mutant(int signal_number) {
  char text[] = "\nwhile FUSEGRAD_MUTANT=0000000000 was under work\n";
  char* digit = std::strstr(text, "0000000000") + 9;
  for (int rest = current_mutant; rest > 0; rest /= 10)
    *digit-- = static_cast<char>('0' + rest % 10);
  static_cast<void>(!write(STDERR_FILENO, text, sizeof text - 1));
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

}  // namespace

void tell_mutant_on_crash() {
  for (int number : {SIGABRT, SIGSEGV, SIGFPE, SIGILL}) std::signal(number, tell_mutant);
}

void set_current_mutant(size_t number) { current_mutant = static_cast<std::sig_atomic_t>(number); }

}  // namespace fusegrad::test
