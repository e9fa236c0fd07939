#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that is in use when somebody wants it back, on three hosts: releases, rmmod, unbind, sharing."""

import re

from vmtest import (MIB, dax_path, driver_folder, expect, expect_in, extents_of, load_driver, main,
                    node_of, sh, until)


def grants_of_many_sizes_come_and_go(rack):
    """Other sizes and another order than the demo's, on three hosts."""
    rack.create("a", "128M", "h3")
    rack.create("b", "6M", "h2", use="dax")
    rack.create("c", "384M", "h1")
    rack.create("d", "2M", "h3", use="dax")
    rack.healthy()
    ranges = sorted((e["dpa"], e["dpa"] + e["len"]) for g in "abcd" for e in rack.grant(g)["extents"])
    for (_, end), (start, _) in zip(ranges, ranges[1:]):
        expect(end <= start, f"two grants overlap: {ranges}")
    for name in "cadb":
        rack.release(name)
    expect(rack.healthy() == [], "something is left after all grants were released")


def a_grant_comes_and_goes_many_times(rack):
    """Once, poold read the kernel's memory tiers while a node's last memory went offline, and the
    guest's hot-plug was stuck for ever: one in five cycles did it."""
    for _ in range(12):
        rack.create("ebb", "128M", "h1")
        rack.release("ebb", seconds=40)
    # h1 has had no dax grant: one on the same node makes the kernel keep the node, empty.
    nodes = rack.host("h1", "cat", "/sys/devices/system/node/online").must().out.strip()
    expect(nodes == "0", f"the pool's node did not go with its last memory: {nodes} are online")


def bad_requests_change_nothing(rack):
    rack.create("only", "896M", "h1")
    for words, said in {
        "create --host h1 --size 0 --name x": "0",
        "create --host h1 --size 100M --name x": "128",
        "create --host h2 --size 512M --name x": "free",
        "create --host h9 --size 128M --name x": "h9",
        "create --host h1 --size 128M --name only": "only",
        "release nothing": "nothing",
    }.items():
        result = rack.fmctl("grant", *words.split())
        expect(result.code in (1, 2), f"`fmctl grant {words}` ended with code {result.code}")
        expect_in(said, result.err, f"`fmctl grant {words}`")
        expect(len(result.err.strip().splitlines()) == 1, f"more than a sentence: {result.err}")
    names = [g["name"] for g in rack.fmctl("grant", "list", "--json").must().json()]
    expect(names == ["only"], f"a refused request left something: {names}")
    rack.release_all()


def a_release_under_use_says_who_holds_it(rack):
    """There is no room to move the memory to: nobody is killed, and the grant says by whom it is held."""
    rack.create("used", "256M", "h1")
    node = node_of(rack, "used", "h1")
    held = rack.hold("h1", node, 48 * MIB, "used", sparse=True)
    # And a file on that node that no process has mapped: memory of the kernel's.
    made = sh(rack, "h1", f"mkdir -p /mnt/far && mount -t tmpfs -o mpol=bind:{node} tmpfs /mnt/far && "
                          "head -c 6291456 /dev/urandom > /mnt/far/file && sha256sum < /mnt/far/file").must().out
    # Node 0 is full: what the pages would move to is not there. Most of it of huge pages, which need not be
    # written; they leave some tens of MiB, so a file takes the rest.
    huge = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    try:
        # Caches would be given back meanwhile and later, and be room.
        sh(rack, "h1", "echo 3 > /proc/sys/vm/drop_caches").must()
        sh(rack, "h1", f"echo {free_kib(rack, 'h1') // 2048 - 32} > {huge}").must()
        sh(rack, "h1", "mkdir -p /mnt/full && mount -t tmpfs -o size=100%,mpol=bind:0 tmpfs /mnt/full").must()
        # What a CPU keeps on its own lists, tens of MiB, is not counted as free until it is given back.
        for _ in range(5):
            rest = (free_kib(rack, "h1") >> 10) - 64
            if rest > 0:
                sh(rack, "h1", f"dd if=/dev/zero bs=1M count={rest} >> /mnt/full/file", timeout=120).must()
        free = free_kib(rack, "h1")
        # 44 MiB of it are below the kernel's mark `min`: nothing is moved there.
        expect(free < 80 << 10, f"node 0 cannot be filled: {free >> 10} MiB are free, and 54 MiB are to find no room")
        result = rack.fmctl("grant", "release", "used", "--wait=8")
        expect(result.code == 4, f"the release ended with code {result.code}, not 4: {result.err}")
        said = re.search(r"used: (\d+) of 256 MiB held: (.*)pid (\d+) memtool (\d+) MiB(.*), kernel (\d+) MiB", result.err)
        expect(said, f"it does not say who holds it: {result.err}")
        expect(int(said[3]) == held.pid and int(said[4]) >= 48 and int(said[6]) >= 6,
               f"it says wrongly who holds it: {result.err}")
        held.check()
    finally:
        sh(rack, "h1", f"echo 0 > {huge}; umount /mnt/full")
    rack.wait_grant("used", "gone", "unknown", seconds=90)
    held.check()
    held.let_go()
    left = sh(rack, "h1", "sha256sum < /mnt/far/file && umount /mnt/far").must().out
    expect(left == made, "the file on the released node has other bytes now")
    rack.healthy()


def free_kib(rack, host: str) -> int:
    shown = sh(rack, host, "cat /sys/devices/system/node/node0/meminfo").must().out
    return int(re.search(r"Node 0 MemFree:\s+(\d+) kB", shown).group(1))


def an_open_dax_device_is_not_taken_away(rack):
    rack.create("open", "16M", "h2", use="dax")
    dax = dax_path(rack, "open", "h2")
    user = rack.popen("h2", "sh", "-c", f"exec 3<>{dax}; echo open; cat")
    expect(user.stdout.readline() == b"open\n", "the device cannot be opened")
    result = rack.fmctl("grant", "release", "open", "--wait=4")
    expect(result.code == 4, f"a device in use was released with code {result.code}: {result.err}")
    waits = rack.grant("open")["waits_for"]
    expect("pid" in waits or "open" in waits, f"it does not say who holds the device: {waits}")
    user.stdin.close()
    user.wait(20)
    rack.wait_grant("open", "gone", "unknown")
    rack.healthy()


def the_driver_stays_while_memory_is_plugged(rack):
    rack.create("plugged", "128M", "h3")
    held = rack.hold("h3", node_of(rack, "plugged", "h3"), 4 * MIB, "plugged")
    removed = sh(rack, "h3", "rmmod cxl_dcd")
    expect(removed.code != 0, "rmmod took the driver away from plugged memory")
    bdf = driver_folder(rack, "h3").split("/")[-2]
    unbound = sh(rack, "h3", f"echo {bdf} > /sys/bus/pci/drivers/cxl_dcd/unbind")
    expect(unbound.code != 0, "unbind took the device away from plugged memory")
    held.check()
    held.let_go()
    rack.healthy()
    rack.release("plugged")


def the_driver_gives_back_what_is_not_plugged(rack):
    """With nothing plugged it can go, returns what it had accepted, and comes back."""
    sh(rack, "h3", "rmmod cxl_dcd").must()
    until(lambda: rack.host_view("h3")["state"] == "no-driver", 20,
          "fmd does not see that h3 has no driver")
    refused = rack.fmctl("grant", "create", "--host", "h3", "--size", "128M", "--name", "later")
    expect(refused.code == 1, f"a grant to a host without driver ended with code {refused.code}")
    expect_in("load cxl_dcd", refused.err, "fmctl")
    load_driver(rack, "h3")
    rack.wait_ready("h3")
    rack.create("later", "128M", "h3")
    rack.healthy()
    rack.release_all()
    expect(extents_of(rack, "h3") == [], "h3 still lists an extent")


def a_device_of_another_driver_is_named(rack):
    bdf = driver_folder(rack, "h3").split("/")[-2]
    sh(rack, "h3", f"rmmod cxl_dcd && echo > /sys/bus/pci/devices/{bdf}/driver_override && "
                   f"echo {bdf} > /sys/bus/pci/drivers_probe").must()
    until(lambda: "cxl_pci" in rack.host_view("h3")["state_text"], 20,
          "fmd does not say that cxl_pci has the device of h3")
    refused = rack.fmctl("grant", "create", "--host", "h3", "--size", "128M")
    expect(refused.code == 1, f"a grant to a device of cxl_pci ended with code {refused.code}")
    expect_in("cxl_pci", refused.err, "fmctl")
    checked = rack.host("h3", "poold", "check")
    expect(checked.code == 1, f"`poold check` with cxl_pci on the device ended with code {checked.code}")
    expect_in("unbind cxl_pci", checked.out, "poold check")
    sh(rack, "h3", f"echo {bdf} > /sys/bus/pci/drivers/cxl_pci/unbind").must()
    load_driver(rack, "h3")
    rack.wait_ready("h3")


def memory_is_online_movable_or_not_at_all(rack):
    """With an online policy that would put kernel pages there, nothing is plugged, and it says why."""
    policy = "/sys/devices/system/memory/auto_online_blocks"
    sh(rack, "h3", f"echo online_kernel > {policy}").must()
    try:
        # A policy is in the next report, at the latest some seconds later; a dry run asks without a trace.
        until(lambda: rack.fmctl("grant", "create", "--host", "h3", "--size", "128M", "--dry-run").code == 1,
              20, "fmd was not told of the policy online_kernel of h3")
        refused = rack.fmctl("grant", "create", "--host", "h3", "--size", "128M", "--name", "movable", "--wait")
        expect(refused.code == 1, f"a grant under the policy online_kernel ended with code {refused.code}")
        expect_in("online_kernel", refused.err, "fmctl")
        expect(rack.grant("movable")["state"] == "unknown", "a refused grant was left behind")
        shown = rack.host("h3", "numactl", "-H").must().out
        expect("size: 128 MB" not in shown, f"the memory is there all the same: {shown}")
    finally:
        sh(rack, "h3", f"echo offline > {policy}").must()
    until(lambda: rack.fmctl("grant", "create", "--host", "h3", "--size", "128M", "--dry-run").code == 0,
          20, "fmd was not told that h3 has the policy offline again")
    expect(rack.healthy() == [], "something was changed")


def a_kernel_without_kmem_is_named(rack):
    """A kernel that cannot use what it is given is not given anything."""
    lists = "/lib/modules/$(uname -r)/modules.dep /lib/modules/$(uname -r)/modules.builtin"
    sh(rack, "h3", f"mkdir /tmp/lists && cp {lists} /tmp/lists && rmmod kmem && sed -i '/kmem.ko/d' {lists}").must()
    try:
        until(lambda: rack.host_view("h3")["state"] == "no-driver", 20,
              "fmd was not told that h3 has no kmem")
        refused = rack.fmctl("grant", "create", "--host", "h3", "--size", "128M", "--name", "never", "--wait")
        expect(refused.code == 1, f"a grant to a kernel without kmem ended with code {refused.code}")
        expect_in("lacks kmem", refused.err, "fmctl")
        expect(rack.grant("never")["state"] == "unknown", "a refused grant was left behind")
        checked = rack.host("h3", "poold", "check")
        expect(checked.code == 1, f"`poold check` without kmem ended with code {checked.code}")
        expect_in("CONFIG_DEV_DAX_KMEM", checked.out, "poold check")
    finally:
        sh(rack, "h3", "cp /tmp/lists/* /lib/modules/$(uname -r)/ && rm -r /tmp/lists && modprobe kmem").must()
    rack.wait_ready("h3")


def three_hosts_share_one_copy(rack):
    rack.create("common", "16M", "h1", "h2", "h3", use="dax")
    paths = {h: dax_path(rack, "common", h) for h in ("h1", "h2", "h3")}
    rack.host("h2", "memtool", "fill", paths["h2"], "0", "4M", "common").must()
    for host in ("h1", "h3"):
        rack.host(host, "memtool", "verify", paths[host], "0", "4M", "common").must()
    rack.release("common")
    rack.create("next", "16M", "h3", use="dax")
    rack.host("h3", "memtool", "verify", dax_path(rack, "next", "h3"), "0", "16M", "zeros").must()
    rack.release_all()
    rack.healthy()


if __name__ == "__main__":
    main("three-hosts", [grants_of_many_sizes_come_and_go, a_grant_comes_and_goes_many_times,
                         bad_requests_change_nothing,
                         a_release_under_use_says_who_holds_it, an_open_dax_device_is_not_taken_away,
                         the_driver_stays_while_memory_is_plugged,
                         the_driver_gives_back_what_is_not_plugged, a_device_of_another_driver_is_named,
                         memory_is_online_movable_or_not_at_all, a_kernel_without_kmem_is_named,
                         three_hosts_share_one_copy])
