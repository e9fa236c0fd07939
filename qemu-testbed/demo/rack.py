# SPDX-License-Identifier: Apache-2.0
"""A pooled rack on this machine: guests of a testbed, with fmd over them.

The demo, `make rack` and the guest tests all drive the same thing through this class. It knows how
to start, kill and ask; what must come of it is its callers' business. Everything it makes stands
in one folder, and down() leaves no process behind, whatever happened before.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
TESTBED = HERE.parent / "testbed"
GIANT, TWO_HOSTS = "giant", "two-hosts"
MIB = 1 << 20
PAUSE_POINTS = ("after-record", "after-command", "after-reply")


class Fault(Exception):
    """One sentence: what went wrong, with object and numbers."""


def program(name: str) -> str:
    """fmd or fmctl of the host build: as the Makefile says, else found in build/host."""
    own = os.environ.get(f"CXLPOOL_{name.upper()}")
    if own and os.access(own, os.X_OK):
        return own
    for file in sorted((CHECKOUT / "build/host").rglob(name)):
        if file.is_file() and os.access(file, os.X_OK):
            return str(file)
    raise Fault(f"there is no {name} in build/host: run `make` first")


def overlay() -> Path:
    path = Path(os.environ.get("CXLPOOL_OVERLAY") or CHECKOUT / "build/overlay")
    if not path.is_dir():
        raise Fault(f"the guests' programs are not built ({path} is missing): run `make guest` first")
    return path


def until(what, seconds: float, sentence, every: float = 0.1):
    """Call `what` until it gives something; after `seconds` the sentence (or a function that makes
    one) is a Fault."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise Fault(sentence() if callable(sentence) else sentence)
        time.sleep(every)


class Result:
    """What a command wrote and how it ended. A command that fails is a Fault where it must not."""

    def __init__(self, shown: str, code: int, out: bytes, err: bytes):
        self.shown, self.code, self.raw = shown, code, out
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")

    def must(self, code: int = 0) -> "Result":
        if self.code != code:
            said = (self.err or self.out).strip().splitlines()
            raise Fault(f"`{self.shown}` ended with code {self.code} instead of {code}" +
                        (f": {said[-1]}" if said else ""))
        return self

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise Fault(f"`{self.shown}` did not print JSON: {self.out[:200]!r}") from None


class Held:
    """A `memtool hold` in a guest: memory with a known pattern, until let go."""

    def __init__(self, rack: "Rack", host: str, node: int, size: int, label: str, sparse: bool = False):
        self.shown = f"memtool hold {node} {size // MIB}M {label}{' sparse' if sparse else ''}"
        self._process = rack.popen(host, *self.shown.split())
        self.pid, self.nodes = 0, {}
        line = self._process.stdout.readline().decode()
        if not line.startswith("pid "):
            self._process.wait()
            raise Fault(f"`{self.shown}` did not start on {host}: "
                        f"{self._process.stderr.read().decode(errors='replace').strip() or line}")
        self.pid = int(line.split()[1])
        self.said = line.strip()

    def check(self) -> str:
        """Reads all of it back. Returns the sentence; a lost byte is a Fault."""
        self._process.stdin.write(b"check\n")
        self._process.stdin.flush()
        self.nodes = {}
        for raw in self._process.stdout:
            line = raw.decode().strip()
            if line.startswith("node"):
                self.nodes[int(line.split()[0][4:])] = int(line.split()[1])
            elif " bytes are " in line:
                same, _, size = line.split()[:3]
                if same != size:
                    raise Fault(f"memory was lost: {line}")
                return line
        raise Fault(f"`{self.shown}` ended: {self._process.stderr.read().decode().strip()}")

    def first_nodes(self) -> dict[int, int]:
        """Where the pages are now: node → pages."""
        self.check()
        return self.nodes

    def let_go(self) -> None:
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


class Rack:
    def __init__(self, topology: str, folder: Path, say=lambda text: None, overlays: tuple = ()):
        """Overlays of the guests: those given, else what `make guest` has staged."""
        self.topology, self.folder, self.say = topology, Path(os.path.abspath(folder)), say
        self.overlays = overlays
        self.fmd_folder = self.folder / "fmd"
        self.socket = self.fmd_folder / "fmd.sock"
        self.fmd_log = self.fmd_folder / "fmd.log"
        self._fmd: subprocess.Popen | None = None
        self._children: list[subprocess.Popen] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    # ---- the whole ---------------------------------------------------------------------------

    def up(self, *, keep_pools: bool = False) -> float:
        """Boot the guests (fmd is started apart). Returns the seconds it took."""
        began = time.monotonic()
        if (self.folder / "topology.json").exists():
            self.testbed("down", timeout=60)
        if not keep_pools:
            for file in self.folder.glob("pool/*.pool"):
                file.unlink()
        for file in self.fmd_folder.glob("state.db*"):
            file.unlink()
        overlays = [word for folder in self.overlays or (overlay(),) for word in ("--overlay", str(folder))]
        self.testbed("up", self.topology, *overlays, timeout=600).must()
        self.fmd_folder.mkdir(mode=0o700, exist_ok=True)
        self.fmd_log.unlink(missing_ok=True)
        return time.monotonic() - began

    def down(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
        self._children.clear()
        if self._fmd:
            self.fmd_stop()
        if (self.folder / "topology.json").exists():
            self.testbed("down", timeout=60)

    @property
    def hosts(self) -> list[str]:
        return [h["name"] for h in self.fabric()["hosts"]]

    def fabric(self) -> dict:
        return json.loads((self.folder / "fmd.json").read_text())

    def picture(self) -> list[str]:
        """The topology, drawn."""
        return json.loads((self.folder / "topology.json").read_text()).get("picture", [])

    # ---- commands ----------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        return {**os.environ, "CXLPOOL_SERVER": str(self.socket),
                "CXLPOOL_TESTBED_DIR": str(self.folder)}

    def run(self, argv: list[str], shown: str, timeout: float, stdin: bytes = b"") -> Result:
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout,
                                  env=self.environment(), cwd=CHECKOUT)
        except subprocess.TimeoutExpired:
            raise Fault(f"`{shown}` did not end within {timeout:g} s") from None
        return Result(shown, done.returncode, done.stdout, done.stderr)

    def testbed(self, verb: str, *args: str, timeout: float = 60, stdin: bytes = b"") -> Result:
        return self.run([sys.executable, str(TESTBED), verb, "--dir", str(self.folder), *args],
                        " ".join(["testbed", verb, *args]), timeout, stdin)

    def host(self, host: str, *argv: str, timeout: float = 60, stdin: bytes | None = None) -> Result:
        """Run a program in a guest."""
        options = ["--timeout", f"{timeout:g}"] + ([] if stdin is not None else ["-n"])
        return self.run([sys.executable, str(TESTBED), "exec", "--dir", str(self.folder), *options,
                         host, *argv], f"{host}: {' '.join(argv)}", timeout + 20, stdin or b"")

    def popen(self, host: str, *argv: str, seconds: int = 600) -> subprocess.Popen:
        """Start a program in a guest and leave it running, its stdin and stdout on pipes: for so
        long, so that nobody reads for ever from a guest that hangs."""
        child = subprocess.Popen(
            [sys.executable, str(TESTBED), "exec", "--dir", str(self.folder), "--timeout", str(seconds), host,
             *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment())
        self._children.append(child)
        return child

    def hold(self, host: str, node: int, size: int, label: str, sparse: bool = False) -> Held:
        """Sparse: the first line of each page stands for it; far nodes are slow here."""
        return Held(self, host, node, size, label, sparse)

    def fmctl(self, *args: str, timeout: float = 90) -> Result:
        return self.run([program("fmctl"), *args], " ".join(["fmctl", *args]), timeout)

    def fmctl_start(self, *args: str) -> subprocess.Popen:
        child = subprocess.Popen([program("fmctl"), *args], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=self.environment())
        self._children.append(child)
        return child

    # ---- fmd ---------------------------------------------------------------------------------

    def fmd_argv(self, *more: str, binary: str = "") -> list[str]:
        # fmd names its fabric by the path it was given: a short one, from the checkout.
        return [binary or program("fmd"), "--backend=qmp",
                "--fabric", os.path.relpath(self.folder / "fmd.json", CHECKOUT),
                "--state", str(self.fmd_folder / "state.db"), "--socket", str(self.socket), *more]

    def fmd_shown(self, *more: str) -> str:
        """The command, as somebody in the checkout would type it."""
        here = f"{CHECKOUT}/"
        return " ".join(["fmd", *(a.removeprefix(here) for a in self.fmd_argv(*more)[1:]), "&"])

    def testbed_shown(self, verb: str, *args: str) -> str:
        folder = os.path.relpath(self.folder, CHECKOUT)
        return " ".join(["testbed", verb, "--dir", folder, *args])

    def up_shown(self) -> str:
        return self.testbed_shown("up", self.topology, "--overlay", os.path.relpath(overlay(), CHECKOUT))

    def fmd_start(self, *, pause_at: str = "", binary: str = "", argv: list[str] | None = None) -> None:
        """Start fmd and wait until it answers: another binary, or another command altogether."""
        if self._fmd and self._fmd.poll() is None:
            raise Fault("fmd runs already")
        options = [f"--pause-at={pause_at}"] if pause_at else []
        with open(self.fmd_log, "ab") as log:
            log.write(f"--- fmd {' '.join(options)}\n".encode())
            self._fmd = subprocess.Popen(argv or self.fmd_argv(*options, binary=binary), stdout=log,
                                         stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                         cwd=CHECKOUT)
        until(self._fmd_answers, 20, lambda: f"fmd does not answer: {self.fmd_said()}", 0.02)

    def _fmd_answers(self) -> bool:
        if self._fmd.poll() is not None:
            raise Fault(f"fmd ended with code {self._fmd.returncode}: {self.fmd_said()}")
        return self.socket.exists() and self.fmctl("fabric", "show", timeout=10).code == 0

    def fmd_said(self) -> str:
        lines = self.fmd_log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    @property
    def fmd_pid(self) -> int:
        return self._fmd.pid if self._fmd else 0

    def fmd_kill(self) -> None:
        """kill -9, also of one that is stopped at a pause point."""
        self._fmd.send_signal(signal.SIGKILL)
        self._fmd.wait()
        self._fmd = None

    def fmd_stop(self) -> int:
        """SIGTERM, as a service manager would; SIGKILL after 10 s."""
        if self._fmd.poll() is None:
            self._fmd.send_signal(signal.SIGTERM)
            self._fmd.send_signal(signal.SIGCONT)
        try:
            code = self._fmd.wait(10)
        except subprocess.TimeoutExpired:
            self._fmd.kill()
            code = self._fmd.wait()
        self._fmd = None
        return code

    def fmd_wait_end(self, seconds: float) -> int:
        """Wait until fmd ends by itself; its exit code."""
        until(lambda: self._fmd.poll() is not None, seconds,
              f"fmd did not end by itself within {seconds:g} s")
        code, self._fmd = self._fmd.returncode, None
        return code

    def fmd_wait_paused(self, seconds: float = 20) -> None:
        def stopped() -> bool:
            if self._fmd.poll() is not None:
                raise Fault(f"fmd ended with code {self._fmd.returncode}: {self.fmd_said()}")
            stat = Path(f"/proc/{self._fmd.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] == "T"
        until(stopped, seconds, lambda: f"fmd was not paused within {seconds:g} s: "
                                        f"{self.fmd_said()}", 0.02)

    # ---- hosts, grants -----------------------------------------------------------------------

    def wait_ready(self, *hosts: str, seconds: float = 40) -> None:
        """Wait until fmd calls these hosts (all, when none is named) ready."""
        wanted, last = set(hosts or self.hosts), {}

        def ready() -> bool:
            for host in self.fmctl("host", "list", "--json").must().json():
                last[host["name"]] = host["state_text"]
            return all(last.get(name) == "ready" for name in wanted)
        until(ready, seconds, lambda: "not ready after {:g} s: {}".format(seconds, ", ".join(
            f"{name} ({last.get(name, 'unknown')})" for name in sorted(wanted)
            if last.get(name) != "ready")))

    def wait_clean(self, seconds: float = 120) -> float:
        """Wait until every free byte is erased; the seconds it took."""
        began = time.monotonic()

        def clean() -> bool:
            devices = self.fmctl("fabric", "show", "--json").must().json()["devices"]
            return not any(device["dirty"] for device in devices)
        until(clean, seconds, f"the free rest of the pool is not erased after {seconds:g} s", 0.2)
        return time.monotonic() - began

    def grant(self, name: str) -> dict:
        """The grant as fmd shows it; state "unknown" when it never was, "gone" when it is no more."""
        result = self.fmctl("grant", "show", name, "--json")
        if result.code == 1 and "no grant" in result.err:
            return {"name": name, "state": "unknown", "extents": [], "seen": []}
        return result.must().json()

    def wait_grant(self, name: str, *states: str, seconds: float = 60) -> dict:
        last = {}

        def there():
            last.update(self.grant(name))
            return last["state"] in states
        until(there, seconds, lambda: f"{name} is {last['state']} after {seconds:g} s instead of "
                                      f"{' or '.join(states)}: "
                                      f"{last.get('reason') or last.get('waits_for')}")
        return last

    def create(self, name: str, size: str, *hosts: str, use: str = "ram", wait: bool = True) -> dict:
        argv = ["grant", "create", *[a for h in hosts for a in ("--host", h)], "--size", size,
                "--name", name, *(["--as", use] if use != "ram" else []),
                *(["--wait"] if wait else [])]
        self.fmctl(*argv).must()
        return self.grant(name)

    def release(self, name: str, seconds: float = 120) -> None:
        self.fmctl("grant", "release", name, "--wait", timeout=seconds).must()

    def release_all(self) -> None:
        for grant in self.fmctl("grant", "list", "--json").must().json():
            self.release(grant["name"])

    def doctor(self) -> Result:
        return self.fmctl("doctor", timeout=60)

    def healthy(self, seconds: float = 30) -> list[dict]:
        """Wait until journal, devices, drivers and nodes agree; the doctor's rows."""
        last = {}

        def agrees() -> bool:
            last["result"] = self.fmctl("doctor", "--json", timeout=60)
            return last["result"].code == 0
        until(agrees, seconds, lambda: f"after {seconds:g} s the doctor still finds: " + "; ".join(
            f"{r['extent']} {r['grant']} {r['host']}: {r['note']}"
            for r in last["result"].json()["rows"] if not r["ok"]), 0.3)
        return last["result"].json()["rows"]

    # ---- guests ------------------------------------------------------------------------------

    def kill_host(self, host: str) -> None:
        self.testbed("kill", host).must()

    def start_host(self, host: str) -> None:
        self.testbed("start", host, timeout=180).must()

    def reboot_host(self, host: str) -> None:
        """Returns when fmd has heard of the new boot: until then it believes the last report."""
        boot = self.host_view(host)["boot"]
        self.testbed("reboot", host, timeout=180).must()
        until(lambda: self.host_view(host)["boot"] != boot, 30, f"{host} has rebooted and fmd was not told")
        self.wait_ready(host)

    def host_view(self, host: str) -> dict:
        return self.fmctl("host", "show", host, "--json").must().json()

    def stop_host(self, host: str) -> None:
        self.testbed("stop", host).must()

    def cont_host(self, host: str) -> None:
        self.testbed("cont", host).must()

    def qmp(self, host: str, command: str, **arguments) -> dict:
        request = json.dumps({"execute": command, "arguments": arguments})
        return self.testbed("qmp", host, request).json()

    # ---- what the memory holds ---------------------------------------------------------------

    def pool_file(self, device: str) -> Path:
        return self.folder / "pool" / f"{device}.pool"

    def pool_bytes(self, extent: dict) -> bytes:
        """The bytes of an extent, out of the pool file: what the memory device itself holds."""
        with open(self.pool_file(extent["device"]), "rb") as file:
            file.seek(extent["dpa"])
            return file.read(extent["len"])

    def check_splats(self) -> None:
        """A Fault when any console log of this rack's life shows kernel trouble."""
        found = self.testbed("splats", "--all")
        if found.code:
            lines = found.out.strip().splitlines()
            raise Fault(f"kernel trouble in a guest, {len(lines)} lines; the first: {lines[0]}"
                        if lines else found.err.strip())


def pattern(label: str, size: int) -> bytes:
    """What `memtool fill` writes: lines of 64 bytes with their owner and offset."""
    head = label.encode()[:16].ljust(16)
    return b"".join((b"%s at %012d" % (head, at)).ljust(63) + b"\n" for at in range(0, size, 64))
