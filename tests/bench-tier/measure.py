# SPDX-License-Identifier: Apache-2.0
"""Figures of one cell, from what the plugin and the workload wrote; the optimum of a trace. Pure."""

from pathlib import Path

PAGE = 4096


def loop_epochs(rows: list[dict], loop_after_s: float) -> list[dict]:
    """Whole epochs after the data was there."""
    return [r for r in rows if r["start_s"] >= loop_after_s and r["seconds"] > 0.5 and r["near"] + r["far"] > 0]


def share(rows: list[dict]) -> float:
    near, far = sum(r["near"] for r in rows), sum(r["far"] for r in rows)
    return near / (near + far) if near + far else 0.0


def shares(rows: list[dict]) -> list[float]:
    return [round(share([r]), 4) for r in rows]


def cost_per_access_ns(rows: list[dict], loop_after_s: float, moved_pages: int, gain_ns: float, move_ns: float) -> float:
    """As the bank reckons it: what far accesses cost more, and moving pages."""
    loop = loop_epochs(rows, loop_after_s)
    accesses = sum(r["near"] + r["far"] for r in loop)
    return (sum(r["far"] for r in loop) * gain_ns + moved_pages * move_ns) / accesses if accesses else 0.0


def phases(rows: list[dict], loop_after_s: float, jump_s: float) -> list[list[dict]]:
    """Before and after the jump; the epoch in which it happened belongs to neither."""
    if not jump_s:
        return [rows]
    at = loop_after_s + jump_s
    return [[r for r in rows if r["start_s"] + r["seconds"] <= at], [r for r in rows if r["start_s"] >= at]]


def recovery_s(rows: list[dict], optimum: float, part: float) -> float | None:
    """From the beginning of the rows to the first of three epochs that together reach that part of the
    optimum. None: never."""
    for i in range(len(rows) - 2):
        if share(rows[i:i + 3]) >= part * optimum:
            return round(rows[i]["start_s"] - rows[0]["start_s"], 1)
    return None


# ---- the optimum -----------------------------------------------------------------------------

def read_epochs(trace: Path):
    """Counts of each page, epoch by epoch, as lists of (count, repeat); the file may be large."""
    with open(trace, encoding="ascii") as file:
        for line in file:
            if line.split()[:1] == ["epoch"]:
                yield [(int(w.split("*")[0]), int(w.split("*")[1]) if "*" in w else 1) for w in line.split()[1:]]


def head_of(trace: Path) -> tuple[int, int]:
    """Pages of the trace, and how many of them first touch got near: what there is room for."""
    pages = 0
    with open(trace, encoding="ascii") as file:
        for line in file:
            key, *words = line.split()
            if key == "pages":
                pages = int(words[0])
            if key == "home":
                return pages, sum(int(w[2:] or 1) for w in words if w[0] == "n")
    return pages, 0


def add_counts(total: list[int], parts) -> None:
    at = 0
    for count, repeat in parts:
        if count:
            for i in range(at, at + repeat):
                total[i] += count
        at += repeat


def best_share(counts: list[int], near_pages: int) -> float:
    """Of the accesses that the hottest pages take, as many as fit near."""
    everything = sum(counts)
    return sum(sorted(counts, reverse=True)[:near_pages]) / everything if everything else 0.0


def phase_counts(trace: Path, rows: list[dict], pages: int, chosen: list[list[dict]]) -> list[list[int]]:
    """Counts of each page over the epochs of each phase. An epoch of the trace is a row of the CSV."""
    of_phase = {r["epoch"]: i for i, phase in enumerate(chosen) for r in phase}
    totals = [[0] * pages for _ in chosen]
    for number, parts in enumerate(read_epochs(trace)):
        if number in of_phase:
            add_counts(totals[of_phase[number]], parts)
    return totals


def optima(trace: Path, rows: list[dict], loop_after_s: float, jump_s: float) -> dict:
    """The best placement that does not change within a phase, known beforehand and free of charge. For a workload
    whose phases are steady nobody can do better but by luck."""
    pages, near_pages = head_of(trace)
    chosen = phases(loop_epochs(rows, loop_after_s), loop_after_s, jump_s)
    totals = phase_counts(trace, rows, pages, chosen)
    of_phases = [best_share(t, near_pages) for t in totals]
    accesses = [sum(t) for t in totals]
    overall = sum(o * a for o, a in zip(of_phases, accesses)) / max(1, sum(accesses))
    return {"phases": [round(o, 4) for o in of_phases], "overall": round(overall, 4), "near_pages": near_pages}


def figures(rows: list[dict], work: dict, optimum: dict | None) -> dict:
    """What the tables show of a cell."""
    after, jump_s = work["loop_after_s"], work["jump_s"]
    loop = loop_epochs(rows, after)
    parts = phases(loop, after, jump_s)
    seconds = sum(work["seconds"])
    out = {"near_share": round(share(loop), 4), "by_second": shares(loop),
           "phase_shares": [round(share(p), 4) for p in parts],
           "settled": [round(share(p[-max(3, len(p) // 3):]), 4) for p in parts],
           "accesses_per_s": round(sum(work["accesses"]) / seconds), "seconds": round(seconds, 1),
           "worker_cpu": round(sum(work["worker_s"]) / seconds, 3),
           "other_cpu": round((sum(work["cpu_s"]) - sum(work["worker_s"])) / seconds, 4)}
    if optimum:
        out["of_optimum"] = round(out["near_share"] / optimum["overall"], 4) if optimum["overall"] else None
        out["settled_of_optimum"] = [round(s / o, 4) for s, o in zip(out["settled"], optimum["phases"]) if o]
        if jump_s and parts[1]:
            out["recovery_90_s"] = recovery_s(parts[1], optimum["phases"][1], 0.90)
            out["recovery_95_s"] = recovery_s(parts[1], optimum["phases"][1], 0.95)
    return out
