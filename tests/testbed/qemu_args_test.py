# SPDX-License-Identifier: Apache-2.0
"""Topology → QEMU arguments, against golden files (one argument a line).

After a wanted change: TESTBED_GOLDEN=write python3 qemu_args_test.py, and read the diff.
"""

import os
import unittest
from pathlib import Path

import common  # noqa: F401
from testbedlib import qemu_args, topology

GOLDEN = Path(__file__).resolve().parent / "golden"


def argv(name, host, **places):
    t, _ = topology.load(name)
    return qemu_args.argv(t, t.host(host), qemu_args.Places(**places))


class Golden(unittest.TestCase):
    def test_shipped_topologies(self):
        for name in topology.shipped():
            for host in topology.load(name)[0].hosts:
                with self.subTest(topology=name, host=host.name):
                    text = "\n".join(argv(name, host.name, user="100:100")) + "\n"
                    file = GOLDEN / f"{name}-{host.name}.txt"
                    if os.environ.get("TESTBED_GOLDEN") == "write":
                        file.write_text(text)
                    self.assertEqual(text, file.read_text())


class Rules(unittest.TestCase):
    """What must never get lost, whatever the golden files say."""

    def all(self):
        for name in topology.shipped():
            for host in topology.load(name)[0].hosts:
                yield argv(name, host.name), argv(name, host.name, user="7:7")

    def test_the_guest_has_one_way_out(self):
        for args, _ in self.all():
            nets = [a for a in args if a.startswith("user,") or "netdev" in a or "hostfwd" in a]
            net = next(a for a in nets if a.startswith("user,"))
            self.assertIn("restrict=on", net)
            self.assertNotIn("hostfwd", " ".join(args))
            self.assertEqual(args.count("-netdev"), 1)
            self.assertNotIn("-nic", args)

    def test_sandbox_and_user(self):
        for args, as_root in self.all():
            self.assertIn("elevateprivileges=allow", args[args.index("-sandbox") + 1])
            self.assertNotIn("-run-with", args)
            self.assertEqual(as_root[as_root.index("-run-with") + 1], "user=7:7")

    def test_atomics_need_two_possible_cpus_and_threads(self):
        for args, _ in self.all():
            self.assertEqual(args[args.index("-accel") + 1], "tcg,thread=multi")
            self.assertNotIn("-icount", args)
        host = topology.parse({"name": "t", "pools": [], "hosts": [{"name": "h", "cpus": 1}]}, "t")
        args = qemu_args.argv(host, host.hosts[0], qemu_args.Places())
        self.assertEqual(args[args.index("-smp") + 1], "1,maxcpus=2")

    def test_new_memory_is_not_onlined_by_the_kernel(self):
        for args, _ in self.all():
            self.assertIn("memhp_default_state=offline", args[args.index("-append") + 1])

    def test_pools_are_shared_and_named_for_the_fabric_manager(self):
        for args, _ in self.all():
            pools = [a for a in args if a.startswith("memory-backend-file")]
            self.assertTrue(all(a.endswith("share=on") for a in pools))
            self.assertEqual(bool(pools), "id=cxl-mem0," in " ".join(args))
        self.assertEqual(qemu_args.qom_path("mem0"), "/machine/peripheral/cxl-mem0")

    def test_windows_are_large_enough_and_in_one_option(self):
        t = topology.parse({"name": "t", "pools": [{"name": "big", "size": "8G"}],
                            "hosts": [{"name": "h", "devices": [{"pool": "big"}],
                                       "empty_ports": 1}]}, "t")
        args = qemu_args.argv(t, t.hosts[0], qemu_args.Places())
        windows = [a for a in args if a.startswith("cxl-fmw")]
        self.assertEqual(windows, ["cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=8192M,"
                                   "cxl-fmw.1.targets.0=cxl.1,cxl-fmw.1.size=4096M"])
        self.assertEqual(sum(a.startswith("cxl-rp") for a in args), 2)
        self.assertEqual(sum(a.startswith("cxl-type3") for a in args), 1)

    def test_a_full_host_has_distinct_buses_below_256(self):
        t = topology.parse({"name": "t", "pools": [], "hosts": [{"name": "h", "empty_ports": 16}]},
                           "t")
        args = qemu_args.argv(t, t.hosts[0], qemu_args.Places())
        buses = [int(a.split("bus_nr=")[1].split(",")[0]) for a in args if "bus_nr=" in a]
        self.assertEqual(len(set(buses)), 16)
        self.assertLess(max(buses) + 1, 256)

    def test_far_memory_is_a_node_without_cpus_and_slower(self):
        t = topology.parse({"name": "t", "pools": [],
                            "hosts": [{"name": "h", "memory": "160M", "far_memory": "1G"}]}, "t")
        args = qemu_args.argv(t, t.hosts[0], qemu_args.Places())
        self.assertTrue(args[args.index("-m") + 1].startswith("1184M,"))
        self.assertIn("hmat=on", args)
        nodes = [a for a in args if a.startswith("node,")]
        self.assertEqual(["cpus=" in n for n in nodes], [True, False])
        latencies = [int(a.rpartition("=")[2]) for a in args if "data-type=access-latency" in a]
        self.assertGreaterEqual(latencies[1], 2 * latencies[0])

    def test_a_plugin_and_shared_memory(self):
        t = topology.parse({"name": "t", "pools": [],
                            "hosts": [{"name": "h", "shared": "8M", "plugin": "/x/y.so",
                                       "plugin_arguments": "far=1-2,out=/run/host/plugin"}]}, "t")
        args = qemu_args.argv(t, t.hosts[0], qemu_args.Places(plugin="/p.so"))
        self.assertEqual(args[args.index("-plugin") + 1], "/p.so,far=1-2,out=/run/host/plugin")
        self.assertIn("ivshmem-plain,memdev=shared,bus=pcie.0", args)

    def test_the_append_of_file_and_host(self):
        t = topology.parse({"name": "t", "append": "a=1", "pools": [],
                            "hosts": [{"name": "h", "append": "b=2"}]}, "t")
        self.assertTrue(qemu_args.kernel_append(t.hosts[0]).endswith("testbed.host=h a=1 b=2"))


if __name__ == "__main__":
    unittest.main()
