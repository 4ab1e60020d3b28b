// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The derived buffers of a program: what they are made of, and making them.
#include <algorithm>

#include "runtime/core/session_parts.h"
#include "runtime/core/sorted_places.h"

namespace fusegrad::runtime {

void Session::Program::add_sorted(const JobTable& job, int buffer) {
  const BufferEntry& entry = table->buffers[static_cast<size_t>(buffer)];
  const auto input =
      std::find_if(job.inputs.begin(), job.inputs.end(),
                   [&](const InputEntry& other) { return other.name == entry.source; });
  RUNTIME_CHECK(input != job.inputs.end(), "{} follows from no input of the job", entry.name);
  const auto number = static_cast<size_t>(input - job.inputs.begin());
  auto known = std::find_if(sorted.begin(), sorted.end(),
                            [&](const SortedInput& other) { return other.input == number; });
  if (known == sorted.end()) known = sorted.insert(known, SortedInput{number});
  int& place = entry.kind == BufferKind::starts ? known->starts : known->positions;
  RUNTIME_CHECK(place < 0, "{} is made twice", entry.name);
  place = buffer;
}

void Session::Program::check_sorted(const JobTable& job) const {
  for (const SortedInput& one : sorted) {
    const InputEntry& input = job.inputs[one.input];
    RUNTIME_CHECK(one.starts >= 0 && one.positions >= 0, "{} has one derived buffer", input.name);
    const int64_t starts =
        table->buffers[static_cast<size_t>(one.starts)].layout.natural_elements();
    const int64_t positions =
        table->buffers[static_cast<size_t>(one.positions)].layout.natural_elements();
    const int64_t begin = input.has_range ? input.range_begin : 0;
    const int64_t end = input.has_range ? input.range_end : 256;
    Layout row;
    row.shape = input.row_shape;
    RUNTIME_CHECK(
        (input.element == ElementType::u8 ||
         (input.element == ElementType::i32 && input.has_range)) &&
            begin >= 0 && end < starts && row.natural_elements() * table->batch <= positions,
        "{} cannot be sorted into {} starts and {} positions", input.name, starts, positions);
  }
}

void Session::Program::sort_inputs(const Split& split, const RowOrder& order, int64_t step) const {
  const auto buffer = [&](int index) {
    const int64_t elements = table->buffers[static_cast<size_t>(index)].layout.natural_elements();
    return std::span(static_cast<int32_t*>(pointers[step % 2][static_cast<size_t>(index)]),
                     static_cast<size_t>(elements));
  };
  for (const SortedInput& one : sorted) {
    const Column& column = split.columns[one.input];
    BatchOfIntegers batch;
    batch.column = column.bytes.data();
    batch.element = column.element;
    batch.row_elements = 1;
    for (size_t d = 1; d < column.shape.size(); ++d) batch.row_elements *= column.shape[d];
    batch.rows = {order.list(step), static_cast<size_t>(order.rows(step))};
    sort_places(batch, buffer(one.starts), buffer(one.positions));
  }
}

}  // namespace fusegrad::runtime
