// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One list of functions makes declarations and definitions, so they cannot drift apart.
#include "driver/library_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <vector>

#include "ir/support/check.h"
#include "runtime/core/column.h"
#include "runtime/core/library.h"
#include "runtime/core/version.h"

namespace fusegrad::driver {
namespace {

using runtime::ElementType;

constexpr std::string_view words_of_c[] = {
    "alignas", "alignof",   "and",      "asm",      "auto",      "bool",     "break",   "case",
    "catch",   "char",      "class",    "const",    "constexpr", "continue", "default", "delete",
    "do",      "double",    "else",     "enum",     "explicit",  "export",   "extern",  "false",
    "float",   "for",       "friend",   "goto",     "if",        "inline",   "int",     "long",
    "mutable", "namespace", "new",      "not",      "operator",  "or",       "private", "protected",
    "public",  "register",  "requires", "restrict", "return",    "short",    "signed",  "sizeof",
    "static",  "struct",    "switch",   "template", "this",      "throw",    "true",    "try",
    "typedef", "typename",  "union",    "unsigned", "using",     "virtual",  "void",    "volatile",
    "while",   "xor"};

const char* c_type(ElementType element) {
  switch (element) {
    case ElementType::boolean:
    case ElementType::u8:
      return "uint8_t";
    case ElementType::i32:
      return "int32_t";
    case ElementType::f32:
      return "float";
    case ElementType::f64:
      return "double";
  }
  FG_UNREACHABLE("element type {}", static_cast<int>(element));
}

/// "u8[n, 28, 28]"; the first extent is `per_row` times n.
std::string shape_text(ElementType element, int64_t per_row, const std::vector<int64_t>& rest) {
  std::string text = fmt::format("{}[{}", runtime::element_name(element),
                                 per_row == 1 ? "n" : fmt::format("{} * n", per_row));
  for (const int64_t extent : rest) text += fmt::format(", {}", extent);
  return text + "]";
}

/// Fields of a struct: no two with the same name.
class Fields {
 public:
  std::string add(const std::string& name) {
    std::string chosen = c_name(name);
    while (std::find(names_.begin(), names_.end(), chosen) != names_.end()) chosen += "_";
    names_.push_back(chosen);
    return chosen;
  }

 private:
  std::vector<std::string> names_;
};

/// A function of the library: NAME_`name`(`parameters`) calls fusegrad_library_`name`.
struct Function {
  const char* name;
  const char* result;
  const char* parameters;  ///< M is the model's type
  const char* arguments;   ///< for the function that is called
  const char* comment;
};

constexpr Function functions[] = {
    {"last_error", "const char *", "const M *model", "model",
     "Why the last call failed, \"\" if it did not; with NULL why create() of this thread did."},
    {"load", "int ", "M *model, const char *path", "model, path",
     "Weights of a file, or all states of a checkpoint (safetensors)."},
    {"save", "int ", "M *model, const char *path", "model, path",
     "Writes the weights; the old file stays whole if that fails."},
    {"set_total_steps", "int ", "M *model, int64_t steps", "model, steps",
     "For learning rates that follow the length of the run."},
    {"train_step", "int ", "M *model, const M_inputs *inputs, int64_t n, double *loss",
     "model, (const void *const *)inputs, n, loss",
     "One step with at most M_BATCH examples. `loss` may be NULL."},
    {"train_epoch", "int ", "M *model, const M_inputs *inputs, int64_t n, M_metrics *metrics",
     "model, (const void *const *)inputs, n, (double *)metrics",
     "One epoch as the model's train block says. `metrics` may be NULL."},
    {"evaluate", "int ", "M *model, const M_inputs *inputs, int64_t n, M_metrics *metrics",
     "model, (const void *const *)inputs, n, (double *)metrics",
     "Loss and metrics, without training. `metrics` may be NULL."},
};

constexpr Function set_learning_rate = {
    "set_learning_rate", "int ", "M *model, double rate", "model, rate",
    "In place of the optimizer's argument `lr`; infinite is refused."};

constexpr Function predict = {
    "predict", "int ", "M *model, const M_inputs *inputs, int64_t n, const M_outputs *outputs",
    "model, (const void *const *)inputs, n, (void *const *)outputs",
    "Fills the outputs. Inputs that no output depends on may be NULL."};

std::string with_model(std::string_view text, const std::string& model) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_alone = (i == 0 || std::isalnum(static_cast<unsigned char>(text[i - 1])) == 0) &&
                          (i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '_');
    result += text[i] == 'M' && is_alone ? model : std::string(1, text[i]);
  }
  return result;
}

struct Output {
  std::string label;
  ElementType element = ElementType::f32;
  int64_t per_row = 1;
  std::vector<int64_t> rest;
};

std::vector<Output> outputs_of(const runtime::JobTable& table) {
  std::vector<Output> outputs;
  const runtime::ProgramTable* eval = table.find_program("eval");
  if (eval == nullptr) return outputs;
  for (const runtime::ResultEntry& result : eval->results) {
    if (!result.is_for_rows()) continue;
    const runtime::BufferEntry& buffer = eval->buffers[static_cast<size_t>(result.buffer)];
    const std::vector<int64_t>& shape = buffer.layout.shape;
    outputs.push_back(
        {result.label, buffer.element, result.per_row, {shape.begin() + 1, shape.end()}});
  }
  return outputs;
}

/// In the order of PassResult::metrics.
std::vector<std::string> metrics_of(const runtime::JobTable& table) {
  std::vector<std::string> labels;
  for (const char* name : {"eval", "eval.metrics"}) {
    const runtime::ProgramTable* program = table.find_program(name);
    if (program == nullptr) continue;
    for (const runtime::ResultEntry& result : program->results) {
      if (result.kind == runtime::ResultKind::metric) labels.push_back(result.label);
    }
  }
  return labels;
}

std::vector<Function> functions_of(const runtime::JobTable& table) {
  std::vector<Function> list(std::begin(functions), std::end(functions));
  if (table.settings.learning_rate) list.push_back(set_learning_rate);
  if (!outputs_of(table).empty()) list.push_back(predict);
  return list;
}

std::string struct_text(const std::string& name, const std::vector<std::string>& fields) {
  std::string text = fmt::format("typedef struct {} {{\n", name);
  for (const std::string& field : fields) text += "  " + field + "\n";
  return text + fmt::format("}} {};\n\n", name);
}

/// The structs of inputs, outputs and metrics; the stub needs only their names.
std::string type_text(const runtime::JobTable& table, const std::string& model) {
  std::vector<std::string> fields;
  Fields inputs;
  for (const runtime::InputEntry& input : table.inputs) {
    std::string comment = shape_text(input.element, 1, input.row_shape);
    if (input.has_range) comment += fmt::format(" in {}..{}", input.range_begin, input.range_end);
    fields.push_back(fmt::format("const {} *{}; /* {} */", c_type(input.element),
                                 inputs.add(input.name), comment));
  }
  std::string text = "/* n examples one after the other, row-major, without gaps. */\n" +
                     struct_text(model + "_inputs", fields);
  fields.clear();
  Fields outputs;
  for (const Output& output : outputs_of(table)) {
    fields.push_back(fmt::format("{} *{}; /* {} */", c_type(output.element),
                                 outputs.add(output.label),
                                 shape_text(output.element, output.per_row, output.rest)));
  }
  if (!fields.empty()) {
    text +=
        "/* Memory of the caller's for n examples. */\n" + struct_text(model + "_outputs", fields);
  }
  fields = {"double loss;"};
  Fields metrics;
  metrics.add("loss");
  for (const std::string& label : metrics_of(table)) {
    fields.push_back(fmt::format("double {};", metrics.add(label)));
  }
  return text + struct_text(model + "_metrics", fields);
}

}  // namespace

std::string c_name(const std::string& name) {
  std::string text;
  for (const char character : name) {
    text += std::isalnum(static_cast<unsigned char>(character)) != 0 ? character : '_';
  }
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) != 0) text = "_" + text;
  if (std::find(std::begin(words_of_c), std::end(words_of_c), text) != std::end(words_of_c)) {
    text += "_";
  }
  return text;
}

std::string library_header(const runtime::JobTable& table) {
  const std::string model = c_name(table.model_name);
  std::string text = fmt::format(
      "/* Model `{0}`, made by fusegrad {1}. C99 and C++.\n"
      " *\n"
      " * Functions return 0 for success, or an exit code of fusegrad: 2 wrong call, 4 data out of "
      "range, 6 the loss is not\n"
      " * finite, 7 weights cannot be read, written or do not fit, 8 out of memory. A handle "
      "belongs "
      "to one thread at a\n"
      " * time; different handles may be used at the same time. Memory of the caller is used "
      "during "
      "a call only. */\n"
      "#ifndef FUSEGRAD_{0}_H\n#define FUSEGRAD_{0}_H\n\n#include <stdint.h>\n\n"
      "#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n"
      "enum {{\n  {0}_ABI_VERSION = {2}, /* must be what {0}_abi_version() returns */\n"
      "  {0}_BATCH = {3} /* most examples of a step */\n}};\n\n"
      "typedef struct {0} {0};\n\n",
      model, runtime::version_text, runtime::library_abi_version, table.settings.batch);
  text += type_text(table, model);
  text += fmt::format(
      "int {0}_abi_version(void);\n"
      "/* A model with initial weights. threads 0: all processors. NULL: see {0}_last_error(NULL). "
      "*/\n"
      "{0} *{0}_create(int threads, int64_t seed);\n"
      "/* NULL is allowed. */\n"
      "void {0}_destroy({0} *model);\n",
      model);
  for (const Function& function : functions_of(table)) {
    text +=
        fmt::format("/* {} */\n{}{}_{}({});\n", with_model(function.comment, model),
                    function.result, model, function.name, with_model(function.parameters, model));
  }
  return text + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
}

std::string library_stub(const runtime::JobTable& table, const std::string& symbol) {
  const std::string model = c_name(table.model_name);
  std::string text = fmt::format(
      "#include <stdint.h>\n"
      "#define EXPORTED __attribute__((visibility(\"default\")))\n"
      "typedef struct {0} {0};\n"
      "typedef struct {0}_inputs {0}_inputs;\n"
      "typedef struct {0}_outputs {0}_outputs;\n"
      "typedef struct {0}_metrics {0}_metrics;\n"
      "extern const char {1}[];\nextern const int64_t {1}_size;\n"
      "extern void *const {1}_functions[];\nextern const int64_t {1}_function_count;\n"
      "extern {0} *fusegrad_library_create(const char *, int64_t, void *const *, int64_t, int, "
      "int64_t);\n"
      "extern void fusegrad_library_destroy({0} *);\n"
      "EXPORTED int {0}_abi_version(void) {{ return {2}; }}\n"
      "EXPORTED {0} *{0}_create(int threads, int64_t seed) {{\n"
      "  return fusegrad_library_create({1}, {1}_size, {1}_functions, {1}_function_count, threads, "
      "seed);\n}}\n"
      "EXPORTED void {0}_destroy({0} *model) {{ fusegrad_library_destroy(model); }}\n",
      model, symbol, runtime::library_abi_version);
  for (const Function& function : functions_of(table)) {
    const std::string parameters = with_model(function.parameters, model);
    text += fmt::format(
        "extern {0}fusegrad_library_{1}();\n"
        "EXPORTED {0}{2}_{1}({3}) {{ return fusegrad_library_{1}({4}); }}\n",
        function.result, function.name, model, parameters, function.arguments);
  }
  return text;
}

std::string library_pkg_config(const runtime::JobTable& table, const std::string& library) {
  return fmt::format(
      "Name: {0}\nDescription: model {0}, made by fusegrad\nVersion: {1}\n"
      "Cflags: -I${{pcfiledir}}\nLibs: -L${{pcfiledir}} -l{2}\n",
      c_name(table.model_name), runtime::version_text, library);
}

}  // namespace fusegrad::driver
