// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K's evaluator.
#include "ir/kernel/evaluate.h"

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

#include "ir/kernel/segment.h"
#include "ir/support/check.h"
#include "ir/tensor/statement_evaluate.h"

namespace fusegrad::ir {
namespace {

/// Memory that nothing was stored to: reals are NaN, so that reading it shows.
TensorValue unwritten(ScalarType type, std::vector<int64_t> sizes) {
  TensorValue value(type, std::move(sizes));
  for (double& element : value.reals) element = std::numeric_limits<double>::quiet_NaN();
  return value;
}

/// One statement of a kernel. The array of indices holds the rows first, then the own indices.
struct StatementRun {
  StatementCode code;
  std::vector<IndexLoop> own;
  TensorValue* target = nullptr;
  std::vector<int> position_slots;  ///< for each dimension of the target
};

class KernelRun {
 public:
  KernelRun(const Kernel& kernel, TensorValues& buffers, const Uniforms& uniforms,
            Precision precision) {
    const auto find = [&](std::string_view name) -> const TensorValue* {
      if (auto local = locals_.find(name); local != locals_.end()) return &local->second;
      auto buffer = buffers.find(name);
      return buffer == buffers.end() ? nullptr : &buffer->second;
    };
    std::vector<std::string> row_names;
    for (const IndexRange& row : kernel.rows) {
      rows_.push_back({static_cast<int>(row_names.size()), 0, row.end.at(uniforms.rows)});
      row_names.push_back(row.name);
    }
    size_t slots = rows_.size();
    for (const KernelStatement& statement : kernel.statements) {
      std::vector<std::string> names = row_names;
      std::vector<IndexLoop> own;
      std::vector<int> position_slots;
      std::vector<int64_t> own_sizes;
      for (const KernelIndex& index : statement.indices) {
        if (index.is_row) {
          auto row = std::find(row_names.begin(), row_names.end(), index.range.name);
          FG_CHECK(row != row_names.end(), "there is no row `{}`", index.range.name);
          position_slots.push_back(static_cast<int>(row - row_names.begin()));
          continue;
        }
        position_slots.push_back(static_cast<int>(names.size()));
        own_sizes.push_back(index.range.end.at(uniforms.rows));
        own.push_back({static_cast<int>(names.size()), 0, own_sizes.back()});
        names.push_back(index.range.name);
      }
      StatementCode code(
          {statement.reduction, statement.binders, statement.condition, statement.value},
          statement.type, names, find, uniforms, precision);
      slots = std::max(slots, code.slots());
      TensorValue* target = nullptr;
      if (statement.storage == Storage::local) {
        target =
            &locals_.emplace(statement.name, unwritten(statement.type, own_sizes)).first->second;
      } else {
        auto buffer = buffers.find(statement.name);
        FG_CHECK(buffer != buffers.end(), "there is no buffer `{}`", statement.name);
        target = &buffer->second;
      }
      statements_.push_back({std::move(code), std::move(own), target, std::move(position_slots)});
    }
    indices_.resize(slots + 1);
  }

  void run(std::optional<uint32_t> shuffle) {
    if (!shuffle) {
      for_each_point(rows_, indices_.data(), [this] { run_row(); });
      return;
    }
    std::vector<std::vector<int64_t>> points;
    for_each_point(rows_, indices_.data(), [&] {
      points.emplace_back(indices_.begin(),
                          indices_.begin() + static_cast<std::ptrdiff_t>(rows_.size()));
    });
    // Fisher-Yates, written out: std::shuffle differs between libraries.
    std::mt19937 random(*shuffle);
    for (size_t i = points.size(); i > 1; --i) std::swap(points[i - 1], points[random() % i]);
    for (const std::vector<int64_t>& point : points) {
      std::copy(point.begin(), point.end(), indices_.begin());
      run_row();
    }
  }

 private:
  void run_row() {
    for (const StatementRun& statement : statements_) {
      for_each_point(statement.own, indices_.data(), [&] {
        int64_t position = 0;
        for (size_t d = 0; d < statement.position_slots.size(); ++d) {
          position = position * statement.target->shape[d] +
                     indices_[static_cast<size_t>(statement.position_slots[d])];
        }
        store(*statement.target, position, statement.code.compute(indices_.data()));
      });
    }
  }

  std::map<std::string, TensorValue, std::less<>> locals_;
  std::vector<IndexLoop> rows_;
  std::vector<StatementRun> statements_;
  std::vector<int64_t> indices_;
};

}  // namespace

TensorValues evaluate(const KernelProgram& program, const TensorValues& given,
                      const Uniforms& uniforms, Precision precision, KernelOrder order) {
  FG_CHECK(uniforms.rows >= 1 && uniforms.rows <= program.batch, "{} rows of a batch of {}",
           uniforms.rows, program.batch);
  TensorValues buffers;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind == BufferKind::derived) continue;
    const bool made_here =
        buffer.kind == BufferKind::result || buffer.kind == BufferKind::temporary;
    buffers[buffer.name] = made_here
                               ? unwritten(buffer.type, sizes_at(buffer.shape, uniforms.rows))
                               : given_value({buffer.name, buffer.type, buffer.shape, buffer.range},
                                             given, uniforms.rows, precision);
  }
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind != BufferKind::derived) continue;
    TensorValue value(buffer.type, sizes_at(buffer.shape, uniforms.rows));
    value.integers = derived_elements(buffer, buffers.at(buffer.source).integers);
    buffers[buffer.name] = std::move(value);
  }
  for (const Launch& launch : program.launches) {
    for (size_t i = 0; i < launch.kernels.size(); ++i) {
      const size_t k = order.reverse_kernels ? launch.kernels.size() - 1 - i : i;
      KernelRun(launch.kernels[k], buffers, uniforms, precision).run(order.shuffle_rows);
    }
  }
  return buffers;
}

}  // namespace fusegrad::ir
