# SPDX-License-Identifier: Apache-2.0
"""How fmd starts, refuses to start, and ends."""

import os
import socket
import sqlite3
import stat
import unittest

from harness import FMD, PATIENCE_S, RackTest, run


class Startup(RackTest):
    start = False

    def path(self, name):
        return os.path.join(self.folder, name)

    def fmd_fails(self, *args, code=1):
        done = run(FMD, *args)
        self.assertEqual(done.code, code, done)
        self.assertEqual(done.out, "")
        return done.err

    def sim_fails(self, *more, state=None, socket_path=None):
        """What fmd says; it leaves nothing behind."""
        before = sorted(os.listdir(self.folder))
        error = self.fmd_fails("--backend=sim", "--state", state or self.path("state.db"),
                               "--socket", socket_path or self.path("fmd.sock"), *more)
        self.assertEqual(sorted(os.listdir(self.folder)), before, error)
        return error

    def test_says_what_it_serves_and_ends_clean(self):
        fmd = self.start_fmd()
        ready = [line for line in fmd.log().splitlines() if "ready:" in line]
        self.assertRegex(ready[0], rf"\Afmd: ready: state {self.folder}/state.db \(\d+ records\), backend sim, "
                                   rf"2 devices, 3 hosts, socket {self.folder}/fmd.sock\Z")
        self.assertEqual(len(ready), 1)
        mode = os.stat(fmd.socket)
        self.assertTrue(stat.S_ISSOCK(mode.st_mode))
        self.assertEqual(stat.S_IMODE(mode.st_mode), 0o660)
        self.assertEqual(fmd.stop(), 0)
        self.assertFalse(os.path.exists(fmd.socket))

    def test_stale_socket_is_replaced(self):
        self.start_fmd().kill()
        self.assertTrue(os.path.exists(self.path("fmd.sock")))
        self.start_fmd()
        self.wait_hosts_ready()

    def test_second_fmd_on_one_state(self):
        first = self.start_fmd()
        error = self.sim_fails(socket_path=self.path("other.sock"))
        self.assertEqual(error, f"fmd: error: state {self.folder}/state.db is in use by another fmd (pid "
                                f"{first.process.pid}): stop that one first, or give this one a state of its "
                                "own\n")
        self.assertFalse(os.path.exists(self.path("other.sock")))

    def test_second_fmd_on_one_socket(self):
        self.start_fmd()
        error = self.sim_fails(state=self.path("other.db"))
        self.assertEqual(error, f"fmd: error: another process serves {self.folder}/fmd.sock; is fmd already "
                                "running?\n")
        self.wait_hosts_ready()  # the first one is not disturbed

    def test_socket_path_is_a_file(self):
        with open(self.path("fmd.sock"), "w") as file:
            file.write("precious")
        self.assertEqual(self.sim_fails(), f"fmd: error: {self.folder}/fmd.sock exists and is not a socket; "
                                           "move it, or name another path\n")
        with open(self.path("fmd.sock")) as file:
            self.assertEqual(file.read(), "precious")

    def test_no_folder_for_the_socket(self):
        self.assertEqual(self.sim_fails(socket_path="/no/such/fmd.sock"),
                         "fmd: error: cannot make the socket /no/such/fmd.sock: the folder /no/such does not "
                         "exist\n")

    @unittest.skipUnless(os.path.exists("/proc/version") and os.access("/proc", os.R_OK), "needs /proc")
    def test_no_rights_on_the_folder_of_the_socket(self):
        # Nobody, root included, may make files in /proc.
        error = self.sim_fails(socket_path="/proc/fmd.sock")
        self.assertRegex(error, r"\Afmd: error: cannot make the socket /proc/fmd.sock: .*\n\Z")

    def test_socket_path_too_long(self):
        error = self.sim_fails(socket_path="/tmp/" + "x" * 150)
        self.assertRegex(error, r"\Afmd: error: the socket path \S+ has 155 bytes; the kernel takes 1 to 107\n\Z")

    def test_someone_elses_socket_is_left_at_exit(self):
        fmd = self.start_fmd()
        os.unlink(fmd.socket)
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(fmd.socket)
        self.assertEqual(fmd.stop(), 0)
        self.assertTrue(os.path.exists(fmd.socket))

    def test_command_line(self):
        for args, word in (((), "--state"), (("--state", "x"), "--backend"),
                           (("--state", "x", "--backend", "real"), "backend"),
                           (("--state", "x", "--backend", "sim", "--pause-at", "lunch"), "after-record"),
                           (("--state", "x", "--backend", "sim", "--log-level", "all"), "debug"),
                           (("--state", "x", "--backend", "sim", "--group", "no-such-group"), "no-such-group"),
                           (("--state", "x", "--backend", "sim", "--offer-limit", "0"), "offer-limit"),
                           (("--state", "x", "--backend", "qmp"), "--fabric"),
                           (("--state", "x", "--backend", "sim", "--colour"), "--colour")):
            with self.subTest(args=args):
                error = self.fmd_fails(*args, code=2)
                self.assertEqual(error.count("\n"), 1, error)
                self.assertTrue(error.startswith("fmd: "))
                self.assertIn(word, error)
        self.assertFalse(os.path.exists("x"))
        self.assertEqual(run(FMD, "--help").code, 0)
        self.assertRegex(run(FMD, "--version").out, r"\Afmd \d+\.\d+\.\d+\n\Z")

    def test_fabric_file(self):
        for text, word in (("", "fabric"), ("{", "fabric"), ('{"version":1,"backend":"sim","devices":[{"name":"mem0","serial":1,"size":"1G"}]}',
                            "0 hosts"),
                           ('{"version":1,"backend":"sim","devices":[],"hosts":[],"moon":1}', "moon")):
            with self.subTest(text=text):
                with open(self.path("bad.json"), "w") as file:
                    file.write(text)
                error = self.sim_fails("--fabric", self.path("bad.json"))
                self.assertEqual(error.count("\n"), 1, error)
                self.assertIn(word, error)
        self.assertIn("/no/such.json", self.sim_fails("--fabric", "/no/such.json"))
        self.assertIn("cannot read", self.sim_fails("--fabric", self.folder))

    def test_state_that_is_no_state(self):
        for name, content in (("text.db", b"this is not a database, only some text\n" * 100), ("zeros.db", b"\0" * 8192)):
            with self.subTest(name=name):
                with open(self.path(name), "wb") as file:
                    file.write(content)
                error = self.sim_fails(state=self.path(name))
                self.assertEqual(error.count("\n"), 1, error)
                self.assertIn(name, error)
                with open(self.path(name), "rb") as file:
                    self.assertEqual(file.read(), content)

    def test_newer_state(self):
        self.start_fmd().stop()
        with sqlite3.connect(self.path("state.db")) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        error = self.sim_fails()
        self.assertEqual(error.count("\n"), 1, error)
        self.assertIn("99", error)

    def test_state_of_another_fabric(self):
        self.start_fmd().stop()
        with open(self.path("small.json"), "w") as file:
            file.write('{"version":1,"backend":"sim","devices":[{"name":"mem0","serial":1,"size":"1G",'
                       '"block":"2M"}],"hosts":[{"name":"h1","devices":["mem0"]}]}')
        error = self.sim_fails("--fabric", self.path("small.json"))
        self.assertEqual(error.count("\n"), 1, error)
        self.assertIn("mem0", error)

    def test_check(self):
        self.start_fmd().stop()
        done = run(FMD, "--backend=sim", "--state", self.path("state.db"), "--check")
        self.assert_run(done, 0, f"fmd: {self.folder}/state.db and simulated rack are good: … records, 2 devices, "
                                 "3 hosts\n")
        self.assertIn("fabric", self.sim_fails("--check", "--fabric", "/no/such.json"))
        done = run(FMD, "--backend=sim", "--state", self.path("sate.db"), "--check")
        self.assertEqual((done.code, done.err), (1, f"fmd: error: there is no state file {self.path('sate.db')} to check\n"))
        self.assertFalse(os.path.exists(self.path("sate.db")))

    def test_state_that_is_empty(self):
        done = run(FMD, "--backend=sim", "--state", "")
        self.assertEqual((done.code, done.err), (1, "fmd: error: --state is empty: name a file\n"))

    def test_device_that_is_too_large(self):
        with open(self.path("huge.json"), "w") as file:
            file.write('{"version":1,"backend":"sim","devices":[{"name":"mem0","serial":1,"size":"65T",'
                       '"block":"2M"}],"hosts":[{"name":"h1","devices":["mem0"]}]}')
        self.assertIn("at most 64 TiB", self.sim_fails("--fabric", self.path("huge.json")))

    def test_state_in_memory(self):
        fmd = self.start_fmd(state=":memory:")
        self.wait_hosts_ready()
        self.assertEqual(self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--wait").code, 0)
        self.assertEqual(fmd.stop(), 0)
        self.assertFalse(os.path.exists(":memory:"))


if __name__ == "__main__":
    unittest.main()
