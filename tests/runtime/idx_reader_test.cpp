// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// IDX files, good, damaged and hostile: each is read as what it says or refused with one clear
// line.
#include "runtime/core/idx_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <optional>

#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Expected<Column, DataFailure> read_bytes(const std::string& bytes, const ReadLimits& limits = {}) {
  return read_idx(memory_file(bytes), limits);
}

std::string refusal(const std::string& bytes, const ReadLimits& limits = {}) {
  Expected<Column, DataFailure> column = read_bytes(bytes, limits);
  if (column) return "read as " + type_text(column->element, column->shape);
  EXPECT_EQ(column.error().message.find('\n'), std::string::npos) << "more than one line";
  return column.error().message;
}

const std::string small_u8 = idx_u8({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255});

TEST(IdxReader, ReadsEachElementType) {
  Expected<Column, DataFailure> bytes = read_bytes(small_u8);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->element, ElementType::u8);
  EXPECT_EQ(bytes->shape, (std::vector<int64_t>{3, 2, 2}));
  EXPECT_EQ(bytes->records(), 3);
  EXPECT_EQ(values_of<uint8_t>(bytes->bytes.data(), bytes->bytes.size()),
            (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}));

  const std::vector<int32_t> numbers = {0, 1, -1, INT32_MAX, INT32_MIN};
  Expected<Column, DataFailure> integers = read_bytes(idx_i32({5}, numbers));
  ASSERT_TRUE(integers);
  EXPECT_EQ(integers->element, ElementType::i32);
  EXPECT_EQ(values_of<int32_t>(integers->bytes.data(), integers->bytes.size()), numbers);

  const std::vector<float> reals = {0.0F, -0.0F, 1.5F, -3.25e-20F};
  Expected<Column, DataFailure> floats = read_bytes(gzip(idx_f32({2, 2}, reals)));
  ASSERT_TRUE(floats);
  EXPECT_EQ(floats->element, ElementType::f32);
  EXPECT_EQ(values_of<float>(floats->bytes.data(), floats->bytes.size()), reals);

  // 1.5 and -2 in f64.
  const std::string wide =
      idx_header(0x0e, {2}) + "\x3f\xf8" + std::string(6, '\0') + "\xc0" + std::string(7, '\0');
  Expected<Column, DataFailure> doubles = read_bytes(wide);
  ASSERT_TRUE(doubles);
  EXPECT_EQ(doubles->element, ElementType::f64);
  EXPECT_EQ(values_of<double>(doubles->bytes.data(), doubles->bytes.size()),
            (std::vector<double>{1.5, -2}));
}

TEST(IdxReader, ColumnIsAlignedAndPaddedWithZeros) {
  for (const std::string& file : {small_u8, gzip(small_u8)}) {
    Expected<Column, DataFailure> column = read_bytes(file);
    ASSERT_TRUE(column);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(column->bytes.data()) % 64, 0U);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(column->bytes.data()[12 + i], std::byte{0});
  }
}

TEST(IdxReader, EmptyColumnsAreColumns) {
  Expected<Column, DataFailure> none = read_bytes(idx_u8({0, 28, 28}, {}));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->records(), 0);
  Expected<Column, DataFailure> packed = read_bytes(gzip(idx_u8({7, 0}, {})));
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->records(), 7);
  EXPECT_EQ(packed->bytes.size(), 0);
}

TEST(IdxReader, NamesWhatIsWrongAndWhere) {
  EXPECT_THAT(refusal(""), HasSubstr("`memory` is empty"));
  EXPECT_THAT(refusal(std::string(1, '\0')), HasSubstr("expected at least 4 bytes, found 1"));
  EXPECT_THAT(refusal("\x89PNG...."),
              HasSubstr("byte 0: expected 00 00 (IDX) or 1f 8b (gzip), found 89 50 4e 47"));
  EXPECT_THAT(
      refusal(idx_header(0x09, {1}) + "x"),
      HasSubstr("byte 2: expected element type 08 (u8), 0c (i32), 0d (f32) or 0e (f64), found 09 "
                "(i8)"));
  EXPECT_THAT(refusal(idx_header(0x0b, {1})), HasSubstr("found 0b (i16)"));
  EXPECT_THAT(refusal(idx_header(0x42, {1})), HasSubstr("found 42 (no IDX type)"));
  EXPECT_THAT(refusal(idx_header(0x08, {})),
              HasSubstr("byte 3: expected 1 to 8 dimensions, found 0"));
  EXPECT_THAT(refusal(idx_header(0x08, {1, 1, 1, 1, 1, 1, 1, 1, 1}) + "x"),
              HasSubstr("expected 1 to 8 dimensions, found 9"));
  EXPECT_THAT(refusal(idx_header(0x08, {2, 3, 4}).substr(0, 10)),
              AllOf(HasSubstr("byte 10: the file ends inside the IDX header"),
                    HasSubstr("expected 16 bytes for 3 dimensions, found 10")));
  EXPECT_THAT(
      refusal(small_u8.substr(0, 20)),
      AllOf(HasSubstr("byte 20: the file ends too early"),
            HasSubstr("u8[3, 2, 2] takes 28 bytes with its header, the file has 20 (8 missing)")));
  EXPECT_THAT(refusal(small_u8 + "xyz"), AllOf(HasSubstr("byte 28: 3 more bytes follow the data"),
                                               HasSubstr("the file has 31")));
}

TEST(IdxReader, NamesWhatIsWrongInsideGzip) {
  EXPECT_THAT(refusal(gzip("")), HasSubstr("expected at least 4 bytes, found 0"));
  EXPECT_THAT(refusal(gzip("\x89PNG....")),
              HasSubstr("unpacked byte 0: expected 00 00 (IDX), found 89 50"));
  EXPECT_THAT(refusal(gzip(gzip(small_u8))), HasSubstr("expected 00 00 (IDX), found 1f 8b"));
  EXPECT_THAT(
      refusal(gzip(small_u8.substr(0, 20))),
      AllOf(HasSubstr("unpacked byte 20: the file ends too early"), HasSubstr("(8 missing)")));
  EXPECT_THAT(refusal(gzip(small_u8 + "xyz")),
              HasSubstr("unpacked byte 28: more bytes follow the data"));
  EXPECT_THAT(refusal(gzip(idx_header(0x08, {2, 3}).substr(0, 9))),
              HasSubstr("ends inside the IDX header"));
  const std::string packed = gzip(small_u8);
  EXPECT_THAT(refusal(packed.substr(0, packed.size() - 4)), HasSubstr("gzip data are cut off"));
  EXPECT_THAT(refusal(packed.substr(0, 5)), HasSubstr("gzip data are cut off"));
  EXPECT_THAT(refusal(packed + "tail"), HasSubstr("4 bytes follow the end of the gzip data"));
  std::string wrong_checksum = packed;
  wrong_checksum[packed.size() - 8] ^= 1;
  EXPECT_THAT(refusal(wrong_checksum),
              AllOf(HasSubstr("gzip data are damaged"), HasSubstr("incorrect data check")));
}

TEST(IdxReader, GzipOfSeveralMembersIsOneContent) {
  Expected<Column, DataFailure> column =
      read_bytes(gzip(small_u8.substr(0, 6)) + gzip("") + gzip(small_u8.substr(6)));
  ASSERT_TRUE(column) << column.error().message;
  EXPECT_EQ(values_of<uint8_t>(column->bytes.data(), 3), (std::vector<uint8_t>{1, 2, 3}));
}

TEST(IdxReader, EveryTruncationIsRefused) {
  for (const std::string& file : {small_u8, gzip(small_u8)}) {
    for (size_t size = 0; size < file.size(); ++size) {
      EXPECT_FALSE(read_bytes(file.substr(0, size))) << size << " of " << file.size();
    }
  }
}

TEST(IdxReader, EveryChangedByteIsRefusedOrReadAsItStands) {
  const size_t header = 16;
  int read = 0;
  for (size_t position = 0; position < small_u8.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string file = small_u8;
      file[position] = static_cast<char>(file[position] ^ change);
      Expected<Column, DataFailure> column = read_bytes(file);
      if (position < header) {
        EXPECT_FALSE(column) << position;  // each header byte decides the file's length or kind
        continue;
      }
      ASSERT_TRUE(column);
      ++read;
      const std::string content(reinterpret_cast<const char*>(column->bytes.data()), 12);
      ASSERT_EQ(content, file.substr(header));
    }
  }
  EXPECT_EQ(read, 12 * 255);
}

TEST(IdxReader, EveryChangedByteOfGzipIsRefusedOrHarmless) {
  const std::string packed = gzip(small_u8);
  int harmless = 0;
  for (size_t position = 0; position < packed.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string file = packed;
      file[position] = static_cast<char>(file[position] ^ change);
      Expected<Column, DataFailure> column = read_bytes(file);
      if (!column) continue;
      // Without a checksum are time, system and level in the header, and the bits that fill the
      // last byte of the compressed data (before 8 bytes of checksum and length). Nothing else may
      // pass.
      ++harmless;
      EXPECT_TRUE((position >= 3 && position < 10) || position == packed.size() - 9) << position;
      EXPECT_EQ(type_text(column->element, column->shape), "u8[3, 2, 2]");
      const std::string content(reinterpret_cast<const char*>(column->bytes.data()), 12);
      ASSERT_EQ(content, small_u8.substr(16));
    }
  }
  EXPECT_GT(harmless, 1000);
}

TEST(IdxReader, SizesThatMultiplyBadlyAreRefusedOrRight) {
  const std::vector<uint32_t> extents = {0,        1,          2,          1U << 15,
                                         1U << 16, 0x7fffffff, 0x80000000, 0xffffffff};
  int accepted = 0;
  for (const uint8_t type : {0x08, 0x0d}) {
    for (size_t code = 0; code < 8 * 8 * 8 * 8; ++code) {
      const std::vector<uint32_t> shape = {extents[code % 8], extents[code / 8 % 8],
                                           extents[code / 64 % 8], extents[code / 512]};
      // The file has the 16 bytes that a product wrong modulo 2^32 or 2^64 could ask for, or none.
      for (const size_t payload : {size_t{0}, size_t{16}}) {
        const std::string file = idx_header(type, shape) + std::string(payload, 'x');
        double product = type == 0x08 ? 1 : 4;
        for (const uint32_t extent : shape) product *= extent;
        Expected<Column, DataFailure> column = read_bytes(file);
        EXPECT_EQ(static_cast<bool>(column), product == static_cast<double>(payload))
            << type_text(ElementType::u8, {shape.begin(), shape.end()}) << ' ' << payload;
        accepted += column ? 1 : 0;
      }
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(IdxReader, TheLimitHoldsForPlainAndCompressed) {
  ReadLimits limits;
  limits.largest_bytes = 12;
  EXPECT_TRUE(read_bytes(small_u8, limits));
  EXPECT_TRUE(read_bytes(gzip(small_u8), limits));
  limits.largest_bytes = 11;
  EXPECT_THAT(refusal(small_u8, limits), HasSubstr("takes 12 bytes; the limit is 11 bytes"));
  EXPECT_THAT(refusal(gzip(small_u8), limits), HasSubstr("the limit is 11 bytes"));
  EXPECT_THAT(refusal(gzip(idx_header(0x08, {0xffffffff, 0xffffffff, 0xffffffff}))),
              AllOf(HasSubstr("more than 2^63 bytes"), HasSubstr("limit is 17179869184")));
}

TEST(IdxReader, GzipThatLiesAboutItsSizeTakesLittleMemory) {
#if defined(FUSEGRAD_SANITIZED)
  GTEST_SKIP() << "a sanitizer reserves address space of its own";
#endif
  // Announces 15 GiB and holds 1 MiB; under a limit of the address space only a reader that follows
  // the data gets to say so.
  const std::string file =
      gzip(idx_header(0x08, {15, 1U << 30}) + std::string(size_t{1} << 20, 'x'));
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {rlim_t{1} << 30, rlim_t{1} << 30};
    setrlimit(RLIMIT_AS, &limit);
    Expected<Column, DataFailure> column = read_bytes(file);
    const bool right =
        !column && column.error().message.find("the file ends too early") != std::string::npos;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(IdxReader, GrowsWithLargeCompressedData) {
  // Beyond the first allocation of 64 MiB; the values are a function of the position.
  constexpr uint32_t rows = 70;
  constexpr uint32_t row = 1U << 20;
  std::string bytes = idx_header(0x08, {rows, row});
  bytes.reserve(bytes.size() + size_t{rows} * row);
  for (uint32_t i = 0; i < rows; ++i) bytes.append(row, static_cast<char>(i * 37));
  Expected<Column, DataFailure> column = read_bytes(gzip(bytes));
  ASSERT_TRUE(column) << column.error().message;
  ASSERT_EQ(column->bytes.size(), int64_t{rows} * row);
  EXPECT_EQ(std::memcmp(column->bytes.data(), bytes.data() + 12, size_t{rows} * row), 0);
}

TEST(IdxReader, OnlyRegularFilesAreOpened) {
  const TemporaryFolder folder;
  const auto message = [](const std::string& path) {
    Expected<Column, DataFailure> column = read_idx(path);
    return column ? std::string("read") : column.error().message;
  };
  EXPECT_EQ(message(folder / "absent"),
            "cannot open `" + (folder / "absent") + "`: No such file or directory");
  EXPECT_THAT(message(folder.path()), HasSubstr("is a folder; expected a regular file"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(folder / "pipe"), HasSubstr("is a named pipe; expected a regular file"));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("is a character device; expected a regular file"));
  EXPECT_THAT(message(std::string("a\0b", 3)), HasSubstr("the path `a\\x00b` holds a NUL byte"));
  EXPECT_THAT(message(""), HasSubstr("path of a data file is empty"));
}

TEST(IdxReader, TheNameDoesNotDecideAboutCompression) {
  const TemporaryFolder folder;
  write_file(folder / "plain.gz", small_u8);
  write_file(folder / "packed", gzip(small_u8));
  EXPECT_TRUE(read_idx(folder / "plain.gz"));
  EXPECT_TRUE(read_idx(folder / "packed"));
}

TEST(IdxReader, StopSignalEndsReading) {
  const StopSignal stop = 2;
  ReadLimits limits;
  limits.stop = &stop;
  for (const std::string& file : {small_u8, gzip(small_u8)}) {
    Expected<Column, DataFailure> column = read_bytes(file, limits);
    ASSERT_FALSE(column);
    EXPECT_EQ(column.error().kind, DataFailureKind::interrupted);
  }
}

}  // namespace
}  // namespace fusegrad::runtime
