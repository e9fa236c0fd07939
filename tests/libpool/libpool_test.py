#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libpool in a guest whose far node is a grant: tiers, pages, and what the workload sees of tiering."""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "vm")]

from vmtest import MIB, expect, expect_in, main, node_of, sh  # noqa: E402


def one_tier_is_said(rack):
    """Without a far node the workload does not start, and says why."""
    result = rack.host("h1", "pool-hotset", "--check")
    expect(result.code == 1, f"pool-hotset ended with code {result.code} on a machine with one tier")
    expect_in("nothing to tier", result.err, "pool-hotset")
    rack.create("far", "256M", "h1")
    expect(node_of(rack, "far", "h1") == 1, "the far node is not node 1")


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


def hot_pages_come_near_and_the_cpu_is_accounted_for(rack):
    result = rack.host("h1", "pool-hotset", "--bytes", "12M", "--hot-bytes", "2M", "--near-limit", "4M",
                       "--baseline-seconds", "2", "--seconds", "14", "--check", "--json", timeout=90)
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
                       "--tiering", "on", "--seconds", "5", "--mover", "off", "--check", timeout=90)
    expect(result.code == 1, f"the check ended with code {result.code} though nothing moves")
    moved = re.search(r"^moved\s+(\d+) pages near, (\d+) far, (\d+) failed", result.out, re.M)
    expect(moved and moved[1] == moved[2] == "0", f"pages moved: {moved and moved[0]}")
    expect(int(moved[3]) > 0, "it did not even want to move anything")


if __name__ == "__main__":
    main("two-hosts", [one_tier_is_said, wrong_words_are_refused, pages_go_where_they_are_told,
                       hot_pages_come_near_and_the_cpu_is_accounted_for,
                       with_the_mover_off_the_same_check_fails])
