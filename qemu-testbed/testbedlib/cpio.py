# SPDX-License-Identifier: Apache-2.0
"""Write a cpio archive (newc) for an initial ramfs. No privilege is needed: everything in the
archive belongs to root there, whoever owns it here.

The kernel unpacks several archives one after another from one image; later files win.
"""

import os
import stat
from pathlib import Path

MAGIC = b"070701"
# The image has these as symlinks into /usr. A folder of that name in a later archive would
# replace the symlink, and every library with it.
MERGED = ("bin", "sbin", "lib", "lib64")


class Writer:
    """Adds entries to an open binary file; parents are added before their children."""

    def __init__(self, out):
        self._out = out
        self._inode = 0
        self._folders: set[str] = set()

    def folder(self, name: str, mode: int = 0o755) -> None:
        name = _merged(name)
        if not name or name in self._folders:
            return
        self._parents(name)
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        name = _merged(name)
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        name = name.strip("/") if name.strip("/") in MERGED else _merged(name)
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        name = name.strip("/")
        self._parents(name)
        self._entry(name, stat.S_IFCHR | mode, b"", major, minor)

    def tree(self, source: Path) -> list[str]:
        """All of a folder, its top becoming the archive's. Returns the names of its files."""
        added = []
        for folder, names, files in os.walk(source):
            names.sort()
            here = os.path.relpath(folder, source)
            here = "" if here == "." else here
            linked = [n for n in names if os.path.islink(os.path.join(folder, n))]
            for name in sorted(files + linked):
                path, inside = os.path.join(folder, name), os.path.join(here, name)
                if os.path.islink(path):
                    self.symlink(inside, os.readlink(path))
                elif os.path.isfile(path):
                    mode = 0o755 if os.stat(path).st_mode & 0o111 else 0o644
                    self.file(inside, Path(path).read_bytes(), mode)
                added.append(inside)
            for name in names:
                if name not in linked:
                    self.folder(os.path.join(here, name))
        return added

    def finish(self) -> None:
        self._inode = 0
        self._entry("TRAILER!!!", 0, b"")

    def _parents(self, name: str) -> None:
        parent = os.path.dirname(name)
        if parent:
            self.folder(parent)

    def _entry(self, name: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, major, minor,
                  len(encoded), 0)
        header = MAGIC + b"".join(b"%08X" % f for f in fields) + encoded
        self._out.write(header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4))


def _merged(name: str) -> str:
    name = name.strip("/")
    return f"usr/{name}" if name.split("/", 1)[0] in MERGED else name
