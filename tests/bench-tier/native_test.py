#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench-tier on two nodes of this machine, with folders and a program that stand for them."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import native  # noqa: E402
from guest import Fault  # noqa: E402

# Says what it was called with; all near when kernel tiering is on, half when NUMA balancing is, else a tenth.
WORK = """#!/bin/sh
echo "$POOL_TIERS: $*" >>{folder}/calls
case "$*" in *--tiering*) {tiering} ;; esac
near=0.1
case "$(cat {folder}/balancing)" in 1) near=0.5 ;; 2) near=1 ;; esac
echo '{{"near":['$near'],"accesses":[2000000],"seconds":[1]}}'
"""


class Native(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        for node, kib in ((0, 4000000), (1, 4000000), (2, 0)):
            (self.folder / f"nodes/node{node}").mkdir(parents=True)
            (self.folder / f"nodes/node{node}/meminfo").write_text(f"Node {node} MemTotal: {kib:8} kB\n")
        self.switches = {self.folder / "demotion": ("false", "1"), self.folder / "balancing": ("1", "2")}
        for file, (before, _) in self.switches.items():
            file.write_text(before + "\n")
        for name, value in (("NODES", self.folder / "nodes"), ("program", lambda: str(self.folder / "work")),
                            ("BALANCING", self.folder / "balancing"),
                            ("KERNEL_TIERING", {f: on for f, (_, on) in self.switches.items()})):
            change = mock.patch.object(native, name, value)
            change.start()
            self.addCleanup(change.stop)
        self.be(0)
        self.work("")

    def be(self, uid):
        user = mock.patch.object(os, "geteuid", lambda: uid)
        user.start()
        self.addCleanup(user.stop)

    def work(self, tiering):
        (self.folder / "work").write_text(WORK.format(folder=self.folder, tiering=tiering))
        (self.folder / "work").chmod(0o755)

    def native(self, *words):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            return native.native(list(words)), out.getvalue()

    def test_one_table_with_all_workloads_and_contenders(self):
        code, out = self.native("0", "1")
        rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")]
        self.assertEqual((code, len(rows)), (0, 1 + 4 * 3), out)
        self.assertEqual({(r[1], r[2], r[3]) for r in rows[1:]},
                         {("all far", "10.0", "2.00 |"), ("libpool, 1/8 near", "10.0", "2.00 |"),
                          ("kernel tiering, all near allowed", "100.0", "2.00 |")})
        self.assertNotIn("not shown", out)

    def test_the_nodes_are_declared_where_both_have_cpus(self):
        self.native("1", "0")
        calls = (self.folder / "calls").read_text().splitlines()
        self.assertEqual(len(calls), 4 * 3 * 3)
        for call in calls:
            self.assertTrue(call.startswith("near=1 far=0: ") and "--nodes 1,0" in call, call)

    def test_what_was_switched_on_is_as_before(self):
        self.native("0", "1")
        self.assertEqual([file.read_text().strip() for file in self.switches], ["0", "1"])

    def test_an_ordinary_user_is_told_that_the_kernel_moves_pages_too(self):
        self.be(1000)
        code, out = self.native("0", "1")
        self.assertEqual((code, out.count(" 50.0 | ")), (0, 4 * 2), out)
        self.assertIn("not shown: kernel tiering, all near allowed: only root can switch it on", out)
        self.assertIn("NUMA balancing is on and moves pages near in each row", out)

    def test_a_kernel_without_tiering_is_left_out_and_named(self):
        (self.folder / "demotion").unlink()
        code, out = self.native("0", "1")
        self.assertEqual((code, out.count("\n| ")), (0, 1 + 4 * 2), out)
        self.assertIn(f"not shown: kernel tiering, all near allowed: {self.folder}/demotion is not there to be written", out)

    def test_where_libpool_does_not_start_its_sentence_stands_below_the_others(self):
        self.work("echo 'pool-work: no sampler can be used' >&2; exit 1")
        code, out = self.native("0", "1")
        self.assertEqual((code, out.count("\n| ")), (1, 1 + 4 * 2), out)
        self.assertTrue(out.endswith("not shown: libpool, 1/8 near: pool-work: no sampler can be used\n"), out)

    def test_wrong_nodes_are_one_sentence(self):
        for words, said in ((("0", "0"), "needs two different ones; NEAR=0 FAR=0 was asked for"),
                            (("0", "2"), "has the memory nodes 0, 1, and"), (("0",), "native takes two nodes"),
                            (("0", "x"), "native takes two nodes")):
            with self.assertRaisesRegex(Fault, said):
                self.native(*words)


if __name__ == "__main__":
    unittest.main()
