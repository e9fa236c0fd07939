# SPDX-License-Identifier: Apache-2.0
"""The cpio writer, read back by an independent reader of the format's description."""

import io
import os
import stat
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401
from testbedlib.cpio import Writer


def read(data: bytes) -> dict[str, tuple[int, bytes]]:
    """name → (mode, data), in order; checks the alignment on the way."""
    entries, at = {}, 0
    while True:
        if data[at:at + 6] != b"070701":
            raise AssertionError(f"no magic at {at}")
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110:at + 110 + name_size]
        if name[-1] != 0:
            raise AssertionError(f"name at {at} has no end")
        body = (at + 110 + name_size + 3) & ~3
        if name == b"TRAILER!!!\0":
            return entries
        entries[name[:-1].decode()] = (mode, data[body:body + size])
        at = (body + size + 3) & ~3


class Cpio(unittest.TestCase):
    def setUp(self):
        self.out = io.BytesIO()
        self.writer = Writer(self.out)

    def entries(self):
        self.writer.finish()
        self.assertEqual(len(self.out.getvalue()) % 4, 0)
        return read(self.out.getvalue())

    def test_files_of_all_alignments(self):
        for n in range(9):
            self.writer.file("f" * (n + 1), b"x" * n)
        entries = self.entries()
        for n in range(9):
            self.assertEqual(entries["f" * (n + 1)], (stat.S_IFREG | 0o644, b"x" * n))

    def test_parents_come_first_and_once(self):
        self.writer.file("a/b/c", b"1", 0o755)
        self.writer.file("/a/b/d", b"2")
        names = list(self.entries())
        self.assertEqual(names, ["a", "a/b", "a/b/c", "a/b/d"])

    def test_links_and_devices(self):
        self.writer.symlink("l", "target")
        self.writer.device("dev/null", 1, 3, 0o666)
        entries = self.entries()
        self.assertEqual(entries["l"], (stat.S_IFLNK | 0o777, b"target"))
        self.assertEqual(entries["dev/null"][0], stat.S_IFCHR | 0o666)
        self.assertIn(b"%08X%08X" % (1, 3), self.out.getvalue())

    def test_lib_of_an_overlay_does_not_replace_the_link_to_usr_lib(self):
        self.writer.symlink("lib", "usr/lib")
        self.writer.file("lib/modules/x.ko", b"m")
        self.writer.folder("bin")
        entries = self.entries()
        self.assertEqual(entries["lib"], (stat.S_IFLNK | 0o777, b"usr/lib"))
        self.assertIn("usr/lib/modules/x.ko", entries)
        self.assertNotIn("bin", entries)
        self.assertIn("usr/bin", entries)

    def test_a_tree(self):
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "usr/bin").mkdir(parents=True)
            (top / "etc/empty").mkdir(parents=True)
            (top / "usr/bin/tool").write_bytes(b"\0\xff")
            (top / "usr/bin/tool").chmod(0o700)
            (top / "etc/conf").write_text("c")
            (top / "etc/conf").chmod(0o600)
            os.symlink("conf", top / "etc/link")
            os.symlink("empty", top / "etc/folderlink")
            names = self.writer.tree(top)
        entries = self.entries()
        self.assertEqual(entries["usr/bin/tool"], (stat.S_IFREG | 0o755, b"\0\xff"))
        self.assertEqual(entries["etc/conf"], (stat.S_IFREG | 0o644, b"c"))
        self.assertEqual(entries["etc/link"][1], b"conf")
        self.assertEqual(entries["etc/folderlink"], (stat.S_IFLNK | 0o777, b"empty"))
        self.assertEqual(entries["etc/empty"][0], stat.S_IFDIR | 0o755)
        self.assertEqual(sorted(names), ["etc/conf", "etc/folderlink", "etc/link", "usr/bin/tool"])


if __name__ == "__main__":
    unittest.main()
