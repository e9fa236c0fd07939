# SPDX-License-Identifier: Apache-2.0
"""A real fmd on a simulated rack in a folder of its own, and fmctl to talk to it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

FMD = os.environ["FMD"]
FMCTL = os.environ["FMCTL"]
PATIENCE_S = 60  # the machine may be busy; nothing here waits for time to pass


class Outcome:
    """What one run of a program came to."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def run(*argv, env=None, timeout=PATIENCE_S, **more):
    done = subprocess.run(argv, env=env, timeout=timeout, capture_output=True, text=True, **more)
    return Outcome(done.returncode, done.stdout, done.stderr)


def until(what, condition, patience_s=PATIENCE_S):
    """Waits for condition() to be true and returns what it was."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: still not so after {patience_s} s")


class Fmd:
    """One life of the daemon."""

    def __init__(self, folder, *args, state=None, fabric=None, socket_path=None, env=None, backend="sim"):
        self.folder = folder
        self.socket = socket_path or os.path.join(folder, "fmd.sock")
        self.errors = os.path.join(folder, "fmd.err")
        argv = [FMD, f"--backend={backend}", "--state", state or os.path.join(folder, "state.db"),
                "--socket", self.socket, *args]
        if fabric is not None:
            path = os.path.join(folder, "fabric.json")
            with open(path, "w") as file:
                json.dump(fabric, file)
            argv += ["--fabric", path]
        with open(self.errors, "ab") as errors:
            self.log_start = errors.tell()
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=errors,
                                            stderr=errors, env=env)

    def log(self):
        with open(self.errors, "rb") as file:
            file.seek(self.log_start)
            return file.read().decode(errors="replace")

    def wait_ready(self):
        until("fmd is ready", lambda: "ready:" in self.log() or self.process.poll() is not None)
        assert self.process.poll() is None, f"fmd ended with {self.process.returncode}: {self.log()}"
        return self

    def wait_stopped(self, point):
        """Until fmd has stopped itself at a pause point."""
        until(f"fmd is paused at {point}", lambda: f"paused at {point}" in self.log())
        until("fmd is stopped", lambda: self.kernel_state() == "T")

    def kernel_state(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)
        return self.process.wait(PATIENCE_S)


class RackTest(unittest.TestCase):
    """A folder, an fmd in it (unless start is False), and fmctl."""

    start = True
    fabric = None  # the simulated rack: h1, h2, h3 on mem0 and mem1 of 4 GiB each
    fmd_args = ()

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="fmd-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.fmds = []
        self.addCleanup(lambda: [fmd.kill() for fmd in self.fmds if fmd.process.poll() is None])
        if self.start:
            self.fmd = self.start_fmd(*self.fmd_args, fabric=self.fabric)
            self.wait_hosts_ready()

    def launch_fmd(self, *args, **more):
        fmd = Fmd(self.folder, *args, **more)
        self.fmds.append(fmd)
        return fmd

    def start_fmd(self, *args, **more):
        return self.launch_fmd(*args, **more).wait_ready()

    def fmctl(self, *args, **more):
        more.setdefault("env", dict(os.environ, CXLPOOL_SERVER=os.path.join(self.folder, "fmd.sock")))
        return run(FMCTL, *args, **more)

    def fmctl_json(self, *args):
        done = self.fmctl("--json", *args)
        self.assertEqual(done.code, 0, done)
        return json.loads(done.out)

    def wait_hosts_ready(self, names=("h1", "h2", "h3")):
        until("hosts are ready", lambda: all(
            host["state"] == "ready" for host in self.fmctl_json("host", "list")
            if host["name"] in names))

    def wait_state(self, name, *states):
        return until(f"{name} is {' or '.join(states)}", lambda: [
            grant for grant in self.fmctl_json("grant", "list")
            if grant["name"] == name and grant["state"] in states])[0]

    # What a run must come to. `pattern` may hold … for any text within a line.
    def assert_run(self, done, code, out="", err=""):
        self.assertEqual(done.code, code, done)
        self.assert_text(done.out, out, done)
        self.assert_text(done.err, err, done)

    def assert_text(self, text, pattern, about=None):
        regex = "".join("[^\n]*" if part == "…" else re.escape(part)
                        for part in re.split("(…)", pattern))
        self.assertRegex(text, rf"\A{regex}\Z", about)

    def assert_refused(self, args, code, sentence):
        """fmctl says this one sentence, and nothing has changed."""
        before = self.fmctl_json("grant", "list"), self.fmctl_json("fabric", "show")["hosts"]
        self.assert_run(self.fmctl(*args), code, "", f"fmctl: {sentence}\n")
        after = self.fmctl_json("grant", "list"), self.fmctl_json("fabric", "show")["hosts"]
        self.assertEqual([grant["name"] for grant in before[0]], [grant["name"] for grant in after[0]])

    # ---- raw HTTP -------------------------------------------------------------------------------

    def connect(self, path="fmd.sock"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.path.join(self.folder, path))
        connection.settimeout(PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    def http(self, method, target, body=b"", connection=None):
        """Status and decoded body of one call."""
        connection = connection or self.connect()
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: fmd\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            connection.sendall(head.encode() + body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was all sent: the answer says why
        return read_answer(connection)


def read_answer(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {data!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    length = re.search(rb"content-length: (\d+)", head, re.I)
    want = int(length[1]) if length else 0
    while len(body) < want:
        body += connection.recv(65536)
    return status, json.loads(body) if body else None
