#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What takes longer than the tests: clang-tidy, the address and undefined-behaviour sanitizers over the whole suite, the thread
# sanitizer over the runtime, random programs that nobody has tried yet. Prints the time of each part; the first failure ends the
# run.
#
#   sh tests/deep.sh [PART...]      parts: tidy asan tsan random; all of them where none is named
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

# The sanitized builds compile our folders in a few pieces each. clang-tidy takes the same pieces: going through the headers once
# for ten files saves nine tenths of its time.
tidy() {
  start_part 'clang-tidy'
  cmake --preset asan
  run-clang-tidy-19 -quiet -p build/asan -j "$jobs" 'CMakeFiles/fg_[a-z_]*\.dir/Unity/'
}

asan() {
  start_part 'address and undefined-behaviour sanitizers'
  cmake --preset asan
  cmake --build --preset asan --parallel "$jobs"
  # Instrumented functions need several times the stack.
  ulimit -s 65536
  ctest --preset asan --parallel "$jobs"
}

# Threads occur in the runtime; the rest is sequential code.
tsan() {
  start_part 'thread sanitizer'
  cmake --preset tsan
  cmake --build --preset tsan --parallel "$jobs" --target test_runtime core_alone
  ctest --preset tsan --parallel "$jobs" -R '^(runtime|house\.core_alone)'
}

# The seeds follow from the commit: other programs for each, the same ones when it is tried again.
random() {
  commit=$(git rev-parse --short=7 HEAD 2>/dev/null || date +%s)
  first=$((0x$commit % 100000000 * 1000))
  start_part "random programs from seed $first on"
  cmake --preset release
  cmake --build --preset release --parallel "$jobs" --target random_programs
  processes=
  for part_of_seeds in $(seq "$jobs"); do
    FUSEGRAD_VERIFY=each build/random_programs --seed $((first + 500 * (part_of_seeds - 1))) --count 500 \
      --seconds $((300 / jobs)) &
    processes="$processes $!"
  done
  for process in $processes; do wait "$process"; done
}

[ $# -gt 0 ] || set -- tidy asan tsan random
for name in "$@"; do
  case $name in
    tidy | asan | tsan | random) ;;
    *) echo "deep.sh: unknown part '$name'; known are tidy, asan, tsan and random" >&2; exit 2 ;;
  esac
done
sh tests/setup.sh build test
for name in "$@"; do
  "$name"
done
finish_part
