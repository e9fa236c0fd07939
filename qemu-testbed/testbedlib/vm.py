# SPDX-License-Identifier: Apache-2.0
"""Start and end the QEMU process of one host."""

import os
import signal
import sys
import time
from pathlib import Path

from . import jail, qemu_args
from .errors import Fault
from .process import Process, record
from .qmp import Qmp
from .rundir import RunDir
from .topology import Host, Topology

PLACES = qemu_args.Places()
QEMU = "/usr/bin/qemu-system-x86_64"


def pid_file(run: RunDir, host: str) -> Path:
    return run.host(host) / "qemu.pid"


def process(run: RunDir, host: str) -> Process:
    return Process(pid_file(run, host))


def start(run: RunDir, topology: Topology, host: Host, root: Path, kernel: Path,
          relay: Path) -> None:
    """Start QEMU and return when it answers; the guest boots on. QEMU outlives this process."""
    folder = run.host(host.name)
    privileged = os.geteuid() == 0
    uid = run.uid(host.name)
    places = qemu_args.Places(user=f"{uid}:{uid}" if privileged else "")
    argv = qemu_args.argv(topology, host, places, QEMU)
    binds = [jail.Bind(str(folder), places.host),
             jail.Bind(str(kernel), places.kernel, writable=False),
             jail.Bind(str(run.path / "initrd"), places.initrd, writable=False),
             jail.Bind(str(relay), places.relay, writable=False),
             *[jail.Bind(f"/dev/{n}", f"/dev/{n}") for n in ("null", "zero", "urandom")],
             *[jail.Bind(str(run.pool_file(d.pool)), f"{places.pool}/{d.pool}.pool")
               for d in host.devices]]
    _remove_sockets(folder)
    with open(folder / "qemu.log", "ab") as log:
        log.write(("$ " + " ".join(argv) + "\n").encode())
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become_qemu(run, host.name, root, binds, argv, privileged)  # does not return
    _wait_until_qmp_answers(run, host.name, pid)


def _become_qemu(run: RunDir, host: str, root: Path, binds, argv, privileged: bool) -> None:
    code = 127
    try:
        os.setsid()
        os.umask(0o077)
        log = os.open(run.host(host) / "qemu.log", os.O_WRONLY | os.O_APPEND)
        null = os.open("/dev/null", os.O_RDWR)
        for fd, to in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, to)
        record(pid_file(run, host), os.getpid())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.umask(0o022)  # for what stands between the jail's / and the bound files
        jail.enter(root, binds, "/", folders=("usr",))
        os.umask(0o077)
        jail.drop_privileges((jail.CAP_SETUID, jail.CAP_SETGID) if privileged else ())
        os.execve(argv[0], argv, {"PATH": "/usr/bin", "LC_ALL": "C"})
    except Fault as e:
        os.write(2, f"testbed: {e}\n".encode())
    except OSError as e:
        os.write(2, f"testbed: QEMU cannot be started: {e}\n".encode())
    finally:
        os._exit(code)


def _wait_until_qmp_answers(run: RunDir, host: str, pid: int, seconds: float = 20) -> None:
    socket = run.host(host) / "qmp.sock"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            raise Fault(f"{host}: QEMU did not start: {last_line(run.host(host) / 'qemu.log')}")
        if socket.exists():
            try:
                with Qmp(socket, host, timeout=deadline - time.monotonic() + 1):
                    return
            except Fault:
                pass  # not listening yet, or already gone: the next round tells
        time.sleep(0.02)
    end(run, [host])
    raise Fault(f"{host}: QEMU does not answer within {seconds:.0f} s: "
                f"{last_line(run.host(host) / 'qemu.log')}")


def last_line(file: Path) -> str:
    try:
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].removeprefix("testbed: ") if lines and not lines[-1].startswith("$ ") \
        else f"it says nothing in {file}"


def end(run: RunDir, hosts: list[str], at_once: bool = False) -> list[str]:
    """End the QEMU processes of these hosts, and only those. Returns the ones that ran."""
    running = [(h, process(run, h)) for h in hosts]
    ran = [h for h, p in running if p.pid]
    for _, p in running:
        p.send(signal.SIGKILL if at_once else signal.SIGTERM)
    for host, p in running:
        if not p.wait(3):
            p.send(signal.SIGKILL)
            if not p.wait(10):
                raise Fault(f"{host}: QEMU (pid {p.pid}) does not end even when killed")
        try:  # a child of ours, when the same call started it: leave no zombie
            os.waitpid(p.pid, os.WNOHANG) if p.pid else None
        except ChildProcessError:
            pass
        p.close()
        pid_file(run, host).unlink(missing_ok=True)
        _remove_sockets(run.host(host))
    return ran


def _remove_sockets(folder: Path) -> None:
    """QEMU's own; fmd.sock is fmd's."""
    for name in ("qmp.sock", "qmp-fmd.sock"):
        (folder / name).unlink(missing_ok=True)
    for socket in (folder / "agent").glob("*.sock"):
        socket.unlink(missing_ok=True)
