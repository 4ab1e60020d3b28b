// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layout works on tokens, not on the tree, so that nothing of the text can get lost; the tree only
// says where statements begin and where their `=` stands.
#include "frontend/format.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "frontend/lexer.h"
#include "frontend/parser.h"
#include "ir/support/check.h"

namespace fusegrad::frontend {
namespace {

constexpr size_t indent_of_block = 2;
constexpr size_t indent_of_continuation = 4;
constexpr size_t gap_between_statements = 3;
constexpr size_t gap_before_comment = 2;

/// Offsets of what the tree knows and tokens do not.
struct Marks {
  std::set<uint32_t> statements;        ///< where an item, a statement or an entry begins
  std::set<uint32_t> derivatives;       ///< where a `deriv` clause begins
  std::map<uint32_t, uint32_t> assign;  ///< from the beginning of a statement to its `=` or `<-`
};

class MarkCollector {
 public:
  explicit MarkCollector(Marks& marks) : marks_(marks) {}

  void operator()(const ast::Import& item) { begin(item.span); }
  void operator()(const ast::Constant& item) { begin(item.span); }
  void operator()(const ast::Model& item) { block(item.span, item.body); }
  void operator()(const ast::Layer& item) { block(item.span, item.body); }
  void operator()(const ast::Optimizer& item) { block(item.span, item.body); }
  void operator()(const ast::Function& item) {
    block(item.span, item.bindings);
    for (const ast::Derivative& derivative : item.derivatives) {
      marks_.derivatives.insert(derivative.span.begin);
    }
  }
  void operator()(const ast::Data& item) {
    begin(item.span);
    for (const ast::Split& split : item.splits) {
      begin(split.span);
      entries(split.entries);
    }
  }
  void operator()(const ast::Train& item) {
    begin(item.span);
    entries(item.entries);
  }

 private:
  void begin(Span span) { marks_.statements.insert(span.begin); }

  void block(Span item, const std::vector<ast::Statement>& statements) {
    begin(item);
    body(statements);
  }

  void body(const std::vector<ast::Statement>& statements) {
    for (const ast::Statement& statement : statements) {
      begin(statement.span);
      if (statement.operator_span.valid()) {
        marks_.assign[statement.span.begin] = statement.operator_span.begin;
      }
      body(statement.body);
      body(statement.otherwise);
    }
  }

  void entries(const std::vector<ast::Entry>& list) {
    for (const ast::Entry& entry : list) begin(entry.span);
  }

  Marks& marks_;
};

/// What stands between two tokens or on a line of its own: `# ...` without what follows the text.
struct Comment {
  uint32_t begin = 0;
  std::string text;
};

/// A statement of a line, or its first part, up to the next statement.
struct Cell {
  std::string text;
  size_t assign = std::string::npos;  ///< of the first cell: bytes in front of its `=` or `<-`
};

struct Line {
  size_t indent = 0;
  std::vector<Cell> cells;  ///< none: empty, or a comment only
  std::string comment;
  size_t source_column = 0;  ///< of the `=` in the source; 0: none
  bool is_empty() const { return cells.empty() && comment.empty(); }
};

bool is_closing(TokenKind kind) {
  return kind == TokenKind::right_paren || kind == TokenKind::right_bracket ||
         kind == TokenKind::right_brace;
}

bool is_opening(TokenKind kind) {
  return kind == TokenKind::left_paren || kind == TokenKind::left_bracket;
}

/// Whether a value can end with this token, so that a `-` behind it subtracts and a bracket behind
/// it belongs to it.
bool ends_value(TokenKind kind) {
  switch (kind) {
    case TokenKind::name:
    case TokenKind::dimension:
    case TokenKind::number:
    case TokenKind::string:
    case TokenKind::ellipsis:
    case TokenKind::right_paren:
    case TokenKind::right_bracket:
    case TokenKind::word_true:
    case TokenKind::word_false:
    case TokenKind::word_inf:
    case TokenKind::word_training:
      return true;
    default:
      return false;
  }
}

class Formatter {
 public:
  Formatter(std::string_view text, const TokenStream& stream, const Marks& marks)
      : text_(text), tokens_(stream.tokens), marks_(marks) {}

  std::string run() {
    split_into_lines();
    drop_empty_lines();
    align_assignments();
    align_cells();
    return write();
  }

 private:
  // ---- Lines.

  void split_into_lines() {
    uint32_t end = 0;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const Token& token = tokens_[i];
      between(end, token.begin, i);
      if (token.kind == TokenKind::end_of_file) break;
      add_token(i);
      end = token.end;
    }
  }

  /// White space and comments in front of the token with that number.
  void between(uint32_t begin, uint32_t end, size_t next) {
    uint32_t at = begin;
    while (at < end) {
      if (text_[at] == '\n') {
        if (at_line_start_) lines_.emplace_back();
        at_line_start_ = true;
        ++at;
      } else if (text_[at] == '#') {
        uint32_t stop = at;
        while (stop < end && text_[stop] != '\n') ++stop;
        std::string_view comment = text_.substr(at, stop - at);
        while (comment.back() == ' ' || comment.back() == '\t' || comment.back() == '\r') {
          comment.remove_suffix(1);
        }
        if (at_line_start_) start_line(indent_of_comment(next));
        lines_.back().comment = comment;
        at = stop;
      } else {
        ++at;
      }
    }
  }

  void start_line(size_t indent) {
    lines_.emplace_back().indent = indent;
    at_line_start_ = false;
  }

  bool begins_statement(const Token& token) const {
    return marks_.statements.contains(token.begin) || token.kind == TokenKind::word_return;
  }

  /// Of a line that begins with this token.
  size_t indent_of(const Token& token) const {
    const size_t block = depth_ * indent_of_block;
    if (token.kind == TokenKind::right_brace) return block - std::min(block, indent_of_block);
    if (begins_statement(token) || is_closing(token.kind)) return block;
    if (marks_.derivatives.contains(token.begin)) return block + indent_of_block;
    if (token.kind == TokenKind::word_else && previous_ == TokenKind::right_brace) return block;
    if (token.kind == TokenKind::left_brace || token.kind == TokenKind::end_of_file) return block;
    return block + indent_of_continuation;
  }

  /// A comment stands as what it speaks of; in front of a `}` it belongs to the block.
  size_t indent_of_comment(size_t next) const {
    const Token& token = tokens_[next];
    if (token.kind == TokenKind::right_brace) return depth_ * indent_of_block;
    return indent_of(token);
  }

  void add_token(size_t number) {
    const Token& token = tokens_[number];
    const std::string_view spelling = text_.substr(token.begin, token.end - token.begin);
    if (at_line_start_) {
      start_line(indent_of(token));
      new_cell(token);
    } else if (lines_.back().cells.empty() ||
               (begins_statement(token) && previous_ != TokenKind::left_brace)) {
      new_cell(token);
    } else if (needs_space(number)) {
      lines_.back().cells.back().text += ' ';
    }
    Cell& cell = lines_.back().cells.back();
    if (lines_.back().cells.size() == 1 && token.begin == awaited_assign_) {
      cell.assign = cell.text.size();
      lines_.back().source_column = column_of(token.begin);
    }
    cell.text += spelling;
    if (token.kind == TokenKind::left_brace) ++depth_;
    if (token.kind == TokenKind::right_brace && depth_ > 0) --depth_;
    previous_was_prefix_ = token.kind == TokenKind::minus && !ends_value(previous_);
    previous_ = token.kind;
  }

  void new_cell(const Token& token) {
    Line& line = lines_.back();
    line.cells.emplace_back();
    auto found = marks_.assign.find(token.begin);
    const bool is_first = line.cells.size() == 1;
    awaited_assign_ = is_first && found != marks_.assign.end() ? found->second : UINT32_MAX;
  }

  size_t column_of(uint32_t offset) const {
    const size_t line_end = text_.rfind('\n', offset);
    return offset - (line_end == std::string_view::npos ? 0 : line_end + 1) + 1;
  }

  bool needs_space(size_t number) const {
    const TokenKind next = tokens_[number].kind;
    if (next == TokenKind::comma || next == TokenKind::colon || next == TokenKind::dot_dot ||
        next == TokenKind::right_paren || next == TokenKind::right_bracket ||
        next == TokenKind::semicolon) {
      return false;
    }
    if (is_opening(previous_) || previous_ == TokenKind::dot_dot || previous_ == TokenKind::at) {
      return false;
    }
    if (previous_ == TokenKind::left_brace && next == TokenKind::right_brace) return false;
    if (previous_was_prefix_) return false;
    if (is_opening(next)) return !ends_value(previous_);
    if (next == TokenKind::exclamation) return false;  // deriv!
    return true;
  }

  // ---- Empty lines.

  void drop_empty_lines() {
    std::vector<Line> kept;
    bool after_opening = true;  // also at the beginning of the file
    for (Line& line : lines_) {
      const bool is_closing_line = !line.cells.empty() && line.cells[0].text.starts_with('}');
      if (line.is_empty()) {
        if (after_opening || kept.back().is_empty()) continue;
      } else if (is_closing_line) {
        while (!kept.empty() && kept.back().is_empty()) kept.pop_back();
      }
      after_opening = !line.cells.empty() && line.cells.back().text.ends_with('{');
      kept.push_back(std::move(line));
    }
    while (!kept.empty() && kept.back().is_empty()) kept.pop_back();
    lines_ = std::move(kept);
  }

  // ---- Columns.

  /// Calls `apply(begin, end)` for every longest run of lines for which `same(line before, line)`.
  template <typename Same, typename Apply>
  void for_runs(Same same, Apply apply) {
    for (size_t begin = 0; begin < lines_.size();) {
      size_t end = begin + 1;
      while (end < lines_.size() && same(lines_[end - 1], lines_[end])) ++end;
      apply(begin, end);
      begin = end;
    }
  }

  void align_assignments() {
    for_runs(
        [](const Line& above, const Line& below) {
          return above.source_column != 0 && above.source_column == below.source_column &&
                 above.indent == below.indent;
        },
        [this](size_t begin, size_t end) {
          size_t widest = 0;
          for (size_t i = begin; i < end; ++i) {
            if (lines_[i].source_column != 0) widest = std::max(widest, lines_[i].cells[0].assign);
          }
          for (size_t i = begin; i < end; ++i) {
            if (lines_[i].source_column == 0) continue;
            Cell& cell = lines_[i].cells[0];
            cell.text.insert(cell.assign, widest - cell.assign, ' ');
          }
        });
  }

  /// Statements of neighbouring lines stand below each other, column by column.
  void align_cells() {
    size_t columns = 0;
    for (const Line& line : lines_) columns = std::max(columns, line.cells.size());
    for (size_t column = 0; column + 1 < columns; ++column) {
      for_runs(
          [column](const Line& above, const Line& below) {
            return above.cells.size() > column + 1 && below.cells.size() > column + 1 &&
                   above.indent == below.indent;
          },
          [this, column](size_t begin, size_t end) {
            size_t widest = 0;
            for (size_t i = begin; i < end; ++i) {
              if (lines_[i].cells.size() <= column + 1) return;
              widest = std::max(widest, lines_[i].cells[column].text.size());
            }
            for (size_t i = begin; i < end; ++i) {
              lines_[i].cells[column].text.resize(widest + gap_between_statements, ' ');
            }
          });
    }
  }

  std::string write() {
    std::vector<std::string> code(lines_.size());
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].cells.empty()) continue;
      code[i].assign(lines_[i].indent, ' ');
      for (const Cell& cell : lines_[i].cells) code[i] += cell.text;
    }
    for_runs(
        [](const Line& above, const Line& below) {
          return !above.comment.empty() && !below.comment.empty() && !above.cells.empty() &&
                 !below.cells.empty();
        },
        [&](size_t begin, size_t end) {
          size_t widest = 0;
          for (size_t i = begin; i < end; ++i) widest = std::max(widest, code[i].size());
          for (size_t i = begin; i < end; ++i) {
            if (lines_[i].comment.empty() || lines_[i].cells.empty()) continue;
            code[i].resize(widest + gap_before_comment, ' ');
          }
        });
    std::string result;
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].cells.empty() && !lines_[i].comment.empty()) {
        result.append(lines_[i].indent, ' ');
      }
      result += code[i];
      result += lines_[i].comment;
      result += '\n';
    }
    return result;
  }

  std::string_view text_;
  const std::vector<Token>& tokens_;
  const Marks& marks_;
  std::vector<Line> lines_;
  size_t depth_ = 0;  ///< open braces
  bool at_line_start_ = true;
  TokenKind previous_ = TokenKind::end_of_file;
  bool previous_was_prefix_ = false;  ///< a `-` that negates
  uint32_t awaited_assign_ = UINT32_MAX;
};

/// Everything but white space between tokens.
std::vector<std::string> substance(std::string_view text, const TokenStream& stream) {
  std::vector<std::string> parts;
  uint32_t end = 0;
  for (const Token& token : stream.tokens) {
    std::string gap(text.substr(end, token.begin - end));
    std::erase_if(gap, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
    if (!gap.empty()) parts.push_back(std::move(gap));
    if (token.kind == TokenKind::end_of_file) break;
    parts.emplace_back(text.substr(token.begin, token.end - token.begin));
    end = token.end;
  }
  return parts;
}

}  // namespace

std::optional<std::string> format(const SourceManager& sources, uint32_t file,
                                  Diagnostics& diagnostics) {
  const size_t errors_before = diagnostics.error_count();
  const ast::File tree = parse(sources, file, diagnostics);
  if (diagnostics.error_count() != errors_before) return std::nullopt;
  Marks marks;
  for (const ast::Item& item : tree.items) std::visit(MarkCollector(marks), item);
  Diagnostics unused;
  const TokenStream stream = lex(sources, file, unused);
  const std::string_view text = sources.text(file);
  std::string result = Formatter(text, stream, marks).run();

  SourceManager again;
  const uint32_t formatted = again.add(std::string(sources.name(file)), result);
  FG_CHECK(substance(text, stream) == substance(result, lex(again, formatted, unused)),
           "formatting loses nothing");
  return result;
}

}  // namespace fusegrad::frontend
