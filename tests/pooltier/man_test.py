# SPDX-License-Identifier: Apache-2.0
"""pooltier.1: its synopsis has the verbs of the program, each verb its options, and its examples print what it says.

An example is what stands between .EX and .EE: lines that begin with "$ " are run, those below are their output.
Process 812 stands for a tiered one; "..." for the rest of a line."""

import os
import re
import subprocess
import unittest

from harness import PATIENCE_S, POOLTIER, PooltierTest, pooltier

FOLDER = os.path.dirname(POOLTIER)
PAGE = os.path.join(os.path.dirname(__file__), "../../docs/man/pooltier.1")


def page():
    with open(PAGE) as file:
        return file.read().replace("\\-", "-")


def section(name):
    return page().split(f".SH {name}\n", 1)[1].split("\n.SH ", 1)[0]


def examples():
    for block in re.findall(r"^\.EX\n(.*?)^\.EE$", section("EXAMPLES"), re.S | re.M):
        command, output = None, []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, output
                command, output = line[2:], []
            else:
                output.append(line)
        yield command, output


class Man(PooltierTest):
    def verbs(self):
        verbs = re.findall(r"^  ([a-z][a-z-]*) .*", pooltier("--help").out, re.M)
        self.assertGreaterEqual(len(verbs), 9)
        return verbs

    def test_the_synopsis_has_the_verbs_of_the_program(self):
        self.assertEqual(re.findall(r"^\.B pooltier ([a-z-]+)$", section("SYNOPSIS"), re.M), self.verbs())

    def test_every_verb_has_its_entry_and_its_options(self):
        entries = dict(re.findall(r"^\.B ([a-z-]+)(?: [^\n]*)?\n(.*?)(?=^\.TP\n\.B [a-z]|\Z)", section("COMMANDS"),
                                  re.S | re.M))
        for verb in self.verbs():
            options = set(re.findall(r"^  (--[a-z-]+)", pooltier(verb, "--help").out, re.M))
            self.assertLessEqual(options, set(re.findall(r"--[a-z][a-z-]*", entries[verb])), verb)

    def test_no_option_of_the_page_is_made_up(self):
        known = set(re.findall(r"--[a-z-]+", "".join(pooltier(verb, "--help").out for verb in self.verbs())))
        self.assertLessEqual(set(re.findall(r"--[a-z][a-z-]*", page())), known | {"--help", "--version"})

    def test_examples(self):
        fake = self.fake("--program", "redis", "--tenant", "cache", "--sentence", "")
        env = {**os.environ, "PATH": ":".join([FOLDER, os.path.join(FOLDER, "../examples"), os.environ["PATH"]])}
        count = 0
        for command, output in examples():
            with self.subTest(command=command):
                done = subprocess.run(["sh", "-c", command.replace("812", str(fake.pid))], env=env, cwd=self.folder,
                                      text=True, timeout=PATIENCE_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                printed = re.sub(r"\s+", " ", re.sub(rf"\b{fake.pid}\b", "812", done.stdout)).strip()
                wanted = re.escape(re.sub(r"\s+", " ", " ".join(output)).strip()).replace(r"\.\.\.", ".*")
                self.assertRegex(printed, rf"\A{wanted}\Z")
            count += 1
        self.assertGreaterEqual(count, 7)


if __name__ == "__main__":
    unittest.main()
