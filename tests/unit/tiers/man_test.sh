#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# libpool.3: its example compiles against the shared library and runs; every function that is exported is in
# the header, and every one that the page names is exported; man finds nothing to complain about.
# usage: man_test.sh CHECKOUT LIBPOOL.SO
set -euo pipefail
page=$1/docs/man/libpool.3 library=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n '/^\.EX/,/^\.EE/p' "$page" | sed '1d;$d;s/\\-/-/g;s/\\e/\\/g' >"$work/example.c"
${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$1/libpool/include" "$work/example.c" -o "$work/example" "$library" \
    -Wl,-rpath,"$(dirname "$library")"
"$work/example" | grep -E '^[1-9] tiers: ' >/dev/null

grep -oE '\bpool_[a-z_]+;' "$1/libpool/libpool.map" | tr -d ';' | sort -u >"$work/exported"
while read -r name; do
    grep -qE "\b$name\(" "$1/libpool/include/pool/pool.h" || { echo "pool.h does not declare $name"; exit 1; }
done <"$work/exported"
for name in $(grep -oE 'pool_[a-z_]+ ?"?\(\)' "$page" | grep -oE '^pool_[a-z_]+' | sort -u); do
    grep -qx "$name" "$work/exported" || { echo "libpool.3 names $name, which is not exported"; exit 1; }
done
complaints=$(MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
