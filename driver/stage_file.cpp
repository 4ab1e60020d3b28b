// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The verifiers speak of programs in memory; this finds the words of the file that they mean.
#include "driver/stage_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/verify.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"

namespace fusegrad::driver {
namespace {

/// More than that from one file is not read by anyone.
constexpr size_t most_messages = 10;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '\'';
}

/// Where `word name` stands behind `from`; an invalid span if nowhere.
Span find_heading(std::string_view text, uint32_t file, size_t from, std::string_view word,
                  std::string_view name) {
  for (size_t at = text.find(word, from); at != std::string_view::npos;
       at = text.find(word, at + 1)) {
    const size_t begin = text.find_first_not_of(' ', at + word.size());
    if (begin == std::string_view::npos || begin == at + word.size()) continue;
    const size_t end = begin + name.size();
    if (text.substr(begin, name.size()) != name) continue;
    if (end < text.size() && is_name_character(text[end])) continue;
    return {file, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  }
  return {};
}

/// Finds places in one program of a file.
class Places {
 public:
  Places(const SourceManager& sources, uint32_t file, const std::string& program)
      : text_(sources.text(file)), file_(file) {
    program_ = find_heading(text_, file, 0, "program", program);
  }

  Span program() const { return program_; }
  Span heading(std::string_view word, std::string_view name) const {
    return find_heading(text_, file_, program_.valid() ? program_.end : 0, word, name);
  }

 private:
  std::string_view text_;
  uint32_t file_;
  Span program_;
};

// ---- What a violation is about: statements are quoted in it, kernels and functions named.

bool names(const std::string& violation, std::string_view word, const std::string& name) {
  const std::string text = fmt::format("{} {}", word, name);
  const size_t at = violation.find(text);
  return at != std::string::npos &&
         (at + text.size() == violation.size() || !is_name_character(violation[at + text.size()]));
}

bool quotes(const std::string& violation, const std::string& text) {
  return violation.find("in `" + text + "`") != std::string::npos;
}

Span place_of(const std::string& violation, const ir::TensorProgram& program,
              const Places& places) {
  for (const ir::TensorStatement& statement : program.statements) {
    if (statement.value != nullptr && quotes(violation, ir::print(statement, program.real)))
      return statement.origin;
  }
  for (const ir::TensorDeclaration& declaration : program.declarations) {
    if (quotes(violation, ir::print(declaration))) return declaration.origin;
  }
  return places.program();
}

Span place_of(const std::string& violation, const ir::KernelProgram& program,
              const Places& places) {
  Span of_kernel;
  for (const ir::Launch& launch : program.launches) {
    for (const ir::Kernel& kernel : launch.kernels) {
      for (const ir::KernelStatement& statement : kernel.statements) {
        if (statement.value != nullptr && quotes(violation, ir::print(statement, program.real)))
          return statement.origin;
      }
      if (names(violation, "kernel", kernel.name))
        of_kernel = places.heading("kernel", kernel.name);
    }
  }
  return of_kernel.valid() ? of_kernel : places.program();
}

Span place_of(const std::string& violation, const ir::LoopProgram& program, const Places& places) {
  for (const ir::LoopFunction& function : program.functions) {
    if (names(violation, "function", "`" + function.name + "`")) {
      const Span place = places.heading("func", function.name);
      if (place.valid()) return place;
    }
  }
  return places.program();
}

/// The statement is shown by its line; words that repeat it are left out.
std::string without_quotation(const std::string& violation) {
  const size_t at = violation.rfind(": in `");
  return at == std::string::npos ? violation : violation.substr(0, at);
}

void report(Span place, std::string message, Messages& messages) {
  Diagnostic diagnostic;
  diagnostic.code = "E0904";
  diagnostic.message = std::move(message);
  diagnostic.primary = {place, ""};
  messages.diagnostics.add(std::move(diagnostic));
}

template <typename Module>
bool verify_module(const Module& module, uint32_t file, Messages& messages) {
  size_t count = 0;
  for (const auto& program : module.programs) {
    const Places places(messages.sources, file, program.name);
    for (const std::string& violation : ir::verify(program)) {
      if (++count > most_messages) return false;
      report(place_of(violation, program, places),
             fmt::format("program {}: {}", program.name, without_quotation(violation)), messages);
    }
  }
  if (count != 0) return false;
  // What programs must agree about.
  for (const std::string& violation : ir::verify(module)) {
    ++count;
    report({file, 0, 0}, violation, messages);
  }
  return count == 0;
}

// ---- Whether the programs fit the model.

const std::vector<ir::TensorDeclaration>& inputs_of(const ir::TensorProgram& program) {
  return program.declarations;
}
const std::vector<ir::Buffer>& inputs_of(const ir::KernelProgram& program) {
  return program.buffers;
}
const std::vector<ir::Buffer>& inputs_of(const ir::LoopProgram& program) { return program.buffers; }

bool is_input(const ir::TensorDeclaration& declaration) {
  return declaration.kind == ir::TensorKind::input;
}
bool is_input(const ir::Buffer& buffer) { return buffer.kind == ir::BufferKind::input; }

template <typename Program>
bool program_fits(const Program& program, const Program& made, const Places& places,
                  Messages& messages) {
  bool fits = true;
  const auto refuse = [&](std::string message) {
    fits = false;
    report(places.program(), fmt::format("program {}: {}", program.name, message), messages);
  };
  if (program.batch != made.batch) {
    refuse(fmt::format("the batch has {} rows, but {} in the model", program.batch, made.batch));
  }
  if (program.real != made.real) {
    refuse(fmt::format("the reals are {}, but {} in the model", ir::spelling(program.real),
                       ir::spelling(made.real)));
  }
  for (const auto& input : inputs_of(program)) {
    if (!is_input(input)) continue;
    const auto& known = inputs_of(made);
    const auto same = std::find_if(known.begin(), known.end(), [&](const auto& other) {
      return is_input(other) && other.name == input.name;
    });
    if (same == known.end()) {
      refuse(fmt::format("the model has no input `{}` here", input.name));
    } else if (same->type != input.type || !(same->shape == input.shape) ||
               !(same->range == input.range)) {
      refuse(fmt::format("the input `{}` is declared otherwise than in the model", input.name));
    }
  }
  std::set<std::pair<ir::TensorResultKind, std::string>> results;
  for (const auto& result : program.results) results.emplace(result.kind, result.label);
  for (const auto& result : made.results) {
    if (results.contains({result.kind, result.label})) continue;
    refuse(fmt::format("the result `{}` is missing", result.label));
  }
  return fits;
}

template <typename Module>
bool module_fits(const Module& from_file, const Module& made, uint32_t file, Messages& messages) {
  bool fits = true;
  for (const auto& wanted : made.programs) {
    const auto* program = from_file.find(wanted.name);
    if (program == nullptr) {
      fits = false;
      report({file, 0, 0}, fmt::format("program `{}` is missing", wanted.name), messages);
      continue;
    }
    const Places places(messages.sources, file, wanted.name);
    fits = program_fits(*program, wanted, places, messages) && fits;
  }
  for (const auto& program : from_file.programs) {
    if (made.find(program.name) != nullptr) continue;
    fits = false;
    report(Places(messages.sources, file, program.name).program(),
           fmt::format("the model has no program `{}`", program.name), messages);
  }
  return fits;
}

}  // namespace

bool verify_stage_file(const ir::TensorModule& module, uint32_t file, Messages& messages) {
  return verify_module(module, file, messages);
}
bool verify_stage_file(const ir::KernelModule& module, uint32_t file, Messages& messages) {
  return verify_module(module, file, messages);
}
bool verify_stage_file(const ir::LoopModule& module, uint32_t file, Messages& messages) {
  return verify_module(module, file, messages);
}

bool stands_in_for(const ir::TensorModule& from_file, const ir::TensorModule& made, uint32_t file,
                   Messages& messages) {
  return module_fits(from_file, made, file, messages);
}
bool stands_in_for(const ir::KernelModule& from_file, const ir::KernelModule& made, uint32_t file,
                   Messages& messages) {
  return module_fits(from_file, made, file, messages);
}
bool stands_in_for(const ir::LoopModule& from_file, const ir::LoopModule& made, uint32_t file,
                   Messages& messages) {
  return module_fits(from_file, made, file, messages);
}

}  // namespace fusegrad::driver
