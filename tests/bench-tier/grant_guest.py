# SPDX-License-Identifier: Apache-2.0
"""A guest whose far node is a grant of fmd's: extents of a device with dynamic capacity, plugged by cxl_dcd.

        +--------------------------+
        |  h1                      |        this machine
        |  node 0  near            |        RUN/h1/plugin/LABEL.csv, LABEL.trace
        |  node 1  far     256 MiB |<------ fmd: grant "far" of pool mem0
        |    window above 4 GiB    |
        +--------------------------+

The far node has movable memory alone. Three things follow:
- The guest's files cannot begin there. They lie near, in a ramfs, whose pages nobody can demote or move.
- All that the kernel needs it takes near, and where nothing can be reclaimed it kills the program when it gets none. So
  programs' pages leave it 1 MiB more than they otherwise would (MARKS), and its marks stay where they are (no boost).
- What a boot leaves of the near node is far more than a workload shall have; trim_near() takes it.

Under TCG each access to an extent is a call into the device. Kernels that find ERMS or FSRM clear and copy pages byte
by byte, that is in 4,096 such calls: this one is told that there is neither, and does it in 512.
"""

from pathlib import Path

from guest import CHECKOUT, MIB, Fault, Guest, Sizes
from rack import Rack

GRANT = "far"
FAR_NODE = 256 * MIB
# What the kernel and the guest's files take of the near node at most; trim_near() takes what is over.
NEAR_OVERHEAD = 248 * MIB
APPEND = "nokaslr rootfstype=ramfs clearcpuid=erms,fsrm"
# Between the node's marks: hundredths of a percent of it. The CPUs' own lists of free pages, which MemFree does not count
# and which were seen to hide a third of what a workload shall have, are kept as short as can be.
MARKS = """
echo 0 > /proc/sys/vm/watermark_boost_factor
echo 75 > /proc/sys/vm/watermark_scale_factor
echo 2000 > /proc/sys/vm/percpu_pagelist_high_fraction
"""
ABOVE_RAM = 4 << 30  # CXL windows lie above this; a guest's own memory (below 2 GiB) does not


class GrantGuest(Guest):
    near_not_used = 4 * MIB  # as in Guest; here all of the kernel's memory is near

    def __init__(self, folder: Path, near_wanted: int, plugin: Path | None, overlay: str, grant_overlay: Path):
        if not grant_overlay.is_dir():
            raise Fault(f"the driver and poold for guests are not built ({grant_overlay} is missing): run "
                        "`make bench-tier` first")
        super().__init__(folder, Sizes(near_wanted + NEAR_OVERHEAD, FAR_NODE), plugin, overlay, APPEND)
        self.rack = Rack(str(self.topology_file), self.folder, overlays=(self.overlay, grant_overlay))

    def set_far_node(self, host: dict) -> None:
        self.topology["pools"] = [{"name": "mem0", "size": self.sizes.far_node}]
        host["devices"] = [{"pool": "mem0", "serial": 1}]

    @property
    def far_addresses(self) -> tuple[int, int]:
        return ABOVE_RAM, 1 << 52

    def boot(self) -> None:
        self.rack.up()
        self.rack.fmd_start()
        self.rack.wait_ready()
        self.rack.create(GRANT, f"{FAR_NODE // MIB}M", "h1")
        window = int(self.sh("cat /sys/bus/pci/devices/*/dcd/window").split()[0])
        if window < ABOVE_RAM:
            raise Fault(f"the CXL window begins at {window:#x}, where the plugin takes memory for near")
        self.sh(MARKS)
        self.check_plugin()

    def check_plugin(self) -> None:
        """Are accesses to an extent counted as exactly as those to direct RAM? tests/plugin has the same for that."""
        self.run("numactl", "--membind=1", "truthctl", "touch", "extent", timeout=120).must()
        rows = self.epochs("extent")
        near, far = sum(r["near"] for r in rows), sum(r["far"] for r in rows)
        wanted = sum(2 * 1000 * (page + 1) for page in range(64))
        if (near, far) != (0, wanted):
            raise Fault(f"of {wanted} accesses to an extent the plugin counted {far} far and {near} near")

    def down(self) -> None:
        self.rack.down()
