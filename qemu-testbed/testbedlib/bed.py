# SPDX-License-Identifier: Apache-2.0
"""A testbed as a whole: up, down, and the life of each host in it."""

import json
import sys
import time
from pathlib import Path

from . import agent, image, root as roots, vm
from .errors import Fault
from .qmp import Qmp
from .rundir import RunDir
from .topology import Topology, show_size

BOOT_SILENCE_S = 45  # of the console in the middle of a boot
BOOT_TIMEOUT = 240.0  # an idle machine needs 10 to 20 s, one that compiles on all CPUs 10 times that


def say(text: str) -> None:
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def up(run: RunDir, topology: Topology, source: dict, overlays: list[Path],
       timeout: float) -> None:
    run.prepare(topology)
    with run.lock():
        _refuse_running(run)
        root = roots.ensure()
        run.make_hosts(topology)
        run.make_pools(topology)
        image.compose(image.base(root), overlays, run.path / "initrd")
        run.write_json("topology.json", source)
        run.write_json("fmd.json", run.fabric(topology))
        run.write_json("root.json", {"root": str(root), "kernel": roots.kernel(root)})
        for line in topology.picture:
            print(line)
        names = [h.name for h in topology.hosts]
        for name in names:  # a new life: its log begins empty
            for log in ("console.log", "qemu.log"):
                (run.host(name) / log).unlink(missing_ok=True)
        say(f"booting {', '.join(names)} ({show_size(sum(h.memory for h in topology.hosts))} of "
            f"memory at most) in {run}")
        began = time.monotonic()
        try:
            for host in topology.hosts:
                _start_process(run, topology, host.name)
            failed = [_wait(run, name, timeout, began) for name in names]
        except BaseException:
            vm.end(run, names, at_once=True)
            raise
        _report_scripts(failed)


def _refuse_running(run: RunDir) -> None:
    if not (run.path / "topology.json").exists():
        return
    for host in run.topology().hosts:
        with vm.process(run, host.name) as process:
            if process.pid:
                raise Fault(f"a testbed runs already in {run} ({host.name}, pid {process.pid}): "
                            f"end it with `testbed down --dir {run}`, or use another folder")


def _start_process(run: RunDir, topology: Topology, name: str) -> None:
    made_of = run_root(run)
    root = Path(made_of["root"])
    if not root.is_dir():
        raise Fault(f"the root {root} that {run} was made with is gone: run `testbed up` again")
    vm.start(run, topology, topology.host(name), root,
             root / "boot" / f"vmlinuz-{made_of['kernel']}", image.tools(root) / "relay")


def run_root(run: RunDir) -> dict:
    return json.loads((run.path / "root.json").read_text(encoding="utf-8"))


def _wait(run: RunDir, name: str, timeout: float, began: float, not_boot: str = "") -> str:
    """Wait until the guest is up; returns what of its set-up failed, "" when nothing did."""
    try:
        _wait_ready(run, name, began + timeout, not_boot)
    except agent.Lost as e:
        raise Fault(f"{name}: QEMU ended while the guest booted: "
                    f"{vm.last_line(run.host(name) / 'qemu.log')}") from e
    except Fault as e:
        raise Fault(f"{e} (its last line: {vm.last_line(run.host(name) / 'console.log')})") from e
    say(f"{name} is up after {time.monotonic() - began:.1f} s")
    out = bytearray()
    agent.run(name, run.host(name) / "agent", ["cat", "/run/testbed.failed"], timeout=20,
              on_output=lambda fd, data: out.extend(data) if fd == 1 else None)
    return "; ".join(f"{name}: {line}" for line in out.decode(errors="replace").splitlines())


def _wait_ready(run: RunDir, name: str, deadline: float, not_boot: str) -> None:
    """Seen once in some fifty boots: an emulated guest stops for ever right after its second CPU came up,
    before it has touched anything. Such a boot is reset, once, and that is said."""
    console = run.host(name) / "console.log"
    size, since, reset = -1, time.monotonic(), False
    while True:
        try:
            agent.wait_ready(name, run.host(name) / "agent", min(deadline, time.monotonic() + 5), not_boot)
            return
        except agent.Lost:
            raise
        except Fault:
            if time.monotonic() >= deadline:
                raise
        now = console.stat().st_size if console.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif not reset and time.monotonic() - since > BOOT_SILENCE_S:
            reset = True
            say(f"{name} has said nothing for {BOOT_SILENCE_S} s in the middle of its boot and is reset, once "
                f"(its last line: {vm.last_line(console)})")
            with Qmp(run.host(name) / "qmp.sock", name) as connection:
                connection.command("system_reset")


def _report_scripts(failed: list[str]) -> None:
    failed = [f for f in failed if f]
    if failed:
        raise Fault("; ".join(failed) + " (the hosts are up; `testbed logs HOST` tells more)")


def down(run: RunDir) -> None:
    if not (run.path / "topology.json").exists():
        say(f"nothing to end in {run}")
        return
    with run.lock():
        topology = run.topology()
        ran = vm.end(run, [h.name for h in topology.hosts])
        (run.path / "initrd").unlink(missing_ok=True)
    say(f"ended {', '.join(ran)}" if ran else "no host was running")


def start(run: RunDir, name: str, timeout: float) -> None:
    """Boot a host anew, with the same files: a power cycle for its devices."""
    topology = run.topology()
    topology.host(name)
    with run.lock():
        with vm.process(run, name) as process:
            if process.pid:
                raise Fault(f"{name} runs already (pid {process.pid})")
        if not (run.path / "initrd").exists():
            raise Fault(f"the testbed in {run} is down: run `testbed up` again")
        began = time.monotonic()
        try:
            _start_process(run, topology, name)
            failed = _wait(run, name, timeout, began)
        except BaseException:
            vm.end(run, [name], at_once=True)
            raise
        _report_scripts([failed])


def kill(run: RunDir, name: str) -> None:
    run.topology().host(name)
    with run.lock():
        if not vm.end(run, [name], at_once=True):
            raise Fault(f"{name} does not run")
    say(f"killed {name}")


def reboot(run: RunDir, name: str, timeout: float, hard: bool) -> None:
    """Reboot the guest within the same QEMU: its devices keep their state."""
    run.topology().host(name)
    folder = run.host(name) / "agent"
    began = time.monotonic()
    boot = agent.wait_ready(name, folder, began + timeout)
    if hard:
        with Qmp(run.host(name) / "qmp.sock", name) as qmp:
            qmp.command("system_reset")
    else:
        with agent.Port(name, folder, began + timeout) as port:
            port.send(b"B")
            # The port must stay open until the guest has read it.
            _wait_rebooting(port, began + timeout)
    _report_scripts([_wait(run, name, timeout, began, not_boot=boot)])


def _wait_rebooting(port: agent.Port, deadline: float) -> None:
    port.socket.settimeout(0.5)
    while time.monotonic() < deadline:
        if any(kind == b"A" for kind, _ in port.receive()):
            return
    raise Fault(f"{port.host}: the guest did not come back from its reboot in time")


def qmp(run: RunDir, name: str, request: dict) -> dict:
    run.topology().host(name)
    with Qmp(run.host(name) / "qmp.sock", name) as connection:
        return connection.execute(request)


def stop(run: RunDir, name: str, command: str) -> None:
    run.topology().host(name)
    with Qmp(run.host(name) / "qmp.sock", name) as connection:
        connection.command(command)


def status(run: RunDir) -> list[dict]:
    topology, rows = run.topology(), []
    for host in topology.hosts:
        with vm.process(run, host.name) as process:
            state = "down"
            if process.pid:
                try:
                    with Qmp(run.host(host.name) / "qmp.sock", host.name, timeout=5) as connection:
                        state = connection.command("query-status")["status"]
                except Fault:
                    state = "silent"
            rows.append({"name": host.name, "state": state, "pid": process.pid,
                         "memory": host.memory,
                         "devices": [d.pool for d in host.devices]})
    return rows


def env(run: RunDir) -> dict[str, str]:
    """What a shell, or fmd, needs to find this testbed."""
    topology = run.topology()
    values = {"CXLPOOL_TESTBED_DIR": str(run.path), "CXLPOOL_FABRIC": str(run.path / "fmd.json"),
              "TESTBED": str(image.TESTBED), "TESTBED_ROOT": run_root(run)["root"],
              "TESTBED_KERNEL": run_root(run)["kernel"],
              "TESTBED_HOSTS": " ".join(h.name for h in topology.hosts)}
    return values
