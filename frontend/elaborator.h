// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elaboration's own header: its state and one function for each construct of the language.
// elaborate_expressions.cpp has operators, elaborate_operands.cpp the types of what they combine,
// elaborate_names.cpp names and constants, elaborate_calls.cpp calls of functions of a file,
// elaborate_builtins.cpp of those of the language, elaborate_reads.cpp reads,
// elaborate_reductions.cpp reductions, elaborate_emit.cpp the statements they become,
// elaborate_statements.cpp statements known when compiling, elaborate_bindings.cpp definitions and
// updates, elaborate_declarations.cpp declarations, elaborate_model.cpp what only models have,
// elaborate_layers.cpp layers, elaborate_optimizers.cpp update rules, elaborate_checks.cpp what
// several of them share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/elaborate_value.h"
#include "ir/linear_form.h"
#include "ir/tensor/program.h"
#include "ir/update_rule.h"

namespace fusegrad::frontend {

/// How deep layers and functions may call one another.
inline constexpr int max_call_depth = 64;
/// Expressions that may be evaluated for one model, all instances counted.
inline constexpr int64_t max_elaboration_work = 4'000'000;
/// Statements of T in one program.
inline constexpr size_t max_tensor_statements = 20'000;
/// Nodes and depth of one expression of T.
inline constexpr int64_t max_expression_nodes = 100'000;
inline constexpr int max_expression_depth = 1'500;

/// What stays the same while a model is elaborated for training and for evaluation: the names of
/// instances, parameters and states. A key names the place in the text and the turn in which it is
/// reached.
struct StableNames {
  std::map<std::string, std::string> by_key;
  std::set<std::string, std::less<>> taken;
  std::map<std::string, std::string> instance_by_key;
  std::set<std::string, std::less<>> instances;
  std::map<std::string, int> next_number;  ///< to try behind a name that is taken
  /// Functions, layers, optimizers and transforms whose bodies were elaborated.
  std::set<const void*> reached;
};

/// What a lower-case name stands for in a layer or a model.
struct NameMeaning {
  enum class Kind : uint8_t { error, tensor, constant };
  Kind kind = Kind::error;
  std::string tensor;  ///< its name in T
  Value constant;
  Span span;  ///< of the name where it was defined
  bool is_state = false;
  bool is_read = false;
};

/// What is known about a tensor of the program.
struct TensorFacts {
  ir::Shape shape;
  ir::ScalarType type = ir::ScalarType::f32;
  std::optional<ir::IntegerRange> range;
  Span declared;  ///< the type of an input, parameter or state; else the left side
  bool is_input = false;
  mutable ir::ExprRef whole = nullptr;  ///< the rule of all of its elements, once it was asked for
};

struct Frame;

/// `init w = value` at a call.
struct InitialiserOverride {
  const ast::Initialiser* initialiser = nullptr;
  Frame* frame = nullptr;  ///< the caller's: its names are meant
  bool is_used = false;
};

/// An output that a layer declares.
struct OutputDeclaration {
  bool is_valid = false;  ///< false: an error was reported
  ir::Shape shape;
  ast::ElementName element = ast::ElementName::real;
  Span span;
};

/// One instance of a layer, or the model: the names that its body sees.
struct Frame {
  Frame* caller = nullptr;
  Span call;         ///< in the caller's text; invalid for the model
  std::string what;  ///< name of the layer
  std::string path;  ///< "" for the model, else "dense_2."
  bool from_library = false;
  int depth = 0;
  std::map<std::string, NameMeaning, std::less<>> names;
  std::map<std::string, Value, std::less<>> sizes;
  std::optional<std::vector<ir::Extent>> pack;  ///< what `...` stands for
  Span pack_span;
  std::map<std::string, OutputDeclaration, std::less<>> outputs;
  std::map<std::string, InitialiserOverride, std::less<>> initialisers;
  std::map<const void*, int> turns;                  ///< how often a place was reached
  std::map<std::string, Span, std::less<>> updated;  ///< states with a `<-`
};

/// The totals of one gradient transform while it is elaborated for one parameter after the other.
struct Totals {
  std::map<std::string, std::string> name_by_place;  ///< shared by all parameters
  std::vector<ir::UpdateRule::Total> of_parameter;   ///< of the current one
};

/// What an expression may mention, and what is wanted from it.
struct Scope {
  enum class Mode : uint8_t {
    constant,  ///< a value known at compile time
    size,      ///< an integer known at compile time
    element,   ///< a scalar; tensors must be indexed
    whole,     ///< a scalar or a tensor; tensors stand for all of their elements
  };
  struct Index {
    std::string name;      ///< as written
    std::string internal;  ///< unique in the statement: "b#3"
    Span span;
  };

  Mode mode = Mode::constant;
  Frame* frame = nullptr;  ///< null in a function or an optimizer: no tensors, no sizes of layers
  bool from_library = false;                         ///< of the text that is evaluated
  std::map<std::string, Value, std::less<>> locals;  ///< parameters and `name =` of functions
  std::vector<Index> indices;
  std::optional<std::vector<std::string>> pack;  ///< internal names of the indices of `...`
  ir::ExprRef position;   ///< of the element that is defined; null: no random numbers here
  bool has_step = false;  ///< step, steps and epoch may be mentioned
  const std::vector<std::string>* tags = nullptr;  ///< of the parameter, in an optimizer
  Totals* totals = nullptr;                        ///< in a gradient transform
  std::vector<Span> calls;                         ///< of functions, outermost first, for messages
  const Frame* site = nullptr;  ///< the instance around those calls, if there is one

  const Index* find_index(std::string_view name) const;
  /// Only what is known at compile time is of use.
  bool wants_constant() const { return mode == Mode::constant || mode == Mode::size; }
  /// For arguments of calls: values of any type even where a size is wanted in the end.
  Scope for_arguments() const;
  /// The same place, with another wish; indices are not visible where a whole tensor is wanted.
  Scope with_mode(Mode wanted) const;
};

/// The statements of one program while they are made.
struct ProgramBuilder {
  ir::TensorProgram program;
  std::set<int64_t> streams;  ///< of random numbers
  std::map<std::string, TensorFacts, std::less<>> tensors;
  std::map<std::string, int> next_number;  ///< to try behind a name that is taken
};

/// Elaborates one model in one mode, or expressions outside of models.
class Elaborator {
 public:
  struct Options {
    bool training = true;
    std::optional<int64_t> batch;  ///< without it, `B` is unknown
    ir::ScalarType real = ir::ScalarType::f32;
    /// Constants of the model file that the command line replaces.
    const std::map<std::string, ast::Expression>* constant_overrides = nullptr;
  };

  /// What a parameter or state needs outside of its program.
  struct ParameterSite {
    std::string name;
    Span span;  ///< of the declaration
    Span site;  ///< in the model's text: the call that led there, or the declaration
  };

  /// What a layer was given in a call, to elaborate it by itself.
  struct LayerUse {
    const ast::Layer* layer = nullptr;
    const ast::Expression* call = nullptr;
    std::map<std::string, Value, std::less<>> sizes;
    std::set<std::string> free_sizes;  ///< those that are bound by tensors alone
    std::optional<std::vector<ir::Extent>> pack;
    std::map<std::string, NameMeaning, std::less<>> names;  ///< of its arguments
    std::map<std::string, TensorFacts, std::less<>> tensors;
  };

  Elaborator(const Definitions& definitions, const SourceManager& sources, Reporter& reporter,
             StableNames& stable_names, Options options);

  /// Runs the model's body. Errors go to the reporter.
  void elaborate_model(const ast::Model& model);
  /// The program made by elaborate_model; `name` becomes its name.
  ir::TensorProgram take_program(std::string_view name) {
    main_.program.name = name;
    return std::move(main_.program);
  }
  /// After elaborate_model for training: the program `eval`, if nothing in the model depends on
  /// which of the two it is. Otherwise the model has to be elaborated for evaluation.
  std::optional<ir::TensorProgram> same_in_evaluation() const;
  /// Initial values of its parameters and states (training only).
  ir::TensorProgram take_initial_program();
  const std::vector<ModelInput>& inputs() const { return inputs_; }
  const std::vector<ParameterSite>& parameters() const { return parameters_; }

  /// The rule of an optimizer's or transform's call for a parameter with these tags. Nothing after
  /// a report. `totals`: of the transform; null for an optimizer. `learning_rate` replaces the
  /// call's argument `lr`. The rule reads that argument from a setting, so that a run can change
  /// it.
  std::optional<ir::UpdateRule> elaborate_update_rule(const ast::Expression& call,
                                                      const std::vector<std::string>& tags,
                                                      const ast::Expression* learning_rate,
                                                      Totals* totals = nullptr);
  /// The optimizer's call has constants as `lr` that are not the same for all parameters so far.
  bool learning_rate_differs() const { return learning_rate_differs_; }

  /// The first use of each layer of the model file in training, by the layer's place in the text.
  const std::map<std::pair<uint32_t, uint32_t>, LayerUse>& layer_uses() const {
    return layer_uses_;
  }
  /// Elaborates the layer's body as in that use, but with these sizes.
  void elaborate_layer(const LayerUse& use, const std::map<std::string, Value, std::less<>>& sizes);

  /// Sizes for a layer that nothing calls. The last of each list stands for all further ones.
  struct SizeGuess {
    std::vector<int64_t> of_tensors;  ///< those that are bound by the shapes of arguments
    std::vector<int64_t> of_call;     ///< those that a call gives
    std::vector<ir::Extent> pack;     ///< for `...`
  };
  /// Elaborates a layer by itself; the sizes that it had.
  std::map<std::string, Value, std::less<>> elaborate_layer(const ast::Layer& layer,
                                                            const SizeGuess& guess);
  /// Elaborates a function by itself, with that value for each parameter without a default.
  void elaborate_function(const ast::Function& function, const Value& argument);

  /// A function's value and the slopes that its text gives, in the order of `derivatives`, over
  /// reads of tensors of rank 0 that are called like the parameters. Nothing after a report.
  struct FunctionRule {
    ir::ExprRef value;
    std::vector<ir::ExprRef> slopes;
  };
  std::optional<FunctionRule> function_rule(const ast::Function& function);

  /// A value known at compile time, written outside of models. An error value after a report.
  Value evaluate_constant(const ast::Expression& expression);
  /// Evaluates every constant of the model file, so that mistakes in unused ones are found.
  void check_constants();

 private:
  struct LiftedReduction {
    std::string tensor;
    std::vector<std::string> indices;  ///< internal names, in the order of its dimensions
  };
  /// The statement of the language that is being elaborated.
  struct StatementContext {
    std::string name;  ///< reductions inside are called by it
    Span origin;
    const ast::Expression* root = nullptr;
    std::vector<ir::IndexRange> indices;  ///< with internal names, in the order of introduction
    ir::IndexRanges ranges;
    std::vector<LiftedReduction> lifted;
    std::string random_key;  ///< streams of random numbers are hashes of it and a number
    int random_numbers = 0;
    /// Tensors that are indexed where they are made, `reshape(x, [B, 4])[b, i]`; each once.
    std::map<const ast::Expression*, Value> whole_values;
  };
  class StatementGuard;

  // ------------------------------------------------------- reports (elaborate_checks.cpp)
  /// Adds "in this call" labels for the instances around the frame.
  void report(const Frame* frame, Complaint complaint);
  void report(const Scope& scope, Complaint complaint);
  /// Source text for a message: on one line and not too long.
  std::string quote(Span span) const;
  /// "`u8[B, 28, 28]`", "`bool`", "an integer", ...
  std::string type_text(const Value& value) const;
  /// Type and shape, "real[B, 784]".
  std::string tensor_text(const Value& value) const;
  std::string tensor_text(const TensorFacts& facts) const;
  std::string_view element_text(ir::ScalarType type) const;
  /// False, once after a report, when the model is too large to go on.
  bool charge(const Frame* frame, Span span);
  Value error() const { return {}; }
  std::vector<std::string> visible_names(const Scope& scope) const;

  // ------------------------------------------------------- expressions (elaborate_expressions.cpp,
  // elaborate_names.cpp, elaborate_operands.cpp)
  Value evaluate(const ast::Expression& e, const Scope& scope);
  Value evaluate_kind(const ast::Expression& e, const Scope& scope);
  Value evaluate_name(const ast::Expression& e, const Scope& scope);
  Value evaluate_dimension(const ast::Expression& e, const Scope& scope);
  Value evaluate_negate(const ast::Expression& e, const Scope& scope);
  Value evaluate_not(const ast::Expression& e, const Scope& scope);
  Value evaluate_binary(const ast::Expression& e, const Scope& scope);
  Value evaluate_conditional(const ast::Expression& e, const Scope& scope);
  Value report_unknown_name(const ast::Identifier& name, Span span, const Scope& scope);
  /// The reduction of the current statement that binds this index, if there is one.
  const ast::Expression* binding_reduction(std::string_view index) const;
  Value report_not_constant(const ast::Expression& e, const Scope& scope, std::string_view what);
  Value report_size_mistake(SizeMistake mistake, const ast::Expression& e, const Scope& scope);
  Value tensor_value(const std::string& tensor) const;
  /// Operands of one type, brought together.
  struct Pair {
    ir::ExprRef a;
    ir::ExprRef b;
    ir::Shape shape;
    bool is_flexible = false;
  };
  struct Operand {
    const ast::Expression* text = nullptr;
    Value value;
  };
  /// `sign` is how messages call the operation. Nothing after a report.
  std::optional<Pair> unify(const Operand& a, const Operand& b, std::string_view sign,
                            Span sign_span, const Scope& scope);
  std::optional<ir::Shape> common_shape(const Operand& a, const Operand& b, Span sign_span,
                                        const Scope& scope);
  /// A number as a real; E0401, E0402 otherwise. Null after a report.
  ir::ExprRef real_operand(const Operand& operand, std::string_view sign, const Scope& scope);
  bool is_number_operand(const Operand& operand, std::string_view sign, const Scope& scope);
  ir::ExprRef boolean_operand(const Operand& operand, std::string_view sign, const Scope& scope);
  void report_integer_for_real(const Operand& operand, std::string message, const Scope& scope);
  /// Constants: arithmetic at compile time. Nothing if it must be done at run time.
  std::optional<Value> constant_binary(const ast::Expression& e, const Value& a, const Value& b,
                                       const Scope& scope);
  Value element_binary(const ast::Expression& e, const Operand& a, const Operand& b,
                       const Scope& scope);
  /// An expression as a constant of the file: integer and plain number, real, or boolean.
  Value file_constant(const ast::Identifier& name, bool from_library, const Scope& scope);

  // ------------------------------------------------------- calls (elaborate_calls.cpp,
  // elaborate_builtins.cpp)
  Value evaluate_call(const ast::Expression& e, const Scope& scope);
  std::vector<Value> evaluate_call_outputs(const ast::Expression& e, const Scope& scope);
  Value evaluate_builtin(const ast::Expression& e, const Scope& scope);
  Value evaluate_function(const ast::Function& function, const ast::Expression& call,
                          const Scope& scope);
  Value evaluate_custom(const ast::Function& function, const Scope& inner, const Value& value);
  /// E0101 for a `deriv` of what is no parameter.
  bool are_derivatives_of_parameters(const ast::Function& function, const Scope& inner);
  bool is_layer_call_possible(const ast::Expression& e, const Scope& scope);
  Value evaluate_real_function(ir::Op op, const ast::Expression& e, const Scope& scope);
  Value evaluate_conversion(const ast::Expression& e, const Scope& scope);
  Value evaluate_extreme(const ast::Expression& e, const Scope& scope);
  Value evaluate_random(const ast::Expression& e, const Scope& scope);
  Value evaluate_size_of(const ast::Expression& e, const Scope& scope);
  Value evaluate_reshape(const ast::Expression& e, const Scope& scope);
  Value evaluate_tagged(const ast::Expression& e, const Scope& scope);
  Value evaluate_total(const ast::Expression& e, const Scope& scope);
  /// What `lr` means in a rule whose call says `own`: a read of the setting, which is added to the
  /// rule.
  Value learning_rate_setting(const ast::Expression& text, const Value& own,
                              const ast::Expression* replacement, const Scope& outside,
                              ir::UpdateRule& rule);
  std::optional<ir::Shape> list_of_sizes(const ast::Expression& list, const Scope& scope);
  bool has_arguments(const ast::Expression& e, size_t count, std::string_view signature,
                     const Scope& scope);
  /// One formal parameter of whatever is called.
  struct Formal {
    std::string_view name;
    bool has_default = false;
  };
  /// The actual argument for each formal parameter (null: the default); nothing after a report.
  std::optional<std::vector<const ast::Argument*>> match_arguments(const ast::Expression& call,
                                                                   std::span<const Formal> formals,
                                                                   std::string_view signature,
                                                                   std::string_view unknown_code,
                                                                   const Scope& scope);

  // ------------------------------------------------------- tensors (elaborate_reads.cpp,
  // elaborate_reductions.cpp, elaborate_emit.cpp)
  Value evaluate_read(const ast::Expression& e, const Scope& scope);
  Value evaluate_reduction(const ast::Expression& e, const Scope& scope);
  Value evaluate_whole_reduction(const ast::Expression& e, const Scope& scope);
  /// What is read: a named tensor, or a tensor made in place. Error after a report.
  Value read_base(const ast::Expression& base, const Scope& scope);
  struct IndexUse {
    ir::Extent extent;
    Span span;  ///< of the read
  };
  void collect_uses(const ast::Expression& e, std::string_view index, const Scope& scope,
                    std::vector<IndexUse>& out);
  /// The one size of the uses, and of `declared` if there is one; E0201, E0202.
  std::optional<ir::Extent> infer_extent(const ast::Binder& binder,
                                         const std::vector<IndexUse>& uses,
                                         const IndexUse* declared, const ast::Expression& body,
                                         const Scope& scope);
  std::optional<ir::IndexRange> explicit_range(const ast::Range& range, const Scope& scope);
  /// Introduces an index into the statement; returns its internal name.
  std::string add_index(std::string_view base, int64_t begin, ir::Extent end);
  /// The indices of the statement that occur in the expression or the condition.
  std::vector<ir::IndexRange> used_indices(const ir::ExprRef& body, const ir::ExprRef& condition,
                                           const std::vector<ir::IndexRange>& without) const;
  bool add_binder(const ast::Binder& binder, const ast::Expression& reduction, Scope& inner,
                  std::vector<ir::IndexRange>& binders);
  /// A reduction over the body; `outer_shape` is the shape of the value it becomes (in rules of
  /// whole tensors). `e` is the reduction's text, `body.text` its body's.
  Value lift_reduction(ast::ReductionOperator op, const std::vector<ir::IndexRange>& binders,
                       const ir::ExprRef& condition, const Operand& body,
                       const ir::Shape& outer_shape, const ast::Expression& e, const Scope& scope);
  struct Reduced {
    ir::Reduction op = ir::Reduction::sum;
    std::string_view word;  ///< for the name of the statement
    std::vector<ir::IndexRange> binders;
    ir::ExprRef condition;
    ir::ExprRef body;
    ir::ScalarType type = ir::ScalarType::f32;
    std::optional<ir::IntegerRange> range;
  };
  /// Adds the statement; an expression that reads it. Null after a report.
  ir::ExprRef emit_reduction(Reduced reduced, const ir::Shape& outer_shape, Span span,
                             const Scope& scope);
  /// One index of a read.
  struct IndexPlace {
    const ast::Expression* read = nullptr;
    const ast::Expression* text = nullptr;  ///< null for those of `...`
    size_t dimension = 0;
    ir::ExprRef index;
  };
  enum class Bounds : uint8_t { inside, inside_by_condition, may_leave, failed };
  Bounds check_bounds(const IndexPlace& place, const Value& base, const Scope& scope);
  /// E0205 for a read with `written` indices.
  void report_rank(const ast::Expression& e, const Value& base, size_t written, const Scope& scope);
  bool is_inside(const ir::ExprRef& index, ir::Extent extent) const;
  void report_bounds(const IndexPlace& place, const Value& base, const Scope& scope);
  std::optional<std::vector<IndexPlace>> index_places(const ast::Expression& e, const Value& base,
                                                      const Scope& scope);
  ir::ExprRef index_expression(const ast::Expression& text, const ast::Expression& read,
                               const Scope& scope);
  /// Adds a statement and returns the name it got. `indices` and `binders` have internal names.
  std::string emit(ir::TensorStatement statement);
  /// The tensor that holds a whole value: itself, or a new statement.
  std::string materialise(const Value& value, ir::ScalarType type, std::string_view name,
                          Span origin);
  /// The name, if the value is nothing but a tensor of the program.
  std::optional<std::string> named_tensor(const Value& value) const;
  /// How elements of that value are stored if nothing says otherwise.
  ir::ScalarType stored_type(const Value& value) const;
  std::string unique_name(std::string_view base);
  void check_element_count(const ir::Shape& shape, Span span, const Frame* frame);
  void rename_indices(ir::TensorStatement& statement) const;
  /// The values of an integer expression, if they are bounded at all, with what `if` says.
  std::optional<ir::Interval> value_interval(const ir::ExprRef& e,
                                             const std::vector<ir::IndexRange>& indices) const;

  // ------------------------------------------------------- statements (elaborate_statements.cpp,
  // elaborate_bindings.cpp, elaborate_model.cpp)
  void run(std::span<const ast::Statement> statements, Frame& frame);
  void run(const ast::Statement& statement, Frame& frame);
  void run_constant(const ast::Statement& statement, Frame& frame);
  void run_parameter(const ast::Statement& statement, Frame& frame);
  void run_require(const ast::Statement& statement, Frame& frame);
  void run_when(const ast::Statement& statement, Frame& frame);
  void run_repeat(const ast::Statement& statement, Frame& frame);
  void run_bind(const ast::Statement& statement, Frame& frame);
  void run_define(const ast::Statement& statement, Frame& frame);
  void run_update(const ast::Statement& statement, Frame& frame);
  /// Inputs, outputs, losses and metrics.
  void run_of_model(const ast::Statement& statement, Frame& frame);
  void run_input(const ast::Statement& statement, Frame& frame);
  void run_output(const ast::Statement& statement, Frame& frame);
  void run_loss(const ast::Statement& statement, Frame& frame);
  void run_metric(const ast::Statement& statement, Frame& frame);
  void add_result(ir::TensorResult result);
  std::optional<std::string> scalar_result(const ast::Statement& statement, std::string_view what,
                                           std::string_view name, Frame& frame);
  /// Defines the elements of a tensor one by one. `declared`: its shape and type, if fixed before.
  std::optional<std::string> define_elements(const ast::Statement& statement,
                                             std::string_view tensor_name,
                                             const ir::Shape* declared_shape, Span declared_span,
                                             std::optional<ir::ScalarType> declared_type,
                                             Frame& frame);
  /// Introduces the indices on the left into the scope; their ranges, in order.
  std::optional<std::vector<ir::IndexRange>> left_indices(const ast::Statement& statement,
                                                          const ir::Shape* declared_shape,
                                                          Span declared_span, Scope& scope);
  std::optional<ir::Extent> left_extent(const ast::Statement& statement, const ast::Binder& binder,
                                        const ir::Extent* declared, Span declared_span,
                                        const Scope& scope);
  void bind_name(const ast::Identifier& name, NameMeaning meaning, Frame& frame);
  bool is_assignment_to_state(const ast::Statement& statement, const ast::Identifier& name,
                              Frame& frame);
  void initialise(const ast::Statement& statement, const std::string& tensor,
                  const TensorFacts& facts, Frame& frame);
  Scope frame_scope(Frame& frame, Scope::Mode mode) const;
  /// A name that is the same in training and evaluation.
  std::string stable_name(Frame& frame, const void* place, Span span, std::string_view base);

  struct ResolvedType {
    ir::ScalarType type = ir::ScalarType::f32;
    ir::Shape shape;
  };
  std::optional<ir::ScalarType> resolve_element(const ast::Type& type, const Frame& frame);
  std::optional<ir::Shape> resolve_shape(const ast::Type& type, Frame& frame);
  std::optional<ResolvedType> resolve_type(const ast::Type& type, Frame& frame);
  /// A size, at least `least`. Nothing after a report.
  std::optional<ir::Extent> evaluate_size(const ast::Expression& e, const Scope& scope,
                                          int64_t least);

  // ------------------------------------------------------- layers (elaborate_layers.cpp)
  std::vector<Value> instantiate(const ast::Layer& layer, const ast::Expression& call,
                                 const Scope& scope);
  bool bind_value_argument(const ast::LayerParameter& parameter, const ast::Expression& value,
                           const Scope& scope, Frame& frame);
  bool bind_tensor_argument(const ast::LayerParameter& parameter, const ast::Argument& argument,
                            const Value& value, const ast::Layer& layer, const Scope& scope,
                            Frame& frame);
  bool bind_sizes(const ast::LayerParameter& parameter, const ast::Argument& argument,
                  const ast::Layer& layer, const Scope& scope, Frame& frame);
  bool check_sizes(const ast::LayerParameter& parameter, const ast::Argument& argument,
                   const ast::Layer& layer, const Scope& scope, Frame& frame);
  bool check_range(const ast::LayerParameter& parameter, const ast::Argument& argument,
                   const ast::Layer& layer, const Scope& scope, Frame& frame);
  bool declare_outputs(const ast::Layer& layer, const ast::Expression& call, const Scope& scope,
                       Frame& frame);
  void keep_layer_use(const ast::Layer& layer, const ast::Expression& call, const Frame& frame);
  std::vector<Value> take_outputs(const ast::Layer& layer, Frame& frame);
  bool element_fits(ast::ElementName wanted, ir::ScalarType type) const;
  std::string instance_path(const ast::Expression& call, Frame& caller);
  std::string signature_text(const ast::Layer& layer) const;
  std::string position_text(Span span) const;

  const Definitions& definitions_;
  const SourceManager& sources_;
  Reporter& reporter_;
  StableNames& stable_names_;
  Options options_;

  ProgramBuilder main_;
  ProgramBuilder initial_;
  ProgramBuilder* current_ = &main_;
  StatementContext* statement_ = nullptr;
  std::vector<ir::TensorResult> evaluation_results_;  ///< outputs included
  bool is_training_asked_ = false;  ///< something depends on whether this is training
  std::vector<ModelInput> inputs_;
  std::vector<ParameterSite> parameters_;
  std::map<std::pair<uint32_t, uint32_t>, LayerUse> layer_uses_;
  std::map<std::string, Value> file_constants_;  ///< by file and name; an error while in progress
  std::set<std::string> constants_in_progress_;
  Span loss_span_;
  std::map<std::string, Span> metric_spans_;
  int64_t work_ = 0;
  int depth_ = 0;
  int64_t index_count_ = 0;
  int64_t report_count_ = 0;                ///< repeated reports included
  std::optional<int64_t> reports_at_call_;  ///< when the outermost function call began
  /// Text of the first argument of the outermost function call that is an integer of some type.
  std::string integer_argument_;
  std::map<std::string, Span> output_spans_;
  std::map<std::string, int> statement_turns_;  ///< statements of each name, for random streams
  std::optional<double> own_rate_;              ///< the constant `lr` of the rule before
  bool learning_rate_differs_ = false;
  bool gave_up_ = false;
};

/// E0209 for layers that elaborate only because two of their sizes are equal in the call.
/// `training` has elaborated the model without an error.
void check_layers_for_all_sizes(const Definitions& definitions, const SourceManager& sources,
                                const Elaborator& training, const Elaborator::Options& options,
                                Reporter& reporter);

/// Mistakes in functions, layers, optimizers and transforms of the model file and of imported ones
/// that are not in `reached`. What was `said` about a place already is not said again.
void check_unused_definitions(const Definitions& definitions, const SourceManager& sources,
                              const Elaborator::Options& options,
                              const std::set<const void*>& reached, const Diagnostics& said,
                              Reporter& reporter);

/// "here `k` has size 84" with the name of the size in place of the number that was made up.
std::string with_size_names(const std::string& text,
                            const std::map<std::string, Value, std::less<>>& sizes);

/// W0504 for each `deriv` of the model file that disagrees with differences of its function.
void warn_about_derivatives(const Definitions& definitions, const SourceManager& sources,
                            Reporter& reporter);

/// Keeps a statement's context current while it lives.
class Elaborator::StatementGuard {
 public:
  StatementGuard(Elaborator& elaborator, std::string name, Span origin,
                 const ast::Expression* root);
  ~StatementGuard() { elaborator_.statement_ = outer_; }
  StatementGuard(const StatementGuard&) = delete;
  StatementGuard& operator=(const StatementGuard&) = delete;

 private:
  Elaborator& elaborator_;
  StatementContext context_;
  StatementContext* outer_;
};

}  // namespace fusegrad::frontend
