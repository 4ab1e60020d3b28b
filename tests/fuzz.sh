#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Builds the fuzz targets with clang and runs each for SECONDS (60) of processor time, starting from its seeds in tests/fuzz/corpus
# and from what earlier runs found (build-fuzz/corpus). TARGETS="npz csv" runs those only. The first finding ends the run; its
# input is kept in build-fuzz/findings.
#
#   sh tests/fuzz.sh [SECONDS]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=${TARGETS:-"idx npy npz csv chars raw parser"}
build=build-fuzz
sh tests/setup.sh build test
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -gline-tables-only' \
  -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_C_COMPILER=clang-19 \
  -DFUSEGRAD_FUZZ=ON -DFUSEGRAD_BUILD_TESTS=OFF ${FUSEGRAD_CMAKE_OPTIONS:-} > /dev/null
# shellcheck disable=SC2086
cmake --build "$build" --parallel "$(nproc)" --target $(for name in $targets; do echo "fuzz_$name"; done)
mkdir -p "$build/findings"
for name in $targets; do
  mkdir -p "$build/corpus/$name"
  more=
  [ "$name" = parser ] && more="examples/*/ frontend tests/frontend/errors"
  echo "== $name: $seconds s"
  status=0
  # The limit on processor time ends the run by a signal (152 = 128 + SIGXCPU): a machine that is busy does not shorten it.
  # shellcheck disable=SC2086
  (ulimit -t "$seconds"; ulimit -c 0
   exec nice -n 10 "$build/fuzz_$name" -timeout=5 -rss_limit_mb=1024 -max_len=4096 -artifact_prefix="$build/findings/$name-" \
     "$build/corpus/$name" "tests/fuzz/corpus/$name" $more) 2> "$build/$name.log" || status=$?
  if [ "$status" -ne 152 ]; then
    tail -40 "$build/$name.log"
    echo "fuzz.sh: fuzz_$name ended with status $status" >&2
    exit 1
  fi
  # The last line of progress: inputs tried, coverage, corpus.
  grep '^#' "$build/$name.log" | tail -1
done
