# SPDX-License-Identifier: Apache-2.0
"""The command line without guests: bad input gets one sentence and a code, nothing changes."""

import json
import os
import re
import resource
import signal
import stat
import tempfile
import time
import unittest
from pathlib import Path

import common
from testbedlib import cli, image, process, topology, vm
from testbedlib.errors import Fault
from testbedlib.rundir import RunDir


class Sentences(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def refused(self, code, said, *words, env=None):
        done = common.testbed(*words, env=env, cwd=self.folder)
        self.assertEqual(done.returncode, code, done)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("testbed: "))
        self.assertIn(said, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_misspelt_verbs(self):
        self.refused(2, "there is no verb dwon: did you mean down?", "dwon")
        self.refused(2, "did you mean status?", "stauts")
        self.refused(2, "there are root, in-root, up", "frobnicate")

    def test_readme_lists_the_verbs(self):
        readme = (common.FOLDER / "README.md").read_text()
        table = readme.split("## Verbs")[1].split("## Topologies")[0]
        listed = {m for row in table.splitlines() if row.startswith("| `")
                  for m in re.findall(r"`([a-z-]+)", row.split("|")[1])}
        self.assertEqual(listed, set(cli.parser().verbs))

    def test_usage(self):
        self.refused(2, "HOST", "exec")
        self.refused(2, "unrecognized arguments: --frob", "up", "--frob")
        self.refused(2, "'0' is not a number of seconds above 0", "up", "--timeout", "0")

    def test_no_testbed_there(self):
        for words in (["exec", "h1", "true"], ["status"], ["env"], ["logs", "h1"], ["kill", "h1"],
                      ["qmp", "h1", "query-status"], ["reboot", "h1"], ["splats", "--all"]):
            self.refused(1, "start one with `testbed up --dir", *words)
        self.assertEqual(os.listdir(self.folder), [])

    def test_down_of_nothing_is_no_error(self):
        done = common.testbed("down", "--dir", self.folder / "x")
        self.assertEqual(done.returncode, 0)
        self.assertFalse((self.folder / "x").exists())

    def test_unknown_topology(self):
        self.refused(1, "there is no topology tow: shipped are", "up", "tow")

    def test_too_long_folder(self):
        self.refused(1, "too long for Unix sockets", "up", "--dir", "x" * 90)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_folder_with_other_files(self):
        (self.folder / "precious").write_text("x")
        self.refused(1, "is not a testbed's folder", "up", "--dir", str(self.folder))
        self.assertEqual(os.listdir(self.folder), ["precious"])

    def test_trouble_with_files_is_no_traceback(self):
        (self.folder / "topology.json").mkdir()
        self.refused(1, "topology.json: Is a directory", "status", "--dir", ".")

    def test_options_between_host_and_command(self):
        self.assertEqual(cli._hoist(["exec", "h1", "--timeout", "5", "ls", "--dir", "x"]),
                         ["exec", "--timeout", "5", "h1", "ls", "--dir", "x"])
        self.assertEqual(cli._hoist(["exec", "--dir=r", "h1", "-n", "--", "-x"]),
                         ["exec", "--dir=r", "-n", "h1", "-x"])
        self.assertEqual(cli._hoist(["down", "--dir", "x"]), ["down", "--dir", "x"])


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.run_dir = RunDir(str(Path(temporary.name) / "run"))
        self.topology = topology.load("giant")[0]
        self.run_dir.prepare(self.topology)
        self.run_dir.make_hosts(self.topology)
        self.run_dir.make_pools(self.topology)

    def mode(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_permissions(self):
        self.assertEqual(self.mode(self.run_dir.path), 0o700)
        self.assertEqual(self.mode(self.run_dir.host("h1")), 0o711)
        self.assertEqual(self.mode(self.run_dir.host("h1") / "agent"), 0o700)
        self.assertEqual(self.mode(self.run_dir.pool_file("mem0")), 0o600)

    def test_pool_files_are_sparse_exact_and_never_replaced(self):
        file = self.run_dir.pool_file("mem0")
        self.assertEqual(file.stat().st_size, 1 << 30)
        self.assertLess(file.stat().st_blocks, 64)
        with open(file, "r+b") as f:
            f.write(b"old bytes")
        self.run_dir.make_pools(self.topology)
        with open(file, "rb") as f:
            self.assertEqual(f.read(9), b"old bytes")
        os.truncate(file, 5 << 20)
        with self.assertRaisesRegex(Fault, "mem0.pool has 5 MiB, but the topology gives mem0 1 GiB"):
            self.run_dir.make_pools(self.topology)
        self.assertEqual(file.stat().st_size, 5 << 20)

    def test_a_pool_file_that_cannot_be_made_leaves_none(self):
        # An empty one was refused by every `up` that came after.
        self.run_dir.pool_file("mem0").unlink()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with self.assertRaisesRegex(Fault, "mem0.pool of 1 GiB cannot be made: File too large"):
                self.run_dir.make_pools(self.topology)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertEqual(os.listdir(self.run_dir.path / "pool"), ["mem1.pool"])
        self.run_dir.make_pools(self.topology)
        self.assertEqual(self.run_dir.pool_file("mem0").stat().st_size, 1 << 30)

    def test_an_image_that_cannot_be_made_leaves_nothing(self):
        out = self.run_dir.path / "initrd"
        with self.assertRaisesRegex(Fault, "the overlay /nonexistent is not a folder"):
            image.compose(Path(os.devnull), [Path("/nonexistent")], out)
        self.assertEqual(list(self.run_dir.path.glob("initrd*")), [])

    def test_an_interrupted_start_leaves_no_process(self):
        # Ctrl-C before the child has come to its pid file, by which it would be found.
        def play_qemu(*_):
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
            os._exit(0)
        become, vm._become_qemu = vm._become_qemu, play_qemu
        try:
            with self.assertRaises(KeyboardInterrupt):
                vm.start(self.run_dir, self.topology, self.topology.hosts[0], Path("/"), Path("/"),
                         Path("/"))
        finally:
            vm._become_qemu = become
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), set())

    def test_fabric_description(self):
        fabric = self.run_dir.fabric(self.topology)
        self.assertEqual(fabric["devices"][1],
                         {"name": "mem1", "serial": 2, "size": 1 << 30, "block": 2 << 20,
                          "pool_file": str(self.run_dir.pool_file("mem1"))})
        host = fabric["hosts"][0]
        self.assertEqual(host["devices"][0],
                         {"device": "mem0", "path": "/machine/peripheral/cxl-mem0", "region": 0})
        self.assertEqual(host["socket"], str(self.run_dir.path / "h1/fmd.sock"))
        self.assertEqual(sorted(host), ["devices", "name", "qmp", "socket", "socket_uid"])
        json.dumps(fabric)

    def test_each_host_has_a_user_of_its_own(self):
        if os.geteuid() != 0:
            self.assertEqual(self.run_dir.uid("h1"), os.geteuid())
            self.skipTest("only root can give QEMU another user")
        other = RunDir(str(self.run_dir.path) + "2")
        uids = {self.run_dir.uid("h1"), self.run_dir.uid("h2"), other.uid("h1")}
        self.assertEqual(len(uids), 3)
        self.assertEqual(self.run_dir.uid("h1"), self.run_dir.uid("h1"))
        self.assertNotIn(0, uids)


class Processes(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.file = Path(temporary.name) / "qemu.pid"

    def test_a_recycled_pid_is_not_taken_for_ours(self):
        process.record(self.file, os.getpid())
        with process.Process(self.file) as p:
            self.assertEqual(p.pid, os.getpid())
            self.assertTrue(p.running())
        first, second = self.file.read_text().splitlines()
        start, boot = second.split()
        for changed in (f"{first}\n{int(start) - 1} {boot}\n",
                        f"{first}\n{start} 00000000-0000-0000-0000-000000000000\n",
                        "garbage", ""):
            self.file.write_text(changed)
            with process.Process(self.file) as p:
                self.assertEqual(p.pid, 0)
                p.send(9)  # must reach nobody: this test goes on

    def test_an_ended_process(self):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        process.record(self.file, pid)
        os.waitpid(pid, 0)
        with process.Process(self.file) as p:
            self.assertEqual(p.pid, 0)


if __name__ == "__main__":
    unittest.main()
