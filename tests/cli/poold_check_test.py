# SPDX-License-Identifier: Apache-2.0
"""`poold check` as a program on the machine that runs the tests, whatever that is: no daemon, nothing written."""

import os
import subprocess
import tempfile
import unittest

POOLD = os.environ["POOLD"]


def check(*more, **options):
    # Read-only by trial: in an empty folder that must stay empty.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([POOLD, "check", *more], capture_output=True, text=True, timeout=30,
                              cwd=folder, env={"HOME": folder, "PATH": "/usr/bin:/bin"}, **options)
        return done, os.listdir(folder)


class Check(unittest.TestCase):
    def test_every_subject_has_a_verdict_and_there_is_one_thing_to_change(self):
        done, left = check()
        self.assertEqual(left, [])
        self.assertEqual(done.stderr, "")
        lines = done.stdout.splitlines()
        verdicts = {line[6:].split("  ")[0].strip(): line.split()[0] for line in lines if line[:4].strip()
                    in ("ok", "BAD", "note")}
        self.assertLessEqual({"kernel", "CXL devices", "dax modules", "memory block", "online policy", "tiers",
                              "samplers"}, set(verdicts), done.stdout)
        bad = "BAD" in verdicts.values()
        self.assertEqual(done.returncode, 1 if bad else 0)
        self.assertEqual(sum(line.startswith("The one thing to change:") for line in lines), int(bad), done.stdout)

    def test_the_kernel_is_this_one(self):
        done, _ = check()
        self.assertIn(os.uname().release, done.stdout)

    def test_what_only_root_may_see_is_not_called_free(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        if subprocess.run(["test", "-x", POOLD], user=65534, group=65534).returncode:
            self.skipTest("the build folder is closed to other users")
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            damon = os.path.join(root, "sys/kernel/mm/damon/admin/kdamonds")
            os.makedirs(damon)
            count = os.path.join(damon, "nr_kdamonds")
            with open(count, "w") as file:
                file.write("0\n")
            os.chmod(count, 0o600)
            done, _ = check("--root", root)
            self.assertIn("damon yes", done.stdout)
            done, _ = check("--root", root, user=65534, group=65534)
            self.assertIn("damon no (only root may see whether DAMON is free", done.stdout)

    def test_words_it_does_not_know(self):
        done, left = check("--frobnicate")
        self.assertEqual((done.returncode, left), (2, []))
        self.assertIn("--frobnicate", done.stderr)


if __name__ == "__main__":
    unittest.main()
