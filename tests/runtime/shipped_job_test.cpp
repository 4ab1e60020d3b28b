// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A job comes back from its bytes as it was, and no damaged bytes are taken for a job.
#include "runtime/core/shipped_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "runtime/core/exit_codes.h"
#include "tests/runtime/linear_job.h"

namespace fusegrad::runtime {
namespace {

ShippedJob sample() {
  ShippedJob job;
  TrainSettings settings;
  settings.batch = 8;
  settings.epochs = 3;
  settings.seed = -2;
  settings.last = LastBatch::keep;
  job.table = linear_job(settings, 20);
  job.table.data = {{"train",
                     "x",
                     "csv",
                     "table.csv",
                     {{"standardise", true},
                      {"column", int64_t{3}},
                      {"from", 0.25},
                      {"separator", std::string(";")},
                      {"rows", std::vector<int64_t>{0, 8}},
                      {"columns", std::vector<std::string>{"a", "b"}}}}};
  job.table.settings.target = Target{"near", Target::Comparison::less, 0.5};
  job.variants = {{"one", {"sse3", "avx2"}}, {"other", {}}};
  return job;
}

/// The checksum of changed bytes made right again, so that what is behind it is tested.
std::string with_checksum(std::string bytes) {
  constexpr size_t head = 4 + 8 + 8;
  if (bytes.size() < head) return bytes;
  const auto sum = static_cast<int64_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()) + head, bytes.size() - head));
  std::memcpy(bytes.data() + 12, &sum, sizeof sum);
  return bytes;
}

TEST(ShippedJob, ComesBackAsItWas) {
  const ShippedJob job = sample();
  const std::string bytes = shipped_bytes(job);
  Expected<ShippedJob> read = read_shipped_job(bytes);
  ASSERT_TRUE(read) << read.error().message;
  // Equal bytes from both: every field that is written has come back.
  EXPECT_EQ(shipped_bytes(*read), bytes);
  const JobTable& table = read->table;
  EXPECT_EQ(table.model_name, job.table.model_name);
  ASSERT_EQ(table.programs.size(), job.table.programs.size());
  for (size_t p = 0; p < table.programs.size(); ++p) {
    const ProgramTable& program = table.programs[p];
    const ProgramTable& wanted = job.table.programs[p];
    EXPECT_EQ(program.name, wanted.name);
    EXPECT_EQ(program.arena_bytes, wanted.arena_bytes);
    ASSERT_EQ(program.buffers.size(), wanted.buffers.size());
    for (size_t b = 0; b < program.buffers.size(); ++b) {
      EXPECT_EQ(program.buffers[b].name, wanted.buffers[b].name);
      EXPECT_EQ(program.buffers[b].layout.shape, wanted.buffers[b].layout.shape);
      EXPECT_EQ(program.buffers[b].layout.block, wanted.buffers[b].layout.block);
    }
  }
  ASSERT_EQ(table.data.size(), 1U);
  const ReaderArguments& arguments = table.data[0].arguments;
  ASSERT_EQ(arguments.size(), 6U);
  for (size_t i = 0; i < arguments.size(); ++i) {
    EXPECT_EQ(arguments[i].name, job.table.data[0].arguments[i].name);
    EXPECT_EQ(arguments[i].value, job.table.data[0].arguments[i].value);
  }
  ASSERT_TRUE(table.settings.target);
  EXPECT_EQ(table.settings.target->metric, "near");
  ASSERT_EQ(read->variants.size(), 2U);
  EXPECT_EQ(read->variants[0].features, job.variants[0].features);
}

TEST(ShippedJob, FunctionsAreSetInTheirOrder) {
  const ShippedJob job = sample();
  Expected<ShippedJob> read = read_shipped_job(shipped_bytes(job));
  ASSERT_TRUE(read);
  std::vector<KernelFunction> functions;
  for (const ProgramTable& program : job.table.programs) {
    for (const LaunchEntry& launch : program.launches) {
      for (const KernelEntry& kernel : launch.kernels) functions.push_back(kernel.function);
    }
  }
  ASSERT_EQ(kernel_count(read->table), functions.size());
  set_functions(read->table, functions);
  for (size_t p = 0; p < read->table.programs.size(); ++p) {
    const ProgramTable& program = read->table.programs[p];
    for (size_t l = 0; l < program.launches.size(); ++l) {
      for (size_t k = 0; k < program.launches[l].kernels.size(); ++k) {
        EXPECT_EQ(program.launches[l].kernels[k].function,
                  job.table.programs[p].launches[l].kernels[k].function);
      }
    }
  }
  functions.pop_back();
  EXPECT_EXIT(set_functions(read->table, functions), testing::ExitedWithCode(70), "functions for");
}

TEST(ShippedJob, EveryTruncationIsFound) {
  const std::string bytes = shipped_bytes(sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    Expected<ShippedJob> read = read_shipped_job(std::string_view(bytes).substr(0, size));
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().exit_code, ExitCode::device);
    EXPECT_THAT(read.error().message, testing::HasSubstr("is damaged"));
    // Also by those who make the checksum fit.
    EXPECT_FALSE(read_shipped_job(with_checksum(bytes.substr(0, size)))) << size;
  }
  EXPECT_FALSE(read_shipped_job(with_checksum(bytes + "x")));
}

TEST(ShippedJob, EveryChangedByteIsFound) {
  const std::string bytes = shipped_bytes(sample());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x81);
    ASSERT_FALSE(read_shipped_job(changed)) << at;
    // With a fitting checksum it may be another job, but it is read without harm.
    (void)read_shipped_job(with_checksum(changed));
  }
}

}  // namespace
}  // namespace fusegrad::runtime
