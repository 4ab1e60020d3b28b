// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// random_programs: runs seeds, replays one, reduces what fails. Exit code 1 if something fails.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

#include "ir/tensor/print.h"
#include "tests/programs/check.h"
#include "tests/programs/reduce.h"

namespace {

using namespace fusegrad::test;

constexpr std::string_view usage =
    "random_programs --seed N [--count M] [--seconds S] [--reduce] [--print] [--coverage]\n"
    "  checks M programs (1) from seed N on, for at most S seconds; the first failure ends the "
    "run\n"
    "  --reduce    make the failing program small while it fails in the same way, and print it\n"
    "  --print     print the programs\n"
    "  --coverage  print what the programs consisted of\n";

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 0;
  uint64_t count = 1;
  double seconds = 1e9;
  bool reduce_failure = false;
  bool print_programs = false;
  bool print_coverage = false;
  bool seed_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    if (option == "--seed") {
      seed = std::strtoull(value().c_str(), nullptr, 10);
      seed_given = true;
    } else if (option == "--count") {
      count = std::strtoull(value().c_str(), nullptr, 10);
    } else if (option == "--seconds") {
      seconds = std::strtod(value().c_str(), nullptr);
    } else if (option == "--reduce") {
      reduce_failure = true;
    } else if (option == "--print") {
      print_programs = true;
    } else if (option == "--coverage") {
      print_coverage = true;
    } else {
      fmt::print(stderr, "unknown option {}\n{}", option, usage);
      return 2;
    }
  }
  if (!seed_given) {
    fmt::print(stderr, "{}", usage);
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  Coverage coverage;
  uint64_t done = 0;
  for (; done < count && elapsed() < seconds; ++done, ++seed) {
    if (print_programs) fmt::print("{}", fusegrad::ir::print(program_of_seed(seed)));
    std::optional<ProgramFailure> failure = check_alone(program_of_seed(seed), seed, coverage);
    if (!failure) continue;
    fmt::print("seed {}: {}\n{}\n", seed, failure->check, failure->message);
    if (!reduce_failure) {
      fmt::print("replay and reduce: {}\n", replay_command(seed));
      return 1;
    }
    fmt::print("{}", fusegrad::ir::print(program_of_seed(seed)));
    const Reduced reduced = reduce(program_of_seed(seed), seed, failure->check);
    fmt::print("\nreduced, {} attempts: {}\n{}\n{}", reduced.attempts, reduced.failure.check,
               reduced.failure.message, fusegrad::ir::print(reduced.program));
    return 1;
  }
  if (print_coverage) fmt::print("{}", coverage.text());
  fmt::print("{} programs, {:.1f} s: all hold\n", done, elapsed());
  return 0;
}
