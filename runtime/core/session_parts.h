// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of a session: programs in memory, row lists, a thread's share of the launches. Private
// to session*.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "runtime/core/exit_codes.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// The one number that a loss or metric buffer holds.
double read_scalar(const std::byte* memory, ElementType element);

/// A row list starts at a multiple of 64 bytes and its last 16 numbers are made up with zeros.
constexpr int64_t row_list_granule =
    AlignedBytes::alignment / static_cast<int64_t>(sizeof(int32_t));

/// A program with its buffers in memory.
struct Session::Program {
  const ProgramTable* table = nullptr;
  /// Two sets of pointers that differ in the results; inputs and row lists are filled in per pass
  /// and step.
  std::array<std::vector<void*>, 2> pointers;
  std::array<std::vector<AlignedBytes>, 2> results;
  struct InputPointer {
    int buffer = 0;
    size_t input = 0;  ///< index into JobTable::inputs and Split::columns
  };
  std::vector<InputPointer> inputs;
  std::vector<int> row_lists;
  /// The places of an input's values, sorted for every step; buffer indices, -1 where no kernel
  /// wants them.
  struct SortedInput {
    size_t input = 0;  ///< index into JobTable::inputs and Split::columns
    int starts = -1;
    int positions = -1;
  };
  std::vector<SortedInput> sorted;

  /// A buffer of starts or positions.
  void add_sorted(const JobTable& job, int buffer);
  /// That the table keeps what sorting relies on; otherwise our bug.
  void check_sorted(const JobTable& job) const;
  /// Sorts the places of a step's batch into the buffers of that step.
  void sort_inputs(const Split& split, const RowOrder& order, int64_t step) const;

  int loss = -1;             ///< buffer index, -1 when the program measures none
  std::vector<int> metrics;  ///< indices into ProgramTable::results
  std::vector<int> parts;    ///< of metrics: indices into ProgramTable::results
};

/// One thread's share of every launch at a certain number of rows.
struct Session::Plan {
  struct Call {
    KernelFunction function = nullptr;
    TaskRange tasks;
  };
  std::vector<Call> calls;
  std::vector<size_t> launch_ends;  ///< positions in `calls`; a barrier follows each
  int64_t rows = -1;

  void prepare(const ProgramTable& program, int64_t new_rows, int thread, int thread_count) {
    if (rows == new_rows) return;
    rows = new_rows;
    calls.clear();
    launch_ends.clear();
    for (const LaunchEntry& launch : program.launches) {
      for (size_t index = 0; index < launch.kernels.size(); ++index) {
        const KernelEntry& kernel = launch.kernels[index];
        const int64_t tasks = kernel.task_count(rows);
        TaskRange part = part_of_tasks(tasks, thread, thread_count);
        if (tasks == 1) {
          // Small kernels of a launch run side by side.
          const bool mine =
              index % static_cast<size_t>(thread_count) == static_cast<size_t>(thread);
          part = {0, mine ? 1 : 0};
        }
        if (part.begin < part.end) calls.push_back({kernel.function, part});
      }
      launch_ends.push_back(calls.size());
    }
  }
};

/// The rows of every batch of a pass, each batch's list aligned and padded.
struct Session::RowOrder {
  AlignedBytes lists;
  int64_t batch = 0;
  int64_t stride = 0;  ///< numbers from one list to the next
  int64_t steps = 0;
  int64_t samples = 0;  ///< those that are visited
  int64_t records = 0;  ///< of the split
  bool shuffled = false;

  int32_t* list(int64_t step) { return reinterpret_cast<int32_t*>(lists.data()) + step * stride; }
  const int32_t* list(int64_t step) const { return const_cast<RowOrder*>(this)->list(step); }
  int64_t rows(int64_t step) const { return std::min(batch, samples - step * batch); }

  static RowOrder create(int64_t records, int64_t batch, int64_t steps) {
    RowOrder order;
    order.records = records;
    order.batch = batch;
    order.steps = steps;
    order.samples = std::min(records, steps * batch);
    order.stride = (batch + row_list_granule - 1) / row_list_granule * row_list_granule;
    const int64_t bytes = steps * order.stride * static_cast<int64_t>(sizeof(int32_t));
    std::optional<AlignedBytes> memory = AlignedBytes::zeroed(bytes);
    if (!memory) end_without_memory("row lists", bytes);
    order.lists = std::move(*memory);
    return order;
  }
};

}  // namespace fusegrad::runtime
