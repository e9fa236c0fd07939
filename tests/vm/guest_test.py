#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What guests do to the rack: reboot, die, freeze, lose their agent or driver, lie, and reach out."""

import os
import re
import socket

from vmtest import (MIB, dax_path, environment_is_root, expect, expect_in, extents_of, kill_poold,
                    load_driver, main, node_of, pattern, report, restart_poold, sh, until)


def a_reboot_keeps_grants_and_bytes(rack):
    rack.create("kept", "16M", "h1", use="dax")
    rack.create("room", "128M", "h1")
    rack.host("h1", "memtool", "fill", dax_path(rack, "kept", "h1"), "0", "16M", "h1").must()
    rack.reboot_host("h1")
    rack.healthy()
    rack.host("h1", "memtool", "verify", dax_path(rack, "kept", "h1"), "0", "16M", "h1").must()
    node = node_of(rack, "room", "h1")
    expect_in(f"node {node} size: 128 MB", rack.host("h1", "numactl", "-H").must().out, "numactl")
    rack.release_all()


def a_new_machine_gets_the_same_grant_scrubbed(rack):
    grant = rack.create("again", "16M", "h1", use="dax")
    rack.host("h1", "memtool", "fill", dax_path(rack, "again", "h1"), "0", "16M", "h1").must()
    expect(rack.pool_bytes(grant["extents"][0]) == pattern("h1", 16 * MIB), "the pattern is not in the pool")
    rack.kill_host("h1")
    until(lambda: rack.host_view("h1")["state"] != "ready", 15,
          "fmd calls h1 ready although its machine is dead")
    other = rack.create("other", "16M", "h2", use="dax")
    expect(other["extents"] != grant["extents"], "h2 was given what h1's grant still owns")
    rack.start_host("h1")
    rack.wait_ready("h1")
    rack.healthy()
    same = rack.grant("again")
    expect(same["state"] == "active" and same["extents"] == grant["extents"],
           f"the grant is {same['state']} at {same['extents']}, not active at {grant['extents']}")
    rack.host("h1", "memtool", "verify", dax_path(rack, "again", "h1"), "0", "16M", "zeros").must()
    rack.release_all()


def a_frozen_guest_keeps_what_it_has(rack):
    rack.create("cold", "128M", "h1")
    rack.stop_host("h1")
    until(lambda: rack.host_view("h1")["state"] == "silent", 30,
          "h1 is frozen and fmd does not call it silent")
    result = rack.fmctl("grant", "release", "cold", "--wait=2")
    expect(result.code == 4, f"the release of a frozen host's grant ended with {result.code}, not 4")
    other = rack.create("warm", "128M", "h2")
    expect(other["extents"] != rack.grant("cold")["extents"], "h2 was given what h1 still holds")
    rack.cont_host("h1")
    rack.wait_grant("cold", "gone", "unknown")
    rack.release_all()
    rack.healthy()


def a_fenced_host_reaches_nothing(rack):
    """The fence of a guest is the end of its machine; what it held comes back without it."""
    grant = rack.create("held", "16M", "h2", use="dax")
    rack.host("h2", "memtool", "fill", dax_path(rack, "held", "h2"), "0", "16M", "h2").must()
    rack.fmctl("host", "fence", "h2").must()
    until(lambda: rack.host_view("h2")["state"] == "fenced", 20, "h2 is not fenced after 20 s")
    status = {h["name"]: h["state"] for h in rack.testbed("status", "--json").json()["hosts"]}
    expect(status["h2"] == "down", f"h2 is fenced and its machine is {status['h2']}")
    rack.release("held")
    expect(not any(rack.pool_bytes(grant["extents"][0])), "the fenced host's bytes were not erased")
    rack.start_host("h2")
    rack.wait_ready("h2")
    rack.healthy()


def a_killed_agent_changes_nothing(rack):
    rack.create("stays", "128M", "h1")
    held = rack.hold("h1", node_of(rack, "stays", "h1"), 4 * MIB, "stays")
    kill_poold(rack, "h1")
    until(lambda: rack.host_view("h1")["state"] == "silent", 20,
          "h1 has no poold and fmd does not call it silent")
    expect(rack.grant("stays")["state"] == "active", "the grant was hurt by the death of poold")
    late = rack.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--name", "late")
    expect(late.code == 1, f"a grant to a host without poold ended with {late.code}, not refused")
    expect(re.search(r"h1 is silent: its poold was last heard \d+ s ago", late.err) is not None,
           f"the refusal does not say since when: {late.err}")
    expect(rack.grant("late")["state"] == "unknown", "a refused grant was left behind")
    restart_poold(rack, "h1")
    rack.wait_ready("h1")
    rack.create("late", "128M", "h1")
    held.check()
    held.let_go()
    rack.release_all()
    rack.healthy()


def an_offer_accepted_long_after_the_wait(rack):
    """h2 loses its driver unseen: fmd still believes it ready, offers, and must wait for ever."""
    kill_poold(rack, "h2")
    sh(rack, "h2", "rmmod cxl_dcd").must()
    result = rack.fmctl("grant", "create", "--host", "h2", "--size", "128M", "--name", "slow", "--wait=3")
    expect(result.code == 4, f"the wait ended with code {result.code}, not 4")
    expect_in("stays", result.err, "fmctl")
    grant = rack.grant("slow")
    other = rack.create("quick", "128M", "h1")
    expect(other["extents"] != grant["extents"], "h1 was given what is on offer to h2")
    rack.fmd_kill()  # and fmd forgets nothing of it
    rack.fmd_start()
    load_driver(rack, "h2")
    restart_poold(rack, "h2")
    rack.wait_grant("slow", "active")
    rack.healthy()
    rack.release_all()


def an_offer_released_before_it_is_answered(rack):
    kill_poold(rack, "h2")
    sh(rack, "h2", "rmmod cxl_dcd").must()
    rack.fmctl("grant", "create", "--host", "h2", "--size", "128M", "--name", "unwanted", "--wait=2")
    result = rack.fmctl("grant", "release", "unwanted", "--wait=2")
    expect(result.code == 4, f"an offer that cannot be withdrawn was released with code {result.code}")
    load_driver(rack, "h2")
    restart_poold(rack, "h2")
    rack.wait_grant("unwanted", "gone", "unknown")
    rack.wait_ready("h2")
    rack.healthy()
    expect(extents_of(rack, "h2") == [], "h2 still holds an extent of a grant that is gone")


def a_lying_agent_frees_nothing(rack):
    """poold says that nothing is plugged, while a program works on it: the device decides."""
    grant = rack.create("mine", "16M", "h1", use="dax")
    dax = dax_path(rack, "mine", "h1")
    rack.host("h1", "memtool", "fill", dax, "0", "16M", "h1").must()
    kill_poold(rack, "h1")
    status, body = report(rack, "h1")
    expect(status == 200, f"fmd answered a well-formed report with {status}: {body}")
    rack.fmctl("grant", "release", "mine", "--wait=3")
    report(rack, "h1", seq=1_000_000_001)
    expect(rack.grant("mine")["state"] in ("draining", "stuck"),
           f"the lie moved the grant on: it is {rack.grant('mine')['state']}")
    expect(rack.pool_bytes(grant["extents"][0]) == pattern("h1", 16 * MIB),
           "bytes that h1 still has plugged were erased on its poold's word")
    other = rack.create("yours", "16M", "h2", use="dax")
    expect(other["extents"] != grant["extents"], "h2 was given what h1 still holds")
    # seq only rises within a boot: the true agent is heard again after the next one.
    rack.reboot_host("h1")
    rack.wait_grant("mine", "gone", "unknown")
    rack.release_all()
    rack.healthy()


def an_agent_claims_what_its_device_denies(rack):
    kill_poold(rack, "h1")
    claim = {"dpa": 512 * MIB, "len": 128 * MIB, "state": "plugged", "use": "ram", "node": 1,
             "dax": "dax0.0", "error": ""}
    status, body = report(rack, "h1", devices=[{"serial": 1, "region_base": 0, "region_len": 1 << 30,
                                               "hpa": 1 << 32, "extents": [claim]}])
    expect(status == 200, f"fmd answered a well-formed report with {status}: {body}")
    doctor = rack.fmctl("doctor", "--json")
    expect(doctor.code == 1, "doctor is content although a driver claims an extent of no grant")
    expect(any("foreign" in row["note"] or "denies" in row["note"] for row in doctor.json()["rows"]),
           f"doctor does not name the claim: {doctor.out}")
    grant = rack.create("real", "128M", "h2")
    expect(grant["state"] == "active", "h2's grant was held up by what h1 claims")
    rack.reboot_host("h1")
    rack.release_all()
    rack.healthy()


def a_guest_reaches_only_its_own_socket(rack):
    before = rack.host_view("h2")["boot"]
    status, _ = report(rack, "h1", host="h2", seq=1)  # an old seq: refused, and in any case h1's
    expect(status == 409, f"an old report was answered with {status}, not 409")
    expect(rack.host_view("h2")["boot"] == before,
           "what h1 said changed what fmd knows of h2")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    port = listener.getsockname()[1]
    for address in (f"10.0.2.2 {port}", "10.0.2.3 53", "10.0.2.100 7001", "10.0.2.15 7000"):
        reached = sh(rack, "h1", f"echo x | nc -w 2 {address}", timeout=15)
        expect(reached.code != 0, f"h1 reaches {address}")
    try:
        listener.accept()
        raise AssertionError("h1 reached this machine's loopback")
    except TimeoutError:
        pass
    finally:
        listener.close()
    # And the process of h1's machine itself, were it taken over, cannot open h2's socket.
    if not environment_is_root():
        return
    hosts = {h["name"]: h for h in rack.fabric()["hosts"]}
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(hosts["h1"]["socket_uid"])
        os.setuid(hosts["h1"]["socket_uid"])
        try:
            socket.socket(socket.AF_UNIX).connect(hosts["h2"]["socket"])
        except PermissionError:
            os._exit(0)
        os._exit(1)
    expect(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0,
           "the user of h1's QEMU can open h2's socket")


if __name__ == "__main__":
    main("two-hosts", [a_reboot_keeps_grants_and_bytes, a_new_machine_gets_the_same_grant_scrubbed,
                       a_frozen_guest_keeps_what_it_has, a_fenced_host_reaches_nothing,
                       a_killed_agent_changes_nothing,
                       an_offer_accepted_long_after_the_wait, an_offer_released_before_it_is_answered,
                       a_lying_agent_frees_nothing, an_agent_claims_what_its_device_denies,
                       a_guest_reaches_only_its_own_socket])
