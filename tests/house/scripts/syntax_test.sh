#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every shell script of the repository parses as plain sh, says so in its first line and carries its licence.
set -eu
cd "$1"
failures=0
complain() {
  echo "FAILED: $1: $2"
  failures=$((failures + 1))
}

scripts=$(find examples tests bench docs -name '*.sh' -type f)
count=0
for script in $scripts .ci/run; do
  count=$((count + 1))
  sh -n "$script" || complain "$script" 'does not parse'
  [ "$(sed -n 1p "$script")" = '#!/bin/sh' ] || complain "$script" 'does not start with #!/bin/sh'
  sed -n 2p "$script" | grep -q '^# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception$' ||
    complain "$script" 'has no licence in its second line'
done
echo "$count scripts"
[ "$failures" -eq 0 ] && [ "$count" -gt 1 ]
