# SPDX-License-Identifier: Apache-2.0
"""poold tiers: metrics for node_exporter, and tenants of the near tier."""

import os
import re
import signal
import subprocess
import time
import unittest

from harness import PATIENCE_S, POOLD, Outcome, PooltierTest, pooltier


def poold(*words):
    return Outcome(subprocess.run([POOLD, *words], capture_output=True, text=True, timeout=PATIENCE_S))


def allotted(pid):
    found = re.search(r"poold allots ([\d.]+ \w+)", pooltier("status", pid).out)
    return found and found[1]


class Tiers(PooltierTest):
    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_metrics_on_standard_output(self):
        fake = self.fake("--tenant", "ten\"ant")
        done = poold("tiers", "--once")
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertIn(f'cxlpool_tier_near_bytes{{pid="{fake.pid}",program="fake-tiered",tenant="ten\\"ant",'
                      'sampler="rwp"} 409600\n', done.out)
        self.assertIn("# TYPE cxlpool_tier_moved_bytes_total counter\n", done.out)

    def test_the_file_is_whole_and_readable_by_others(self):
        self.fake()
        path = os.path.join(self.folder, "cxlpool.prom")
        self.assertEqual(poold("tiers", "--once", "--metrics-file", path).code, 0)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)
        with open(path) as file:
            self.assertTrue(file.read().endswith("\n"))
        self.assertEqual(os.listdir(self.folder), ["cxlpool.prom"])

    def test_a_file_that_cannot_be_written(self):
        done = poold("tiers", "--once", "--metrics-file", "/nowhere/x.prom")
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertEqual(done.err, "poold: /nowhere/.x.prom.new cannot be written: No such file or directory\n")

    def test_tenants_are_told_their_part(self):
        # The benefit of each fake is 1000 pages that all pay (4000 KiB).
        one, two = self.fake("--program", "x"), self.fake("--tenant", "small")
        path = self.write("tenants", f"capacity = 4000K\ntenant big pid={one.pid} weight=300\n"
                                     f"tenant small label=small weight=100\ntenant rest cgroup=/ floor=0 cap=0\n")
        done = poold("tiers", "--once", "--tenants", path)
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertEqual((allotted(one.pid), allotted(two.pid)), ("2.9 MiB", "1000 KiB"))
        self.assertRegex(done.out, rf'cxlpool_tier_near_limit_bytes{{pid="{one.pid}"[^}}]*tenant="big"[^}}]*}} 3072000\n')

    def test_a_file_of_tenants_that_is_wrong_limits_nobody(self):
        fake = self.fake()
        path = self.write("tenants", "tenant a pid=1\ntenant b wieght=3\n")
        done = poold("tiers", "--once", "--tenants", path)
        self.assertEqual(done.code, 1, done)
        self.assertEqual(done.err, f'poold: {path}:2: "wieght" is nothing that a tenant has, did you mean weight?; '
                                   "nobody is limited\n")
        self.assertIsNone(allotted(fake.pid))
        done = poold("tiers", "--once", "--tenants", "/nowhere")
        self.assertEqual((done.code, done.err),
                         (1, "poold: /nowhere cannot be read: No such file or directory; nobody is limited\n"), done)

    def test_a_running_one_takes_the_file_as_it_is_now_and_goes_on_with_the_old_one_when_it_is_wrong(self):
        fake = self.fake()
        path = self.write("tenants", f"capacity = 400K\ntenant a pid={fake.pid}\n")
        errors = os.path.join(self.folder, "errors")
        with open(errors, "w") as file:
            process = subprocess.Popen([POOLD, "tiers", "--tenants", path], stderr=file)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait(lambda: allotted(fake.pid) == "400 KiB")
        self.write("tenants", "nonsense")
        self.wait(lambda: "the tenants before stay in force" in open(errors).read())
        self.assertEqual(allotted(fake.pid), "400 KiB")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_S), 0)

    def wait(self, condition):
        until = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.1)

    def test_stopped_processes_delay_nobody(self):
        stopped = [self.fake() for _ in range(6)]
        other = self.fake("--tenant", "small")
        for one in stopped:
            os.kill(one.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, one.pid, os.WSTOPPED | os.WNOWAIT)  # all its threads
            self.addCleanup(os.kill, one.pid, signal.SIGCONT)
        path = self.write("tenants", "capacity = 400K\ntenant small label=small\n")
        began = time.monotonic()
        done = poold("tiers", "--once", "--tenants", path)
        self.assertLess(time.monotonic() - began, 2.5)
        self.assertIn("cxlpool_tier_silent_processes 6\n", done.out)
        self.assertEqual(allotted(other.pid), "400 KiB")

    def test_a_curve_of_nonsense_costs_only_its_owner(self):
        # Negative rates above a negative worth: divide() takes no such curve, and nobody would be told his part.
        self.fake("--move-ns", "-2000", "--rate", "-0.1")
        fake = self.fake()
        path = self.write("tenants", "capacity = 4000K\n")
        done = poold("tiers", "--once", "--tenants", path)
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertEqual(allotted(fake.pid), "3.9 MiB")

    def test_a_process_that_has_more_than_all_nodes_adds_nothing(self):
        self.fake("--near-bytes", str((1 << 64) - 1), "--rate", "0")
        fake = self.fake("--near-bytes", "1")  # with the first one's: none, were it a plain sum
        path = self.write("tenants", f"capacity = auto\ntenant a pid={fake.pid}\n")
        done = poold("tiers", "--once", "--tenants", path)
        self.assertEqual((done.code, done.err), (0, ""), done)
        with open("/sys/devices/system/node/node0/meminfo") as file:
            total = int(re.search(r"MemTotal: +(\d+) kB", file.read())[1]) << 10
        divided = [int(n) for n in re.findall(r"(?m)^cxlpool_tier_near_limit_bytes\{.*\} (\d+)$", done.out)]
        self.assertEqual(len(divided), 2, done)
        self.assertAlmostEqual(sum(divided), total, delta=1 << 16)  # whole pages

    def test_a_silent_process_is_counted_and_hides_nobody(self):
        self.socket(b"garbage\n")
        fake = self.fake()
        done = poold("tiers", "--once")
        self.assertIn("cxlpool_tier_silent_processes 1\n", done.out)
        self.assertIn(f'pid="{fake.pid}"', done.out)


class WhoseWord(PooltierTest):
    """On another process's pages only root's word counts, and nobody's who was somebody else when he listened."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can be several users")
        self.sleeper = subprocess.Popen(["sleep", "60"])
        self.addCleanup(self.sleeper.wait)
        self.addCleanup(self.sleeper.kill)

    def claimant(self, *words, **more):
        return self.fake("--target", str(self.sleeper.pid), *words, **more)

    def programs(self):
        done = poold("tiers", "--once")
        silent = re.search(r"(?m)^cxlpool_tier_silent_processes (\d+)$", done.out)[1]
        return re.findall(r'(?m)^cxlpool_tier_near_bytes\{pid="\d+",program="([^"]*)"', done.out), int(silent)

    def test_root_speaks_for_another_process(self):
        self.claimant()
        self.assertEqual(self.programs(), (["sleep"], 0))

    def test_who_has_become_root_after_he_listened_is_not_believed(self):
        # As if an ordinary user had run a set-user-ID program in the process that listens.
        claimant = self.claimant("--made-by", "65534")
        self.assertEqual(self.programs(), ([], 1))
        self.assert_refused(pooltier("status", claimant.pid), 1,
                            f"the socket @pooltier/{claimant.pid} was made by uid 65534, and process {claimant.pid} "
                            "belongs to uid 0: it was not asked")
        done = pooltier("status", self.sleeper.pid)
        self.assertIn("is not tiered", done.err)

    def test_who_has_given_up_root_speaks_for_himself_alone(self):
        self.claimant("--becomes", "65534")
        self.assertEqual(self.programs(), (["fake-tiered"], 0))

    def test_nobody_but_root_keeps_a_process_from_being_attached_to(self):
        # Refused in either case, for the node: nothing is begun.
        attach = ("attach", self.sleeper.pid, "--near-nodes", "0", "--far-nodes", "1000")
        liar = self.claimant("--becomes", "65534")
        self.assert_refused(pooltier(*attach), 1, "node 1000 has no memory here")
        liar.stop()
        attached = self.claimant()
        self.assert_refused(pooltier(*attach), 1,
                            f"process {self.sleeper.pid} is tiered already (attached by {attached.pid})")


if __name__ == "__main__":
    unittest.main()
