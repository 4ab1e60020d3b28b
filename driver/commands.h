// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What each command of the tool does. All return the process's exit code
// (runtime/core/exit_codes.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "driver/stages.h"
#include "runtime/core/apply_run.h"
#include "runtime/core/run.h"

namespace fusegrad::driver {

/// Options that say what the model is, shared by all commands that read one.
struct ModelOptions {
  std::string path;
  std::map<std::string, std::string> constants;  ///< -D NAME=value
  std::map<std::string, std::string>
      settings;  ///< keys of the train block: --batch, --epochs, --lr, --seed, --set
};

struct TrainCommand {
  ModelOptions model;
  runtime::RunOptions run;
  std::string from_path;
  std::string dump_dir;
};
int train(const TrainCommand& command);

struct BuildCommand {
  ModelOptions model;
  std::string output;
  std::string kind = "exe";          ///< or "shared"
  std::vector<std::string> targets;  ///< --target-cpu; empty: default_target()
};
/// Makes an executable that trains the model and needs neither this tool nor LLVM, or a shared
/// library with a C header. Exit code
/// `device` when there is no linker or no archive of the runtime.
int build(const BuildCommand& command);

struct ApplyCommand {
  ModelOptions model;
  runtime::ApplyRun run;
};
/// Prints loss and metrics of weights on a split of the data.
int evaluate(const ApplyCommand& command);
/// Writes the model's outputs for inputs from files. Needs no data block.
int predict(const ApplyCommand& command);

struct CheckCommand {
  ModelOptions model;
  bool json = false;  ///< one JSON object a message, on standard output
};
/// Parses, elaborates and differentiates; prints nothing if all is well. Reads no data. A file
/// without a train block is checked as a model by itself.
int check(const CheckCommand& command);

struct ExplainCommand {
  std::string code;  ///< such as "E0203"
  bool all = false;  ///< all codes, as the page docs/errors.md
};
/// What a code means, with an example and its correction.
int explain(const ExplainCommand& command);

struct GradCheckCommand {
  ModelOptions model;
  int directions = 3;  ///< per parameter
};
int grad_check(const GradCheckCommand& command);

struct EmitCommand {
  ModelOptions model;
  Stage stage = Stage::kernels;
  std::string program;   ///< "" for all
  std::string dump_dir;  ///< "" for none
  bool why = false;      ///< fusion remarks instead of the stage
  bool times = false;    ///< seconds of each step of the compiler instead of the stage
};
int emit(const EmitCommand& command);

struct OptCommand {
  std::vector<std::string> passes;
  std::string path = "-";  ///< a stage file; "-" is standard input
  bool stats = false;      ///< how often each rule of the simplifier was applied, on stderr
};
int opt(const OptCommand& command);
/// Names of the passes that `opt` knows, with what they turn into what.
std::string opt_pass_list();

/// Signatures and documentation of the library; as a page of Markdown if wanted.
int list(bool as_markdown);

struct FmtCommand {
  std::vector<std::string> paths;  ///< files, folders with `*.fg`, or "-": from stdin to stdout
  bool check = false;              ///< print the names of those whose layout differs, write nothing
};
/// Rewrites the files in canonical layout. With `check`: exit code 1 when one differs.
int format_files(const FmtCommand& command);

}  // namespace fusegrad::driver
