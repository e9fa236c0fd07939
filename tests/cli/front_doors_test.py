# SPDX-License-Identifier: Apache-2.0
"""What a new user types first, as far as it needs no guest: make help and make try."""

import glob
import os
import re
import subprocess
import tempfile
import unittest

from harness import FMCTL, FMD, run

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class FrontDoors(unittest.TestCase):
    def test_help_names_every_door(self):
        listed = run("make", "-C", TOP, "--no-print-directory", "help").out
        with open(os.path.join(TOP, "Makefile")) as file:
            doors = re.search(r"^\.PHONY: (.*)$", file.read(), re.M).group(1).split()
        for door in set(doors) - {"banner"}:
            self.assertRegex(listed, rf"(?m)^  make {door} +\S")

    def test_try_without_a_terminal_shows_a_grant_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            shown = run(os.path.join(TOP, "qemu-testbed/demo/try"), stdin=subprocess.DEVNULL,
                        env={"PATH": os.environ["PATH"], "TMPDIR": folder, "CXLPOOL_FMD": FMD,
                             "CXLPOOL_FMCTL": FMCTL})
            self.assertEqual((shown.code, shown.err), (0, ""))
            self.assertRegex(shown.out, r"(?m)^g1  active  256 MiB  h1:node\d+  mem0\[0-256M\]  \d+ ms$")
            self.assertIn("g1  gone", shown.out)
            self.assertEqual(os.listdir(folder), [])
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        self.assertNotIn(folder.encode(), file.read())
                except OSError:
                    pass  # ended meanwhile


if __name__ == "__main__":
    unittest.main()
