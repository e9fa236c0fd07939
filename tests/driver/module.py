# SPDX-License-Identifier: Apache-2.0
"""The module under test: built in the testbed's root, staged as an overlay of a guest."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TESTBED = REPOSITORY / "qemu-testbed" / "testbed"
sys.path.insert(0, str(TESTBED.parent))


class Failed(Exception):
    pass


def need(truth, what):
    if not truth:
        raise Failed(what)


def skip_without_root():
    """Builds the root where there is none; exit code 77 where that cannot be."""
    if subprocess.run([TESTBED, "root"], stdout=subprocess.DEVNULL).returncode:
        print("SKIP: no testbed root: see the sentence above")
        sys.exit(77)


def build(folder):
    """The module and the guest's helper programs, as an overlay; built in the testbed's root."""
    driver, programs = REPOSITORY / "driver", Path(__file__).resolve().parent / "programs"
    overlay = folder / "overlay"
    script = f"make -s -C {driver} overlay OUT={folder} && mkdir -p {overlay}/usr/bin"
    for name in ("hold", "mbox"):
        script += (f" && gcc-14 -O2 -Wall -Wextra -Werror -static -o {overlay}/usr/bin/{name} "
                   f"{programs}/{name}.c")
    done = subprocess.run([TESTBED, "in-root", "--bind", REPOSITORY, "--bind", folder, "--",
                           "sh", "-c", script], text=True, capture_output=True)
    need(done.returncode == 0, f"building the module failed:\n{done.stdout}{done.stderr}")
    return overlay
