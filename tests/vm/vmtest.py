# SPDX-License-Identifier: Apache-2.0
"""What the guest tests share: one boot for many checks, each a story of its own.

A check is a function that takes the rack. It ends by returning, or by a Fault or a failed expect()
with one sentence. After a check that failed, the rack is put in order so that the next one is
judged by itself; each script ends with a look for kernel trouble in every console log.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(CHECKOUT / "qemu-testbed"), str(CHECKOUT / "qemu-testbed/demo")]

from rack import MIB, Fault, Rack, overlay, pattern, program, until  # noqa: E402,F401
from testbedlib import root as roots  # noqa: E402
from testbedlib.errors import Fault as TestbedFault  # noqa: E402

SKIP = 77


class Failed(Exception):
    pass


def expect(held, sentence: str) -> None:
    if not held:
        raise Failed(sentence)


def expect_in(wanted: str, text: str, what: str) -> None:
    expect(wanted in text, f'{what} does not say "{wanted}" but: {text.strip()[-300:]}')


def skip_unless_ready() -> None:
    """Exit 77 with the reason where guests cannot be booted."""
    try:
        if not roots.path().is_dir():
            raise Fault(f"the testbed's root is missing ({roots.path()}): run `make guest`")
        roots.check(roots.path())
        overlay()
        program("fmd"), program("fmctl")
    except (Fault, TestbedFault) as e:
        print(f"skipped: {e}")
        sys.exit(SKIP)


def recover(rack: Rack) -> None:
    """After a failed check: fmd and all guests run, no grant is left."""
    with contextlib.suppress(Fault, OSError, AttributeError):
        rack.fmd_kill()
    for host in rack.testbed("status", "--json").json()["hosts"]:
        if host["state"] == "down":
            rack.start_host(host["name"])
        elif host["state"] == "paused":
            rack.cont_host(host["name"])
    for host in rack.hosts:
        load_driver(rack, host)
        restart_poold(rack, host)
    rack.fmd_start()
    rack.wait_ready()
    rack.release_all()


def main(topology: str, checks: list, before_up=None, long: tuple = ()) -> None:
    """Boot, run the checks (those named on the command line, else all but the long ones), look for splats, go
    down."""
    skip_unless_ready()
    name = Path(sys.argv[0]).stem
    wanted = [c for c in [*checks, *long] if c.__name__ in sys.argv[1:]] if sys.argv[1:] else checks
    rack = Rack(topology, CHECKOUT / "build/vm" / name)
    failed, began = [], time.monotonic()
    try:
        if before_up:
            before_up(rack)
        rack.up(keep_pools=before_up is not None)
        rack.fmd_start()
        rack.wait_ready(seconds=60)
        print(f"booted {Path(topology).stem} in {time.monotonic() - began:.1f} s", flush=True)
        for check in wanted:
            failed += run_one(rack, check)
        rack.check_splats()
    except (Fault, TestbedFault, Failed) as e:
        print(f"FAILED: {e}")
        failed.append(name)
    finally:
        rack.down()
    if failed:
        print(f"{len(failed)} failed: {', '.join(failed)}; logs are in {rack.folder}")
    sys.exit(1 if failed else 0)


def run_one(rack: Rack, check) -> list[str]:
    began = time.monotonic()
    try:
        check(rack)
        print(f"ok      {check.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        return []
    except Exception as e:  # also a KeyError: the next checks shall still run
        said = str(e) if isinstance(e, (Fault, Failed)) else repr(e)
        print(f"FAILED  {check.__name__} ({time.monotonic() - began:.1f} s): {said}\n"
              f"        at {_where()}", flush=True)
    recover(rack)
    return [check.__name__]


def _where() -> str:
    frames = [f for f in traceback.extract_tb(sys.exc_info()[2]) if f.filename.endswith("_test.py")]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


# ---- things that tests do to guests ------------------------------------------------------------

def sh(rack: Rack, host: str, script: str, timeout: float = 60):
    return rack.host(host, "sh", "-c", script, timeout=timeout)


def kill_poold(rack: Rack, host: str) -> None:
    sh(rack, host, "kill -9 $(pidof poold)").must()


def restart_poold(rack: Rack, host: str) -> None:
    sh(rack, host, "pidof poold || sh /etc/testbed.d/20-poold.sh").must()


def load_driver(rack: Rack, host: str) -> None:
    sh(rack, host, "lsmod | grep -q '^cxl_dcd ' || sh /etc/testbed.d/10-driver.sh").must()


def driver_folder(rack: Rack, host: str) -> str:
    return sh(rack, host, "echo /sys/bus/pci/devices/*/dcd").must().out.split()[0]


def extents_of(rack: Rack, host: str) -> list[list[str]]:
    """What the driver itself lists: fields of its extents file."""
    out = sh(rack, host, "cat /sys/bus/pci/devices/*/dcd/extents").must().out
    return [line.split(maxsplit=6) for line in out.splitlines()]


def report(rack: Rack, sender: str, /, **changed) -> tuple[int, str]:
    """Send fmd a report from inside the guest, as a poold that lies would. Returns HTTP status, body."""
    boot = rack.host(sender, "cat", "/proc/sys/kernel/random/boot_id").must().out.strip()
    body = {"boot": boot, "driver": "0123456789abcdef", "seq": 1_000_000_000, "host": sender,
            "memory_block": 128 * MIB, "poold": "0.1.0", "driver_state": "ready", "driver_error": "",
            "online_policy": "offline", "devices": [], "pressure": {"some_avg10": 0.0},
            "nodes": [{"node": 0, "total": 2 << 30, "free": 1 << 30}]}
    text = json.dumps({**body, **changed})
    request = ("POST /v1/report HTTP/1.1\r\nHost: fmd\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}")
    answer = rack.host(sender, "nc", "-w", "5", "10.0.2.100", "7000", stdin=request.encode(),
                       timeout=20).out
    head, _, rest = answer.partition("\r\n\r\n")
    words = head.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, rest


def dax_path(rack: Rack, name: str, host: str) -> str:
    seen = next(s for s in rack.grant(name)["seen"] if s["host"] == host)
    expect(len(seen["dax"]) == 1, f"{name} shows {seen['dax']} on {host} instead of one dax device")
    return f"/dev/{seen['dax'][0]}"


def node_of(rack: Rack, name: str, host: str) -> int:
    nodes = next(s for s in rack.grant(name)["seen"] if s["host"] == host)["nodes"]
    expect(len(nodes) == 1, f"{name} shows {nodes} on {host} instead of one node")
    return nodes[0]


def environment_is_root() -> bool:
    return os.geteuid() == 0
