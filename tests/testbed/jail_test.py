# SPDX-License-Identifier: Apache-2.0
"""The jail: what is shown read-only cannot be written by the user it belongs to, with and without
root. (That QEMU sees nothing else is for the guest test.)"""

import errno
import os
import shutil
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401
from testbedlib import jail
from testbedlib.errors import Fault

NOBODY = 65534
NO_NAMESPACE = 200
PR_SET_DUMPABLE = 4


class ReadOnly(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="jail-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("root/usr", "root/mnt", "run"):
            (self.folder / name).mkdir(parents=True)
        for name in ("root/usr/program", "kernel", "run/log"):
            (self.folder / name).write_text("whole")

    def write_inside(self, path: str, uid: int) -> int:
        """The errno of opening it for writing, in the jail, as that user, whose files they are."""
        for name in [self.folder, *self.folder.rglob("*")]:
            os.chown(name, uid, -1)
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        code = 255
        try:
            if uid != os.geteuid():
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(uid, uid, uid)
                jail._libc.prctl(PR_SET_DUMPABLE, 1)  # lost with the uid; /proc/self is root's then
            binds = [jail.Bind(str(self.folder / "kernel"), "/boot/kernel", writable=False),
                     jail.Bind(str(self.folder / "run"), "/run")]
            jail.enter(self.folder / "root", binds, folders=("usr",))
            os.open(path, os.O_WRONLY)
            code = 0
        except Fault as e:
            os.write(2, f"{e}\n".encode())
            code = NO_NAMESPACE if "private mount namespace" in str(e) else 255
        except OSError as e:
            code = e.errno
        finally:
            os._exit(code)

    def check(self, uid: int):
        code = self.write_inside("/run/log", uid)
        if code == NO_NAMESPACE:
            self.skipTest("this machine gives no mount namespace")
        self.assertEqual(code, 0)
        for path in ("/usr/program", "/boot/kernel"):
            self.assertEqual(self.write_inside(path, uid), errno.EROFS, path)

    def test_for_the_caller(self):
        self.check(os.geteuid())

    def test_without_root(self):
        if os.geteuid() != 0:
            self.skipTest("the test above is this one")
        self.check(NOBODY)


if __name__ == "__main__":
    unittest.main()
