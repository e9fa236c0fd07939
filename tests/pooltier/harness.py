# SPDX-License-Identifier: Apache-2.0
"""pooltier, and processes that it talks to: well-behaved ones (fake-tiered) and sockets that a test answers itself."""

import ctypes
import os
import socket
import subprocess
import tempfile
import threading
import unittest

POOLTIER = os.environ["PROGRAM_POOLTIER"]
FAKE = os.environ["FAKE_TIERED"]
POOLD = os.environ["POOLD"]
PATIENCE_S = 60

# Names of abstract sockets belong to a network namespace: in one of its own a test neither sees nor disturbs what
# else is tiered on this machine.
if os.geteuid() == 0:
    CLONE_NEWNET = 0x40000000
    ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET)


class Outcome:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def pooltier(*words, env=None, **more):
    more = {"timeout": PATIENCE_S, "capture_output": True, "text": True, **more}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("POOLTIER", "LD_PRELOAD"))}
    return Outcome(subprocess.run([POOLTIER, *map(str, words)], env={**plain, **(env or {})}, **more))


class Fake:
    """A well-behaved tiered process; see fake_tiered.cc."""

    def __init__(self, *words, before=(), **more):
        self.process = subprocess.Popen([*before, FAKE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        **more)
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S)


class Socket:
    """The name @pooltier/PID, taken by this very test, which answers each request with some bytes, or never."""

    def __init__(self, answer=b"", pid=None):
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"\0pooltier/{pid or os.getpid()}")
        self.listener.listen(8)
        self.open, self.requests = [], []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                talk, _ = self.listener.accept()
            except OSError:
                return
            self.requests.append(talk.recv(65536))
            try:
                if self.answer is not None:
                    talk.sendall(self.answer)
            except OSError:
                pass  # who asked has heard enough
            if self.answer is None:
                self.open.append(talk)  # hangs
            else:
                talk.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE_S)
        self.listener.close()
        for talk in self.open:
            talk.close()


class PooltierTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="pooltier-")
        self.addCleanup(self.temporary.cleanup)
        self.folder = self.temporary.name

    def fake(self, *words, **more):
        fake = Fake(*words, **more)
        self.addCleanup(fake.stop)
        return fake

    def socket(self, answer=b"", pid=None):
        return self.enterContext(Socket(answer, pid))

    def assert_refused(self, done, code, sentence):
        """One sentence, nothing else, and this code. `…` stands for anything."""
        self.assertEqual((done.code, done.out), (code, ""), done)
        self.assertEqual(done.err.count("\n"), 1, done)
        self.assertTrue(done.err.startswith("pooltier: "), done)
        said = done.err[len("pooltier: "):-1]
        begin, dots, end = sentence.partition("…")
        self.assertTrue(said == sentence or dots and said.startswith(begin) and said.endswith(end), done)
