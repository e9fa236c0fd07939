# SPDX-License-Identifier: Apache-2.0
"""Proof that nothing is left: processes, mounts and files, compared with how it was before.

Other things happen on the same machine meanwhile, so only what can be ours counts: a process that
has a file or mount of our folder; a mount that shows it, or the cache; a new file with one of our
names in the places where programs leave files.
"""

import os
import re
from pathlib import Path

PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run")
OURS = re.compile(r"cxlpool|testbed|fmd|poold|qemu|memtool|\.pool")
TESTS = re.compile(r"-test-")  # folders of unit tests, which `make test` runs beside the demo
# In the checkout: what programs drop, not what people write.
DROPPED = re.compile(r"(\.(pyc|log|sock|db|db-wal|db-shm|pid|pool|partial|cpio|ko|o)|/core(\.\d+)?)$")


def _entries() -> set[str]:
    found = set()
    for place in PLACES:
        try:
            found |= {entry.path for entry in os.scandir(place)}
        except OSError:
            pass
    return found


def _dropped(checkout: Path, build: Path) -> set[str]:
    """Such files of the checkout, but not in build/ and git's own folder."""
    found = set()
    for folder, folders, files in os.walk(checkout):
        folders[:] = [f for f in folders if f != ".git" and Path(folder, f) != build]
        found |= {f"{folder}/{f}" for f in files if DROPPED.search(f"/{f}")}
    return found


class Before:
    """How it is before the first thing is started."""

    def __init__(self, checkout: Path, folder: Path):
        self._checkout, self._folder, self._build = checkout, folder, checkout / "build"
        self._files, self._entries = _dropped(checkout, self._build), _entries()
        self._mounts = _mounts()

    def processes(self) -> list[str]:
        """Processes that still have something of our folder open, mounted, or as their place."""
        return [f"{pid} {_name(pid)}" for pid in _pids() if _touches(pid, str(self._folder))]

    def mounts(self) -> list[str]:
        return [m for m in _mounts() if m not in self._mounts
                and (str(self._checkout) in m or "cxlpool" in m)]

    def files(self) -> list[str]:
        new = [e for e in _entries() - self._entries if OURS.search(e) and not TESTS.search(e)]
        return sorted(new) + sorted(_dropped(self._checkout, self._build) - self._files)


def _pids() -> list[int]:
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def _touches(pid: int, folder: str) -> bool:
    links = [f"/proc/{pid}/cwd"]
    try:
        links += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for link in links:
        try:
            if (os.readlink(link) + "/").startswith(folder + "/"):
                return True
        except OSError:
            pass
    try:  # a guest's QEMU lives in a mount namespace of its own, which shows our files
        return folder + "/" in Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return False


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [" ".join(line.split()[3:5]) for line in lines]
