#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cxl_dcd in a guest: capacity is added and released over QMP, and seen in sysfs.

One boot of the `giant` topology (one guest, two devices behind two host bridges) serves every
check; they run in the order in which they stand here, each leaving nothing behind. Exit code 77,
with the reason, where no guest can be had. `--only REGEX` runs the checks whose name it finds.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from module import TESTBED, Failed, build, need, skip_without_root  # noqa: E402
from testbedlib import agent, bed as beds, splats  # noqa: E402
from testbedlib.rundir import RunDir  # noqa: E402

MIB = 1 << 20
BLOCK = 2 * MIB
RAM = 128 * MIB  # the guests' memory block
SOON = 20  # seconds for what takes milliseconds on an idle machine
PATIENT = 180  # for what takes seconds
BOOT = 300  # and for what takes ten seconds


class Holder:
    """A program in the guest that holds memory until it is ended."""

    def __init__(self, bed, *words):
        self.process = subprocess.Popen([*bed.argv("exec", "h1"), "hold", *map(str, words)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        first = self.process.stdout.readline()
        need(first == "ready\n", f"hold {words} did not get ready: {first}")

    def end(self):
        """Exit code; 0 says that it survived."""
        self.process.stdin.close()
        code = self.process.wait(timeout=60)
        said = self.process.stdout.read()
        self.process.stdout.close()
        if code:
            print(f"hold ended with {code}: {said}", flush=True)
        return code


class Device:
    """One DCD device: QMP on its one side, sysfs of the driver on the other."""

    def __init__(self, bed, name, address):
        self.bed, self.name, self.path = bed, name, f"/machine/peripheral/cxl-{name}"
        self.dcd = f"/sys/bus/pci/devices/{address}/dcd"

    def _qmp(self, command, extents, **more):
        arguments = {"path": self.path, "host-id": 0, "region": 0, "tag": "",
                     "extents": [{"offset": o, "len": n} for o, n in extents], **more}
        return self.bed.qmp(command, arguments)

    def add(self, *extents):
        need("return" in self._qmp("cxl-add-dynamic-capacity", extents,
                                   **{"selection-policy": "prescriptive"}), f"add {extents}")

    def release(self, *extents):
        answer = self._qmp("cxl-release-dynamic-capacity", extents,
                           **{"removal-policy": "prescriptive"})
        need("return" in answer, f"release {extents}: {answer}")

    def says(self, dpa, length):
        """What the device itself believes: an add that names one extent twice fails and tells."""
        answer = self._qmp("cxl-add-dynamic-capacity", [(dpa, length)] * 2,
                           **{"selection-policy": "prescriptive"})
        text = answer.get("error", {}).get("desc", "")
        for words, meaning in (("duplicate or overlapped", "nothing"), ("still pending", "offered"),
                               ("already accessible", "accepted")):
            if words in text:
                return meaning
        raise Failed(f"the query of [{dpa}, +{length}) answered {answer}")

    def mailbox(self, *words):
        """A command behind the driver's back."""
        self.bed.sh(" ".join(["mbox", self.dcd.split("/")[-2], *map(str, words)]))

    def read(self, name):
        return self.bed.sh(f"cat {self.dcd}/{name}").strip()

    def extents(self):
        """(dpa, len) -> the other columns of dcd/extents."""
        found = {}
        for line in self.bed.sh(f"cat {self.dcd}/extents").splitlines():
            dpa, length, state, want, use, dax, node, *error = line.split(" ", 7)
            found[int(dpa), int(length)] = {"state": state, "want": want, "use": use, "dax": dax,
                                            "node": node, "error": error[0] if error else ""}
        return found

    def want(self, extent, words):
        self.bed.sh(f"echo {extent[0]} {extent[1]} {words} > {self.dcd}/want")

    def wait(self, extent, seconds, what, test):
        """Waits until test(columns) holds; test(None) when the extent is not listed."""
        until = time.monotonic() + seconds
        while True:
            columns = self.extents().get(extent)
            if test(columns):
                return columns
            if time.monotonic() > until:
                raise Failed(f"{self.name} {extent}: not {what} within {seconds} s but {columns}")
            time.sleep(0.2)

    def wait_state(self, extent, state, seconds=SOON):
        return self.wait(extent, seconds, state, lambda c: c and c["state"] == state)

    def wait_gone(self, extent, seconds=SOON):
        self.wait(extent, seconds, "gone", lambda c: c is None)
        need(self.says(*extent) == "nothing", f"{extent}: the device still has it as ours")

    def plug(self, extent, use):
        self.want(extent, f"plugged {use}")
        return self.wait_state(extent, "plugged")

    def give_back(self, extent):
        """From whatever use to nothing."""
        self.want(extent, "unplugged")
        self.wait_state(extent, "accepted", PATIENT)
        self.release(extent)
        self.wait_gone(extent)


class Bed:
    def __init__(self, folder):
        self.run = Path(folder) / "run"

    def up(self, overlay):
        need(self.call("up", "giant", "--overlay", overlay, "--timeout", BOOT, capture=False,
                       timeout=BOOT + 60).returncode == 0, "testbed up failed")
        self.find()

    def find(self):
        """The devices by serial number: addresses may differ from boot to boot."""
        self.mem0 = self.mem1 = None
        for address in self.sh("ls /sys/bus/pci/drivers/cxl_dcd").split():
            if not address.startswith("0000:"):
                continue
            serial = self.sh(f"cat /sys/bus/pci/devices/{address}/dcd/serial").strip()
            name = {"0x1": "mem0", "0x2": "mem1"}[serial]
            setattr(self, name, Device(self, name, address))
        need(self.mem0 and self.mem1, "the driver is not bound to both devices")
        for device in (self.mem0, self.mem1):
            until = time.monotonic() + SOON
            while device.read("state") != "ready":
                need(time.monotonic() < until,
                     f"{device.name} is {device.read('state')}: {device.read('error')}")
        self.poll_every(600000)

    def argv(self, verb, *words):
        return [sys.executable, str(TESTBED), verb, "--dir", str(self.run), *map(str, words)]

    def call(self, verb, *words, capture=True, timeout=120):
        return subprocess.run(self.argv(verb, *words), text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=capture)

    def sh(self, script, check=True):
        """stdout of a shell script in the guest."""
        out = {1: b"", 2: b""}

        def keep(stream, data):
            out[stream] += data

        result = agent.run("h1", self.run / "h1" / "agent", ["sh", "-c", script], timeout=60, on_output=keep)
        text = {stream: data.decode(errors="replace") for stream, data in out.items()}
        need(not check or result.exit_code() == 0,
             f"`{script}` failed with {result.exit_code()}: {text[2].strip()}")
        return text[1] if check else text[1] + text[2]

    def qmp(self, command, arguments=None):
        return beds.qmp(RunDir(str(self.run)), "h1",
                        {"execute": command, "arguments": arguments or {}})

    def poll_every(self, ms):
        """The slow poll; far away, so that interrupts alone must do, or near."""
        self.sh(f"echo {ms} > /sys/module/cxl_dcd/parameters/poll_ms")

    @contextlib.contextmanager
    def online_policy(self, word):
        """What the kernel does with new memory blocks, for a while."""
        policy = "/sys/devices/system/memory/auto_online_blocks"
        self.sh(f"echo {word} > {policy}")
        try:
            yield
        finally:
            self.sh(f"echo offline > {policy}")

    @contextlib.contextmanager
    def calls_of(self, function):
        """For a while, a function that tells how often the kernel called this one of its own."""
        tracing, probe = "/sys/kernel/tracing", f"kprobes/{function}_called"
        self.sh(f"mountpoint -q {tracing} || mount -t tracefs tracefs {tracing}; cd {tracing}; "
                f"echo > trace; echo 'p:{probe} {function}' >> kprobe_events; "
                f"echo 1 > events/{probe}/enable")
        try:
            yield lambda: int(self.sh(f"grep -c '{function}_called:' {tracing}/trace || true"))
        finally:
            self.sh(f"cd {tracing}; echo 0 > events/{probe}/enable; "
                    f"echo '-:{probe}' >> kprobe_events")

    def nodes(self):
        """Online NUMA nodes with memory -> MiB, as numactl tells."""
        sizes = {}
        for line in self.sh("numactl -H").splitlines():
            words = line.split()
            if words[:1] == ["node"] and words[2:3] == ["size:"]:
                sizes[int(words[1])] = int(words[3])
        return sizes

    def splats(self):
        log = (self.run / "h1" / "console.log").read_text(errors="replace")
        return [splat.text for splat in splats.Patterns().scan(log)]


# ---- the checks, in order ----

def both_bridges_have_their_own_window(bed):
    """Two devices behind two host bridges: two windows, two nodes; stock cxl_pci got neither."""
    windows = {d.name: d.read("window").split() for d in (bed.mem0, bed.mem1)}
    need(windows["mem0"][0] != windows["mem1"][0], f"one window for both: {windows}")
    need(windows["mem0"][2] != windows["mem1"][2], f"one node for both: {windows}")
    need(bed.mem0.read("region") == f"0 {1024 * MIB} {BLOCK}", bed.mem0.read("region"))
    need(bed.sh("lsmod | grep -c '^cxl_pci '").strip() == "1", "cxl_pci is not even loaded")
    need("0000:" not in bed.sh("ls /sys/bus/pci/drivers/cxl_pci"), "cxl_pci took a device")
    need(bed.sh("ls /sys/bus/pci/drivers/cxl_dcd").find("unbind") < 0, "unbind is offered")


def ram_comes_and_goes(bed):
    """add → accepted → node → unplugged → released: and the device agrees at each step."""
    extent, device = (0, 2 * RAM), bed.mem0
    generation = int(device.read("generation"))
    device.add(extent)
    device.wait_state(extent, "accepted")  # by interrupt: the poll is minutes away
    need(device.says(*extent) == "accepted", "listed as accepted, but the device disagrees")
    need(list(bed.nodes()) == [0], "plugged without being asked to")
    plugged = device.plug(extent, "ram")
    node = int(plugged["node"])
    need(bed.nodes().get(node) == 256, f"numactl shows {bed.nodes()}, expected node {node}")
    ranges = json.loads(bed.sh("daxctl list"))
    need(ranges[0]["chardev"] == plugged["dax"] and ranges[0]["movable"] is True, f"{ranges}")
    need(int(device.read("generation")) > generation, "the generation stands still")
    device.release(extent)
    time.sleep(0.5)
    columns = device.extents()[extent]
    need(columns["state"] == "plugged" and "release requested" in columns["error"], f"{columns}")
    need(device.says(*extent) == "accepted", "given back while plugged")
    device.want(extent, "unplugged")
    device.wait_gone(extent)
    need(list(bed.nodes()) == [0], f"nodes left behind: {bed.nodes()}")


def two_extents_share_a_node(bed):
    """Either of two extents of one node goes first; the other one's pages stay."""
    first, second, device = (0, RAM), (RAM, RAM), bed.mem0
    device.add(first)
    device.add(second)
    for extent in (first, second):
        device.wait_state(extent, "accepted")
        node = device.plug(extent, "ram")["node"]
    need(bed.nodes().get(int(node)) == 256, f"{bed.nodes()}")
    device.give_back(first)
    need(bed.nodes().get(int(node)) == 128, f"{bed.nodes()}")
    device.give_back(second)


def dax_reaches_the_pool_file(bed):
    """A program's stores through the character device are the pool file's bytes; mapped stays."""
    extent, device = (512 * MIB, 32 * MIB), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    columns = device.plug(extent, "dax")
    need(columns["node"] == "-" and list(bed.nodes()) == [0], "a dax extent became memory")
    dax = f"/dev/{columns['dax']}"
    writer = Holder(bed, "fill", dax, 2, "cxlpool!")
    with open(bed.run / "pool" / "mem0.pool", "rb") as pool:
        pool.seek(extent[0])
        data = pool.read(2 * MIB)
    need(data == b"cxlpool!" * (2 * MIB // 8), "the pool file does not hold what was stored")
    device.release(extent)
    device.want(extent, "unplugged")
    columns = device.wait(extent, SOON, "refused as mapped", lambda c: "mapped" in c["error"])
    need(columns["state"] == "plugged", f"{columns}")
    need(device.says(*extent) == "accepted", "given back while mapped")
    need(writer.end() == 0, "the program that had it mapped did not survive")
    device.wait_gone(extent)


def dax_mapped_untouched_is_in_use(bed):
    """A mapping counts before its first access; an open file without one does not."""
    extent, device = (512 * MIB, 4 * MIB), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    dax = f"/dev/{device.plug(extent, 'dax')['dax']}"
    holder = Holder(bed, "map", dax, 4)
    device.want(extent, "unplugged")
    device.wait(extent, SOON, "refused as mapped", lambda c: "mapped" in c["error"])
    need(holder.end() == 0, "the program that had it mapped did not survive")
    device.wait_state(extent, "accepted")
    dax = f"/dev/{device.plug(extent, 'dax')['dax']}"
    holder = Holder(bed, "open", dax)
    device.give_back(extent)
    need(holder.end() == 0, "the program that had it open did not survive")


def from_ram_to_dax_and_back(bed):
    """Another use is reached by unplugging first."""
    extent, device = (0, RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    for use in ("ram", "dax", "ram"):
        device.want(extent, f"plugged {use}")
        device.wait(extent, SOON, f"plugged as {use}",
                    lambda c, u=use: c["state"] == "plugged" and c["use"] == u)
        need((len(bed.nodes()) == 2) == (use == "ram"), f"{use}: {bed.nodes()}")
    device.give_back(extent)


def a_group_is_taken_whole(bed):
    """Eight extents with More between them: accepted together, released together."""
    group, device = [(600 * MIB + 4 * i * MIB, BLOCK) for i in range(8)], bed.mem0
    device.add(*group)
    for extent in group:
        device.wait_state(extent, "accepted")
    need(len(device.extents()) == 8, f"{device.extents()}")
    device.release(*group)
    for extent in group:
        device.wait_gone(extent)


def ram_needs_whole_memory_blocks(bed):
    """2 MiB cannot be memory of a node: refused with the numbers, and still usable as dax."""
    extent, device = (0, BLOCK), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    device.want(extent, "plugged ram")
    device.wait(extent, SOON, "refused", lambda c: "memory blocks of 128 MiB" in c["error"])
    need(device.extents()[extent]["state"] == "accepted", "left half plugged")
    columns = device.plug(extent, "dax")
    need(columns["error"] == "", f"{columns}")
    device.give_back(extent)


def a_wrong_online_policy_is_refused(bed):
    """Memory that would go to the kernel zone is not plugged; it is, once the policy is right."""
    extent, device = (0, RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    with bed.online_policy("online"):
        device.want(extent, "plugged ram")
        columns = device.wait(extent, SOON, "refused", lambda c: "online policy is online" in c["error"])
        need(columns["state"] != "plugged" and list(bed.nodes()) == [0], f"{columns}")
    device.wait_state(extent, "plugged")
    device.give_back(extent)


def ram_online_by_policy_is_left_online(bed):
    """With the policy online_movable kmem does it all: no block is put offline on the way."""
    extent, device = (0, RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    with bed.online_policy("online_movable"), bed.calls_of("offline_pages") as calls:
        node = int(device.plug(extent, "ram")["node"])
        need(bed.nodes().get(node) == 128, f"{bed.nodes()}")
        need(calls() == 0, "memory that was online already was put offline first")
        device.give_back(extent)
        need(calls() == 1, f"{calls()} calls of offline_pages seen for the one block given back")


def dax_online_by_policy_is_unplugged_first(bed):
    """With the policy online_movable kmem puts dax memory online; unbinding it would leave it so."""
    extent, device = (0, 2 * RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    with bed.online_policy("online_movable"):
        for use in ("dax", "ram", "dax"):
            device.want(extent, f"plugged {use}")
            device.wait(extent, SOON, f"plugged as {use}",
                        lambda c, u=use: c["state"] == "plugged" and c["use"] == u)
            need((len(bed.nodes()) == 2) == (use == "ram"), f"{use}: {bed.nodes()}")
        device.give_back(extent)


def wishes_are_checked(bed):
    """dcd/want refuses what it does not understand, or what names no extent; poll_ms, no pause."""
    extent, device = (0, BLOCK), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    for words, errno in (("0 2097152 plugged rom", "Invalid argument"), ("junk", "Invalid argument"),
                         ("0 4194304 unplugged", "No such file"), ("2097152 2097152 unplugged",
                                                                   "No such file")):
        said = bed.sh(f"echo {words} > {device.dcd}/want && echo taken", check=False)
        need(errno in said and "taken" not in said, f"{words}: {said}")
    need(device.extents()[extent]["want"] == "-", "a refused wish was noted")
    said = bed.sh("echo 0 > /sys/module/cxl_dcd/parameters/poll_ms && echo taken", check=False)
    need("Invalid argument" in said, f"polling without a pause: {said}")
    device.release(extent)
    device.wait_gone(extent)


def an_extent_is_never_carved(bed):
    """A release of one half is not answered; the whole one is."""
    extent, device = (0, 2 * BLOCK), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    device.release((0, BLOCK))
    time.sleep(1)
    need(device.extents()[extent]["state"] == "accepted", f"{device.extents()}")
    need("cuts through an extent" in device.read("error"), device.read("error"))
    need(device.says(*extent) == "accepted", "a part was given back")
    device.release(extent)
    device.wait_gone(extent)


def memory_in_use_is_moved_not_lost(bed):
    """A program bound to the node keeps its pages' contents when the node goes away."""
    extent, device = (0, RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    node = device.plug(extent, "ram")["node"]
    holder = Holder(bed, "node", node, 1)
    device.give_back(extent)
    need(holder.end() == 0, "the program did not survive")


def pinned_memory_is_waited_for(bed):
    """Pages that cannot move: not released while held, released after; the guest lives on."""
    extent, device = (0, RAM), bed.mem0
    device.add(extent)
    device.wait_state(extent, "accepted")
    node = device.plug(extent, "ram")["node"]
    holder = Holder(bed, "pin", node, 1)
    device.release(extent)
    device.want(extent, "unplugged")
    device.wait_state(extent, "unplugging")
    time.sleep(2)
    columns = device.extents()[extent]
    need(columns["state"] in ("unplugging", "plugged"), f"{columns}")
    need(device.says(*extent) == "accepted", "given back while pages of it are held")
    device.want(extent, "plugged ram")  # changed our mind: an unplug under way ends at once
    device.wait(extent, SOON, "plugged again",
                lambda c: c["state"] == "plugged" and c["want"] == "plugged")
    device.want(extent, "unplugged")
    time.sleep(1)
    need(holder.end() == 0, "the program did not survive")
    device.wait_gone(extent, PATIENT)


def the_module_stays_while_memory_is_plugged(bed):
    """rmmod and unbind are refused; without memory plugged, unloading gives everything back."""
    plugged, idle, device = (0, RAM), (512 * MIB, BLOCK), bed.mem0
    other = (0, 2 * BLOCK)
    instance = device.read("instance")
    device.add(plugged)
    device.add(idle)
    bed.mem1.add(other)
    device.wait_state(plugged, "accepted")
    bed.mem1.wait_state(other, "accepted")
    device.plug(plugged, "ram")
    said = bed.sh("rmmod cxl_dcd && echo unloaded", check=False)
    need("unloaded" not in said and ("in use" in said or "unavailable" in said), said)
    address = device.dcd.split("/")[-2]
    said = bed.sh(f"echo {address} > /sys/bus/pci/drivers/cxl_dcd/unbind && echo unbound",
                  check=False)
    need("unbound" not in said, said)
    device.want(plugged, "unplugged")
    device.wait_state(plugged, "accepted")
    bed.sh("rmmod cxl_dcd")
    for where, extent in ((device, plugged), (device, idle), (bed.mem1, other)):
        need(where.says(*extent) == "nothing", f"unloading kept {extent} of {where.name}")
    bed.sh("insmod /lib/modules/$(uname -r)/extra/cxl_dcd.ko")
    bed.find()
    need(bed.mem0.read("instance") != instance, "the same instance after a reload")
    need(bed.mem0.extents() == {}, f"{bed.mem0.extents()}")


def default_use_after_a_delay(bed):
    """Where nobody names a use, module parameters do."""
    extent = (0, RAM)
    bed.sh("rmmod cxl_dcd; insmod /lib/modules/$(uname -r)/extra/cxl_dcd.ko "
           "default_use=ram default_delay_ms=3000")
    bed.find()
    bed.mem0.add(extent)
    bed.mem0.wait_state(extent, "accepted")
    bed.mem0.wait_state(extent, "plugged")
    bed.mem0.give_back(extent)
    bed.sh("rmmod cxl_dcd; insmod /lib/modules/$(uname -r)/extra/cxl_dcd.ko")
    bed.find()


def a_lost_event_is_reported_and_not_fatal(bed):
    """12 offers while the guest stands still: the log holds 8. What is lost can be offered anew."""
    offers, device = [(4 * i * MIB, BLOCK) for i in range(12)], bed.mem1
    overflows = int(device.read("overflows"))
    bed.call("stop", "h1")
    for extent in offers:
        device.add(extent)
    bed.call("cont", "h1")
    for extent in offers[:8]:
        device.wait_state(extent, "accepted")
    need(int(device.read("overflows")) > overflows, "no overflow was counted")
    need("overflowed" in device.read("error") or "records are lost" in device.read("error"),
         device.read("error"))
    until = time.monotonic() + SOON
    while any(device.says(*extent) != "nothing" for extent in offers[8:]):
        need(time.monotonic() < until, "offers that nobody can accept block the device")
    need(int(device.read("rejected")) >= 4, device.read("rejected"))
    device.add(*offers[8:])
    for extent in offers[8:]:
        device.wait_state(extent, "accepted")
    for part in (offers[:8], offers[8:]):
        device.release(*part)
        for extent in part:
            device.wait_gone(extent)


def a_group_left_open_is_dropped(bed):
    """Of 12 extents in one group 8 arrive and the end never comes: refused after 20 s, on mem1. Meanwhile, on mem0, the
    same of a group whose refusal the device has already: a second one would end QEMU."""
    group, left, refused = [(4 * i * MIB, BLOCK) for i in range(12)], bed.mem1, bed.mem0
    rejected = {device: int(device.read("rejected")) for device in (left, refused)}
    bed.poll_every(1000)
    for device in (left, refused):
        device.add(*group)
        device.wait_state(group[7], "pending")
    need(left.says(*group[0]) == "offered", "answered before its group was complete")
    refused.mailbox("refuse")
    need(refused.says(*group[0]) == "nothing", "the refusal did not take effect")
    for device in (left, refused):
        device.wait(group[0], PATIENT, "dropped", lambda c: c is None)
    bed.poll_every(600000)
    need(all(left.says(*e) == "nothing" for e in group), "the device still waits for an answer")
    need(int(left.read("rejected")) == rejected[left] + 8, left.read("rejected"))
    need("left open" in left.read("error"), left.read("error"))
    need(refused.says(*group[0]) == "nothing" and int(refused.read("rejected")) == rejected[refused], "refused again")
    for device in (left, refused):
        device.add(group[0])
        device.wait_state(group[0], "accepted")
        device.release(group[0])
        device.wait_gone(group[0])


def what_the_device_forgot_is_dropped(bed):
    """An extent that the device took by force while it was in use leaves no trace afterwards."""
    kept, lost, device = (0, BLOCK), (8 * MIB, BLOCK), bed.mem1
    for extent in (kept, lost):
        device.add(extent)
        device.wait_state(extent, "accepted")
    device.plug(lost, "dax")
    device.release(lost)
    device.wait(lost, SOON, "asked for", lambda c: "release requested" in c["error"])
    device.mailbox("forget", *lost)
    need(device.says(*lost) == "nothing", "the device still has it as ours")
    bed.poll_every(1000)
    device.want(lost, "unplugged")
    device.wait_gone(lost)
    bed.poll_every(600000)
    need(set(device.extents()) == {kept}, f"{device.extents()}")
    device.add(lost)
    device.wait_state(lost, "accepted")
    for extent in (lost, kept):
        device.release(extent)
        device.wait_gone(extent)


def both_devices_plug_at_once(bed):
    """More memory than the guest's own, over two bridges."""
    extent = (0, 512 * MIB)
    for device in (bed.mem0, bed.mem1):
        device.add(extent)
    for device in (bed.mem0, bed.mem1):
        device.wait_state(extent, "accepted")
        device.want(extent, "plugged ram")
    nodes = [int(d.wait_state(extent, "plugged")["node"]) for d in (bed.mem0, bed.mem1)]
    need(nodes[0] != nodes[1] and all(bed.nodes().get(n) == 512 for n in nodes), f"{bed.nodes()}")
    for device in (bed.mem0, bed.mem1):
        device.give_back(extent)


def a_function_removed_keeps_its_memory(bed):
    """The function goes away with memory plugged: nothing is given back, the memory goes on."""
    extent, device = (0, RAM), bed.mem1
    device.add(extent)
    device.wait_state(extent, "accepted")
    node = int(device.plug(extent, "ram")["node"])
    holder = Holder(bed, "node", node, 2)
    address = device.dcd.split("/")[-2]
    bed.sh(f"echo 1 > /sys/bus/pci/devices/{address}/remove")
    need(device.says(*extent) == "accepted", "given back in the middle of its use")
    need(bed.nodes().get(node) == 128, f"{bed.nodes()}")
    need("stuck until reboot" in bed.sh("dmesg"), "nobody said that it is stuck")
    need(holder.end() == 0, "a program on that memory did not survive")
    said = bed.sh("rmmod cxl_dcd && echo unloaded", check=False)
    need("unloaded" not in said, said)
    # found again; without autoprobe, or cxl_pci would have it before it can be named
    bed.sh("cd /sys/bus/pci; echo 0 > drivers_autoprobe; echo 1 > rescan; "
           f"echo cxl_dcd > devices/{address}/driver_override; echo {address} > drivers_probe; "
           "echo 1 > drivers_autoprobe")
    bed.find()
    columns = bed.mem1.wait_state(extent, "stuck")
    need("until reboot" in columns["error"], f"{columns}")
    bed.mem1.release(extent)
    time.sleep(1)
    need(bed.mem1.says(*extent) == "accepted", "a stuck extent was given back")


def a_reboot_replays_the_accepted_list(bed):
    """After a guest reboot the device still lists our extents; what was stuck no longer is."""
    stuck, fresh = (0, RAM), (256 * MIB, BLOCK)
    bed.mem1.add(fresh)
    bed.mem1.wait_state(fresh, "accepted")
    instance = bed.mem0.read("instance")
    done = bed.call("reboot", "h1", "--timeout", BOOT, timeout=BOOT + 60)
    need(done.returncode == 0, f"reboot: {done.stderr}")
    bed.find()
    need(bed.mem0.read("instance") != instance, "the same instance after a reboot")
    need(set(bed.mem1.extents()) == {stuck, fresh}, f"{bed.mem1.extents()}")
    bed.mem1.wait_state(stuck, "accepted")
    bed.mem1.plug(stuck, "ram")
    bed.mem1.give_back(stuck)
    bed.mem1.release(fresh)
    bed.mem1.wait_gone(fresh)


CHECKS = [
    both_bridges_have_their_own_window, ram_comes_and_goes, two_extents_share_a_node,
    dax_reaches_the_pool_file, dax_mapped_untouched_is_in_use, from_ram_to_dax_and_back,
    a_group_is_taken_whole, ram_needs_whole_memory_blocks, a_wrong_online_policy_is_refused,
    ram_online_by_policy_is_left_online, dax_online_by_policy_is_unplugged_first,
    wishes_are_checked, an_extent_is_never_carved, memory_in_use_is_moved_not_lost,
    pinned_memory_is_waited_for, the_module_stays_while_memory_is_plugged,
    default_use_after_a_delay, a_lost_event_is_reported_and_not_fatal,
    a_group_left_open_is_dropped,
    what_the_device_forgot_is_dropped, both_devices_plug_at_once, a_function_removed_keeps_its_memory,
    a_reboot_replays_the_accepted_list,
]


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--build", type=Path, help="where to build (default: a temporary folder)")
    words.add_argument("--only", default="", metavar="REGEX", help="run the checks whose name this finds")
    given = words.parse_args()

    skip_without_root()
    with tempfile.TemporaryDirectory(prefix="dcd-") as folder:
        os.chmod(folder, 0o755)
        target = (given.build or Path(folder) / "build").resolve()
        target.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        overlay = build(target)
        print(f"built in {time.monotonic() - began:.1f} s", flush=True)
        bed = Bed(folder)
        failures = 0
        try:
            bed.up(overlay)
            for check in CHECKS:
                if not re.search(given.only, check.__name__):
                    continue
                began = time.monotonic()
                try:
                    check(bed)
                    verdict = "ok"
                except (Failed, subprocess.TimeoutExpired) as e:
                    verdict = f"FAILED: {e}"
                if found := bed.splats():
                    verdict += f" SPLAT: {found}"
                print(f"{check.__name__:45} {time.monotonic() - began:6.1f} s  {verdict}",
                      flush=True)
                if verdict != "ok":
                    # the next checks would stumble over what this one left
                    failures += 1
                    print(bed.sh("dmesg | tail -60", check=False))
                    break
        finally:
            bed.call("down")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
