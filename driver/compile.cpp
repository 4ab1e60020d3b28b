// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The whole compiler on one page: every stage in order, a sentence above each.
#include "driver/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "driver/job_settings.h"
#include "driver/stage_file.h"
#include "driver/text_file.h"
#include "frontend/library.h"
#include "frontend/parser.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

/// One compilation: the request, the messages, and the stages made so far.
class Compiler {
 public:
  Compiler(const CompileRequest& request, Messages& messages)
      : request_(request), messages_(messages) {}

  std::optional<Compilation> run() {
    // The model's text becomes a syntax tree; the standard library is a file in the same language.
    frontend::ast::File library;
    if (!step("parse", [&] { return parse(library); })) return std::nullopt;
    if (request_.until == Stage::ast) return std::move(result_);

    // Names, sizes, types and ranges are settled; layers dissolve into tensor statements.
    if (!step("elaborate", [&] { return elaborate(library); })) return std::nullopt;
    result_.tensor = result_.job.module;
    verify(result_.tensor, "tensor");
    if (request_.until == Stage::tensor) return std::move(result_);

    // The loss is differentiated, and the optimizer's rule is applied to every parameter: one
    // graph.
    if (!step("differentiate", [&] { return differentiate(); })) return std::nullopt;
    verify(result_.tensor_grad, "tensor.grad");
    if (request_.until == Stage::tensor_grad) return std::move(result_);

    // What a metric accumulates over a pass is separated from what is computed after it.
    // Algebra: views disappear, factors leave sums, equal statements are shared.
    step("simplify", [&] {
      for (const ir::TensorProgram& program : ir::split_metrics(result_.tensor_grad).programs) {
        result_.tensor_opt.programs.push_back(ir::simplify(program));
      }
      return true;
    });
    verify(result_.tensor_opt, "tensor.opt");
    // What backward needs of forward is kept or computed again, whichever is cheaper.
    step("recompute", [&] {
      for (ir::TensorProgram& program : result_.tensor_opt.programs) {
        ir::RecomputeResult chosen = ir::recompute(program);
        program = std::move(chosen.program);
        result_.save_remarks.emplace_back(program.name, std::move(chosen.remarks));
      }
      return true;
    });
    if (!replace_from_file(Stage::tensor_opt)) return std::nullopt;
    verify(result_.tensor_opt, "tensor.opt");
    if (request_.until == Stage::tensor_opt) return std::move(result_);

    // Statements that share their rows become kernels, independent kernels share launches.
    step("group", [&] {
      for (const ir::TensorProgram& program : result_.tensor_opt.programs) {
        result_.kernels.programs.push_back(ir::group(program));
      }
      return true;
    });
    verify(result_.kernels, "kernels");
    // Tiles, vectors, layouts and arena offsets are decided and stored as data.
    step("schedule", [&] {
      result_.kernels = ir::schedule(result_.kernels);
      for (ir::KernelProgram& program : result_.kernels.programs)
        program = ir::plan_memory(program);
      return true;
    });
    if (!replace_from_file(Stage::kernels)) return std::nullopt;
    verify(result_.kernels, "kernels");
    if (request_.until == Stage::kernels) return std::move(result_);

    // What was decided is written down as loops, vectors and addresses; functions become
    // arithmetic.
    step("lower", [&] {
      for (const ir::KernelProgram& program : result_.kernels.programs) {
        result_.loops.programs.push_back(ir::lower_to_loops(program));
      }
      return true;
    });
    verify(result_.loops, "loops", false);
    step("expand", [&] {
      for (ir::LoopProgram& program : result_.loops.programs)
        program = ir::expand_functions(program);
      return true;
    });
    if (!replace_from_file(Stage::loops)) return std::nullopt;
    step("verify", [&] {
      verify_always(result_.loops);
      return true;
    });
    if (request_.until == Stage::loops) return std::move(result_);

    // LLVM makes machine code in this process; the job table holds functions, buffers and uniforms.
    if (!step("machine code", [&] { return generate(); })) return std::nullopt;
    return std::move(result_);
  }

 private:
  bool step(const char* name, const std::function<bool()>& work) {
    auto start = std::chrono::steady_clock::now();
    bool done = work();
    std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    result_.seconds.emplace_back(name, elapsed.count());
    return done;
  }

  bool fail(int exit_code, std::string message) {
    messages_.exit_code = exit_code;
    messages_.failure = std::move(message);
    return false;
  }

  bool parse(frontend::ast::File& library) {
    Result<std::string> text = read_text_file(request_.model_path);
    if (!text) return fail(ExitCode::model_file, text.error().message);
    result_.model_file = messages_.sources.add(request_.model_path, std::move(*text));
    result_.ast = frontend::parse(messages_.sources, result_.model_file, messages_.diagnostics);
    uint32_t library_file =
        messages_.sources.add("library.fg", std::string(frontend::library_text()));
    Diagnostics library_diagnostics;
    library = frontend::parse(messages_.sources, library_file, library_diagnostics);
    FG_CHECK(!library_diagnostics.has_errors(), "the library does not parse:\n{}",
             render(library_diagnostics, messages_.sources));
    if (messages_.diagnostics.has_errors() && request_.until == Stage::ast)
      messages_.exit_code = ExitCode::model_file;
    return !(messages_.diagnostics.has_errors() && request_.until == Stage::ast);
  }

  bool elaborate(const frontend::ast::File& library) {
    frontend::ElaborateOptions options = request_.elaborate;
    options.read_file = read_text_file;
    std::optional<frontend::Job> job = frontend::elaborate(
        result_.ast, library, options, messages_.sources, messages_.diagnostics);
    if (!job || messages_.diagnostics.has_errors()) {
      messages_.exit_code = ExitCode::model_file;
      return false;
    }
    result_.job = std::move(*job);
    return true;
  }

  bool differentiate() {
    for (const ir::TensorProgram& program : result_.tensor.programs) {
      if (program.name != "train") {
        result_.tensor_grad.programs.push_back(ir::strip_gradient_marks(program));
        continue;
      }
      Result<ir::TensorProgram, ir::DifferentiationError> with_gradient =
          ir::differentiate(program);
      if (!with_gradient) {
        Diagnostic diagnostic;
        diagnostic.code = "E0503";
        diagnostic.message = with_gradient.error().message;
        diagnostic.primary = {with_gradient.error().origin, "needed for the gradient of the loss"};
        messages_.diagnostics.add(std::move(diagnostic));
        messages_.exit_code = ExitCode::model_file;
        return false;
      }
      result_.tensor_grad.programs.push_back(std::move(*with_gradient));
    }
    if (!result_.job.update_rules.empty()) {
      result_.tensor_grad = ir::apply_update_rules(result_.tensor_grad, result_.job.update_rules,
                                                   result_.job.transforms);
    }
    return true;
  }

  bool generate() {
    const runtime::JobSettings settings =
        job_settings(result_.job, request_.model_path, messages_.sources.text(result_.model_file));
    runtime::JitOptions options;
    options.keep_text = request_.keep_llvm_text;
    ir::LoopModule chosen;
    const std::vector<std::string>& names = request_.code_for;
    for (const ir::LoopProgram& program : result_.loops.programs) {
      if (std::find(names.begin(), names.end(), program.name) == names.end()) continue;
      chosen.programs.push_back(program);
    }
    Result<runtime::CompiledJob> job =
        runtime::build_job(names.empty() ? result_.loops : chosen, settings, options);
    if (!job) return fail(ExitCode::device, job.error().message);
    result_.code = std::move(*job);
    return true;
  }

  /// `--from`: the stage's programs come from a file. Its origin spans are places in that file.
  bool replace_from_file(Stage stage) {
    if (request_.from_path.empty()) return true;
    if (!from_stage_) {
      Result<std::string> text = read_text_file(request_.from_path);
      if (!text) return fail(ExitCode::usage, text.error().message);
      std::string_view first_line = std::string_view(*text).substr(0, text->find('\n'));
      std::optional<Stage> named =
          first_line.starts_with("stage ") ? parse_stage(first_line.substr(6)) : std::nullopt;
      if (named != Stage::tensor_opt && named != Stage::kernels && named != Stage::loops) {
        return fail(
            ExitCode::usage,
            fmt::format(
                "{}: training starts from a stage file of tensor.opt, kernels or loops; expected a "
                "first line like `stage kernels`, found `{}`",
                request_.from_path, first_line.substr(0, 60)));
      }
      from_stage_ = named;
      from_file_ = messages_.sources.add(request_.from_path, std::move(*text));
    }
    if (*from_stage_ != stage) return true;
    bool read = false;
    if (stage == Stage::tensor_opt) {
      if (auto parsed =
              ir::parse_tensor_module(messages_.sources, from_file_, messages_.diagnostics)) {
        read = accept(parsed->module, result_.tensor_opt);
      }
    } else if (stage == Stage::kernels) {
      if (auto parsed =
              ir::parse_kernel_module(messages_.sources, from_file_, messages_.diagnostics)) {
        read = accept(*parsed, result_.kernels);
      }
    } else if (auto parsed =
                   ir::parse_loop_module(messages_.sources, from_file_, messages_.diagnostics)) {
      read = accept(*parsed, result_.loops);
      for (ir::LoopProgram& program : result_.loops.programs)
        program = ir::expand_functions(program);
    }
    if (!read && messages_.exit_code == 0) messages_.exit_code = ExitCode::model_file;
    return read;
  }

  /// A file from a person is verified like anything else, but its mistakes are the person's.
  template <typename Module>
  bool accept(Module& from_file, Module& target) {
    if (!verify_stage_file(from_file, from_file_, messages_)) return false;
    if (!stands_in_for(from_file, target, from_file_, messages_)) return false;
    target = std::move(from_file);
    return true;
  }

  // ---- Verification of our own work: a violation is our bug.

  void verify(const ir::TensorModule& module, std::string_view stage) {
    if (!request_.verify_each) return;
    for (const ir::TensorProgram& program : module.programs) ir::check_verified(program, stage);
  }
  void verify(const ir::KernelModule& module, std::string_view stage) {
    if (!request_.verify_each) return;
    for (const ir::KernelProgram& program : module.programs) ir::check_verified(program, stage);
  }
  void verify(const ir::LoopModule& module, std::string_view stage, bool expanded) {
    if (!request_.verify_each) return;
    for (const ir::LoopProgram& program : module.programs)
      ir::check_verified(program, stage, expanded);
  }
  void verify_always(const ir::LoopModule& module) {
    for (const ir::LoopProgram& program : module.programs)
      ir::check_verified(program, "loops", true);
  }

  const CompileRequest& request_;
  Messages& messages_;
  Compilation result_;
  std::optional<Stage> from_stage_;
  uint32_t from_file_ = 0;
};

}  // namespace

std::optional<Compilation> compile(const CompileRequest& request, Messages& messages) {
  return Compiler(request, messages).run();
}

}  // namespace fusegrad::driver
