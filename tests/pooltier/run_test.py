# SPDX-License-Identifier: Apache-2.0
"""pooltier run where nothing can be tiered or the program takes no library: the program runs, and it is said."""

import ctypes
import os
import stat
import struct
import subprocess
import time
import unittest

from harness import PATIENCE_S, POOLTIER, Outcome, PooltierTest, pooltier


def one_node():
    with open("/sys/devices/system/node/has_memory") as file:
        return file.read().strip() == "0"


def kernel():
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


USERFAULTFD, IOCTL = 323, 16  # on x86-64
UFFDIO_REGISTER = 0xc020aa00


def forbid(call, second_word=None):
    """As a container's seccomp profile does: EPERM from now on, for this process and what it starts."""
    def step(code, true, false, value):
        return struct.pack("HBBI", code, true, false, value)

    word = [] if second_word is None else [step(0x20, 0, 0, 24), step(0x15, 0, 1, second_word)]
    steps = [step(0x20, 0, 0, 0), step(0x15, 0, 1 + len(word), call), *word, step(0x06, 0, 0, 0x50001),
             step(0x06, 0, 0, 0x7fff0000)]
    program = ctypes.create_string_buffer(b"".join(steps))
    filtering = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filtering, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def forbid_userfaultfd():
    forbid(USERFAULTFD)


def forbid_tracking():
    """What is found out only when it is tried."""
    forbid(IOCTL, UFFDIO_REGISTER)


class Run(PooltierTest):
    def where_no_sampler_works(self, forbidden=forbid_userfaultfd):
        """For a process that has neither userfaultfd nor, without root, DAMON."""
        root = os.geteuid() == 0
        more = {"user": 65534, "group": 65534, "extra_groups": []} if root else {}
        if root and subprocess.run(["test", "-x", POOLTIER], **more).returncode:
            self.skipTest("the build folder is closed to other users")
        return {"cwd": "/", "preexec_fn": forbidden, **more}

    def run_without_sampler(self, *words):
        """--wait: on a machine with one node, too."""
        return pooltier("run", "--wait", *words, "--", "sh", "-c", "echo $POOLTIER; exit 7", **self.where_no_sampler_works())

    def test_without_a_usable_sampler_it_runs_untiered_and_says_why_not_each(self):
        done = self.run_without_sampler()
        self.assertEqual((done.code, done.out), (7, "0\n"), done)
        self.assertRegex(done.err, r"\Apooltier: no sampler works here: rwp \(.+\), wp \(userfaultfd: Operation not permitted"
                                   r".*\), damon \(.+\); it runs untiered\n\Z")
        self.assertEqual(self.run_without_sampler("--say", "none").err, "")
        # One that was asked for is not exchanged for another.
        done = self.run_without_sampler("--sampler", "wp")
        self.assertRegex(done.err, r"\Apooltier: no sampler works here: wp \([^\n]*\); it runs untiered\n\Z")

    def test_without_a_usable_sampler_it_does_not_run_where_that_is_required(self):
        self.assert_refused(self.run_without_sampler("--require"), 125, "no sampler works here: rwp (…)")

    def test_the_library_itself_says_that_no_sampler_works(self):
        library = os.path.realpath(os.path.join(os.path.dirname(POOLTIER), "../run/libpool-run.so"))
        if not os.path.exists(library):
            self.skipTest("the library is not built")
        env = {"LD_PRELOAD": library, "POOLTIER": "1", "POOLTIER_WAIT": "1", "PATH": os.environ["PATH"]}
        for require, outcome in (("0", (7, "ran\n")), ("1", (125, ""))):
            done = subprocess.run(["sh", "-c", "echo ran; exit 7"], env={**env, "POOLTIER_REQUIRE": require},
                                  capture_output=True, text=True, timeout=60, **self.where_no_sampler_works())
            self.assertEqual((done.returncode, done.stdout), outcome, done)
            self.assertRegex(done.stderr, r"\Apooltier: process \d+ runs untiered: no sampler can be used: not rwp: .*; not wp: "
                                          r"userfaultfd: Operation not permitted.*; not damon: .*\n\Z")

    def test_a_sampler_that_fails_when_it_is_tried_is_told_by_status(self):
        nobody = self.where_no_sampler_works(forbid_tracking)
        program = subprocess.Popen([POOLTIER, "run", "--wait", "--", "sleep", "60"], stderr=subprocess.DEVNULL,
                                   **nobody)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        until = time.monotonic() + PATIENCE_S
        while "no sampler can be used" not in (said := pooltier("status", program.pid).out):
            self.assertLess(time.monotonic(), until, said)
            time.sleep(0.1)
        self.assertRegex(said, rf"\A{program.pid} sleep, untiered: no sampler can be used: not rwp: .*; not damon: ")
        done = pooltier("explain", program.pid, "0x1000")
        self.assertEqual(done.code, 1, done)
        self.assertRegex(done.err, rf"\Apooltier: process {program.pid} runs untiered: no sampler can be used: [^\n]*\n\Z")
        done = pooltier("run", "--wait", "--require", "--", "echo", "ran", **nobody)
        self.assertEqual((done.code, done.out), (125, ""), done)
        self.assertIn("no sampler can be used", done.err)

    def test_without_a_second_node_it_runs_untiered_and_says_so(self):
        if not one_node():
            self.skipTest("this machine has several nodes")
        done = pooltier("run", "--", "sh", "-c", "echo $POOLTIER; exit 7")
        self.assertEqual((done.code, done.out), (7, "0\n"), done)
        self.assertRegex(done.err, r"\Apooltier: .*nothing to tier; it runs untiered\n\Z")
        self.assertEqual(pooltier("run", "--say", "none", "true").err, "")

    def test_a_kernel_that_moves_pages_by_itself_is_named_once_to_those_who_want_to_hear_all(self):
        setting = "/proc/sys/kernel/numa_balancing"
        stand_in = os.path.join(self.folder, "mode")

        def said(mode, *words):
            with open(stand_in, "w") as file:
                file.write(f"{mode}\n")
            run = f'mount --bind {stand_in} {setting} && exec {POOLTIER} run --wait "$@" -- sh -c "sh -c true; true"'
            done = Outcome(subprocess.run(["unshare", "--mount", "sh", "-c", run, "sh", *words], capture_output=True,
                                          text=True, timeout=PATIENCE_S))
            self.assertEqual(done.code, 0, done)
            return [line for line in done.err.splitlines() if "numa_balancing" in line]

        if os.geteuid() != 0 or not os.path.exists(setting):
            self.skipTest("only root can say in the kernel's place what is set, and only where there is the setting")
        self.assertEqual(said(1), [])
        self.assertEqual(said(0, "--say", "all"), [])
        for mode in (1, 2):
            lines = said(mode, "--say", "all")
            self.assertEqual(len(lines), 1, lines)
            self.assertRegex(lines[0], rf"\Apooltier: kernel\.numa_balancing is {mode}: the kernel moves pages between nodes, too")

    def test_required_it_does_not_run(self):
        if not one_node():
            self.skipTest("this machine has several nodes")
        self.assert_refused(pooltier("run", "--require", "--", "echo", "ran"), 125, "there is one node…nothing to tier")
        self.assertEqual(pooltier("run", "echo", "ran", env={"POOLTIER_REQUIRE": "1"}).code, 125)

    def test_programs_that_cannot_be_run(self):
        self.assert_refused(pooltier("run", "no-such-program"), 127, "there is no program no-such-program in PATH")
        path = os.path.join(self.folder, "plain")
        with open(path, "w") as file:
            file.write("x\0")
        self.assert_refused(pooltier("run", path), 126, f"{path} is not executable")
        os.chmod(path, 0o755)
        done = pooltier("run", "--say", "none", path)
        self.assert_refused(done, 126, f"{path} cannot be run: Exec format error")

    def test_a_script_without_a_first_line_runs_as_in_a_shell(self):
        path = os.path.join(self.folder, "commands")
        with open(path, "w") as file:
            file.write('echo "$0 $1"; exit 5\n')
        os.chmod(path, 0o755)
        done = pooltier("run", "--say", "none", path, "word")
        self.assertEqual((done.code, done.out, done.err), (5, f"{path} word\n", ""), done)

    def test_the_example_of_a_plain_program(self):
        example = os.path.join(os.path.dirname(POOLTIER), "../examples/plain-index")
        linked = subprocess.run(["ldd", example], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("libpool", linked)
        done = pooltier("run", "--wait", "--say", "none", "--", example, 20000, 2)
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertRegex(done.out, r"\A20000 words, [1-9]\d{3,} questions, 0 wrong\n\Z")
        self.assertEqual(pooltier("run", "--wait", "--say", "none", "--", example, "many").code, 2)

    def test_what_cannot_be_handed_over_is_said_once(self):
        self.assert_refused(pooltier("run", "--hand-over", "--sampler", "wp", "true"), 125,
                            "hand_over works with the sampler rwp alone, not with wp")
        if kernel() >= (7, 3):
            self.skipTest("this kernel has rwp")
        done = pooltier("run", "--hand-over", "true")
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.err, r"\Apooltier: there is nothing to hand over: rwp \(.*\); it runs untiered\n\Z")
        self.assertEqual(pooltier("run", "--hand-over", "--require", "true").code, 125)

    def test_programs_that_take_no_library(self):
        source = os.path.join(self.folder, "static.c")
        with open(source, "w") as file:
            file.write("int main(void) { return 3; }\n")
        program = os.path.join(self.folder, "static")
        subprocess.run(["gcc", "-static", "-o", program, source], check=True)
        done = pooltier("run", program)
        self.assertEqual(done.code, 3)
        self.assertIn("is statically linked", done.err)
        self.assert_refused(pooltier("run", "--require", program), 125, f"{program} is statically linked: …by root)")
        if os.geteuid() == 0:
            os.chown(program, 1, 1)
            os.chmod(program, 0o755 | stat.S_ISUID)
            self.assertIn("set-user-ID", pooltier("run", program).err)

    def test_settings_that_are_wrong_start_nothing(self):
        for words, env, said in ((["--cpu", "99"], {}, 'cpu: "99" is not within 0.01 and 50 (percent)'),
                                 (["--sampler", "magic"], {}, 'sampler: "magic" is none of auto, rwp, wp, damon'),
                                 (["--near-nodes", "0", "--far-nodes", "0"], {}, "node 0 is both near and far"),
                                 ([], {"POOLTIER_CPU": "x"}, 'POOLTIER_CPU: "x" is not a percentage'),
                                 ([], {"POOLTIER_SPEED": "1"}, "POOLTIER_SPEED is no setting…"),
                                 (["--config", "/nowhere"], {}, "/nowhere cannot be read: No such file or directory")):
            with self.subTest(words=words, env=env):
                self.assert_refused(pooltier("run", *words, "--", "echo", "ran", env=env), 125, said)

    def test_a_config_file_that_is_wrong_is_named_with_its_line(self):
        path = os.path.join(self.folder, "tier.conf")
        with open(path, "w") as file:
            file.write("# ours\ncpu = 2\nnear_limt = 1G\n")
        self.assert_refused(pooltier("run", "--config", path, "true"), 125,
                            f'{path}:3: "near_limt" is no setting, did you mean near_limit?')

    def test_a_declared_node_that_is_not_there(self):
        self.assert_refused(pooltier("run", "--require", "--near-nodes", "0", "--far-nodes", "1000", "true"), 125,
                            "node 1000 has no memory here")


if __name__ == "__main__":
    unittest.main()
