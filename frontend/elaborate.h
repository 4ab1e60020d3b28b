// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From the syntax tree to T: names resolved, sizes numbers, layers inlined, types and ranges
// checked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "frontend/ast.h"
#include "ir/support/diagnostics.h"
#include "ir/support/result.h"
#include "ir/support/source.h"
#include "ir/tensor/program.h"
#include "ir/update_rule.h"

namespace fusegrad::frontend {

/// What the command line says in place of the file.
struct ElaborateOptions {
  /// `-D NAME=value`: replaces the value of a `const` of the model file. Values are expressions.
  std::map<std::string, std::string> constants;
  /// `--batch N`, `--set key=value`, ...: replaces a key of the train block. Values are
  /// expressions. `lr` replaces that argument of the optimizer's call; `train` names the block.
  std::map<std::string, std::string> train;
  /// `--real f64`: the type `real`, in place of the train block's `precision`.
  std::optional<ir::ScalarType> real;
  /// What the command needs. What is not needed may be missing; what is there is checked all the
  /// same. `batch` is always needed.
  bool needs_epochs = true;
  bool needs_optimizer = true;
  bool needs_data = true;
  /// Without it, a file that has no train block is taken as a model by itself: nothing of the above
  /// is needed, and a batch has 64 rows unless `train` says otherwise.
  bool needs_train_block = true;
  /// Reads an imported file, or says why not. Without it nothing can be imported.
  std::function<Result<std::string>(const std::string& path)> read_file;
};

/// `target = accuracy >= 0.92`: training ends when it holds after an epoch.
struct Target {
  std::string metric;                                                   ///< of the model, or "loss"
  ast::BinaryOperator comparison = ast::BinaryOperator::greater_equal;  ///< < <= > or >=
  double threshold = 0;
  Span metric_span;
};

/// The train block, with defaults and the command line's values filled in.
struct TrainSettings {
  int64_t batch = 1;   ///< rows of a full batch
  int64_t epochs = 0;  ///< passes over the training split; 0 if not given and not needed
  int64_t seed = 0;    ///< of shuffling, initial values and random numbers; not negative
  bool shuffle = true;
  bool keep_last = false;  ///< `last = keep`: train on the short batch at the end of an epoch too
  std::optional<Target> target;
  double time_limit = 0;   ///< seconds after which training ends; 0: none
  int64_t patience = 0;    ///< epochs without a lower loss after which training ends; 0: none
  int64_t eval_every = 1;  ///< epochs from one validation to the next
  ir::ScalarType real = ir::ScalarType::f32;
  Span batch_span;  ///< of the value, for messages about it
};

/// An input of the model. Its declaration in T has the same name.
struct ModelInput {
  std::string name;
  ir::ScalarType type = ir::ScalarType::f32;
  ir::Shape shape;                        ///< the first size is the number of rows
  std::optional<ir::IntegerRange> range;  ///< values promised by `in`; to be verified on load
  Span name_span;
  Span type_span;
  Span range_span;  ///< invalid without `in`
};

/// What a reader is told besides the path: `standardise = true`, `rows = [0, 8000]`.
using ReaderValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                                 std::vector<std::string>>;
struct DataArgument {
  std::string name;
  ReaderValue value;
};

/// `image = idx("data/train-images-idx3-ubyte")` in a split.
struct DataBinding {
  std::string input;   ///< name of a model input
  std::string reader;  ///< "idx"
  std::string path;    ///< as written
  Span path_span;
  Span span;  ///< of the whole entry
  std::vector<DataArgument> arguments = {};
};

struct DataSplit {
  std::string name;                   ///< "train", "test" or "valid"
  std::vector<DataBinding> bindings;  ///< one for each input, in the order of the inputs
  Span span;                          ///< of the name
};

/// A model with all that is needed to train it.
struct Job {
  std::string model;
  /// Programs `init` (initial values of parameters and states, as updates), `train` (results: loss
  /// and metrics) and `eval` (the same and the outputs). Parameters and states are declared under
  /// the same names in all that read them. Nothing is differentiated; custom and stop_gradient
  /// nodes are still there.
  ir::TensorModule module;
  /// One for each parameter of `train`; empty if there is no optimizer and none is needed.
  std::map<std::string, ir::UpdateRule> update_rules;
  /// What happens to the gradients before, in order.
  std::vector<ir::GradientTransform> transforms;
  /// The optimizer's argument `lr`, which a run may set; infinite where it follows the step or
  /// differs between parameters. Nothing where there is no such argument.
  std::optional<ir::UpdateRule::Setting> learning_rate;
  TrainSettings settings;
  std::vector<ModelInput> inputs;
  /// Empty if there is no data and none is needed; otherwise `train` comes first.
  std::vector<DataSplit> splits;
};

/// Elaborates the only model of the file, or the one that its train block names. All mistakes that
/// are found are added to `diagnostics`, one for each cause; nothing is returned if there are
/// errors in it, the parser's included. Expressions of kind `invalid` are passed over in silence:
/// their error was reported by the parser. `sources` gets one more file for each value from the
/// command line, so that messages can show it. Never fails in another way, whatever the trees hold;
/// work is bounded.
std::optional<Job> elaborate(const ast::File& model, const ast::File& library,
                             const ElaborateOptions& options, SourceManager& sources,
                             Diagnostics& diagnostics);

}  // namespace fusegrad::frontend
