// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tables: every cell that is read says what the file says, and everything else has line and column.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "runtime/core/readers.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Range = std::vector<int64_t>;
using Names = std::vector<std::string>;

Expected<Column, DataFailure> read(const std::string& text, const ReaderArguments& arguments,
                                   ElementType element = ElementType::f32,
                                   const ReadLimits& limits = {}) {
  const InputFile file = memory_file(text);
  const InputEntry input = {"x", element, {}, false, 0, 0};
  return read_csv({file, input, arguments, limits});
}

std::string refusal(const std::string& text, const ReaderArguments& arguments,
                    ElementType element = ElementType::f32, const ReadLimits& limits = {}) {
  Expected<Column, DataFailure> column = read(text, arguments, element, limits);
  if (column) return "read as " + type_text(column->element, column->shape);
  EXPECT_EQ(column.error().message.find('\n'), std::string::npos) << "more than one line";
  EXPECT_THAT(column.error().message, HasSubstr("`memory`"));
  return column.error().message;
}

template <typename T>
std::vector<T> values(const Expected<Column, DataFailure>& column) {
  EXPECT_TRUE(column) << column.error().message;
  return column ? values_of<T>(column->bytes.data(), column->bytes.size()) : std::vector<T>{};
}

const ReaderArguments all = {};
const ReaderArguments first = {{"column", int64_t{0}}};
const ReaderArguments bare = {{"header", false}};

TEST(CsvReader, ReadsColumnsByNumberAndByName) {
  const std::string table = "age,plan,height\n30,basic,1.75\n41,plus,1.5\n";
  const ReaderArguments numbers = {{"columns", Names{"height", "age"}}};
  Expected<Column, DataFailure> column = read(table, numbers);
  EXPECT_THAT(values<float>(column), ElementsAre(1.75F, 30.0F, 1.5F, 41.0F));
  EXPECT_EQ(column->shape, (std::vector<int64_t>{2, 2}));

  column = read(table, {{"column", std::string("age")}}, ElementType::u8);
  EXPECT_THAT(values<uint8_t>(column), ElementsAre(30, 41));
  EXPECT_EQ(column->shape, (std::vector<int64_t>{2}));
  EXPECT_THAT(values<double>(read(table, {{"column", int64_t{2}}}, ElementType::f64)),
              ElementsAre(1.75, 1.5));
  column = read(table, {{"columns", Range{2, 3}}});
  EXPECT_EQ(column->shape, (std::vector<int64_t>{2, 1}));
  EXPECT_THAT(
      values<int32_t>(read(
          table, {{"column", std::string("plan")}, {"categories", Names{"none", "basic", "plus"}}},
          ElementType::i32)),
      ElementsAre(1, 2));
  EXPECT_THAT(values<float>(read("1,2\n3,4\n", bare)), ElementsAre(1, 2, 3, 4));
}

TEST(CsvReader, RowsAreCountedWithoutTheHeader) {
  const std::string table = "x\n0\n1\n2\n3\n4\n";
  const auto rows = [&](int64_t begin, int64_t end) {
    return values<float>(
        read(table, {{"column", int64_t{0}}, {"rows", std::vector<int64_t>{begin, end}}}));
  };
  EXPECT_THAT(rows(0, 5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(rows(1, 3), ElementsAre(1, 2));
  EXPECT_THAT(rows(4, 5), ElementsAre(4));
  EXPECT_THAT(refusal(table, {{"rows", Range{3, 6}}}),
              HasSubstr("expected rows 3 to 5, as `rows` says; the file has 5"));
  // What is not used is still a table.
  EXPECT_THAT(refusal("x\n0\n1,1\n", {{"rows", Range{0, 1}}}),
              HasSubstr("line 3: expected 1 columns, as in line 1, found 2"));
}

TEST(CsvReader, ReadsEveryElementTypeToItsEdges) {
  EXPECT_THAT(values<uint8_t>(read("0\n255\n", bare, ElementType::u8)), ElementsAre(0, 255));
  EXPECT_THAT(values<int32_t>(read("-2147483648\n2147483647\n", bare, ElementType::i32)),
              ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(values<uint8_t>(read("0\n1\ntrue\nfalse\n", bare, ElementType::boolean)),
              ElementsAre(0, 1, 1, 0));
  // 2^24 + 1 lies between two f32; 0.1 is rounded once.
  EXPECT_THAT(values<float>(read("16777217\n0.1\n1e-60\n", bare)),
              ElementsAre(16777216.0F, 0.1F, 0.0F));
  EXPECT_THAT(values<double>(read("0.1\n1e308\n-0\n", bare, ElementType::f64)),
              ElementsAre(0.1, 1e308, -0.0));
}

TEST(CsvReader, EveryNumberComesBack) {
  std::string text;
  std::vector<float> numbers;
  uint32_t bits = 1;
  for (int i = 0; i < 2000; ++i) {
    bits = bits * 1664525U + 1013904223U;
    const auto number = std::bit_cast<float>(bits);
    if (!std::isfinite(number)) continue;
    numbers.push_back(number);
    text += fmt::format("{}\n", number);
  }
  EXPECT_EQ(values<float>(read(text, bare)), numbers);
}

TEST(CsvReader, ReadsQuotesLineEndsAndBlanks) {
  const Names categories = {"a,b", "say \"x\"", "two\nlines", "", " kept "};
  const ReaderArguments arguments = {{"column", int64_t{1}}, {"categories", categories}};
  const std::string table =
      "\xef\xbb\xbfn , \"the name\"\r\n1,\"a,b\"\r\n2, \"say \"\"x\"\"\" \r\n3,\"two\nlines\"\n"
      "4,\"\"\n5,\" kept \"";
  EXPECT_THAT(values<int32_t>(read(table, arguments, ElementType::i32)),
              ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(values<float>(read(table, {{"column", std::string("n")}})),
              ElementsAre(1, 2, 3, 4, 5));
  const ReaderArguments semicolons = {{"separator", std::string(";")}, {"header", false}};
  EXPECT_THAT(values<float>(read("1;2\n3;4\n", semicolons)), ElementsAre(1, 2, 3, 4));
  const ReaderArguments tabs = {{"separator", std::string("\t")}, {"header", false}};
  EXPECT_THAT(values<float>(read("1\t2\n3 \t 4\n", tabs)), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(values<float>(read(gzip("1,2\n"), bare)), ElementsAre(1, 2));
}

TEST(CsvReader, MissingAndWrongValuesHaveLineAndColumn) {
  EXPECT_EQ(refusal("age,height\n1,2\n3,\n", all),
            "`memory`, line 3, column 1 (`height`): the value is missing");
  EXPECT_THAT(refusal("1\n\n2\n", bare), HasSubstr("line 2, column 0: the value is missing"));
  EXPECT_THAT(refusal("1,2\n\n", bare),
              HasSubstr("line 2: expected 2 columns, as in line 1, found an empty line"));
  EXPECT_THAT(refusal("1,2\n1,2,3\n", bare), HasSubstr("line 2: expected 2 columns"));
  for (const std::string text :
       {"NA", "nan", "inf", "-inf", "1e400", "0x10", "1.5.2", "+1", "1 2", "1_000", "\"1\" "}) {
    const bool is_number = text == "\"1\" ";
    const std::string message = refusal("1\n" + text + "\n", bare);
    if (is_number) {
      EXPECT_EQ(message, "read as f32[2, 1]");
    } else {
      EXPECT_EQ(message, "`memory`, line 2, column 0: expected a finite f32, found `" + text + "`");
    }
  }
  EXPECT_THAT(refusal("1e-400\n", bare, ElementType::f64), HasSubstr("found `1e-400`"));
  EXPECT_THAT(refusal("256\n", bare, ElementType::u8),
              HasSubstr("expected a u8, 0 to 255, found `256`"));
  EXPECT_THAT(refusal("-1\n", bare, ElementType::u8), HasSubstr("found `-1`"));
  EXPECT_THAT(refusal("1.0\n", bare, ElementType::i32), HasSubstr("found `1.0`"));
  EXPECT_THAT(refusal("2147483648\n", bare, ElementType::i32), HasSubstr("found `2147483648`"));
  EXPECT_THAT(refusal("2\n", bare, ElementType::boolean), HasSubstr("expected a bool"));
  EXPECT_THAT(refusal("a\nz\n", {{"categories", Names{"b"}}}, ElementType::u8),
              HasSubstr("line 2, column 0 (`a`): expected one of `categories`, found `z`"));
  // The line is the file's own, whatever stands in quotes.
  EXPECT_THAT(refusal("a,b\n\"two\nlines\",1\nx,y\n", {{"column", int64_t{1}}}),
              HasSubstr("line 4, column 1 (`b`)"));
}

TEST(CsvReader, WhatIsNoTableIsRefused) {
  EXPECT_THAT(refusal("", all), HasSubstr("`memory` is empty; expected a line of names"));
  EXPECT_THAT(refusal("", bare), HasSubstr("is empty; expected rows"));
  EXPECT_EQ(refusal("a,b\n", all), "read as f32[0, 2]");
  EXPECT_THAT(refusal("1,2\"3\n", bare),
              HasSubstr("line 1, column 1: found a quote inside a field"));
  EXPECT_THAT(refusal("\"1\"2\n", bare), HasSubstr("expected the field's end behind its closing"));
  EXPECT_THAT(refusal("1\n\"2\n3\n", bare),
              HasSubstr("the file ends inside the quotes that begin in line 2"));
  EXPECT_THAT(refusal("1\r2\n", bare), HasSubstr("expected a line feed behind the carriage"));
  EXPECT_THAT(refusal("a,b,a\n1,2,3\n", {{"column", std::string("a")}}),
              HasSubstr("line 1: expected one column `a`, found several"));
  EXPECT_THAT(refusal("a,b\n1,2\n", {{"column", std::string("c")}}),
              HasSubstr("line 1: expected a column `c`, found none of that name"));
  EXPECT_THAT(refusal("a,b\n1,2\n", {{"columns", Range{1, 3}}}),
              HasSubstr("expected columns up to 2, as `columns` says; found columns 0 to 1"));
  EXPECT_THAT(refusal("a,b\n1,2\n", {{"column", int64_t{7}}}), HasSubstr("columns 0 to 1"));
}

TEST(CsvReader, RowsAndValuesHaveLimits) {
  const std::string wide(size_t{16} << 20, '1');
  EXPECT_THAT(refusal(wide + "1\n", bare),
              HasSubstr("line 1, column 0: expected a row of at most 16777216 bytes"));
  EXPECT_THAT(refusal(std::string(size_t{17} << 20, ','), bare), HasSubstr("16777216 bytes"));
  // Quotes that are never closed, a gigabyte of them in a megabyte of gzip.
  EXPECT_THAT(refusal(gzip("\"" + std::string(size_t{64} << 20, '\n')), bare),
              HasSubstr("expected a row of at most"));
  ReadLimits limits;
  limits.largest_bytes = 7;
  EXPECT_THAT(refusal("1\n2\n", bare, ElementType::f32, limits), HasSubstr("the limit of 7 bytes"));
  limits.largest_bytes = 100;
  EXPECT_THAT(refusal(gzip(std::string(1000, '\n')), bare, ElementType::f32, limits),
              HasSubstr("unpacks to more than the limit of 100 bytes"));
  const StopSignal stop = 2;
  limits.stop = &stop;
  Expected<Column, DataFailure> column = read("1\n", bare, ElementType::f32, limits);
  ASSERT_FALSE(column);
  EXPECT_EQ(column.error().kind, DataFailureKind::interrupted);
}

/// Another reader of the same tables, for texts without quotes: by hand, number by number. Nothing
/// where the table is not one of two columns of integers.
std::optional<std::vector<int32_t>> plain_decode(const std::string& text) {
  std::vector<int32_t> numbers;
  size_t at = 0;
  if (text.empty()) return std::nullopt;
  while (at < text.size()) {
    for (int column = 0; column < 2; ++column) {
      while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
      const bool negative = at < text.size() && text[at] == '-';
      if (negative) ++at;
      int64_t value = 0;
      int digits = 0;
      for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
        value = value * 10 + (text[at] - '0');
        if (value > int64_t{1} << 40) return std::nullopt;
      }
      if (negative) value = -value;
      if (digits == 0 || value < INT32_MIN || value > INT32_MAX) return std::nullopt;
      numbers.push_back(static_cast<int32_t>(value));
      while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
      if (column == 0) {
        if (at >= text.size() || text[at] != ',') return std::nullopt;
      } else if (at < text.size() && text.compare(at, 2, "\r\n") == 0) {
        ++at;
      } else if (at < text.size() && text[at] != '\n') {
        return std::nullopt;
      }
      ++at;
    }
  }
  return numbers;
}

TEST(CsvReader, EveryTruncationAndEveryChangedByteIsRefusedOrReadAsItStands) {
  const std::string good = "10,-2\n3, 45\r\n-6,789\n0,1\n";
  ASSERT_TRUE(plain_decode(good));
  int read_count = 0;
  int refused_count = 0;
  const auto compare = [&](const std::string& text) {
    Expected<Column, DataFailure> column = read(text, bare, ElementType::i32);
    (column ? read_count : refused_count) += 1;
    const std::optional<std::vector<int32_t>> expected = plain_decode(text);
    // The width of a table is that of its first row, and quotes are not for the other reader.
    if (column && column->shape[1] != 2) return;
    if (text.find('"') != std::string::npos) return;
    ASSERT_EQ(static_cast<bool>(column), expected.has_value())
        << text << (column ? "" : column.error().message);
    if (column) {
      ASSERT_EQ(values<int32_t>(column), *expected) << text;
    }
  };
  for (size_t size = 0; size < good.size(); ++size) compare(good.substr(0, size));
  for (size_t position = 0; position < good.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string text = good;
      text[position] = static_cast<char>(text[position] ^ change);
      compare(text);
    }
  }
  EXPECT_GT(read_count, 150);
  EXPECT_GT(refused_count, 3000);
}

}  // namespace
}  // namespace fusegrad::runtime
