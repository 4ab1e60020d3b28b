#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Milliseconds of `fusegrad check`, from the start of the process to its end, for a generated file.
#
#   sh bench/check_time.sh [FUSEGRAD] [lines] [rounds]      for example: sh bench/check_time.sh build/fusegrad 1000 21
#
# The file has a layer and a function of its own every ten lines, and calls of all of them.
set -eu
tool=${1:-build/fusegrad}
lines=${2:-1000}
rounds=${3:-21}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

awk -v n=$((lines / 11)) 'BEGIN {
  for (i = 0; i < n; i++) {
    printf "# Part %d: a layer with a gate.\n", i
    printf "fn bend%d(v, s = 0.%02d) = if v > s then v else s * tanh(v)\n", i, i % 100
    printf "layer gate%d(x: real[N, K], O: dim) -> y: real[N, O] {\n", i
    print "  param w: real[K, O] = glorot_uniform(K, O)"
    print "  param c: real[O] = 0 @nodecay"
    print "  u[n, o] = sum(k: x[n, k] * w[k, o]) + c[o]"
    printf "  y[n, o] = bend%d(u[n, o]) / (1 + max(j: abs(u[n, j])))\n", i
    print "}\n"
  }
  print "model long {\n  input x: f32[B, 32]\n  h = x"
  for (i = 0; i < n; i++) {
    printf "  h = gate%d(h, %d)\n  h = h + bend%d(h)\n", i, 16 + i % 16, i
  }
  print "  loss = mean(square(h))\n}"
}' >"$folder/model.fg"

round=0
: >"$folder/times"
while [ "$round" -lt "$rounds" ]; do
  begin=$(date +%s%N)
  "$tool" check "$folder/model.fg"
  end=$(date +%s%N)
  echo "$(((end - begin) / 1000))" >>"$folder/times"
  round=$((round + 1))
done
sort -n "$folder/times" | awk -v lines="$(wc -l <"$folder/model.fg")" '
  { time[NR] = $1 / 1000 }
  END { printf "check of %d lines: median %.1f ms, best %.1f ms of %d runs\n", lines, time[int((NR + 1) / 2)], time[1], NR }'
