#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs what is missing (Debian packages), builds everything and runs all tests; ends in CTest's summary.
#
#   sh tests/run.sh [options for ctest]       for example: sh tests/run.sh -R frontend
#
# FUSEGRAD_TEST_DATA=DIR: DIR/mnist and DIR/published-table.csv, for the tests on the published table.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc)

sh tests/setup.sh build test
cmake --preset release
cmake --build --preset release --parallel "$jobs"
if [ -z "${FUSEGRAD_TEST_DATA:-}" ]; then
  echo "FUSEGRAD_TEST_DATA is not set: the tests that need its data are skipped"
fi
# The caller's options come last, so that they win.
exec ctest --preset release --parallel "$jobs" "$@"
