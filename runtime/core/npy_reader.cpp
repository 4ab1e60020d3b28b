// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The header of an NPY file is a Python literal. Only the one shape of literal that NumPy writes is
// read, by a grammar of a dozen lines; a general reader of such text is how other readers fell.
#include "runtime/core/npy_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string_view>

#include "runtime/core/zip_directory.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t largest_npy_header = int64_t{64} << 10;

struct NpyType {
  std::string_view text;
  ElementType element;
};

constexpr std::array<NpyType, 5> npy_types = {{{"|b1", ElementType::boolean},
                                               {"|u1", ElementType::u8},
                                               {"<i4", ElementType::i32},
                                               {"<f4", ElementType::f32},
                                               {"<f8", ElementType::f64}}};

/// Why a type is refused, in words that lead to one that is not.
std::string refused_type(std::string_view descr) {
  if (descr.find('O') != std::string_view::npos) return "Python objects are never read";
  if (descr.starts_with('>')) return "big endian; save it with .astype('<...')";
  if (descr.ends_with("i8")) return "64-bit integers; save them with .astype('int32')";
  if (descr.ends_with("f2")) return "half precision; save it with .astype('float32')";
  return "no type of the language";
}

/// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. The three keys may come in
/// any order, each once; a comma may follow the last; spaces and one line end may follow the brace.
class NpyHeader {
 public:
  explicit NpyHeader(std::string_view text) : text_(text) {}

  std::string descr;
  size_t descr_position = 0;
  bool fortran_order = false;
  size_t order_position = 0;
  std::vector<int64_t> shape;
  size_t shape_position = 0;

  /// False: `problem` says what was expected at `position()`.
  bool read() {
    std::array<bool, 3> seen = {};
    if (!expect('{')) return false;
    while (peek() != '}') {
      const size_t key_position = position_;
      const std::optional<std::string_view> key = string();
      constexpr std::array<std::string_view, 3> keys = {"descr", "fortran_order", "shape"};
      const auto known = key ? std::find(keys.begin(), keys.end(), *key) : keys.end();
      if (known == keys.end() || seen[known - keys.begin()]) {
        position_ = key_position;
        return fail("each of 'descr', 'fortran_order' and 'shape' once");
      }
      seen[known - keys.begin()] = true;
      if (!expect(':')) return false;
      if (!(*key == "descr" ? read_descr() : *key == "shape" ? read_shape() : read_order())) {
        return false;
      }
      if (peek() != '}' && !expect(',')) return false;
    }
    if (!std::all_of(seen.begin(), seen.end(), [](bool each) { return each; })) {
      return fail("each of 'descr', 'fortran_order' and 'shape' once");
    }
    ++position_;
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
    if (position_ < text_.size() && text_[position_] == '\n') ++position_;
    if (position_ != text_.size()) return fail("spaces and the header's end");
    return true;
  }

  size_t position() const { return position_; }
  const std::string& problem() const { return problem_; }

  std::string found() const {
    if (position_ >= text_.size()) return "its end";
    return quoted(text_.substr(position_, std::min<size_t>(16, text_.size() - position_)));
  }

 private:
  bool fail(std::string expected) {
    problem_ = std::move(expected);
    return false;
  }
  char peek() {
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
    return position_ < text_.size() ? text_[position_] : '\0';
  }
  bool expect(char sign) {
    if (peek() != sign || position_ >= text_.size()) return fail(fmt::format("`{}`", sign));
    ++position_;
    return true;
  }
  std::optional<std::string_view> string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return std::nullopt;
    const size_t end = text_.find(quote, position_ + 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view content = text_.substr(position_ + 1, end - position_ - 1);
    if (content.find('\\') != std::string_view::npos) return std::nullopt;
    position_ = end + 1;
    return content;
  }
  bool read_descr() {
    peek();
    descr_position = position_;
    const std::optional<std::string_view> content = string();
    // A structured type is a list of pairs.
    if (!content) return fail("a plain element type such as '<f4'");
    descr = *content;
    return true;
  }
  bool read_order() {
    peek();
    order_position = position_;
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(position_).starts_with(word)) continue;
      position_ += word.size();
      fortran_order = value;
      return true;
    }
    return fail("True or False");
  }
  bool read_shape() {
    peek();
    shape_position = position_;
    if (!expect('(')) return false;
    while (peek() != ')') {
      int64_t extent = 0;
      const char* begin = text_.data() + position_;
      const char* end = text_.data() + text_.size();
      const std::from_chars_result result = std::from_chars(begin, end, extent);
      // from_chars would also read a minus sign and zeros in front.
      if (result.ec != std::errc() || *begin == '-' || (*begin == '0' && result.ptr != begin + 1)) {
        return fail("a size below 2^63, or `)`");
      }
      position_ += static_cast<size_t>(result.ptr - begin);
      shape.push_back(extent);
      if (shape.size() > largest_rank) return fail(fmt::format("at most {} sizes", largest_rank));
      if (peek() == ')') {
        // (3) is a number and no tuple.
        if (shape.size() == 1) return fail("`,`");
        break;
      }
      if (!expect(',')) return false;
    }
    ++position_;
    return true;
  }

  std::string_view text_;
  size_t position_ = 0;
  std::string problem_;
};

uint32_t little_endian(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint32_t>(bytes[i]);
  return value;
}

/// Checks the fixed start and reads the header's text; the stream then stands at the elements.
Expected<std::string, DataFailure> read_header_text(ContentStream& stream,
                                                    const ReadLimits& limits) {
  const std::string& path = stream.file().path;
  const auto cut_off = [&](int64_t expected) {
    return malformed(path, fmt::format("{}: the file ends inside the NPY header: expected {} "
                                       "bytes",
                                       stream.place(), expected));
  };
  std::array<std::byte, 8> start = {};
  Expected<int64_t, DataFailure> count = stream.read(start, limits);
  if (!count) return count.error();
  const std::string_view magic(reinterpret_cast<const char*>(start.data()),
                               static_cast<size_t>(std::min<int64_t>(6, *count)));
  if (std::string_view("\x93NUMPY").substr(0, magic.size()) != magic) {
    std::string found;
    for (const char byte : magic) {
      found += fmt::format(" {:02x}", static_cast<unsigned char>(byte));
    }
    const bool archive = magic.starts_with("PK");
    return malformed(
        path, fmt::format("{}: expected 93 4e 55 4d 50 59 (NPY), found{}{}", stream.place(0), found,
                          archive ? ": a zip archive; read it with `npz`" : ""));
  }
  if (*count < static_cast<int64_t>(start.size())) return cut_off(10);
  const auto major = static_cast<int>(start[6]);
  const auto minor = static_cast<int>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    return malformed(path, fmt::format("{}: expected version 1.0, 2.0 or 3.0, found {}.{}",
                                       stream.place(6), major, minor));
  }
  std::array<std::byte, 4> length_bytes = {};
  const std::span<std::byte> length_field = std::span(length_bytes).first(major == 1 ? 2 : 4);
  count = stream.read(length_field, limits);
  if (!count) return count.error();
  const int64_t fixed = static_cast<int64_t>(start.size() + length_field.size());
  if (*count < static_cast<int64_t>(length_field.size())) return cut_off(fixed);
  const int64_t length = little_endian(length_field);
  if (length > largest_npy_header) {
    return malformed(path, fmt::format("{}: expected a header of at most {} bytes, found {}",
                                       stream.place(8), largest_npy_header, length));
  }
  std::string text(static_cast<size_t>(length), '\0');
  count = stream.read(std::as_writable_bytes(std::span(text)), limits);
  if (!count) return count.error();
  if (*count < length) return cut_off(fixed + length);
  return text;
}

}  // namespace

Expected<Column, DataFailure> read_npy(ContentStream& stream, const ReadLimits& limits) {
  const std::string& path = stream.file().path;
  Expected<std::string, DataFailure> text = read_header_text(stream, limits);
  if (!text) return text.error();
  const int64_t text_begin = stream.position() - static_cast<int64_t>(text->size());
  const auto place = [&](size_t position) {
    return stream.place(text_begin + static_cast<int64_t>(position));
  };
  NpyHeader header(*text);
  if (!header.read()) {
    return malformed(path, fmt::format("{}: expected {} in the NPY header, found {}",
                                       place(header.position()), header.problem(), header.found()));
  }
  const auto* type = std::find_if(npy_types.begin(), npy_types.end(),
                                  [&](const NpyType& known) { return known.text == header.descr; });
  if (type == npy_types.end()) {
    return malformed(path, fmt::format("{}: expected element type |b1, |u1, <i4, <f4 or <f8, "
                                       "found {}: {}",
                                       place(header.descr_position), quoted(header.descr),
                                       refused_type(header.descr)));
  }
  if (header.fortran_order) {
    return malformed(path, fmt::format("{}: expected C order, found Fortran order; save it with "
                                       "np.ascontiguousarray",
                                       place(header.order_position)));
  }
  if (header.shape.empty()) {
    return malformed(path, fmt::format("{}: expected 1 to {} dimensions, found 0: there are no "
                                       "records",
                                       place(header.shape_position), largest_rank));
  }
  Column column;
  column.element = type->element;
  column.shape = header.shape;
  const std::string shape_text = type_text(column.element, column.shape);
  const std::optional<int64_t> size = tensor_bytes(column.element, column.shape);
  if (!size || *size > limits.largest_bytes) {
    return too_large(path, place(header.shape_position), shape_text, size, limits);
  }
  const int64_t header_bytes = stream.position();
  Expected<AlignedBytes, DataFailure> bytes = read_elements(stream, *size, shape_text, limits);
  if (!bytes) return bytes.error();
  column.bytes = std::move(*bytes);
  from_little_endian(column);
  if (const std::optional<int64_t> position = find_no_boolean(column)) {
    return malformed(path, fmt::format("{}: expected a bool, 00 or 01, found {:02x}",
                                       stream.place(header_bytes + *position),
                                       static_cast<unsigned>(column.bytes.data()[*position])));
  }
  return column;
}

Expected<Column, DataFailure> read_npy(const InputFile& file, const ReadLimits& limits) {
  if (file.size == 0) {
    return malformed(file.path,
                     fmt::format("{} is empty; expected an NPY file", quoted(file.path)));
  }
  Expected<ContentStream, DataFailure> stream = ContentStream::open(file);
  if (!stream) return stream.error();
  return read_npy(*stream, limits);
}

Expected<Column, DataFailure> read_npz(const InputFile& file, const std::string& name,
                                       const ReadLimits& limits) {
  Expected<std::vector<ZipMember>, DataFailure> members = read_zip_directory(file);
  if (!members) return members.error();
  const std::string member_name = name + ".npy";
  const auto found = std::find_if(members->begin(), members->end(), [&](const ZipMember& member) {
    return member.name == member_name;
  });
  if (found == members->end()) {
    DataFailure failure =
        data_failure(DataFailureKind::does_not_fit, file.path,
                     fmt::format("{} holds no array {}", quoted(file.path), quoted(name)));
    std::string names;
    for (size_t i = 0; i < members->size() && i < 20; ++i) {
      std::string_view member = (*members)[i].name;
      if (member.ends_with(".npy")) member.remove_suffix(4);
      names += fmt::format("{}{}", names.empty() ? "" : ", ", quoted(member));
    }
    failure.notes.push_back(names.empty() ? "the archive is empty" : "it holds " + names);
    failure.label = fmt::format("no array {} in the file", quoted(name));
    return failure;
  }
  ContentStream stream(file, found->begin, found->end, found->packing, found->name,
                       {found->size, found->checksum});
  return read_npy(stream, limits);
}

}  // namespace fusegrad::runtime
