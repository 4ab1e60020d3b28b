// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The small part of JSON that a safetensors header may use, read as if it came from an enemy.
#include "runtime/core/safetensors_header.h"

#include <fmt/ranges.h>

#include <charconv>
#include <set>

#include "runtime/core/file.h"
#include "runtime/core/json_text.h"

namespace fusegrad::runtime {

namespace {

constexpr size_t largest_rank_of_file = 8;

/// Every function returns
/// false after having set `problem` and left `position` where the fault is.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : text_(text) {}

  using Entry = HeaderEntry;

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
      if (key == "shape")
        return once(has_shape, key) && numbers(result.shape, largest_rank_of_file);
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

}  // namespace

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

HeaderProblem read_header(std::string_view text, Metadata& metadata,
                          std::vector<HeaderEntry>& entries) {
  HeaderReader reader(text);
  if (reader.read(metadata, entries)) return {};
  return {reader.position(), reader.problem()};
}

bool replace_checksum(std::string& header, std::string_view digits) {
  // Quotes inside texts are escaped, so this can only be a key.
  const std::string key = fmt::format(R"("{}":")", checksum_key);
  const size_t found = header.find(key);
  if (found == std::string::npos) return false;
  const size_t begin = found + key.size();
  if (header.find('"', begin) != begin + no_checksum.size()) return false;
  header.replace(begin, no_checksum.size(), digits);
  return true;
}

}  // namespace fusegrad::runtime
