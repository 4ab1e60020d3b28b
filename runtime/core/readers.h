// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one table of readers. A new format is a function and a row in readers.cpp, and a row in the
// front end's table of signatures (frontend/data_readers.cpp); a test compares the two.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "runtime/core/column.h"
#include "runtime/core/file.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// What is wanted from a file. Formats that say of what type and shape they are (IDX, NPY) read
/// what is there; it is compared with `input` afterwards. The others take it from here.
struct ReadRequest {
  const InputFile& file;
  const InputEntry& input;
  const ReaderArguments& arguments;
  const ReadLimits& limits;
};

using ReadFunction = Expected<Column, DataFailure> (*)(const ReadRequest&);

/// A reader and the arguments that it takes besides the path:
///   idx, npy
///   npz    array: string                 the name of the input without it
///   raw    offset: bytes in front = 0; type: string, shape: all sizes = those of the input, as
///   many
///          records as the file has
///   csv    columns: [begin, end) or names, column: number or name; rows: [begin, end) = all;
///          categories: strings; header: bool = true; separator: string of one byte = ",";
///          standardise: bool, done by load_dataset
///   chars  from, to: real, parts of the file = 0, 1; shift: bytes = 0; spare: bytes behind each
///          window that are left for shifts = shift
struct Reader {
  std::string_view name;
  ReadFunction read;
};
std::span<const Reader> readers();
/// Null when there is none.
const Reader* find_reader(std::string_view name);

/// The argument, if it is given. That it has another type is our bug.
template <typename T>
const T* find_argument(const ReaderArguments& arguments, std::string_view name) {
  for (const ReaderArgument& argument : arguments) {
    if (argument.name != name) continue;
    const T* value = std::get_if<T>(&argument.value);
    RUNTIME_CHECK(value != nullptr, "argument {} of a reader", name);
    return value;
  }
  return nullptr;
}
template <typename T>
T argument_or(const ReaderArguments& arguments, std::string_view name, const T& otherwise) {
  const T* value = find_argument<T>(arguments, name);
  return value == nullptr ? otherwise : *value;
}

/// Elements without a header, little endian.
Expected<Column, DataFailure> read_raw(const ReadRequest& request);

/// Text as numbers for language models: the bytes of the file, each replaced by its position among
/// the different bytes of the whole file, cut into windows of the input's length that follow each
/// other without overlap. With `shift` n each window begins n bytes later.
Expected<Column, DataFailure> read_chars(const ReadRequest& request);

/// Columns of a table of numbers or categories. See csv_reader.cpp.
Expected<Column, DataFailure> read_csv(const ReadRequest& request);

}  // namespace fusegrad::runtime
