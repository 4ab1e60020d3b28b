// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights are hours of work: written so that a full disk or a kill at any moment leaves the old
// file or the new one, and read as if the file came from an enemy.
#include "runtime/core/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/json_text.h"
#include "runtime/core/replace_file.h"

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

namespace fusegrad::runtime {

namespace {

constexpr size_t largest_rank = 8;

Failure cannot_save(const std::string& path, std::string_view why) {
  return {
      ExitCode::checkpoint, fmt::format("cannot write the weights {}: {}", quoted(path), why), {}};
}

const char* dtype_name(ElementType element) {
  switch (element) {
    case ElementType::boolean:
      return "BOOL";
    case ElementType::u8:
      return "U8";
    case ElementType::i32:
      return "I32";
    case ElementType::f32:
      return "F32";
    case ElementType::f64:
      return "F64";
  }
  return "";
}

std::string header_text(const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  std::string header = "{\"__metadata__\":{";
  bool first = true;
  for (const auto& [key, value] : metadata) {
    if (!first) header += ',';
    first = false;
    header += json_string(key) + ":" + json_string(value);
  }
  header += '}';
  size_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    header += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          json_string(tensor.name), dtype_name(tensor.element),
                          fmt::join(tensor.shape, ","), offset, offset + tensor.bytes.size());
    offset += tensor.bytes.size();
  }
  header += '}';
  // Readers that map the file want aligned elements; the format allows spaces at the header's end.
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

/// Returns 0 or the error number of the first call that failed.
int write_content(int descriptor, const std::string& header,
                  const std::vector<NamedTensor>& tensors) {
  const uint64_t length = header.size();
  char length_bytes[8];
  std::memcpy(length_bytes, &length, 8);
  if (const int error = write_all(descriptor, {length_bytes, 8})) return error;
  if (const int error = write_all(descriptor, header)) return error;
  for (const NamedTensor& tensor : tensors) {
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.bytes.data()),
                                 tensor.bytes.size());
    if (const int error = write_all(descriptor, bytes)) return error;
  }
  return 0;
}

/// A reader of the small part of JSON that a safetensors header may use. Every function returns
/// false after having set `problem` and left `position` where the fault is.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  struct Entry {
    std::string name;
    std::string dtype;
    std::vector<uint64_t> shape;
    std::vector<uint64_t> offsets;
  };

  bool read(Metadata& metadata, std::vector<Entry>& entries) {
    std::set<std::string> names;
    if (text_.empty() || text_[0] != '{') return fail("expected {");
    const bool complete = object([&](std::string name) {
      if (!names.insert(name).second) return fail(fmt::format("{} appears twice", quoted(name)));
      if (name == "__metadata__") return metadata_object(metadata);
      entries.emplace_back();
      entries.back().name = std::move(name);
      return entry(entries.back());
    });
    if (!complete) return false;
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
    return position_ == text_.size() || fail("expected nothing but spaces after the header");
  }

  size_t position() const { return position_; }
  const std::string& problem() const { return problem_; }

 private:
  bool fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }

  void skip_space() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t' ||
                                        text_[position_] == '\n' || text_[position_] == '\r')) {
      ++position_;
    }
  }

  bool take(char character) {
    skip_space();
    if (position_ >= text_.size() || text_[position_] != character) {
      return fail(fmt::format("expected {}", character));
    }
    ++position_;
    return true;
  }

  bool next_is(char character) {
    skip_space();
    return position_ < text_.size() && text_[position_] == character;
  }

  /// { "key": value, ... }; `member` reads the value.
  template <typename Member>
  bool object(Member member) {
    if (!take('{')) return false;
    if (next_is('}')) return take('}');
    while (true) {
      std::string key;
      if (!string(key) || !take(':') || !member(std::move(key))) return false;
      if (next_is('}')) return take('}');
      if (!take(',')) return false;
    }
  }

  bool metadata_object(Metadata& metadata) {
    return object([&](std::string key) {
      std::string value;
      if (!string(value)) return false;
      const bool added = metadata.emplace(key, std::move(value)).second;
      return added || fail(fmt::format("{} appears twice", quoted(key)));
    });
  }

  bool entry(Entry& result) {
    bool has_dtype = false;
    bool has_shape = false;
    bool has_offsets = false;
    const auto once = [&](bool& seen, const std::string& key) {
      const bool first = !seen;
      seen = true;
      return first || fail(fmt::format("{} appears twice", quoted(key)));
    };
    const bool complete = object([&](const std::string& key) {
      if (key == "dtype") return once(has_dtype, key) && string(result.dtype);
      if (key == "shape") return once(has_shape, key) && numbers(result.shape, largest_rank);
      if (key == "data_offsets") return once(has_offsets, key) && numbers(result.offsets, 2);
      return fail(fmt::format("unknown key {}", quoted(key)));
    });
    if (!complete) return false;
    if (!has_dtype || !has_shape || !has_offsets || result.offsets.size() != 2) {
      return fail(
          fmt::format("tensor {} lacks dtype, shape or two data_offsets", quoted(result.name)));
    }
    return true;
  }

  bool numbers(std::vector<uint64_t>& result, size_t most) {
    if (!take('[')) return false;
    if (next_is(']')) return take(']');
    while (true) {
      skip_space();
      uint64_t value = 0;
      const char* begin = text_.data() + position_;
      const char* end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(begin, end, value);
      if (error != std::errc() || (*begin == '0' && stop - begin > 1)) {
        return fail("expected a whole number below 2^64");
      }
      if (result.size() == most) return fail(fmt::format("expected at most {} numbers", most));
      result.push_back(value);
      position_ += static_cast<size_t>(stop - begin);
      if (next_is(']')) return take(']');
      if (!take(',')) return false;
    }
  }

  bool hex_word(unsigned& word) {
    word = 0;
    for (int i = 0; i < 4; ++i, ++position_) {
      const char digit = position_ < text_.size() ? text_[position_] : ' ';
      unsigned value = 0;
      if (digit >= '0' && digit <= '9') {
        value = static_cast<unsigned>(digit - '0');
      } else if (digit >= 'a' && digit <= 'f') {
        value = static_cast<unsigned>(digit - 'a') + 10;
      } else if (digit >= 'A' && digit <= 'F') {
        value = static_cast<unsigned>(digit - 'A') + 10;
      } else {
        return fail("expected four hexadecimal digits");
      }
      word = word * 16 + value;
    }
    return true;
  }

  /// After \u: one code point, which may take a second \u.
  bool escaped_code_point(std::string& result) {
    unsigned code = 0;
    if (!hex_word(code)) return false;
    if (code >= 0xdc00 && code <= 0xdfff) return fail("expected a high surrogate first");
    if (code >= 0xd800 && code <= 0xdbff) {
      unsigned low = 0;
      if (text_.substr(position_, 2) != "\\u") return fail("expected a low surrogate");
      position_ += 2;
      if (!hex_word(low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return fail("expected a low surrogate");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto add = [&](unsigned byte) { result += static_cast<char>(byte); };
    if (code < 0x80) {
      add(code);
    } else if (code < 0x800) {
      add(0xc0 | code >> 6);
      add(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      add(0xe0 | code >> 12);
      add(0x80 | (code >> 6 & 0x3f));
      add(0x80 | (code & 0x3f));
    } else {
      add(0xf0 | code >> 18);
      add(0x80 | (code >> 12 & 0x3f));
      add(0x80 | (code >> 6 & 0x3f));
      add(0x80 | (code & 0x3f));
    }
    return true;
  }

  bool string(std::string& result) {
    if (!take('"')) return false;
    while (true) {
      if (position_ >= text_.size()) return fail("expected the end of a text");
      const char character = text_[position_];
      if (character == '"') {
        ++position_;
        return true;
      }
      if (character == '\\') {
        static constexpr std::string_view names = "\"\\/bfnrtu";
        static constexpr std::string_view values = "\"\\/\b\f\n\r\t";
        const char name = position_ + 1 < text_.size() ? text_[position_ + 1] : ' ';
        const size_t index = names.find(name);
        if (index == std::string_view::npos) return fail("unknown escape");
        position_ += 2;
        if (name == 'u') {
          if (!escaped_code_point(result)) return false;
        } else {
          result += values[index];
        }
        continue;
      }
      if (static_cast<unsigned char>(character) < 0x20) return fail("control character in a text");
      const size_t length = utf8_length(text_.substr(position_));
      if (length == 0) return fail("expected UTF-8");
      result += text_.substr(position_, length);
      position_ += length;
    }
  }

  std::string_view text_;
  size_t position_ = 0;
  std::string problem_;
};

std::optional<ElementType> element_of(const std::string& dtype) {
  for (const ElementType element : {ElementType::boolean, ElementType::u8, ElementType::i32,
                                    ElementType::f32, ElementType::f64}) {
    if (dtype == dtype_name(element)) return element;
  }
  return std::nullopt;
}

}  // namespace

std::vector<NamedTensor> parameters_of(const Session& session) {
  std::vector<NamedTensor> tensors;
  for (const NamedBuffer& buffer : session.weights()) {
    tensors.push_back({buffer.name, buffer.element, buffer.layout.shape, natural_elements(buffer)});
  }
  return tensors;
}

Expected<Unit> check_save_target(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return cannot_save(path, "this is no file name");
  }
  const std::string target = follow_links(path);
  struct stat status = {};
  if (stat(target.c_str(), &status) == 0) {
    if (S_ISCHR(status.st_mode)) return Unit{};
    if (!S_ISREG(status.st_mode)) {
      return cannot_save(path, fmt::format("it is {}", file_kind(status.st_mode)));
    }
  } else if (errno != ENOENT || target.back() == '/') {
    return cannot_save(path,
                       errno == ENOENT ? "it is the name of a folder" : system_message(errno));
  }
  const std::string folder = folder_of(target);
  if (stat(folder.c_str(), &status) != 0) {
    return cannot_save(path, fmt::format("folder {}: {}", quoted(folder), system_message(errno)));
  }
  if (!S_ISDIR(status.st_mode)) {
    return cannot_save(path, fmt::format("{} is no folder", quoted(folder)));
  }
  if (faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return cannot_save(path, fmt::format("folder {}: {}", quoted(folder), system_message(errno)));
  }
  return Unit{};
}

Expected<Unit> write_safetensors(const std::string& path, std::vector<NamedTensor> tensors,
                                 const Metadata& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const NamedTensor& left, const NamedTensor& right) {
    return left.name < right.name;
  });
  for (const NamedTensor& tensor : tensors) {
    Layout natural;
    natural.shape = tensor.shape;
    RUNTIME_CHECK(static_cast<int64_t>(tensor.bytes.size()) ==
                      natural.natural_elements() * element_size(tensor.element),
                  "{} has {} bytes", tensor.name, tensor.bytes.size());
    if (!all_finite(tensor.bytes, tensor.element)) {
      return Failure{ExitCode::numbers,
                     fmt::format("the weights {} are not written: parameter {} holds a value that "
                                 "is not finite",
                                 quoted(path), quoted(tensor.name)),
                     {}};
    }
  }
  if (Expected<Unit> usable = check_save_target(path); !usable) return usable.error();

  Metadata all = metadata;
  all.emplace("format", "pt");
  const std::string header = header_text(tensors, all);
  const auto failed = replace_file(
      path, [&](int descriptor) { return write_content(descriptor, header, tensors); });
  if (failed) return cannot_save(path, *failed);
  return Unit{};
}

const NamedTensor* WeightsFile::find(const std::string& name) const {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const NamedTensor& tensor, const std::string& wanted) { return tensor.name < wanted; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

Expected<WeightsFile> read_safetensors(const std::string& path, const WeightsLimits& limits) {
  Expected<InputFile, DataFailure> file = open_input(path);
  if (!file) return Failure{ExitCode::checkpoint, file.error().message, {}};
  return read_safetensors(*file, limits);
}

Expected<WeightsFile> read_safetensors(const InputFile& file, const WeightsLimits& limits) {
  const auto fail = [&](std::string_view what) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("cannot use the weights {}: {}", quoted(file.path), what),
                   {}};
  };
  const auto read = [&](int64_t offset, std::span<std::byte> bytes) -> std::optional<Failure> {
    const int64_t count = read_at(file.descriptor, offset, bytes);
    if (count < 0) return fail(fmt::format("byte {}: {}", offset, system_message(errno)));
    if (count < static_cast<int64_t>(bytes.size())) {
      return fail(
          fmt::format("byte {}: the file became shorter while it was read", offset + count));
    }
    return std::nullopt;
  };

  if (file.size < 8) {
    return fail(
        fmt::format("byte {}: expected 8 bytes of header length, found {}", file.size, file.size));
  }
  std::array<std::byte, 8> length_bytes;
  if (auto failure = read(0, length_bytes)) return *failure;
  uint64_t header_length = 0;
  std::memcpy(&header_length, length_bytes.data(), 8);
  const auto rest = static_cast<uint64_t>(file.size - 8);
  if (header_length > rest || header_length > static_cast<uint64_t>(limits.largest_header)) {
    return fail(fmt::format("byte 0: expected a header of at most {} bytes, found a length of {}",
                            std::min(rest, static_cast<uint64_t>(limits.largest_header)),
                            header_length));
  }
  std::string text(static_cast<size_t>(header_length), '\0');
  if (auto failure = read(8, std::as_writable_bytes(std::span(text)))) return *failure;

  WeightsFile weights;
  std::vector<HeaderReader::Entry> entries;
  HeaderReader reader(text);
  if (!reader.read(weights.metadata, entries)) {
    return fail(fmt::format("byte {} of the header: {}", reader.position(), reader.problem()));
  }

  const uint64_t data_bytes = rest - header_length;
  if (data_bytes > static_cast<uint64_t>(limits.largest_bytes)) {
    return fail(
        fmt::format("{} bytes of tensors; the limit is {}", data_bytes, limits.largest_bytes));
  }
  // By place in the file; tensors without elements come before the one that begins where they do.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const HeaderReader::Entry& left, const HeaderReader::Entry& right) {
                     return left.offsets < right.offsets;
                   });
  uint64_t expected_begin = 0;
  for (const HeaderReader::Entry& entry : entries) {
    const std::optional<ElementType> element = element_of(entry.dtype);
    if (!element) {
      return fail(fmt::format("tensor {}: expected dtype BOOL, U8, I32, F32 or F64, found {}",
                              quoted(entry.name), quoted(entry.dtype)));
    }
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    if (begin != expected_begin || end < begin || end > data_bytes) {
      return fail(fmt::format("tensor {}: expected data from byte {} to at most {}, found {} to {}",
                              quoted(entry.name), expected_begin, data_bytes, begin, end));
    }
    auto size = static_cast<uint64_t>(element_size(*element));
    bool overflow = false;
    bool empty = false;
    NamedTensor tensor;
    for (const uint64_t extent : entry.shape) {
      overflow = overflow || __builtin_mul_overflow(size, extent, &size) || extent > INT64_MAX;
      empty = empty || extent == 0;
      tensor.shape.push_back(static_cast<int64_t>(extent));
    }
    if (empty) size = 0;
    if ((overflow && !empty) || size != end - begin) {
      return fail(
          fmt::format("tensor {}: {}[{}] does not take the {} bytes that its offsets give it",
                      quoted(entry.name), entry.dtype, fmt::join(entry.shape, ", "), end - begin));
    }
    tensor.name = entry.name;
    tensor.element = *element;
    weights.tensors.push_back(std::move(tensor));
    expected_begin = end;
  }
  if (expected_begin != data_bytes) {
    return fail(fmt::format("byte {}: {} bytes belong to no tensor",
                            8 + header_length + expected_begin, data_bytes - expected_begin));
  }
  // Only now is every size known to be in the file.
  for (size_t i = 0; i < entries.size(); ++i) {
    NamedTensor& tensor = weights.tensors[i];
    tensor.bytes.resize(static_cast<size_t>(entries[i].offsets[1] - entries[i].offsets[0]));
    const auto offset = static_cast<int64_t>(8 + header_length + entries[i].offsets[0]);
    if (auto failure = read(offset, tensor.bytes)) return *failure;
  }
  std::sort(
      weights.tensors.begin(), weights.tensors.end(),
      [](const NamedTensor& left, const NamedTensor& right) { return left.name < right.name; });
  return weights;
}

Expected<Unit> restore_parameters(const WeightsFile& weights, Session& session) {
  const auto fail = [](const std::string& message) {
    return Failure{ExitCode::checkpoint, "the weights do not fit the model: " + message, {}};
  };
  const std::vector<NamedBuffer> parameters = session.weights();
  for (const NamedBuffer& parameter : parameters) {
    const NamedTensor* tensor = weights.find(parameter.name);
    const std::string wanted = type_text(parameter.element, parameter.layout.shape);
    if (tensor == nullptr) {
      return fail(
          fmt::format("parameter {}, {}, is not in the file", quoted(parameter.name), wanted));
    }
    if (tensor->element != parameter.element || tensor->shape != parameter.layout.shape) {
      return fail(fmt::format("parameter {}: expected {}, found {}", quoted(parameter.name), wanted,
                              type_text(tensor->element, tensor->shape)));
    }
  }
  if (weights.tensors.size() != parameters.size()) {
    for (const NamedTensor& tensor : weights.tensors) {
      const bool known =
          std::any_of(parameters.begin(), parameters.end(),
                      [&](const NamedBuffer& parameter) { return parameter.name == tensor.name; });
      if (!known) return fail(fmt::format("the model has no parameter {}", quoted(tensor.name)));
    }
  }
  for (const NamedBuffer& parameter : parameters) {
    store_natural_elements(parameter, weights.find(parameter.name)->bytes);
  }
  return Unit{};
}

}  // namespace fusegrad::runtime
