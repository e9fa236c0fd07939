#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cxl_dcd under a hypervisor, where the kernel cannot invalidate the CPU's caches.

An extent is accepted there, its use is refused in words, and it goes back when it is asked for.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from module import Failed, build, need, skip_without_root  # noqa: E402
from shapes_test import Rack, guest  # noqa: E402
from testbedlib import splats  # noqa: E402
from testbedlib.qmp import Qmp  # noqa: E402

PATIENT = 200  # seconds for a boot on a busy machine
EXTENT = [{"offset": 0, "len": 2 << 20}]

SCRIPT = """#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
dcd=$(echo /sys/bus/pci/drivers/cxl_dcd/*:*/dcd)
until grep -q ready $dcd/state; do sleep 0.2; done
echo "GUEST ready"
until grep -q accepted $dcd/extents; do sleep 0.2; done
echo "0 2097152 plugged dax" > $dcd/want
until grep -q invalidated $dcd/extents; do sleep 0.2; done
echo "GUEST refused"
for i in $(seq 100); do
    [ -n "$(cat $dcd/extents)" ] || break
    sleep 0.1
done
echo "GUEST end [$(cat $dcd/extents)]"
poweroff -f
"""


class Guest:
    def __init__(self, folder, overlay):
        rack = Rack(folder)
        bridge = rack.bridge()
        rack.device(rack.root_port(bridge), 1)
        rack.window("1G", bridge)
        self.console, self.socket = folder / "console.log", folder / "qmp.sock"
        self.process = subprocess.Popen(
            [*guest(folder, overlay, SCRIPT, [*rack.args, "-M", ",".join(rack.windows)], cpu="max"),
             "-qmp", f"unix:{self.socket},server,nowait"], stdin=subprocess.DEVNULL)

    def text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait(self, words):
        until = time.monotonic() + PATIENT
        while words not in self.text():
            need(self.process.poll() is None and time.monotonic() < until,
                 f"the guest does not say {words!r}; console:\n{self.text()[-2000:]}")
            time.sleep(0.2)

    def qmp(self, command, policy):
        with Qmp(self.socket, "h1") as qmp:
            qmp.command(command, path="/machine/peripheral/d1", region=0, tag="",
                        extents=EXTENT, **{"host-id": 0, policy: "prescriptive"})

    def story(self):
        self.wait("GUEST ready")
        self.qmp("cxl-add-dynamic-capacity", "selection-policy")
        self.wait("GUEST refused")
        self.qmp("cxl-release-dynamic-capacity", "removal-policy")
        self.wait("GUEST end")
        self.process.wait(timeout=60)
        end = self.text().split("GUEST end ")[1].splitlines()[0]
        need(end == "[]", f"the extent was not given back: {end}")
        found = [splat.text for splat in splats.Patterns().scan(self.text())]
        need(not found, f"SPLAT: {found}")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--build", type=Path, help="where to build (default: a temporary folder)")
    given = words.parse_args()
    skip_without_root()
    with tempfile.TemporaryDirectory(prefix="dcd-") as folder:
        target = (given.build or Path(folder) / "build").resolve()
        target.mkdir(parents=True, exist_ok=True)
        it = Guest(Path(folder), build(target))
        try:
            it.story()
        finally:
            it.end()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
