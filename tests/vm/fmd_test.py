#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fabric manager dies, starts twice, meets wrong files and a full disk; and the pool begins with
old bytes of an earlier run in it."""

import io
import json
import os
import shutil
import subprocess
import time

from vmtest import (MIB, CHECKOUT, Fault, dax_path, environment_is_root, expect, expect_in, main,
                    until)
from steps import isolation  # noqa: I001  (vmtest knows where)
from story import Story, Unshown

OLD = b"old bytes of an earlier run.....".ljust(64, b".") * (64 * MIB // 64)


def old_bytes_in_the_pool(rack):
    """Before anything boots: a pool file as an earlier life would have left it."""
    file = rack.pool_file("mem0")
    file.parent.mkdir(parents=True, exist_ok=True)
    (rack.folder / ".lock").touch()  # testbed takes only a folder of its own
    with open(file, "wb") as pool:
        os.fchmod(pool.fileno(), 0o600)
        pool.truncate(1024 * MIB)
        for at in (0, 512 * MIB, 960 * MIB):
            pool.seek(at)
            pool.write(OLD)


def old_bytes_are_never_read(rack):
    """A reused pool file: nothing in a new pool counts as clean."""
    grant = rack.create("first", "32M", "h1", use="dax")
    rack.host("h1", "memtool", "verify", dax_path(rack, "first", "h1"), "0", "32M", "zeros",
              timeout=120).must()
    expect(not any(rack.pool_bytes(grant["extents"][0])), "old bytes are left in the pool file")
    rack.release("first")
    rack.wait_clean()
    with open(rack.pool_file("mem0"), "rb") as pool:
        for at in (0, 512 * MIB, 960 * MIB):
            pool.seek(at)
            expect(not any(pool.read(64 * MIB)), f"old bytes are left at {at // MIB} MiB of the pool file")


def killed_after_the_record(rack):
    killed_at(rack, "after-record", "h2", "384M", "ram")


def killed_after_the_command(rack):
    killed_at(rack, "after-command", "h2", "6M", "dax")


def killed_after_the_reply(rack):
    killed_at(rack, "after-reply", "h1", "256M", "ram")


def killed_together_with_the_guest(rack):
    killed_at(rack, "after-command", "h1", "16M", "dax", guest_too=True)


def killed_at(rack, point: str, host: str, size: str, use: str, guest_too: bool = False):
    before = rack.create("before", "128M", "h1")
    rack.fmd_stop()
    rack.fmd_start(pause_at=point)
    rack.wait_ready()
    client = rack.fmctl_start("grant", "create", "--host", host, "--size", size, "--name", "during",
                              "--as", use)
    rack.fmd_wait_paused()
    if point == "after-reply":
        expect(client.wait(20) == 0, "fmctl did not get its answer")
    rack.fmd_kill()
    if guest_too:
        rack.kill_host(host)
    code = client.wait(20)
    expect(code == 0 or point != "after-reply", f"fmctl ended with {code} although its answer was sent")
    rack.fmd_start()
    if guest_too:
        rack.start_host(host)
    rack.wait_ready()
    rack.wait_grant("during", "active")
    rack.wait_grant("before", "active")
    rack.healthy()
    expect(rack.grant("before")["extents"] == before["extents"], "the earlier grant was moved")
    rack.release_all()
    rows = rack.healthy()
    expect(rows == [], f"after the release of everything the doctor still sees: {rows}")


def killed_in_the_middle_of_a_release(rack):
    grant = rack.create("going", "32M", "h1", use="dax")
    rack.host("h1", "memtool", "fill", dax_path(rack, "going", "h1"), "0", "32M", "h1",
              timeout=120).must()
    for pause in (0.0, 0.15, 0.4):
        client = rack.fmctl_start("grant", "release", "going", "--wait")
        time.sleep(pause)
        rack.fmd_kill()
        client.wait(20)
        rack.fmd_start()
        rack.wait_ready()
    rack.fmctl("grant", "release", "going")  # if it was killed before the first word
    rack.wait_grant("going", "gone", "unknown")
    expect(not any(rack.pool_bytes(grant["extents"][0])), "the bytes of the released grant are still there")
    rack.healthy()


def a_second_fmd_is_refused(rack):
    rack.create("one", "128M", "h1")
    other = rack.fmd_folder / "other.db"
    for what, argv in {
        "the same state": rack.fmd_argv("--socket", str(rack.fmd_folder / "second.sock")),
        "the same pool": rack.fmd_argv("--socket", str(rack.fmd_folder / "second.sock"),
                                       "--state", str(other)),
    }.items():
        second = rack.run(last_of_each(argv), f"a second fmd on {what}", 20)
        expect(second.code not in (0, None), f"a second fmd on {what} runs")
        expect(len(second.err.strip().splitlines()) == 1, f"it takes more than a sentence: {second.err}")
    expect(rack.grant("one")["state"] == "active", "the first fmd was disturbed")
    rack.create("two", "128M", "h2")
    rack.healthy()
    rack.release_all()


def last_of_each(argv: list[str]) -> list[str]:
    """An option that is given twice counts once, the last time."""
    program_, rest, options = argv[0], argv[1:], {}
    while rest:
        if "=" in rest[0]:
            key, _, value = rest.pop(0).partition("=")
        else:
            key, value = rest.pop(0), rest.pop(0)
        options[key] = value
    return [program_, *(f"{key}={value}" for key, value in options.items())]


def wrong_pool_files_are_refused(rack):
    """A file of another size, and another file of the same size: neither is what the journal knows."""
    fabric = rack.fabric()
    rack.fmd_stop()
    for size, word in ((512 * MIB, "512 MiB"), (1024 * MIB, "another")):
        wrong = rack.folder / "wrong.pool"
        with open(wrong, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(size)
        fabric["devices"][0]["pool_file"] = str(wrong)
        description = rack.folder / "wrong.json"
        description.write_text(json.dumps(fabric))
        refused = rack.run(last_of_each(rack.fmd_argv("--fabric", str(description))),
                           f"fmd on a pool file of {size // MIB} MiB", 20)
        wrong.unlink()
        expect(refused.code not in (0, None), f"fmd took a wrong pool file of {size // MIB} MiB")
        expect(len(refused.err.strip().splitlines()) <= 2 and str(wrong) in refused.err or
               "mem0" in refused.err, f"the refusal names neither file nor device: {refused.err}")
    description.unlink()
    rack.fmd_start()
    rack.wait_ready()
    rack.healthy()


def a_full_disk_acknowledges_nothing(rack):
    """The journal's own small disk: a tmpfs in a mount namespace that ends with this check."""
    if not environment_is_root():
        print("skipped a_full_disk_acknowledges_nothing: only root can mount the small disk for it")
        return
    rack.fmd_stop()
    small = rack.fmd_folder / "small"
    small.mkdir(exist_ok=True)
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         'mount -t tmpfs -o size=1m,mode=0700 tmpfs "$0" && echo ready && exec sleep 1000', str(small)],
        stdout=subprocess.PIPE)
    try:
        expect(holder.stdout.readline() == b"ready\n", "the small disk cannot be mounted")
        inside = f"/proc/{holder.pid}/root{small}"
        on_small_disk(rack, holder.pid, small)
        rack.wait_ready()
        rack.create("safe", "128M", "h1")
        with open(f"{inside}/filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        for n in range(200):  # what is left inside the journal's own pages
            result = rack.fmctl("grant", "create", "--host", "h2", "--size", "2M", "--as", "dax",
                                "--name", f"n{n}", timeout=30)
            if result.code != 0:
                break
        expect(result.code != 0, "200 grants were acknowledged on a full disk")
        refused = f"n{n}"
        expect(rack.fmd_wait_end(20) == 3, "fmd did not end with code 3 when its journal was full")
        expect_in("full", rack.fmd_log.read_text(), "fmd's last words")
        os.unlink(f"{inside}/filler")
        on_small_disk(rack, holder.pid, small)
        rack.wait_ready()
        rack.wait_grant("safe", "active")
        for done in range(n):
            expect(rack.grant(f"n{done}")["state"] != "unknown", f"n{done} was acknowledged and is lost")
        if rack.grant(refused)["state"] != "unknown":
            rack.wait_grant(refused, "active")
        rack.release_all()
        rack.healthy()
        rack.fmd_stop()
    finally:
        holder.kill()
        holder.wait()
        shutil.rmtree(small, ignore_errors=True)
    rack.fmd_start()
    rack.wait_ready()


def on_small_disk(rack, holder: int, small) -> None:
    rack.fmd_start(argv=["nsenter", "-t", str(holder), "-m", "-r", *last_of_each(
        rack.fmd_argv("--state", str(small / "state.db"), "--fabric", str(rack.folder / "fmd.json")))])


def without_scrubbing_the_isolation_check_fails(rack):
    """The test of the test: an fmd that erases nothing is caught by the demo's own step."""
    blind = os.environ.get("CXLPOOL_FMD_NOSCRUB") or str(CHECKOUT / "build/host/tests/vm/fmd-noscrub")
    expect(os.access(blind, os.X_OK), f"there is no {blind}: the build makes it")
    rack.fmd_stop()
    rack.fmd_start(binary=blind)
    rack.wait_ready()
    try:
        isolation.show(Story(rack.folder / "isolation.json", io.StringIO()), rack)
    except (Unshown, Fault) as e:
        expect_in("erase", str(e), "the failed step")
    else:
        raise Fault("the isolation step passes with an fmd that erases nothing")
    finally:
        rack.fmd_stop()
        rack.fmd_start()
        rack.wait_ready()
        rack.release_all()


if __name__ == "__main__":
    main("two-hosts", [old_bytes_are_never_read, killed_after_the_record, killed_after_the_command,
                       killed_after_the_reply, killed_together_with_the_guest,
                       killed_in_the_middle_of_a_release, a_second_fmd_is_refused,
                       wrong_pool_files_are_refused, a_full_disk_acknowledges_nothing,
                       without_scrubbing_the_isolation_check_fails], before_up=old_bytes_in_the_pool)
