// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A generator that stops making something would let every test pass; these counts would not.
#include "tests/programs/coverage.h"

#include <fmt/format.h>

#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "ir/passes/differentiate_solver.h"

namespace fusegrad::test {
namespace {

using namespace ir;

bool has_read(const ExprRef& e) {
  bool found = false;
  walk(e, [&](const Expr& node) { found = found || node.op == Op::read; });
  return found;
}

/// What the index of one dimension looks like.
void index_forms(const ExprRef& index, std::set<std::string>& forms) {
  std::vector<int64_t> factors;
  IndexRanges nothing_known;
  const LinearForm form = linear_form(index, nothing_known);
  for (const LinearForm::Term& term : form.terms) {
    if (is_index(term.atom)) factors.push_back(term.coefficient);
  }
  for (int64_t factor : factors) {
    if (factor < 0) forms.insert("reversal");
    if (factor > 1 && factors.size() > 1) forms.insert("window with stride or dilation");
  }
  if (factors.size() > 1) forms.insert("window");
  if (factors.size() == 1 && factors[0] == 1 && form.terms.size() == 1) {
    forms.insert(form.constant == 0 ? "bare index" : "shift");
  }
  if (factors.size() == 1 && factors[0] > 1) forms.insert("stride");
  walk(index, [&](const Expr& node) {
    if (node.op == Op::floor_divide || node.op == Op::modulo) forms.insert("reshape");
  });
  if (has_read(index)) forms.insert("gather");
}

void read_forms(const Expr& read, std::set<std::string>& forms) {
  if (read.has_else) forms.insert("read with else");
  if (read.index_count() == 0) forms.insert("read of rank 0");
  for (size_t d = 0; d < read.index_count(); ++d) {
    index_forms(read.operands[d], forms);
    for (size_t other = 0; other < d; ++other) {
      if (same(read.operands[d], read.operands[other]) && !is_constant(read.operands[d]))
        forms.insert("diagonal");
    }
  }
}

void size_forms(const std::vector<IndexRange>& ranges, std::set<std::string>& forms) {
  for (const IndexRange& range : ranges) {
    const int64_t size = range.end.maximum - range.begin;
    if (range.end.depends_on_rows())
      forms.insert(range.end.per_row == 1 ? "rows" : "several places a row");
    if (size == 1) forms.insert("size 1");
    if (size > 8 && size % 8 != 0) forms.insert("size with a tail");
    if (size > 0 && size % 8 == 0) forms.insert("size of whole vectors");
  }
}

void expression_forms(const ExprRef& value, std::set<std::string>& forms) {
  walk(value, [&](const Expr& node) {
    if (node.op == Op::read) read_forms(node, forms);
    if (node.op == Op::rand || node.op == Op::normal || node.op == Op::select ||
        node.op == Op::stop_gradient || node.op == Op::custom || node.op == Op::maximum ||
        node.op == Op::minimum || node.op == Op::power || node.op == Op::divide) {
      forms.insert(fmt::format("`{}`", node.op == Op::select ? "if" : spelling(node.op)));
    }
  });
}

}  // namespace

void Coverage::add_text(const std::string& text) {
  std::istringstream lines(text);
  int64_t count = 0;
  std::string what;
  while (lines >> count && std::getline(lines >> std::ws, what)) counts_[what] += count;
}

int64_t Coverage::of(const std::string& what) const {
  auto found = counts_.find(what);
  return found == counts_.end() ? 0 : found->second;
}

std::string Coverage::text() const {
  std::string lines;
  for (const auto& [what, count] : counts_) lines += fmt::format("{:7} {}\n", count, what);
  return lines;
}

void count_forms(const TensorProgram& forward, Coverage& coverage) {
  std::set<std::string> forms;
  std::map<std::string, int> readers;
  for (const TensorDeclaration& declaration : forward.declarations) {
    if (declaration.kind == TensorKind::state) forms.insert("state");
    if (declaration.type == ScalarType::u8 && !declaration.range) forms.insert("bytes");
  }
  for (const TensorStatement& statement : forward.statements) {
    forms.insert(statement.reduction == Reduction::none
                     ? "map"
                     : fmt::format("reduction {}", spelling(statement.reduction)));
    if (statement.condition != nullptr) {
      forms.insert("where");
      expression_forms(statement.condition, forms);
    }
    size_forms(statement.indices, forms);
    size_forms(statement.binders, forms);
    expression_forms(statement.value, forms);
    std::set<std::string> here;
    walk(statement.value, [&](const Expr& node) {
      if (node.op == Op::read) here.insert(node.name);
    });
    for (const std::string& name : here) ++readers[name];
  }
  for (const TensorDeclaration& declaration : forward.declarations) {
    if (declaration.kind == TensorKind::parameter && readers[declaration.name] > 1)
      forms.insert("shared parameter");
  }
  for (const std::string& form : forms) coverage.count("form: " + form);
}

void count_solver_rules(const TensorProgram& forward, Coverage& coverage) {
  SolverContext context;
  context.batch = forward.batch;
  context.other = [](const Expr&) -> std::optional<Interval> { return std::nullopt; };
  std::map<std::string, Shape> shapes;
  for (const TensorDeclaration& d : forward.declarations) shapes[d.name] = d.shape;
  for (const TensorStatement& s : forward.statements) shapes[s.name] = s.shape();
  context.shape_of = [&](const std::string& name) -> const Shape& { return shapes.at(name); };
  std::set<int> rules;
  for (const TensorStatement& statement : forward.statements) {
    walk(statement.value, [&](const Expr& node) {
      if (node.op != Op::read || !is_real(node.type.scalar)) return;
      Scatter scatter;
      scatter.domain = statement.indices;
      scatter.domain.insert(scatter.domain.end(), statement.binders.begin(),
                            statement.binders.end());
      scatter.target = shapes.at(node.name);
      for (size_t d = 0; d < node.index_count(); ++d) scatter.map.push_back(node.operands[d]);
      scatter.value = make_real(1, forward.real);
      std::optional<Gather> gather = solve(scatter, context);
      if (gather) rules.insert(gather->rules.begin(), gather->rules.end());
    });
  }
  for (int rule : rules) coverage.count(fmt::format("rule: R{}", rule));
}

void count_moves(const KernelProgram& scheduled, Coverage& coverage) {
  std::set<std::string> moves;
  for (const Launch& launch : scheduled.launches) {
    if (launch.kernels.size() > 1) moves.insert("several kernels in a launch");
    for (const Kernel& kernel : launch.kernels) {
      if (kernel.statements.size() > 1) moves.insert("several statements in a kernel");
      bool updates = false;
      bool reduces = false;
      for (const KernelStatement& statement : kernel.statements) {
        updates = updates || statement.storage == Storage::inplace;
        reduces = reduces || statement.reduction != Reduction::none;
        if (statement.storage == Storage::inplace) moves.insert("in place");
        if (statement.storage != Storage::local) continue;
        moves.insert(statement.indices.empty() ? "value of a row" : "array of a row");
        if (statement.reduction != Reduction::none) moves.insert("reduction of a row");
      }
      if (updates && reduces) moves.insert("gradient and update in one kernel");
      for (const ScheduleAttribute& attribute : kernel.schedule) {
        moves.insert(fmt::format("schedule {}", spelling(attribute.kind)));
      }
    }
  }
  for (const Buffer& buffer : scheduled.buffers) {
    if (buffer.packed_dimension >= 0) moves.insert("packed layout");
  }
  for (size_t i = 0; i < scheduled.buffers.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Buffer& a = scheduled.buffers[i];
      const Buffer& b = scheduled.buffers[j];
      if (a.kind == BufferKind::temporary && b.kind == BufferKind::temporary &&
          a.offset == b.offset)
        moves.insert("reused memory");
    }
  }
  for (const FusionRemark& remark : scheduled.remarks) {
    moves.insert(remark.fused ? "fused" : "not fused");
    if (remark.reason.find("independent rows") != std::string::npos)
      moves.insert("not fused: too few rows");
    if (remark.reason.find("old value") != std::string::npos)
      moves.insert("not fused: old value of a parameter");
  }
  for (const std::string& move : moves) coverage.count("move: " + move);
}

}  // namespace fusegrad::test
