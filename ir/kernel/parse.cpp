// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parsing K.
#include "ir/kernel/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "ir/kernel/buffer_text.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

class KernelParser {
 public:
  explicit KernelParser(TextReader& reader) : reader_(reader) {}

  std::optional<KernelProgram> parse_program() {
    std::optional<ProgramHead> head = parse_program_head(reader_);
    if (!head) return std::nullopt;
    program_.name = head->name;
    program_.batch = head->batch;
    program_.real = head->real;
    while (!reader_.failed() && !reader_.accept("}")) parse_line();
    if (reader_.failed()) return std::nullopt;
    return std::move(program_);
  }

 private:
  void parse_line() {
    if (at_buffer(reader_)) {
      Span span = reader_.peek(1).span;
      std::optional<Buffer> buffer = parse_buffer(reader_, program_.batch);
      if (!buffer) return;
      if (program_.find_buffer(buffer->name) != nullptr) {
        return reader_.error(span, fmt::format("buffer `{}` is defined twice", buffer->name));
      }
      program_.buffers.push_back(std::move(*buffer));
      return;
    }
    if (reader_.at("result")) {
      if (std::optional<KernelResult> result = parse_kernel_result(reader_))
        program_.results.push_back(std::move(*result));
      return;
    }
    if (reader_.accept("arena")) {
      Span span = reader_.peek().span;
      std::optional<int64_t> bytes = reader_.take_integer("the arena's bytes");
      if (bytes && *bytes < 0) return reader_.error(span, "the arena's size is not negative");
      if (bytes) program_.arena_bytes = *bytes;
      return;
    }
    if (reader_.accept("launch")) return parse_launch();
    reader_.error_expected("a buffer, arena, launch, result or `}`");
  }

  void parse_launch() {
    if (!reader_.expect("{")) return;
    Launch launch;
    while (!reader_.failed() && !reader_.accept("}")) {
      if (!reader_.expect("kernel")) return;
      if (!parse_kernel(launch)) return;
    }
    program_.launches.push_back(std::move(launch));
  }

  bool parse_kernel(Launch& launch) {
    kernel_ = Kernel{};
    locals_.clear();
    kernel_.name = reader_.take_name("the name of a kernel");
    if (!reader_.expect("rows") || !reader_.expect("(")) return false;
    if (!reader_.accept(")")) {
      do {
        std::optional<IndexRange> range = parse_range(reader_, program_.batch);
        if (!range) return false;
        kernel_.rows.push_back(std::move(*range));
      } while (reader_.accept(","));
      if (!reader_.expect(")")) return false;
    }
    if (reader_.accept("schedule") && !parse_schedule()) return false;
    if (!reader_.expect("{")) return false;
    while (!reader_.failed() && !reader_.accept("}")) {
      if (!parse_statement()) return false;
    }
    launch.kernels.push_back(std::move(kernel_));
    return !reader_.failed();
  }

  bool parse_schedule() {
    if (!reader_.expect("(")) return false;
    do {
      using Kind = ScheduleAttribute::Kind;
      ScheduleAttribute attribute;
      bool found = false;
      for (Kind kind : {Kind::tile, Kind::vector, Kind::lanes, Kind::unroll, Kind::segment}) {
        if (!found && reader_.accept(spelling(kind))) {
          attribute.kind = kind;
          found = true;
        }
      }
      if (!found) {
        reader_.error_expected("tile, vector, lanes, unroll or segment");
        return false;
      }
      if (attribute.kind == Kind::segment) {
        attribute.input = reader_.take_name("the name of an input");
        if (!reader_.expect("by")) return false;
        attribute.index = reader_.take_name("the name of an index");
        if (reader_.failed()) return false;
        kernel_.schedule.push_back(std::move(attribute));
        continue;
      }
      attribute.index = reader_.take_name("the name of an index");
      Span span = reader_.peek().span;
      std::optional<int64_t> amount = reader_.take_integer("a number");
      if (!amount) return false;
      if (*amount < 1) {
        reader_.error(span, "the number of a schedule attribute is at least 1");
        return false;
      }
      attribute.amount = *amount;
      kernel_.schedule.push_back(std::move(attribute));
    } while (reader_.accept(","));
    return reader_.expect(")");
  }

  bool parse_statement() {
    KernelStatement statement;
    Span begin = reader_.peek().span;
    bool found = false;
    for (Storage storage : {Storage::local, Storage::out, Storage::inplace}) {
      if (!found && reader_.accept(spelling(storage))) {
        statement.storage = storage;
        found = true;
      }
    }
    if (!found) {
      reader_.error_expected("local, out, inplace or `}`");
      return false;
    }
    Span name_span = reader_.peek().span;
    statement.name = reader_.take_name("the name of a local or buffer");
    statement.origin = join(begin, name_span);
    std::vector<std::string> scope;
    for (const IndexRange& row : kernel_.rows) scope.push_back(row.name);
    if (reader_.accept("[")) {
      do {
        KernelIndex index;
        if (reader_.at_name() && !reader_.at("in", 1)) {
          index.is_row = true;
          index.range.name = reader_.take_name("a row index");
        } else {
          std::optional<IndexRange> range = parse_range(reader_, program_.batch);
          if (!range) return false;
          index.range = std::move(*range);
          scope.push_back(index.range.name);
        }
        statement.indices.push_back(std::move(index));
      } while (reader_.accept(","));
      if (!reader_.expect("]")) return false;
    }
    if (!reader_.expect(":")) return false;
    std::optional<ScalarType> type = reader_.take_scalar_type();
    if (!type || !reader_.expect("=")) return false;
    statement.type = *type;
    NameResolver resolve = [this](std::string_view name, bool) {
      if (auto local = locals_.find(name); local != locals_.end()) return local->second;
      if (const Buffer* buffer = program_.find_buffer(name)) {
        return NameMeaning::tensor(buffer->type, static_cast<int>(buffer->shape.size()));
      }
      return is_uniform_name(name) ? NameMeaning::uniform() : NameMeaning();
    };
    std::optional<RightSide> right_side = parse_right_side(reader_, program_.batch, scope, resolve,
                                                           {program_.real, ExprLevel::tensor});
    if (!right_side) return false;
    statement.reduction = right_side->reduction;
    statement.binders = std::move(right_side->binders);
    statement.condition = std::move(right_side->condition);
    statement.value = std::move(right_side->value);
    if (statement.storage == Storage::local) {
      NameMeaning meaning =
          NameMeaning::tensor(statement.type, static_cast<int>(statement.indices.size()));
      if (!locals_.emplace(statement.name, meaning).second) {
        reader_.error(name_span, fmt::format("local `{}` is defined twice", statement.name));
        return false;
      }
    }
    kernel_.statements.push_back(std::move(statement));
    return true;
  }

  TextReader& reader_;
  KernelProgram program_;
  Kernel kernel_;
  std::map<std::string, NameMeaning, std::less<>> locals_;
};

}  // namespace

std::optional<KernelModule> parse_kernel_module(const SourceManager& sources, uint32_t file,
                                                Diagnostics& diagnostics) {
  TextReader reader(sources, file, diagnostics);
  KernelModule module;
  parse_stage_line(reader, {"kernels"});
  while (!reader.failed() && !reader.at_end()) {
    Span span = reader.peek(1).span;
    std::optional<KernelProgram> program = KernelParser(reader).parse_program();
    if (!program) return std::nullopt;
    if (module.find(program->name) != nullptr) {
      reader.error(span, fmt::format("program `{}` is defined twice", program->name));
    }
    module.programs.push_back(std::move(*program));
  }
  if (reader.failed()) return std::nullopt;
  return module;
}

}  // namespace fusegrad::ir
