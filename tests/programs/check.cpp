// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One function a promise; the first broken one ends the check.
#include "tests/programs/check.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "ir/kernel/evaluate.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"
#include "ir/loop/verify.h"
#include "ir/passes/gradient_check.h"
#include "ir/passes/passes.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "runtime/jit/llvm/compile.h"
#include "tests/programs/machine.h"
#include "tests/programs/unfused.h"
#include "tests/support/error_bound.h"
#include "tests/support/random_program.h"

namespace fusegrad::test {
namespace {

using namespace ir;

using Failure = std::optional<ProgramFailure>;
using Bounds = std::map<std::string, BoundedTensor>;

constexpr int64_t steps = 3;

std::vector<double> numbers(const TensorValue& value) {
  if (is_real(value.type)) return value.reals;
  return {value.integers.begin(), value.integers.end()};
}

bool equal_numbers(const TensorValue& a, const TensorValue& b) {
  if (a.integers != b.integers || a.reals.size() != b.reals.size()) return false;
  for (size_t i = 0; i < a.reals.size(); ++i) {
    if (!(a.reals[i] == b.reals[i] || (std::isnan(a.reals[i]) && std::isnan(b.reals[i]))))
      return false;
  }
  return true;
}

/// Uniforms of a step; batches are full, short, and of one row.
ir::Uniforms uniforms_of(const TensorProgram& program, int64_t step) {
  ir::Uniforms uniforms;
  uniforms.rows = step == 1 ? program.batch : step == 2 ? (program.batch + 1) / 2 : 1;
  uniforms.step = step;
  uniforms.steps = steps;
  uniforms.epoch = 1;
  uniforms.seed = 7;
  return uniforms;
}

class Check {
 public:
  Check(const TensorProgram& forward, uint64_t seed, Coverage& coverage,
        runtime::ThreadTeam& one_thread, runtime::ThreadTeam& three_threads)
      : forward_(forward),
        seed_(seed),
        coverage_(coverage),
        one_thread_(one_thread),
        three_threads_(three_threads) {}

  Failure run() {
    return all({&Check::forward_text, &Check::derivative, &Check::gradient, &Check::optimizer,
                &Check::rewrites, &Check::saves, &Check::kernels, &Check::fusion, &Check::loops,
                &Check::initial_values, &Check::training});
  }

  /// Only as far as there is something to count.
  Failure count() {
    return all({&Check::forward_text, &Check::derivative, &Check::optimizer, &Check::kernels});
  }

 private:
  Failure all(std::initializer_list<Failure (Check::*)()> parts) {
    for (const auto& part : parts) {
      if (Failure failure = (this->*part)()) return failure;
    }
    return std::nullopt;
  }

  template <typename Program>
  Failure verified(const char* stage, const std::vector<std::string>& violations,
                   const Program& program) {
    if (violations.empty()) return std::nullopt;
    return ProgramFailure{fmt::format("rules of {}", stage), violations[0] + "\n" + print(program)};
  }

  /// That `text` is what its parsed form prints.
  Failure round_trip(const char* stage, const std::string& text,
                     const std::function<std::string(const SourceManager&, uint32_t, Diagnostics&)>&
                         parse_and_print) {
    SourceManager sources;
    Diagnostics diagnostics;
    const uint32_t file = sources.add("stage.txt", text);
    const std::string again = parse_and_print(sources, file, diagnostics);
    if (again == text) return std::nullopt;
    return ProgramFailure{fmt::format("text of {}", stage),
                          render(diagnostics, sources) + "\n" + text + "\nbecame\n" + again};
  }

  Failure tensor_text(const char* stage, const TensorModule& module) {
    return round_trip(stage, print(module, stage),
                      [](const SourceManager& sources, uint32_t file, Diagnostics& diagnostics) {
                        auto parsed = parse_tensor_module(sources, file, diagnostics);
                        return parsed ? print(parsed->module, parsed->stage) : "";
                      });
  }

  Failure loop_text(const char* stage, const LoopModule& module) {
    return round_trip(stage, print(module),
                      [](const SourceManager& sources, uint32_t file, Diagnostics& diagnostics) {
                        auto parsed = parse_loop_module(sources, file, diagnostics);
                        return parsed ? print(*parsed) : "";
                      });
  }

  Failure forward_text() {
    count_forms(forward_, coverage_);
    count_solver_rules(forward_, coverage_);
    if (Failure failure = verified("tensor", verify(forward_), forward_)) return failure;
    return tensor_text("tensor", TensorModule{{forward_}});
  }

  /// Points of all statements: what an evaluation costs.
  static int64_t points(const TensorProgram& program) {
    int64_t total = 0;
    for (const TensorStatement& statement : program.statements) {
      int64_t count = 1;
      for (const IndexRange& index : statement.indices) count *= index.end.maximum;
      for (const IndexRange& index : statement.binders) count *= index.end.maximum - index.begin;
      total += count;
    }
    return total;
  }

  Failure derivative() {
    Result<TensorProgram, DifferentiationError> gradient = differentiate(forward_);
    if (!gradient) return ProgramFailure{"differentiation", gradient.error().message};
    differentiated_ = std::move(*gradient);
    for (const std::string& violation : verify(differentiated_, tensor_rules_at("tensor.grad"))) {
      // Interval analysis does not see every consequence of a guard (-q // 2 - i from -q - 2*i);
      // anything but a bound that it cannot prove is a mistake.
      if (violation.find("may be") == std::string::npos) {
        return ProgramFailure{"rules of tensor.grad", violation + "\n" + print(differentiated_)};
      }
      proved_ = false;
    }
    if (!proved_) coverage_.count("left out: a gradient's bound that is not proved");
    return std::nullopt;
  }

  Failure gradient() {
    if (points(forward_) > 4000) return std::nullopt;
    GradientCheckOptions options;
    options.seed = seed_;
    Result<GradientCheck, DifferentiationError> check = check_gradients(forward_, options);
    if (!check) return ProgramFailure{"gradient", check.error().message};
    for (const ParameterGradient& parameter : check->parameters) {
      if (std::isnan(parameter.error)) {
        coverage_.count("left out: a gradient at kinks only");
        continue;
      }
      coverage_.count("gradients compared with differences");
      if (!(parameter.error <= 1e-6)) {
        return ProgramFailure{"gradient", fmt::format("{} differs by {}\n{}", parameter.name,
                                                      parameter.error, print(differentiated_))};
      }
    }
    return std::nullopt;
  }

  Failure optimizer() {
    TensorModule module;
    module.programs = {random_init(forward_), differentiated_};
    module = apply_update_rules(module, random_rules(forward_, seed_));
    init_ = module.programs[0];
    train_ = module.programs[1];
    // Gradients that no rule uses are results, so that they are checked too.
    for (const TensorResult& result : differentiated_.results) {
      if (result.kind == TensorResultKind::gradient)
        train_.results.push_back({TensorResultKind::output, "g." + result.label, result.tensor});
    }
    if (proved_) {
      if (Failure f =
              verified("tensor.grad", verify(train_, tensor_rules_at("tensor.grad")), train_))
        return f;
    }
    if (Failure f = verified("init", verify(init_), init_)) return f;
    simple_ = simplify(train_);
    return tensor_text("tensor.grad", TensorModule{{init_, train_}});
  }

  // ---- T's rewrites

  /// Results and updates of `program` against those of `original` with bounds.
  Failure compare(const char* check, const TensorProgram& original, const Bounds& bounds,
                  const TensorProgram& program, const TensorValues& values) {
    auto one = [&](const std::string& label, const std::string& expected,
                   const std::string& tensor) -> Failure {
      const double ratio = worst_ratio(bounds.at(expected), numbers(values.at(tensor)));
      if (ratio <= 1) return std::nullopt;
      return ProgramFailure{
          check, fmt::format("{} is {} times its bound away\n{}", label, ratio, print(program))};
    };
    for (size_t i = 0; i < original.results.size(); ++i) {
      if (Failure failure = one(original.results[i].label, original.results[i].tensor,
                                program.results.at(i).tensor))
        return failure;
    }
    for (size_t i = 0; i < original.updates.size(); ++i) {
      if (Failure failure = one(original.updates[i].target, original.updates[i].value,
                                program.updates.at(i).value))
        return failure;
    }
    return std::nullopt;
  }

  Failure rewrites() {
    const ir::Uniforms uniforms = uniforms_of(train_, 1);
    const TensorValues given = random_values(train_, uniforms.rows, seed_);
    TensorProgram in_f64 = train_;
    in_f64.real = ScalarType::f64;  // bounds on the rounding of f64
    const Bounds bounds = evaluate_with_bounds(in_f64, given, uniforms);
    const std::pair<const char*, bool (*)(TensorProgram&, RuleCounts*)> steps_of_simplify[] = {
        {"fold", fold_statements},
        {"inline", inline_maps},
        {"pull factors", pull_factors},
        {"share", share_statements},
        {"remove dead", remove_dead_statements},
    };
    auto checked = [&](const char* name, const TensorProgram& program) -> Failure {
      if (proved_) {
        if (Failure f = verified(name, verify(program, tensor_rules_at("tensor.grad")), program))
          return f;
      }
      return compare(name, train_, bounds, program,
                     evaluate(program, given, uniforms, Precision::all_f64));
    };
    for (const auto& [name, step] : steps_of_simplify) {
      TensorProgram changed = train_;
      if (!step(changed, nullptr)) continue;
      coverage_.count(fmt::format("rewrite: {}", name));
      if (Failure failure = checked(name, changed)) return failure;
    }
    if (Failure failure = checked("simplify", simple_)) return failure;
    TensorProgram again = simplify(simple_);
    if (print(again) != print(simple_)) {
      return ProgramFailure{"simplify twice", print(simple_) + "\nbecame\n" + print(again)};
    }
    return tensor_text("tensor.opt", TensorModule{{simple_}});
  }

  /// What backward computes again has the same bits as what was stored: on T in f64, and after
  /// scheduling on L in f32. From here on, the program is the one without what is not stored.
  Failure saves() {
    if (!proved_) return std::nullopt;
    const TensorProgram stored = simple_;
    simple_ = recompute(stored).program;
    if (print(simple_) == print(stored)) return std::nullopt;
    coverage_.count("rewrite: recompute");
    if (Failure f = verified("tensor.opt", verify(simple_, tensor_rules_at("tensor.opt")), simple_))
      return f;
    const ir::Uniforms uniforms = uniforms_of(stored, 2);
    const TensorValues given = random_values(stored, uniforms.rows, seed_);
    const TensorValues expected = evaluate(stored, given, uniforms, Precision::all_f64);
    const TensorValues values = evaluate(simple_, given, uniforms, Precision::all_f64);
    for (const TensorResult& result : simple_.results) {
      if (!equal_numbers(expected.at(result.tensor), values.at(result.tensor)))
        return ProgramFailure{"recompute", result.label + "\n" + print(simple_)};
    }
    const std::map<std::string, TensorValue> before = after_one_step(stored, given, uniforms);
    const std::map<std::string, TensorValue> after = after_one_step(simple_, given, uniforms);
    if (before.empty() || before.size() != after.size())
      return ProgramFailure{"recompute, run on L", print(simple_)};
    for (const auto& [name, value] : after) {
      if (equal_numbers(before.at(name), value)) continue;
      return ProgramFailure{"recompute, bits on L",
                            name + "\n" + print(stored) + "\nbecame\n" + print(simple_)};
    }
    return tensor_text("tensor.opt", TensorModule{{simple_}});
  }

  /// Results, parameters and states after a step on L.
  std::map<std::string, TensorValue> after_one_step(const TensorProgram& program,
                                                    const TensorValues& given,
                                                    const ir::Uniforms& uniforms) {
    const KernelModule module = schedule(KernelModule{{group(program)}});
    const LoopProgram loops = expand_functions(lower_to_loops(plan_memory(module.programs[0])));
    Execution execution(loops);
    execution.put(given, false);
    std::map<std::string, TensorValue> values;
    if (!execution.evaluator.run(execution.evaluated.view(), uniforms)) return values;
    for (const Buffer& buffer : loops.buffers) {
      if (buffer.kind == BufferKind::temporary || buffer.kind == BufferKind::input) continue;
      values[buffer.name] = execution.get(buffer.name, uniforms.rows);
    }
    return values;
  }

  // ---- K

  Failure kernels() {
    if (!proved_) return std::nullopt;
    kernels_.programs = {group(simplify(init_)), group(simple_)};
    kernels_ = schedule(kernels_, schedule_options());
    for (KernelProgram& program : kernels_.programs) program = plan_memory(program);
    for (const KernelProgram& program : kernels_.programs) {
      if (Failure failure = verified("kernels", verify(program), program)) return failure;
    }
    count_moves(kernels_.programs[1], coverage_);
    return round_trip("kernels", print(kernels_),
                      [](const SourceManager& sources, uint32_t file, Diagnostics& diagnostics) {
                        auto parsed = parse_kernel_module(sources, file, diagnostics);
                        return parsed ? print(*parsed) : "";
                      });
  }

  /// Half of the programs run every sum that can along sorted places, however few values there are.
  ScheduleOptions schedule_options() const {
    ScheduleOptions options;
    if (seed_ % 4 < 2) options.most_compared_values = 0;
    return options;
  }

  /// Sums along sorted places have the bits of those that compare.
  Failure compared(const LoopProgram& loops, const TensorValues& given,
                   const ir::Uniforms& uniforms) {
    KernelProgram program = kernels_.programs[1];
    int64_t removed = 0;
    for (Launch& launch : program.launches) {
      for (Kernel& kernel : launch.kernels) {
        removed += static_cast<int64_t>(
            std::erase_if(kernel.schedule, [](const ScheduleAttribute& attribute) {
              return attribute.kind == ScheduleAttribute::Kind::segment;
            }));
      }
    }
    if (removed == 0) return std::nullopt;
    const LoopProgram comparing = expand_functions(lower_to_loops(program));
    if (Failure failure = verified_loops("comparing loops", comparing, true)) return failure;
    Execution first(loops);
    Execution second(comparing);
    for (Execution* execution : {&first, &second}) {
      execution->put(given, false);
      Status ran = execution->evaluator.run(execution->evaluated.view(), uniforms);
      if (!ran) return ProgramFailure{"comparing loops run", ran.error().message};
    }
    for (const Buffer& buffer : loops.buffers) {
      if (buffer.kind == BufferKind::temporary) continue;
      const auto expected = second.evaluated.bytes(buffer.name);
      const auto ours = first.evaluated.bytes(buffer.name);
      if (std::memcmp(expected.data(), ours.data(), ours.size()) == 0) continue;
      return ProgramFailure{"segments and comparisons",
                            fmt::format("{} differs\n{}", buffer.name, print(program))};
    }
    return std::nullopt;
  }

  /// Grouped kernels and single ones, both in f64 and in orders that must not matter, equal T.
  Failure fusion() {
    if (!proved_) return std::nullopt;
    const ir::Uniforms uniforms = uniforms_of(simple_, 2);
    const TensorValues given = random_values(simple_, uniforms.rows, seed_);
    const TensorValues expected = evaluate(simple_, given, uniforms, Precision::all_f64);
    unfused_ = unfused(simple_);
    if (Failure failure = verified("unfused kernels", verify(unfused_), unfused_)) return failure;
    const KernelOrder order{true, static_cast<uint32_t>(seed_)};
    for (const KernelProgram* program : {&kernels_.programs[1], &unfused_}) {
      const TensorValues values = evaluate(*program, given, uniforms, Precision::all_f64, order);
      const char* check = program == &unfused_ ? "unfused kernels in f64" : "kernels in f64";
      for (size_t i = 0; i < simple_.results.size(); ++i) {
        const KernelResult& result = program->results.at(i);
        if (!equal_numbers(expected.at(simple_.results[i].tensor), values.at(result.buffer)))
          return ProgramFailure{check, result.label + "\n" + print(*program)};
      }
      for (const TensorUpdate& update : simple_.updates) {
        if (!equal_numbers(expected.at(update.target), values.at(update.target)))
          return ProgramFailure{check, update.target + "\n" + print(*program)};
      }
    }
    return std::nullopt;
  }

  // ---- L

  /// Whether some read has an index like `rows - 1 - b`.
  bool reads_rows_reversed() const {
    bool found = false;
    for (const TensorStatement& statement : simple_.statements) {
      visit_reads(statement, [&](const Expr& read) {
        for (const ExprRef& index : read.operands) {
          if (is_real(index->type.scalar)) continue;
          walk(index, [&](const Expr& node) { found = found || node.op == Op::uniform; });
        }
      });
    }
    return found;
  }

  /// The verifier's rules of L. It does not prove every address that is right: reversed rows in a
  /// kernel over several dimensions. Those are counted, and looked at when L is evaluated.
  Failure verified_loops(const char* stage, const LoopProgram& program, bool expanded) {
    std::vector<std::string> violations = verify(program, expanded);
    const bool reversed = reads_rows_reversed();
    const auto unproved = std::erase_if(violations, [&](const std::string& violation) {
      return reversed && violation.find("the address is not proved") != std::string::npos;
    });
    if (unproved > 0 && !expanded) coverage_.count("left out: an address that is not proved");
    return verified(stage, violations, program);
  }

  Failure loops() {
    if (!proved_) return std::nullopt;
    LoopModule lowered;
    for (const KernelProgram& program : kernels_.programs) {
      lowered.programs.push_back(lower_to_loops(program));
      if (Failure f = verified_loops("loops", lowered.programs.back(), false)) return f;
    }
    if (Failure failure = loop_text("loops", lowered)) return failure;
    for (const LoopProgram& program : lowered.programs) {
      loops_.programs.push_back(expand_functions(program));
      if (Failure f = verified_loops("expanded loops", loops_.programs.back(), true)) return f;
    }
    return loop_text("expanded loops", loops_);
  }

  /// One program of L in three executions over memory of its own.
  struct Execution {
    /// The data set is larger than the batch, and the batch's rows lie in it in another order.
    explicit Execution(const LoopProgram& program)
        : loops(program),
          evaluated(program, program.batch + 3),
          one(program, program.batch + 3),
          three(program, program.batch + 3),
          evaluator(program) {
      std::span<int32_t> rows = evaluated.row_list();
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(rows.size() + 1 - i);
    }
    const LoopProgram& loops;
    OwnedLoopMemory evaluated;
    AlignedMemory one;
    AlignedMemory three;
    LoopEvaluator evaluator;

    void put(const TensorValues& values, bool only_inputs) {
      for (const Buffer& buffer : loops.buffers) {
        auto value = values.find(buffer.name);
        if (value == values.end() || (only_inputs && buffer.kind != BufferKind::input)) continue;
        put_value(evaluated.bytes(buffer.name), buffer, value->second, evaluated.row_list());
        put_value(one.bytes(buffer.name), buffer, value->second, evaluated.row_list());
        put_value(three.bytes(buffer.name), buffer, value->second, evaluated.row_list());
      }
    }
    TensorValue get(const std::string& name, int64_t rows) {
      return get_value(evaluated.bytes(name), *loops.find_buffer(name), rows);
    }
  };

  Failure step(Execution& execution, const runtime::CompiledProgram& code,
               const ir::Uniforms& uniforms) {
    const LoopProgram& loops = execution.loops;
    Status ran = execution.evaluator.run(execution.evaluated.view(), uniforms, LoopOrder{3, true});
    if (!ran) return ProgramFailure{"loops run", ran.error().message + "\n" + print(loops)};
    const std::pair<AlignedMemory*, runtime::ThreadTeam*> runs[] = {
        {&execution.one, &one_thread_}, {&execution.three, &three_threads_}};
    for (const auto& [memory, team] : runs) {
      run_machine_code(loops, code, *memory, execution.evaluated.row_list(), uniforms, *team);
      for (const Buffer& buffer : loops.buffers) {
        if (buffer.kind == BufferKind::temporary) continue;
        const auto expected = execution.evaluated.bytes(buffer.name);
        const auto ours = memory->bytes(buffer.name);
        if (std::memcmp(expected.data(), ours.data(), std::min(expected.size(), ours.size())) == 0)
          continue;
        return ProgramFailure{fmt::format("machine code, {} threads", team->thread_count()),
                              fmt::format("step {}: {} differs from L\n{}", uniforms.step,
                                          buffer.name, print(loops))};
      }
    }
    return std::nullopt;
  }

  /// L's results and updates against T's with bounds, from the same values.
  Failure within_bounds(const char* check, const TensorProgram& program, Execution& execution,
                        const TensorValues& given, const ir::Uniforms& uniforms) {
    const Bounds bounds = evaluate_with_bounds(program, given, uniforms);
    auto one = [&](const std::string& tensor, const std::string& buffer) -> Failure {
      const double ratio =
          worst_ratio(bounds.at(tensor), numbers(execution.get(buffer, uniforms.rows)));
      if (ratio <= 1) return std::nullopt;
      return ProgramFailure{
          check, fmt::format("step {}: {} is {} times its bound away\n{}", uniforms.step, buffer,
                             ratio, print(execution.loops))};
    };
    for (size_t i = 0; i < program.results.size(); ++i) {
      if (Failure f = one(program.results[i].tensor, execution.loops.results.at(i).buffer))
        return f;
    }
    for (const TensorUpdate& update : program.updates) {
      if (Failure f = one(update.value, update.target)) return f;
    }
    return std::nullopt;
  }

  Failure initial_values() {
    if (!proved_) return std::nullopt;
    auto code = runtime::compile(loops_.programs[0]);
    if (!code) return ProgramFailure{"compilation", code.error().message};
    Execution execution(loops_.programs[0]);
    ir::Uniforms uniforms = uniforms_of(init_, 1);
    uniforms.step = 0;
    const TensorValues given = random_values(init_, uniforms.rows, seed_);
    execution.put(given, false);
    if (Failure failure = step(execution, *code, uniforms)) return failure;
    if (Failure failure =
            within_bounds("loops of init within bounds", init_, execution, given, uniforms))
      return failure;
    for (const TensorDeclaration& declaration : init_.declarations) {
      initial_[declaration.name] = execution.get(declaration.name, uniforms.rows);
    }
    return std::nullopt;
  }

  Failure training() {
    if (!proved_) return std::nullopt;
    const LoopProgram& loops = loops_.programs[1];
    auto code = runtime::compile(loops);
    if (!code) return ProgramFailure{"compilation", code.error().message};
    Execution execution(loops);
    execution.put(initial_, false);
    for (int64_t number = 1; number <= steps; ++number) {
      const ir::Uniforms uniforms = uniforms_of(train_, number);
      TensorValues given =
          random_values(train_, uniforms.rows, seed_ + static_cast<uint64_t>(number));
      for (const TensorDeclaration& declaration : train_.declarations) {
        if (declaration.kind != TensorKind::input)
          given[declaration.name] = execution.get(declaration.name, uniforms.rows);
      }
      execution.put(given, true);
      if (Failure failure = step(execution, *code, uniforms)) return failure;
      if (Failure failure =
              within_bounds("loops within bounds", train_, execution, given, uniforms))
        return failure;
      if (number == 1) {
        if (Failure failure = unfused_loops(given, uniforms)) return failure;
      }
      if (number <= 2) {
        if (Failure failure = compared(loops, given, uniforms)) return failure;
      }
    }
    return std::nullopt;
  }

  /// The program without fusion on L is within the same bounds. Not the same bits: the order of a
  /// sum belongs to the kernel's schedule.
  Failure unfused_loops(const TensorValues& given, const ir::Uniforms& uniforms) {
    KernelModule module;
    module.programs = {unfused_};
    module = schedule(module, schedule_options());
    const LoopProgram loops = expand_functions(lower_to_loops(plan_memory(module.programs[0])));
    if (Failure failure = verified_loops("unfused loops", loops, true)) return failure;
    Execution execution(loops);
    execution.put(given, false);
    Status ran = execution.evaluator.run(execution.evaluated.view(), uniforms);
    if (!ran) return ProgramFailure{"unfused loops run", ran.error().message + "\n" + print(loops)};
    if (Failure f =
            within_bounds("unfused loops within bounds", train_, execution, given, uniforms))
      return f;
    return std::nullopt;
  }

  const TensorProgram& forward_;
  const uint64_t seed_;
  Coverage& coverage_;
  runtime::ThreadTeam& one_thread_;
  runtime::ThreadTeam& three_threads_;
  /// All bounds of the gradient are proved; programs without proof end before K.
  bool proved_ = true;
  TensorProgram differentiated_;
  TensorProgram init_;
  TensorProgram train_;
  TensorProgram simple_;
  KernelModule kernels_;
  KernelProgram unfused_;
  LoopModule loops_;
  TensorValues initial_;
};

}  // namespace

ProgramChecker::ProgramChecker()
    : one_thread_(std::move(*runtime::ThreadTeam::start(1))),
      three_threads_(std::move(*runtime::ThreadTeam::start(3))) {}

std::optional<ProgramFailure> ProgramChecker::check(const TensorProgram& forward, uint64_t seed,
                                                    Coverage& coverage) {
  return Check(forward, seed, coverage, *one_thread_, *three_threads_).run();
}

void ProgramChecker::count(const TensorProgram& forward, uint64_t seed, Coverage& coverage) {
  Check(forward, seed, coverage, *one_thread_, *three_threads_).count();
}

TensorProgram program_of_seed(uint64_t seed) {
  return random_program(seed, RandomProgramOptions::for_seed(seed));
}

std::string replay_command(uint64_t seed) {
  return fmt::format("build/random_programs --seed {} --reduce", seed);
}

}  // namespace fusegrad::test
