# SPDX-License-Identifier: Apache-2.0
"""The examples of fmctl.1 are run, one after the other on one simulated rack, and print what the page says.

An example is what stands between .EX and .EE: lines that begin with "$ " are run, those below are their
output. A number of milliseconds stands for any other; "..." for the rest of a line."""

import os
import re
import subprocess
import unittest

from harness import FMCTL, RackTest

PAGE = os.path.join(os.path.dirname(__file__), "../../docs/man/fmctl.1")


def examples():
    with open(PAGE) as file:
        text = file.read()
    text = text.split(".SH EXAMPLES", 1)[1].split("\n.SH ", 1)[0]
    for block in re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.S | re.M):
        command, output = None, []
        for line in block.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\").splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, output
                command, output = line[2:], []
            else:
                output.append(line)
        if command:
            yield command, output


def pattern(output):
    lines = []
    for line in output:
        regex = re.escape(line)
        regex = re.sub(r"\d+(\\\.\d)?\\ ms", r"[0-9.]+\\ ms", regex)
        lines.append(regex.replace(re.escape("..."), ".*") + "\n")
    return r"\A" + "".join(lines) + r"\Z"


class Man(RackTest):
    def test_examples(self):
        env = dict(os.environ, CXLPOOL_SERVER=self.fmd.socket,
                   PATH=os.path.dirname(FMCTL) + ":" + os.environ["PATH"])
        count = 0
        for command, output in examples():
            with self.subTest(command=command):
                done = subprocess.run(["sh", "-c", command], env=env, text=True, timeout=60,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertRegex(done.stdout, pattern(output))
            count += 1
        self.assertGreaterEqual(count, 8)

    def test_every_verb_is_there(self):
        with open(PAGE) as file:
            page = file.read().replace("\\-", "-")
        help_text = self.fmctl("--help").out
        for verb in re.findall(r"^  ([a-z]+ ?[a-z]*)", help_text, re.M):
            self.assertIn(verb.strip(), page)
        for option in set(re.findall(r"--[a-z-]+", help_text)):
            self.assertIn(option, page)


if __name__ == "__main__":
    unittest.main()
