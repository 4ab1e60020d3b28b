#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# tests/setup.sh against a stand-in package manager: what it installs, and what it says when it cannot.
set -eu
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# A PATH that holds the stand-ins and nothing else.
bin=$work/bin
mkdir "$bin"
ln -s "$(command -v env)" "$bin/env"
shell=$(command -v sh)
stand_in() { # name, body
  printf '#!%s\n%s\n' "$shell" "$2" >"$bin/$1"
  chmod +x "$bin/$1"
}
# The package is installed if it is not in $ABSENT.
# shellcheck disable=SC2016
stand_in dpkg-query 'for name in "$@"; do :; done
case " $ABSENT " in *" $name "*) exit 1 ;; *" removed:$name "*) printf "rc " ;; *) printf "ii " ;; esac'
# shellcheck disable=SC2016
stand_in apt-get 'echo "apt-get $*" >>"$CALLS"'
# shellcheck disable=SC2016
stand_in id 'echo "$USER_ID"'

calls=$work/calls
output=$work/output
run() { # absent packages, user id, groups...
  : >"$calls"
  absent=$1 user_id=$2
  shift 2
  status=0
  env -i PATH="$bin" ABSENT="$absent" CALLS="$calls" USER_ID="$user_id" \
    "$shell" "$source_dir/tests/setup.sh" "$@" >"$output" 2>&1 || status=$?
}
expect() { # what, condition...
  what=$1
  shift
  if "$@"; then
    echo "ok: $what"
  else
    echo "FAILED: $what (status $status)"
    sed 's/^/  output: /' "$output"
    sed 's/^/  call: /' "$calls"
    failures=$((failures + 1))
  fi
}

run '' 1000 build test bench
expect 'with all packages there it succeeds' [ "$status" -eq 0 ]
expect 'with all packages there it calls nothing' [ ! -s "$calls" ]
expect 'with all packages there it is silent' [ ! -s "$output" ]

run 'libfmt-dev removed:g++' 0 build
expect 'as root it succeeds' [ "$status" -eq 0 ]
expect 'it refreshes the lists first' [ "$(sed -n 1p "$calls")" = 'apt-get update -q' ]
expect 'it installs what is missing and no more' \
  [ "$(sed -n 2p "$calls")" = 'apt-get install -y -q --no-install-recommends g++ libfmt-dev' ]
expect 'and stops there' [ "$(wc -l <"$calls")" -eq 2 ]

run 'clang-tidy-19' 0 build
expect 'a group that was not asked for is not installed' [ ! -s "$calls" ]

run 'libfmt-dev' 1000 build
expect 'without rights it fails' [ "$status" -eq 1 ]
expect 'without rights it says what to ask for' \
  grep -q 'apt-get install --no-install-recommends libfmt-dev' "$output"
expect 'without rights it calls nothing' [ ! -s "$calls" ]

# shellcheck disable=SC2016
stand_in sudo 'echo sudo >>"$CALLS"; exec "$@"'
run 'libfmt-dev' 1000 build
expect 'with sudo it succeeds' [ "$status" -eq 0 ]
expect 'with sudo both calls go through it' [ "$(grep -c '^sudo$' "$calls")" -eq 2 ]

rm "$bin/apt-get"
run 'libfmt-dev' 0 build
expect 'without apt-get it fails' [ "$status" -eq 1 ]
expect 'without apt-get it names the packages' grep -q 'libfmt-dev' "$output"

run '' 0 no-such-group
expect 'an unknown group is a usage error' [ "$status" -eq 2 ]

[ "$failures" -eq 0 ]
