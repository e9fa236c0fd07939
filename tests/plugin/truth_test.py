#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The plugin against a program whose accesses are known: every page's count, and which node served it."""

import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(CHECKOUT / "tests/bench-tier")]

from guest import Fault, Guest, Sizes, plugin_file, read_trace  # noqa: E402

MIB = 1 << 20
SKIP = 77
PAGES = 64


def expect(held, sentence: str) -> None:
    if not held:
        raise Fault(sentence)


def counts_are_exact(guest, node: int, letter: str) -> None:
    label = f"touch-{node}"
    guest.run("numactl", f"--membind={node}", "truthctl", "touch", label, timeout=120).must()
    trace = read_trace(guest.plugin_folder / f"{label}.trace")
    expect(trace.pages == PAGES, f"the trace has {trace.pages} pages, the program {PAGES}")
    wanted = [2 * 1000 * (page + 1) for page in range(PAGES)]  # two threads
    counted = [sum(column) for column in zip(*trace.epochs)]
    wrong = [p for p in range(PAGES) if counted[p] != wanted[p]]
    expect(not wrong, f"page {wrong and wrong[0]} was touched {wrong and wanted[wrong[0]]} times, counted were "
           f"{wrong and counted[wrong[0]]}")
    expect(trace.home == letter * PAGES, f"pages bound to node {node} are first seen at {trace.home}")
    rows = guest.epochs(label)
    near, far = sum(r["near"] for r in rows), sum(r["far"] for r in rows)
    all_of_it = sum(wanted)
    expect((near, far) == ((all_of_it, 0) if node == 0 else (0, all_of_it)),
           f"of {all_of_it} accesses on node {node}, {near} were counted near and {far} far")


def refusals_are_sentences(guest) -> None:
    for words, said in (("start 0x1001 4 100 x", "does not begin at a page"),
                        ("start 0x1000 0 100 x", "has no page"),
                        ("start 0x1000 99999999 100 x", "more pages than there are counters"),
                        ("start 0x1000 4 1 x", "10 ms"), ("start 0x1000 4 100 ../x", "label")):
        result = guest.run("truthctl", *words.split())
        expect(result.code == 1 and said in result.err, f"truthctl {words} said: {result.err.strip()}")
    expect(not list(guest.plugin_folder.glob("*x*")), "a refused request has left a file")


def main() -> int:
    try:
        plugin = plugin_file()
        sizes = Sizes(near_node=192 * MIB, far_node=256 * MIB)
        guest = Guest(CHECKOUT / "build/vm/plugin", sizes, plugin, os.environ.get("CXLPOOL_OVERLAY"))
    except Fault as e:
        print(f"skipped: {e}")
        return SKIP
    with guest:
        counts_are_exact(guest, 0, "n")
        print("passed  counts_are_exact near", flush=True)
        counts_are_exact(guest, 1, "f")
        print("passed  counts_are_exact far", flush=True)
        refusals_are_sentences(guest)
        print("passed  refusals_are_sentences", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
