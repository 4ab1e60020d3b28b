#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Do the random programs find bugs? Every tests/planted/*.patch puts one into the compiler. In a copy of the sources, each is
# built, run on some programs and taken out again. Prints a table; exit code 1 if a bug is not caught.
#
#   sh tests/planted.sh [name of a patch ...]     without names: all of them
#
# PLANTED_COUNT=N: programs per bug at most (400); PLANTED_SECONDS=S: seconds per bug at most (120); PLANTED_JOBS=J.
set -eu
cd "$(dirname "$0")/.."
source=$(pwd)
tree=$source/build-planted
count=${PLANTED_COUNT:-400}
seconds=${PLANTED_SECONDS:-120}
jobs=${PLANTED_JOBS:-$(nproc)}

# Only what differs is copied, with a new time, so that exactly that is built again.
mkdir -p "$tree"
git ls-files --cached --others --exclude-standard | while read -r file; do
  if [ -f "$file" ] && ! cmp -s "$file" "$tree/$file"; then
    mkdir -p "$tree/$(dirname "$file")"
    cp "$file" "$tree/$file"
  fi
done
launcher=
if command -v ccache >/dev/null; then launcher=-DCMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=Release $launcher >"$tree/cmake.log"

build() {
  ninja -C "$tree/build" -j "$jobs" random_programs >"$tree/build.log" 2>&1
}
run() {
  "$tree/build/random_programs" --seed 0 --count "$count" --seconds "$seconds" >"$tree/run.log" 2>&1
}

# What is put back gets a new time, so that it is built again.
changed=
take_out() {
  for file in $changed; do cp "$source/$file" "$tree/$file"; done
  changed=
}
trap take_out EXIT
trap 'exit 130' INT TERM

build || { cat "$tree/build.log"; echo "the sources do not build"; exit 2; }
if [ $# -eq 0 ]; then
  for patch in tests/planted/*.patch; do set -- "$@" "$(basename "$patch" .patch)"; done
fi
missed=0
printf '%-32s %-10s %s\n' bug result 'seed: what failed'
for name in "$@"; do
  patch=$source/tests/planted/$name.patch
  changed=$(sed -n 's/^+++ b\///p' "$patch")
  if ! patch --strip=1 --directory="$tree" --input="$patch" >"$tree/apply.log" 2>&1; then
    take_out
    printf '%-32s %-10s %s\n' "$name" 'no patch' "$(head -n 1 "$tree/apply.log")"
    missed=1
    continue
  fi
  if ! build; then
    printf '%-32s %-10s %s\n' "$name" 'no build' "$(grep -m 1 error "$tree/build.log" || true)"
    missed=1
  elif run; then
    printf '%-32s %-10s %s\n' "$name" MISSED "$(tail -n 1 "$tree/run.log")"
    missed=1
  else
    printf '%-32s %-10s %s\n' "$name" caught "$(grep -m 1 '^seed' "$tree/run.log" || tail -n 1 "$tree/run.log")"
  fi
  take_out
done
exit $missed
