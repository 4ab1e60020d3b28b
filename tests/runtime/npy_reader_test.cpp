// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NPY files: what NumPy writes is read, everything else is refused with its place.
#include "runtime/core/npy_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/runtime/array_files.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Expected<Column, DataFailure> read_bytes(const std::string& bytes, const ReadLimits& limits = {}) {
  return read_npy(memory_file(bytes), limits);
}

std::string refusal(const std::string& bytes, const ReadLimits& limits = {}) {
  Expected<Column, DataFailure> column = read_bytes(bytes, limits);
  if (column) return "read as " + type_text(column->element, column->shape);
  EXPECT_EQ(column.error().message.find('\n'), std::string::npos) << "more than one line";
  EXPECT_THAT(column.error().message, HasSubstr("`memory`"));
  return column.error().message;
}

std::string content_of(const Column& column) {
  return {reinterpret_cast<const char*>(column.bytes.data()),
          static_cast<size_t>(column.bytes.size())};
}

const std::string small = npy("<f4", "(3, 2)", bytes_of<float>({1, -2, 3.5, 0, 1e-30F, 7}));

template <typename T>
void expect_round_trip(const std::string& descr, ElementType element,
                       const std::vector<T>& values) {
  const std::string shape = fmt::format("({},)", values.size());
  for (const int version : {1, 2, 3}) {
    for (const bool packed : {false, true}) {
      const std::string file = npy(descr, shape, bytes_of(values), version);
      Expected<Column, DataFailure> column = read_bytes(packed ? gzip(file) : file);
      ASSERT_TRUE(column) << column.error().message;
      EXPECT_EQ(column->element, element);
      EXPECT_EQ(column->shape, (std::vector<int64_t>{static_cast<int64_t>(values.size())}));
      EXPECT_EQ(content_of(*column), bytes_of(values)) << descr;
    }
  }
}

TEST(NpyReader, ReadsEveryElementTypeInEveryVersion) {
  expect_round_trip<uint8_t>("|b1", ElementType::boolean, {0, 1, 1, 0, 1});
  expect_round_trip<uint8_t>("|u1", ElementType::u8, {0, 1, 127, 128, 255});
  expect_round_trip<int32_t>("<i4", ElementType::i32, {0, -1, INT32_MAX, INT32_MIN});
  expect_round_trip<float>("<f4", ElementType::f32, {0.0F, -0.0F, 1.5F, 3e38F, 1e-45F, -INFINITY});
  expect_round_trip<double>("<f8", ElementType::f64, {0.0, -0.0, 0.1, 1e308, 5e-324});
}

TEST(NpyReader, ReadsShapesInAllFormsThatNumPyWrites) {
  const std::vector<uint8_t> values = {1, 2, 3, 4, 5, 6};
  Expected<Column, DataFailure> column = read_bytes(npy_file(
      "{\"shape\": (1,2,3), \"descr\": \"|u1\", \"fortran_order\":False}", bytes_of(values)));
  ASSERT_TRUE(column) << column.error().message;
  EXPECT_EQ(column->shape, (std::vector<int64_t>{1, 2, 3}));
  column = read_bytes(npy("|u1", "(0, 28, 28)", ""));
  ASSERT_TRUE(column) << column.error().message;
  EXPECT_EQ(column->records(), 0);
  column = read_bytes(npy("|u1", "(1, 1, 1, 1, 1, 1, 2, 3)", bytes_of(values)));
  ASSERT_TRUE(column) << column.error().message;
  EXPECT_EQ(column->shape.size(), 8U);
}

TEST(NpyReader, NamesWhatIsWrongAndWhere) {
  EXPECT_THAT(refusal(""), HasSubstr("`memory` is empty; expected an NPY file"));
  EXPECT_THAT(refusal("a,b\n1,2\n"),
              HasSubstr("byte 0: expected 93 4e 55 4d 50 59 (NPY), found 61 2c 62"));
  EXPECT_THAT(refusal(zip_archive({{"x.npy", small}})),
              HasSubstr("found 50 4b 03 04 2d 00: a zip archive; read it with `npz`"));
  EXPECT_THAT(refusal(small.substr(0, 9)),
              HasSubstr("byte 9: the file ends inside the NPY header"));
  EXPECT_THAT(refusal(small.substr(0, 60)), HasSubstr("expected 128 bytes"));
  std::string version = small;
  version[6] = 4;
  EXPECT_THAT(refusal(version), HasSubstr("byte 6: expected version 1.0, 2.0 or 3.0, found 4.0"));
  // A header of 4 GiB in a file of 12 bytes.
  EXPECT_THAT(refusal(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)),
              HasSubstr("byte 8: expected a header of at most 65536 bytes, found 4294967295"));
  EXPECT_THAT(refusal(npy("<i8", "(1,)", std::string(8, 'x'))),
              AllOf(HasSubstr("byte 20: expected element type |b1, |u1, <i4, <f4 or <f8, found "
                              "`<i8`: 64-bit integers; save them with .astype('int32')")));
  EXPECT_THAT(refusal(npy(">f4", "(1,)", "abcd")), HasSubstr("found `>f4`: big endian"));
  EXPECT_THAT(refusal(npy("<f2", "(1,)", "ab")), HasSubstr("half precision"));
  EXPECT_THAT(refusal(npy("|O", "(1,)", "cos\nsystem\n")),
              HasSubstr("found `|O`: Python objects are never read"));
  EXPECT_THAT(refusal(npy("<c8", "(1,)", "")), HasSubstr("no type of the language"));
  EXPECT_THAT(
      refusal(npy_file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "")),
      HasSubstr("expected a plain element type such as '<f4' in the NPY header, found "
                "`[('a', '<f4')], "));
  EXPECT_THAT(refusal(npy_file(npy_header("<f4", "(1,)", "True"), "abcd")),
              HasSubstr("expected C order, found Fortran order"));
  EXPECT_THAT(refusal(npy("<f4", "()", "abcd")), HasSubstr("expected 1 to 8 dimensions, found 0"));
  EXPECT_THAT(refusal(npy("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 1)", "abcd")),
              HasSubstr("expected at most 8 sizes"));
  EXPECT_THAT(refusal(npy("<f4", "(1)", "abcd")), HasSubstr("expected `,`"));
  EXPECT_THAT(refusal(npy("<f4", "(-1,)", "abcd")), HasSubstr("expected a size below 2^63"));
  EXPECT_THAT(refusal(npy("<f4", "(9223372036854775808,)", "")), HasSubstr("a size below 2^63"));
  EXPECT_THAT(refusal(npy_file("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False}", "")),
              HasSubstr("each of 'descr', 'fortran_order' and 'shape' once"));
  EXPECT_THAT(refusal(npy_file("{'descr': '<f4', 'fortran_order': False}", "")),
              HasSubstr("each of 'descr', 'fortran_order' and 'shape' once"));
  EXPECT_THAT(refusal(npy_file(npy_header("<f4", "(1,)") + " + 1", "abcd")),
              HasSubstr("expected spaces and the header's end"));
  EXPECT_THAT(refusal(npy("|b1", "(3,)", std::string("\0\1\2", 3))),
              HasSubstr("byte 130: expected a bool, 00 or 01, found 02"));
  EXPECT_THAT(refusal(small.substr(0, 140)),
              AllOf(HasSubstr("byte 140: the file ends too early"),
                    HasSubstr("f32[3, 2] takes 152 bytes with its header, the file has 140 (12 "
                              "missing)")));
  EXPECT_THAT(refusal(small + "x"), HasSubstr("byte 152: 1 more bytes follow the data"));
  EXPECT_THAT(refusal(gzip(small + "x")),
              HasSubstr("unpacked byte 152: more bytes follow the data"));
}

TEST(NpyReader, SizesThatMultiplyBadlyAreRefusedOrRight) {
  const std::vector<std::string> extents = {"0",
                                            "1",
                                            "2",
                                            "32768",
                                            "65536",
                                            "2147483647",
                                            "2147483648",
                                            "4294967296",
                                            "8589934592",
                                            "4611686018427387904",
                                            "9223372036854775807",
                                            "18446744073709551615"};
  int accepted = 0;
  const size_t count = extents.size();
  for (size_t code = 0; code < count * count * count; ++code) {
    const std::string& first = extents[code % count];
    const std::string& second = extents[code / count % count];
    const std::string& third = extents[code / count / count];
    const std::string file =
        npy("<f8", "(" + first + ", " + second + ", " + third + ")", std::string(16, 'x'));
    long double product = 8;
    bool possible = true;
    for (const std::string& extent : {first, second, third}) {
      product *= std::strtold(extent.c_str(), nullptr);
      possible = possible && extent != "18446744073709551615";
    }
    Expected<Column, DataFailure> column = read_bytes(file);
    EXPECT_EQ(static_cast<bool>(column), possible && product == 16) << file.substr(10, 100);
    accepted += column ? 1 : 0;
  }
  EXPECT_EQ(accepted, 3);
}

TEST(NpyReader, EveryTruncationIsRefused) {
  for (const std::string& file : {small, gzip(small)}) {
    for (size_t size = 0; size < file.size(); ++size) {
      EXPECT_FALSE(read_bytes(file.substr(0, size))) << size << " of " << file.size();
    }
  }
}

/// The header without what may change without changing its meaning.
std::string meaning(const std::string& file) {
  std::string text;
  for (const char character : file.substr(10, 118)) {
    if (character == ' ' || character == '\n') continue;
    text += character == '"' ? '\'' : character;
  }
  for (const char* comma : {",}", ",)"}) {
    const size_t at = text.find(comma);
    if (at != std::string::npos) text.erase(at, 1);
  }
  return text;
}

TEST(NpyReader, EveryChangedByteIsRefusedOrReadAsItStands) {
  int in_payload = 0;
  for (size_t position = 0; position < small.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string file = small;
      file[position] = static_cast<char>(file[position] ^ change);
      Expected<Column, DataFailure> column = read_bytes(file);
      if (!column) {
        ASSERT_LT(position, 128U);
        continue;
      }
      in_payload += position < 128 ? 0 : 1;
      ASSERT_EQ(content_of(*column), file.substr(128));
      // What was read, written again, means the same; (3, 2) and (2, 3) take the same bytes.
      std::string shape;
      for (const int64_t extent : column->shape) shape += fmt::format("{},", extent);
      const char* descr = column->element == ElementType::f32 ? "<f4" : "<i4";
      ASSERT_EQ(meaning(npy(descr, "(" + shape + ")", "")), meaning(file)) << position;
    }
  }
  EXPECT_EQ(in_payload, 24 * 255);
}

TEST(NpyReader, TheLimitHolds) {
  ReadLimits limits;
  limits.largest_bytes = 24;
  EXPECT_TRUE(read_bytes(small, limits));
  limits.largest_bytes = 23;
  EXPECT_THAT(refusal(small, limits),
              HasSubstr("the header announces f32[3, 2], which takes 24 bytes; the limit is 23"));
  EXPECT_THAT(refusal(npy("<f4", "(4611686018427387904, 4)", "")),
              HasSubstr("more than 2^63 bytes"));
}

TEST(NpyReader, StopSignalEndsReading) {
  const StopSignal stop = 2;
  ReadLimits limits;
  limits.stop = &stop;
  for (const std::string& file : {small, gzip(small)}) {
    Expected<Column, DataFailure> column = read_bytes(file, limits);
    ASSERT_FALSE(column);
    EXPECT_EQ(column.error().kind, DataFailureKind::interrupted);
  }
}

// ---- archives

std::string refused_archive(const std::string& bytes, const std::string& name = "x") {
  Expected<Column, DataFailure> column = read_npz(memory_file(bytes), name);
  if (column) return "read as " + type_text(column->element, column->shape);
  EXPECT_EQ(column.error().message.find('\n'), std::string::npos) << "more than one line";
  return column.error().message;
}

const std::string labels = npy("|u1", "(3,)", bytes_of<uint8_t>({7, 8, 9}));

TEST(NpzReader, ReadsStoredAndDeflatedMembersInAllFormsOfSizes) {
  for (const ZipSizes sizes :
       {ZipSizes::plain, ZipSizes::numpy, ZipSizes::descriptor, ZipSizes::long_form}) {
    for (const bool pack : {false, true}) {
      const InputFile file =
          memory_file(zip_archive({{"x.npy", small, pack}, {"y.npy", labels, pack}}, sizes));
      Expected<Column, DataFailure> x = read_npz(file, "x");
      ASSERT_TRUE(x) << x.error().message;
      EXPECT_EQ(type_text(x->element, x->shape), "f32[3, 2]");
      EXPECT_EQ(content_of(*x), small.substr(128));
      Expected<Column, DataFailure> y = read_npz(file, "y");
      ASSERT_TRUE(y) << y.error().message;
      EXPECT_EQ(content_of(*y), labels.substr(128));
    }
  }
}

TEST(NpzReader, NamesTheArraysThatThereAre) {
  const InputFile file = memory_file(zip_archive({{"x.npy", small}, {"y.npy", labels}}));
  Expected<Column, DataFailure> column = read_npz(file, "z");
  ASSERT_FALSE(column);
  EXPECT_EQ(column.error().message, "`memory` holds no array `z`");
  EXPECT_THAT(column.error().notes, testing::ElementsAre("it holds `x`, `y`"));
  EXPECT_THAT(refused_archive(zip_archive({})), HasSubstr("holds no array `x`"));
}

TEST(NpzReader, NamesWhatIsWrongAndWhere) {
  const std::string good = zip_archive({{"x.npy", small}, {"y.npy", labels, true}});
  EXPECT_THAT(refused_archive(""),
              HasSubstr("byte 0: expected a zip archive, at least 22 bytes, found 0"));
  EXPECT_THAT(refused_archive(small), HasSubstr("expected the end record of a zip archive, "
                                                "06054b50, found"));
  EXPECT_THAT(refused_archive(good + "tail"), HasSubstr("expected the end record"));
  EXPECT_THAT(refused_archive("head" + good), HasSubstr("expected the directory to end at byte"));
  EXPECT_THAT(refused_archive(zip_archive({{"x.npy", small}, {"x.npy", labels}})),
              HasSubstr("expected each name once, found `x.npy` twice"));
  EXPECT_THAT(refused_archive(zip_archive({{"x\n.npy", small}})),
              HasSubstr("expected the name of a member, found `x\\x0a.npy`"));
  EXPECT_THAT(refused_archive(zip_archive({{"x.npy", "no array"}})),
              HasSubstr("`memory`, member `x.npy`, byte 0: expected 93 4e 55 4d 50 59 (NPY)"));
  EXPECT_THAT(refused_archive(zip_archive({{"x.npy", small + "x", true}})),
              HasSubstr("member `x.npy`, unpacked byte 152: more bytes follow the data"));

  const size_t directory = good.find("PK\x01\x02");
  std::string bad = good;
  bad[directory + 8] = 1;
  EXPECT_THAT(refused_archive(bad), HasSubstr("expected plain data, found `x.npy` encrypted"));
  bad = good;
  bad[directory + 10] = 14;
  EXPECT_THAT(refused_archive(bad),
              HasSubstr("expected method 0 (stored) or 8 (deflated), found 14 for `x.npy`"));
  bad = good;
  bad[directory + 42] = 1;  // the local header's place
  EXPECT_THAT(refused_archive(bad), HasSubstr("where the one before ends, found 1"));
  bad = good;
  bad[good.size() - 2] = 5;
  EXPECT_THAT(refused_archive(bad), HasSubstr("expected no comment, found one of 5 bytes"));
  bad = good;
  bad[30 + 5 + 130] ^= 1;  // in the array
  EXPECT_THAT(refused_archive(bad), AllOf(HasSubstr("member `x.npy`: expected the CRC-32"),
                                          HasSubstr("the data are damaged")));
}

TEST(NpzReader, EveryTruncationIsRefusedAndEveryChangedByteTooOrHarmless) {
  for (const ZipSizes sizes :
       {ZipSizes::plain, ZipSizes::numpy, ZipSizes::descriptor, ZipSizes::long_form}) {
    for (const bool pack : {false, true}) {
      const std::string good =
          zip_archive({{"x.npy", small, pack}, {"y.npy", labels, pack}}, sizes);
      for (size_t size = 0; size < good.size(); ++size) {
        EXPECT_FALSE(read_npz(memory_file(good.substr(0, size)), "x")) << size;
      }
      int changed = 0;
      for (size_t position = 0; position < good.size(); ++position) {
        // All values in the smallest form, a few in the others: the same code reads them.
        const int step = sizes == ZipSizes::plain && pack ? 1 : 37;
        for (int change = 1; change < 256; change += step) {
          std::string file = good;
          file[position] = static_cast<char>(file[position] ^ change);
          Expected<Column, DataFailure> column = read_npz(memory_file(file), "x");
          if (!column) continue;
          // A checksum guards the array's header and elements.
          ASSERT_EQ(type_text(column->element, column->shape), "f32[3, 2]") << position;
          ASSERT_EQ(content_of(*column), small.substr(128)) << position;
          ++changed;
        }
      }
      EXPECT_GT(changed, 0);  // in `y`, times, attributes
    }
  }
}

TEST(NpzReader, AMemberThatExpandsWithoutEndTakesLittleMemory) {
  // 64 MiB of zeros in 64 KiB: the directory says 152 bytes, the array ends there.
  const std::string bomb = small + std::string(size_t{64} << 20, '\0');
  std::string archive = zip_archive({{"x.npy", bomb, true}});
  EXPECT_THAT(refused_archive(archive), HasSubstr("more bytes follow the data"));
  // The directory and the header agree on 1 TiB, the data do not hold it.
  const std::string liar = npy("|u1", "(1099511627776,)", "few");
  EXPECT_THAT(refused_archive(zip_archive({{"x.npy", liar, true}})),
              HasSubstr("the limit is 17179869184 bytes"));
}

}  // namespace
}  // namespace fusegrad::runtime
