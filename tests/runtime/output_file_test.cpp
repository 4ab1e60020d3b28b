// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Predictions as files: our own readers, which are tested against NumPy's format, read them back.
#include "runtime/core/output_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "runtime/core/npy_reader.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::HasSubstr;

template <typename T>
OutputValues output(std::string label, ElementType element, std::vector<int64_t> shape,
                    const std::vector<T>& values) {
  OutputValues result{std::move(label), element, std::move(shape), {}};
  result.bytes.resize(values.size() * sizeof(T));
  std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
  return result;
}

std::vector<OutputValues> some_outputs() {
  return {output<float>("logits", ElementType::f32, {2, 3}, {1.5F, -0.0F, 0.1F, 4, 5e-7F, 1e30F}),
          output<int32_t>("best", ElementType::i32, {2}, {-7, 2000000000}),
          output<uint8_t>("byte", ElementType::u8, {2, 1}, {0, 255}),
          output<uint8_t>("good", ElementType::boolean, {2}, {1, 0}),
          output<double>("wide", ElementType::f64, {2, 1, 2}, {0.1, 1e300, 3, 4})};
}

TEST(OutputFile, ArraysComeBack) {
  for (const OutputValues& one : some_outputs()) {
    const std::string bytes = npy_bytes(one);
    EXPECT_EQ((bytes.size() - one.bytes.size()) % 64, 0U);
    Expected<Column, DataFailure> read = read_npy(memory_file(bytes));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->element, one.element);
    EXPECT_EQ(read->shape, one.shape);
    EXPECT_EQ(std::memcmp(read->bytes.data(), one.bytes.data(), one.bytes.size()), 0);
  }
  const Expected<std::string> archive = npz_bytes(some_outputs());
  ASSERT_TRUE(archive);
  for (const OutputValues& one : some_outputs()) {
    Expected<Column, DataFailure> read = read_npz(memory_file(*archive), one.label);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->shape, one.shape);
    EXPECT_EQ(std::memcmp(read->bytes.data(), one.bytes.data(), one.bytes.size()), 0);
  }
}

TEST(OutputFile, ATableHasALineForEachRow) {
  const Expected<std::string> text = csv_text(some_outputs());
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "logits.0,logits.1,logits.2,best,byte.0,good,wide.0.0,wide.0.1\n"
            "1.5,-0,0.1,-7,0,1,0.1,1e+300\n"
            "4,5e-07,1e+30,2000000000,255,0,3,4\n");
  std::vector<OutputValues> uneven = some_outputs();
  uneven.push_back(output<int32_t>("twice", ElementType::i32, {4}, {1, 2, 3, 4}));
  const Expected<std::string> refused = csv_text(uneven);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit_code, 2);
  EXPECT_THAT(refused.error().message, HasSubstr("`logits` and `twice` have 2 and 4 rows"));
}

TEST(OutputFile, NamesSayWhatIsWritten) {
  const TemporaryFolder folder;
  const std::vector<OutputValues> all = some_outputs();
  const std::vector<OutputValues> one(all.begin(), all.begin() + 1);
  ASSERT_TRUE(write_outputs(folder / "y.npy", one));
  EXPECT_EQ(file_content(folder / "y.npy"), npy_bytes(one[0]));
  ASSERT_TRUE(write_outputs(folder / "y.npz", all));
  EXPECT_EQ(file_content(folder / "y.npz"), *npz_bytes(all));
  ASSERT_TRUE(write_outputs(folder / "y.csv", all));
  EXPECT_EQ(file_content(folder / "y.csv"), *csv_text(all));
  for (const char* name : {"all.npy", "y", "y.txt", "none/y.csv"}) {
    const Expected<Unit> written = write_outputs(folder / name, all);
    ASSERT_FALSE(written) << name;
    EXPECT_EQ(written.error().exit_code, 2);
    EXPECT_THAT(written.error().message, HasSubstr(folder / name));
  }
}

}  // namespace
}  // namespace fusegrad::runtime
