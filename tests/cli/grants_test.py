# SPDX-License-Identifier: Apache-2.0
"""The life of grants as fmctl shows it, on a healthy rack."""

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
import unittest

from harness import FMCTL, PATIENCE_S, RackTest, until


class Grants(RackTest):
    def create(self, name, *args, size="256M", host="h1"):
        return self.fmctl("grant", "create", "--host", host, "--size", size, "--name", name, *args)

    def test_the_contract(self):
        self.assert_run(self.create("g1", "--wait"), 0,
                        "g1  active  256 MiB  h1:node1  mem0[0-256M]  … ms\n")
        shown = self.fmctl("grant", "show", "g1")
        self.assertEqual(shown.code, 0)
        for line in ("grant        g1", "state        active", "hosts        h1", "use          ram",
                     "size         256 MiB", "extents      mem0[0-256M]", "seen as      h1:node1",
                     "waits for    nothing", "timeline"):
            self.assertIn(line + "\n", shown.out)
        times = [float(ms) for ms in re.findall(r"^ +([0-9.]+) ms", shown.out, re.M)]
        self.assertGreaterEqual(len(times), 3)
        self.assertEqual(times, sorted(times))

    def test_without_wait_name_and_state(self):
        self.assert_run(self.create("g1"), 0, "g1  …\n")
        grant = self.wait_state("g1", "active")
        self.assertEqual(grant["seen"][0]["nodes"], [1])

    def test_names_are_given(self):
        for name in ("g1", "g2"):
            done = self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--wait")
            self.assertEqual((done.code, done.out.split()[0]), (0, name), done)

    def test_release(self):
        self.assertEqual(self.create("g1", "--wait").code, 0)
        self.assert_run(self.fmctl("grant", "release", "g1", "--wait"), 0, "g1  gone\n")
        self.assertEqual(self.fmctl_json("grant", "list"), [])
        self.assertEqual(sum(device["granted"] for device in self.fmctl_json("fabric", "show")["devices"]), 0)
        self.assert_run(self.create("g1", "--wait"), 0, "g1  active  256 MiB  h1:node1  …\n")

    def test_shared_dax(self):
        done = self.fmctl("grant", "create", "--host", "h1", "--host", "h2", "--size", "32M", "--as", "dax",
                          "--name", "shared", "--wait")
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.out, r"\Ashared  active  32 MiB  h1:dax\d+\.\d,h2:dax\d+\.\d  mem\d\[\S+\]  \S+ ms\n\Z")

    def test_dry_run_changes_nothing(self):
        done = self.create("g1", "--dry-run")
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.out, r"\Ag1  mem0\[0-256M\]\n1\. .*\n(\d\. .*\n)*nothing was changed\n\Z")
        self.assertEqual(self.fmctl_json("grant", "list"), [])
        self.assertEqual(self.create("g1", "--wait").code, 0)
        for command in (("grant", "release", "g1"), ("host", "fence", "h1")):
            done = self.fmctl(*command, "--dry-run")
            self.assertEqual((done.code, done.out.splitlines()[-1]), (0, "nothing was changed"), done)
        self.assertEqual(self.wait_state("g1", "active")["reason"], "")

    def test_tables(self):
        self.assertEqual(self.create("g1", "--wait").code, 0)
        self.assert_run(self.fmctl("grant", "list"), 0,
                        "NAME  STATE   SIZE     USE  HOSTS     EXTENTS       WAITS FOR\n"
                        "g1    active  256 MiB  ram  h1:node1  mem0[0-256M]\n")
        hosts = self.fmctl("host", "list").out.splitlines()
        self.assertRegex(hosts[0], r"\AHOST +STATE +GRANTED +USED +PRESSURE +MEMORY BLOCK\Z")
        self.assertRegex(hosts[1], r"\Ah1 +ready +256 MiB +\S.*128 MiB\Z")
        fabric = self.fmctl("fabric", "show").out.splitlines()
        self.assertEqual(fabric[0], "simulated rack, backend sim")
        self.assertRegex(fabric[2], r"\Amem0 +0x1 +4 GiB +256 MiB +3840 MiB ")
        self.assertIn("state        ready\n", self.fmctl("host", "show", "h1").out)

    def test_json_of_everything(self):
        self.create("g1", "--wait")
        for command in (("fabric", "show"), ("host", "list"), ("host", "show", "h1"), ("grant", "list"),
                        ("grant", "show", "g1"), ("event", "list"), ("doctor",)):
            with self.subTest(command=command):
                self.assertTrue(self.fmctl_json(*command))
        created = self.fmctl_json("grant", "create", "--host", "h2", "--size", "128M", "--wait")
        self.assertEqual((created["state"], created["size"]), ("active", 128 << 20))
        self.assertTrue(self.fmctl_json("grant", "release", "g1", "--dry-run")["dry_run"])

    def test_doctor(self):
        self.create("g1", "--wait")
        done = self.fmctl("doctor")
        self.assertEqual(done.code, 0, done)
        lines = done.out.splitlines()
        self.assertRegex(lines[0], r"\AEXTENT +GRANT +HOST +JOURNAL +DEVICE +DRIVER +NODE\Z")
        self.assertTrue(any(re.match(r"mem0\[0-256M\] +g1 +h1 .* ok\Z", line) for line in lines), done)
        self.assertRegex(lines[-1], r"\A\d+ extents, all agree\Z")

    def test_events(self):
        self.create("g1", "--wait")
        self.fmctl("grant", "release", "g1", "--wait")
        events = self.fmctl_json("event", "list", "--limit", "10000")
        kinds = [event["kind"] for event in events if event.get("grant") == "g1"]
        for kind in ("grant-created", "offer-started", "grant-active", "grant-released", "grant-gone"):
            self.assertIn(kind, kinds)
        self.assertEqual([event["seq"] for event in events], list(range(1, len(events) + 1)))
        self.assertEqual(len(self.fmctl("event", "list", "--limit", "2").out.splitlines()), 2)

    def test_follow(self):
        env = dict(os.environ, CXLPOOL_SERVER=self.fmd.socket)
        follower = subprocess.Popen([FMCTL, "event", "list", "--follow", "--json"], env=env,
                                    stdout=subprocess.PIPE, text=True)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        self.create("later")
        for line in follower.stdout:
            event = json.loads(line)
            if event["kind"] == "grant-active":
                break
        self.assertEqual(event["grant"], "later")

    def test_follow_ends_with_its_reader(self):
        """Also when nothing happens any more that it could fail to write."""
        env = dict(os.environ, CXLPOOL_SERVER=self.fmd.socket)
        for verb in (("event", "list", "--follow"), ("fabric", "show", "--watch")):
            with self.subTest(verb=verb), subprocess.Popen([FMCTL, *verb], env=env, text=True, stdout=subprocess.PIPE,
                                                           stderr=subprocess.PIPE) as follower:
                self.addCleanup(follower.kill)
                self.assertTrue(follower.stdout.readline())
                started = time.monotonic()
                follower.stdout.close()
                self.assertEqual(follower.wait(PATIENCE_S), -signal.SIGPIPE)
                self.assertLess(time.monotonic() - started, 10)  # fmd answers an empty poll after 30 s
                self.assertEqual(follower.stderr.read(), "")

    def test_many_clients_at_once(self):
        outcomes = []

        def client(i):
            outcomes.append(self.fmctl("grant", "create", "--host", f"h{i % 3 + 1}", "--size", "128M", "--wait"))
        threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([done.code for done in outcomes], [0] * 16, outcomes)
        grants = self.fmctl_json("grant", "list")
        self.assertEqual({grant["name"] for grant in grants}, {f"g{i}" for i in range(1, 17)})
        taken = sorted((e["device"], e["dpa"], e["dpa"] + e["len"]) for g in grants for e in g["extents"])
        for (device, _, end), (next_device, start, _) in zip(taken, taken[1:]):
            self.assertTrue(device != next_device or end <= start, taken)
        self.assertEqual(self.fmctl("doctor").code, 0)

    def test_fence(self):
        self.create("g1", "--wait")
        done = self.fmctl("host", "fence", "h1")
        self.assertEqual(done.code, 0, done)
        until("h1 is fenced or back", lambda: self.fmctl_json("host", "show", "h1")["state"] != "ready")


class Slow(RackTest):
    """A guest that never answers an offer, and one whose memory is in use."""

    fabric = {"version": 1, "backend": "sim",
              "devices": [{"name": "mem0", "serial": 1, "size": "2G", "block": "2M"}],
              "hosts": [{"name": name, "devices": ["mem0"]} for name in ("h1", "busy")],
              "sim": {"hosts": {"h1": {"never_accepts": True}, "busy": {"held": "37M"}}}}
    fmd_args = ("--offer-limit", "2", "--drain-limit", "2")

    def wait_hosts_ready(self, names=("h1", "busy")):
        super().wait_hosts_ready(names)

    def test_wait_timed_out(self):
        done = self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--wait=1")
        self.assert_run(done, 4, "", "fmctl: g1 is still …; the claim stays; give it back with: "
                                     "fmctl grant release g1\n")
        self.assertEqual([grant["name"] for grant in self.fmctl_json("grant", "list")], ["g1"])

    def test_stuck(self):
        done = self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--wait")
        self.assert_run(done, 4, "", "fmctl: g1 is stuck: …; the claim stays; give it back with: "
                                     "fmctl grant release g1\n")

    def test_interrupt(self):
        env = dict(os.environ, CXLPOOL_SERVER=self.fmd.socket)
        terminal, stderr = pty.openpty()
        self.addCleanup(os.close, terminal)
        waiter = subprocess.Popen([FMCTL, "grant", "create", "--host", "h1", "--size", "128M", "--wait"],
                                  env=env, stderr=stderr)
        os.close(stderr)
        text = b""
        while b"g1  " not in text:  # its progress on the terminal: it waits
            text += os.read(terminal, 4096)
        waiter.send_signal(signal.SIGINT)
        self.assertEqual(waiter.wait(PATIENCE_S), 130)
        while b"release g1\r\n" not in text:
            text += os.read(terminal, 4096)
        last = text.decode().splitlines()[-1]
        self.assertRegex(last, r"\Afmctl: g1 is still .*; the claim stays; give it back with: "
                               r"fmctl grant release g1\Z")
        self.assertEqual(self.fmctl_json("grant", "show", "g1")["name"], "g1")

    def test_release_of_memory_in_use_says_what_holds_it(self):
        self.assertEqual(self.fmctl("grant", "create", "--host", "busy", "--size", "256M", "--wait").code, 0)
        done = self.fmctl("grant", "release", "g1", "--wait")
        self.assertEqual((done.code, done.out), (4, ""), done)
        self.assertIn("37 of 256 MiB held", done.err)
        self.assertIn("the release goes on", done.err)


if __name__ == "__main__":
    unittest.main()
