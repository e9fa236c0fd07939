# SPDX-License-Identifier: Apache-2.0
"""status, top, explain, set, record: what pooltier asks, and whom it does not believe. attach: what it refuses."""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import time
import unittest

from harness import PATIENCE_S, POOLTIER, Outcome, PooltierTest, Socket, pooltier


class Status(PooltierTest):
    def test_all_processes_in_a_table_and_as_json(self):
        first, second = self.fake("--program", "redis", "--tenant", "cache"), self.fake("--untiered", "no second node")
        done = pooltier("status")
        self.assertEqual((done.code, done.err), (0, ""), done)
        table, tenants = done.out.split("\n\n")
        self.assertRegex(tenants, r"(?m)^cache +1 +400 KiB +3\.5 MiB +91\.2 % \(89\.9 % to 92\.4 %\) +3\.1 s +560 KiB +28 KiB +0\.83 %$")
        lines = {int(line.split()[0]): line for line in table.splitlines()[1:]}
        self.assertRegex(lines[first.pid], r"redis +cache +rwp +400 KiB +3\.5 MiB +91\.2 % +3\.1 s +560 KiB +0\.83 % +tiered")
        self.assertRegex(lines[second.pid], r"untiered: no second node$")
        told = {one["pid"]: one for one in json.loads(pooltier("status", "--json").out)}
        self.assertEqual(told[first.pid]["near_bytes"], 100 * 4096)
        self.assertEqual(told[first.pid]["policy"]["bank"]["balance_s"], 3.125)
        self.assertEqual(told[second.pid]["state"], "untiered")

    def test_one_process(self):
        fake = self.fake()
        done = pooltier("status", fake.pid)
        self.assertEqual((done.code, done.err), (0, ""), done)
        for said in (f"{fake.pid} fake-tiered, tiered for 61.2 s", "not damon: needs root", "no limit", "near nodes 0, far nodes 1,2",
                     "91.2 % of touches are near (90 % sure: 89.9 % to 92.4 %)", "3 failed (2 Device or resource busy",
                     "0.83 % of the program's CPU lately (budget 1.00 %), 500 ms of 60.0 s in all", "with probability 0.999, as far as A1 to A7 of docs/TIERING.md hold, it costs at most 0.01 of the program's CPU time more",
                     "1.0 s or 512 MiB moved"):
            self.assertIn(said, done.out)
        self.assertEqual(json.loads(pooltier("status", fake.pid, "--json").out)["target"], fake.pid)

    def test_a_kernel_that_moves_pages_by_itself_is_named(self):
        self.assertNotIn("numa_balancing", pooltier("status", self.fake().pid).out)
        fake = self.fake("--numa-balancing", "2")
        self.assertRegex(pooltier("status", fake.pid).out,
                         r"(?m)^kernel +kernel\.numa_balancing is 2: the kernel moves pages between nodes, too, and knows no near limit, "
                         r"so limits, shares and the bank mean little \(sysctl kernel\.numa_balancing=0 switches it off\)$")
        self.assertEqual(json.loads(pooltier("status", fake.pid, "--json").out)["numa_balancing"], 2)
        untiered = self.fake("--numa-balancing", "2", "--untiered", "no second node")
        self.assertNotIn("numa_balancing", pooltier("status", untiered.pid).out)

    def test_the_bank_adds_up(self):
        done = pooltier("status", self.fake().pid)
        row = re.search(r"^bank +(-?[\d.]+) s = ([\d.]+) allowance \+ ([\d.]+) earned - ([\d.]+) lost - ([\d.]+) spent "
                        r"([+-][\d.]+) unused CPU - ([\d.]+) reserve", done.out, re.M)
        balance, allowance, earned, lost, spent, unused, reserve = map(float, row.groups())
        self.assertAlmostEqual(balance, allowance + earned - lost - spent + unused - reserve, places=2)

    def test_an_untiered_one_says_why(self):
        done = pooltier("status", self.fake("--untiered", "not tracked: forked").pid)
        self.assertEqual(done.code, 0)
        self.assertIn("untiered: not tracked: forked", done.out)
        self.assertNotIn("bank", done.out)

    def test_a_forked_child_tells_its_own_state(self):
        fake = self.fake("--fork")
        child = int(fake.process.stdout.readline().split()[1])
        self.assertIn("untiered: not tracked: forked", pooltier("status", child).out)
        self.assertIn("tiered for", pooltier("status", fake.pid).out)

    def test_nobody_there(self):
        done = pooltier("status", self.fake().stop() or 1 << 22)
        self.assert_refused(done, 1, f"there is no process {1 << 22}")

    def test_processes_that_are_not_tiered(self):
        self.assert_refused(pooltier("status", os.getpid()), 1,
                            f"process {os.getpid()} (…) is not tiered: start it with `pooltier run -- CMD`, or "
                            f"`pooltier attach {os.getpid()}` as root")

    def test_words_that_are_no_pid(self):
        for word in ("0", "-1", "x", "99999999", "1x"):
            done = pooltier("status", word)
            self.assertEqual((done.code, done.out), (2, ""), done)
            self.assertEqual(done.err.count("\n"), 1)

    def test_names_from_outside_write_nothing_on_the_terminal(self):
        fake = self.fake("--program", "\033]0;owned\007\u202egpj", "--untiered", "line\nline\033[2J")
        for done in (pooltier("status"), pooltier("status", fake.pid), pooltier("top")):
            self.assertNotRegex(done.out + done.err, "[\x00-\x09\x0b-\x1f\x7f\u202e]", done)
            self.assertIn("\\x1b]0;owned", done.out)

    def test_output_that_cannot_be_written(self):
        fake = self.fake()
        with open("/dev/full", "w") as full:
            done = pooltier("status", fake.pid, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((done.code, done.err), (3, "pooltier: the output could not be written\n"))


class Strangers(PooltierTest):
    def test_a_name_that_another_process_has_taken(self):
        sleeper = subprocess.Popen(["sleep", "60"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        squatter = self.socket(b'{"ok":{"pid":%d}}\n' % sleeper.pid, pid=sleeper.pid)
        self.assert_refused(pooltier("status", sleeper.pid), 1,
                            f"the socket @pooltier/{sleeper.pid} belongs to process {os.getpid()}, not to {sleeper.pid}: "
                            "it was not asked")
        self.assertRegex(pooltier("status").out, rf"(?m)^{sleeper.pid} +sleep .*\? the socket .* belongs to process")
        self.assertNotIn(b"status", b"".join(squatter.requests))

    def test_answers_that_are_none(self):
        me = os.getpid()
        for answer, said in ((b"\n", "the answer is no JSON object"), (b"\xff\x00{{{\n", "the answer is no JSON object"),
                             (b"[" * 10000 + b"\n", "the answer is nested deeper than 8 levels"),
                             (b'{"ok":{"pid":"x"}}\n', '"pid" is not of the form that was expected'),
                             (b"{}\n", "the answer holds neither ok nor error")):
            with self.subTest(answer=answer[:20]):
                with Socket(answer) as socket:
                    self.assert_refused(pooltier("status", me), 3, f"process {me}: {said}")
                self.assertEqual(len(socket.requests), 1)  # told at once: it is not asked again

    def test_half_a_line_and_too_long_a_line(self):
        me = os.getpid()
        for answer, said in ((b'{"ok":', "ended the talk without an answer"), (b"", "ended the talk without an answer"),
                             (b"[" * (5 << 20), "answers with more than 65536 bytes")):
            with self.subTest(answer=answer[:20]):
                with Socket(answer) as socket:
                    self.assert_refused(pooltier("status", me), 3, f"process {me} {said}")
                self.assertEqual(len(socket.requests), 1)

    def test_a_process_that_says_it_is_another(self):
        self.socket(b'{"ok":{"pid":1,"state":"tiered"}}\n')
        self.assert_refused(pooltier("status", os.getpid()), 3, f"process {os.getpid()} says that it is process 1")

    def test_a_refusal_with_escapes(self):
        self.socket(b'{"error":"\\u001b[31mred\\nsecond line","code":13}\n')
        self.assert_refused(pooltier("status", os.getpid()), 1, "\\x1b[31mred\\x0asecond line")

    def test_a_process_that_hangs_costs_three_seconds(self):
        hanging = self.socket(None)
        began = time.monotonic()
        done = pooltier("status", os.getpid())
        self.assert_refused(done, 3, f"process {os.getpid()} does not answer (is it stopped?)")
        self.assertGreater(time.monotonic() - began, 2.5)
        self.assertEqual(len(hanging.requests), 1)  # and no more

    def test_a_stopped_process_does_not_hide_the_others(self):
        stopped, other = self.fake(), self.fake()
        os.kill(stopped.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)  # all its threads
        self.addCleanup(os.kill, stopped.pid, signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor() as both:  # they wait for it at the same time
            table, as_json = both.map(lambda words: pooltier(*words).out, (("status",), ("status", "--json")))
        self.assertRegex(table, rf"(?m)^{stopped.pid} +fake-tiered .*does not answer")
        self.assertRegex(table, rf"(?m)^{other.pid} +fake-tiered .*tiered$")
        told = {one["pid"]: one for one in json.loads(as_json)}
        self.assertIn("does not answer", told[stopped.pid]["error"])


class Privileges(PooltierTest):
    """Who may ask. Needs root, to be somebody else."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can be several users")

    def as_nobody(self, *words):
        return pooltier(*words, user=65534, group=65534, extra_groups=[])

    def nobodys(self, *words):
        return self.fake(*words, user=65534, group=65534, extra_groups=[])

    def reachable(self):
        return subprocess.run(["test", "-x", POOLTIER], user=65534, group=65534).returncode == 0

    def test_another_users_process_does_not_tell(self):
        if not self.reachable():
            self.skipTest("the build folder is closed to other users")
        fake = self.fake()
        self.assert_refused(self.as_nobody("status", fake.pid), 1,
                            f"process {fake.pid} belongs to uid 0: only it and root may ask")
        for words in (("explain", fake.pid, "0x10000000"), ("set", fake.pid, "--near-limit", "0")):
            self.assertEqual(self.as_nobody(*words).code, 1)
        self.assertIn("no limit", pooltier("status", fake.pid).out)

    def test_its_own_user_and_root_are_told(self):
        if not self.reachable():
            self.skipTest("the build folder is closed to other users")
        fake = self.nobodys()
        self.assertEqual(self.as_nobody("status", fake.pid).code, 0)
        self.assertEqual(pooltier("status", fake.pid).code, 0)

    def test_of_a_process_that_is_not_dumpable_only_root(self):
        if not self.reachable():
            self.skipTest("the build folder is closed to other users")
        fake = self.nobodys("--private")
        self.assert_refused(self.as_nobody("status", fake.pid), 1,
                            f"process {fake.pid} is not dumpable: only root may ask")
        self.assertEqual(pooltier("status", fake.pid).code, 0)


    def test_of_a_process_with_capabilities_only_root(self):
        if not self.reachable():
            self.skipTest("the build folder is closed to other users")
        fake = self.fake(before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                 "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"])
        self.assert_refused(self.as_nobody("status", fake.pid), 1,
                            f"process {fake.pid} has capabilities: only root may ask")
        # In a user namespace of its own anybody has all of them.
        as_nobody = {"user": 65534, "group": 65534, "extra_groups": [], "capture_output": True, "text": True,
                     "timeout": PATIENCE_S}
        if subprocess.run(["unshare", "-r", "true"], **as_nobody).returncode:
            self.skipTest("user namespaces are not for everybody here")
        done = subprocess.run(["unshare", "-r", POOLTIER, "status", str(fake.pid)], **as_nobody)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("has capabilities: only root may ask", done.stderr)
        self.assertEqual(pooltier("status", fake.pid).code, 0)


class Attach(PooltierTest):
    """What can be said before anything is begun. Where there are two nodes: libpool/run_test."""

    def needs_root(self):
        if os.geteuid() != 0:
            self.skipTest("only root attaches")

    def sleeper(self, **more):
        process = subprocess.Popen(["sleep", "60"], **more)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process.pid

    def test_no_process(self):
        self.assert_refused(pooltier("attach", 1 << 22), 1, f"there is no process {1 << 22}")
        ended = subprocess.Popen(["true"])
        self.addCleanup(ended.wait)
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has its number still
        self.assert_refused(pooltier("attach", ended.pid), 1, f"there is no process {ended.pid}")

    def test_itself(self):
        done = Outcome(subprocess.run(["sh", "-c", 'exec "$0" attach $$', POOLTIER], capture_output=True, text=True,
                                      timeout=PATIENCE_S))
        self.assert_refused(done, 1, "… is pooltier itself")
        self.assertRegex(done.err, r"\Apooltier: \d+ is")

    def test_only_root_attaches(self):
        more = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        if more and subprocess.run(["test", "-x", POOLTIER], **more).returncode:
            self.skipTest("the build folder is closed to other users")
        own = self.sleeper(**more)  # not even to what is its own
        self.assert_refused(pooltier("attach", own, **more), 1,
                            f"attaching to {own} (sleep) needs root: it moves another process's pages")

    def test_one_that_is_tiered_already(self):
        self.needs_root()
        fake = self.fake()
        self.assert_refused(pooltier("attach", fake.pid), 1, f"process {fake.pid} is tiered already")
        self.assertIn("tiered for", pooltier("status", fake.pid).out)

    def test_where_there_is_one_node_nothing_can_be_moved(self):
        self.needs_root()
        with open("/sys/devices/system/node/has_memory") as file:
            if file.read().strip() != "0":
                self.skipTest("this machine has several nodes")
        self.assert_refused(pooltier("attach", self.sleeper()), 1, "there is one node…nothing to tier")

    def test_a_wrong_command_line_asks_nobody(self):
        pid = self.sleeper()
        self.assert_refused(pooltier("attach"), 2, "pooltier attach needs PID")
        self.assert_refused(pooltier("attach", "0"), 2, "0 is no process id (1 to 4194304)")
        self.assert_refused(pooltier("attach", pid, "--cpu", "99"), 2, 'cpu: "99" is not within 0.01 and 50 (percent)')
        self.assert_refused(pooltier("attach", pid, "--near-nodes", "0", "--far-nodes", "0"), 2,
                            "node 0 is both near and far")


class Others(PooltierTest):
    def test_top_prints_one_frame_without_a_terminal_and_as_many_as_asked_for(self):
        self.fake()
        done = pooltier("top")
        self.assertEqual((done.code, done.out.count("PROGRAM"), done.out.count("\033")), (0, 1, 0), done)
        self.assertRegex(done.out.splitlines()[0], r"^\d+ tiered, \d+ not; near .*; moved .*; overhead ")
        self.assertEqual(pooltier("top", "--count", 2, "--interval", 1).out.count("PROGRAM"), 2)
        self.assertEqual(pooltier("top", "--count", "0").code, 2)

    def test_explain_gives_the_chain_of_numbers(self):
        fake = self.fake()
        done = pooltier("explain", fake.pid, "0x10065123")
        self.assertEqual((done.code, done.err), (0, ""), done)
        for said in (f"0x10065000 of {fake.pid} is far (node 1), in [heap]: no near page is surely touched less",
                     "9.8/s (50 % sure: 8.82/s to 10.8/s)", "2/s for its move to pay within 10.0 s: 150 ns a touch against 2 us",
                     "50.0 % of a move's cost earned", "without tiering it would be far; the bank holds 3.1 s"):
            self.assertIn(said, done.out)
        told = json.loads(pooltier("explain", fake.pid, str(0x10000000), "--json").out)
        self.assertEqual((told["explanation"]["place"], told["node"]), ("near", 0))

    def test_explain_of_what_is_no_page_of_it(self):
        fake = self.fake()
        self.assert_refused(pooltier("explain", fake.pid, "0x99"), 1, "0x99 is not in a tracked range")
        self.assert_refused(pooltier("explain", fake.pid, "heap"), 2, "heap is no address such as 0x7f0012345000")
        self.assert_refused(pooltier("explain", fake.pid), 2, "pooltier explain needs ADDR")

    def test_set_changes_the_running_process(self):
        fake = self.fake()
        self.assertEqual(pooltier("set", fake.pid, "--near-limit", "1M", "--mbps", "5").code, 0)
        out = pooltier("status", fake.pid).out
        self.assertIn("limit 1 MiB", out)
        self.assertIn("at most 5 MiB/s", out)
        self.assertIn("budget 1.00 %", out)
        self.assertEqual(pooltier("set", fake.pid, "--cpu", "2", "--near-limit", "none").code, 0)
        self.assertIn("budget 2.00 %", pooltier("status", fake.pid).out)
        self.assertIn("no limit", pooltier("status", fake.pid).out)
        self.assert_refused(pooltier("set", fake.pid, "--cpu", "99"), 2, 'cpu: "99" is not within 0.01 and 50 (percent)')
        self.assert_refused(pooltier("set", fake.pid), 2, "set needs one of --near-limit, --cpu, --mbps")

    def test_record_writes_estimates_as_a_trace(self):
        fake, path = self.fake(), os.path.join(self.folder, "trace")
        done = pooltier("record", fake.pid, path, "--seconds", 1, "--epoch-ms", 250)
        self.assertEqual((done.code, done.out, done.err), (0, "", ""), done)
        with open(path) as file:
            lines = file.read().splitlines()
        self.assertEqual(lines[:4], ["pooltrace 1", "pages 1000", "epoch_ns 250000000", "home n*100 f*900"])
        self.assertIn("estimates", lines[4])
        epochs = [line for line in lines if line.startswith("epoch ")]
        self.assertEqual(len(epochs), 4)
        first = [sum(int(word.split("*")[0]) for word in line.split()[1:2]) for line in epochs]
        self.assertEqual(sum(first), 1000)  # page 0: 1000 a second
        self.assertEqual(lines[-1], "end 4")

    def test_record_writes_to_standard_output(self):
        done = pooltier("record", self.fake().pid, "-", "--seconds", 1, "--epoch-ms", 500, cwd=self.folder)
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertTrue(done.out.startswith("pooltrace 1\npages 1000\n") and done.out.endswith("\nend 2\n"), done)
        self.assertEqual(os.listdir(self.folder), [])

    def test_record_writes_nothing_that_could_not_be_read(self):
        path = os.path.join(self.folder, "trace")
        fake = self.fake()
        self.assert_refused(pooltier("record", fake.pid, path, "--seconds", 86400, "--epoch-ms", 100), 1,
                            f"1000 pages of process {fake.pid} in 864000 epochs are more counts than the 268435456 that "
                            "a trace holds: at most 268435 epochs, by less --seconds or more --epoch-ms")
        large = self.fake("--pages", "20000000")
        self.assert_refused(pooltier("record", large.pid, path, "--seconds", 1), 1,
                            f"process {large.pid} has 20000000 tracked pages (76.3 GiB), and a trace holds 16777216 "
                            "(64 GiB)")
        self.assertFalse(os.path.exists(path))

    def test_record_refuses_before_it_makes_a_file(self):
        path = os.path.join(self.folder, "old")
        with open(path, "w") as file:
            file.write("precious")
        self.assertEqual(pooltier("record", os.getpid(), path).code, 1)
        with open(path) as file:
            self.assertEqual(file.read(), "precious")
        done = pooltier("record", self.fake().pid, "/nowhere/trace")
        self.assert_refused(done, 1, "/nowhere/trace cannot be written: No such file or directory")

    def test_a_recorded_process_that_ends(self):
        fake, path = self.fake(), os.path.join(self.folder, "trace")
        recorder = subprocess.Popen([POOLTIER, "record", str(fake.pid), path, "--seconds", "60", "--epoch-ms", "100"],
                                    stderr=subprocess.PIPE, text=True)
        self.addCleanup(recorder.kill)
        until = time.monotonic() + PATIENCE_S
        while subprocess.run(["grep", "--quiet", "--no-messages", "^epoch ", path]).returncode != 0:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        fake.stop()
        _, err = recorder.communicate(timeout=PATIENCE_S)
        # Between two questions, in the middle of an answer, or while it ends: it has no socket any more and is
        # still a process.
        self.assertRegex(f"{recorder.returncode} {err}",
                         rf"\A1 pooltier: there is no process {fake.pid}\n\Z|"
                         rf"\A3 pooltier: process {fake.pid} ended the talk without an answer\n\Z|"
                         rf"\A1 pooltier: process {fake.pid} \(.*\) is not tiered: [^\n]*\n\Z")
        with open(path) as file:
            self.assertRegex(file.read(), r"\nepoch [0-9* ]+\n\Z")  # whole lines only

    def test_wrong_words(self):
        self.assert_refused(pooltier("statsu"), 2, "statsu is no command of pooltier; did you mean status?")
        self.assert_refused(pooltier("\033[2J"), 2, "\\x1b[2J is no command of pooltier; see pooltier --help")
        self.assert_refused(pooltier(), 2, "what is to be done is missing; see pooltier --help")
        self.assertEqual(pooltier("--version").out, "pooltier 0.1.0\n")


if __name__ == "__main__":
    unittest.main()
