# SPDX-License-Identifier: Apache-2.0
"""One guest with a near and a far node whose QEMU counts accesses (tests/plugin), and what it leaves.

        +--------------------------+
        |  h1                      |        this machine
        |  node 0  near    126 MiB |        RUN/h1/plugin/LABEL.csv, LABEL.trace
        |  node 1  far     512 MiB |        RUN/h1/shared.mem  =  BAR in the guest
        +--------------------------+

The guest's files lie on the far node (initramfs_options), so that near is left to the kernel and the workload:
else whoever demotes them first would have a larger near node than the others.
"""

import csv
import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(CHECKOUT / "qemu-testbed"), str(CHECKOUT / "qemu-testbed/demo")]

from rack import Fault, Result  # noqa: E402
from testbedlib import root as roots  # noqa: E402
from testbedlib.errors import Fault as TestbedFault  # noqa: E402

MIB = 1 << 20
TESTBED = CHECKOUT / "qemu-testbed/testbed"
SHARED = 4 * MIB  # head and counters of a million pages
OUT = "/run/host/plugin"


def plugin_file() -> Path:
    path = Path(os.environ.get("POOLTRUTH") or CHECKOUT / "build/host/tests/plugin/pooltruth.so")
    if not path.is_file():
        raise Fault(f"the plugin {path} is not built: run `make` first")
    return path


@dataclass(frozen=True)
class Sizes:
    """Of the guest's two nodes, all of it: also what the kernel takes."""
    near_node: int
    far_node: int


# What the kernel takes of the near node (MiB; struct pages another 64th of it), with some slack: it differs by some
# MiB from boot to boot, and trim_near() takes what is over.
NEAR_OVERHEAD = 92
# A buffer of the kernel's own, which no tierer can see, move or take back: what is over goes there.
TRIM = "/sys/kernel/tracing/per_cpu/cpu0/buffer_size_kb"


def sizes_for(near_wanted: int, far_node: int = 512 * MIB) -> Sizes:
    """So that a workload finds `near_wanted` bytes free on the near node."""
    near = (near_wanted / MIB + NEAR_OVERHEAD) * 64 / 63
    return Sizes(math.ceil(near) * MIB, far_node)


@dataclass
class Trace:
    pages: int
    epoch_ns: int
    home: str
    epochs: list[list[int]]


def read_trace(path: Path) -> Trace:
    """A small trace as lists; the grammar is pooltrace's."""
    pages = epoch_ns = 0
    home, epochs = "", []
    lines = path.read_text().splitlines()
    if not lines or lines[0] != "pooltrace 1":
        raise Fault(f"{path} is no trace")
    for line in lines[1:]:
        key, *words = line.split()
        parts = [(w.split("*")[0], int(w.split("*")[1]) if "*" in w else 1) for w in words]
        if key == "pages":
            pages = int(words[0])
        elif key == "epoch_ns":
            epoch_ns = int(words[0])
        elif key == "home":
            home = "".join(place * repeat for place, repeat in parts)
        elif key == "epoch":
            counts = [int(count) for count, repeat in parts for _ in range(repeat)]
            epochs.append(counts + [0] * (pages - len(counts)))
        elif key == "end" and int(words[0]) != len(epochs):
            raise Fault(f"{path} has {len(epochs)} epochs, and its end says {words[0]}")
    return Trace(pages, epoch_ns, home, epochs)


class Guest:
    # First touch leaves this much of what is free: watermarks, page tables, the program itself.
    near_not_used = 5 * MIB // 4

    def __init__(self, folder: Path, sizes: Sizes, plugin: Path | None, overlay: str | None = None,
                 append: str = "nokaslr initramfs_options=mpol=prefer:1"):
        self.folder, self.sizes = Path(os.path.abspath(folder)), sizes
        self.overlay = overlay or str(CHECKOUT / "build/overlay")
        if not roots.path().is_dir():
            raise Fault(f"the testbed's root is missing ({roots.path()}): run `make guest`")
        if not Path(self.overlay).is_dir():
            raise Fault(f"the guests' programs are not built ({self.overlay} is missing): run `make guest` first")
        host = {"name": "h1", "memory": sizes.near_node, "cpus": 2, "append": append}
        self.topology = {"name": "bench-tier", "pools": [], "hosts": [host]}
        self.set_far_node(host)
        if plugin:
            far = "far={:#x}-{:#x}".format(*self.far_addresses)
            host |= {"shared": SHARED, "plugin": str(plugin),
                     "plugin_arguments": f"shared=/run/host/shared.mem,out={OUT},{far}"}

    def set_far_node(self, host: dict) -> None:
        host["far_memory"] = self.sizes.far_node

    @property
    def far_addresses(self) -> tuple[int, int]:
        """Physical ones: from, to."""
        return self.sizes.near_node, self.sizes.near_node + self.sizes.far_node

    def __enter__(self) -> "Guest":
        self.up()
        return self

    def __exit__(self, *_) -> None:
        self.down()

    @property
    def plugin_folder(self) -> Path:
        return self.folder / "h1/plugin"

    def up(self) -> None:
        self.down()
        for file in self.plugin_folder.glob("*"):
            file.unlink()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.topology_file.write_text(json.dumps(self.topology))
        try:
            self.boot()
        except TestbedFault as e:
            raise Fault(str(e)) from e

    @property
    def topology_file(self) -> Path:
        return self.folder.with_suffix(".topology.json")

    def boot(self) -> None:
        self._testbed("up", str(self.topology_file), "--overlay", self.overlay, timeout=300).must()

    def down(self) -> None:
        if (self.folder / "topology.json").exists():
            self._testbed("down", timeout=60)

    def run(self, *argv: str, timeout: float = 60) -> Result:
        """A program in the guest."""
        return self._testbed("exec", "--timeout", f"{timeout:g}", "-n", "h1", *argv, timeout=timeout + 20)

    def near_free(self) -> int:
        found = re.search(r"MemFree:\s+(\d+) kB", self.sh("cat /sys/devices/system/node/node0/meminfo"))
        return int(found[1]) << 10

    def trim_near(self, wanted: int) -> int:
        """Leave a workload `wanted` bytes of near memory, whatever this boot and earlier runs took. Returns what is
        free then."""
        for _ in range(6):
            over = self.near_free() - (wanted + self.near_not_used)
            if abs(over) < MIB // 8:
                break
            kept = int(self.sh(f"cat {TRIM}").split()[0])
            if kept + (over >> 10) < 4:
                raise Fault(f"the near node has {self.near_free() >> 10} KiB free, {-over >> 10} KiB less than the "
                            "comparison needs: more than before lies there")
            self.sh(f"echo {kept + (over >> 10)} > {TRIM}")
        return self.near_free()

    def sh(self, script: str, timeout: float = 60) -> str:
        return self.run("sh", "-c", script, timeout=timeout).must().out

    def epochs(self, label: str) -> list[dict]:
        with open(self.plugin_folder / f"{label}.csv", encoding="utf-8") as file:
            return [{k: float(v) if "." in v else int(v) for k, v in row.items()} for row in csv.DictReader(file)]

    def _testbed(self, verb: str, *args: str, timeout: float) -> Result:
        argv = [sys.executable, str(TESTBED), verb, "--dir", str(self.folder), *args]
        shown = " ".join([verb, *args])
        shown = shown if len(shown) < 120 else shown[:100].replace("\n", " ") + " …"
        began = time.monotonic()
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, cwd=CHECKOUT, check=False)
        except subprocess.TimeoutExpired:
            raise Fault(f"`{shown}` did not end within {time.monotonic() - began:.0f} s") from None
        return Result(shown, done.returncode, done.stdout, done.stderr)
