// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One row a feature. Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, CPUID, and
// AMD64 Architecture Programmer's Manual, volume 3, appendix D; levels: System V psABI of x86-64.
#include "runtime/core/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fusegrad::runtime {

namespace {

enum Word : uint8_t { leaf1_ecx, leaf7_ebx, leaf7_ecx, extended_ecx };
/// Registers that the operating system must save for the feature to be usable.
enum class Saved : uint8_t { nothing, avx, avx512 };

struct Feature {
  std::string_view name;
  Word word;
  int bit;
  Saved saved;
  int level;  ///< the first level that has it; 5: none
};

constexpr Feature known_features[] = {
    {"sse3", leaf1_ecx, 0, Saved::nothing, 2},
    {"ssse3", leaf1_ecx, 9, Saved::nothing, 2},
    {"cx16", leaf1_ecx, 13, Saved::nothing, 2},
    {"sse4.1", leaf1_ecx, 19, Saved::nothing, 2},
    {"sse4.2", leaf1_ecx, 20, Saved::nothing, 2},
    // The instruction has no bit of its own.
    {"crc32", leaf1_ecx, 20, Saved::nothing, 2},
    {"popcnt", leaf1_ecx, 23, Saved::nothing, 2},
    {"sahf", extended_ecx, 0, Saved::nothing, 2},
    {"fma", leaf1_ecx, 12, Saved::avx, 3},
    {"movbe", leaf1_ecx, 22, Saved::nothing, 3},
    {"xsave", leaf1_ecx, 26, Saved::avx, 3},
    {"avx", leaf1_ecx, 28, Saved::avx, 3},
    {"f16c", leaf1_ecx, 29, Saved::avx, 3},
    {"bmi", leaf7_ebx, 3, Saved::nothing, 3},
    {"avx2", leaf7_ebx, 5, Saved::avx, 3},
    {"bmi2", leaf7_ebx, 8, Saved::nothing, 3},
    {"lzcnt", extended_ecx, 5, Saved::nothing, 3},
    {"avx512f", leaf7_ebx, 16, Saved::avx512, 4},
    // LLVM's name for AVX-512 with registers of 512 bits.
    {"evex512", leaf7_ebx, 16, Saved::avx512, 4},
    {"avx512dq", leaf7_ebx, 17, Saved::avx512, 4},
    {"avx512cd", leaf7_ebx, 28, Saved::avx512, 4},
    {"avx512bw", leaf7_ebx, 30, Saved::avx512, 4},
    {"avx512vl", leaf7_ebx, 31, Saved::avx512, 4},
    {"avx512ifma", leaf7_ebx, 21, Saved::avx512, 5},
    {"avx512vbmi", leaf7_ecx, 1, Saved::avx512, 5},
    {"avx512vbmi2", leaf7_ecx, 6, Saved::avx512, 5},
    {"avx512vnni", leaf7_ecx, 11, Saved::avx512, 5},
    {"avx512bitalg", leaf7_ecx, 12, Saved::avx512, 5},
    {"avx512vpopcntdq", leaf7_ecx, 14, Saved::avx512, 5},
};

bool is_set(const CpuIdentity& cpu, const Feature& feature) {
  if (feature.saved == Saved::avx && !cpu.saves_avx) return false;
  if (feature.saved == Saved::avx512 && !cpu.saves_avx512) return false;
  return (cpu.words.at(feature.word) >> feature.bit & 1U) != 0;
}

}  // namespace

CpuIdentity this_cpu() {
  CpuIdentity cpu;
#if defined(__x86_64__)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) cpu.words[leaf1_ecx] = ecx;
  constexpr unsigned operating_system_saves = 1U << 27;
  if ((cpu.words[leaf1_ecx] & operating_system_saves) != 0) {
    unsigned low = 0;
    unsigned high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpu.saves_avx = (low & 0x6U) == 0x6U;
    cpu.saves_avx512 = (low & 0xe6U) == 0xe6U;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    cpu.words[leaf7_ebx] = ebx;
    cpu.words[leaf7_ecx] = ecx;
  }
  if (__get_cpuid(0x80000001U, &eax, &ebx, &ecx, &edx) != 0) cpu.words[extended_ecx] = ecx;
#endif
  return cpu;
}

bool has_feature(const CpuIdentity& cpu, std::string_view name) {
  for (const Feature& feature : known_features) {
    if (feature.name == name) return is_set(cpu, feature);
  }
  return false;
}

std::vector<std::string> features_of(const CpuIdentity& cpu) {
  std::vector<std::string> names;
  for (const Feature& feature : known_features) {
    if (is_set(cpu, feature)) names.emplace_back(feature.name);
  }
  return names;
}

std::vector<std::string> missing_features(const CpuIdentity& cpu,
                                          const std::vector<std::string>& wanted) {
  std::vector<std::string> missing;
  for (const std::string& name : wanted) {
    if (!has_feature(cpu, name)) missing.push_back(name);
  }
  return missing;
}

std::optional<std::vector<std::string>> features_of_level(std::string_view level) {
#if defined(__x86_64__)
  constexpr std::string_view family = "x86-64";
  if (!level.starts_with(family)) return std::nullopt;
  const std::string_view version = level.substr(family.size());
  int number = 1;
  if (version.size() == 3 && version.starts_with("-v") && version[2] >= '2' && version[2] <= '4') {
    number = version[2] - '0';
  } else if (!version.empty()) {
    return std::nullopt;
  }
  std::vector<std::string> names;
  for (const Feature& feature : known_features) {
    if (feature.level <= number) names.emplace_back(feature.name);
  }
  return names;
#else
  (void)level;
  return std::nullopt;
#endif
}

}  // namespace fusegrad::runtime
