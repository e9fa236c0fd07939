#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cxl_dcd refuses, in words, what it cannot decode. One guest with every such shape:

    switch        host bridge - root port - switch - device
    two-ports     host bridge with two root ports, a device behind each
    interleaved   a window over two host bridges
    small         a window smaller than the device's region
    no-window     a host bridge that no window names
    no-dcd        a memory device without dynamic capacity
    fine          and one that is taken

The guest prints what the driver says of each device (by serial number) and ends.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from module import Failed, build, need, skip_without_root  # noqa: E402
from testbedlib import image, root as roots, splats  # noqa: E402

EXPECTED = {  # serial -> state, and what the sentence must have
    1: ("broken", "behind a switch"),
    2: ("broken", "has 2 CXL root ports"),
    3: ("broken", "has 2 CXL root ports"),
    4: ("broken", "interleaved over several host bridges"),
    5: ("broken", "smaller than the"),
    6: ("broken", "no volatile CXL window"),
    7: ("broken", "no usable dynamic capacity region"),
    8: ("ready", ""),
}

REPORT = """#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
sleep 2
for dcd in /sys/bus/pci/drivers/cxl_dcd/*:*/dcd; do
    echo "SHAPE $(cat $dcd/serial) $(cat $dcd/state) $(cat $dcd/error)"
done
rmmod cxl_dcd && echo "SHAPES end"
poweroff -f
"""


class Rack:
    """QEMU's arguments for CXL host bridges; each of 20 bus numbers."""

    def __init__(self, folder):
        self.folder, self.args, self.bridges, self.windows, self.slot = folder, [], 0, [], 1

    def bridge(self):
        self.bridges += 1
        name = f"hb{self.bridges}"
        self.args += ["-device", f"pxb-cxl,bus_nr={20 * self.bridges},bus=pcie.0,id={name}"]
        return name

    def root_port(self, bridge):
        self.slot += 1
        name = f"rp{self.slot}"
        self.args += ["-device", f"cxl-rp,port={self.slot},bus={bridge},id={name},chassis=0,"
                      f"slot={self.slot}"]
        return name

    def device(self, bus, serial, kind="volatile-dc-memdev", more=",num-dc-regions=1"):
        pool = self.folder / f"{serial}.pool"
        with open(pool, "wb") as file:
            file.truncate(512 << 20)
        self.args += ["-object", f"memory-backend-file,id=m{serial},mem-path={pool},size=512M,"
                      "share=on", "-device",
                      f"cxl-type3,bus={bus},{kind}=m{serial}{more},id=d{serial},sn={serial}"]

    def window(self, size, *bridges):
        n = len(self.windows)
        targets = ",".join(f"cxl-fmw.{n}.targets.{i}={b}" for i, b in enumerate(bridges))
        self.windows += [f"{targets},cxl-fmw.{n}.size={size}"]

    def build(self):
        switched = self.bridge()
        self.args += ["-device", f"cxl-upstream,bus={self.root_port(switched)},id=up",
                      "-device", "cxl-downstream,port=0,bus=up,id=down,chassis=0,slot=99"]
        self.device("down", 1)
        self.window("1G", switched)
        crowded = self.bridge()
        for serial in (2, 3):
            self.device(self.root_port(crowded), serial)
        self.window("1G", crowded)
        left, right = self.bridge(), self.bridge()
        self.device(self.root_port(left), 4)
        self.window("2G", left, right)
        narrow = self.bridge()
        self.device(self.root_port(narrow), 5)
        self.window("256M", narrow)
        self.device(self.root_port(self.bridge()), 6)
        plain = self.bridge()
        self.device(self.root_port(plain), 7, "volatile-memdev", "")
        self.window("1G", plain)
        fine = self.bridge()
        self.device(self.root_port(fine), 8)
        self.window("1G", fine)
        return [*self.args, "-M", ",".join(self.windows)]


def guest(folder, overlay, script, devices, cpu="max,hypervisor=off"):
    """QEMU's command line for a guest that runs a script; its console is folder/console.log."""
    root = roots.ensure()
    report = folder / "report" / "etc" / "testbed.d" / "20-report.sh"
    report.parent.mkdir(parents=True)
    report.write_text(script)
    report.chmod(0o755)
    image.compose(image.base(root), [overlay, folder / "report"], folder / "initrd")
    qemu = [root / "usr/lib64/ld-linux-x86-64.so.2",
            "--library-path", f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib",
            root / "usr/bin/qemu-system-x86_64", "-L", root / "usr/share/qemu",
            "-L", root / "usr/share/seabios", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-machine", "q35,cxl=on",
            "-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", "2",
            "-m", "1G,maxmem=16G,slots=4", "-kernel", root / "boot" / f"vmlinuz-{roots.kernel(root)}",
            "-initrd", folder / "initrd", "-serial", f"file:{folder}/console.log",
            "-append", "console=ttyS0 panic=1 memhp_default_state=offline testbed.host=h1",
            *devices]
    return list(map(str, qemu))


def boot(folder, overlay):
    """The console of one guest, from boot to power-off."""
    console = folder / "console.log"
    done = subprocess.run(guest(folder, overlay, REPORT, Rack(folder).build()),
                          stdin=subprocess.DEVNULL, timeout=400)
    text = console.read_text(errors="replace") if console.exists() else ""
    need(done.returncode == 0, f"QEMU ended with {done.returncode}; console:\n{text[-2000:]}")
    return text


def check(text):
    seen = {}
    for line in text.splitlines():
        if line.startswith("SHAPE "):
            _, serial, state, *words = line.split(" ", 3)
            seen[int(serial, 16)] = (state, words[0] if words else "")
    for serial, (state, words) in EXPECTED.items():
        need(serial in seen, f"the driver is not bound to device {serial}; seen: {seen}")
        need(seen[serial][0] == state and words in seen[serial][1],
             f"device {serial}: {seen[serial]}, expected {state} and {words!r}")
        print(f"{serial}  {seen[serial][0]:8} {seen[serial][1]}")
    need("SHAPES end" in text, "the module could not be unloaded")
    found = [splat.text for splat in splats.Patterns().scan(text)]
    need(not found, f"SPLAT: {found}")


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--build", type=Path, help="where to build (default: a temporary folder)")
    given = words.parse_args()
    skip_without_root()
    with tempfile.TemporaryDirectory(prefix="dcd-") as folder:
        target = (given.build or Path(folder) / "build").resolve()
        target.mkdir(parents=True, exist_ok=True)
        check(boot(Path(folder), build(target)))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
