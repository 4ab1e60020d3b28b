#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# From nothing to a trained model: installs what is missing (Debian packages), builds build/fusegrad and trains
# softmax regression on Fashion-MNIST. Prints one line per epoch. Running it again only trains.
set -eu
cd "$(dirname "$0")/.."

sh tests/setup.sh build

# What the build says matters only when it fails; the result of this script is the epoch table.
log=build/quickstart.log
mkdir -p build
echo "building build/fusegrad (a few minutes the first time; log: $log)"
if ! { cmake --preset release && cmake --build --preset release --parallel "$(nproc)" --target fusegrad; } \
    >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi

echo "training examples/fashion-softmax/model.fg"
exec build/fusegrad train examples/fashion-softmax/model.fg
