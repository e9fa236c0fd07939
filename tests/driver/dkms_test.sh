#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# driver/dkms.conf, read as dkms reads it: the version is the project's, the module is the one that Kbuild makes,
# and it takes exactly the kernels that build.sh takes.
# usage: dkms_test.sh CHECKOUT VERSION
set -euo pipefail
driver=$1/driver version=$2
wrong() { echo "dkms.conf: $*" >&2; exit 1; }

export kernel_source_dir=/nowhere dkms_tree=/nowhere
# shellcheck source=/dev/null
source "$driver/dkms.conf"
[[ $PACKAGE_VERSION == "$version" ]] || wrong "version $PACKAGE_VERSION, the project is $version"
grep -q "dkms install $PACKAGE_NAME/$version" "$1/docs/DRIVER.md" || wrong "docs/DRIVER.md names another version"
grep -qx "obj-m := ${BUILT_MODULE_NAME[0]}.o" "$driver/Kbuild" || wrong "Kbuild makes no ${BUILT_MODULE_NAME[0]}.ko"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What build.sh says to a kernel: it stops at the version, or goes on (and finds no headers).
taken_by_build_sh() { [[ $(KERNEL=$1 "$driver/build.sh" "$work" 2>&1 || true) != *"too old"* ]]; }
taken_by_dkms() { [[ $1 =~ $BUILD_EXCLUSIVE_KERNEL ]]; }
for kernel in 5.10.0-30-amd64 6.1.0-18-amd64 6.19.3 7.0.1 7.2.12+deb13-amd64 7.3 7.3.4+deb13-amd64 7.10.1 7.31.0 \
              8.0.0-rc1 8.1.2 10.0.1 12.4; do
    said=$(taken_by_build_sh "$kernel" && echo taken || echo refused)
    [[ $(taken_by_dkms "$kernel" && echo taken || echo refused) == "$said" ]] || wrong "$kernel is $said by build.sh alone"
done
for option in CONFIG_DEV_DAX CONFIG_DEV_DAX_HMEM CONFIG_DEV_DAX_KMEM '!CONFIG_CXL_DCD'; do
    [[ " $BUILD_EXCLUSIVE_CONFIG " == *" $option "* ]] || wrong "says nothing of $option"
done
