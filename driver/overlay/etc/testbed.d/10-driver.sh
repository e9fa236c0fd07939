#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guest boot: gives every CXL memory device to cxl_dcd, the way an administrator
# would. driver_override comes first: dax_hmem asks for cxl_pci when it loads,
# and cxl_pci would take every device that nobody else is named for.
for dev in /sys/bus/pci/devices/*; do
    case $(cat "$dev/class") in
    0x050210) echo cxl_dcd >"$dev/driver_override" ;;
    esac
done

for module in device_dax dax_hmem kmem; do
    modprobe "$module" || echo "10-driver.sh: modprobe $module failed" >&2
done

ko=/lib/modules/$(uname -r)/extra/cxl_dcd.ko
if [ -e "$ko" ]; then
    # shellcheck disable=SC2086 # the arguments are words
    insmod "$ko" ${CXL_DCD_ARGS:-}
else
    echo "10-driver.sh: $ko is missing: this guest has no cxl_dcd" >&2
fi

for dev in /sys/bus/pci/devices/*; do
    [ "$(cat "$dev/driver_override")" = cxl_dcd ] || continue
    [ -e "$dev/driver" ] || echo "${dev##*/}" >/sys/bus/pci/drivers_probe
done
