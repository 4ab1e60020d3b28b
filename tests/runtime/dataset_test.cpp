// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Splits are loaded whole or refused with input, split, file, expected and found.
#include "runtime/core/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/core/exit_codes.h"
#include "runtime/core/idx_reader.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    search.data_dir = folder.path();
    inputs = {{"image", ElementType::u8, {2, 2}, false, 0, 0},
              {"label", ElementType::u8, {}, true, 0, 10}};
    data = {{"train", "label", "idx", "labels"}, {"train", "image", "idx", "images"}};
    write_file(folder / "images.gz",
               gzip(idx_u8({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})));
    write_file(folder / "labels", idx_u8({3}, {0, 9, 5}));
  }

  Expected<Dataset, DataFailure> load(const std::vector<std::string>& splits = {"train"},
                                      int threads = 1) {
    return load_dataset(inputs, data, splits, search, threads);
  }
  DataFailure failure() {
    Expected<Dataset, DataFailure> dataset = load();
    EXPECT_FALSE(dataset);
    return dataset ? DataFailure{} : dataset.error();
  }

  TemporaryFolder folder;
  DataSearch search;
  std::vector<InputEntry> inputs;
  std::vector<DataEntry> data;
};

TEST_F(DatasetTest, LoadsColumnsInTheOrderOfTheInputs) {
  for (const int threads : {1, 2, 8}) {
    Expected<Dataset, DataFailure> dataset = load({"train"}, threads);
    ASSERT_TRUE(dataset) << dataset.error().message;
    const Split* split = dataset->find("train");
    ASSERT_NE(split, nullptr);
    EXPECT_EQ(split->samples, 3);
    ASSERT_EQ(split->columns.size(), 2U);
    EXPECT_EQ(split->columns[0].element, ElementType::u8);  // resident as it is in the file
    EXPECT_EQ(values_of<uint8_t>(split->columns[0].bytes.data(), 12)[11], 12);
    EXPECT_EQ(values_of<uint8_t>(split->columns[1].bytes.data(), 3),
              (std::vector<uint8_t>{0, 9, 5}));
    EXPECT_THAT(split->files, ElementsAre(folder / "images.gz", folder / "labels"));
    EXPECT_EQ(dataset->find("test"), nullptr);
  }
}

TEST_F(DatasetTest, ShapeAndTypeMustFit) {
  write_file(folder / "images", idx_u8({3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  const DataFailure shape = failure();
  EXPECT_EQ(shape.kind, DataFailureKind::does_not_fit);
  EXPECT_EQ(shape.input, "image");
  EXPECT_EQ(shape.split, "train");
  EXPECT_EQ(shape.path, folder / "images");
  EXPECT_EQ(shape.label, "the file holds u8[3, 4]");
  EXPECT_EQ(shape.message,
            "the data do not fit input `image`: `" + (folder / "images") +
                "` holds u8[3, 4], which is u8[4] a record; the input wants u8[2, 2]");
  write_file(folder / "images", idx_i32({1, 2, 2}, {1, 2, 3, 4}));
  EXPECT_THAT(failure().message,
              HasSubstr("which is i32[2, 2] a record; the input wants u8[2, 2]"));
}

TEST_F(DatasetTest, LabelsOutsideTheRangeAreCounted) {
  write_file(folder / "labels", idx_u8({3}, {1, 10, 12}));
  const DataFailure problem = failure();
  EXPECT_EQ(problem.kind, DataFailureKind::out_of_range);
  EXPECT_EQ(problem.input, "label");
  EXPECT_EQ(problem.label, "record 1 of " + (folder / "labels") + " is 10");
  EXPECT_EQ(problem.message,
            "`label` holds a value outside 0..10: record 1 of `" + (folder / "labels") + "` is 10");
  EXPECT_THAT(problem.notes,
              ElementsAre("2 of 3 records are outside; the largest is 12, the smallest 1"));
  ASSERT_TRUE(problem.range);
  EXPECT_EQ(problem.range->record, 1);
  EXPECT_EQ(problem.range->value, 10);
  EXPECT_EQ(problem.range->outside, 2);
  EXPECT_EQ(problem.range->values, 3);
  EXPECT_EQ(problem.range->smallest, 1);
  EXPECT_EQ(problem.range->largest, 12);
}

TEST_F(DatasetTest, RangesAtTheirEdges) {
  const auto outside = [&](int64_t begin, int64_t end, ElementType element,
                           const std::string& file) {
    Expected<Column, DataFailure> column = read_idx(memory_file(file));
    EXPECT_TRUE(column);
    InputEntry input = {"label", element, {}, true, begin, end};
    std::optional<DataFailure> problem = check_column(input, *column, "train", "file");
    return problem ? problem->range->outside : 0;
  };
  const std::string bytes = idx_u8({4}, {0, 1, 9, 255});
  EXPECT_EQ(outside(0, 256, ElementType::u8, bytes), 0);
  EXPECT_EQ(outside(0, 255, ElementType::u8, bytes), 1);
  EXPECT_EQ(outside(1, 256, ElementType::u8, bytes), 1);
  EXPECT_EQ(outside(0, 0, ElementType::u8, bytes), 4);
  EXPECT_EQ(outside(-1, 9, ElementType::u8, bytes), 2);
  const std::string integers = idx_i32({4}, {INT32_MIN, -1, 0, INT32_MAX});
  EXPECT_EQ(outside(-2147483648LL, 2147483648LL, ElementType::i32, integers), 0);
  EXPECT_EQ(outside(-1, 2147483647LL, ElementType::i32, integers), 2);
  const std::string reals = idx_f32({4}, {0.0F, NAN, 9.99F, 10.0F});
  EXPECT_EQ(outside(0, 10, ElementType::f32, reals), 2);
}

TEST_F(DatasetTest, NaNIsNeverSmallestOrLargest) {
  Expected<Column, DataFailure> column = read_idx(memory_file(idx_f32({4}, {NAN, 3, 1, 2})));
  ASSERT_TRUE(column);
  std::optional<DataFailure> problem =
      check_column({"x", ElementType::f32, {}, true, 0, 10}, *column, "train", "file");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->range->record, 0);
  EXPECT_TRUE(std::isnan(problem->range->value));
  EXPECT_EQ(problem->range->smallest, 1);
  EXPECT_EQ(problem->range->largest, 3);
}

TEST_F(DatasetTest, RecordsAreCountedInRows) {
  inputs[0].has_range = true;
  inputs[0].range_end = 11;
  const DataFailure problem = failure();
  EXPECT_THAT(problem.message, HasSubstr("record 2 of"));
  EXPECT_THAT(problem.notes[0], HasSubstr("2 of 12 values are outside"));
}

TEST_F(DatasetTest, CountsMustAgree) {
  write_file(folder / "labels", idx_u8({2}, {0, 9}));
  const DataFailure problem = failure();
  EXPECT_EQ(problem.kind, DataFailureKind::count_mismatch);
  EXPECT_EQ(problem.message, "split `train`: `" + (folder / "images.gz") +
                                 "` holds 3 records of `image`, but `" + (folder / "labels") +
                                 "` holds 2 of `label`");
}

TEST_F(DatasetTest, MissingThingsAreNamed) {
  data.pop_back();
  EXPECT_EQ(failure().message, "split `train` has no data for input `image`");
  data.push_back({"train", "image", "jpeg", "images"});
  EXPECT_THAT(failure().message, HasSubstr("there is no reader `jpeg`"));
  data.back() = {"train", "image", "idx", "absent"};
  const DataFailure absent = failure();
  EXPECT_EQ(absent.kind, DataFailureKind::not_found);
  EXPECT_EQ(absent.input, "image");
  EXPECT_EQ(absent.split, "train");
  EXPECT_EQ(to_failure(absent).exit_code, ExitCode::data);
  EXPECT_THAT(render(to_failure(absent)), HasSubstr("= help: "));
}

TEST_F(DatasetTest, EmptySplitIsRefused) {
  write_file(folder / "images", idx_u8({0, 2, 2}, {}));
  write_file(folder / "labels", idx_u8({0}, {}));
  EXPECT_EQ(failure().kind, DataFailureKind::no_records);
}

TEST_F(DatasetTest, FailureIsTheFirstFilesWhateverTheThreads) {
  write_file(folder / "images", "damaged");
  write_file(folder / "labels", "damaged");
  for (int round = 0; round < 50; ++round) {
    Expected<Dataset, DataFailure> dataset = load({"train"}, 2);
    ASSERT_FALSE(dataset);
    EXPECT_EQ(dataset.error().input, "image");
  }
}

TEST(ValidationSplit, PrefersValidToTest) {
  EXPECT_EQ(validation_split({{"train", "x", "idx", "p"}}), "");
  EXPECT_EQ(validation_split({{"train", "x", "idx", "p"}, {"test", "x", "idx", "p"}}), "test");
  EXPECT_EQ(validation_split({{"test", "x", "idx", "p"}, {"valid", "x", "idx", "p"}}), "valid");
}

}  // namespace
}  // namespace fusegrad::runtime
