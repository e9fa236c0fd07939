# SPDX-License-Identifier: Apache-2.0
"""Start and end the QEMU process of one host."""

import contextlib
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
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
               for d in host.devices],
             *_plugin_bind(host, places)]
    _remove_sockets(folder)
    with open(folder / "qemu.log", "ab") as log:
        log.write(("$ " + " ".join(argv) + "\n").encode())
    sys.stdout.flush()
    sys.stderr.flush()
    # An interruption between the fork and the try would lose the child: it comes after.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid == 0:
        _become_qemu(run, host.name, root, binds, argv, privileged, mask)  # does not return
    child = os.pidfd_open(pid)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _wait_until_qmp_answers(run, host.name, pid)
    except BaseException:
        # end() finds a process by its pid file, which this one may not have made yet.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(child, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    finally:
        os.close(child)


def _plugin_bind(host: Host, places: qemu_args.Places) -> list[jail.Bind]:
    if not host.plugin:
        return []
    if not Path(host.plugin).is_file():
        raise Fault(f"{host.name}: the plugin {host.plugin} is no file")
    return [jail.Bind(os.path.abspath(host.plugin), places.plugin, writable=False)]


def _become_qemu(run: RunDir, host: str, root: Path, binds, argv, privileged: bool, mask) -> None:
    code = 127
    try:
        os.setsid()
        os.umask(0o077)
        log = os.open(run.host(host) / "qemu.log", os.O_WRONLY | os.O_APPEND)
        null = os.open("/dev/null", os.O_RDWR)
        for fd, to in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, to)
        # QEMU outlives the caller: a pipe or a lock of theirs must not stay open in it.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        record(pid_file(run, host), os.getpid())
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
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
