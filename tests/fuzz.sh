#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Builds the fuzz targets with clang and runs each for SECONDS (60), starting from its seeds in tests/fuzz/corpus and from what
# earlier runs found (build-fuzz/corpus). TARGETS="npz csv" runs those only. The first finding ends the run; its input is kept in
# build-fuzz/findings.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=${TARGETS:-"idx npy npz csv chars raw parser"}
build=build-fuzz
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_C_COMPILER=clang-19 \
  -DFUSEGRAD_FUZZ=ON -DFUSEGRAD_BUILD_TESTS=OFF ${FUSEGRAD_CMAKE_OPTIONS:-} > /dev/null
# shellcheck disable=SC2086
cmake --build "$build" --parallel "$(nproc)" --target $(for name in $targets; do echo "fuzz_$name"; done)
mkdir -p "$build/findings"
for name in $targets; do
  mkdir -p "$build/corpus/$name"
  more=
  [ "$name" = parser ] && more="examples/*/ frontend tests/frontend/errors"
  echo "== $name: $seconds s"
  # shellcheck disable=SC2086
  nice -n 10 "$build/fuzz_$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix="$build/findings/$name-" "$build/corpus/$name" "tests/fuzz/corpus/$name" $more 2> "$build/$name.log" || {
    tail -40 "$build/$name.log"
    exit 1
  }
  grep -E 'number_of_executed_units|peak_rss_mb' "$build/$name.log"
done
