// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The data of a job, resident in memory: every input's column of every split that is needed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/core/column.h"
#include "runtime/core/data_path.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// One split. `columns` and `files` are in the order of the job's inputs.
struct Split {
  std::string name;
  int64_t samples = 0;             ///< records of every column, 1 .. 2^31 - 1
  std::vector<Column> columns;     ///< in their own element type; see AlignedBytes for the padding
  std::vector<std::string> files;  ///< the file that was chosen for each
};

struct Dataset {
  std::vector<Split> splits;
  const Split* find(const std::string& name) const;
};

/// Checks that a column is what an input demands: element type and row shape (does_not_fit), values
/// in the declared range (out_of_range, with all of RangeProblem). NaN is outside every range.
std::optional<DataFailure> check_column(const InputEntry& input, const Column& column,
                                        const std::string& split, const std::string& path);

/// The split on which weights are judged after an epoch: "valid" if there is one, else "test", else
/// "".
std::string validation_split(const std::vector<DataEntry>& data);

/// Loads these splits with the readers of runtime/core/readers.h. Where an entry has the argument
/// `standardise`, each number of a record is replaced by its distance from the mean, in standard
/// deviations (of n values, 1 where it is 0); both are those of the same input in split `train`, so
/// that a network sees test data on the scale it was trained on. That split's column is read for it
/// if it is not among `splits`. Files are read by up to `threads` threads at once; the failure
/// reported is that of the first file in the order of `splits` and `inputs`, whichever thread met
/// one first. Fails when a split binds no file to an input or names an unknown reader, when a file
/// is not found, malformed, of another shape or element type, or holds values outside the range;
/// when the columns of a split differ in their number of records (the message names both files and
/// counts), and when a split has no records. A stop signal in `limits` ends loading with kind
/// interrupted.
Expected<Dataset, DataFailure> load_dataset(const std::vector<InputEntry>& inputs,
                                            const std::vector<DataEntry>& data,
                                            const std::vector<std::string>& splits,
                                            const DataSearch& search, int threads = 1,
                                            const ReadLimits& limits = {});

}  // namespace fusegrad::runtime
