#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs the Debian packages that a script needs and that are missing; with all of them in place it does
# nothing, needs no rights and no network.
#
#   sh tests/setup.sh GROUP...      groups: build, test, bench
set -eu

build='cmake g++ ninja-build llvm-19-dev llvm-19-tools libfmt-dev libgtest-dev libgmock-dev zlib1g-dev
       libcli11-dev nlohmann-json3-dev dataset-fashion-mnist'
test='clang-19 clang-format-19 clang-tidy-19 libclang-rt-19-dev'
bench='libopenblas-dev'

[ $# -gt 0 ] || { echo "usage: setup.sh build|test|bench ..." >&2; exit 2; }
wanted=
for group in "$@"; do
  case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    bench) wanted="$wanted $bench" ;;
    *) echo "setup.sh: unknown group '$group'; known are build, test and bench" >&2; exit 2 ;;
  esac
done

missing=
for package in $wanted; do
  # Third character of the status: blank unless the package is broken. "h" is a package put on hold.
  status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  case $status in
    [ih]i*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup.sh: there is no apt-get here. Please install what corresponds to:$missing" >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null 2>&1; then
  as_root=sudo
else
  echo "setup.sh: these packages are missing:$missing" >&2
  echo "Installing them needs root or sudo. Please run this script as root, or ask for:" >&2
  echo "  apt-get install --no-install-recommends$missing" >&2
  exit 1
fi

echo "installing:$missing"
# Through env, because sudo drops variables of its caller.
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
# $missing is a list of words.
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
