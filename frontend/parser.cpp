// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parser's entry, and the items of a file: definitions, models, data and training blocks.
#include "frontend/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "frontend/lexer.h"
#include "frontend/parser_state.h"

namespace fusegrad::frontend {

ast::File parse(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics) {
  Diagnostics lexical;
  Parser parser(sources, file, lex(sources, file, lexical));
  ast::File parsed = parser.parse_file();

  // A character that was dropped leaves a hole in its line; what the parser says about that is no
  // news.
  std::set<uint32_t> spoilt_lines;
  for (const Diagnostic& diagnostic : lexical.all()) {
    spoilt_lines.insert(sources.position(file, diagnostic.primary.span.begin).line);
  }
  std::vector<Diagnostic> all = lexical.all();
  for (Diagnostic& diagnostic : parser.take_diagnostics()) {
    bool follows =
        (diagnostic.code == "E0001" || diagnostic.code == "E0016") &&
        spoilt_lines.contains(sources.position(file, diagnostic.primary.span.begin).line);
    if (!follows) all.push_back(std::move(diagnostic));
  }
  std::stable_sort(all.begin(), all.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return a.primary.span.begin < b.primary.span.begin;
  });
  for (Diagnostic& diagnostic : all) diagnostics.add(std::move(diagnostic));
  return parsed;
}

ast::File Parser::parse_file() {
  ast::File out;
  out.file = file_;
  while (!at_end()) {
    size_t begin = at_;
    nesting_ = 0;
    in_entries_ = false;
    suffixes_allowed_ = true;
    if (!parse_item(out)) recover_in_file(begin);
  }
  return out;
}

bool Parser::parse_item(ast::File& out) {
  // Adds what there is of an item once its name is known, whether or not the rest could be parsed.
  auto parse_into = [&]<typename Item>(Item item, bool (Parser::*rule)(Item&)) {
    size_t begin = at_;
    if constexpr (requires { item.documentation; }) {
      item.documentation = documentation_above(current());
    }
    bool parsed = (this->*rule)(item);
    item.span = span_since(begin);
    out.items.push_back(std::move(item));
    return parsed;
  };

  if (at(TokenKind::word_import)) return parse_into(ast::Import{}, &Parser::parse_import);
  if (at(TokenKind::word_const)) return parse_into(ast::Constant{}, &Parser::parse_constant);
  if (at(TokenKind::word_fn)) return parse_into(ast::Function{}, &Parser::parse_function);
  if (at(TokenKind::word_layer)) return parse_into(ast::Layer{}, &Parser::parse_layer);
  if (at(TokenKind::word_optimizer) || at(TokenKind::word_gradient)) {
    return parse_into(ast::Optimizer{}, &Parser::parse_optimizer);
  }
  if (at(TokenKind::word_model)) return parse_into(ast::Model{}, &Parser::parse_model);
  if (at(TokenKind::word_data)) return parse_into(ast::Data{}, &Parser::parse_data);
  if (at(TokenKind::word_train)) return parse_into(ast::Train{}, &Parser::parse_train);

  if (at(TokenKind::semicolon)) {
    unexpected_with_label("a definition ends where the next one begins");
    advance();
    return true;
  }
  if (at(TokenKind::right_brace)) {
    unexpected_with_label("no block is open here");
    advance();
    return true;
  }
  if (begins_statement(at_)) {
    unexpected_with_label("a statement stands inside a `layer`, a `model` or an `optimizer`");
    return false;
  }
  unexpected_with_label("expected a definition")
      .notes.push_back(
          "a file holds `import`, `const`, `fn`, `layer`, `optimizer`, `gradient`, `model`, `data` "
          "and `train`");
  return false;
}

bool Parser::parse_import(ast::Import& out) {
  advance();
  if (!at(TokenKind::string)) return unexpected("the path of a file, as a string");
  return parse_primary(out.path);
}

bool Parser::parse_constant(ast::Constant& out) {
  advance();
  return expect_name(out.name, NameCase::either, "a name") && expect(TokenKind::assign) &&
         parse_expression(out.value);
}

bool Parser::parse_value_parameters(std::vector<ast::ValueParameter>& out) {
  size_t opening = at_;
  if (!expect(TokenKind::left_paren)) return false;
  if (accept(TokenKind::right_paren)) return true;
  Uniqueness uniqueness(*this);
  do {
    size_t begin = at_;
    ast::ValueParameter& parameter = out.emplace_back();
    if (!expect_name(parameter.name, NameCase::lower, "the name of a parameter")) return false;
    if (at(TokenKind::colon)) {
      unexpected_with_label("parameters of scalar rules have no types: they are numbers");
      return false;
    }
    if (accept(TokenKind::assign) && !parse_expression(parameter.default_value.emplace()))
      return false;
    parameter.span = span_since(begin);
    uniqueness.add(parameter.name, "parameter");
  } while (accept(TokenKind::comma));
  return expect_closing(opening, "`,`");
}

bool Parser::parse_function(ast::Function& out) {
  advance();
  if (!expect_name(out.name, NameCase::lower, "the name of a function") ||
      !parse_value_parameters(out.parameters)) {
    return false;
  }
  if (at(TokenKind::left_brace)) {
    out.has_block = true;
    if (!parse_block(BlockKind::function, out.bindings, &out.result)) return false;
  } else if (!expect(TokenKind::assign, "`=` or `{`") || !parse_expression(out.result)) {
    return false;
  }
  Uniqueness uniqueness(*this);
  while (at(TokenKind::word_deriv)) {
    size_t begin = at_;
    advance();
    ast::Derivative& derivative = out.derivatives.emplace_back();
    derivative.is_override = accept(TokenKind::exclamation);
    if (!expect_name(derivative.parameter, NameCase::lower, "the name of a parameter") ||
        !expect(TokenKind::assign) || !parse_expression(derivative.value)) {
      return false;
    }
    derivative.span = span_since(begin);
    uniqueness.add(derivative.parameter, "the derivative by");
  }
  return true;
}

bool Parser::parse_layer(ast::Layer& out) {
  advance();
  bool has_header = parse_layer_header(out);
  // The body is worth parsing all the same: it may have errors of its own.
  if (!has_header && !recover_to_brace()) return false;
  return parse_block(BlockKind::layer, out.body);
}

bool Parser::parse_layer_header(ast::Layer& out) {
  size_t begin = at_;
  if (!expect_name(out.name, NameCase::lower, "the name of a layer")) return false;
  size_t opening = at_;
  if (!expect(TokenKind::left_paren)) return false;
  Uniqueness uniqueness(*this);
  if (!accept(TokenKind::right_paren)) {
    do {
      if (!parse_layer_parameter(out.parameters.emplace_back())) return false;
      uniqueness.add(out.parameters.back().name, "parameter");
    } while (accept(TokenKind::comma));
    if (!expect_closing(opening, "`,`")) return false;
  }
  if (!expect(TokenKind::right_arrow, "`->` and the outputs")) return false;
  opening = at_;
  if (accept(TokenKind::left_paren)) {
    do {
      if (!parse_layer_output(out.outputs.emplace_back())) return false;
      uniqueness.add(out.outputs.back().name, "name");
    } while (accept(TokenKind::comma));
    if (!expect_closing(opening, "`,`")) return false;
  } else {
    if (!parse_layer_output(out.outputs.emplace_back())) return false;
    uniqueness.add(out.outputs.back().name, "name");
  }
  out.signature_span = span_since(begin);
  return true;
}

bool Parser::parse_layer_parameter(ast::LayerParameter& out) {
  size_t begin = at_;
  if (!expect_name(out.name, NameCase::either, "the name of a parameter") ||
      !expect(TokenKind::colon, "`:` and what the parameter is")) {
    return false;
  }
  bool has_sizes = ahead(1).kind == TokenKind::left_bracket;
  bool is_value = !has_sizes && (at_word("float") || at_word("int") || at_word("bool"));
  if (at(TokenKind::word_dim)) {
    out.kind = ast::LayerParameterKind::size;
    advance();
    if (!out.name.is_dimension()) {
      std::string capital = quote(out.name.span);
      if (capital[0] >= 'a' && capital[0] <= 'z')
        capital[0] = static_cast<char>(capital[0] - 'a' + 'A');
      report("E0005", out.name.span, "a dimension name starts with a capital letter",
             "this is declared as a dimension")
          .helps.push_back(fmt::format("write `{}: dim`", capital));
    }
  } else if (is_value) {
    out.kind = at_word("float") ? ast::LayerParameterKind::real
               : at_word("int") ? ast::LayerParameterKind::integer
                                : ast::LayerParameterKind::boolean;
    advance();
  } else {
    out.kind = ast::LayerParameterKind::tensor;
    if (!parse_type(out.type.emplace(), begin)) return false;
    if (accept(TokenKind::word_in) && !parse_range(out.range.emplace())) return false;
  }
  if (out.kind != ast::LayerParameterKind::size && out.name.is_dimension()) {
    report("E0012", out.name.span,
           fmt::format("`{}` starts with a capital letter", quote(out.name.span)),
           out.kind == ast::LayerParameterKind::tensor ? "this is a tensor"
                                                       : "this is a value, not a size")
        .notes.push_back("capital letters are for sizes; all other names start with a small one");
  }
  if (out.kind != ast::LayerParameterKind::tensor && accept(TokenKind::assign) &&
      !parse_expression(out.default_value.emplace())) {
    return false;
  }
  out.span = span_since(begin);
  return true;
}

bool Parser::parse_layer_output(ast::LayerOutput& out) {
  size_t begin = at_;
  if (!expect_name(out.name, NameCase::lower, "the name of an output") ||
      !expect(TokenKind::colon, "`:` and the type of the output") || !parse_type(out.type, begin)) {
    return false;
  }
  out.span = span_since(begin);
  return true;
}

bool Parser::parse_optimizer(ast::Optimizer& out) {
  out.is_transform = at(TokenKind::word_gradient);
  advance();
  bool has_header = parse_optimizer_header(out);
  if (!has_header && !recover_to_brace()) return false;
  return parse_block(BlockKind::optimizer, out.body);
}

bool Parser::parse_optimizer_header(ast::Optimizer& out) {
  std::string_view what =
      out.is_transform ? "the name of a gradient transform" : "the name of an optimizer";
  if (!expect_name(out.name, NameCase::lower, what) || !parse_value_parameters(out.parameters) ||
      !expect(TokenKind::word_for)) {
    return false;
  }
  Uniqueness uniqueness(*this);
  do {
    if (out.subjects.size() == 2)
      return unexpected("`{`: a rule is for a parameter and its gradient");
    if (!expect_name(out.subjects.emplace_back(), NameCase::lower, "a name")) return false;
    uniqueness.add(out.subjects.back(), "name");
  } while (accept(TokenKind::comma));
  return true;
}

bool Parser::parse_model(ast::Model& out) {
  advance();
  bool has_header = expect_name(out.name, NameCase::lower, "the name of a model");
  if (!has_header && !recover_to_brace()) return false;
  return parse_block(BlockKind::model, out.body);
}

bool Parser::parse_data(ast::Data& out) {
  advance();
  in_entries_ = true;
  if (!expect_name(out.name, NameCase::lower, "a name for the data")) return false;
  size_t opening = at_;
  if (!expect(TokenKind::left_brace)) return false;
  Uniqueness uniqueness(*this);
  while (!at_end() && !at(TokenKind::right_brace)) {
    bool is_split = ahead(1).kind == TokenKind::left_brace;
    if (begins_item(at_) && !is_split) return report_missing_brace(opening);
    ast::Split& split = out.splits.emplace_back();
    if (parse_split(split)) {
      uniqueness.add(split.name, "split");
      continue;
    }
    while (!at_end() && !at(TokenKind::left_brace) && !at(TokenKind::right_brace)) advance();
    if (at(TokenKind::left_brace)) skip_braces();
  }
  return expect_closing(opening);
}

bool Parser::parse_split(ast::Split& out) {
  size_t begin = at_;
  if (!parse_key(out.name, "the name of a split, such as `train` or `test`")) return false;
  if (!parse_entries(out.entries)) return false;
  out.span = span_since(begin);
  return true;
}

bool Parser::parse_train(ast::Train& out) {
  advance();
  in_entries_ = true;
  if (!at(TokenKind::left_brace) &&
      !expect_name(out.name, NameCase::lower, "`{`, or a name for the training")) {
    return false;
  }
  return parse_entries(out.entries);
}

bool Parser::parse_key(ast::Identifier& out, std::string_view what) {
  if (!is_keyword(current().kind)) return expect_name(out, NameCase::lower, what);
  out = {std::string(text_of(current())), span_of(current())};
  advance();
  return true;
}

bool Parser::parse_entries(std::vector<ast::Entry>& out) {
  size_t opening = at_;
  if (!expect(TokenKind::left_brace)) return false;
  Uniqueness uniqueness(*this);
  while (!at_end() && !at(TokenKind::right_brace)) {
    bool is_split = !begins_entry(at_) && ahead(1).kind == TokenKind::left_brace &&
                    (at(TokenKind::name) || is_keyword(current().kind));
    if ((begins_item(at_) && !begins_entry(at_)) || is_split) {
      report_missing_brace(opening);
      return true;
    }
    size_t begin = at_;
    ast::Entry& entry = out.emplace_back();
    if (parse_key(entry.key, "a key, as in `key = value`") && expect(TokenKind::assign) &&
        parse_expression(entry.value)) {
      entry.span = span_since(begin);
      uniqueness.add(entry.key, "key");
      end_of_statement();
    } else {
      entry.span = span_since(begin);
      recover_in_block(begin);
    }
  }
  return expect_closing(opening);
}

std::string Parser::documentation_above(const Token& token) const {
  // Lines upwards from the definition, each with nothing but a comment; a line of dashes (or `=`,
  // `*`, `#`) is an ornament between parts of a file and ends the text.
  uint32_t line = sources_.position(file_, token.begin).line;
  auto without_blanks = [](std::string_view text) {
    size_t first = text.find_first_not_of(" \t");
    text.remove_prefix(first == std::string_view::npos ? text.size() : first);
    size_t last = text.find_last_not_of(" \t\r");
    return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
  };
  std::string_view before = sources_.line(file_, line);
  before = before.substr(0, sources_.position(file_, token.begin).column - 1);
  if (!without_blanks(before).empty()) return "";

  std::vector<std::string_view> lines;
  while (line > 1) {
    std::string_view text = without_blanks(sources_.line(file_, --line));
    if (!text.starts_with('#')) break;
    text.remove_prefix(1);
    std::string_view content = without_blanks(text);
    bool is_ornament = content.starts_with("---") || content.starts_with("===") ||
                       content.starts_with("***") || content.starts_with("##");
    if (is_ornament) break;
    if (text.starts_with(' ')) text.remove_prefix(1);
    lines.push_back(text);
  }
  std::reverse(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace fusegrad::frontend
