// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Features are read from the bits that the manuals name, and only where the system saves registers.
#include "runtime/core/cpu_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/core/trainer.h"

namespace fusegrad::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

/// All feature bits, as no processor has them.
CpuIdentity everything() {
  CpuIdentity cpu;
  cpu.words.fill(~0U);
  cpu.saves_avx = true;
  cpu.saves_avx512 = true;
  return cpu;
}

TEST(CpuFeatures, BitsDecide) {
  const CpuIdentity nothing;
  EXPECT_THAT(features_of(nothing), IsEmpty());
  CpuIdentity cpu;
  cpu.words[0] = 1U << 19;
  EXPECT_THAT(features_of(cpu), ElementsAre("sse4.1"));
  cpu.words[1] = 1U << 5;
  EXPECT_FALSE(has_feature(cpu, "avx2")) << "registers of 256 bits are not saved";
  cpu.saves_avx = true;
  EXPECT_TRUE(has_feature(cpu, "avx2"));
  EXPECT_FALSE(has_feature(everything(), "a-feature-of-the-future"));
}

TEST(CpuFeatures, ThisProcessorAgreesWithTheCompilersOwnCheck) {
#if defined(__x86_64__)
  const CpuIdentity cpu = this_cpu();
  __builtin_cpu_init();
  EXPECT_EQ(has_feature(cpu, "sse4.2"), __builtin_cpu_supports("sse4.2") != 0);
  EXPECT_EQ(has_feature(cpu, "popcnt"), __builtin_cpu_supports("popcnt") != 0);
  EXPECT_EQ(has_feature(cpu, "avx"), __builtin_cpu_supports("avx") != 0);
  EXPECT_EQ(has_feature(cpu, "avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has_feature(cpu, "fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(has_feature(cpu, "bmi2"), __builtin_cpu_supports("bmi2") != 0);
  EXPECT_EQ(has_feature(cpu, "avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(has_feature(cpu, "avx512vl"), __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(has_feature(cpu, "avx512vbmi2"), __builtin_cpu_supports("avx512vbmi2") != 0);
#endif
}

TEST(CpuFeatures, LevelsContainEachOther) {
#if defined(__x86_64__)
  EXPECT_THAT(*features_of_level("x86-64"), IsEmpty());
  size_t smaller = 0;
  for (const char* level : {"x86-64-v2", "x86-64-v3", "x86-64-v4"}) {
    const auto features = features_of_level(level);
    ASSERT_TRUE(features) << level;
    EXPECT_GT(features->size(), smaller) << level;
    smaller = features->size();
    EXPECT_THAT(missing_features(everything(), *features), IsEmpty()) << level;
  }
  EXPECT_THAT(*features_of_level("x86-64-v3"), Contains("avx2"));
  EXPECT_THAT(*features_of_level("x86-64-v3"), Not(Contains("avx512f")));
  for (const char* wrong :
       {"", "x86-64-v1", "x86-64-v5", "x86-64-v33", "x86-64-", "v3", "native"}) {
    EXPECT_FALSE(features_of_level(wrong)) << wrong;
  }
#endif
}

TEST(CpuFeatures, TheRichestVariantThatFitsIsChosen) {
  CpuIdentity cpu;
  cpu.words[0] = 1U << 0 | 1U << 9;  // sse3, ssse3
  const std::vector<CodeVariant> variants = {{"plain", {}},
                                             {"both", {"sse3", "ssse3"}},
                                             {"one", {"sse3"}},
                                             {"more", {"sse3", "sse4.1", "fma"}}};
  ASSERT_NE(choose_variant(variants, cpu), nullptr);
  EXPECT_EQ(choose_variant(variants, cpu)->name, "both");
  EXPECT_EQ(choose_variant(variants, everything())->name, "more");
  EXPECT_EQ(choose_variant({variants[3]}, cpu), nullptr);
}

}  // namespace
}  // namespace fusegrad::runtime
