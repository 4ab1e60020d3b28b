// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an optimizer does to one element of one parameter.
#pragma once

#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/support/source.h"

namespace fusegrad::ir {

/// One optimizer, elaborated for one parameter: scalar expressions per element. In them the
/// Op::variable leaves named `p` (the parameter's element), `g` (its gradient's element) and the
/// state names stand for the values at the start of the step.
struct UpdateRule {
  struct State {
    std::string name;  ///< "v", never "p" or "g"; the tensor is called PARAMETER + "." + name
    ExprRef initial;
  };
  struct Update {
    std::string target;  ///< "p" or a state name
    ExprRef value;
  };
  std::vector<State> states;
  std::vector<Update> updates;
  Span origin;
};

}  // namespace fusegrad::ir
