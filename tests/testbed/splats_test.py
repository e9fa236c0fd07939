# SPDX-License-Identifier: Apache-2.0
"""The list of kernel splats must find each of them, and let a clean boot pass."""

import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401
from testbedlib.errors import Fault
from testbedlib.splats import Patterns

SPLATS = """\
[   12.1] WARNING: CPU: 1 PID: 77 at mm/memory_hotplug.c:1180 online_pages+0x1/0x2
[   12.1] WARNING: possible circular locking dependency detected
[   12.1] BUG: unable to handle page fault for address: ffff888000000000
[   12.1] BUG: kernel NULL pointer dereference, address: 0000000000000008
[   12.1] kernel BUG at lib/list_debug.c:62!
[   12.1] Oops: Oops: 0000 [#1] SMP NOPTI
[   12.1] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]
[   12.1] Call Trace:
[   12.1] list_del corruption. prev->next should be ffff, but was 0000
[   12.1] slab kmalloc-64: list_add corruption. next->prev should be
[   12.1] kmem dax0.0: mapping0: 0x110000000-0x11fffffff stuck online until reboot
[   12.1] INFO: task kworker/0:1:9 blocked for more than 120 seconds.
[   12.1] rcu: INFO: rcu_preempt self-detected stall on CPU
[   12.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[   12.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:99]
[   12.1] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!
[   12.1] Kernel panic - not syncing: Fatal exception
[   12.1] refcount_t: underflow; use-after-free.
[   12.1] BUG: Bad page state in process poold  pfn:110000
[   12.1] Out of memory: Killed process 99 (work) total-vm:1kB
[   12.1] poold[99]: segfault at 0 ip 0000 sp 0000 error 4 in poold
[   12.1] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1
"""

CLEAN = """\
[    0.000000] Command line: console=ttyS0 panic=1 memhp_default_state=offline testbed.host=h1
[    0.000000] Kernel command line: console=ttyS0 panic=1 hung_task_panic=1 testbed.host=h1
[    0.033811] Spectre V1 : Mitigation: usercopy/swapgs barriers and __user pointer sanitization
[    1.204513] pcieport 0000:18:00.0: bridge window [io  size 0x1000]: can't assign; no space
[    2.450093] clocksource: Watchdog remote CPU 1 read timed out
[    4.829370] x86/mm: Checked W+X mappings: passed, no W+X pages found.
[    9.100000] cxl_dcd: loading out-of-tree module taints kernel.
[    9.100000] cxl_dcd: module verification failed: signature and/or required key missing - tainting kernel
testbed: h1 is ready after 5.50 s
[   11.000000] Demotion targets for Node 0: preferred: 1, fallback: 1
"""


# A move that found no room, whose trace is harmless once.
NO_ROOM = """\
[   52.575401] libpool: page allocation failure: order:0, mode:0x340cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_THISNODE), nodemask=(null),cpuset=/,mems_allowed=0-1
[   52.576233] CPU: 1 UID: 0 PID: 224 Comm: libpool Tainted: G           OE       7.3.4+deb13-amd64 #1 PREEMPT(lazy)
[   52.576658] Call Trace:
[   52.577263]  <TASK>
"""


class Splats(unittest.TestCase):
    def test_each_splat_is_found(self):
        patterns = Patterns()
        for line in SPLATS.splitlines():
            with self.subTest(line=line):
                self.assertTrue(patterns.is_splat(line))

    def test_a_clean_boot_passes(self):
        self.assertEqual(Patterns().scan(CLEAN), [])

    def test_a_move_without_room_excuses_its_own_trace_alone(self):
        self.assertEqual(Patterns().scan(NO_ROOM), [])
        trace = "[   53.1] Call Trace:"
        self.assertEqual([s.text for s in Patterns().scan(NO_ROOM + trace)], [trace])
        self.assertEqual(len(Patterns().scan(NO_ROOM.splitlines()[0] + "\n" * 20 + trace)), 1)
        other = NO_ROOM.replace("GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_THISNODE", "GFP_KERNEL")
        self.assertEqual(len(Patterns().scan(other)), 1)

    def test_scan_tells_the_line(self):
        found = Patterns().scan(CLEAN + SPLATS)
        self.assertEqual(len(found), len(SPLATS.splitlines()))
        self.assertEqual(found[0].line, len(CLEAN.splitlines()) + 1)

    def test_an_empty_list_would_be_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "list"
            file.write_text("- BUG\n")
            self.assertFalse(Patterns(file).is_splat("BUG: x"))
            file.write_text("BUG\n")
            with self.assertRaisesRegex(Fault, 'list:1: must begin with'):
                Patterns(file)
            file.write_text("! (\n")
            with self.assertRaises(Fault):
                Patterns(file)


if __name__ == "__main__":
    unittest.main()
