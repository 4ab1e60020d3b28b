// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NPY and NPZ as NumPy writes them (npy_reader.h has the formats).
#include "runtime/core/output_file.h"

#include <zlib.h>

#include <bit>
#include <cstring>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/replace_file.h"

static_assert(std::endian::native == std::endian::little, "arrays are written little-endian");

namespace fusegrad::runtime {

namespace {

const char* numpy_type(ElementType element) {
  switch (element) {
    case ElementType::boolean:
      return "|b1";
    case ElementType::u8:
      return "|u1";
    case ElementType::i32:
      return "<i4";
    case ElementType::f32:
      return "<f4";
    case ElementType::f64:
      return "<f8";
  }
  return "";
}

void append_number(std::string& bytes, uint64_t value, int size) {
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
}

Failure unusable(std::string message) { return {ExitCode::usage, std::move(message), {}}; }

template <typename T>
T element_at(const OutputValues& output, int64_t position) {
  T value = 0;
  std::memcpy(&value, output.bytes.data() + position * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

std::string element_text(const OutputValues& output, int64_t position) {
  switch (output.element) {
    case ElementType::boolean:
    case ElementType::u8:
      return fmt::format("{}", element_at<uint8_t>(output, position));
    case ElementType::i32:
      return fmt::format("{}", element_at<int32_t>(output, position));
    case ElementType::f32:
      return fmt::format("{}", element_at<float>(output, position));
    case ElementType::f64:
      return fmt::format("{}", element_at<double>(output, position));
  }
  return "";
}

int64_t elements_of_row(const OutputValues& output) {
  int64_t elements = 1;
  for (size_t d = 1; d < output.shape.size(); ++d) elements *= output.shape[d];
  return elements;
}

/// "logits.3", or "logits.1.2" for an element of a row that is a matrix.
std::string column_name(const OutputValues& output, int64_t element) {
  std::string places;
  for (size_t d = output.shape.size(); d > 1; --d) {
    places = fmt::format(".{}{}", element % output.shape[d - 1], places);
    element /= output.shape[d - 1];
  }
  return output.label + places;
}

}  // namespace

Expected<Unit> check_output_name(const std::string& path, size_t outputs) {
  if (path.ends_with(".npz") || path.ends_with(".csv")) return Unit{};
  if (path.ends_with(".npy")) {
    if (outputs == 1) return Unit{};
    return unusable(fmt::format("{}: the model has {} outputs; they go to a file .npz or .csv",
                                quoted(path), outputs));
  }
  return unusable(
      fmt::format("{}: predictions are written to files .npy, .npz or .csv", quoted(path)));
}

std::string npy_bytes(const OutputValues& output) {
  std::string shape;
  for (const int64_t extent : output.shape) shape += fmt::format("{}, ", extent);
  // One extent needs its comma; NumPy takes the last one of several too.
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   numpy_type(output.element), shape);
  constexpr size_t in_front = 10;
  constexpr size_t alignment = 64;
  const size_t length = header.size() + 1;
  header.append((alignment - (in_front + length) % alignment) % alignment, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  append_number(bytes, header.size(), 2);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(output.bytes.data()), output.bytes.size());
  return bytes;
}

Expected<std::string> npz_bytes(const std::vector<OutputValues>& outputs) {
  std::string bytes;
  std::string directory;
  for (const OutputValues& output : outputs) {
    const std::string name = output.label + ".npy";
    const std::string content = npy_bytes(output);
    constexpr size_t largest = 0xffffffff;
    if (content.size() > largest - bytes.size() || name.size() > 0xffff) {
      return unusable("predictions of more than 4 GiB do not fit an .npz; write a .csv");
    }
    const uint64_t sum = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
    const size_t offset = bytes.size();
    // What both headers have: version 2.0, no flags, stored, 1980-01-01, checksum, sizes, lengths.
    std::string common;
    append_number(common, 20, 2);
    append_number(common, 0, 2);
    append_number(common, 0, 2);
    append_number(common, 0, 2);
    append_number(common, 0x21, 2);
    append_number(common, sum, 4);
    append_number(common, content.size(), 4);
    append_number(common, content.size(), 4);
    append_number(common, name.size(), 2);
    append_number(common, 0, 2);
    bytes += "PK\x03\x04";
    bytes += common;
    bytes += name;
    bytes += content;
    directory += "PK\x01\x02";
    append_number(directory, 20, 2);
    directory += common;
    // No comment, disk 0, no attributes.
    append_number(directory, 0, 2 + 2 + 2);
    append_number(directory, 0, 4);
    append_number(directory, offset, 4);
    directory += name;
  }
  const size_t begin = bytes.size();
  bytes += directory;
  bytes += "PK\x05\x06";
  append_number(bytes, 0, 4);
  append_number(bytes, outputs.size(), 2);
  append_number(bytes, outputs.size(), 2);
  append_number(bytes, directory.size(), 4);
  append_number(bytes, begin, 4);
  append_number(bytes, 0, 2);
  return bytes;
}

Expected<std::string> csv_text(const std::vector<OutputValues>& outputs) {
  RUNTIME_CHECK(!outputs.empty(), "no outputs");
  const int64_t rows = outputs[0].shape[0];
  std::string text;
  for (const OutputValues& output : outputs) {
    if (output.shape[0] != rows) {
      return unusable(
          fmt::format("the outputs {} and {} have {} and {} rows; write them to an .npz",
                      quoted(outputs[0].label), quoted(output.label), rows, output.shape[0]));
    }
    for (int64_t i = 0; i < elements_of_row(output); ++i) {
      if (!text.empty()) text += ',';
      text += column_name(output, i);
    }
  }
  text += '\n';
  for (int64_t row = 0; row < rows; ++row) {
    bool is_first = true;
    for (const OutputValues& output : outputs) {
      const int64_t elements = elements_of_row(output);
      for (int64_t i = 0; i < elements; ++i) {
        if (!is_first) text += ',';
        is_first = false;
        text += element_text(output, row * elements + i);
      }
    }
    text += '\n';
  }
  return text;
}

Expected<Unit> write_outputs(const std::string& path, const std::vector<OutputValues>& outputs) {
  Expected<Unit> possible = check_output_name(path, outputs.size());
  if (!possible) return possible.error();
  Expected<std::string> bytes = path.ends_with(".csv")   ? csv_text(outputs)
                                : path.ends_with(".npz") ? npz_bytes(outputs)
                                                         : npy_bytes(outputs[0]);
  if (!bytes) return bytes.error();
  const auto failed =
      replace_file(path, [&](int descriptor) { return write_all(descriptor, *bytes); });
  if (failed) return unusable(fmt::format("cannot write {}: {}", quoted(path), *failed));
  return Unit{};
}

}  // namespace fusegrad::runtime
