# SPDX-License-Identifier: Apache-2.0
"""The root: what the check refuses, and how building behaves when things go wrong. mmdebstrap
and apt are played by small scripts; the real ones are used by the guest test."""

import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import common
from testbedlib import root as roots
from testbedlib.errors import Fault

KERNEL = "7.3.4+deb13-amd64"
MAKE_ROOT = r"""
mkdir -p "$R/usr/bin" "$R/boot" "$R/var/lib/dpkg" "$R/usr/lib/modules/$K/kernel/drivers/cxl"
mkdir -p "$R/usr/src/linux-headers-$K"
ln -s "/usr/src/linux-headers-$K" "$R/usr/lib/modules/$K/build"
for p in qemu-system-x86_64 busybox gcc-14 cxl daxctl numactl kmod; do : > "$R/usr/bin/$p"; done
: > "$R/boot/vmlinuz-$K"; : > "$R/usr/lib/modules/$K/modules.dep"
printf '0x0\tcxl_mem_find_port\tvmlinux\tEXPORT_SYMBOL_NS_GPL\tCXL\n' \
    > "$R/usr/src/linux-headers-$K/Module.symvers"
printf 'Package: qemu-system-x86\nStatus: install ok installed\nVersion: 1:%s+ds-1\n\n' "$Q" \
    > "$R/var/lib/dpkg/status"
"""


def make_root(folder: Path, qemu="11.1.3", kernel=KERNEL) -> Path:
    root = folder / "root"
    subprocess.run(["sh", "-ec", MAKE_ROOT], check=True,
                   env={**os.environ, "R": str(root), "K": kernel, "Q": qemu})
    return root


class Check(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def refused(self, root, *words):
        with self.assertRaises(Fault) as caught:
            roots.check(root)
        sentence = str(caught.exception)
        self.assertNotIn("\n", sentence)
        for word in words:
            self.assertIn(word, sentence)

    def test_a_good_one(self):
        roots.check(make_root(self.folder))

    def test_missing_parts(self):
        for gone, said in (("usr/bin/qemu-system-x86_64", "missing QEMU"),
                           (f"boot/vmlinuz-{KERNEL}", "missing a kernel"),
                           (f"usr/lib/modules/{KERNEL}/build", "missing the headers"),
                           ("usr/bin/numactl", "missing numactl")):
            with self.subTest(gone=gone), tempfile.TemporaryDirectory() as folder:
                root = make_root(Path(folder))
                (root / gone).unlink()
                self.refused(root, said, f"remove it with `rm -rf {root}`")

    def test_too_old(self):
        self.refused(make_root(self.folder / "a", qemu="10.0.6"), "QEMU 10.0.6", "11.1 or newer")
        self.refused(make_root(self.folder / "b", kernel="6.12.107+deb13-amd64"),
                     "kernel 6.12.107+deb13-amd64", "7.3 or newer")

    def test_a_kernel_that_claims_dcd_itself(self):
        root = make_root(self.folder)
        symvers = root / f"usr/src/linux-headers-{KERNEL}/Module.symvers"
        good = symvers.read_text()
        for symbol in ("cxl_configure_dcd", "cxl_dev_dc_identify", "cxl_add_extent"):
            symvers.write_text(good + f"0x0\t{symbol}\tdrivers/cxl/core/cxl_core\tEXPORT\tCXL\n")
            self.refused(root, "driver of its own for dynamic capacity", symbol)
        symvers.write_text(good)
        roots.check(root)
        module = root / f"usr/lib/modules/{KERNEL}/kernel/drivers/cxl/cxl_pci.ko"
        module.write_bytes(b"\x7fELF\0dynamic_ram_a\0")
        self.refused(root, "cxl_pci: dynamic_ram_a")

    def test_the_newest_kernel_is_taken(self):
        root = make_root(self.folder)
        for release in ("7.3.11+deb13-amd64", "7.3.9+deb13-amd64"):
            (root / f"boot/vmlinuz-{release}").touch()
            (root / f"usr/lib/modules/{release}").mkdir()
            (root / f"usr/lib/modules/{release}/modules.dep").touch()
        (root / "boot/vmlinuz-9.9.9").touch()  # without modules
        self.assertEqual(roots.kernel(root), "7.3.11+deb13-amd64")


class Build(unittest.TestCase):
    """The whole command, with scripts in place of the tools that need a mirror."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.cache = self.folder / "cache"
        self.script("apt-get", "echo http://one.example/debian-security; "
                               "echo http://one.example/debian/")
        self.script("apt-config", "exit 0")
        self.script("unshare", 'while [ "$1" != mmdebstrap ]; do shift; done; exec "$@"')
        self.env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "CXLPOOL_CACHE": str(self.cache),
                    "CXLPOOL_TESTBED_ROOT": ""}
        if os.geteuid() != 0:
            self.skipTest("the unprivileged way of building writes a tar: tried as root only")

    def script(self, name, body):
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def mmdebstrap(self, before="", after=""):
        # The target is the argument before the two "deb …" lines.
        self.script("mmdebstrap", f"""echo called >> {self.folder}/calls; echo "$@" > \
{self.folder}/args
{before}
for a; do case "$a" in deb*) ;; *) R=$a;; esac; done
K={KERNEL}; Q=11.1.3; set -e
{MAKE_ROOT}
{after}""")

    def calls(self):
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def test_builds_once_from_the_mirror_of_apt(self):
        self.mmdebstrap()
        first = common.testbed("root", env=self.env)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("deb http://one.example/debian trixie-backports main",
                      (self.folder / "args").read_text())
        self.assertTrue(Path(first.stdout.strip()).is_dir())
        again = common.testbed("root", env=self.env)
        self.assertEqual((again.stdout, again.stderr), (first.stdout, ""))
        self.assertEqual(self.calls(), 1)

    def start(self):
        return subprocess.Popen([*common.COMMAND, "root"], env={**os.environ, **self.env},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def build_held(self):
        """A build that goes on when let_go() says so."""
        self.mmdebstrap(f"while [ ! -e {self.folder}/go ]; do sleep 0.05; done")
        first = self.start()
        while not self.calls():
            time.sleep(0.02)
        second = self.start()
        said = second.stderr.readline()  # before anything is let go: no race
        self.assertIn("waiting for another testbed that builds", said)
        return first, second

    def let_go(self):
        (self.folder / "go").touch()

    def test_two_at_once_build_one(self):
        first, second = self.build_held()
        self.let_go()
        out = [p.communicate()[0] for p in (first, second)]
        self.assertEqual([first.returncode, second.returncode], [0, 0])
        self.assertEqual(out[0], out[1])
        self.assertEqual(self.calls(), 1)

    def test_a_failure_says_why_and_leaves_nothing_half(self):
        self.mmdebstrap('echo "E: no space left on device" >&2; exit 1')
        failed = common.testbed("root", env=self.env)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no space left on device", failed.stderr.splitlines()[-1])
        self.assertEqual([p.name for p in self.cache.glob("root-*") if p.is_dir()], [])
        self.mmdebstrap()
        self.assertEqual(common.testbed("root", env=self.env).returncode, 0)

    def test_a_root_without_qemu_never_gets_the_final_name(self):
        self.mmdebstrap(after='rm "$R/usr/bin/qemu-system-x86_64"')
        failed = common.testbed("root", env=self.env)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("missing QEMU", failed.stderr)
        self.assertEqual([p.name for p in self.cache.glob("root-*") if p.is_dir()], [])

    def test_killed_in_the_middle(self):
        # The orphaned build still holds the lock: the second neither joins nor overtakes it.
        first, second = self.build_held()
        first.kill()
        first.wait()
        time.sleep(0.3)
        self.assertIsNone(second.poll())
        self.assertEqual(self.calls(), 1)
        self.let_go()
        _, said = second.communicate()
        self.assertEqual(second.returncode, 0, said)
        self.assertEqual(self.calls(), 2)
        first.communicate()

    def test_a_lost_terminal_ends_the_build(self):
        self.mmdebstrap("exec sleep 60")
        build = self.start()
        while not self.calls():
            time.sleep(0.02)
        build.send_signal(signal.SIGHUP)
        _, said = build.communicate(timeout=20)
        self.assertEqual((build.returncode, said.splitlines()[-1]), (130, "testbed: interrupted"))
        self.assertEqual([p.name for p in self.cache.glob("root-*") if p.is_dir()], [])

    def test_no_mirror(self):
        self.mmdebstrap()
        self.script("apt-get", "echo http://one.example/ubuntu")
        failed = common.testbed("root", env=self.env)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no mirror in this machine's apt sources ends in /debian", failed.stderr)

    def test_broken_root_of_ones_own(self):
        failed = common.testbed("root", env={**self.env, "CXLPOOL_TESTBED_ROOT": "/nonexistent"})
        self.assertEqual(failed.returncode, 1)
        self.assertIn("missing QEMU", failed.stderr)


class Unprivileged(unittest.TestCase):
    def test_an_interrupted_build_leaves_no_tar(self):
        # Who holds the pipe (mmdebstrap's own children) keeps a tar alive that waits for its end.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for program, body in (("apt-config", "exit 0"),
                                  ("tar", f"echo $$ > {folder}/tar; mv {folder}/tar {folder}/pid; "
                                          "exec sleep 60"),
                                  ("mmdebstrap", f"while [ ! -e {folder}/pid ]; do sleep 0.02; done; "
                                                 "kill -INT $PPID; exec sleep 60")):
                (folder / program).write_text(f"#!/bin/sh\n{body}\n")
                (folder / program).chmod(0o755)
            path = os.environ["PATH"]
            os.environ["PATH"] = f"{folder}:{path}"
            try:
                with open(folder / "lock", "w") as lock, self.assertRaises(KeyboardInterrupt):
                    roots._build_unprivileged("http://one.example/debian", folder / "root",
                                              folder / "log", lock.fileno(), time.monotonic())
            finally:
                os.environ["PATH"] = path
            self.assertFalse(Path("/proc", (folder / "pid").read_text().strip()).exists())


if __name__ == "__main__":
    unittest.main()
