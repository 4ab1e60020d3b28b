// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The text is read twice, once for its length and its different bytes, once for the windows. So a
// text takes no memory besides the windows, and all parts of a file share one vocabulary.
#include <array>
#include <cmath>
#include <cstring>

#include "runtime/core/content_stream.h"
#include "runtime/core/readers.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t text_piece = int64_t{64} << 10;

struct Survey {
  int64_t size = 0;
  std::array<bool, 256> occurs = {};
};

Expected<Survey, DataFailure> survey_text(const InputFile& file, const ReadLimits& limits) {
  Expected<ContentStream, DataFailure> stream = ContentStream::open(file);
  if (!stream) return stream.error();
  Survey survey;
  std::vector<std::byte> piece(text_piece);
  while (true) {
    Expected<int64_t, DataFailure> count = stream->read(piece, limits);
    if (!count) return count.error();
    for (int64_t i = 0; i < *count; ++i) survey.occurs[static_cast<uint8_t>(piece[i])] = true;
    survey.size += *count;
    if (survey.size > limits.largest_bytes) {
      return data_failure(
          DataFailureKind::too_large, file.path,
          fmt::format("{}: {} more than the limit of {} bytes", stream->place(limits.largest_bytes),
                      stream->has_text(), limits.largest_bytes));
    }
    if (*count < text_piece) return survey;
  }
}

/// The byte at which a fraction of the text begins; rounded down, the same for every split.
int64_t byte_at(double fraction, int64_t size) {
  if (fraction >= 1.0) return size;
  return std::min(size, static_cast<int64_t>(std::floor(fraction * static_cast<double>(size))));
}

void store(Column& column, int64_t element, uint8_t value) {
  if (column.element == ElementType::u8) {
    column.bytes.data()[element] = std::byte{value};
  } else {
    const int32_t wide = value;
    std::memcpy(column.bytes.data() + element * 4, &wide, 4);
  }
}

/// Copies `windows` windows of `length` bytes that begin at `begin`, each byte by its position in
/// the vocabulary.
std::optional<DataFailure> read_windows(const InputFile& file, int64_t begin, int64_t total,
                                        const std::array<uint8_t, 256>& vocabulary, Column& column,
                                        const ReadLimits& limits) {
  Expected<ContentStream, DataFailure> stream = ContentStream::open(file);
  if (!stream) return stream.error();
  std::vector<std::byte> piece(text_piece);
  const int64_t end = begin + total;
  while (stream->position() < end) {
    const int64_t position = stream->position();
    Expected<int64_t, DataFailure> count = stream->read(piece, limits);
    if (!count) return count.error();
    for (int64_t i = std::max<int64_t>(0, begin - position); i < std::min(*count, end - position);
         ++i) {
      store(column, position + i - begin, vocabulary[static_cast<uint8_t>(piece[i])]);
    }
    if (*count < text_piece && position + *count < end) {
      return data_failure(
          DataFailureKind::unreadable, file.path,
          fmt::format("{}: the file became shorter while it was read", stream->place()));
    }
  }
  return std::nullopt;
}

}  // namespace

Expected<Column, DataFailure> read_chars(const ReadRequest& request) {
  const InputFile& file = request.file;
  const InputEntry& input = request.input;
  const bool fits_type = input.element == ElementType::u8 || input.element == ElementType::i32;
  if (!fits_type || input.row_shape.size() != 1 || input.row_shape[0] < 1) {
    DataFailure failure = data_failure(
        DataFailureKind::does_not_fit, file.path,
        fmt::format("the data do not fit input {}: `chars` makes windows of text, u8 or i32 of one "
                    "size a record; the input wants {}",
                    quoted(input.name), type_text(input.element, input.row_shape)));
    failure.label = "text is u8[B, Time] or i32[B, Time]";
    return failure;
  }
  Expected<Survey, DataFailure> survey = survey_text(file, request.limits);
  if (!survey) return survey.error();
  std::array<uint8_t, 256> vocabulary = {};
  int different = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (survey->occurs[byte]) vocabulary[byte] = static_cast<uint8_t>(different++);
  }
  if (input.has_range && different > 0 && (input.range_begin > 0 || input.range_end < different)) {
    DataFailure failure = data_failure(
        DataFailureKind::out_of_range, file.path,
        fmt::format("{} holds {} different bytes, which become 0 to {}; the input {} wants {}..{}",
                    quoted(file.path), different, different - 1, quoted(input.name),
                    input.range_begin, input.range_end));
    failure.label = fmt::format("{} different bytes in the file", different);
    failure.helps.push_back(fmt::format("declare `in 0..{}`", different));
    return failure;
  }

  const int64_t length = input.row_shape[0];
  const auto shift = argument_or<int64_t>(request.arguments, "shift", 0);
  const int64_t spare = std::max(shift, argument_or<int64_t>(request.arguments, "spare", 0));
  const auto from = argument_or<double>(request.arguments, "from", 0.0);
  const auto to = argument_or<double>(request.arguments, "to", 1.0);
  const int64_t begin = byte_at(from, survey->size);
  const int64_t end = byte_at(to, survey->size);
  const int64_t windows = std::max<int64_t>(0, end - begin - spare) / length;
  if (windows < 1) {
    return data_failure(
        DataFailureKind::no_records, file.path,
        fmt::format("{}, bytes {} to {}: expected at least {} bytes, a window of {} and {} for the "
                    "shift; found {}",
                    quoted(file.path), begin, end, static_cast<double>(length) + spare, length,
                    spare, std::max<int64_t>(0, end - begin)));
  }
  Column column;
  column.element = input.element;
  column.shape = {windows, length};
  const std::optional<int64_t> size = tensor_bytes(column.element, column.shape);
  if (!size || *size > request.limits.largest_bytes) {
    return too_large(file.path, quoted(file.path), type_text(column.element, column.shape), size,
                     request.limits);
  }
  std::optional<AlignedBytes> bytes = AlignedBytes::unwritten(*size);
  if (!bytes) return no_memory_for(file.path, *size);
  column.bytes = std::move(*bytes);
  if (std::optional<DataFailure> problem =
          read_windows(file, begin + shift, windows * length, vocabulary, column, request.limits)) {
    return *problem;
  }
  return column;
}

}  // namespace fusegrad::runtime
