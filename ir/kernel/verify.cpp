// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The verifier of K. Who writes what in which launch is worked out first; everything is then
// checked against it.
#include "ir/kernel/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "ir/kernel/buffer_text.h"
#include "ir/kernel/memory_check.h"
#include "ir/kernel/print.h"
#include "ir/kernel/segment.h"
#include "ir/support/check.h"
#include "ir/tensor/statement_rules.h"

namespace fusegrad::ir {
namespace {

void visit_reads(const KernelStatement& statement, const std::function<void(const Expr&)>& visit) {
  for (const ExprRef& e : {statement.value, statement.condition}) {
    if (e == nullptr) continue;
    walk(e, [&](const Expr& node) {
      if (node.op == Op::read) visit(node);
    });
  }
}

/// The statement that stores a buffer.
struct Writer {
  size_t launch = 0;
  const Kernel* kernel = nullptr;
  const KernelStatement* statement = nullptr;
};

class KernelVerifier {
 public:
  explicit KernelVerifier(const KernelProgram& program) : program_(program) {
    context_.batch = program.batch;
    context_.find = [this](std::string_view name) -> const ReadableTensor* {
      if (auto local = locals_.find(name); local != locals_.end()) return &local->second;
      auto buffer = buffers_.find(name);
      return buffer == buffers_.end() ? nullptr : &buffer->second;
    };
  }

  std::vector<std::string> run() {
    if (program_.batch < 1) add("the batch of `{}` has {} rows", program_.name, program_.batch);
    if (!is_real(program_.real)) add("the reals are {}", spelling(program_.real));
    for (const Buffer& buffer : program_.buffers) check(buffer);
    find_writers();
    for (launch_ = 0; launch_ < program_.launches.size(); ++launch_) {
      for (const Kernel& kernel : program_.launches[launch_].kernels) check(kernel);
    }
    for (const KernelResult& result : program_.results) check(result);
    for (std::string& violation :
         check_arena(program_.buffers, program_.arena_bytes, touched_buffers(program_))) {
      violations_.push_back(std::move(violation));
    }
    return std::move(violations_);
  }

 private:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    violations_.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  void add_all(const std::vector<std::string>& mistakes, const std::string& place) {
    for (const std::string& mistake : mistakes) add("{}: in `{}`", mistake, place);
  }

  // ---- Buffers.

  void check(const Buffer& buffer) {
    std::vector<std::string> mistakes;
    check_name(buffer.name, mistakes);
    check_shape(buffer.shape, program_.batch, buffer.name, mistakes);
    const bool input = buffer.kind == BufferKind::input;
    const bool persistent =
        buffer.kind == BufferKind::parameter || buffer.kind == BufferKind::state;
    if (input && buffer.shape.empty()) mistakes.push_back("an input of rank 0");
    for (size_t d = 0; d < buffer.shape.size(); ++d) {
      if (input && buffer.shape[d].per_row != (d == 0 ? 1 : 0)) {
        mistakes.push_back("of an input the first size is `rows`, and no other depends on rows");
      }
      if (persistent && buffer.shape[d].depends_on_rows()) {
        mistakes.push_back("a parameter or state depends on rows");
      }
    }
    if (buffer.range) {
      const ValueRange limits = range_of_type(buffer.type);
      if (!input || !is_integer(buffer.type) || buffer.range->begin >= buffer.range->end ||
          buffer.range->begin < limits.min || buffer.range->end - 1 > limits.max) {
        mistakes.push_back("a range that is empty, leaves the type, or is of no integer input");
      }
    }
    if (buffer.packed_dimension != -1) {
      if (input || buffer.kind == BufferKind::result) {
        mistakes.push_back("inputs and results are not packed");
      }
      if (buffer.packed_dimension < 0 ||
          buffer.packed_dimension >= static_cast<int>(buffer.shape.size()) ||
          buffer.packed_block < 1 || buffer.packed_block > (INT64_C(1) << 20)) {
        mistakes.push_back("packed by a dimension or block that does not exist");
      }
    }
    const std::vector<std::string> derivation = derivation_mistakes(program_.buffers, buffer);
    mistakes.insert(mistakes.end(), derivation.begin(), derivation.end());
    ValueRange values = values_of_declared(buffer.type, buffer.range);
    if (buffer.kind == BufferKind::derived && derivation.empty()) {
      const IntegerRange derived = values_of_derived(program_.buffers, buffer);
      values = {derived.begin, derived.end - 1};
    }
    if (!buffers_.emplace(buffer.name, ReadableTensor{buffer.type, buffer.shape, values}).second) {
      mistakes.push_back("a buffer of that name exists");
    }
    if (mistakes.empty() && !bytes_of(buffer)) {
      mistakes.push_back("the number of bytes does not fit 63 bits");
    }
    add_all(mistakes, print_buffer(buffer));
  }

  void find_writers() {
    for (size_t launch = 0; launch < program_.launches.size(); ++launch) {
      for (const Kernel& kernel : program_.launches[launch].kernels) {
        for (const KernelStatement& statement : kernel.statements) {
          if (statement.storage == Storage::local) continue;
          if (!writers_.emplace(statement.name, Writer{launch, &kernel, &statement}).second) {
            add("`{}` is stored by two statements, the second in kernel {}", statement.name,
                kernel.name);
          }
        }
      }
    }
    for (const Buffer& buffer : program_.buffers) {
      const bool made_here =
          buffer.kind == BufferKind::result || buffer.kind == BufferKind::temporary;
      if (made_here && !writers_.contains(buffer.name)) add("nothing stores `{}`", buffer.name);
    }
  }

  // ---- Kernels.

  void check(const Kernel& kernel) {
    const size_t before = violations_.size();
    locals_.clear();
    std::vector<std::string> mistakes;
    check_name(kernel.name, mistakes);
    if (!kernel_names_.insert(kernel.name).second) {
      mistakes.push_back("a kernel of that name exists");
    }
    check_ranges(kernel.rows, true, program_.batch, mistakes);
    check_index_names(kernel, mistakes);
    for (const IndexRange& row : kernel.rows) {
      if (row.end.maximum < 1) mistakes.push_back("a row range is empty");
    }
    add_all(mistakes, fmt::format("kernel {}", kernel.name));
    bool stores = false;
    for (size_t i = 0; i < kernel.statements.size(); ++i) {
      check(kernel, i);
      stores = stores || kernel.statements[i].storage != Storage::local;
    }
    if (!stores) add("kernel {} stores nothing", kernel.name);
    check_schedule(kernel);
    for (size_t i = before; i < violations_.size(); ++i) {
      if (violations_[i].find(kernel.name) == std::string::npos) {
        violations_[i] += fmt::format(" of kernel {}", kernel.name);
      }
    }
  }

  /// Schedules name indices, so one name stands for one index.
  static void check_index_names(const Kernel& kernel, std::vector<std::string>& mistakes) {
    std::set<std::string> names;
    auto use = [&](const std::string& name) {
      if (!names.insert(name).second) {
        mistakes.push_back(fmt::format("two indices are called `{}`", name));
      }
    };
    for (const IndexRange& row : kernel.rows) use(row.name);
    for (const KernelStatement& statement : kernel.statements) {
      for (const IndexRange& own : statement.own_indices()) use(own.name);
      for (const IndexRange& binder : statement.binders) use(binder.name);
    }
  }

  void check(const Kernel& kernel, size_t position) {
    const KernelStatement& statement = kernel.statements[position];
    std::vector<std::string> mistakes;
    const std::vector<IndexRange> own = statement.own_indices();
    check_ranges(own, true, program_.batch, mistakes);
    Shape shape;
    for (const IndexRange& index : own) shape.push_back(index.end);
    check_shape(shape, program_.batch, statement.name, mistakes);
    if (statement.storage == Storage::local) {
      check_name(statement.name, mistakes);
      if (own.size() != statement.indices.size()) {
        mistakes.push_back("a local has a row index on its left side");
      }
      if (locals_.contains(statement.name)) mistakes.push_back("the local is defined twice");
      if (buffers_.contains(statement.name)) mistakes.push_back("the local has a buffer's name");
    } else {
      check_left_side(kernel, statement, mistakes);
    }
    if (statement.value != nullptr) check_reads(kernel, position, mistakes);

    std::vector<IndexRange> scope = kernel.rows;
    scope.insert(scope.end(), own.begin(), own.end());
    const RightSide right_side = {statement.reduction, statement.binders, statement.condition,
                                  statement.value};
    const size_t left_mistakes = mistakes.size();
    if (left_mistakes == 0) {
      check_right_side(right_side, statement.type, scope, context_, mistakes);
    }
    const bool good = mistakes.empty();
    const ValueRange values = good
                                  ? values_of_statement(right_side, statement.type, scope, context_)
                                  : range_of_type(statement.type);
    if (statement.storage == Storage::local) {
      locals_.emplace(statement.name, ReadableTensor{statement.type, shape, values});
    } else if (statement.storage == Storage::out) {
      if (auto buffer = buffers_.find(statement.name); buffer != buffers_.end()) {
        buffer->second.values = values;
      }
    }
    add_all(mistakes,
            statement.value == nullptr ? statement.name : print(statement, program_.real));
  }

  void check_left_side(const Kernel& kernel, const KernelStatement& statement,
                       std::vector<std::string>& mistakes) {
    const Buffer* buffer = program_.find_buffer(statement.name);
    if (buffer == nullptr) {
      mistakes.push_back(fmt::format("there is no buffer `{}`", statement.name));
      return;
    }
    const bool persistent =
        buffer->kind == BufferKind::parameter || buffer->kind == BufferKind::state;
    if (statement.storage == Storage::inplace ? !persistent
                                              : persistent || buffer->kind == BufferKind::input ||
                                                    buffer->kind == BufferKind::derived) {
      mistakes.push_back(
          fmt::format("`{}` stores to {}", spelling(statement.storage), spelling(buffer->kind)));
    }
    if (buffer->type != statement.type) {
      mistakes.push_back(fmt::format("the buffer has elements of {}", spelling(buffer->type)));
    }
    if (buffer->shape.size() != statement.indices.size()) {
      mistakes.push_back(fmt::format("the buffer has rank {}", buffer->shape.size()));
      return;
    }
    std::set<std::string> rows;
    for (size_t d = 0; d < statement.indices.size(); ++d) {
      const KernelIndex& index = statement.indices[d];
      Extent extent = index.range.end;
      if (index.is_row) {
        auto row = std::find_if(kernel.rows.begin(), kernel.rows.end(),
                                [&](const IndexRange& r) { return r.name == index.range.name; });
        if (row == kernel.rows.end()) {
          mistakes.push_back(fmt::format("there is no row index `{}`", index.range.name));
          continue;
        }
        extent = row->end;
        if (!rows.insert(index.range.name).second) {
          mistakes.push_back(fmt::format("the row `{}` stands twice on the left", row->name));
        }
      }
      if (!(extent == buffer->shape[d])) {
        mistakes.push_back(fmt::format("`{}` runs to {}, but dimension {} has {} elements",
                                       index.range.name, spelling(extent), d,
                                       spelling(buffer->shape[d])));
      }
    }
    for (const IndexRange& row : kernel.rows) {
      if (!rows.contains(row.name)) {
        mistakes.push_back(
            fmt::format("every value of the row `{}` stores the same elements", row.name));
      }
    }
  }

  /// Rules 6 and 7: when a read sees which value.
  void check_reads(const Kernel& kernel, size_t position, std::vector<std::string>& mistakes) {
    std::set<std::string> said;
    auto say = [&](std::string mistake) {
      if (said.insert(mistake).second) mistakes.push_back(std::move(mistake));
    };
    visit_reads(kernel.statements[position], [&](const Expr& read) {
      if (locals_.contains(read.name)) return;
      auto writer = writers_.find(read.name);
      if (writer == writers_.end()) return;
      const Writer& w = writer->second;
      if (w.statement->storage == Storage::out) {
        if (w.launch >= launch_) {
          say(fmt::format("`{}` is not finished before this launch", read.name));
        }
        return;
      }
      if (launch_ < w.launch) return;
      if (launch_ > w.launch) {
        say(fmt::format("the old value of `{}` is gone", read.name));
      } else if (w.kernel != &kernel) {
        say(fmt::format("`{}` is overwritten in this launch by kernel {}", read.name,
                        w.kernel->name));
      } else {
        check_own_read(kernel, position, *w.statement, read, say);
      }
    });
  }

  static void check_own_read(const Kernel& kernel, size_t position, const KernelStatement& writer,
                             const Expr& read, const std::function<void(std::string)>& say) {
    const KernelStatement& reader = kernel.statements[position];
    const bool itself = &reader == &writer;
    if (&reader > &writer) return say(fmt::format("the old value of `{}` is gone", read.name));
    if (itself && reader.reduction != Reduction::none) {
      return say("an in-place reduction reads what it overwrites");
    }
    for (size_t d = 0; d < writer.indices.size() && d < read.index_count(); ++d) {
      const KernelIndex& index = writer.indices[d];
      if (!itself && !index.is_row) continue;
      if (!is_index(read.operands[d]) || read.operands[d]->name != index.range.name) {
        return say(fmt::format("`{}` is read at another element than the one that is overwritten",
                               read.name));
      }
    }
  }

  void check_schedule(const Kernel& kernel) {
    std::set<std::string> rows, own, sums;
    for (const IndexRange& row : kernel.rows) rows.insert(row.name);
    for (const KernelStatement& statement : kernel.statements) {
      for (const IndexRange& index : statement.own_indices()) own.insert(index.name);
      for (const IndexRange& binder : statement.binders) {
        if (statement.reduction == Reduction::sum) sums.insert(binder.name);
      }
    }
    std::set<std::tuple<ScheduleAttribute::Kind, std::string, std::string>> seen;
    for (const ScheduleAttribute& attribute : kernel.schedule) {
      const std::string text = attribute_text(attribute);
      bool fits = false;
      switch (attribute.kind) {
        case ScheduleAttribute::Kind::tile:
        case ScheduleAttribute::Kind::vector:
          fits = rows.contains(attribute.index);
          break;
        case ScheduleAttribute::Kind::unroll:
          fits = rows.contains(attribute.index) || own.contains(attribute.index);
          break;
        case ScheduleAttribute::Kind::lanes:
          fits = sums.contains(attribute.index);
          break;
        case ScheduleAttribute::Kind::segment:
          fits = rows.contains(attribute.index) || own.contains(attribute.index);
          if (fits) check_segment(kernel, attribute);
          break;
      }
      if (!fits) add("there is no index for `{}` in kernel {}", text, kernel.name);
      if (attribute.amount < 1) add("`{}` of kernel {} is below 1", text, kernel.name);
      if (!seen.insert({attribute.kind, attribute.index, attribute.input}).second) {
        add("`{}` stands twice in kernel {}", text, kernel.name);
      }
      if (fits) check_width(kernel, attribute, text);
    }
    check_lanes(kernel);
    check_tile_size(kernel);
  }

  void check_width(const Kernel& kernel, const ScheduleAttribute& attribute,
                   const std::string& text) {
    using Kind = ScheduleAttribute::Kind;
    if (attribute.kind != Kind::vector && attribute.kind != Kind::lanes) return;
    constexpr int64_t widest = 64;
    const bool is_width = attribute.amount >= 2 && attribute.amount <= widest &&
                          std::has_single_bit(static_cast<uint64_t>(attribute.amount));
    if (!is_width) add("`{}` of kernel {} is not 2, 4, 8, ... {}", text, kernel.name, widest);
    if (attribute.kind == Kind::lanes) return;
    const int64_t tile = kernel.attribute(Kind::tile, attribute.index).value_or(1);
    if (is_width && tile % attribute.amount != 0) {
      add("`{}` of kernel {} does not divide the tile of `{}`, which is {}", text, kernel.name,
          attribute.index, tile);
    }
    const auto first =
        std::find_if(kernel.schedule.begin(), kernel.schedule.end(),
                     [](const ScheduleAttribute& other) { return other.kind == Kind::vector; });
    if (&*first != &attribute) add("`{}` is a second vector of kernel {}", text, kernel.name);
  }

  void check_lanes(const Kernel& kernel) {
    for (const KernelStatement& statement : kernel.statements) {
      int count = 0;
      for (const IndexRange& binder : statement.binders) {
        if (!kernel.attribute(ScheduleAttribute::Kind::lanes, binder.name)) continue;
        ++count;
        if (binder.begin != 0) {
          add("`{}` of kernel {} has lanes but does not begin at 0", binder.name, kernel.name);
        }
      }
      if (count > 1) {
        add("`{}` of kernel {} has several binders with lanes", statement.name, kernel.name);
      }
    }
  }

  /// What a tile needs side by side, in code and in memory.
  void check_tile_size(const Kernel& kernel) {
    using Kind = ScheduleAttribute::Kind;
    constexpr int64_t endless = INT64_MAX;
    int64_t tile = 1;
    for (const IndexRange& row : kernel.rows) {
      const int64_t amount =
          std::max<int64_t>(kernel.attribute(Kind::tile, row.name).value_or(1), 1);
      tile = checked_multiply(tile, amount).value_or(endless);
    }
    int64_t bytes = 0;
    for (const KernelStatement& statement : kernel.statements) {
      int64_t unrolled = tile;
      int64_t elements = tile;
      for (const IndexRange& own : statement.own_indices()) {
        const int64_t amount =
            std::max<int64_t>(kernel.attribute(Kind::unroll, own.name).value_or(1), 1);
        unrolled = checked_multiply(unrolled, amount).value_or(endless);
        elements =
            checked_multiply(elements, std::max<int64_t>(own.end.maximum, 1)).value_or(endless);
      }
      if (unrolled > maximum_unrolled) {
        add("tiles and unrolling write {} elements of `{}` of kernel {} side by side, more than {}",
            unrolled, statement.name, kernel.name, maximum_unrolled);
      }
      if (statement.storage != Storage::local) continue;
      const int64_t size = checked_multiply(elements, byte_size(statement.type)).value_or(endless);
      bytes = checked_add(bytes, size).value_or(endless);
    }
    if (bytes > maximum_local_bytes) {
      add("the locals of a tile of kernel {} take {} bytes, more than {}", kernel.name, bytes,
          maximum_local_bytes);
    }
  }

  /// Some sum has the form, its buffers exist, its terms stay in their order, and the index has one
  /// value at a time.
  void check_segment(const Kernel& kernel, const ScheduleAttribute& attribute) {
    using Kind = ScheduleAttribute::Kind;
    const std::string text = attribute_text(attribute);
    for (Derivation derivation : {Derivation::starts, Derivation::positions}) {
      const Buffer* buffer = find_derived(program_.buffers, derivation, attribute.input);
      if (buffer == nullptr) {
        add("`{}` of kernel {} needs {} of `{}`", text, kernel.name, spelling(derivation),
            attribute.input);
      } else if (derivation == Derivation::starts && buffer->shape.size() == 1 &&
                 largest_value(kernel, attribute.index) >= buffer->shape[0].maximum - 1) {
        add("`{}` of kernel {}: `{}` ends before `{}` does", text, kernel.name, buffer->name,
            attribute.index);
      }
    }
    for (Kind kind : {Kind::tile, Kind::vector, Kind::unroll}) {
      if (kernel.attribute(kind, attribute.index).value_or(1) != 1) {
        add("`{}` of kernel {}: `{}` takes several values at once", text, kernel.name,
            attribute.index);
      }
    }
    bool used = false;
    for (const KernelStatement& statement : kernel.statements) {
      if (statement.value == nullptr) continue;
      const std::optional<SegmentSum> form = segment_of(program_.buffers, kernel, statement);
      if (!form || form->input != attribute.input || form->index != attribute.index) continue;
      used = true;
      for (const IndexRange& binder : statement.binders) {
        if (!kernel.attribute(Kind::lanes, binder.name)) continue;
        add("`{}` of kernel {}: `{}` has lanes", text, kernel.name, binder.name);
      }
    }
    if (!used) add("no sum has the form of `{}` in kernel {}", text, kernel.name);
  }

  static int64_t largest_value(const Kernel& kernel, const std::string& index) {
    int64_t largest = 0;
    auto look = [&](const IndexRange& range) {
      if (range.name == index) largest = range.end.maximum - 1;
    };
    for (const IndexRange& row : kernel.rows) look(row);
    for (const KernelStatement& statement : kernel.statements) {
      for (const IndexRange& own : statement.own_indices()) look(own);
    }
    return largest;
  }

  // ---- Results and memory.

  void check(const KernelResult& result) {
    std::vector<std::string> mistakes;
    const Buffer* buffer = program_.find_buffer(result.buffer);
    const bool scalar =
        result.kind == TensorResultKind::loss || result.kind == TensorResultKind::metric;
    if (buffer == nullptr || buffer->kind != BufferKind::result) {
      mistakes.push_back(fmt::format("there is no result buffer `{}`", result.buffer));
    } else if (scalar && (!buffer->shape.empty() || !is_real(buffer->type))) {
      mistakes.push_back(fmt::format("`{}` is not a single real", result.buffer));
    }
    if (!labels_.insert({result.kind, result.label}).second) {
      mistakes.push_back("there are two results of that name");
    }
    add_all(mistakes, print_result(result));
  }

  const KernelProgram& program_;
  StatementContext context_;
  size_t launch_ = 0;
  std::map<std::string, ReadableTensor, std::less<>> buffers_;
  std::map<std::string, ReadableTensor, std::less<>> locals_;  ///< of the kernel under check
  std::map<std::string, Writer, std::less<>> writers_;
  std::set<std::string> kernel_names_;
  std::set<std::pair<TensorResultKind, std::string>> labels_;
  std::vector<std::string> violations_;
};

bool is_printable(const KernelProgram& program) {
  for (const Launch& launch : program.launches) {
    for (const Kernel& kernel : launch.kernels) {
      for (const KernelStatement& statement : kernel.statements) {
        if (statement.value == nullptr) return false;
      }
    }
  }
  return true;
}

}  // namespace

std::vector<std::string> verify(const KernelProgram& program) {
  return KernelVerifier(program).run();
}

std::vector<std::string> verify(const KernelModule& module) {
  std::vector<std::string> violations;
  std::set<std::string> names;
  SharedMemoryCheck shared;
  for (const KernelProgram& program : module.programs) {
    std::vector<std::string> name_mistakes;
    check_name(program.name, name_mistakes);
    if (!name_mistakes.empty() || !names.insert(program.name).second) {
      violations.push_back(
          fmt::format("the program name `{}` is taken or not valid", program.name));
    }
    for (const std::string& violation : verify(program)) {
      violations.push_back(fmt::format("program {}: {}", program.name, violation));
    }
    shared.add(program.name, program.buffers, violations);
  }
  return violations;
}

void check_verified(const KernelProgram& program, std::string_view after) {
  const std::vector<std::string> violations = verify(program);
  FG_CHECK(violations.empty(), "program {} after {}:\n  {}\n{}", program.name, after,
           fmt::join(violations, "\n  "), is_printable(program) ? print(program) : "");
}

void check_verified(const KernelModule& module, std::string_view after) {
  for (const KernelProgram& program : module.programs) check_verified(program, after);
  const std::vector<std::string> violations = verify(module);
  FG_CHECK(violations.empty(), "after {}:\n  {}", after, fmt::join(violations, "\n  "));
}

}  // namespace fusegrad::ir
