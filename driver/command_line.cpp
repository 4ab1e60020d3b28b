// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one file that includes CLI11: options by name, into plain structs.
#include "driver/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "driver/commands.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/thread_team.h"
#include "runtime/core/version.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

constexpr const char* train_block_text = "which of several train blocks of the file";

/// "NAME=value" into a map; the later one wins, as on any command line.
CLI::Option* add_assignments(CLI::App* command, const std::string& flag,
                             std::map<std::string, std::string>& target,
                             const std::string& description) {
  return command
      ->add_option_function<std::vector<std::string>>(
          flag,
          [&target, flag](const std::vector<std::string>& assignments) {
            for (const std::string& assignment : assignments) {
              size_t equals = assignment.find('=');
              if (equals == 0 || equals == std::string::npos) {
                throw CLI::ValidationError(
                    flag, fmt::format("expected NAME=value, found `{}`", assignment));
              }
              target[assignment.substr(0, equals)] = assignment.substr(equals + 1);
            }
          },
          description)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("NAME=value");
}

void add_model(CLI::App* command, ModelOptions& model) {
  command->add_option("MODEL", model.path, "the model file (*.fg)")->required();
  add_assignments(command, "-D,--define", model.constants,
                  "replace the value of a `const` of the model file");
}

/// An option that stands for a key of the train block.
void add_setting(CLI::App* command, ModelOptions& model, const std::string& key,
                 const std::string& type, const std::string& description,
                 const std::string& flag = "") {
  command
      ->add_option_function<std::string>(
          flag.empty() ? "--" + key : flag,
          [&model, key](const std::string& value) { model.settings[key] = value; }, description)
      ->type_name(type);
}

void add_data_folder(CLI::App* command, std::string& folder) {
  command->add_option("--data", folder, "first folder in which data files are looked for")
      ->type_name("DIR");
}

void add_threads(CLI::App* command, int& threads) {
  command->add_option("--threads", threads, "threads (default: all processors)")
      ->check(CLI::Range(1, runtime::ThreadTeam::largest_thread_count))
      ->type_name("N");
}

/// The settings that `train` and `build` both have.
void add_training_settings(CLI::App* command, ModelOptions& model, const std::string& epochs,
                           const std::string& seed) {
  add_setting(command, model, "epochs", "N", epochs);
  add_setting(command, model, "batch", "N", "rows of a batch");
  add_setting(command, model, "lr", "X", "the optimizer's `lr` argument");
  add_setting(command, model, "seed", "N", seed);
  add_assignments(command, "--set", model.settings, "any key of the train block");
  add_setting(command, model, "train", "NAME", train_block_text);
}

/// An option given any number of times, each read by a function that may refuse it.
template <typename Read>
void add_read_option(CLI::App* command, const std::string& flag, const std::string& type,
                     const std::string& description, Read read) {
  command
      ->add_option_function<std::vector<std::string>>(
          flag,
          [read](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              if (auto done = read(text); !done) {
                throw CLI::ValidationError("", done.error().message);
              }
            }
          },
          description)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(type);
}

void add_checkpoints(CLI::App* command, runtime::CheckpointOptions& checkpoints) {
  command
      ->add_option("--checkpoint-dir", checkpoints.folder,
                   "keep the last two checkpoints and the best one here")
      ->type_name("DIR");
  add_read_option(command, "--save-every", "N|Ne",
                  "steps, or with an e epochs, from one checkpoint to the next (default: 1e)",
                  [&checkpoints](const std::string& text) {
                    auto every = runtime::save_every_option(text);
                    if (every) checkpoints.every = *every;
                    return every;
                  });
  command
      ->add_option("--resume", checkpoints.resume,
                   "go on from a checkpoint, or from the newest in a folder")
      ->type_name("PATH");
  command
      ->add_option("--init-from", checkpoints.init_from,
                   "begin with the weights of another run, by name")
      ->type_name("FILE");
  add_read_option(command, "--rename", "OLD=NEW",
                  "what a layer or tensor of --init-from is called here",
                  [&checkpoints](const std::string& text) {
                    return runtime::add_rename(text, checkpoints.renames);
                  });
}

/// What `eval` and `predict` both have.
void add_apply(CLI::App* command, ApplyCommand& target) {
  add_model(command, target.model);
  command
      ->add_option("--weights", target.run.weights,
                   "a file of `train --save`, or a checkpoint (safetensors)")
      ->required()
      ->type_name("FILE");
  add_setting(command, target.model, "batch", "N", "rows of a batch");
  add_assignments(command, "--set", target.model.settings, "any key of the train block");
  add_setting(command, target.model, "train", "NAME", train_block_text);
  add_threads(command, target.run.threads);
}

}  // namespace

int run(int argument_count, const char* const* arguments) {
  CLI::App app{"fusegrad compiles a model file into a trainer and runs it."};
  app.name("fusegrad");
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("fusegrad {}", runtime::version_text));
  int exit_code = ExitCode::done;

  TrainCommand train_command;
  CLI::App* train_app = app.add_subcommand("train", "compile and train");
  add_model(train_app, train_command.model);
  add_data_folder(train_app, train_command.run.data_dir);
  add_training_settings(train_app, train_command.model, "passes over the training data",
                        "of shuffling and random numbers");
  add_setting(train_app, train_command.model, "time_limit", "X",
              "seconds of training after which it ends, at the end of a step", "--max-time");
  add_checkpoints(train_app, train_command.run.checkpoints);
  add_threads(train_app, train_command.run.threads);
  train_app
      ->add_option("--save", train_command.run.save_path,
                   "write the parameters here at the end (safetensors)")
      ->type_name("FILE");
  train_app->add_option("--log-json", train_command.run.log_path, "one JSON object a line")
      ->type_name("FILE");
  train_app
      ->add_option("--from", train_command.from_path,
                   "start from an edited stage file (tensor.opt, kernels, loops)")
      ->type_name("STAGEFILE");
  train_app->add_option("--dump-dir", train_command.dump_dir, "write every stage into this folder")
      ->type_name("DIR");
  train_app->add_flag("-q,--quiet", train_command.run.quiet, "no epoch lines");
  train_command.run.checkpoints.command.assign(arguments, arguments + argument_count);
  train_app->callback([&] { exit_code = train(train_command); });

  BuildCommand build_command;
  CLI::App* build_app =
      app.add_subcommand("build", "make a trainer that needs neither fusegrad nor LLVM");
  add_model(build_app, build_command.model);
  build_app
      ->add_option("--kind", build_command.kind,
                   "what to make: exe, an executable, or shared, a library with a C header")
      ->check(CLI::IsMember({"exe", "shared"}))
      ->type_name("KIND");
  build_app->add_option("-o,--output", build_command.output, "the file to make")
      ->required()
      ->type_name("FILE");
  build_app
      ->add_option("--target-cpu", build_command.targets,
                   "processors that it is for: native or a level such as x86-64-v3 (default); of "
                   "several the trainer takes what fits")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("LEVEL,LEVEL");
  add_training_settings(build_app, build_command.model, "default of the trainer's --epochs",
                        "default of the trainer's --seed");
  build_app->callback([&] { exit_code = build(build_command); });

  ApplyCommand eval_command;
  CLI::App* eval_app = app.add_subcommand("eval", "loss and metrics of weights on a split");
  add_apply(eval_app, eval_command);
  add_data_folder(eval_app, eval_command.run.data_dir);
  eval_app
      ->add_option("--split", eval_command.run.split,
                   "which split (default: the one that training validates on)")
      ->type_name("NAME");
  eval_app->add_flag("--json", eval_command.run.json, "one JSON object");
  eval_app->callback([&] { exit_code = evaluate(eval_command); });

  ApplyCommand predict_command;
  CLI::App* predict_app = app.add_subcommand("predict", "the model's outputs for inputs of yours");
  add_apply(predict_app, predict_command);
  add_read_option(predict_app, "--input", "NAME=FILE",
                  "records for an input: .npy, .npz, .csv or IDX",
                  [&predict_command](const std::string& text) {
                    return runtime::add_input(text, predict_command.run.inputs);
                  });
  predict_app
      ->add_option("-o,--output", predict_command.run.output,
                   "the file to make: .npy, .npz or .csv")
      ->required()
      ->type_name("FILE");
  predict_app->callback([&] { exit_code = predict(predict_command); });

  CheckCommand check_command;
  CLI::App* check_app = app.add_subcommand("check", "parse, elaborate and differentiate only");
  add_model(check_app, check_command.model);
  add_setting(check_app, check_command.model, "batch", "N", "rows of a batch");
  add_setting(check_app, check_command.model, "train", "NAME", train_block_text);
  add_assignments(check_app, "--set", check_command.model.settings, "any key of the train block");
  check_app->add_flag("--json", check_command.json, "one JSON object a message");
  check_app->callback([&] { exit_code = check(check_command); });

  ExplainCommand explain_command;
  CLI::App* explain_app = app.add_subcommand("explain", "what the code of a message means");
  explain_app->add_option("CODE", explain_command.code, "such as E0203");
  explain_app->add_flag("--all", explain_command.all, "all codes, as a page of Markdown");
  explain_app->callback([&] { exit_code = explain(explain_command); });

  GradCheckCommand grad_check_command;
  CLI::App* grad_check_app =
      app.add_subcommand("grad-check", "compare gradients with differences, in f64");
  add_model(grad_check_app, grad_check_command.model);
  add_setting(grad_check_app, grad_check_command.model, "batch", "N",
              "rows of the batch (default: at most 4)");
  add_setting(grad_check_app, grad_check_command.model, "seed", "N",
              "of the random inputs and directions");
  add_setting(grad_check_app, grad_check_command.model, "train", "NAME", train_block_text);
  grad_check_app
      ->add_option("--directions", grad_check_command.directions, "random directions per parameter")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  grad_check_app->callback([&] { exit_code = grad_check(grad_check_command); });

  EmitCommand emit_command;
  std::string stage_name = "kernels";
  std::vector<std::string> known_stages;
  for (const StageName& stage : stage_names) known_stages.emplace_back(stage.name);
  CLI::App* emit_app = app.add_subcommand("emit", "print one stage of the compiler");
  add_model(emit_app, emit_command.model);
  add_setting(emit_app, emit_command.model, "batch", "N", "rows of a batch");
  add_setting(emit_app, emit_command.model, "train", "NAME", train_block_text);
  add_assignments(emit_app, "--set", emit_command.model.settings, "any key of the train block");
  emit_app->add_option("--stage", stage_name, "which stage")
      ->check(CLI::IsMember(known_stages))
      ->type_name("STAGE");
  emit_app->add_option("--program", emit_command.program, "only this program (init, train, eval)")
      ->type_name("NAME");
  emit_app->add_option("--dump-dir", emit_command.dump_dir, "write every stage into this folder")
      ->type_name("DIR");
  emit_app->add_flag("--why", emit_command.why,
                     "why each producer and its reader were fused or not");
  emit_app->add_flag("--times", emit_command.times,
                     "seconds of each step of the compiler, up to the stage, instead of the stage");
  emit_app->callback([&] {
    emit_command.stage = *parse_stage(stage_name);
    exit_code = emit(emit_command);
  });

  OptCommand opt_command;
  CLI::App* opt_app = app.add_subcommand("opt", "stage text in, passes, stage text out");
  opt_app->add_option("--passes", opt_command.passes, opt_pass_list())
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("P,Q");
  opt_app->add_option("STAGEFILE", opt_command.path, "a stage file; - is standard input");
  opt_app->add_flag("--stats", opt_command.stats,
                    "how often each rule of the simplifier was applied, on standard error");
  opt_app->callback([&] { exit_code = opt(opt_command); });

  FmtCommand fmt_command;
  CLI::App* fmt_app = app.add_subcommand("fmt", "rewrite model files in the canonical layout");
  fmt_app
      ->add_option("FILE", fmt_command.paths,
                   "model files, folders of them; - formats standard input")
      ->required();
  fmt_app->add_flag("--check", fmt_command.check,
                    "write nothing; print which files differ, exit 1 if any does");
  fmt_app->callback([&] { exit_code = format_files(fmt_command); });

  CLI::App* list_app = app.add_subcommand("list", "what the library defines");
  bool list_markdown = false;
  list_app->add_flag("--markdown", list_markdown, "as a page of Markdown (docs/library.md)");
  list_app->callback([&] { exit_code = list(list_markdown); });

  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    // CLI11 throws; this is the only place that catches, and usage is the only thing that it
    // reports.
    int code = app.exit(error);
    return code == 0 ? ExitCode::done : ExitCode::usage;
  }
  return exit_code;
}

}  // namespace fusegrad::driver
