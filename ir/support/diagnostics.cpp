// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rendering of messages: a source line is shown once with all its labels under it. Whatever bytes a
// file holds, the output is printable UTF-8 of bounded width, so a hostile file cannot drive the
// terminal.
#include "ir/support/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace fusegrad {
namespace {

constexpr size_t longest_whole_line = 200;  // bytes; of longer lines a window is shown
constexpr size_t window_bytes = 160;
constexpr size_t window_before = 60;
constexpr std::string_view cut_mark = "...";
constexpr size_t tab_width = 4;

// One character as it is printed: its bytes in the source, what is written for it, and the columns
// that takes.
struct Glyph {
  size_t source_bytes = 1;
  std::string printed;
  size_t columns = 1;
};

// The code point at text[at] and its length, or length 0 if the bytes are not valid UTF-8.
std::pair<uint32_t, size_t> decode(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - at < length) return {0, 0};
  uint32_t code = lead & (0xFFU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {0, 0};
    code = code << 6 | (byte(at + i) & 0x3FU);
  }
  bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (overlong || surrogate || code > 0x10FFFF) return {0, 0};
  return {code, length};
}

bool within(uint32_t code, std::initializer_list<std::pair<uint32_t, uint32_t>> ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](auto range) { return code >= range.first && code <= range.second; });
}

// Controls and the characters that reorder text would make the shown line differ from the file.
bool must_be_escaped(uint32_t code) {
  return within(code, {{0x00, 0x1F},
                       {0x7F, 0x9F},
                       {0x200E, 0x200F},
                       {0x2028, 0x202E},
                       {0x2066, 0x2069},
                       {0xFEFF, 0xFEFF}});
}

size_t columns_of(uint32_t code) {
  if (within(code, {{0x0300, 0x036F}, {0x200B, 0x200D}, {0xFE00, 0xFE0F}})) return 0;
  bool wide = within(code, {{0x1100, 0x115F},
                            {0x2E80, 0xA4CF},
                            {0xAC00, 0xD7A3},
                            {0xF900, 0xFAFF},
                            {0xFE30, 0xFE6F},
                            {0xFF00, 0xFF60},
                            {0xFFE0, 0xFFE6},
                            {0x1F300, 0x1F64F},
                            {0x1F900, 0x1F9FF},
                            {0x20000, 0x3FFFD}});
  return wide ? 2 : 1;
}

Glyph glyph_at(std::string_view text, size_t at) {
  if (text[at] == '\t') return {1, std::string(tab_width, ' '), tab_width};
  auto [code, length] = decode(text, at);
  if (length == 0) return {1, fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at])), 4};
  if (must_be_escaped(code)) {
    std::string escaped = code == '\n'   ? "\\n"
                          : code < 0x100 ? fmt::format("\\x{:02x}", code)
                                         : fmt::format("\\u{{{:x}}}", code);
    size_t columns = escaped.size();
    return {length, std::move(escaped), columns};
  }
  return {length, std::string(text.substr(at, length)), columns_of(code)};
}

// Text of ours that may quote the user's: printable, on one line.
std::string printable(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    Glyph glyph = glyph_at(text, at);
    out += glyph.printed;
    at += glyph.source_bytes;
  }
  return out;
}

void strip_trailing_spaces(std::string& text) {
  size_t last = text.find_last_not_of(' ');
  text.erase(last == std::string::npos ? 0 : last + 1);
}

// A source line, or the part of it around `focus`, as it is printed; maps byte offsets to columns.
class ShownLine {
 public:
  ShownLine(std::string_view line, size_t focus) {
    size_t begin = 0;
    size_t end = line.size();
    if (line.size() > longest_whole_line) {
      begin = focus > window_before ? focus - window_before : 0;
      end = std::min(line.size(), begin + window_bytes);
      begin = end - window_bytes;
      // Not in the middle of a character; stray continuation bytes are not worth more than three
      // steps.
      auto continues = [&](size_t at) {
        return at < line.size() && (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80;
      };
      for (int step = 0; step < 3 && begin > 0 && continues(begin); ++step) --begin;
      for (int step = 0; step < 3 && continues(end); ++step) ++end;
    }
    first_byte_ = begin;
    size_t column = 0;
    if (begin > 0) {
      printed_ += cut_mark;
      column += cut_mark.size();
    }
    for (size_t at = begin; at < end;) {
      Glyph glyph = glyph_at(line.substr(0, end), at);
      for (size_t i = 0; i < glyph.source_bytes; ++i) columns_.push_back(column);
      printed_ += glyph.printed;
      column += glyph.columns;
      at += glyph.source_bytes;
    }
    columns_.push_back(column);
    if (end < line.size()) printed_ += cut_mark;
  }

  const std::string& printed() const { return printed_; }

  // The column of a byte; one outside the window lands on the mark that stands for what was cut.
  size_t column(size_t byte) const {
    if (byte < first_byte_) return 0;
    return columns_[std::min(byte - first_byte_, columns_.size() - 1)];
  }

 private:
  size_t first_byte_ = 0;
  std::string printed_;
  std::vector<size_t> columns_;  // of each byte of the window, and of its end
};

// A label as it appears under one line.
struct Mark {
  size_t begin = 0;  // columns
  size_t end = 0;
  char sign = '-';
  std::string text;
};

// What a message shows of one line: labels with their spans, the primary first.
struct LabelledLine {
  std::vector<std::pair<const Label*, char>> labels;
};

class Renderer {
 public:
  Renderer(const Diagnostic& diagnostic, const SourceManager& sources)
      : diagnostic_(diagnostic), sources_(sources) {}

  std::string run() {
    std::string_view severity = diagnostic_.severity == Severity::error ? "error" : "warning";
    std::string code = diagnostic_.code.empty() ? "" : fmt::format("[{}]", diagnostic_.code);
    out_ = fmt::format("{}{}: {}\n", severity, code, printable(diagnostic_.message));

    place(diagnostic_.primary, '^');
    for (const Label& label : diagnostic_.others) place(label, '-');
    for (const auto& [file, lines] : files_) {
      gutter_ = std::max(gutter_, fmt::formatted_size("{}", lines.rbegin()->first));
    }

    // The file of the primary place comes first, the others in the order of their numbers.
    if (diagnostic_.primary.span.valid()) {
      show_file(diagnostic_.primary.span.file, diagnostic_.primary.span, "-->");
    }
    for (const auto& [file, lines] : files_) {
      if (diagnostic_.primary.span.valid() && file == diagnostic_.primary.span.file) continue;
      show_file(file, lines.begin()->second.labels.front().first->span, ":::");
    }

    bool has_remarks = !diagnostic_.notes.empty() || !diagnostic_.helps.empty();
    if (has_remarks && !files_.empty()) line("", "|", "");
    for (const std::string& note : diagnostic_.notes) line("", "=", "note: " + printable(note));
    for (const std::string& help : diagnostic_.helps) line("", "=", "help: " + printable(help));
    return std::move(out_);
  }

 private:
  void place(const Label& label, char sign) {
    if (!label.span.valid()) return;
    uint32_t number = sources_.position(label.span.file, label.span.begin).line;
    files_[label.span.file][number].labels.emplace_back(&label, sign);
  }

  // Prints "GUTTER SEPARATOR TEXT" without spaces at the end.
  void line(std::string_view gutter, std::string_view separator, const std::string& text) {
    std::string whole = fmt::format("{:>{}} {} {}", gutter, gutter_, separator, text);
    strip_trailing_spaces(whole);
    out_ += whole;
    out_ += '\n';
  }

  void show_file(uint32_t file, Span first, std::string_view arrow) {
    LineColumn position = sources_.position(file, first.begin);
    out_ += fmt::format("{:>{}}{} {}:{}:{}\n", "", gutter_, arrow, printable(sources_.name(file)),
                        position.line, position.column);
    line("", "|", "");
    uint32_t previous = 0;
    for (const auto& [number, labelled] : files_[file]) {
      // A single line in between says more than the mark that would stand for it.
      if (previous != 0 && number == previous + 2) show_text(file, previous + 1, 0);
      if (previous != 0 && number > previous + 2) {
        out_ += fmt::format("{:>{}}...\n", "", gutter_);
      }
      show_line(file, number, labelled);
      previous = number;
    }
  }

  ShownLine show_text(uint32_t file, uint32_t number, size_t focus) {
    ShownLine shown(sources_.line(file, number), focus);
    line(fmt::format("{}", number), "|", shown.printed());
    return shown;
  }

  void show_line(uint32_t file, uint32_t number, const LabelledLine& labelled) {
    std::string_view text = sources_.line(file, number);
    auto offset = [&](uint32_t byte) -> size_t {
      LineColumn position = sources_.position(file, byte);
      return position.line == number ? position.column - 1 : text.size();
    };
    ShownLine shown = show_text(file, number, offset(labelled.labels.front().first->span.begin));

    std::vector<Mark> marks;
    for (auto [label, sign] : labelled.labels) {
      size_t begin = offset(label->span.begin);
      size_t end = std::max(begin, std::min(offset(label->span.end), text.size()));
      // An empty place without a text asks for its line as context only.
      if (label->span.begin == label->span.end && label->text.empty() && sign == '-') continue;
      Mark mark{shown.column(begin), shown.column(end), sign, printable(label->text)};
      mark.end = std::max(mark.end, mark.begin + 1);
      marks.push_back(std::move(mark));
    }
    show_marks(std::move(marks));
  }

  void show_marks(std::vector<Mark> marks) {
    if (marks.empty()) return;
    std::stable_sort(marks.begin(), marks.end(),
                     [](const Mark& a, const Mark& b) { return a.begin < b.begin; });

    std::string underline;
    for (char sign : {'-', '^'}) {  // where places overlap, the primary one wins
      for (const Mark& mark : marks) {
        if (mark.sign != sign) continue;
        if (underline.size() < mark.end) underline.resize(mark.end, ' ');
        std::fill(underline.begin() + static_cast<std::ptrdiff_t>(mark.begin),
                  underline.begin() + static_cast<std::ptrdiff_t>(mark.end), sign);
      }
    }

    // The text of the mark that ends last stands on the line of the underlines; the others hang
    // below, from right to left, each on a stem.
    size_t beside = 0;
    for (size_t i = 0; i < marks.size(); ++i) {
      if (marks[i].end >= marks[beside].end) beside = i;
    }
    line("", "|", underline + " " + marks[beside].text);

    std::vector<Mark> hanging;
    for (size_t i = 0; i < marks.size(); ++i) {
      if (i != beside && !marks[i].text.empty()) hanging.push_back(std::move(marks[i]));
    }
    auto stems = [&](size_t count) {
      std::string stem_line;
      for (size_t i = 0; i < count; ++i) {
        if (stem_line.size() <= hanging[i].begin) stem_line.resize(hanging[i].begin + 1, ' ');
        stem_line[hanging[i].begin] = '|';
      }
      return stem_line;
    };
    if (!hanging.empty()) line("", "|", stems(hanging.size()));
    while (!hanging.empty()) {
      Mark mark = std::move(hanging.back());
      hanging.pop_back();
      std::string left = stems(hanging.size());
      left.resize(mark.begin, ' ');
      line("", "|", left + mark.text);
    }
  }

  const Diagnostic& diagnostic_;
  const SourceManager& sources_;
  std::map<uint32_t, std::map<uint32_t, LabelledLine>> files_;  // by file, by line
  size_t gutter_ = 1;
  std::string out_;
};

}  // namespace

void Diagnostics::add(Diagnostic diagnostic) {
  if (diagnostic.severity == Severity::error) ++error_count_;
  all_.push_back(std::move(diagnostic));
}

std::string render(const Diagnostic& diagnostic, const SourceManager& sources) {
  return Renderer(diagnostic, sources).run();
}

std::string render(const Diagnostics& diagnostics, const SourceManager& sources) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    if (!out.empty()) out += '\n';
    out += render(diagnostic, sources);
  }
  return out;
}

}  // namespace fusegrad
