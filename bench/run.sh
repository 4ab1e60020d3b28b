#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Measures fusegrad. Installs what is missing (Debian packages), builds, runs, prints a table.
#
#   sh bench/run.sh [W1] [options]      against its peers; for example: sh bench/run.sh W1 --rounds 11
#   sh bench/run.sh check [options]     `fusegrad check` of a long file: bench/check_time.sh
#   sh bench/run.sh compile [options]   the compiler's steps for growing models: bench/compile_time.sh
#
# W1 is softmax regression on MNIST (FUSEGRAD_TEST_DATA/mnist), else on Fashion-MNIST, else on made-up images.
# A figure is worth keeping if the line "rounds" shows that other processes were quiet.
set -eu
cd "$(dirname "$0")/.."

workload=W1
case ${1:-} in
  W[0-9] | check | compile) workload=$1; shift ;;
esac
case $workload in
  W1 | check | compile) ;;
  *) echo "run.sh: there is no benchmark $workload; there are W1, check and compile" >&2; exit 2 ;;
esac

log=build/bench.log
mkdir -p build
if [ "$workload" != W1 ]; then
  sh tests/setup.sh build
  if ! { cmake --preset release && cmake --build --preset release --parallel "$(nproc)" --target fusegrad; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  exec sh "bench/${workload}_time.sh" build/fusegrad "$@"
fi

sh tests/setup.sh build bench
if ! { cmake --preset release -DFUSEGRAD_BUILD_BENCH=ON &&
  cmake --build --preset release --parallel "$(nproc)" --target fusegrad bench; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi

for folder in "${FUSEGRAD_TEST_DATA:-/nonexistent}/mnist" /usr/share/datasets/fashion-mnist; do
  if [ -d "$folder" ]; then
    set -- --data "$folder" "$@"
    break
  fi
done
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
exec build/bench_w1 --peer build/bench_w1_openblas --tool build/fusegrad --model bench/w1.fg \
  --commit "$commit" "$@"
