# SPDX-License-Identifier: Apache-2.0
"""What the shells complete is what fmctl takes."""

import os
import re
import unittest

from harness import FMCTL, RackTest, run

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../fabric-manager/fmctl/completion")


class Completion(RackTest):
    def complete(self, *words):
        script = f'. {FOLDER}/fmctl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fmctl; echo "${{COMPREPLY[*]}}"'
        env = dict(os.environ, CXLPOOL_SERVER=self.fmd.socket,
                   PATH=os.path.dirname(FMCTL) + ":" + os.environ["PATH"])
        done = run("bash", "-c", script, "bash", *words, env=env)
        self.assertEqual((done.code, done.err), (0, ""), done)
        return done.out.split()

    def test_every_verb_and_its_options(self):
        verbs = re.findall(r"^  ([a-z]+)(?: ([a-z]+))?(?: NAME)?  ", self.fmctl("--help").out, re.M)
        self.assertGreaterEqual(len(verbs), 10)
        for noun, verb in verbs:
            self.assertIn(noun, self.complete("fmctl", ""))
            if not verb:
                continue
            self.assertIn(verb, self.complete("fmctl", noun, ""))
            page = self.fmctl(noun, verb, "--help").out
            taken = set(re.findall(r"^  (--[a-z-]+)", page, re.M))
            self.assertEqual({word for word in self.complete("fmctl", noun, verb, "--")}, taken)

    def test_names_come_from_fmd(self):
        self.assertEqual(self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--name", "mine",
                                    "--wait").code, 0)
        self.assertEqual(self.complete("fmctl", "grant", "release", "m"), ["mine"])
        self.assertEqual(self.complete("fmctl", "grant", "create", "--host", "h"), ["h1", "h2", "h3"])

    def test_zsh_knows_the_same_words(self):
        with open(os.path.join(FOLDER, "_fmctl")) as file:
            zsh = file.read()
        for option in set(re.findall(r"--[a-z-]+", self.fmctl("--help").out)):
            self.assertIn(option, zsh)


if __name__ == "__main__":
    unittest.main()
