// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which instructions a processor has, asked by CPUID: code that was made elsewhere must not be run
// on trust.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::runtime {

/// What a processor and its operating system say about themselves.
struct CpuIdentity {
  /// The words of CPUID that hold feature bits: leaf 1 ECX, leaf 7 EBX, leaf 7 ECX, leaf 0x80000001
  /// ECX. All zero on processors that are not x86-64.
  std::array<uint32_t, 4> words = {};
  /// The operating system saves registers of 256 and of 512 bits.
  bool saves_avx = false;
  bool saves_avx512 = false;
};

/// The processor that this process runs on.
CpuIdentity this_cpu();

/// True when the processor has the feature, under LLVM's name for it ("avx2"), and the operating
/// system supports it. False for every name that is not known here.
bool has_feature(const CpuIdentity& cpu, std::string_view name);
/// All known features that the processor has.
std::vector<std::string> features_of(const CpuIdentity& cpu);
/// The wanted ones that it does not have.
std::vector<std::string> missing_features(const CpuIdentity& cpu,
                                          const std::vector<std::string>& wanted);

/// Features of a level of the x86-64 psABI beyond those that every x86-64 has: "x86-64",
/// "x86-64-v2", "x86-64-v3", "x86-64-v4". Nothing for other names, and on other processors.
std::optional<std::vector<std::string>> features_of_level(std::string_view level);

}  // namespace fusegrad::runtime
