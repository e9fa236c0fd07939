#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds cxl_dcd.ko against the headers of the newest kernel installed where it
# runs (the testbed root, or any machine), outside the source tree:
#   driver/build.sh OUTDIR [make arguments, e.g. C=1]
# A warning ends the build; with W= it does not.
set -euo pipefail

out=$(mkdir -p "${1:?usage: build.sh OUTDIR [MAKE-ARGUMENT...]}" && cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)
kernel=${KERNEL:-$(cd /lib/modules && for k in */build; do echo "${k%/build}"; done | sort -V | tail -1)}
case $kernel in
'' | '*') echo "build.sh: no kernel headers here: install linux-headers-amd64 (7.3 or newer)" >&2; exit 1 ;;
esac
if [[ $(printf '%s\n' 7.3 "$kernel" | sort -V | head -1) != 7.3 ]]; then
    echo "build.sh: kernel $kernel is too old: cxl_dcd needs 7.3 or newer" >&2
    exit 1
fi
if grep -qs "CXL_REGION_DYNAMIC\|CONFIG_CXL_DCD=[ym]" "/lib/modules/$kernel/build/.config"; then
    echo "build.sh: kernel $kernel drives dynamic capacity itself: use its own driver" >&2
    exit 1
fi
make -C "/lib/modules/$kernel/build" M="$here" MO="$out" CC="${CC:-gcc-14}" W=1e "$@" modules
echo "$kernel" >"$out/kernel"
