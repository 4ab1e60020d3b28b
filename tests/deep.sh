#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What takes longer than the tests: clang-tidy, the address and undefined-behaviour sanitizers over the whole suite, the thread
# sanitizer over the runtime, random programs that nobody has tried yet. Prints the time of each part; the first failure ends the
# run.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)
part=
finish_part() {
  [ -n "$part" ] || return 0
  echo "== $part: $(($(date +%s) - part_begin)) s"
  part=
}
start_part() {
  finish_part
  part=$1
  part_begin=$(date +%s)
  echo "== $part"
}

sh tests/setup.sh build test

start_part 'release build'
cmake --preset release
cmake --build --preset release --parallel "$jobs"

# Not codegen and runtime/jit: LLVM's headers would take most of the time.
start_part 'clang-tidy'
here=$(pwd | sed 's/[^A-Za-z0-9_/-]/\\&/g')
run-clang-tidy-19 -quiet -p build -j "$jobs" "^$here/(frontend|ir|runtime/core)/"

start_part 'address and undefined-behaviour sanitizers'
cmake --preset asan
cmake --build --preset asan --parallel "$jobs"
ctest --preset asan --parallel "$jobs"

# Threads occur in the runtime; the rest is sequential code.
start_part 'thread sanitizer'
cmake --preset tsan
cmake --build --preset tsan --parallel "$jobs" --target test_runtime core_alone
ctest --preset tsan --parallel "$jobs" -R '^(runtime|house\.core_alone)'

# The seeds follow from the commit: other programs for each, the same ones when it is tried again.
commit=$(git rev-parse --short=7 HEAD 2>/dev/null || date +%s)
first=$((0x$commit % 100000000 * 1000))
start_part "random programs from seed $first on"
processes=
for part_of_seeds in $(seq "$jobs"); do
  FUSEGRAD_VERIFY=each build/random_programs --seed $((first + 500 * (part_of_seeds - 1))) --count 500 \
    --seconds $((300 / jobs)) &
  processes="$processes $!"
done
for process in $processes; do wait "$process"; done

finish_part
