# SPDX-License-Identifier: Apache-2.0
"""pooltier run where nothing can be tiered or the program takes no library: the program runs, and it is said."""

import os
import stat
import subprocess
import unittest

from harness import PooltierTest, pooltier


def one_node():
    with open("/sys/devices/system/node/has_memory") as file:
        return file.read().strip() == "0"


def kernel():
    return tuple(int(part) for part in os.uname().release.split(".")[:2])


class Run(PooltierTest):
    def test_without_a_second_node_it_runs_untiered_and_says_so(self):
        if not one_node():
            self.skipTest("this machine has several nodes")
        done = pooltier("run", "--", "sh", "-c", "echo $POOLTIER; exit 7")
        self.assertEqual((done.code, done.out), (7, "0\n"), done)
        self.assertRegex(done.err, r"\Apooltier: .*nothing to tier; it runs untiered\n\Z")
        self.assertEqual(pooltier("run", "--say", "none", "true").err, "")

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
