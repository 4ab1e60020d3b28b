// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedule of every kernel and the layout of parameters, by a formula on index maps and shapes:
// the same for every machine of the kind, whatever it is called and however many threads it has.
#include <algorithm>
#include <optional>
#include <set>

#include "ir/kernel/buffer_index.h"
#include "ir/kernel/segment.h"
#include "ir/linear_form.h"
#include "ir/passes/addressing.h"
#include "ir/passes/fold.h"
#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// f32 lanes of one vector; numeric (`lanes`) and free (`vector`) attributes use the same width.
constexpr int64_t vector_width = 8;
/// Accumulators that are kept in registers at once; the rest of 16 holds operands.
constexpr int64_t maximum_accumulators = 12;
/// Sums shorter than this are not worth lanes or register tiles of their own.
constexpr int64_t short_sum = 16;

using Kind = ScheduleAttribute::Kind;

struct Access {
  const Buffer* buffer;
  std::vector<ExprRef> indices;
};

/// One kernel under study.
class KernelStudy {
 public:
  KernelStudy(const KernelProgram& program, const BufferIndex& buffers, const Kernel& kernel,
              const ScheduleOptions& options)
      : buffers_(buffers) {
    for (const IndexRange& row : kernel.rows) add(row);
    for (const KernelStatement& statement : kernel.statements) {
      for (const KernelIndex& index : statement.indices) {
        if (!index.is_row) add(index.range);
      }
      for (const IndexRange& binder : statement.binders) add(binder);
    }
    for (const KernelStatement& statement : kernel.statements) {
      for (SegmentSum& form : segment_forms(program.buffers, statement)) {
        if (!is_worth_sorting(form, options)) continue;
        segment_indices_.insert(form.index);
        segments_.emplace(&statement, std::move(form));
        break;
      }
    }
  }

  /// The sum's segment form, if it is to run so; otherwise null.
  const SegmentSum* segment(const KernelStatement& statement) const {
    auto found = segments_.find(&statement);
    return found == segments_.end() ? nullptr : &found->second;
  }
  /// An index that has one value at a time, because some sum runs along its sorted places.
  bool is_alone(const std::string& index) const { return segment_indices_.contains(index); }

  int64_t extent(const std::string& index) const { return extents_.at(index); }
  bool depends_on_rows(const std::string& index) const { return over_rows_.contains(index); }

  /// Buffers that the statement reads and, if it stores, the one that it writes.
  std::vector<Access> accesses(const KernelStatement& statement) const {
    std::vector<Access> result;
    auto visit = [&](const Expr& node) {
      if (node.op != Op::read) return;
      const Buffer* buffer = buffers_.find(node.name);
      if (buffer == nullptr) return;
      result.push_back(
          {buffer, std::vector<ExprRef>(
                       node.operands.begin(),
                       node.operands.begin() + static_cast<std::ptrdiff_t>(node.index_count()))});
    };
    if (statement.condition != nullptr) walk(statement.condition, visit);
    walk(statement.value, visit);
    if (statement.storage != Storage::local) {
      std::vector<ExprRef> indices;
      for (const KernelIndex& index : statement.indices)
        indices.push_back(make_index(index.range.name));
      result.push_back({buffers_.find(statement.name), std::move(indices)});
    }
    return result;
  }

  /// Are `vector_width` consecutive values of the index, from a multiple of it, consecutive in
  /// memory?
  bool contiguous(const Access& access, const std::string& index) const {
    bool mentioned = std::any_of(access.indices.begin(), access.indices.end(),
                                 [&](const ExprRef& e) { return mentions_index(e, index); });
    if (!mentioned) return false;
    std::map<std::string, ExprRef> in_vectors = {
        {index,
         make_binary(Op::add,
                     make_binary(Op::multiply, make_index("$vector"), make_integer(vector_width)),
                     make_index("$lane"))}};
    std::vector<ExprRef> indices;
    for (const ExprRef& e : access.indices) indices.push_back(substitute(e, in_vectors));
    ElementPosition position = element_position(*access.buffer, indices);
    if (position.row != nullptr && mentions_index(position.row, "$lane")) return false;
    ranges_.by_name["$lane"] = {0, vector_width - 1};
    ranges_.by_name["$vector"] = {0, std::max<int64_t>(0, extent(index) / vector_width)};
    LinearForm form = linear_form(position.position, ranges_);
    if (coefficient_of(form, "$lane") != 1) return false;
    for (const LinearForm::Term& term : form.terms) {
      if (term.atom->op != Op::index && mentions_index(term.atom, "$lane")) return false;
    }
    return true;
  }

  /// Distinct bytes that the access touches over the whole kernel.
  int64_t bytes(const Access& access) const {
    std::set<std::string> used;
    for (const ExprRef& e : access.indices) used.merge(free_indices(e));
    int64_t count = byte_size(access.buffer->type);
    for (const std::string& name : used) {
      count = saturating_multiply(count, extent(name));
    }
    return count;
  }

  int64_t binder_points(const KernelStatement& statement) const {
    int64_t points = 1;
    for (const IndexRange& binder : statement.binders) {
      points = saturating_multiply(points, extent(binder.name));
    }
    return points;
  }

  bool is_long_sum(const KernelStatement& statement) const {
    return statement.reduction == Reduction::sum && is_real(statement.type) &&
           is_real(statement.value->type.scalar) && binder_points(statement) >= short_sum;
  }

  /// Bytes that vectors along the index would read or write contiguously. The layout of parameters
  /// and states is ours to choose, so they have no say until it is chosen.
  int64_t score(const KernelStatement& statement, const std::string& index,
                bool layouts_chosen) const {
    int64_t total = 0;
    for (const Access& access : accesses(statement)) {
      bool ours =
          access.buffer->kind == BufferKind::parameter || access.buffer->kind == BufferKind::state;
      if (ours && !layouts_chosen) continue;
      if (contiguous(access, index)) total = saturating_add(total, bytes(access));
    }
    return total;
  }

 private:
  /// Comparing takes a pass over all places for each value. The positions must fit an i32, and the
  /// values must be the index's, so that sorting costs no more than the rows do.
  bool is_worth_sorting(const SegmentSum& form, const ScheduleOptions& options) const {
    const Buffer& input = *buffers_.find(form.input);
    const std::optional<IntegerRange> values = declared_values(input);
    const std::optional<int64_t> places = element_count(input.shape);
    return (input.type == ScalarType::u8 || input.type == ScalarType::i32) && values &&
           values->begin >= 0 && values->end <= extent(form.index) && places &&
           *places < INT32_MAX && extent(form.index) < INT32_MAX &&
           extent(form.index) > options.most_compared_values && !over_rows_.contains(form.index);
  }

  void add(const IndexRange& range) {
    extents_[range.name] = std::max<int64_t>(1, range.end.maximum - range.begin);
    if (range.end.depends_on_rows()) over_rows_.insert(range.name);
    ranges_.add(range.name, range.begin, range.end);
  }

  const BufferIndex& buffers_;
  std::map<std::string, int64_t> extents_;
  std::set<std::string> over_rows_;
  std::map<const KernelStatement*, SegmentSum> segments_;
  std::set<std::string> segment_indices_;
  /// Of the kernel's indices, and of the two names that stand for one of them while it is asked
  /// about: a copy for every question would make the work quadratic.
  mutable IndexRanges ranges_;
};

int64_t largest_divisor(int64_t number, int64_t limit) {
  for (int64_t divisor = std::min(number, limit); divisor > 1; --divisor) {
    if (number % divisor == 0) return divisor;
  }
  return 1;
}

/// The binder whose lanes read more contiguous bytes than any row's would; none if a row does
/// better.
std::optional<std::string> lanes_binder(const KernelStudy& study, const Kernel& kernel,
                                        const KernelStatement& statement) {
  if (!study.is_long_sum(statement) || study.segment(statement) != nullptr) return std::nullopt;
  int64_t best_row = 0;
  for (const IndexRange& row : kernel.rows) {
    if (study.extent(row.name) < vector_width) continue;
    best_row = std::max(best_row, study.score(statement, row.name, false));
  }
  std::optional<std::string> best;
  int64_t best_score = best_row;
  for (const IndexRange& binder : statement.binders) {
    if (binder.begin != 0 || study.extent(binder.name) < 2 * vector_width) continue;
    int64_t score = study.score(statement, binder.name, false);
    if (score > best_score) {
      best_score = score;
      best = binder.name;
    }
  }
  return best;
}

/// Indices that run in vector lanes: per statement a binder (lanes), and one row for all others
/// (vector).
struct VectorChoice {
  std::map<size_t, std::string> lanes;  ///< by statement number
  std::optional<std::string> row;
};

VectorChoice choose_vectors(const KernelStudy& study, const Kernel& kernel, bool layouts_chosen) {
  VectorChoice choice;
  for (size_t s = 0; s < kernel.statements.size(); ++s) {
    if (std::optional<std::string> binder = lanes_binder(study, kernel, kernel.statements[s])) {
      choice.lanes[s] = *binder;
    }
  }
  int64_t best_score = -1;
  int64_t best_extent = 0;
  for (const IndexRange& row : kernel.rows) {
    int64_t extent = study.extent(row.name);
    if (extent < vector_width || study.is_alone(row.name)) continue;
    int64_t score = 0;
    for (size_t s = 0; s < kernel.statements.size(); ++s) {
      if (choice.lanes.contains(s)) continue;
      score = saturating_add(score, study.score(kernel.statements[s], row.name, layouts_chosen));
    }
    if (score > best_score || (score == best_score && extent > best_extent)) {
      best_score = score;
      best_extent = extent;
      choice.row = row.name;
    }
  }
  return choice;
}

/// Packs each parameter and state along the dimension that most bytes of vector accesses run along.
void choose_layouts(KernelModule& module, const ScheduleOptions& options) {
  std::map<std::string, std::map<int, int64_t>> votes;
  for (const KernelProgram& program : module.programs) {
    const BufferIndex buffers(program.buffers);
    for (const Launch& launch : program.launches) {
      for (const Kernel& kernel : launch.kernels) {
        KernelStudy study(program, buffers, kernel, options);
        VectorChoice choice = choose_vectors(study, kernel, false);
        const bool row_has_say =
            choice.row && std::any_of(kernel.statements.begin(), kernel.statements.end(),
                                      [&](const KernelStatement& statement) {
                                        return study.score(statement, *choice.row, false) > 0;
                                      });
        for (size_t s = 0; s < kernel.statements.size(); ++s) {
          auto lanes = choice.lanes.find(s);
          // A kernel of short statements without any other operand follows the layout, it does not
          // ask for one.
          bool counts = lanes != choice.lanes.end() || choice.row.has_value();
          if (!counts) continue;
          const std::string& index = lanes != choice.lanes.end() ? lanes->second : *choice.row;
          if (lanes == choice.lanes.end() && !row_has_say) continue;
          int64_t points = study.binder_points(kernel.statements[s]);
          for (const Access& access : study.accesses(kernel.statements[s])) {
            if (access.buffer->kind != BufferKind::parameter &&
                access.buffer->kind != BufferKind::state)
              continue;
            for (size_t d = 0; d < access.indices.size(); ++d) {
              if (!is_index(access.indices[d]) || access.indices[d]->name != index) continue;
              int64_t weight = saturating_multiply(study.bytes(access), points);
              int64_t& vote = votes[access.buffer->name][static_cast<int>(d)];
              vote = saturating_add(vote, weight);
            }
          }
        }
      }
    }
  }
  for (KernelProgram& program : module.programs) {
    for (Buffer& buffer : program.buffers) {
      auto found = votes.find(buffer.name);
      if (found == votes.end()) continue;
      auto best =
          std::max_element(found->second.begin(), found->second.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      const int dimension = best->first;
      const bool innermost = dimension + 1 == static_cast<int>(buffer.shape.size());
      if (innermost || buffer.shape[static_cast<size_t>(dimension)].maximum < vector_width) {
        continue;
      }
      buffer.packed_dimension = dimension;
      buffer.packed_block = vector_width;
    }
  }
}

/// Vectors along the vector index and partners beside it whose accumulators fit the registers, with
/// the most multiplications per load: vectors * partners / (vectors + partners).
struct RegisterTile {
  int64_t vectors = 1;
  int64_t partners = 1;
};

RegisterTile register_tile(int64_t vector_extent, int64_t partner_extent) {
  RegisterTile best;
  double best_value = 0;
  for (int64_t vectors = 1; vectors <= 4; ++vectors) {
    if (vectors > 1 && vector_extent % (vectors * vector_width) != 0) continue;
    int64_t partners = largest_divisor(partner_extent, maximum_accumulators / vectors);
    double value =
        static_cast<double>(vectors * partners) / static_cast<double>(vectors + partners);
    if (value > best_value) {
      best_value = value;
      best = {vectors, partners};
    }
  }
  return best;
}

void schedule_kernel(const KernelProgram& program, const BufferIndex& buffers, Kernel& kernel,
                     const ScheduleOptions& options) {
  kernel.schedule.clear();
  KernelStudy study(program, buffers, kernel, options);
  VectorChoice choice = choose_vectors(study, kernel, true);
  std::map<std::string, int64_t> tile;
  std::map<std::string, int64_t> unroll;
  for (const auto& [s, binder] : choice.lanes) {
    // Own indices, from the last one, share the loads of the vectors along the binder.
    int64_t room = maximum_accumulators;
    std::vector<IndexRange> own = kernel.statements[s].own_indices();
    for (size_t i = own.size(); i-- > 0 && room > 1;) {
      if (study.is_alone(own[i].name)) continue;
      int64_t amount = largest_divisor(study.extent(own[i].name), room);
      if (amount > 1) unroll[own[i].name] = amount;
      room /= amount;
    }
  }
  if (choice.row) {
    tile[*choice.row] = vector_width;
    for (size_t s = 0; s < kernel.statements.size(); ++s) {
      const KernelStatement& statement = kernel.statements[s];
      if (choice.lanes.contains(s) || !study.is_long_sum(statement)) continue;
      std::string partner;
      bool partner_is_row = false;
      for (const KernelIndex& index : statement.indices) {
        if (index.is_row || study.is_alone(index.range.name) ||
            (!partner.empty() && study.extent(index.range.name) <= study.extent(partner)))
          continue;
        partner = index.range.name;
      }
      if (partner.empty()) {
        for (const IndexRange& row : kernel.rows) {
          if (row.name == *choice.row || study.depends_on_rows(row.name) ||
              study.is_alone(row.name)) {
            continue;
          }
          if (partner.empty() || study.extent(row.name) > study.extent(partner)) partner = row.name;
          partner_is_row = true;
        }
      }
      // A sum along sorted places has no partner to share its loads with; more vectors share the
      // places.
      if (partner.empty() && study.segment(statement) == nullptr) continue;
      bool fixed = !choice.lanes.empty() || tile[*choice.row] != vector_width;
      int64_t vector_extent =
          fixed || study.depends_on_rows(*choice.row) ? vector_width : study.extent(*choice.row);
      RegisterTile registers =
          register_tile(vector_extent, partner.empty() ? 1 : study.extent(partner));
      if (!fixed) tile[*choice.row] = registers.vectors * vector_width;
      if (registers.partners > 1) (partner_is_row ? tile : unroll)[partner] = registers.partners;
    }
  }
  auto add = [&](Kind kind, const std::string& index, int64_t amount) {
    kernel.schedule.push_back({kind, index, amount});
  };
  for (const IndexRange& row : kernel.rows) {
    if (tile.contains(row.name)) add(Kind::tile, row.name, tile[row.name]);
  }
  if (choice.row) add(Kind::vector, *choice.row, vector_width);
  for (const auto& [s, binder] : choice.lanes) add(Kind::lanes, binder, vector_width);
  for (const KernelStatement& statement : kernel.statements) {
    const SegmentSum* form = study.segment(statement);
    if (form == nullptr) continue;
    // One that is there already may fit, too.
    if (segment_of(program.buffers, kernel, statement)) continue;
    kernel.schedule.push_back({Kind::segment, form->index, 1, form->input});
  }
  for (const KernelStatement& statement : kernel.statements) {
    for (const IndexRange& own : statement.own_indices()) {
      if (unroll.contains(own.name)) add(Kind::unroll, own.name, unroll[own.name]);
    }
  }
}

/// Removes derived buffers and adds those that the kernels' segment sums need.
void derive_buffers(KernelProgram& program) {
  std::erase_if(program.buffers,
                [](const Buffer& buffer) { return buffer.kind == BufferKind::derived; });
  std::map<std::string, int64_t> values;  // by input
  for (const Launch& launch : program.launches) {
    for (const Kernel& kernel : launch.kernels) {
      if (std::none_of(kernel.schedule.begin(), kernel.schedule.end(),
                       [](const ScheduleAttribute& a) { return a.kind == Kind::segment; })) {
        continue;
      }
      for (const KernelStatement& statement : kernel.statements) {
        auto form = segment_of(program.buffers, kernel, statement);
        if (!form) continue;
        auto use = [&](const IndexRange& range) {
          if (range.name != form->index) return;
          int64_t& known = values[form->input];
          known = std::max(known, range.end.maximum);
        };
        for (const IndexRange& row : kernel.rows) use(row);
        for (const IndexRange& own : statement.own_indices()) use(own);
      }
    }
  }
  for (const auto& [input, count] : values) {
    for (Derivation derivation : {Derivation::starts, Derivation::positions}) {
      Buffer buffer;
      buffer.kind = BufferKind::derived;
      buffer.derivation = derivation;
      buffer.source = input;
      buffer.type = ScalarType::i32;
      buffer.name = input + "." + std::string(spelling(derivation));
      while (program.find_buffer(buffer.name) != nullptr) buffer.name += "'";
      const Shape& shape = program.find_buffer(input)->shape;
      if (derivation == Derivation::starts) {
        buffer.shape = {Extent::number(count + 1)};
      } else {
        const int64_t places = element_count(shape).value_or(0);
        buffer.shape = {Extent::of_rows(program.batch, places / program.batch)};
      }
      program.buffers.push_back(std::move(buffer));
    }
  }
}

}  // namespace

KernelModule schedule(const KernelModule& module, const ScheduleOptions& options) {
  KernelModule result = module;
  choose_layouts(result, options);
  for (KernelProgram& program : result.programs) {
    const BufferIndex buffers(program.buffers);
    for (Launch& launch : program.launches) {
      for (Kernel& kernel : launch.kernels) schedule_kernel(program, buffers, kernel, options);
    }
    derive_buffers(program);
  }
  return result;
}

}  // namespace fusegrad::ir
