# SPDX-License-Identifier: Apache-2.0
"""What is wrong is refused in one sentence, with the right exit code, and changes nothing."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import FMCTL, PATIENCE_S, RackTest, run, until


class BadCreate(RackTest):
    def test_sizes(self):
        create = ("grant", "create", "--host", "h1", "--size")
        for size, code, sentence in (
                ("0", 2, "--size 0: a grant of nothing is no grant"),
                ("-1M", 2, '"-1M" is not a size: it is negative'),
                ("", 2, '"" is not a size: it is empty; write for example 256M'),
                ("99999999999999999999", 2, '"99999999999999999999" is not a size: it is larger than 16 EiB'),
                ("16777216T", 2, '"16777216T" is not a size: it is larger than 16 EiB'),
                ("1.5G", 2, '"1.5G" is not a size: fractions are not taken; use a smaller unit, as in '
                            "1536M for 1.5G"),
                ("12X", 2, '"12X" is not a size: the unit must be K, M, G or T (powers of 1024)'),
                ("100M", 1, "100 MiB: h1 takes multiples of 128 MiB (its memory block); ask for 128M"),
                ("1", 1, "1 B: h1 takes multiples of 128 MiB (its memory block); ask for 128M"),
                ("1T", 1, "1 TiB is more than what is free: …")):
            with self.subTest(size=size):
                self.assert_refused((*create, size), code, sentence)

    def test_dax_takes_dc_blocks(self):
        self.assert_refused(("grant", "create", "--host", "h1", "--size", "3M", "--as", "dax"), 1,
                            "3 MiB: h1 takes multiples of 2 MiB (the DC block); ask for 4M")

    def test_hosts_names_and_uses(self):
        create = ("grant", "create", "--size", "128M")
        for more, code, sentence in (
                ((), 2, "for which host? Name it with --host, as in --host h1"),
                (("--host", "h9"), 1, "no host is named h9: there is h1, h2, h3"),
                (("--host", "H1"), 2, '"H1" is not a name for a host: take 1 to 63 of a-z, 0-9 and "-"'),
                (("--host", "h1", "--host", "h1"), 1, "host h1 is named twice"),
                (("--host", "h1", "--host", "h2"), 1, "2 hosts cannot share a ram grant, since each kernel "
                 "would manage the same bytes as its own: use --as dax"),
                (("--host", "h1", "--name", "a b"), 2,
                 '"a b" is not a name for a grant: take 1 to 63 of a-z, 0-9 and "-"'),
                (("--host", "h1", "--name", "x" * 64), 2, "…is not a name for a grant: take 1 to 63 …"),
                (("--host", "h1", "--as", "disk"), 2, '--as: "disk" is not a use: it is one of ram, dax'),
                (("--host", "h1", "--wait=0"), 2, "--wait=0 is not a number of seconds from 1 to 86400"),
                (("--host", "h1", "--wait=soon"), 2,
                 "--wait=soon is not a number of seconds from 1 to 86400")):
            with self.subTest(more=more):
                self.assert_refused((*create, *more), code, sentence)
        self.assert_refused(("grant", "create", "--host", "h1"), 2,
                            "how much? Say it with --size, as in --size 256M")

    def test_duplicate_name(self):
        self.assertEqual(self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--name", "db",
                                    "--wait").code, 0)
        self.assert_refused(("grant", "create", "--host", "h2", "--size", "128M", "--name", "db"), 1,
                            "db exists already (active, 128 MiB): take another name, or release it first")

    def test_what_does_not_exist(self):
        self.assert_refused(("grant", "show", "g7"), 1, "no grant is named g7")
        self.assert_refused(("grant", "release", "g7"), 1, "no grant is named g7")
        self.assert_refused(("grant", "release", "g7", "--wait", "--dry-run"), 1, "no grant is named g7")
        self.assert_refused(("host", "show", "h7"), 1, "no host is named h7")
        self.assert_refused(("host", "fence", "h7"), 1, "no host is named h7: there is h1, h2, h3")
        self.assert_refused(("host", "show", "../h1"), 2,
                            '"../h1" is not a name for a host: take 1 to 63 of a-z, 0-9 and "-"')

    def test_command_line(self):
        for args, sentence in (
                ((), "what is to be done is missing; see fmctl --help"),
                (("grant", "craete"), "grant craete is no command of fmctl; did you mean create?"),
                (("hots", "list"), "hots is no command of fmctl; did you mean host?"),
                (("grant", "list", "--jsno"), "--jsno is no option of fmctl grant list; did you mean --json?"),
                (("grant", "list", "g1"), "g1 is one word too many for fmctl grant list"),
                (("grant", "show"), "fmctl grant show needs a NAME"),
                (("grant", "create", "--host", "h1", "--size", "128M", "--name", "--dry-run"),
                 "--name needs a value: --name NAME"),
                (("event", "list", "--limit", "0"), "--limit 0 is not a number from 1 to 10000")):
            with self.subTest(args=args):
                self.assert_refused(args, 2, sentence)


class BadHosts(RackTest):
    fabric = {"version": 1, "backend": "sim",
              "devices": [{"name": "mem0", "serial": 1, "size": "1G", "block": "2M"}],
              "hosts": [{"name": name, "devices": ["mem0"]} for name in
                        ("h1", "absent", "nodriver", "other", "broken", "policy")],
              "sim": {"hosts": {"absent": {"silent": True}, "nodriver": {"driver": "none"},
                                "other": {"driver": "other"}, "broken": {"driver": "broken"},
                                "policy": {"online_policy": "online"}}}}

    def wait_hosts_ready(self, names=("h1", "policy")):
        super().wait_hosts_ready(names)

    def test_hosts_that_cannot_take_memory(self):
        for host, word in (("absent", "poold"), ("nodriver", "driver"), ("other", "cxl_pci"),
                           ("broken", "broken"), ("policy", "memhp_default_state=offline")):
            with self.subTest(host=host):
                done = self.fmctl("grant", "create", "--host", host, "--size", "128M")
                self.assertEqual((done.code, done.out), (1, ""), done)
                self.assertEqual(done.err.count("\n"), 1, done)
                self.assertIn(host, done.err)
                self.assertIn(word, done.err)
        self.assertEqual(self.fmctl_json("grant", "list"), [])

    def test_host_list_says_so(self):
        states = {host["name"]: (host["state"], host["state_text"])
                  for host in self.fmctl_json("host", "list")}
        self.assertEqual(states["h1"], ("ready", "ready"))
        self.assertEqual(states["other"][0], "no-driver")
        self.assertIn("cxl_pci", states["other"][1])
        self.assertEqual(states["nodriver"][0], "no-driver")


class NoServer(RackTest):
    start = False

    def test_fmd_not_running(self):
        self.assert_run(self.fmctl("grant", "list"), 3, "",
                        f"fmctl: fmd is not running: there is no {self.folder}/fmd.sock; start fmd, or name "
                        "its socket with --server\n")

    def test_stale_socket(self):
        self.start_fmd().kill()
        self.assert_run(self.fmctl("doctor"), 3, "",
                        f"fmctl: fmd is not running: nobody answers at {self.folder}/fmd.sock\n")

    def test_stopped_fmd(self):
        fmd = self.start_fmd()
        fmd.process.send_signal(signal.SIGSTOP)
        until("fmd is stopped", lambda: fmd.kernel_state() == "T")
        asking = subprocess.Popen([FMCTL, "--server", fmd.socket, "host", "list"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(asking.kill)
        pid = fmd.process.pid
        self.assertEqual(asking.stderr.readline(),
                         f"fmctl: fmd at {fmd.socket} has not answered for 5 s: its process {pid} is stopped "
                         f"(kill -CONT {pid} lets it go on); waiting 25 s more\n")
        fmd.process.send_signal(signal.SIGCONT)
        out, err = asking.communicate(timeout=PATIENCE_S)
        self.assertEqual((asking.returncode, err), (0, ""))
        self.assertIn("h1", out)

    def test_option_wins_over_environment_over_default(self):
        self.assert_run(self.fmctl("--server", "/nowhere/s", "host", "list"), 3, "",
                        "fmctl: fmd is not running: there is no /nowhere/s; …\n")
        env = {key: value for key, value in os.environ.items() if key != "CXLPOOL_SERVER"}
        if not os.path.exists("/run/cxlpool/fmd.sock"):
            self.assert_run(run(FMCTL, "host", "list", env=env), 3, "",
                            "fmctl: fmd is not running: there is no /run/cxlpool/fmd.sock; …\n")

    def test_not_a_socket(self):
        path = os.path.join(self.folder, "file")
        open(path, "w").close()
        done = self.fmctl("--server", path, "host", "list")
        self.assertNotEqual(done.code, 0)
        self.assertEqual(done.err.count("\n"), 1, done)

    def test_path_too_long(self):
        self.assert_run(self.fmctl("--server", "/" + "x" * 200, "host", "list"), 1, "",
                        "fmctl: the socket path has 201 bytes; the kernel takes 1 to 107\n")


@unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
class NoPermission(RackTest):
    def fmctl_as_nobody(self, *args):
        # The build may lie in a folder that is closed to nobody: a copy that is not.
        tools = tempfile.mkdtemp(prefix="fmctl-")
        self.addCleanup(shutil.rmtree, tools)
        os.chmod(tools, 0o755)
        return run(shutil.copy(FMCTL, tools), "--server", f"{self.folder}/fmd.sock", *args, user=65534,
                   group=65534, extra_groups=[], cwd="/")

    def test_the_group_is_named(self):
        os.chmod(self.folder, 0o755)
        self.assert_run(self.fmctl_as_nobody("grant", "list"), 1, "",
                        f"fmctl: no permission to talk to fmd at {self.folder}/fmd.sock: its socket belongs "
                        "to the group root; join it, or use sudo\n")

    def test_a_closed_folder(self):
        self.assert_run(self.fmctl_as_nobody("grant", "list"), 1, "",
                        f"fmctl: no permission to reach {self.folder}/fmd.sock: a folder on the way is closed "
                        "to you\n")


if __name__ == "__main__":
    unittest.main()
