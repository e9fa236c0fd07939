# SPDX-License-Identifier: Apache-2.0
"""The testbed with real guests: two hosts, and beside them a second testbed.

Exit code 77 with the reason when no root can be had.
"""

import concurrent.futures
import json
import os
import pty
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import common
from common import testbed
from testbedlib import agent
from testbedlib.rundir import RunDir

AS_ROOT = os.geteuid() == 0


def mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(line.split(" - ")[0].split()[4] for line in lines)


def processes_of(uids: set[int]) -> list[str]:
    """Command lines of all live processes of these users."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            uid = int(status.split("Uid:")[1].split()[0])
            if uid in uids and "State:\tZ" not in status:
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except (OSError, IndexError):
            pass
    return found


class Bed:
    """One testbed in a folder of its own."""

    def __init__(self, name: str):
        self.folder = Path(tempfile.mkdtemp(prefix="tb-"))
        self.run = self.folder / name

    def __call__(self, verb, *words, **how):
        return testbed(verb, "--dir", self.run, *words, **how)

    def exec(self, host, *argv, **how):
        return testbed("exec", "--dir", self.run, host, *argv, **how)

    def out(self, host, *argv) -> str:
        done = self.exec(host, "--timeout", 60, *argv, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise AssertionError(f"{argv} on {host}: {done}")
        return done.stdout.rstrip("\n")

    def sh(self, host, script) -> str:
        return self.out(host, "sh", "-c", script)

    def popen(self, host, *argv, **how):
        return subprocess.Popen([*common.COMMAND, "exec", "--dir", str(self.run), host, *argv],
                                **how)

    def pid(self, host) -> int:
        return int((self.run / host / "qemu.pid").read_text().split()[0])

    def uids(self, *hosts) -> set[int]:
        return {RunDir(str(self.run)).uid(h) for h in hosts}


def overlay(folder: Path, script: str) -> Path:
    (folder / "etc/testbed.d").mkdir(parents=True)
    (folder / "etc/testbed.d/10-mark.sh").write_text(script)
    (folder / "lib/testbed-test").mkdir(parents=True)
    (folder / "lib/testbed-test/file").write_bytes(bytes(range(256)))
    return folder


class Guests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mounts_before = mounts()
        cls.bed = Bed("two")
        cls.other = Bed("one")
        cls.callers_pipe, inherited = os.pipe()
        began = time.monotonic()
        up = cls.bed("up", "two-hosts", "--overlay",
                     overlay(cls.bed.folder / "overlay", 'echo "$HOST" > /run/mark'),
                     pass_fds=(inherited,))
        os.close(inherited)
        cls.boot_seconds = time.monotonic() - began
        if up.returncode:
            raise AssertionError(up.stderr)
        cls.up_output = up

    @classmethod
    def tearDownClass(cls):
        os.close(cls.callers_pipe)
        for bed in (cls.bed, cls.other):
            if (bed.run / "topology.json").exists():
                bed("down")
            shutil.rmtree(bed.folder)

    def wait_gone(self, host, marker):
        """No process with that argument is left in the guest."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            ps = self.bed.out(host, "ps", "-o", "args")
            if marker not in ps:
                return
            time.sleep(0.2)
        self.fail(f"{marker} still runs in {host}: {ps}")

    # ---- up ---------------------------------------------------------------------------------

    def test_00_boot(self):
        print(f"two hosts booted in {self.boot_seconds:.1f} s (an idle machine: within 25 s)")
        self.assertIn("mem0   1 GiB", self.up_output.stdout)  # the picture
        status = json.loads(self.bed("status", "--json").stdout)
        self.assertEqual([(h["name"], h["state"]) for h in status["hosts"]],
                         [("h1", "running"), ("h2", "running")])
        for host in ("h1", "h2"):
            self.assertEqual(self.bed.out(host, "cat", "/run/mark"), host)
            self.assertEqual(self.bed.out(host, "hostname"), host)
            self.assertEqual(self.bed.sh(host, '. /etc/testbed.env; echo "$HOST"'), host)
        self.assertEqual(self.bed("splats", "--all").returncode, 0)

    def test_01_image(self):
        self.assertEqual(self.bed.sh("h1", "readlink /lib; wc -c < /lib/testbed-test/file"),
                         "usr/lib\n256")
        loaded = self.bed.out("h1", "lsmod")
        for module in ("cxl_pci", "cxl_acpi", "dax_hmem", "device_dax", "kmem"):
            self.assertNotIn(module, loaded)  # loading them is the overlays' business
        self.assertEqual(self.bed.sh("h1", "modprobe -a device_dax kmem && lsmod | grep -c '^kmem'"),
                         "1")
        self.assertIn("node 0 size", self.bed.out("h1", "numactl", "-H"))
        self.assertRegex(self.bed.out("h1", "cat", "/sys/devices/system/node/possible"), "0-1")
        for program in ("cxl", "daxctl"):
            self.assertRegex(self.bed.out("h1", program, "--version"), r"^\d+")

    def test_02_env(self):
        done = subprocess.run(["sh", "-c", 'eval "$("$0" env --dir "$1")" && '
                               'cat "$CXLPOOL_FABRIC" && echo "$TESTBED_HOSTS"',
                               str(common.TESTBED), str(self.bed.run)],
                              capture_output=True, text=True, check=True)
        fabric, _, hosts = done.stdout.rstrip("\n").rpartition("\n")
        self.assertEqual(hosts, "h1 h2")
        self.assertEqual([h["name"] for h in json.loads(fabric)["hosts"]], ["h1", "h2"])

    def test_03_up_again_is_refused(self):
        again = self.bed("up", "two-hosts")
        self.assertEqual(again.returncode, 1)
        self.assertIn("a testbed runs already in", again.stderr)

    # ---- exec -------------------------------------------------------------------------------

    def test_10_streams_and_code(self):
        done = self.bed.exec("h1", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("out\n", "err\n", 7))

    def test_11_argv_is_not_split(self):
        arguments = ["a b", "", "*", "$HOME", "new\nline", "ümläut", "--timeout", "-n"]
        self.assertEqual(self.bed.out("h1", "printf", "%s|", *arguments),
                         "|".join(arguments) + "|")

    def test_12_how_it_ends(self):
        self.assertEqual(self.bed.exec("h1", "sh", "-c", "kill -9 $$").returncode, 137)
        missing = self.bed.exec("h1", "no-such-program")
        self.assertEqual(missing.returncode, 127)
        self.assertIn("h1: no-such-program: No such file", missing.stderr)
        self.assertEqual(self.bed.exec("h1", "/etc").returncode, 126)
        unknown = self.bed.exec("h9", "true")
        self.assertEqual((unknown.returncode, unknown.stderr),
                         (1, "testbed: there is no host h9: this testbed has h1, h2\n"))

    def test_13_stdin_binary(self):
        data = os.urandom(3 << 20) + bytes(range(256)) * 64
        done = self.bed.exec("h1", "cat", input=data, text=False)
        self.assertEqual(done.stdout, data)
        file = self.bed.folder / "data"
        file.write_bytes(data)
        with open(file, "rb") as stdin:  # a file is another kind of stdin than a pipe
            self.assertEqual(self.bed.exec("h1", "wc", "-c", stdin=stdin).stdout.strip(),
                             str(len(data)))
        self.assertEqual(self.bed.exec("h1", "cat", stdin=subprocess.DEVNULL).stdout, "")
        self.assertEqual(self.bed.exec("h1", "-n", "cat", input="x").stdout, "")

    def test_14_stdin_that_nobody_reads(self):
        data = b"x" * (1 << 20)
        self.assertEqual(self.bed.exec("h1", "head", "-c", "3", input=data, text=False).stdout,
                         b"xxx")
        self.assertEqual(self.bed.exec("h1", "sleep", "1", input=data, text=False).returncode, 0)

    def test_15_timeout(self):
        began = time.monotonic()
        done = self.bed.exec("h1", "--timeout", "1", "sh", "-c", "sleep 4711; true")
        self.assertEqual(done.returncode, 124)
        self.assertIn("did not end within 1 s and was killed", done.stderr)
        self.assertLess(time.monotonic() - began, 10)
        self.wait_gone("h1", "sleep 4711")
        stubborn = self.bed.exec("h1", "--timeout", "1", "sh", "-c",
                                 "trap '' TERM; while :; do sleep 0.2; done")
        self.assertEqual(stubborn.returncode, 124)

    def test_16_parallel(self):
        def one(n):
            return self.bed.exec(f"h{1 + n % 2}", "sh", "-c", f"sleep 0.{n % 10}; cat; echo {n}",
                                 input=f"in {n}\n").stdout
        # Three times as many as a guest has ports: each port passes from hand to hand at once,
        # which once lost a request to the hang-up of the caller before.
        with concurrent.futures.ThreadPoolExecutor(48) as pool:
            self.assertEqual(list(pool.map(one, range(48))),
                             [f"in {n}\n{n}\n" for n in range(48)])

    def test_17_interrupt_and_kill(self):
        for number, code, marker in ((signal.SIGINT, 130, "sleep 1234"),
                                     (signal.SIGKILL, -9, "sleep 1235")):
            call = self.bed.popen("h1", *marker.split(), stderr=subprocess.DEVNULL)
            while marker not in self.bed.out("h1", "ps", "-o", "args"):
                time.sleep(0.1)
            call.send_signal(number)
            self.assertEqual(call.wait(20), code)
            self.wait_gone("h1", marker)

    def test_18_a_daemon_does_not_hold_the_call(self):
        began = time.monotonic()
        self.assertEqual(self.bed.sh("h1", "sleep 30 & echo started"), "started")
        self.assertLess(time.monotonic() - began, 10)
        # What the command itself wrote arrives, up to a full pipe, and what the daemon writes ends.
        call = self.bed.popen("h1", "sh", "-c", "head -c 65536 /dev/zero >&2; cat /dev/zero & sleep 1",
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertEqual(len(call.communicate(timeout=60)[1]), 65536)
        self.wait_gone("h1", "cat /dev/zero")

    def test_19_shell(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(str(common.TESTBED), ["testbed", "shell", "--dir", str(self.bed.run), "h1"])
        os.write(fd, b"tty; stty size; echo $((40+2)); exit 3\n")
        text, deadline = b"", time.monotonic() + 30
        while time.monotonic() < deadline and select.select([fd], [], [], 30)[0]:
            try:
                data = os.read(fd, 4096)
            except OSError:
                break
            text += data
        else:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 3, text)
        self.assertIn(b"/dev/pts/", text)
        self.assertIn(b"42\r\n", text)

    def test_20_logs(self):
        self.assertIn("testbed: h1 is ready", self.bed("logs", "h1").stdout)
        self.assertIn("qemu-system-x86_64", self.bed("logs", "h1", "--qemu").stdout)

    # ---- isolation --------------------------------------------------------------------------

    def serve(self, host):
        """What fmd does: a socket that only this host's QEMU may use."""
        entry = next(h for h in json.loads((self.bed.run / "fmd.json").read_text())["hosts"]
                     if h["name"] == host)
        server = socket.socket(socket.AF_UNIX)
        server.bind(entry["socket"])
        os.chmod(entry["socket"], 0o600)
        os.chown(entry["socket"], entry["socket_uid"], -1)
        server.listen()

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(4096)
                body = f"only for {host}".encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                                   + body)
                connection.close()
        threading.Thread(target=answer, daemon=True).start()
        self.addCleanup(os.unlink, entry["socket"])
        self.addCleanup(server.close)

    def get(self, host, url):
        return self.bed.exec(host, "--timeout", "20", "wget", "-q", "-T", "5", "-O", "-", url)

    def test_30_each_guest_reaches_its_own_socket_alone(self):
        self.assertNotEqual(self.get("h1", "http://10.0.2.100:7000/").returncode, 0)
        for host in ("h1", "h2"):
            self.serve(host)
        for host in ("h1", "h2"):
            self.assertEqual(self.get(host, "http://10.0.2.100:7000/").stdout, f"only for {host}")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.assertNotEqual(
            self.get("h1", f"http://10.0.2.2:{listener.getsockname()[1]}/").returncode, 0)

    def test_31_many_connections_at_once(self):
        self.serve("h2")
        self.assertEqual(self.bed.sh("h2", "for i in 1 2 3 4 5 6; do wget -q -T 20 -O - "
                                     "http://10.0.2.100:7000/ & done; wait"),
                         "only for h2" * 6)

    def test_32_qemu_has_no_privileges_and_sees_little(self):
        for host in ("h1", "h2"):
            status = Path(f"/proc/{self.bed.pid(host)}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            self.assertEqual(fields["Uid"].split(), [str(self.bed.uids(host).pop())] * 4)
            self.assertNotEqual(fields["Uid"].split()[0], "0")
            self.assertEqual(int(fields["CapEff"], 16), 0)
            self.assertEqual(int(fields["CapPrm"], 16), 0)
            self.assertEqual(fields["Seccomp"].strip(), "2")
            self.assertEqual(fields["NoNewPrivs"].strip(), "1")
            if AS_ROOT:
                jail = Path(f"/proc/{self.bed.pid(host)}/root")
                self.assertEqual(sorted(os.listdir(jail / "run")), ["boot", "host", "pool"])
                self.assertFalse((jail / str(self.bed.run).lstrip("/")).exists())
        if AS_ROOT:
            self.assertEqual(len(self.bed.uids("h1", "h2")), 2)

    def test_33_files_are_the_callers(self):
        for path in [self.bed.run, self.bed.run / "pool/mem0.pool"] + \
                list((self.bed.run / "h1").glob("*.sock")):
            mode = os.stat(path).st_mode
            self.assertEqual(stat.S_IMODE(mode) & 0o077, 0, path)
            self.assertEqual(os.stat(path).st_uid, os.geteuid(), path)

    def test_34_qemu_holds_nothing_of_the_callers(self):
        # `testbed up | tee log` once never ended, and a caller's flock was never released.
        self.assertEqual(select.select([self.callers_pipe], [], [], 0)[0], [self.callers_pipe])
        self.assertEqual(os.read(self.callers_pipe, 1), b"")  # the end: nobody else has it open

    # ---- QMP --------------------------------------------------------------------------------

    def test_40_two_monitors(self):
        with socket.socket(socket.AF_UNIX) as fmd:  # fmd holds its own for ever
            fmd.connect(str(self.bed.run / "h1/qmp-fmd.sock"))
            self.assertIn(b'"QMP"', fmd.recv(4096))
            answer = self.bed("qmp", "h1", "query-status")
            self.assertEqual(json.loads(answer.stdout)["return"]["status"], "running")
        # An add that names an extent twice never has an effect, and its error tells that the
        # device is there and has dynamic capacity.
        extent = {"offset": 0, "len": 2 << 20}
        answer = self.bed("qmp", "h1", json.dumps(
            {"execute": "cxl-add-dynamic-capacity",
             "arguments": {"path": "/machine/peripheral/cxl-mem0", "host-id": 0, "region": 0,
                           "selection-policy": "prescriptive", "tag": "",
                           "extents": [extent, extent]}}))
        self.assertEqual(answer.returncode, 1)
        self.assertIn("duplicate or overlapped", json.loads(answer.stdout)["error"]["desc"])
        self.assertEqual(self.bed("qmp", "h1", "{").returncode, 2)

    # ---- life of a host ---------------------------------------------------------------------

    def test_50_reboot(self):
        boot = "/proc/sys/kernel/random/boot_id"
        before, other, pid = self.bed.out("h1", "cat", boot), self.bed.out("h2", "cat", boot), \
            self.bed.pid("h1")
        call = self.bed.popen("h1", "sleep", "1000", stderr=subprocess.PIPE, text=True)
        while "sleep 1000" not in self.bed.out("h1", "ps", "-o", "args"):
            time.sleep(0.1)
        done = self.bed("reboot", "h1")
        self.assertEqual(done.returncode, 0, done.stderr)
        after = self.bed.out("h1", "cat", boot)
        self.assertNotEqual(after, before)
        self.assertEqual(self.bed.out("h2", "cat", boot), other)
        self.assertEqual(self.bed.pid("h1"), pid)
        self.assertIn("the guest rebooted under the command", call.communicate(timeout=20)[1])
        self.assertEqual(call.returncode, 1)
        self.assertEqual(self.bed("reboot", "--hard", "h1").returncode, 0)
        self.assertNotIn(self.bed.out("h1", "cat", boot), (before, after))
        self.assertEqual(self.bed.out("h1", "cat", "/run/mark"), "h1")

    def test_51_kill_and_start(self):
        old = self.bed.pid("h2")
        call = self.bed.popen("h2", "sleep", "1000", stderr=subprocess.PIPE, text=True)
        while "sleep 1000" not in self.bed.out("h2", "ps", "-o", "args"):
            time.sleep(0.1)
        self.assertEqual(self.bed("kill", "h2").returncode, 0)
        self.assertFalse(processes_of(self.bed.uids("h2")) if AS_ROOT else [])
        self.assertIn("h2: QEMU ended", call.communicate(timeout=20)[1])
        self.assertIn("h2 is not running", self.bed.exec("h2", "true").stderr)
        self.assertIn("h2 does not run", self.bed("kill", "h2").stderr)
        self.assertRegex(self.bed("status").stdout, r"h2 +down")
        late = self.bed("start", "--timeout", "1", "h2")
        self.assertEqual(late.returncode, 1, late.stderr)
        self.assertRegex(self.bed("status").stdout, r"h2 +down")  # not half up: it can be tried again
        done = self.bed("start", "h2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(self.bed.pid("h2"), old)
        self.assertEqual(self.bed.out("h2", "hostname"), "h2")
        self.assertIn("h2 runs already", self.bed("start", "h2").stderr)

    def test_52_stop_and_cont(self):
        self.assertEqual(self.bed("stop", "h1").returncode, 0)
        self.assertRegex(self.bed("status").stdout, r"h1 +paused")
        grace, agent.GRACE = agent.GRACE, 1
        try:
            with self.assertRaisesRegex(agent.Lost, "h1: the guest does not answer 1 s after the "
                                                    "time-out of 0.5 s: it hangs or is stopped"):
                agent.run("h1", self.bed.run / "h1/agent", ["true"], timeout=0.5,
                          on_output=lambda *_: None)
        finally:
            agent.GRACE = grace
        self.assertEqual(self.bed.out("h2", "hostname"), "h2")
        self.assertEqual(self.bed("cont", "h1").returncode, 0)
        self.assertEqual(self.bed.out("h1", "hostname"), "h1")

    # ---- a second testbed -------------------------------------------------------------------

    def test_60_second_testbed(self):
        file = self.other.folder / "one.json"
        file.write_text(json.dumps({"name": "one", "pools": [{"name": "p", "size": "256M"}],
                                    "hosts": [{"name": "h1", "memory": "512M", "cpus": 1,
                                               "devices": [{"pool": "p"}], "empty_ports": 1}]}))
        up = self.other("up", file, "--overlay",
                        overlay(self.other.folder / "overlay", "touch /run/there; exit 5"))
        # A script of the overlay fails: that is told, and the host is there to be looked at.
        self.assertEqual(up.returncode, 1)
        self.assertIn("h1: /etc/testbed.d/10-mark.sh failed with code 5", up.stderr)
        self.assertEqual(self.other.out("h1", "ls", "/run/there"), "/run/there")
        self.assertNotEqual(self.bed.exec("h1", "ls", "/run/there").returncode, 0)
        if AS_ROOT:
            self.assertFalse(self.other.uids("h1") & self.bed.uids("h1", "h2"))

        self.assertEqual(self.other("splats", "h1").returncode, 0)
        self.other.sh("h1", "echo 'BUG: said by the test' > /dev/kmsg; sleep 1")
        found = self.other("splats", "--all")
        self.assertEqual(found.returncode, 1)
        self.assertIn("BUG: said by the test", found.stdout)
        self.assertEqual(self.bed("splats", "--all").returncode, 0)

        self.assertEqual(self.other("down").returncode, 0)
        self.assertEqual(self.bed.out("h1", "hostname"), "h1")

        # The same folder again: what stood in the pool is still there. testbed is killed while
        # the guest boots, and `down` still finds what it left.
        pool = self.other.run / "pool/p.pool"
        with open(pool, "r+b") as f:
            f.write(b"old bytes")
        again = subprocess.Popen([*common.COMMAND, "up", "--dir", str(self.other.run), str(file)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (self.other.run / "h1/qmp.sock").exists():
            time.sleep(0.02)
        again.kill()
        again.wait()
        pid = self.other.pid("h1")
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        self.assertIn("ended h1", self.other("down").stderr)
        self.assertNotIn("qemu", Path(f"/proc/{pid}/cmdline").read_text()
                         if os.path.exists(f"/proc/{pid}") else "")
        with open(pool, "rb") as f:
            self.assertEqual(f.read(9), b"old bytes")

    def test_61_in_root(self):
        folder = self.bed.folder / "in root"
        folder.mkdir()
        done = testbed("in-root", "--bind", folder, "--", "sh", "-c",
                       "pwd; gcc-14 -dumpversion; touch made; touch /usr/x 2>&1; exit 9",
                       env={"CXLPOOL_CACHE": os.environ.get("CXLPOOL_CACHE", "")})
        self.assertEqual(done.returncode, 9)
        self.assertEqual(done.stdout.splitlines()[:2], [str(folder), "14"])
        self.assertTrue((folder / "made").exists())
        self.assertIn("Read-only", done.stdout)
        self.assertEqual(mounts(), self.mounts_before)
        refused = testbed("in-root", "--bind", folder, "--cwd", "/home", "--", "true")
        self.assertIn("--cwd /home is not inside the root", refused.stderr)

    def test_62_the_folder_works_alone(self):
        # As the README says: without the rest of the repository, and from anywhere.
        folder = self.other.folder / "alone"
        shutil.copytree(common.FOLDER, folder, ignore=shutil.ignore_patterns("demo"))
        file = folder / "one.json"
        file.write_text(json.dumps({"name": "one", "pools": [{"name": "p", "size": "256M"}],
                                    "hosts": [{"name": "h1", "memory": "512M",
                                               "devices": [{"pool": "p"}]}]}))

        def alone(*words):
            return subprocess.run([str(folder / "testbed"), *words], cwd=folder, timeout=300,
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env={**os.environ, "CXLPOOL_TESTBED_DIR": "run"})
        began = time.monotonic()
        up = alone("up", "one.json")
        self.addCleanup(alone, "down")
        self.assertEqual(up.returncode, 0, up.stderr)
        print(f"one host booted in {time.monotonic() - began:.1f} s (an idle machine: within 15 s)")
        self.assertEqual(alone("exec", "h1", "hostname").stdout, "h1\n")
        self.assertIn("ended h1", alone("down").stderr)

    # ---- down -------------------------------------------------------------------------------

    def test_90_no_splat_in_all_this(self):
        found = self.bed("splats", "--all")
        self.assertEqual(found.returncode, 0, found.stdout)

    def test_99_down_leaves_nothing(self):
        pids = [self.bed.pid("h1"), self.bed.pid("h2")]
        self.assertIn("ended h1, h2", self.bed("down").stderr)
        for pid in pids:
            file = Path(f"/proc/{pid}/cmdline")
            self.assertNotIn("qemu", file.read_text() if file.exists() else "")
        if AS_ROOT:
            time.sleep(1.5)  # a relay lingers for a second
            self.assertEqual(processes_of(self.bed.uids("h1", "h2")), [])
        self.assertEqual(mounts(), self.mounts_before)
        left = [p for p in self.bed.run.rglob("*") if p.is_socket()]
        self.assertEqual(left, [])
        self.assertEqual(self.bed("down").returncode, 0)
        self.assertRegex(self.bed("status").stdout, r"h1 +down")


def main() -> int:
    root = testbed("root", timeout=1800)
    if root.returncode:
        print(f"skipped: no root can be had here: {root.stderr.strip().splitlines()[-1]}")
        return 77
    result = unittest.main(exit=False, verbosity=2).result
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
