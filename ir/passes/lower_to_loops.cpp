// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K to L. Every decision was made by the schedule; here it is written down: a kernel becomes a loop
// over tasks (tiles of rows), a tile runs statement by statement, full tiles in vectors, the
// remainder row by row. Both ways compute the same bits: only `lanes` changes the order of a sum,
// and it holds in both.
#include <algorithm>
#include <functional>
#include <optional>

#include "ir/kernel/segment.h"
#include "ir/passes/lower_expression.h"
#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using Kind = ScheduleAttribute::Kind;

/// One value of an index while a statement is written down, and its offset within the tile.
struct RowPoint {
  ExprRef value;
  ExprRef offset;
};

/// A row dimension with its tile.
struct Row {
  IndexRange range;
  int64_t tile = 1;
  ExprRef base;               ///< first value of the tile
  bool may_be_empty = false;  ///< its tasks count the extent at the full batch
};

/// What one unrolled point of a statement assigns to the kernel's indices.
using Point = std::map<std::string, RowPoint>;

class KernelLowering {
 public:
  KernelLowering(const KernelProgram& program, const BufferIndex& buffers, const Kernel& kernel)
      : program_(program),
        buffers_(buffers),
        kernel_(kernel),
        builder_(function_.body),
        lowering_(program, buffers, kernel, builder_) {}

  LoopFunction run() {
    function_.name = kernel_.name;
    collect_parameters();
    collect_rows();
    allocate_locals();
    open_tasks();
    write_tile();
    builder_.close();  // the loop over tasks
    builder_.close();  // the function
    return std::move(function_);
  }

 private:
  // ---- Preparation.

  void collect_parameters() {
    std::set<std::string> used;
    std::set<std::string> written;
    for (const KernelStatement& statement : kernel_.statements) {
      auto visit = [&](const Expr& node) {
        if (node.op == Op::read) used.insert(node.name);
      };
      ExprRef condition = statement.condition;
      if (auto form = segment_of(program_.buffers, kernel_, statement)) {
        condition = form->condition;
        used.insert(derived(Derivation::starts, *form).name);
        used.insert(derived(Derivation::positions, *form).name);
      }
      if (condition != nullptr) walk(condition, visit);
      walk(statement.value, visit);
      if (statement.storage != Storage::local) written.insert(statement.name);
    }
    // In the order of the program's buffers.
    std::set<const Buffer*> mentioned;
    for (const std::set<std::string>* names : {&used, &written}) {
      for (const std::string& name : *names) {
        if (const Buffer* buffer = buffers_.find(name)) mentioned.insert(buffer);
      }
    }
    bool any_input = false;
    for (const Buffer* place : mentioned) {
      const Buffer& buffer = *place;
      LoopParameter parameter;
      parameter.name = buffer.name;
      parameter.type = buffer.type;
      parameter.elements = buffer.kind == BufferKind::input ? -1 : buffer.physical_elements();
      parameter.written = written.contains(buffer.name);
      if (parameter.written) builder_.mark_written(buffer.name);
      any_input = any_input || buffer.kind == BufferKind::input;
      function_.parameters.push_back(std::move(parameter));
    }
    if (any_input) {
      function_.parameters.insert(
          function_.parameters.begin(),
          LoopParameter{row_list_name, ScalarType::i32, program_.batch, false});
    }
    for (const LoopParameter& parameter : function_.parameters) builder_.fresh(parameter.name);
  }

  void collect_rows() {
    for (const IndexRange& range : kernel_.rows) {
      Row row;
      row.range = range;
      row.tile = kernel_.attribute(Kind::tile, range.name).value_or(1);
      if (std::optional<int64_t> width = kernel_.attribute(Kind::vector, range.name)) {
        vector_row_ = range.name;
        width_ = static_cast<int>(*width);
        FG_CHECK(row.tile % *width == 0, "tile {} of `{}` is no multiple of its vectors of {}",
                 row.tile, range.name, *width);
      }
      rows_.push_back(row);
    }
  }

  void allocate_locals() {
    tile_elements_ = 1;
    for (const Row& row : rows_) tile_elements_ *= row.tile;
    for (const KernelStatement& statement : kernel_.statements) {
      if (statement.storage != Storage::local) continue;
      LocalMemory memory;
      memory.name = builder_.fresh(statement.name);
      memory.type = statement.type;
      memory.own = statement.own_indices();
      if (statement.reduction == Reduction::argmax || statement.reduction == Reduction::argmin) {
        int64_t points = 1;
        for (const IndexRange& binder : statement.binders) {
          points = saturating_multiply(points, binder.end.maximum - binder.begin);
        }
        memory.range = IntegerRange{0, points};
      }
      int64_t elements = tile_elements_;
      for (const IndexRange& own : memory.own) {
        std::optional<int64_t> product = checked_multiply(elements, own.end.maximum);
        FG_CHECK(product.has_value(), "local `{}` is too large", statement.name);
        elements = *product;
      }
      builder_.declare_stack(memory.name, memory.type, elements);
      lowering_.add_local(statement.name, memory);
    }
  }

  // ---- Tasks.

  static int64_t tiles(int64_t extent, int64_t tile) { return (extent + tile - 1) / tile; }

  /// Opens the loop over tasks and binds the first value of the tile of every row dimension.
  void open_tasks() {
    // A dimension over the batch leads, so that the divisors below are constants; a second one
    // counts its full extent, and tiles beyond the actual rows are empty.
    std::vector<size_t> order;
    for (size_t r = 0; r < rows_.size(); ++r) {
      bool leads = rows_[r].range.end.depends_on_rows() &&
                   std::none_of(order.begin(), order.end(),
                                [&](size_t o) { return rows_[o].range.end.depends_on_rows(); });
      order.insert(leads ? order.begin() : order.end(), r);
    }
    for (size_t k = 0; k < order.size(); ++k) {
      Extent extent = rows_[order[k]].range.end;
      if (k > 0 && extent.depends_on_rows()) {
        extent = Extent::number(extent.maximum);
        rows_[order[k]].may_be_empty = true;
      }
      function_.tasks.push_back({extent, rows_[order[k]].tile});
    }
    int64_t count = 1;
    for (const TaskDimension& dimension : function_.tasks) {
      count = saturating_multiply(count, tiles(dimension.extent.maximum, dimension.tile));
    }
    ExprRef task = builder_.open_for("task", make_variable("begin", {ScalarType::i64}),
                                     make_variable("end", {ScalarType::i64}), {0, count - 1});
    ExprRef rest = task;
    for (size_t k = order.size(); k-- > 0;) {
      Row& row = rows_[order[k]];
      int64_t dimension_tiles = tiles(row.range.end.maximum, row.tile);
      ExprRef tile = rest;
      if (k > 0) {
        tile = builder_.bind(make_binary(Op::modulo, rest, make_integer(dimension_tiles)),
                             row.range.name + "_tile");
        rest = builder_.bind(make_binary(Op::floor_divide, rest, make_integer(dimension_tiles)),
                             "rest");
      }
      builder_.set_range(tile, {0, dimension_tiles - 1});
      row.base = row.tile == 1 ? tile : make_binary(Op::multiply, tile, make_integer(row.tile));
    }
  }

  // ---- Tiles.

  void write_tile() {
    ExprRef full;
    for (const Row& row : rows_) {
      const Extent& extent = row.range.end;
      bool always_full = row.tile == 1
                             ? !row.may_be_empty
                             : !extent.depends_on_rows() && extent.maximum % row.tile == 0;
      if (always_full) continue;
      ExprRef fits =
          make_binary(Op::less_equal, make_binary(Op::add, row.base, make_integer(row.tile)),
                      ExpressionLowering::extent_value(extent));
      full = full == nullptr ? fits : make_binary(Op::logical_and, full, fits);
    }
    if (full == nullptr) {
      write_full_tile();
      return;
    }
    builder_.open_if(full);
    write_full_tile();
    builder_.open_else();
    write_remainder();
    builder_.close();
  }

  void write_full_tile() {
    in_full_tile_ = true;
    for (const KernelStatement& statement : kernel_.statements) write_statement(statement);
  }

  /// Row instance by row instance, one lane.
  void write_remainder() {
    in_full_tile_ = false;
    remainder_.clear();
    size_t opened = 0;
    for (const Row& row : rows_) {
      if (row.tile == 1 && !row.may_be_empty) {
        remainder_[row.range.name] = {row.base, make_integer(0)};
        continue;
      }
      ExprRef stop =
          make_binary(Op::minimum, make_binary(Op::add, row.base, make_integer(row.tile)),
                      ExpressionLowering::extent_value(row.range.end));
      ExprRef index =
          builder_.open_for(row.range.name, row.base, stop, {0, row.range.end.maximum - 1});
      remainder_[row.range.name] = {index, make_integer(0)};
      ++opened;
    }
    for (const KernelStatement& statement : kernel_.statements) write_statement(statement);
    while (opened-- > 0) builder_.close();
  }

  // ---- Statements.

  const IndexRange* lanes_binder(const KernelStatement& statement) const {
    for (const IndexRange& binder : statement.binders) {
      if (kernel_.attribute(Kind::lanes, binder.name)) return &binder;
    }
    return nullptr;
  }

  static bool is_row_in(const std::vector<Row>& rows, const std::string& name) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const Row& row) { return row.range.name == name; });
  }

  void write_statement(const KernelStatement& statement) {
    const IndexRange* lanes = lanes_binder(statement);
    bool vector = in_full_tile_ && !vector_row_.empty() && lanes == nullptr;
    lowering_.set_lanes(lanes != nullptr
                            ? static_cast<int>(*kernel_.attribute(Kind::lanes, lanes->name))
                        : vector ? width_
                                 : 1);
    size_t opened = 0;
    // The points that are written out one after the other, innermost first.
    std::vector<std::pair<std::string, std::vector<RowPoint>>> unrolled;
    Point fixed;
    for (const Row& row : rows_) {
      const std::string& name = row.range.name;
      if (!in_full_tile_) {
        fixed[name] = remainder_.at(name);
        continue;
      }
      if (row.tile == 1) {
        fixed[name] = {row.base, make_integer(0)};
      } else if (name == vector_row_ && lanes != nullptr) {
        ExprRef offset =
            builder_.open_for(name, make_integer(0), make_integer(row.tile), {0, row.tile - 1});
        ++opened;
        fixed[name] = {make_binary(Op::add, row.base, offset), offset};
      } else {
        int64_t step = name == vector_row_ ? width_ : 1;
        std::vector<RowPoint> points;
        for (int64_t at = 0; at < row.tile; at += step) {
          ExprRef offset = make_integer(at);
          if (name == vector_row_) offset = make_binary(Op::add, offset, make_index(lane_index));
          points.push_back({make_binary(Op::add, row.base, offset), offset});
        }
        unrolled.emplace_back(name, std::move(points));
      }
    }
    for (const IndexRange& own : statement.own_indices()) {
      int64_t amount = kernel_.attribute(Kind::unroll, own.name).value_or(1);
      bool divides = !own.end.depends_on_rows() && own.end.maximum % amount == 0;
      if (!divides) amount = 1;
      ExprRef chunk = make_integer(0);
      if (own.end.depends_on_rows() || own.end.maximum != amount) {
        ExprRef count = ExpressionLowering::extent_value(own.end);
        if (amount > 1) count = make_integer(own.end.maximum / amount);
        chunk =
            builder_.open_for(own.name, make_integer(0), count, {0, own.end.maximum / amount - 1});
        ++opened;
      }
      std::vector<RowPoint> points;
      for (int64_t at = 0; at < amount; ++at) {
        ExprRef value =
            amount == 1
                ? chunk
                : make_binary(Op::add, make_binary(Op::multiply, chunk, make_integer(amount)),
                              make_integer(at));
        points.push_back({value, nullptr});
      }
      unrolled.emplace_back(own.name, std::move(points));
    }
    std::vector<Point> points = {fixed};
    for (const auto& [name, values] : unrolled) {
      std::vector<Point> next;
      for (const Point& point : points) {
        for (const RowPoint& value : values) {
          next.push_back(point);
          next.back()[name] = value;
        }
      }
      points = std::move(next);
    }
    if (statement.reduction == Reduction::none) {
      for (const Point& point : points) {
        enter(point);
        write_result(statement, lowering_.lower(statement.value));
      }
    } else {
      write_reduction(statement, points, lanes);
    }
    while (opened-- > 0) builder_.close();
  }

  /// Makes the point's values those of the kernel's indices.
  void enter(const Point& point) {
    for (const auto& [name, value] : point) lowering_.set_index(name, value.value);
    ExprRef offset = make_integer(0);
    // Row-major over the tiled rows, the vector row innermost.
    auto add = [&](const Row& row) {
      const ExprRef& own = point.at(row.range.name).offset;
      offset = make_binary(Op::add, make_binary(Op::multiply, offset, make_integer(row.tile)), own);
    };
    for (const Row& row : rows_) {
      if (row.range.name != vector_row_) add(row);
    }
    for (const Row& row : rows_) {
      if (row.range.name == vector_row_) add(row);
    }
    lowering_.set_tile(tile_elements_, in_full_tile_ ? offset : make_integer(0));
  }

  void write_result(const KernelStatement& statement, const ExprRef& value) {
    std::vector<ExprRef> indices;
    for (const KernelIndex& index : statement.indices)
      indices.push_back(make_index(index.range.name));
    if (statement.storage == Storage::local) {
      lowering_.store_local(statement.name, indices, value);
    } else {
      lowering_.store_buffer(*buffers_.find(statement.name), indices, value);
    }
  }

  // ---- Sums in segment form.

  const Buffer& derived(Derivation derivation, const SegmentSum& form) const {
    const Buffer* buffer = find_derived(program_.buffers, derivation, form.input);
    FG_CHECK(buffer != nullptr, "`{}` has no {}", form.input, spelling(derivation));
    return *buffer;
  }

  /// Opens the loop over the places where the input has the index's value, and gives the binders of
  /// the place their values. The points share the index: verified.
  void open_segment(const KernelStatement& statement, const SegmentSum& form, const Point& point) {
    const Buffer& starts = derived(Derivation::starts, form);
    const Buffer& positions = derived(Derivation::positions, form);
    const int64_t places = positions.shape[0].maximum;
    enter(point);
    auto bound = [&](const ExprRef& value) {
      ExprRef start = lowering_.lower(make_read(starts.name, starts.type, {value}));
      builder_.set_range(start, {0, places});
      return start;
    };
    ExprRef index = make_index(form.index);
    ExprRef begin = bound(index);
    ExprRef end = bound(make_binary(Op::add, index, make_integer(1)));
    ExprRef at = builder_.open_for("segment", begin, end, {0, places - 1});
    ExprRef rest = lowering_.lower(make_read(positions.name, positions.type, {at}));
    builder_.set_range(rest, {0, places - 1});
    // The place's digits, the last one first.
    for (size_t b = form.first_binder + form.binders; b-- > form.first_binder;) {
      const IndexRange& binder = statement.binders[b];
      const int64_t extent = binder.end.maximum;
      ExprRef digit = rest;
      if (b > form.first_binder) {
        digit = builder_.bind(make_binary(Op::modulo, rest, make_integer(extent)), binder.name);
        rest = builder_.bind(make_binary(Op::floor_divide, rest, make_integer(extent)), "rest");
      }
      if (digit->op == Op::variable) builder_.set_range(digit, {0, extent - 1});
      lowering_.set_index(binder.name, digit);
    }
  }

  // ---- Reductions.

  /// The running values of one point: the accumulator, and for argmax and argmin the position and
  /// whether any element was seen (position -1).
  struct Accumulator {
    ExprRef value;
    ExprRef position;
  };

  static bool positional(const KernelStatement& statement) {
    return statement.reduction == Reduction::argmax || statement.reduction == Reduction::argmin;
  }

  ExprRef neutral(const KernelStatement& statement) const {
    ScalarType type = statement.value->type.scalar;
    auto number = [&](double real, int64_t integer) {
      return is_real(type) ? make_real(real, type) : make_integer(integer);
    };
    switch (statement.reduction) {
      case Reduction::sum:
        return number(0.0, 0);
      case Reduction::max:
      case Reduction::argmax:
        return number(-HUGE_VAL, INT64_MIN);
      case Reduction::min:
      case Reduction::argmin:
        return number(HUGE_VAL, INT64_MAX);
      case Reduction::any:
        return make_boolean(false);
      case Reduction::all:
        return make_boolean(true);
      case Reduction::none:
        break;
    }
    FG_UNREACHABLE("neutral value of a map");
  }

  void write_reduction(const KernelStatement& statement, const std::vector<Point>& points,
                       const IndexRange* lanes) {
    int width = lowering_.lanes();
    std::vector<Accumulator> accumulators;
    for (size_t p = 0; p < points.size(); ++p) {
      Accumulator accumulator;
      accumulator.value =
          builder_.declare_var("acc", ExpressionLowering::widen(neutral(statement), width));
      if (positional(statement)) {
        accumulator.position =
            builder_.declare_var("best", ExpressionLowering::widen(make_integer(-1), width));
      }
      accumulators.push_back(accumulator);
    }
    segment_ = segment_of(program_.buffers, kernel_, statement);
    write_binders(statement, 0, points, accumulators, lanes);
    for (size_t p = 0; p < points.size(); ++p) {
      enter(points[p]);
      ExprRef value = accumulators[p].value;
      if (lanes != nullptr) value = make_vector_sum(value);
      if (positional(statement)) {
        ExprRef zero = ExpressionLowering::widen(make_integer(0), width);
        value = make_binary(Op::maximum, accumulators[p].position, zero);
      }
      if (lanes != nullptr) {
        // One lane from here on: the sum is a scalar of this row.
        lowering_.set_lanes(1);
        write_result(statement, value);
        lowering_.set_lanes(width);
      } else {
        write_result(statement, value);
      }
    }
  }

  void write_binders(const KernelStatement& statement, size_t at, const std::vector<Point>& points,
                     std::vector<Accumulator>& accumulators, const IndexRange* lanes) {
    if (at == statement.binders.size()) {
      for (size_t p = 0; p < points.size(); ++p) {
        enter(points[p]);
        accumulate(statement, accumulators[p]);
      }
      return;
    }
    if (segment_ && at == segment_->first_binder) {
      open_segment(statement, *segment_, points[0]);
      write_binders(statement, at + segment_->binders, points, accumulators, lanes);
      builder_.close();
      return;
    }
    const IndexRange& binder = statement.binders[at];
    if (&binder != lanes) {
      ExprRef index = builder_.open_for(
          binder.name, make_integer(binder.begin), ExpressionLowering::extent_value(binder.end),
          {binder.begin, std::max(binder.begin, binder.end.maximum - 1)});
      lowering_.set_index(binder.name, index);
      write_binders(statement, at + 1, points, accumulators, lanes);
      builder_.close();
      return;
    }
    int width = lowering_.lanes();
    int64_t maximum = binder.end.maximum;
    auto set_lane_index = [&](const ExprRef& vector) {
      lowering_.set_index(
          binder.name, make_binary(Op::add, make_binary(Op::multiply, vector, make_integer(width)),
                                   make_index(lane_index)));
    };
    ExprRef extent = ExpressionLowering::extent_value(binder.end);
    bool known = !binder.end.depends_on_rows();
    ExprRef full = known ? make_integer(maximum / width)
                         : make_binary(Op::floor_divide, extent, make_integer(width));
    if (!known || maximum >= width) {
      ExprRef vector = builder_.open_for(binder.name + "_vector", make_integer(0), full,
                                         {0, std::max<int64_t>(0, maximum / width - 1)});
      set_lane_index(vector);
      write_binders(statement, at + 1, points, accumulators, lanes);
      builder_.close();
    }
    if (known && maximum % width == 0) return;
    // The last, partial vector: lanes beyond the end leave their partial sum as it is.
    ExprRef all =
        known ? make_integer(tiles(maximum, width))
              : make_binary(Op::floor_divide, make_binary(Op::add, extent, make_integer(width - 1)),
                            make_integer(width));
    ExprRef vector = builder_.open_for(binder.name + "_tail", full, all, {0, maximum / width});
    set_lane_index(vector);
    ExprRef lane = make_binary(
        Op::add,
        ExpressionLowering::widen(
            builder_.bind(make_binary(Op::multiply, vector, make_integer(width)), "at"), width),
        make_iota(width));
    ExprRef inside =
        builder_.bind(make_binary(Op::less, lane, ExpressionLowering::widen(extent, width)), "c");
    lowering_.set_guard(inside);
    lowering_.set_tail(binder.name);
    write_binders(statement, at + 1, points, accumulators, lanes);
    lowering_.set_guard(nullptr);
    lowering_.set_tail(std::nullopt);
    builder_.close();
  }

  void accumulate(const KernelStatement& statement, Accumulator& accumulator) {
    int width = lowering_.lanes();
    ExprRef tail = lowering_.guard();
    ExprRef condition = tail;
    const ExprRef& where = segment_ ? segment_->condition : statement.condition;
    if (where != nullptr) {
      ExprRef holds = lowering_.lower_wide(where);
      condition =
          tail == nullptr ? holds : builder_.bind(make_binary(Op::logical_and, tail, holds), "c");
    }
    lowering_.set_guard(condition);
    ExprRef next;
    ExprRef next_position;
    bool is_product = statement.reduction == Reduction::sum &&
                      statement.value->op == Op::multiply && is_real(statement.value->type.scalar);
    if (is_product) {
      // A sum of products is a chain of fused multiply-adds in index order: part of the kernel's
      // meaning.
      ExprRef a = lowering_.lower_wide(statement.value->operands[0]);
      ExprRef b = lowering_.lower_wide(statement.value->operands[1]);
      next = make_fma(a, b, accumulator.value);
    } else {
      ExprRef value = lowering_.lower_wide(statement.value);
      switch (statement.reduction) {
        case Reduction::sum:
          next = make_binary(Op::add, accumulator.value, value);
          break;
        case Reduction::max:
          next = make_binary(Op::maximum, accumulator.value, value);
          break;
        case Reduction::min:
          next = make_binary(Op::minimum, accumulator.value, value);
          break;
        case Reduction::any:
          next = make_binary(Op::logical_or, accumulator.value, value);
          break;
        case Reduction::all:
          next = make_binary(Op::logical_and, accumulator.value, value);
          break;
        case Reduction::argmax:
        case Reduction::argmin: {
          Op beats = statement.reduction == Reduction::argmax ? Op::greater : Op::less;
          ExprRef none = make_binary(Op::less, accumulator.position,
                                     ExpressionLowering::widen(make_integer(0), width));
          ExprRef better =
              make_binary(Op::logical_or, none, make_binary(beats, value, accumulator.value));
          if (is_real(value->type.scalar)) {
            // The first NaN beats every number and is never beaten.
            ExprRef new_nan = make_binary(Op::not_equal, value, value);
            ExprRef old_number = make_binary(Op::equal, accumulator.value, accumulator.value);
            better = make_binary(Op::logical_or, better,
                                 make_binary(Op::logical_and, new_nan, old_number));
          }
          if (condition != nullptr) better = make_binary(Op::logical_and, better, condition);
          better = builder_.bind(better, "c");
          ExprRef position = make_integer(0);
          for (const IndexRange& binder : statement.binders) {
            ExprRef step =
                make_binary(Op::subtract, make_index(binder.name), make_integer(binder.begin));
            ExprRef points = make_binary(Op::subtract, ExpressionLowering::extent_value(binder.end),
                                         make_integer(binder.begin));
            position = make_binary(Op::add, make_binary(Op::multiply, position, points), step);
          }
          next_position = make_select(better, lowering_.lower_wide(position), accumulator.position);
          next = make_select(better, value, accumulator.value);
          break;
        }
        case Reduction::none:
          FG_UNREACHABLE("accumulating a map");
      }
    }
    if (condition != nullptr && next_position == nullptr) {
      next = make_select(condition, next, accumulator.value);
    }
    builder_.assign(accumulator.value, next);
    if (next_position != nullptr) builder_.assign(accumulator.position, next_position);
    lowering_.set_guard(tail);
  }

  const KernelProgram& program_;
  const BufferIndex& buffers_;
  const Kernel& kernel_;
  LoopFunction function_;
  LoopBuilder builder_;
  ExpressionLowering lowering_;
  std::vector<Row> rows_;
  std::optional<SegmentSum> segment_;  ///< of the reduction that is written
  std::string vector_row_;
  int width_ = 1;
  int64_t tile_elements_ = 1;
  bool in_full_tile_ = true;
  Point remainder_;
};

}  // namespace

LoopProgram lower_to_loops(const KernelProgram& program) {
  LoopProgram result;
  result.name = program.name;
  result.batch = program.batch;
  result.real = program.real;
  result.buffers = program.buffers;
  result.arena_bytes = program.arena_bytes;
  result.results = program.results;
  const BufferIndex buffers(program.buffers);
  for (const Launch& launch : program.launches) {
    LoopLaunch functions;
    for (const Kernel& kernel : launch.kernels) {
      result.functions.push_back(KernelLowering(program, buffers, kernel).run());
      functions.functions.push_back(kernel.name);
    }
    result.launches.push_back(std::move(functions));
  }
  return result;
}

}  // namespace fusegrad::ir
