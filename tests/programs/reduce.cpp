// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Greedy: every change that keeps the failure is kept, until none does.
#include "tests/programs/reduce.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "ir/passes/simplify_steps.h"
#include "ir/tensor/verify.h"

namespace fusegrad::test {
namespace {

using namespace ir;

void write_all(int descriptor, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = write(descriptor, text.data() + done, text.size() - done);
    if (count <= 0) return;
    done += static_cast<size_t>(count);
  }
}

ExprRef zero(const Type& type) {
  if (is_real(type.scalar)) return make_real(0.5, type.scalar);
  return type.scalar == ScalarType::boolean ? make_boolean(true) : make_integer(0);
}

/// Every way to make a program smaller by one change.
class Shrinker {
 public:
  explicit Shrinker(const TensorProgram& program) : program_(program) {}

  /// The larger cuts first.
  std::vector<std::function<TensorProgram()>> changes() {
    for (size_t i = program_.statements.size(); i-- > 0;) drop_statement(i);
    for (size_t i = 0; i < program_.results.size(); ++i) drop(&TensorProgram::results, i);
    for (size_t i = 0; i < program_.updates.size(); ++i) drop(&TensorProgram::updates, i);
    for (size_t i = 0; i < program_.declarations.size(); ++i) {
      drop(&TensorProgram::declarations, i);
    }
    for (size_t i = 0; i < program_.statements.size(); ++i) shrink_statement(i);
    shrink_sizes();
    return std::move(changes_);
  }

 private:
  template <typename Item>
  void drop(std::vector<Item> TensorProgram::* list, size_t i) {
    if constexpr (std::is_same_v<Item, TensorResult>) {
      if ((program_.*list)[i].kind == TensorResultKind::loss) return;
    }
    changes_.push_back([this, list, i] {
      TensorProgram changed = program_;
      (changed.*list).erase((changed.*list).begin() + static_cast<ptrdiff_t>(i));
      return changed;
    });
  }

  /// Reads of it become constants.
  void drop_statement(size_t i) {
    changes_.push_back([this, i] {
      TensorProgram changed = program_;
      const std::string name = changed.statements[i].name;
      changed.statements.erase(changed.statements.begin() + static_cast<ptrdiff_t>(i));
      std::erase_if(changed.updates, [&](const TensorUpdate& u) { return u.value == name; });
      std::erase_if(changed.results, [&](const TensorResult& r) { return r.tensor == name; });
      for (TensorStatement& statement : changed.statements) {
        rewrite_statement(statement, [&](const ExprRef& e) {
          return e->op == Op::read && e->name == name ? zero(e->type) : e;
        });
      }
      return changed;
    });
  }

  void change_statement(size_t i, std::function<void(TensorStatement&)> change) {
    changes_.push_back([this, i, change = std::move(change)] {
      TensorProgram changed = program_;
      change(changed.statements[i]);
      return changed;
    });
  }

  void shrink_statement(size_t i) {
    const TensorStatement& statement = program_.statements[i];
    if (statement.condition != nullptr) {
      change_statement(i, [](TensorStatement& s) { s.condition = nullptr; });
    }
    for (size_t b = 0; b < statement.binders.size(); ++b) {
      change_statement(i, [b](TensorStatement& s) {
        const std::map<std::string, ExprRef> gone = {
            {s.binders[b].name, make_integer(s.binders[b].begin)}};
        s.value = substitute(s.value, gone);
        if (s.condition != nullptr) s.condition = substitute(s.condition, gone);
        s.binders.erase(s.binders.begin() + static_cast<ptrdiff_t>(b));
        if (s.binders.empty()) {
          s.reduction = Reduction::none;
          s.condition = nullptr;
        }
      });
    }
    // Any node by one of its operands of the same type, or by a constant.
    std::vector<ExprRef> nodes;
    std::function<void(const ExprRef&)> collect = [&](const ExprRef& e) {
      if (std::any_of(nodes.begin(), nodes.end(), [&](const ExprRef& n) { return same(n, e); }))
        return;
      nodes.push_back(e);
      for (const ExprRef& operand : e->operands) collect(operand);
    };
    collect(statement.value);
    if (statement.condition != nullptr) collect(statement.condition);
    for (const ExprRef& node : nodes) {
      if (is_constant(node)) continue;
      std::vector<ExprRef> replacements = {zero(node->type)};
      for (const ExprRef& operand : node->operands) {
        if (operand->type == node->type) replacements.push_back(operand);
      }
      for (const ExprRef& replacement : replacements) {
        change_statement(i, [node, replacement](TensorStatement& s) {
          rewrite_statement(s, [&](const ExprRef& e) { return same(e, node) ? replacement : e; });
        });
      }
    }
  }

  /// All sizes of one number at once, so that shapes stay in step; the batch too.
  void shrink_sizes() {
    std::set<int64_t> sizes;
    auto each_extent = [](TensorProgram& program, const std::function<void(Extent&)>& visit) {
      for (TensorDeclaration& declaration : program.declarations) {
        for (Extent& extent : declaration.shape) visit(extent);
      }
      for (TensorStatement& statement : program.statements) {
        for (IndexRange& index : statement.indices) visit(index.end);
        for (IndexRange& index : statement.binders) visit(index.end);
      }
    };
    TensorProgram copy = program_;
    each_extent(copy, [&](const Extent& extent) {
      if (!extent.depends_on_rows()) sizes.insert(extent.maximum);
    });
    for (int64_t size : sizes) {
      for (int64_t smaller : {int64_t{1}, size / 2, size - 1}) {
        if (smaller < 1 || smaller >= size) continue;
        changes_.push_back([this, each_extent, size, smaller] {
          TensorProgram changed = program_;
          each_extent(changed, [&](Extent& extent) {
            if (!extent.depends_on_rows() && extent.maximum == size) extent.maximum = smaller;
          });
          return changed;
        });
      }
    }
    for (int64_t smaller : {int64_t{1}, program_.batch / 2, program_.batch - 1}) {
      if (smaller < 1 || smaller >= program_.batch) continue;
      changes_.push_back([this, each_extent, smaller] {
        TensorProgram changed = program_;
        changed.batch = smaller;
        each_extent(changed, [&](Extent& extent) {
          if (extent.depends_on_rows()) extent.maximum = smaller * extent.per_row;
        });
        return changed;
      });
    }
  }

  const TensorProgram& program_;
  std::vector<std::function<TensorProgram()>> changes_;
};

}  // namespace

std::optional<ProgramFailure> check_alone(const TensorProgram& program, uint64_t seed,
                                          Coverage& coverage) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) return ProgramFailure{"no pipe", ""};
  const pid_t child = fork();
  if (child < 0) return ProgramFailure{"no process", ""};
  if (child == 0) {
    close(pipe_ends[0]);
    dup2(pipe_ends[1], STDERR_FILENO);  // the last words of a process that is ended
    Coverage counted;
    std::optional<ProgramFailure> failure = ProgramChecker().check(program, seed, counted);
    write_all(pipe_ends[1],
              failure ? "F" + failure->check + "\n" + failure->message : "C" + counted.text());
    _exit(failure ? 1 : 0);
  }
  close(pipe_ends[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t count = 0; (count = read(pipe_ends[0], buffer, sizeof buffer)) > 0;) {
    answer.append(buffer, static_cast<size_t>(count));
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) > 1)) {
    return ProgramFailure{"ends the process", answer};
  }
  if (WEXITSTATUS(status) == 1) {
    const size_t line = answer.find('\n');
    return ProgramFailure{answer.substr(1, line - 1), answer.substr(line + 1)};
  }
  coverage.add_text(answer.substr(1));
  return std::nullopt;
}

Reduced reduce(const TensorProgram& program, uint64_t seed, const std::string& check) {
  Reduced best{program, {check, ""}, 0};
  Coverage ignored;
  bool changed = true;
  while (changed) {
    changed = false;
    const TensorProgram before = best.program;
    Shrinker shrinker(before);
    for (const auto& change : shrinker.changes()) {
      TensorProgram candidate = change();
      if (!verify(candidate).empty()) continue;
      ++best.attempts;
      std::optional<ProgramFailure> failure = check_alone(candidate, seed, ignored);
      if (!failure || failure->check != check) continue;
      best.program = std::move(candidate);
      best.failure = std::move(*failure);
      changed = true;
      break;  // the other changes belong to the program before
    }
  }
  return best;
}

}  // namespace fusegrad::test
