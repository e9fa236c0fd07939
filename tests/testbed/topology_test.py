# SPDX-License-Identifier: Apache-2.0
"""Topology files: what is read, and the one sentence for each mistake."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401
from testbedlib import topology
from testbedlib.errors import Fault

GOOD = {"name": "t", "pools": [{"name": "mem0", "size": "1G"}],
        "hosts": [{"name": "h1", "devices": [{"pool": "mem0"}]},
                  {"name": "h2", "memory": "512M", "cpus": 1,
                   "devices": [{"pool": "mem0", "serial": 1}]}]}


def changed(change):
    value = copy.deepcopy(GOOD)
    change(value)
    return value


class Reading(unittest.TestCase):
    def test_defaults_are_filled_in(self):
        t = topology.parse(GOOD, "t.json")
        self.assertEqual((t.hosts[0].memory, t.hosts[0].cpus), (2 << 30, 2))
        self.assertEqual(t.hosts[1].memory, 512 << 20)
        self.assertEqual(t.hosts[0].devices, (topology.Device("mem0", 1),))
        self.assertEqual(t.serial("mem0"), 1)

    def test_shipped_topologies_are_good_and_drawn(self):
        self.assertEqual(topology.shipped(), ["giant", "three-hosts", "tiers", "two-hosts"])
        for name in topology.shipped():
            t, _ = topology.load(name)
            self.assertEqual(t.name, name)
            self.assertTrue(t.description)
            picture = "\n".join(t.picture)
            for part in [h.name for h in t.hosts] + [p.name for p in t.pools]:
                self.assertIn(part, picture)

    def test_giant_gives_more_than_its_own_memory(self):
        t, _ = topology.load("giant")
        self.assertGreater(sum(p.size for p in t.pools), t.hosts[0].memory)

    def test_sizes(self):
        self.assertEqual(topology.parse_size("3K"), 3 << 10)
        self.assertEqual(topology.parse_size("2T"), 2 << 40)
        self.assertEqual(topology.parse_size(4096), 4096)
        for bad in ("", "1g", "-1G", "1.5G", "G", "1GiB", None, True, 1.5, []):
            with self.assertRaises(ValueError, msg=repr(bad)):
                topology.parse_size(bad)


class Mistakes(unittest.TestCase):
    def refused(self, change, *words):
        with self.assertRaises(Fault) as caught:
            topology.parse(changed(change), "t.json")
        sentence = str(caught.exception)
        self.assertNotIn("\n", sentence)
        self.assertTrue(sentence.startswith("topology t.json: "), sentence)
        for word in words:
            self.assertIn(word, sentence)

    def test_missing_field(self):
        self.refused(lambda v: v.pop("hosts"), "hosts is missing")
        self.refused(lambda v: v["pools"][0].pop("size"), "pools[0].size is missing")
        self.refused(lambda v: v["hosts"][1]["devices"][0].pop("pool"),
                     "hosts[1].devices[0].pool is missing")

    def test_unknown_key(self):
        self.refused(lambda v: v.update(host=[]), "host is not known here")
        self.refused(lambda v: v["hosts"][0].update(mem="1G"), "hosts[0].mem is not known", "memory")

    def test_bad_size(self):
        self.refused(lambda v: v["pools"][0].update(size="1X"), "pools[0].size", '"1X"')
        self.refused(lambda v: v["pools"][0].update(size="100M"), "pools[0].size", "256 MiB")
        self.refused(lambda v: v["pools"][0].update(size=0), "pools[0].size")
        self.refused(lambda v: v["pools"][0].update(size="999999T"), "pools[0].size", "1 TiB")
        self.refused(lambda v: v["hosts"][0].update(memory="64M"), "hosts[0].memory", "256 MiB")

    def test_far_memory_allows_a_small_near_node(self):
        t = topology.parse(changed(lambda v: v["hosts"][0].update(memory="96M", far_memory="512M")), "t")
        self.assertEqual((t.hosts[0].memory, t.hosts[0].far_memory), (96 << 20, 512 << 20))
        self.refused(lambda v: v["hosts"][0].update(far_memory="1M"), "hosts[0].far_memory", "48 MiB")
        self.refused(lambda v: v["hosts"][0].update(far_memory="512M", memory="32M"), "hosts[0].memory")

    def test_shared_memory_and_plugins(self):
        self.refused(lambda v: v["hosts"][0].update(shared="3M"), "hosts[0].shared", "power of two")
        self.refused(lambda v: v["hosts"][0].update(plugin_arguments="a=1"), "there is none")
        self.refused(lambda v: v["hosts"][0].update(plugin="/a,b.so"), "hosts[0].plugin", "comma")

    def test_wrong_kinds(self):
        self.refused(lambda v: v.update(hosts={}), "hosts must be a list, not an object")
        self.refused(lambda v: v["hosts"].append(7), "hosts[2] must be an object, not a number")
        self.refused(lambda v: v["hosts"][0].update(cpus="2"), "hosts[0].cpus")
        self.refused(lambda v: v["hosts"][0].update(cpus=True), "hosts[0].cpus")
        self.refused(lambda v: v.update(hosts=[]), "hosts must have 1 to")

    def test_duplicate_names(self):
        self.refused(lambda v: v["hosts"][1].update(name="h1"), "two hosts named h1")
        self.refused(lambda v: v["pools"].append({"name": "mem0", "size": "1G"}),
                     "two pools named mem0")
        self.refused(lambda v: v["hosts"][0]["devices"].append({"pool": "mem0"}),
                     "hosts[0].devices", "mem0")

    def test_bad_names(self):
        for bad in ("", "H1", "a/b", "..", "-x", "a" * 64, "a,b"):
            self.refused(lambda v, bad=bad: v["hosts"][0].update(name=bad), "hosts[0].name")

    def test_unknown_pool(self):
        self.refused(lambda v: v["hosts"][0]["devices"][0].update(pool="mem9"), "mem9", "mem0")

    def test_one_device_has_one_serial(self):
        self.refused(lambda v: v["hosts"][0]["devices"][0].update(serial=5),
                     "hosts[1].devices[0].serial is 1", "serial 5")

        def two_pools_one_serial(v):
            v["pools"].append({"name": "mem1", "size": "1G"})
            v["hosts"][0]["devices"].append({"pool": "mem1", "serial": 1})
        self.refused(two_pools_one_serial, "which the pool mem0 has already")

    def test_too_many_ports(self):
        self.refused(lambda v: v["hosts"][0].update(empty_ports=16), "hosts[0].empty_ports", "17")

    def test_files(self):
        with self.assertRaisesRegex(Fault, "no topology tow-hosts: shipped are giant"):
            topology.load("tow-hosts")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.json"
            with self.assertRaisesRegex(Fault, "No such file"):
                topology.load(str(file))
            file.write_text("{")
            with self.assertRaisesRegex(Fault, "is not JSON"):
                topology.load(str(file))
            file.write_text(json.dumps(GOOD))
            self.assertEqual(topology.load(str(file))[0].name, "t")


if __name__ == "__main__":
    unittest.main()
