#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Seconds of the compiler's steps for generated models of growing size.
#
#   sh bench/compile_time.sh [FUSEGRAD] [sizes ...]      for example: sh bench/compile_time.sh build/fusegrad 100 1000
#
# Models: `layers`, a chain of dense layers; `maps`, a chain of elementwise statements; `wide`, layers side by side whose
# outputs meet in a tree. A size is about the number of statements of the training step. FUSEGRAD_VERIFY is best left unset.
set -eu
tool=${1:-build/fusegrad}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 100 1000 10000
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

model() {
  awk -v kind="$1" -v n="$2" 'BEGIN {
    print "model generated {\n  input x: f32[B, 8]\n  input t: f32[B, 8]"
    if (kind != "wide") print "  h0 = dense(x, 8)"
    if (kind == "wide") {
      for (i = 0; i < n; i++) print "  h" i " = tanh(dense(x, 8))"
      last = n
      for (i = 0; i + 1 < last; i += 2) print "  h" last++ " = h" i " + h" (i + 1)
      last--
    } else {
      for (last = 0; last < n; last++)
        print "  h" (last + 1) " = " (kind == "maps" ? "tanh(h" last ") + x" : "tanh(dense(h" last ", 8))")
    }
    print "  loss = mean(b: sum(i: (h" last "[b, i] - t[b, i]) ^ 2))\n}"
    print "train {\n  batch = 16\n  optimizer = sgd(lr = 0.01)\n}"
  }'
}

for kind in layers maps wide; do
  for size in "$@"; do
    case $kind in
      layers) each=10 ;;  # statements for each layer or map: forward, backward and updates
      wide) each=12 ;;
      maps) each=2 ;;
    esac
    model "$kind" $((size / each)) >"$folder/model.fg"
    statements=$("$tool" emit "$folder/model.fg" --stage=tensor.grad --program=train | grep -c '\(\]\|^  [a-z0-9._]*\): f[0-9]* = ' || true)
    echo "$kind $size: $statements statements with the gradient"
    "$tool" emit "$folder/model.fg" --stage=asm --times | sed 's/^/  /'
  done
done
