// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One table says what each reader takes; everything that can be known without the file is checked
// here, so that a mistake in a data block does not wait for the data.
#include "frontend/data_readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace fusegrad::frontend {

using ast::ExpressionKind;

std::span<const ReaderSignature> reader_signatures() {
  static const std::array<ReaderSignature, 7> signatures = {{
      {"idx", "idx(path)", {}},
      {"npy", "npy(path)", {}},
      {"npz", "npz(path, array = NAME OF THE INPUT)", {{"array", ReaderForm::text}}},
      {"csv",
       "csv(path, column or columns = all, rows = all, standardise = false, categories = [], "
       "header = true, separator = \",\")",
       {{"column", ReaderForm::column},
        {"columns", ReaderForm::columns},
        {"rows", ReaderForm::range},
        {"standardise", ReaderForm::switched},
        {"categories", ReaderForm::texts},
        {"header", ReaderForm::switched},
        {"separator", ReaderForm::separator}}},
      {"chars",
       "chars(path, from = 0.0, to = 1.0)",
       {{"from", ReaderForm::fraction}, {"to", ReaderForm::fraction}}},
      {"shift", "shift(input, by)", {{"by", ReaderForm::count}}},
      {"raw",
       "raw(path, offset = 0, shape = AS THE INPUT, type = AS THE INPUT)",
       {{"offset", ReaderForm::count},
        {"shape", ReaderForm::sizes},
        {"type", ReaderForm::element}}},
  }};
  return signatures;
}

namespace {

constexpr std::array<std::string_view, 5> element_words = {"bool", "u8", "i32", "f32", "f64"};

const char* form_text(ReaderForm form) {
  switch (form) {
    case ReaderForm::text:
      return "a string";
    case ReaderForm::switched:
      return "`true` or `false`";
    case ReaderForm::count:
      return "an integer that is not negative";
    case ReaderForm::fraction:
      return "a number from 0 to 1";
    case ReaderForm::column:
      return "the number or the name of a column";
    case ReaderForm::columns:
      return "the first column and the one behind the last, such as `[0, 3]`, or a list of names";
    case ReaderForm::range:
      return "the first row and the one behind the last, such as `[0, 100]`";
    case ReaderForm::sizes:
      return "a list of 1 to 8 sizes";
    case ReaderForm::texts:
      return "a list of different strings";
    case ReaderForm::separator:
      return "a string of one sign, or \"tab\"";
    case ReaderForm::element:
      return "`bool`, `u8`, `i32`, `f32` or `f64`";
  }
  return "";
}

class CallReader {
 public:
  CallReader(const ast::Entry& entry, const ModelInput* input, Elaborator& elaborator,
             Reporter& reporter)
      : entry_(entry),
        call_(entry.value),
        input_(input),
        elaborator_(elaborator),
        reporter_(reporter) {}

  std::optional<ReaderCall> read() {
    if (!find_reader()) return std::nullopt;
    result_.binding.input = entry_.key.text;
    result_.binding.reader = signature_->name;
    result_.binding.span = entry_.span;
    if (!read_arguments() || !check_together()) return std::nullopt;
    result_.signature = signature_;
    return std::move(result_);
  }

 private:
  bool find_reader() {
    if (call_.kind == ExpressionKind::invalid) return false;
    if (call_.kind != ExpressionKind::call) {
      reporter_.add(Complaint("E0707", call_.span,
                              fmt::format("`{}` must be read from a file", entry_.key.text),
                              "expected the call of a reader")
                        .help(fmt::format("write `{} = idx(\"path\")`", entry_.key.text)));
      return false;
    }
    std::vector<std::string> names;
    std::string list;
    for (const ReaderSignature& signature : reader_signatures()) {
      if (signature.name == call_.name.text) signature_ = &signature;
      names.emplace_back(signature.name);
      list += fmt::format("{}`{}`", list.empty() ? "" : ", ", signature.name);
    }
    if (signature_ == nullptr) {
      reporter_.add(Complaint("E0708", call_.name.span,
                              fmt::format("there is no reader `{}`", call_.name.text),
                              "unknown reader")
                        .did_you_mean(call_.name.text, names)
                        .note("readers: " + list));
      return false;
    }
    if (!call_.instance.text.empty() || !call_.initialisers.empty()) {
      reporter_.add(Complaint("E0107", call_.span,
                              fmt::format("`{}` is a reader, not a layer", signature_->name),
                              "only layers have instances with parameters"));
      return false;
    }
    return true;
  }

  Complaint misfit(Span span, std::string message, std::string label) const {
    Complaint complaint("E0107", span, std::move(message), std::move(label));
    complaint.note(fmt::format("`{}`", signature_->text));
    return complaint;
  }

  bool read_arguments() {
    const std::vector<ReaderParameter>& parameters = signature_->parameters;
    given_.assign(parameters.size(), nullptr);
    size_t position = 0;
    bool is_right = true;
    for (const ast::Argument& argument : call_.arguments) {
      if (argument.name.text.empty()) {
        if (&argument == &call_.arguments[0]) {
          is_right = read_subject(argument.value) && is_right;
        } else if (position < parameters.size()) {
          is_right = take(position++, argument) && is_right;
        } else {
          reporter_.add(misfit(argument.span,
                               fmt::format("`{}` takes {} argument{}", signature_->name,
                                           parameters.size() + 1, parameters.empty() ? "" : "s"),
                               "one too many"));
          return false;
        }
        continue;
      }
      const auto found = std::find_if(
          parameters.begin(), parameters.end(),
          [&](const ReaderParameter& each) { return each.name == argument.name.text; });
      if (found == parameters.end()) {
        std::vector<std::string> names;
        for (const ReaderParameter& each : parameters) names.emplace_back(each.name);
        Complaint complaint =
            misfit(argument.name.span,
                   fmt::format("`{}` has no argument `{}`", signature_->name, argument.name.text),
                   "unknown argument");
        reporter_.add(complaint.did_you_mean(argument.name.text, names));
        is_right = false;
        continue;
      }
      is_right = take(static_cast<size_t>(found - parameters.begin()), argument) && is_right;
    }
    if (call_.arguments.empty() || !call_.arguments[0].name.text.empty()) {
      reporter_.add(misfit(call_.span,
                           is_shift()
                               ? "`shift` needs the name of an input"
                               : fmt::format("`{}` needs the path of a file", signature_->name),
                           "its first argument is missing"));
      return false;
    }
    if (is_right && is_shift() && given_[0] == nullptr) {
      reporter_.add(misfit(call_.span, "`shift` needs the argument `by`", "not given"));
      return false;
    }
    return is_right;
  }

  bool is_shift() const { return signature_->name == "shift"; }

  bool read_subject(const ast::Expression& e) {
    if (e.kind == ExpressionKind::invalid) return false;
    result_.binding.path_span = e.span;
    if (is_shift()) {
      if (e.kind != ExpressionKind::name) {
        reporter_.add(
            misfit(e.span, "`shift` needs the name of an input", "the input that reads the text"));
        return false;
      }
      result_.binding.path = e.name.text;
      return true;
    }
    if (e.kind != ExpressionKind::string) {
      reporter_.add(misfit(e.span, fmt::format("`{}` needs the path of a file", signature_->name),
                           "a string is expected"));
      return false;
    }
    if (e.text.empty() || e.text.find('\0') != std::string::npos) {
      reporter_.add(Complaint("E0707", e.span, "this is not the path of a file", ""));
      return false;
    }
    result_.binding.path = e.text;
    return true;
  }

  bool take(size_t index, const ast::Argument& argument) {
    const ReaderParameter& parameter = signature_->parameters[index];
    if (given_[index] != nullptr) {
      // Of a name that is written twice the parser has told.
      if (!given_[index]->name.text.empty()) return false;
      reporter_.add(Complaint("E0107", argument.span,
                              fmt::format("the argument `{}` of `{}` is given twice",
                                          parameter.name, signature_->name),
                              "given again")
                        .other(given_[index]->span, "first given here"));
      return false;
    }
    given_[index] = &argument;
    if (argument.value.kind == ExpressionKind::invalid) return false;
    const size_t errors_before = reporter_.error_count();
    std::optional<ReaderValue> value = read_value(parameter.form, argument.value);
    if (!value) {
      if (reporter_.error_count() == errors_before) {
        reporter_.add(
            Complaint("E0707", argument.value.span,
                      fmt::format("`{}` must be {}", parameter.name, form_text(parameter.form)),
                      found_text(argument.value)));
      }
      return false;
    }
    result_.binding.arguments.push_back({std::string(parameter.name), std::move(*value)});
    return true;
  }

  std::string found_text(const ast::Expression& e) {
    if (e.kind == ExpressionKind::string) return "this is a string";
    if (e.kind == ExpressionKind::list) return "this is another list";
    if (e.kind == ExpressionKind::name) return fmt::format("this is `{}`", e.name.text);
    const Value value = elaborator_.evaluate_constant(e);
    if (value.kind == ValueKind::boolean) return value.boolean ? "this is true" : "this is false";
    if (value.is_number()) return fmt::format("this is {}", value.integer.maximum);
    if (value.kind == ValueKind::real) return fmt::format("this is {}", value.real);
    return "this is something else";
  }

  // ---- values; nothing when they are of another form

  std::optional<ReaderValue> read_value(ReaderForm form, const ast::Expression& e) {
    const bool is_string = e.kind == ExpressionKind::string;
    switch (form) {
      case ReaderForm::text:
        if (is_string && !e.text.empty()) return e.text;
        return std::nullopt;
      case ReaderForm::switched: {
        if (is_string || e.kind == ExpressionKind::list) return std::nullopt;
        const Value value = elaborator_.evaluate_constant(e);
        if (value.kind != ValueKind::boolean) return std::nullopt;
        return value.boolean;
      }
      case ReaderForm::count:
        return wrapped(read_count(e));
      case ReaderForm::fraction: {
        if (is_string || e.kind == ExpressionKind::list) return std::nullopt;
        const Value value = elaborator_.evaluate_constant(e);
        const double number =
            value.is_number() ? static_cast<double>(value.integer.maximum) : value.real;
        const bool is_number = value.is_number() || value.kind == ValueKind::real;
        if (!is_number || !(number >= 0 && number <= 1)) return std::nullopt;
        return number;
      }
      case ReaderForm::column:
        if (is_string) return e.text;
        return wrapped(read_count(e));
      case ReaderForm::columns:
        if (std::optional<std::vector<std::string>> names = read_texts(e)) return *names;
        return wrapped(read_range(e));
      case ReaderForm::range:
        return wrapped(read_range(e));
      case ReaderForm::sizes: {
        std::optional<std::vector<int64_t>> sizes = read_counts(e);
        if (!sizes || sizes->empty() || sizes->size() > 8) return std::nullopt;
        return *sizes;
      }
      case ReaderForm::texts:
        return wrapped(read_texts(e));
      case ReaderForm::separator: {
        if (!is_string) return std::nullopt;
        if (e.text == "tab") return std::string("\t");
        const bool is_possible = e.text.size() == 1 && e.text[0] != '"' && e.text[0] != '\n' &&
                                 e.text[0] != '\r' && static_cast<unsigned char>(e.text[0]) < 0x7f;
        if (!is_possible) return std::nullopt;
        return e.text;
      }
      case ReaderForm::element:
        if (e.kind != ExpressionKind::name || std::find(element_words.begin(), element_words.end(),
                                                        e.name.text) == element_words.end()) {
          return std::nullopt;
        }
        return e.name.text;
    }
    return std::nullopt;
  }

  template <typename T>
  static std::optional<ReaderValue> wrapped(std::optional<T> value) {
    if (!value) return std::nullopt;
    return ReaderValue(std::move(*value));
  }

  std::optional<int64_t> read_count(const ast::Expression& e) {
    if (e.kind == ExpressionKind::string || e.kind == ExpressionKind::list) return std::nullopt;
    const Value value = elaborator_.evaluate_constant(e);
    if (!value.is_number() || value.integer.maximum < 0) return std::nullopt;
    return value.integer.maximum;
  }

  std::optional<std::vector<int64_t>> read_counts(const ast::Expression& e) {
    if (e.kind != ExpressionKind::list) return std::nullopt;
    std::vector<int64_t> numbers;
    for (const ast::Expression& element : e.operands) {
      const std::optional<int64_t> number = read_count(element);
      if (!number) return std::nullopt;
      numbers.push_back(*number);
    }
    return numbers;
  }

  /// Two numbers, the second larger.
  std::optional<std::vector<int64_t>> read_range(const ast::Expression& e) {
    std::optional<std::vector<int64_t>> numbers = read_counts(e);
    if (!numbers || numbers->size() != 2 || (*numbers)[0] >= (*numbers)[1]) return std::nullopt;
    return numbers;
  }

  static std::optional<std::vector<std::string>> read_texts(const ast::Expression& e) {
    if (e.kind != ExpressionKind::list || e.operands.empty()) return std::nullopt;
    std::vector<std::string> texts;
    for (const ast::Expression& element : e.operands) {
      if (element.kind != ExpressionKind::string) return std::nullopt;
      if (std::find(texts.begin(), texts.end(), element.text) != texts.end()) return std::nullopt;
      texts.push_back(element.text);
    }
    return texts;
  }

  // ---- arguments that must fit each other, and the input

  const ast::Argument* argument(std::string_view name) const {
    for (size_t i = 0; i < given_.size(); ++i) {
      if (signature_->parameters[i].name == name) return given_[i];
    }
    return nullptr;
  }
  template <typename T>
  const T* value(std::string_view name) const {
    for (const DataArgument& each : result_.binding.arguments) {
      if (each.name == name) return std::get_if<T>(&each.value);
    }
    return nullptr;
  }

  bool check_together() {
    const ast::Argument* column = argument("column");
    const ast::Argument* columns = argument("columns");
    if (column != nullptr && columns != nullptr) {
      reporter_.add(
          misfit(columns->span, "`csv` takes `column` or `columns`, not both", "given too")
              .other(column->span, "one column is a number for each record"));
      return false;
    }
    const bool* header = value<bool>("header");
    const bool by_name =
        value<std::string>("column") != nullptr || value<std::vector<std::string>>("columns");
    if (header != nullptr && !*header && by_name) {
      const ast::Argument* named = column != nullptr ? column : columns;
      reporter_.add(Complaint("E0707", named->value.span,
                              "columns have no names in a file without a header",
                              "expected a number")
                        .other(argument("header")->span, "there is no header"));
      return false;
    }
    const bool* standardise = value<bool>("standardise");
    if (standardise != nullptr && *standardise && input_ != nullptr &&
        input_->type != ir::ScalarType::f32 && input_->type != ir::ScalarType::f64) {
      reporter_.add(Complaint("E0707", argument("standardise")->span,
                              "`standardise` makes real numbers", "for an input of integers")
                        .other(input_->type_span, "the input")
                        .help("declare the input as f32"));
      return false;
    }
    const double* from = value<double>("from");
    const double* to = value<double>("to");
    if ((from != nullptr || to != nullptr) &&
        !((from == nullptr ? 0.0 : *from) < (to == nullptr ? 1.0 : *to))) {
      const ast::Argument* last = to != nullptr ? argument("to") : argument("from");
      reporter_.add(Complaint("E0707", last->value.span, "this part of the text is empty",
                              "`from` must be less than `to`"));
      return false;
    }
    return true;
  }

  const ast::Entry& entry_;
  const ast::Expression& call_;
  const ModelInput* input_;
  Elaborator& elaborator_;
  Reporter& reporter_;
  const ReaderSignature* signature_ = nullptr;
  std::vector<const ast::Argument*> given_;
  ReaderCall result_;
};

}  // namespace

std::optional<ReaderCall> read_reader_call(const ast::Entry& entry, const ModelInput* input,
                                           Elaborator& elaborator, Reporter& reporter) {
  return CallReader(entry, input, elaborator, reporter).read();
}

}  // namespace fusegrad::frontend
