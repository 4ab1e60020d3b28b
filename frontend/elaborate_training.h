// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The train and data blocks: which model, on what, how.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/elaborator.h"

namespace fusegrad::frontend {

/// The values of the command line as trees. Their texts become files of the SourceManager.
struct CommandLineValues {
  std::map<std::string, ast::Expression> constants;
  std::map<std::string, ast::Entry> train;
};

/// Parses the options; reports E0709 for constants that the model file does not have and for texts
/// that are no values.
CommandLineValues parse_command_line(const ElaborateOptions& options,
                                     const Definitions& definitions, SourceManager& sources,
                                     Diagnostics& diagnostics, Reporter& reporter);

/// What the train block says. Pointers into the trees; null where nothing was said or an error was
/// reported.
struct TrainPlan {
  const ast::Model* model = nullptr;
  const ast::Data* data = nullptr;
  const ast::Expression* optimizer = nullptr;      ///< a call
  const ast::Expression* learning_rate = nullptr;  ///< replaces the call's `lr`
  std::vector<const ast::Expression*> transforms;  ///< calls, in order
  TrainSettings settings;
  bool is_batch_known = false;
};

/// The keys that a train block may have.
std::vector<std::string> train_keys();

/// Reads the train block. `elaborator` evaluates constants outside of models.
TrainPlan plan_training(const Definitions& definitions, const CommandLineValues& command_line,
                        const ElaborateOptions& options, uint32_t model_file,
                        const SourceManager& sources, Elaborator& elaborator, Reporter& reporter);

/// Checks the data block against the model's inputs and lists its bindings. `elaborator` evaluates
/// constants outside of models.
std::vector<DataSplit> bind_data(const ast::Data& data, const ast::Model& model,
                                 const std::vector<ModelInput>& inputs, Elaborator& elaborator,
                                 Reporter& reporter);

}  // namespace fusegrad::frontend
