// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Move 1 of fusion: a map is substituted into its readers, index map into index map, so that
// tensors which are only another view of something else never exist.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "ir/passes/fold.h"
#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

/// How much larger than a tile a reader's independent extents are: work that a tile shares is not
/// repeated.
constexpr int64_t reuse_tile = 64;
/// Expressions beyond this size are not grown further: they would bloat every later stage.
constexpr int64_t maximum_inlined_nodes = 400;

struct Use {
  size_t reader;  ///< index of the statement
  ExprRef read;
};

/// Who reads each tensor, kept up to date while maps disappear, so that the work for one map does
/// not grow with the program.
class Readers {
 public:
  explicit Readers(const TensorProgram& program) {
    for (size_t i = 0; i < program.statements.size(); ++i) {
      visit_reads(program.statements[i], [&](const Expr& read) { of_[read.name].insert(i); });
    }
  }

  /// All reads of the tensor, in the order of the statements.
  std::vector<Use> uses(const TensorProgram& program, const std::string& name) const {
    std::vector<Use> uses;
    auto found = of_.find(name);
    if (found == of_.end()) return uses;
    for (size_t reader : found->second) {
      auto collect = [&](const ExprRef& node) {
        if (node->op == Op::read && node->name == name) uses.push_back({reader, node});
        return node;
      };
      const TensorStatement& statement = program.statements[reader];
      if (statement.condition != nullptr) rewrite(statement.condition, collect);
      rewrite(statement.value, collect);
    }
    return uses;
  }

  /// Statement `number`, a map, now stands in all of its readers.
  void inlined(const TensorStatement& map, size_t number) {
    const std::set<size_t> readers = std::move(of_[map.name]);
    of_.erase(map.name);
    visit_reads(map, [&](const Expr& read) {
      std::set<size_t>& of_source = of_[read.name];
      of_source.erase(number);
      of_source.insert(readers.begin(), readers.end());
    });
  }

 private:
  std::unordered_map<std::string, std::set<size_t>> of_;
};

int64_t elements(const std::vector<IndexRange>& indices) {
  int64_t count = 1;
  for (const IndexRange& index : indices) {
    count = saturating_multiply(count, std::max<int64_t>(1, index.end.maximum - index.begin));
  }
  return count;
}

bool is_view(const TensorStatement& map) {
  const ExprRef& value = map.value;
  if (is_constant(value) || value->op == Op::read || value->op == Op::uniform) return true;
  return value->op == Op::convert &&
         (value->operands[0]->op == Op::read || is_constant(value->operands[0]) ||
          value->operands[0]->op == Op::uniform);
}

bool has_random(const ExprRef& e) {
  bool found = false;
  walk(e, [&](const Expr& node) { found = found || node.op == Op::rand || node.op == Op::normal; });
  return found;
}

/// Evaluations of the map if it were inlined into this reader, where points of a tile share one.
int64_t evaluations(const TensorStatement& reader, const Use& use, int64_t map_elements) {
  std::set<std::string> used = free_indices(use.read);
  int64_t repeats = 1;
  for (const auto* list : {&reader.indices, &reader.binders}) {
    for (const IndexRange& index : *list) {
      if (used.contains(index.name)) continue;
      int64_t extent = index.end.maximum - index.begin;
      repeats = saturating_multiply(repeats, (extent + reuse_tile - 1) / reuse_tile);
    }
  }
  return saturating_multiply(map_elements, repeats);
}

/// A single reader that is itself a map over as many points evaluates the map exactly once per
/// element.
bool reads_each_element_once(const TensorStatement& map, const TensorStatement& reader,
                             const Use& use) {
  if (reader.reduction != Reduction::none || use.read->has_else) return false;
  if (use.read->index_count() != reader.indices.size()) return false;
  std::set<std::string> seen;
  for (size_t d = 0; d < use.read->index_count(); ++d) {
    const ExprRef& index = use.read->operands[d];
    if (!is_index(index) || !seen.insert(index->name).second) return false;
    auto left = std::find_if(reader.indices.begin(), reader.indices.end(),
                             [&](const IndexRange& i) { return i.name == index->name; });
    if (left == reader.indices.end() || !(left->end == map.indices[d].end)) return false;
  }
  return true;
}

/// The rule by which the map goes into its readers, if any.
std::optional<SimplifyRule> rule_for(const TensorProgram& program,
                                     const std::set<std::string>& declared,
                                     const TensorStatement& map, const std::vector<Use>& uses) {
  int64_t weight = instruction_weight(map.value);
  if (is_view(map)) return SimplifyRule::inline_view;
  if (is_step_scalar(map)) return std::nullopt;
  if (map.indices.empty() && weight <= 4) return SimplifyRule::inline_scalar;
  int64_t read_rank = 0;
  bool only_declared = true;
  visit_reads(map, [&](const Expr& read) {
    read_rank = std::max(read_rank, static_cast<int64_t>(read.index_count()));
    only_declared = only_declared && declared.contains(read.name);
  });
  if (read_rank < static_cast<int64_t>(map.indices.size()) && weight <= 2) {
    return SimplifyRule::inline_spread;
  }
  if (uses.size() == 1 && !has_random(map.value) &&
      reads_each_element_once(map, program.statements[uses[0].reader], uses[0])) {
    return SimplifyRule::inline_once;
  }
  if (!only_declared || has_random(map.value)) return std::nullopt;
  const int64_t points = elements(map.indices);
  int64_t total = 0;
  for (const Use& use : uses) {
    total = saturating_add(total, evaluations(program.statements[use.reader], use, points));
  }
  int64_t bytes_saved = byte_size(map.type) * points * static_cast<int64_t>(1 + uses.size());
  const bool is_cheap =
      saturating_multiply(weight, total - points) <= instructions_per_byte * bytes_saved;
  return is_cheap ? std::optional(SimplifyRule::inline_cheap) : std::nullopt;
}

/// Is every index of the read inside the map's shape wherever the reader evaluates it? If not,
/// which test says so?
ExprRef inside_condition(const TensorStatement& map, const Expr& read, const IndexRanges& ranges) {
  ExprRef condition;
  auto require = [&](ExprRef test) {
    test = fold(test, ranges);
    if (is_boolean_constant(test, true)) return;
    condition = condition == nullptr ? test : make_binary(Op::logical_and, condition, test);
  };
  for (size_t d = 0; d < read.index_count(); ++d) {
    const Extent& extent = map.indices[d].end;
    const ExprRef& index = read.operands[d];
    require(make_binary(Op::greater_equal, index, make_integer(0)));
    ExprRef limit = extent.depends_on_rows() ? make_binary(Op::multiply, make_uniform("rows"),
                                                           make_integer(extent.per_row))
                                             : make_integer(extent.maximum);
    require(make_binary(Op::less, index, limit));
  }
  return condition;
}

bool can_push_into_guard(const TensorStatement& map) {
  // The select keeps the reads of the map's value inside their tensors; deeper guards would not be
  // seen by readers of the text, so only plain views go through a guarded read.
  return is_view(map);
}

}  // namespace

bool inline_maps(TensorProgram& program, RuleCounts* counts) {
  bool changed = false;
  const std::set<std::string> roots = root_names(program);
  std::set<std::string> declared;
  for (const TensorDeclaration& declaration : program.declarations) {
    declared.insert(declaration.name);
  }
  Readers readers(program);
  std::vector<bool> gone(program.statements.size(), false);
  for (size_t i = 0; i < program.statements.size(); ++i) {
    const TensorStatement map = program.statements[i];
    if (map.reduction != Reduction::none || roots.contains(map.name)) continue;
    const std::vector<Use> uses = readers.uses(program, map.name);
    if (uses.empty()) continue;
    bool guarded =
        std::any_of(uses.begin(), uses.end(), [](const Use& use) { return use.read->has_else; });
    if (guarded && !can_push_into_guard(map)) continue;
    bool too_large = std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
      return program.statements[use.reader].value->node_count() + map.value->node_count() >
                 maximum_inlined_nodes &&
             map.value->node_count() > 8;
    });
    if (too_large) continue;
    const std::optional<SimplifyRule> rule = rule_for(program, declared, map, uses);
    if (!rule) continue;
    count(counts, *rule);
    for (const Use& use : uses) {
      TensorStatement& reader = program.statements[use.reader];
      IndexRanges ranges = ranges_of(reader.indices, reader.binders, program.batch);
      rewrite_statement(reader, [&](const ExprRef& node) -> ExprRef {
        if (node->op != Op::read || node->name != map.name) return node;
        if (!node->has_else) return value_at(map, node->operands);
        // The test of a guarded read is in normal form; the index that it speaks of must be, too.
        std::vector<ExprRef> element;
        for (size_t d = 0; d < node->index_count(); ++d) {
          element.push_back(fold(node->operands[d], ranges));
        }
        ExprRef body = value_at(map, element);
        ExprRef inside = inside_condition(map, *node, ranges);
        return inside == nullptr ? body : make_select(inside, body, node->else_value());
      });
    }
    readers.inlined(map, i);
    gone[i] = true;
    changed = true;
  }
  size_t number = 0;
  std::erase_if(program.statements, [&](const TensorStatement&) { return gone[number++]; });
  return changed;
}

}  // namespace fusegrad::ir
