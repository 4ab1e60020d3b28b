// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an optimizer or a gradient transform does to one element of one parameter.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/support/source.h"

namespace fusegrad::ir {

/// One optimizer or gradient transform, elaborated for one parameter: scalar expressions per
/// element. In them the Op::variable leaves named `p` (the parameter's element), `g` (its
/// gradient's element) and the state names stand for the values at the start of the step; the names
/// of totals stand for one number each.
struct UpdateRule {
  struct State {
    std::string name;  ///< "v", never "p" or "g"; the tensor is called PARAMETER + "." + name
    ExprRef initial;
  };
  struct Update {
    std::string target;  ///< "p" ("g" of a transform) or a state name
    ExprRef value;
  };
  /// `total(value)`: the sum over all elements of all parameters that have a gradient. The value
  /// may mention totals before it. Rules of one transform for several parameters name the same
  /// totals in the same order.
  struct Total {
    std::string name;  ///< "total.1": with a dot, as no state
    ExprRef value;
  };
  /// A number that the host may change before the first step. Expressions read it as the tensor of
  /// rank 0 and type f64 with this name, which all rules share.
  struct Setting {
    std::string name;  ///< "optimizer.lr"
    double initial = 0;
  };
  std::vector<State> states;
  std::vector<Update> updates;
  std::vector<Setting> settings;  ///< of an optimizer
  std::vector<Total> totals;      ///< of a transform; an optimizer has none
  Span origin;
};

/// One gradient transform of a job: what becomes of the gradient of each parameter.
struct GradientTransform {
  std::string name;  ///< "clip_norm", unlike the other transforms'; part of its tensors' names
  std::map<std::string, UpdateRule> rules;  ///< by parameter; updates have the target `g` or states
};

}  // namespace fusegrad::ir
