# SPDX-License-Identifier: Apache-2.0
"""Where the testbed is, for its tests."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FOLDER = REPOSITORY / "qemu-testbed"
TESTBED = FOLDER / "testbed"
COMMAND = [sys.executable, str(TESTBED)]  # not through env, which may find a wrapper that takes its time

sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER))


def testbed(*words, env=None, **how) -> subprocess.CompletedProcess:
    """Run the command as a user would."""
    how.setdefault("capture_output", True)
    how.setdefault("text", True)
    how.setdefault("timeout", 300)
    return subprocess.run([*COMMAND, *map(str, words)], env={**os.environ, **(env or {})}, **how)
