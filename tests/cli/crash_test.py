# SPDX-License-Identifier: Apache-2.0
"""fmd killed at named points and started again: nothing acknowledged is lost, nothing leaks.

The simulated machines live in fmd: each life finds new ones, as after a power cycle of the whole rack, so
a restart also scrubs and offers again."""

import os
import resource
import signal
import threading
import unittest

from harness import PATIENCE_S, RackTest, until


class Crash(RackTest):
    start = False

    def pause_and_kill(self, point):
        """Creates a grant on an fmd that stops at the point, kills it there; what fmctl came to."""
        self.fmd = self.start_fmd("--pause-at", point)
        self.wait_hosts_ready()
        outcome = []
        client = threading.Thread(target=lambda: outcome.append(
            self.fmctl("grant", "create", "--host", "h1", "--size", "256M")))
        client.start()
        self.fmd.wait_stopped(point)
        self.fmd.kill()
        client.join(PATIENCE_S)
        return outcome[0]

    def assert_consistent(self):
        """One grant in the journal, on the device, in the driver; and its memory comes back."""
        self.start_fmd()
        self.wait_state("g1", "active")
        until("all agree", lambda: self.fmctl("doctor").code == 0)
        self.assertEqual([grant["name"] for grant in self.fmctl_json("grant", "list")], ["g1"])
        self.assertEqual(self.fmctl("grant", "release", "g1", "--wait").code, 0)
        devices = self.fmctl_json("fabric", "show")["devices"]
        self.assertTrue(all(device["free"] == device["size"] for device in devices), devices)

    def test_after_record(self):
        self.pause_and_kill("after-record")
        self.assert_consistent()

    def test_after_command(self):
        self.pause_and_kill("after-command")
        self.assert_consistent()

    def test_after_reply(self):
        done = self.pause_and_kill("after-reply")
        self.assertEqual((done.code, done.out[:3]), (0, "g1 "), done)
        self.assert_consistent()

    def test_point_from_the_environment(self):
        self.fmd = self.start_fmd(env=dict(os.environ, CXLPOOL_PAUSE_AT="after-reply"))
        self.wait_hosts_ready()
        self.fmctl("grant", "create", "--host", "h1", "--size", "128M")
        self.fmd.wait_stopped("after-reply")

    def test_goes_on_after_a_pause(self):
        self.fmd = self.start_fmd("--pause-at", "after-command")
        self.wait_hosts_ready()
        self.fmctl("grant", "create", "--host", "h1", "--size", "128M")
        self.fmd.wait_stopped("after-command")
        self.fmd.process.send_signal(signal.SIGCONT)
        self.wait_state("g1", "active")

    def test_killed_in_the_middle_of_many(self):
        self.fmd = self.start_fmd()
        self.wait_hosts_ready()
        acknowledged = []

        def client(i):
            done = self.fmctl("grant", "create", "--host", f"h{i % 3 + 1}", "--size", "128M", "--name", f"n{i}")
            if done.code == 0:
                acknowledged.append(f"n{i}")
        threads = [threading.Thread(target=client, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        until("some are acknowledged", lambda: len(acknowledged) >= 3)
        self.fmd.kill()
        for thread in threads:
            thread.join(PATIENCE_S)
        self.start_fmd()
        names = {grant["name"] for grant in self.fmctl_json("grant", "list")}
        self.assertLessEqual(set(acknowledged), names)
        for name in names:
            self.wait_state(name, "active")
        self.assertEqual(self.fmctl("doctor").code, 0)

    def test_release_survives(self):
        self.fmd = self.start_fmd()
        self.wait_hosts_ready()
        self.assertEqual(self.fmctl("grant", "create", "--host", "h1", "--size", "256M", "--wait").code, 0)
        self.assertEqual(self.fmctl("grant", "release", "g1").code, 0)
        self.fmd.kill()
        self.start_fmd()
        until("g1 is gone", lambda: self.fmctl_json("grant", "list") == [])

    def test_fmctl_waiting_when_fmd_dies(self):
        self.fmd = self.start_fmd(fabric={
            "version": 1, "backend": "sim",
            "devices": [{"name": "mem0", "serial": 1, "size": "1G", "block": "2M"}],
            "hosts": [{"name": "h1", "devices": ["mem0"]}],
            "sim": {"hosts": {"h1": {"never_accepts": True}}}})
        self.wait_hosts_ready(("h1",))
        outcome = []
        client = threading.Thread(target=lambda: outcome.append(
            self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--wait")))
        client.start()
        self.wait_state("g1", "offered", "offering")
        self.fmd.kill()
        client.join(PATIENCE_S)
        self.assertEqual(outcome[0].code, 3, outcome)
        self.assertIn("went away", outcome[0].err)
        self.assertIn("the claim g1 stays", outcome[0].err)


class FullDisk(RackTest):
    start = False

    def test_fmd_stops_acknowledging_says_why_and_exits(self):
        fmd = self.start_fmd()
        self.wait_hosts_ready()
        # From now on no file of fmd may grow: what a full disk does, without needing one.
        largest = max(os.path.getsize(os.path.join(self.folder, name)) for name in os.listdir(self.folder))
        resource.prlimit(fmd.process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        acknowledged = []
        for i in range(200):
            done = self.fmctl("grant", "create", "--host", "h1", "--size", "2M", "--as", "dax", "--name", f"n{i}")
            if done.code != 0:
                break
            acknowledged.append(f"n{i}")
        self.assertEqual(done.code, 3, done)
        self.assertEqual(fmd.process.wait(PATIENCE_S), 3)
        last = fmd.log().splitlines()[-1]
        self.assertRegex(last, r"\Afmd: error: .*; nothing more is acknowledged, fmd exits\Z")
        self.start_fmd()
        names = {grant["name"] for grant in self.fmctl_json("grant", "list")}
        self.assertLessEqual(set(acknowledged), names)


if __name__ == "__main__":
    unittest.main()
