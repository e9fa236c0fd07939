#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libpool in a guest whose far node is a grant: tiers, pages, and what the workload sees of tiering."""

import re
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "vm")]

from vmtest import MIB, expect, expect_in, kill_poold, main, node_of, restart_poold, sh, until  # noqa: E402


def one_tier_is_said(rack):
    """Without a far node the workload does not start, and says why."""
    result = rack.host("h1", "pool-hotset", "--check")
    expect(result.code == 1, f"pool-hotset ended with code {result.code} on a machine with one tier")
    expect_in("nothing to tier", result.err, "pool-hotset")


def a_program_waits_for_its_first_grant(rack):
    """Started with one tier, tiered from when there is a second one."""
    sh(rack, "h1", "pooltier run --wait -- pool-work zipf --bytes 16M --seconds 120 >/dev/null 2>/tmp/waits & "
                   "echo $! >/tmp/waits.pid").must()
    said = lambda: sh(rack, "h1", "pooltier status $(cat /tmp/waits.pid); cat /tmp/waits").out  # noqa: E731
    until(lambda: "waits for a second tier of memory" in said(), 20, lambda: f"it does not say so: {said()}")
    rack.create("far", "256M", "h1")
    expect(node_of(rack, "far", "h1") == 1, "the far node is not node 1")
    until(lambda: "far nodes 1" in said() and "tiered for" in said(), 20, lambda: f"it does not begin: {said()}")
    sh(rack, "h1", "kill $(cat /tmp/waits.pid)").must()


def wrong_words_are_refused(rack):
    for words, said in {"--seconds x": "number", "--mover maybe": "on or off", "--hot-bytes 1G": "smaller",
                        "surplus": "no option"}.items():
        result = rack.host("h1", "pool-hotset", *words.split())
        expect(result.code == 2, f"pool-hotset {words} ended with code {result.code}")
        expect_in(said, result.err, f"pool-hotset {words}")


def pages_go_where_they_are_told(rack):
    window = sh(rack, "h1", "cat /sys/bus/pci/devices/*/dcd/window").must().out.split()
    extent = rack.grant("far")["extents"][0]
    start = int(window[0]) + extent["dpa"]
    result = rack.host("h1", "libpool-pages", hex(start), hex(extent["len"]), timeout=120)
    expect(result.code == 0, f"libpool-pages: {(result.out + result.err).strip()[-300:]}")


def tiers_weights_hints_and_drains_do_what_is_said(rack):
    result = rack.host("h1", "libpool-tiers", timeout=120)
    expect(result.code == 0, f"libpool-tiers: {(result.out + result.err).strip()[-500:]}")


def the_declared_tiers_are_those_of_the_program(rack):
    """POOL_TIERS turns near and far round; nonsense in it is one sentence."""
    turned = sh(rack, "h1", "POOL_TIERS='near=1 far=0' pool-cache 500 500").must()
    filled = re.search(r"^filled +near: +([0-9.]+) % of the index, +([0-9.]+) % of the values", turned.out, re.M)
    expect(filled and float(filled[2]) == 0, f"values that begin in the declared far tier: {turned.out.strip()}")
    wrong = sh(rack, "h1", "POOL_TIERS='near=0 far=x' pool-cache 500 500")
    expect(wrong.code == 1, f"pool-cache ended with code {wrong.code} on POOL_TIERS that cannot be read")
    expect_in('POOL_TIERS: "far=x" names no nodes', wrong.err, "pool-cache")


def a_cache_gives_hints_and_serves_right_values(rack):
    run = rack.host("h1", "pool-cache", "3000", "30000", timeout=120).must()
    expect_in("3000 entries, 30000 requests, 0 wrong", run.out, "pool-cache")
    index = re.findall(r"near: +([0-9.]+) % of the index", run.out)
    expect(index and float(index[-1]) == 100, f"the pinned index is not near: {run.out.strip()}")


def a_grant_may_go_in_the_middle_of_moves_and_come_again(rack):
    """The program's far node is released while pages move, and granted anew: it runs on, its data are right."""
    sh(rack, "h1", "libpool-tiers 300 >/tmp/through 2>&1 & echo $! >/tmp/through.pid").must()
    until(lambda: "\n4 s:" in through(rack), 60, lambda: f"it does not start: {through(rack)}")
    expect(" 0 of 3072 pages on node 0" not in through(rack).splitlines()[-1], f"nothing moves: {through(rack)}")
    shown = sh(rack, "h1", "pooltier status $(cat /tmp/through.pid)").must().out
    for words in (" tiered for", "promise   with probability", "near nodes 0, far nodes 1"):
        expect_in(words, shown, "pooltier status of a program that links libpool")
    rack.fmctl("grant", "release", "far", "--wait=60").must()
    expect(node_of_far(rack) is None, "node 1 is still there after the release")
    rack.create("far", "256M", "h1")
    seconds = through(rack).count(" s:")
    until(lambda: through(rack).count(" s:") > seconds + 2, 60, lambda: f"it does not run on: {through(rack)}")
    sh(rack, "h1", "kill -TERM $(cat /tmp/through.pid)").must()
    until(lambda: "tracked pages are near" in through(rack), 60, lambda: f"it does not end: {through(rack)}")
    said = through(rack)
    expect(re.findall(r", ([0-9]+) wrong", said)[-1] == "0", f"words were wrong: {said}")
    failed = re.search(r"([0-9]+) promoted, [0-9]+ demoted, [0-9]+ failed", said)
    expect(failed and int(failed[1]) > 0, f"nothing was promoted: {said}")


def a_drain_goes_hottest_first_and_poold_may_be_killed(rack):
    """Two tiered programs on a grant that must go. poold, killed in the middle several times, leaves pages where they
    are; the next one goes on; the programs notice nothing."""
    words = "--min-range 256K --cpu 20 --loss-ns 1"  # nothing pays: it samples, and moves nothing
    thp = "/sys/kernel/mm/transparent_hugepage/enabled"
    sh(rack, "h1", f"echo never >{thp}; pooltier run {words} -- pool-work hot-contiguous --far --bytes 4M --hot 1M "
                   "--seconds 300 >/dev/null 2>&1 & echo $! >/tmp/hot.pid").must()
    held = rack.popen("h1", "pooltier", "run", *words.split(), "--", "memtool", "hold", "1", "12M", "cold")
    expect(held.stdout.readline().startswith(b"pid "), "memtool does not start")
    status = lambda: sh(rack, "h1", "pooltier status $(cat /tmp/hot.pid)").out  # noqa: E731
    until(lambda: re.search(r"policy +[1-9]\d* cycles", status()), 60, lambda: f"it does not sample: {status()}")
    log = lambda: sh(rack, "h1", "cat /var/log/poold.log").out  # noqa: E731
    rack.fmctl_start("grant", "release", "far", "--wait=100")
    drains = lambda: log().count("memory blocks to take offline")  # noqa: E731
    until(drains, 20, "the drain does not begin", 0.1)
    kills = 0
    for moment in (0, 0.3, 0.9):  # after it has begun; it may be over before the later ones
        time.sleep(moment)
        if node_of_far(rack) is None:
            break
        begun = drains()
        kill_poold(rack, "h1")
        until(lambda: sh(rack, "h1", "pidof poold").code != 0, 10, "poold does not end")
        kills += 1
        check_held(held)
        restart_poold(rack, "h1")
        until(lambda begun=begun: drains() > begun or node_of_far(rack) is None, 30, lambda: f"nobody goes on: {log()[-600:]}", 0.1)
    expect(kills > 0, "the drain was over before poold was killed")
    until(lambda: node_of_far(rack) is None, 100, lambda: f"node 1 stays: {log()[-600:]}", 0.5)
    # One that was killed has moved some, and told of none.
    for moved, of in re.findall(r"(\d+) of (\d+) pages of \d+ tiered process(?:es)? were moved, the hottest first", log()):
        expect(int(moved) >= 0.9 * int(of), f"poold did not move them itself: {log()[-600:]}")
    check_held(held)
    expect(" tiered for" in status(), f"the hot program: {status()}")
    sh(rack, "h1", "kill $(cat /tmp/hot.pid)").must()
    held.stdin.close()
    rack.create("far", "256M", "h1")


def check_held(held) -> None:
    held.stdin.write(b"check\n")
    held.stdin.flush()
    for raw in held.stdout:
        if b" bytes are " in raw:
            same, _, size = raw.decode().split()[:3]
            return expect(same == size, f"memory was lost: {raw.decode().strip()}")
    expect(False, "memtool has ended")


def through(rack) -> str:
    return sh(rack, "h1", "cat /tmp/through").out


def node_of_far(rack):
    return 1 if sh(rack, "h1", "test -d /sys/devices/system/node/node1").code == 0 else None


def hot_pages_come_near_and_the_cpu_is_accounted_for(rack):
    result = rack.host("h1", "pool-hotset", "--bytes", "12M", "--hot-bytes", "2M", "--near-limit", "4M",
                       "--baseline-seconds", "2", "--seconds", "20", "--until", "80", "--gain", "20000", "--check",
                       "--json", timeout=90)
    run = result.must().json()
    off, on = run["phases"]
    expect(off["near_percent_mean"] <= 20, f"{off['near_percent_mean']} % are near without tiering")
    expect(on["near_percent_end"] >= 70, f"{on['near_percent_end']} % are near with tiering")
    tiering = run["tiering"]
    near = tiering["promoted_pages"] - tiering["demoted_pages"]
    expect(0 < near <= 4 * MIB // 4096, f"{near} pages stay near, the limit is 1024")
    expect(tiering["move_cost_ns"] > 0 and tiering["gain_ns"] > 0, "costs and gains are not measured")


def with_the_mover_off_the_same_check_fails(rack):
    result = rack.host("h1", "pool-hotset", "--bytes", "8M", "--hot-bytes", "2M", "--near-limit", "4M",
                       "--tiering", "on", "--seconds", "5", "--gain", "20000", "--mover", "off", "--check", timeout=90)
    expect(result.code == 1, f"the check ended with code {result.code} though nothing moves")
    moved = re.search(r"^moved\s+(\d+) pages near, (\d+) far, (\d+) failed", result.out, re.M)
    expect(moved and moved[1] == moved[2] == "0", f"pages moved: {moved and moved[0]}")
    expect(int(moved[3]) > 0, "it did not even want to move anything")


if __name__ == "__main__":
    main(str(HERE / "one-host.json"),
         [one_tier_is_said, a_program_waits_for_its_first_grant, wrong_words_are_refused, pages_go_where_they_are_told,
          tiers_weights_hints_and_drains_do_what_is_said, the_declared_tiers_are_those_of_the_program,
          a_cache_gives_hints_and_serves_right_values, hot_pages_come_near_and_the_cpu_is_accounted_for,
          with_the_mover_off_the_same_check_fails, a_grant_may_go_in_the_middle_of_moves_and_come_again],
         long=(a_drain_goes_hottest_first_and_poold_may_be_killed,))
