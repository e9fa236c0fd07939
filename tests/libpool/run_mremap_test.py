#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mremap() across a border that the program did not draw, with libpool-run.so preloaded and without: Python's own
mmap.resize() is the program. usage: run_mremap_test.py LIBRARY"""

import os
import re
import subprocess
import sys

PROGRAM = """
import mmap
content = bytes(range(256)) * 4096
memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = content
memory.madvise(mmap.MADV_DONTFORK, 1 << 19, 1 << 18)  # three mappings to the kernel
try:
    memory.resize(2 << 20)
    print("moved" if memory[:1 << 20] == content and memory[1 << 20:] == bytes(1 << 20) else "other bytes")
except OSError as e:
    print(e.strerror)
"""


def said(library: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POOLTIER")}
    return subprocess.run([sys.executable, "-c", PROGRAM], env={**environment, "LD_PRELOAD": library}, check=True,
                          capture_output=True, text=True, timeout=60).stdout.strip()


def main() -> int:
    without, preloaded = said(""), said(sys.argv[1])
    print(f"without the library: {without}; with it: {preloaded}")
    major, minor = (int(number) for number in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
    wanted = "moved" if (major, minor) >= (6, 11) else "Bad address"  # before, no mapping is told one by one
    return 0 if without == "Bad address" and preloaded == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
