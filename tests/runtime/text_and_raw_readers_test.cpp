// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text in windows and files without headers, where only the file's length can contradict; the table
// of readers; what happens between splits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>

#include "runtime/core/dataset.h"
#include "runtime/core/readers.h"
#include "tests/runtime/array_files.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Expected<Column, DataFailure> read(ReadFunction function, const std::string& bytes,
                                   const InputEntry& input, const ReaderArguments& arguments,
                                   const ReadLimits& limits = {}, const char* path = "memory") {
  InputFile file = memory_file(bytes);
  file.path = path;
  return function({file, input, arguments, limits});
}

std::string message_of(const Expected<Column, DataFailure>& column) {
  if (column) return "read as " + type_text(column->element, column->shape);
  EXPECT_EQ(column.error().message.find('\n'), std::string::npos) << "more than one line";
  return column.error().message;
}

template <typename T>
std::vector<T> values(const Expected<Column, DataFailure>& column) {
  EXPECT_TRUE(column) << message_of(column);
  return column ? values_of<T>(column->bytes.data(), column->bytes.size()) : std::vector<T>{};
}

TEST(Readers, AllAreFoundByName) {
  for (const char* name : {"idx", "npy", "npz", "csv", "chars", "raw"}) {
    ASSERT_NE(find_reader(name), nullptr) << name;
    EXPECT_EQ(find_reader(name)->name, name);
  }
  EXPECT_EQ(readers().size(), 6U);
  EXPECT_EQ(find_reader("jpeg"), nullptr);
}

TEST(Readers, NoneReadsWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(mkdir((folder / "folder").c_str(), 0700), 0);
  DataSearch search;
  search.data_dir = folder.path();
  for (const Reader& reader : readers()) {
    for (const char* path : {"pipe", "folder"}) {
      const std::vector<InputEntry> inputs = {{"x", ElementType::u8, {4}, false, 0, 0}};
      Expected<Dataset, DataFailure> dataset =
          load_dataset(inputs, {{"train", "x", std::string(reader.name), path}}, {"train"}, search);
      ASSERT_FALSE(dataset);
      EXPECT_THAT(dataset.error().message, HasSubstr("expected a regular file")) << reader.name;
    }
  }
}

// ---- chars

const InputEntry text_of_4 = {"text", ElementType::u8, {4}, true, 0, 65};

TEST(CharsReader, BytesBecomePositionsAmongTheDifferentBytesOfTheFile) {
  // a b d x -> 0 1 2 3
  const std::string text = "xabdabdxabdxx";
  Expected<Column, DataFailure> column = read(read_chars, text, text_of_4, {});
  EXPECT_EQ(message_of(column), "read as u8[3, 4]");
  EXPECT_THAT(values<uint8_t>(column), ElementsAre(3, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3));
  EXPECT_EQ(values<uint8_t>(read(read_chars, gzip(text), text_of_4, {})), values<uint8_t>(column));
  const InputEntry wide = {"text", ElementType::i32, {4}, false, 0, 0};
  EXPECT_THAT(values<int32_t>(read(read_chars, text, wide, {{"from", 0.6}})),
              ElementsAre(3, 0, 1, 2));  // byte 7 of 13
}

TEST(CharsReader, ShiftedWindowsAreTheNextCharacters) {
  const std::string text = "0123456789abcdef";
  const auto part = [&](double from, double to, int64_t shift, int64_t spare) {
    return values<uint8_t>(read(read_chars, text, text_of_4,
                                {{"from", from}, {"to", to}, {"shift", shift}, {"spare", spare}}));
  };
  EXPECT_THAT(part(0, 1, 0, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(part(0, 1, 1, 1), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(part(0, 1, 0, 0).size(), 16U);
  EXPECT_THAT(part(0.25, 0.75, 0, 1), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(part(0.25, 0.75, 1, 1), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(part(0.25, 0.75, 4, 4), ElementsAre(8, 9, 10, 11));
}

TEST(CharsReader, PartsOfAFileMeetWithoutOverlap) {
  std::string text;
  for (int i = 0; i < 1003; ++i) text += static_cast<char>(i % 251);
  const InputEntry single = {"text", ElementType::u8, {1}, false, 0, 0};
  for (const double cut : {0.1, 0.3, 1.0 / 3, 0.5, 0.9, 0.999}) {
    std::vector<uint8_t> joined = values<uint8_t>(read(read_chars, text, single, {{"to", cut}}));
    const std::vector<uint8_t> rest =
        values<uint8_t>(read(read_chars, text, single, {{"from", cut}}));
    joined.insert(joined.end(), rest.begin(), rest.end());
    EXPECT_EQ(joined.size(), 1003U);
    for (size_t i = 0; i < joined.size(); ++i) ASSERT_EQ(joined[i], i % 251);
  }
}

TEST(CharsReader, NamesWhatDoesNotFit) {
  EXPECT_THAT(message_of(read(read_chars, "abc", text_of_4, {})),
              HasSubstr("`memory`, bytes 0 to 3: expected at least 4 bytes, a window of 4 and 0 "
                        "for the shift; found 3"));
  EXPECT_THAT(message_of(read(read_chars, "abcd", text_of_4, {{"shift", int64_t{1}}})),
              HasSubstr("expected at least 5 bytes"));
  EXPECT_THAT(message_of(read(read_chars, "abcd", text_of_4, {{"shift", INT64_MAX}})),
              HasSubstr("found 4"));
  EXPECT_THAT(message_of(read(read_chars, "", text_of_4, {})), HasSubstr("found 0"));
  InputEntry narrow = text_of_4;
  narrow.range_end = 3;
  Expected<Column, DataFailure> column = read(read_chars, "abcd", narrow, {});
  EXPECT_EQ(message_of(column),
            "`memory` holds 4 different bytes, which become 0 to 3; the input "
            "`text` wants 0..3");
  EXPECT_EQ(column.error().kind, DataFailureKind::out_of_range);
  narrow.range_end = 4;
  EXPECT_EQ(message_of(read(read_chars, "abcd", narrow, {})), "read as u8[1, 4]");
  for (const InputEntry& input : {InputEntry{"text", ElementType::f32, {4}, false, 0, 0},
                                  InputEntry{"text", ElementType::u8, {}, false, 0, 0},
                                  InputEntry{"text", ElementType::u8, {2, 2}, false, 0, 0},
                                  InputEntry{"text", ElementType::u8, {0}, false, 0, 0}}) {
    column = read(read_chars, "abcd", input, {});
    EXPECT_THAT(message_of(column), HasSubstr("`chars` makes windows of text"));
    EXPECT_EQ(column.error().kind, DataFailureKind::does_not_fit);
  }
  ReadLimits limits;
  limits.largest_bytes = 1000;
  EXPECT_THAT(
      message_of(read(read_chars, gzip(std::string(size_t{1} << 24, 'x')), text_of_4, {}, limits)),
      HasSubstr("unpacks to more than the limit of 1000 bytes"));
}

TEST(CharsReader, EveryTruncationAndEveryChangedByteReadsAsItStands) {
  const std::string good = "hello world!";
  const auto expect_reads = [](const std::string& text) {
    std::vector<uint8_t> expected;
    const std::set<unsigned char> different(text.begin(), text.end());
    for (size_t i = 0; i < text.size() / 4 * 4; ++i) {
      expected.push_back(static_cast<uint8_t>(
          std::distance(different.begin(), different.find(static_cast<unsigned char>(text[i])))));
    }
    Expected<Column, DataFailure> column = read(read_chars, text, text_of_4, {});
    ASSERT_EQ(static_cast<bool>(column), !expected.empty());
    if (column) {
      ASSERT_EQ(values<uint8_t>(column), expected);
    }
  };
  for (size_t size = 0; size <= good.size(); ++size) expect_reads(good.substr(0, size));
  for (size_t position = 0; position < good.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string text = good;
      text[position] = static_cast<char>(text[position] ^ change);
      expect_reads(text);
    }
  }
}

// ---- raw

const InputEntry pair_of_f32 = {"x", ElementType::f32, {2}, false, 0, 0};

template <typename T>
void expect_raw_round_trip(ElementType element, const std::vector<T>& numbers) {
  const InputEntry input = {"x", element, {}, false, 0, 0};
  const std::string bytes = bytes_of(numbers);
  EXPECT_EQ(values<T>(read(read_raw, bytes, input, {})), numbers);
  EXPECT_EQ(values<T>(read(read_raw, "head" + bytes, input, {{"offset", int64_t{4}}})), numbers);
  EXPECT_EQ(values<T>(read(read_raw, gzip("head" + bytes), input, {{"offset", int64_t{4}}}, {},
                           "memory.gz")),
            numbers);
}

TEST(RawReader, ReadsEveryElementType) {
  expect_raw_round_trip<uint8_t>(ElementType::boolean, {0, 1, 1});
  expect_raw_round_trip<uint8_t>(ElementType::u8, {0x1f, 0x8b, 0, 255});  // as gzip begins
  expect_raw_round_trip<int32_t>(ElementType::i32, {0, -1, INT32_MAX, INT32_MIN});
  expect_raw_round_trip<float>(ElementType::f32, {0.5F, -1e-45F, 3e38F});
  expect_raw_round_trip<double>(ElementType::f64, {0.1, -1e308});
}

TEST(RawReader, ShapeAndTypeComeFromTheInputOrFromTheArguments) {
  const std::string bytes = bytes_of<float>({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(message_of(read(read_raw, bytes, pair_of_f32, {})), "read as f32[3, 2]");
  EXPECT_EQ(message_of(read(read_raw, bytes, pair_of_f32,
                            {{"shape", std::vector<int64_t>{2, 3}}, {"type", std::string("i32")}})),
            "read as i32[2, 3]");  // and refused for the input by its caller
  EXPECT_EQ(message_of(read(read_raw, "", pair_of_f32, {})), "read as f32[0, 2]");
}

TEST(RawReader, NamesWhatDoesNotFit) {
  const std::string bytes = bytes_of<float>({1, 2, 3, 4, 5, 6});
  EXPECT_THAT(message_of(read(read_raw, bytes.substr(0, 22), pair_of_f32, {})),
              AllOf(HasSubstr("expected whole records f32[2] of 8 bytes, found 22 bytes"),
                    HasSubstr("6 more than 2 records")));
  EXPECT_THAT(
      message_of(read(read_raw, bytes, pair_of_f32, {{"offset", int64_t{25}}})),
      HasSubstr("byte 24: expected `offset`, 25 bytes, in front of the data; the file has"));
  EXPECT_THAT(message_of(read(read_raw, gzip("four"), pair_of_f32, {{"offset", int64_t{5}}}, {},
                              "memory.gz")),
              HasSubstr("expected `offset`, 5 bytes, in front of the data; the file unpacks to 4"));
  const auto shaped = [&](std::vector<int64_t> shape) {
    return message_of(read(read_raw, bytes, pair_of_f32, {{"shape", std::move(shape)}}));
  };
  EXPECT_THAT(shaped({4, 2}), HasSubstr("the file ends too early: f32[4, 2] takes 32 bytes"));
  EXPECT_THAT(shaped({2, 2}), HasSubstr("8 more bytes follow the data"));
  EXPECT_THAT(shaped({int64_t{1} << 62, 4}), HasSubstr("more than 2^63 bytes"));
  EXPECT_THAT(shaped({int64_t{1} << 32, int64_t{1} << 30, 4}), HasSubstr("more than 2^63 bytes"));
  EXPECT_THAT(message_of(read(read_raw, std::string("\0\1\2", 3),
                              {"x", ElementType::boolean, {}, false, 0, 0}, {})),
              HasSubstr("byte 2: expected a bool, 00 or 01, found 02"));
  EXPECT_THAT(message_of(read(read_raw, "", {"x", ElementType::u8, {0}, false, 0, 0}, {})),
              HasSubstr("give `shape`"));
  ReadLimits limits;
  limits.largest_bytes = 100;
  for (const bool packed : {false, true}) {
    const std::string large(4096, 'x');
    EXPECT_THAT(message_of(read(read_raw, packed ? gzip(large) : large, pair_of_f32, {}, limits,
                                packed ? "memory.gz" : "memory")),
                HasSubstr("more than the limit of 100 bytes"));
  }
}

TEST(RawReader, EveryTruncationIsRefusedAndEveryChangedByteReadsAsItStands) {
  const std::string good = bytes_of<int32_t>({1, -2, 300, 70000});
  const InputEntry input = {"x", ElementType::i32, {}, false, 0, 0};
  const ReaderArguments shape = {{"shape", std::vector<int64_t>{4}}};
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(read(read_raw, good.substr(0, size), input, shape)) << size;
    Expected<Column, DataFailure> free = read(read_raw, good.substr(0, size), input, {});
    EXPECT_EQ(static_cast<bool>(free), size % 4 == 0) << size;
  }
  for (size_t position = 0; position < good.size(); ++position) {
    for (int change = 1; change < 256; ++change) {
      std::string file = good;
      file[position] = static_cast<char>(file[position] ^ change);
      for (const ReaderArguments& arguments : {shape, ReaderArguments{}}) {
        Expected<Column, DataFailure> column = read(read_raw, file, input, arguments);
        ASSERT_TRUE(column);
        ASSERT_EQ(std::string(reinterpret_cast<const char*>(column->bytes.data()), 16), file);
      }
    }
  }
}

// ---- between splits

TEST(Standardise, EverySplitIsBroughtToTheScaleOfTrain) {
  const TemporaryFolder folder;
  // Mean 3 and 5, deviation 2 and 0.
  write_file(folder / "table.csv", "a,b\n1,5\n5,5\n7,6\n3,5\n");
  DataSearch search;
  search.data_dir = folder.path();
  const std::vector<InputEntry> inputs = {{"x", ElementType::f32, {2}, false, 0, 0}};
  const auto rows = [](int64_t begin, int64_t end) {
    return ReaderArguments{{"rows", std::vector<int64_t>{begin, end}}, {"standardise", true}};
  };
  const std::vector<DataEntry> data = {{"train", "x", "csv", "table.csv", rows(0, 2)},
                                       {"test", "x", "csv", "table.csv", rows(2, 4)}};
  for (const std::vector<std::string>& splits :
       {std::vector<std::string>{"train", "test"}, std::vector<std::string>{"test"}}) {
    Expected<Dataset, DataFailure> dataset = load_dataset(inputs, data, splits, search, 2);
    ASSERT_TRUE(dataset) << dataset.error().message;
    const Split* test = dataset->find("test");
    EXPECT_THAT(values_of<float>(test->columns[0].bytes.data(), 16), ElementsAre(2, 1, 0, 0));
    const Split* train = dataset->find("train");
    ASSERT_EQ(train != nullptr, splits.size() == 2);
    if (train != nullptr) {
      EXPECT_THAT(values_of<float>(train->columns[0].bytes.data(), 16), ElementsAre(-1, 0, 1, 0));
    }
  }
  write_file(folder / "table.csv", "a,b\n1,5\nx,5\n7,6\n3,5\n");
  Expected<Dataset, DataFailure> dataset = load_dataset(inputs, data, {"test"}, search);
  ASSERT_FALSE(dataset);
  EXPECT_THAT(dataset.error().message, HasSubstr("line 3, column 0 (`a`)"));
  EXPECT_EQ(dataset.error().split, "train");
}

TEST(Standardise, RefusesWhatHasNoScale) {
  const TemporaryFolder folder;
  write_file(folder / "table.csv", "a\n1e308\n-1e308\n");
  DataSearch search;
  search.data_dir = folder.path();
  const std::vector<DataEntry> data = {
      {"train", "x", "csv", "table.csv", {{"column", int64_t{0}}, {"standardise", true}}}};
  Expected<Dataset, DataFailure> dataset =
      load_dataset({{"x", ElementType::f64, {}, false, 0, 0}}, data, {"train"}, search);
  ASSERT_FALSE(dataset);
  EXPECT_THAT(dataset.error().message, HasSubstr("too large to be standardised"));
  write_file(folder / "table.csv", "a\n1\n2\n");
  dataset = load_dataset({{"x", ElementType::u8, {}, false, 0, 0}}, data, {"train"}, search);
  ASSERT_FALSE(dataset);
  EXPECT_THAT(dataset.error().message, HasSubstr("`standardise` makes real numbers"));
}

}  // namespace
}  // namespace fusegrad::runtime
