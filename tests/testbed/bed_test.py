# SPDX-License-Identifier: Apache-2.0
"""A boot that hangs is reset once, one that goes on never, and the deadline holds in any case."""

import contextlib
import io
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import common  # noqa: F401
from testbedlib import bed
from testbedlib.errors import Fault
from testbedlib.rundir import RunDir


class Guest:
    """Stands in for agent and QMP of a guest: `answers` says whether it is up, `talks` whether it prints."""

    def __init__(self, console, answers, talks=False):
        self.console, self.answers, self.talks = console, answers, talks
        self.asked = self.resets = 0

    def wait_ready(self, *_):
        self.asked += 1
        if self.talks:
            with open(self.console, "a") as file:
                file.write("a line\n")
        if self.answers(self):
            return "boot"
        time.sleep(0.02)
        raise Fault("the agent did not answer in time")

    def qmp(self, *_):
        return contextlib.nullcontext(self)

    def command(self, name):
        assert name == "system_reset"
        self.resets += 1


class Silence(unittest.TestCase):
    def boot(self, answers, talks=False, seconds=5.0, silence=0.1):
        with tempfile.TemporaryDirectory() as folder:
            run = RunDir(Path(folder))
            run.host("h1").mkdir(parents=True)
            (run.host("h1") / "console.log").write_text("smpboot: Total of 2 processors activated\n")
            guest = Guest(run.host("h1") / "console.log", answers, talks)
            said = io.StringIO()
            with mock.patch.object(bed.agent, "wait_ready", guest.wait_ready), \
                    mock.patch.object(bed, "Qmp", guest.qmp), mock.patch.object(bed, "BOOT_SILENCE_S", silence), \
                    contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                try:
                    bed._wait_ready(run, "h1", time.monotonic() + seconds, "")
                    ended = "up"
                except Fault as fault:
                    ended = str(fault)
            return guest, ended, said.getvalue()

    def test_a_hung_boot_is_reset_and_comes_up(self):
        guest, ended, said = self.boot(lambda guest: guest.resets == 1)
        self.assertEqual((ended, guest.resets), ("up", 1))
        self.assertIn("h1 has said nothing", said)
        self.assertIn("processors activated", said)

    def test_it_is_reset_once_only(self):
        guest, ended, _ = self.boot(lambda guest: False, seconds=1.0)
        self.assertEqual((ended, guest.resets), ("the agent did not answer in time", 1))

    def test_a_boot_that_talks_is_left_alone(self):
        guest, ended, said = self.boot(lambda guest: guest.asked > 20, talks=True)
        self.assertEqual((ended, guest.resets, said), ("up", 0, ""))


if __name__ == "__main__":
    unittest.main()
