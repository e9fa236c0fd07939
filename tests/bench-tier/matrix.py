# SPDX-License-Identifier: Apache-2.0
"""bench matrix: the simulator's policies over the exact traces that the first-touch runs of the headline left behind, with
near memory for several parts of the pages that are used. The shares are of pooltrace's certified bound, moves included.

Where pages were first is known for one size of near memory alone, so it is left out: a page is near when it is first
used, as long as there is room."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measure
from guest import Fault
from report import spread, table

POLICIES = {"first-touch": "first touch", "tpp": "TPP-like", "histogram": "histogram", "two-ewma": "two EWMA",
            "ours": "**libpool**"}
PARTS = (8, 2)  # near is 1/8, 1/2
MIB = 1 << 20


def used_pages(trace: Path) -> int:
    """How many pages are accessed at all."""
    used = bytearray(measure.head_of(trace)[0])
    for parts in measure.read_epochs(trace):
        at = 0
        for count, repeat in parts:
            if count:
                used[at:at + repeat] = b"\1" * repeat
            at += repeat
    return sum(used)


def without_homes(trace: Path, target: Path) -> None:
    with open(trace, encoding="ascii") as lines, open(target, "w", encoding="ascii") as out:
        out.writelines(line for line in lines if line.split()[:1] != ["home"])


def jump_epoch(result: dict) -> int | None:
    """The first epoch that is after the jump as a whole."""
    work = result["work"]
    if not work["jump_s"]:
        return None
    return next((r["epoch"] for r in result["rows"] if r["start_s"] >= work["loop_after_s"] + work["jump_s"]), None)


def simulated(pooltrace: Path, trace: Path, near_pages: int, jump: int | None) -> list[dict]:
    """One row a policy, as pooltrace writes them."""
    out = trace.with_suffix(".csv")
    at_jump = ["--jump", str(jump)] if jump else []
    try:
        subprocess.run([pooltrace, "run", "--trace", trace, "--near", str(near_pages), "--csv", out, *at_jump],
                       check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as e:
        raise Fault(f"{trace.name}: {e}") from None
    with open(out, encoding="ascii") as rows:
        return list(csv.DictReader(rows))


def rows_of(trace: Path, folder: Path, pooltrace: Path, scratch: Path) -> list[dict]:
    axis, kind, seed = trace.stem.split(".")
    result = folder / f"results/{axis}.{kind}.first-touch.{seed}.json"
    jump = jump_epoch(json.loads(result.read_text())) if result.exists() else None
    used, bare = used_pages(trace), scratch / trace.name
    without_homes(trace, bare)
    return [{"kind": kind, "part": part, "jump": jump or "", **row}
            for part in PARTS for row in simulated(pooltrace, bare, used // part, jump)]


def numbers(rows: list[dict], name: str) -> list[float | None]:
    return [float(r[name]) if r[name] else None for r in rows]


def table_of(rows: list[dict]) -> str:
    """`rows`: of pooltrace's CSV, with `kind` and `part` beside it. Medians (ranges) over the traces of a kind."""
    lines = []
    for part in PARTS:
        for kind in dict.fromkeys(r["kind"] for r in rows):
            def of(policy):
                return [r for r in rows if (r["kind"], r["part"], r["policy"]) == (kind, part, policy)]
            ours = of("ours")
            jumps = any(r["jump"] for r in ours)
            lines.append([kind, f"1/{part}", str(len(ours)), spread(numbers(ours, "bound_near_share"), 100),
                          *(f"{spread(numbers(of(p), 'of_bound'), 100)} / {spread(numbers(of(p), 'moved_bytes'), 1 / MIB, 0).split()[0]}"
                            for p in POLICIES),
                          ", ".join("never" if s is None else f"{s:.0f}" for s in numbers(ours, "recovery_90_s")) if jumps else ""])
    return table(["workload", "near", "traces", "bound, near %", *POLICIES.values(), "90 % after the jump, s"], lines)


def write_matrix(folder: Path, pooltrace: Path) -> int:
    traces = sorted((folder / "traces").glob("headline.*.trace"))
    if not traces:
        print(f"bench-tier: there are no traces in {folder / 'traces'}: run `make bench-tier` (all workloads) or "
              "`make bench-tier-quick` (two short ones)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for of_trace in pool.map(lambda t: rows_of(t, folder, pooltrace, Path(scratch)), traces) for row in of_trace]
    with open(folder / "matrix.csv", "w", encoding="ascii", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(table_of(rows))
    print(f"bench-tier: the figures are in {folder / 'matrix.csv'}")
    return 0
