# SPDX-License-Identifier: Apache-2.0
"""Tables and plots of the cells that are there: report.md, and one plot a workload where gnuplot is installed. A cell that is missing is shown as missing."""

import json
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import measure
import plan
from contenders import MOVE_NS

ORDER = ("first-touch", "all-far", "interleave", "kernel", "kernel-limited", "damon", "libpool", "libpool-damon",
         "libpool-run", "libpool-truth")
MIB_PER_PAGE = 4096 / (1 << 20)


def load(folder: Path, optimum_of) -> list[dict]:
    out = []
    for file in sorted((folder / "results").glob("*.json")):
        result = json.loads(file.read_text())
        optimum = optimum_of(result["axis"], result["workload"], result["seed"])
        result["optimum"] = optimum
        result["figures"] = measure.figures(result["rows"], result["work"], optimum)
        out.append(result)
    return out


def spread(values, scale: float = 1, digits: int = 1) -> str:
    """Median (smallest to largest), or a dash for none."""
    values = [round(v * scale, digits) + 0.0 for v in values if v is not None]  # + 0.0: no "-0.0"
    if not values:
        return "–"
    median = f"{statistics.median(values):.{digits}f}"
    low, high = min(values), max(values)
    return median if len(values) == 1 else f"{median} ({low:.{digits}f}–{high:.{digits}f})"


def each(figures: list[dict], name: str) -> str:
    """One by one: a median of runs of which some never got there would hide those. A dash where nobody can tell, for want
    of a best placement."""
    return ", ".join("never" if f[name] is None else f"{f[name]:.0f}" for f in figures if name in f) or "–"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|",
                      *("| " + " | ".join(row) + " |" for row in rows)])


def moved_mib(result: dict) -> float:
    return result["moves"]["pgmigrate_success"] * MIB_PER_PAGE


def kernel_cpu_share(result: dict) -> float:
    return sum(result["kernel_cpu_s"].values()) / result["figures"]["seconds"]


def cost_ratio(result: dict, results: list[dict]) -> float | None:
    """To first touch with the same seed. Harm is what is above 1."""
    def cost(r: dict) -> float:
        return measure.cost_per_access_ns(r["rows"], r["work"]["loop_after_s"], r["moves"]["pgmigrate_success"],
                                          plan.AXES[r["axis"]].gain_ns, MOVE_NS)
    base = [cost(r) for r in results if r["contender"] == "first-touch" and r["seed"] == result["seed"]]
    return cost(result) / base[0] if base and base[0] else None


def rows_of(results: list[dict]) -> list[list[str]]:
    """One row a contender: everything about it on one workload and axis."""
    first = defaultdict(list)  # by machine: speeds of two cannot be compared
    for r in results:
        if r["contender"] == "first-touch":
            first[r.get("machine")].append(r["figures"]["accesses_per_s"])
    rows = []
    by_name = defaultdict(list)
    for r in results:
        by_name[r["contender"]].append(r)
    for name in sorted(by_name, key=lambda n: (ORDER.index(n) if n in ORDER else 99, n)):
        mine = by_name[name]
        shown = [r["figures"] for r in mine]
        speed = spread([r["figures"]["accesses_per_s"] / statistics.median(first[r.get("machine")]) for r in mine
                        if first[r.get("machine")]], 1, 2)
        rows.append([
            mine[0]["title"], str(len(mine)),
            spread([f["near_share"] for f in shown], 100),
            spread([f.get("of_optimum") for f in shown], 100),
            spread([f["settled"][-1] for f in shown], 100),
            spread([f["settled_of_optimum"][-1] for f in shown if f.get("settled_of_optimum")], 100),
            each(shown, "recovery_90_s"), each(shown, "recovery_95_s"),
            spread([moved_mib(r) for r in mine], 1, 0),
            spread([cost_ratio(r, results) for r in mine], 1, 2),
            spread([kernel_cpu_share(r) for r in mine], 100),
            spread([f["other_cpu"] for f in shown], 100),
            spread([looking_share(r) for r in mine], 100),
            speed])
    return rows


HEAD = ["contender", "runs", "near %", "of best fixed %", "near % settled", "of best fixed % settled", "s to 90 %", "s to 95 %",
        "moved MiB", "cost, first touch = 1", "kernel threads, % of a CPU", "own threads, % of a CPU",
        "of it looking and deciding, with faults", "speed, first touch = 1"]


def overview(results: list[dict], axis: str) -> str:
    """One row a workload: the near share of each contender, and the best fixed placement."""
    here = [r for r in results if r["axis"] == axis]
    names = sorted({r["contender"] for r in here}, key=lambda n: (ORDER.index(n) if n in ORDER else 99, n))
    rows = []
    for workload in (w for w in plan.WORKLOADS if any(r["workload"] == w for r in here)):
        def shares(name: str) -> str:
            return spread([r["figures"]["near_share"] for r in here if (r["workload"], r["contender"]) == (workload, name)], 100)
        optima = [r["optimum"]["overall"] for r in here if r["workload"] == workload and r["optimum"]]
        rows.append([workload, *map(shares, names), spread(sorted(set(optima)), 100)])
    return table(["near %", *names, "best fixed placement"], rows) + "\n"


# What says something where the far node is emulated access by access.
HIT_SHARE_ONLY = ["contender", "runs", "near %", "of best fixed %", "near % settled", "of best fixed % settled", "moved MiB"]


def columns(rows: list[list[str]], names: list[str]) -> list[list[str]]:
    return [[row[HEAD.index(name)] for name in names] for row in rows]


def looking_share(result: dict) -> float | None:
    """Of a CPU: what libpool says that sampling and deciding took, the program's faults among it, moving not."""
    said = result["work"].get("tiering") or {}
    if "faults_s" not in said:  # a program that does not link libpool, or is told the truth
        return None
    return (said["thread_s"] + said["faults_s"]) / sum(result["work"]["seconds"])


def section(results: list[dict], axis: str, workload: str) -> str:
    chosen = [r for r in results if r["axis"] == axis and r["workload"] == workload]
    optima = [r["optimum"]["overall"] for r in chosen if r["optimum"] and r["contender"] == "first-touch"]
    near = [r["optimum"]["near_pages"] * MIB_PER_PAGE for r in chosen if r["optimum"]]
    w = plan.WORKLOADS[workload]
    what = f"{w.seconds} s" + (f", the hot set jumps after {w.jump_s} s" if w.jump_s else "")
    optimum = f"; best fixed placement {spread(optima, 100)} %" if optima else ""
    head = HIT_SHARE_ONLY if plan.AXES[axis].dcd else HEAD
    return (f"#### {workload}\n\n{what}; near memory for the workload: {spread(near)} MiB{optimum}\n\n" +
            table(head, columns(rows_of(chosen), head)) + "\n")


NOTES = """Near share: of all accesses of the workload's own code, counted one by one by a QEMU plugin, those that went to the
near node. Median (range) over the repetitions; seconds run by run, in the order of their seeds. Best fixed placement: the best one that
stays the same for a whole phase (before, after the jump), known beforehand, moved free of charge. Settled: in the last third of the last
phase. Seconds: from the jump to the first of three seconds that together reach that part of the best fixed placement after it.
Cost: what far accesses cost more (what libpool is told) and moving pages (60 us each), by access, to first touch's with the
same seed: above 1 is harm. Emulated (TCG) on a shared machine: both nodes are the same RAM and speeds say nothing about
hardware; they stand here because a tierer that slows the program down shows there.
"""


def measured_at(results: list[dict]) -> str:
    """Which commits the cells are of: not all are measured anew after each change."""
    commits = defaultdict(lambda: defaultdict(int))
    for r in results:
        commits[r["title"]][r["commit"]] += 1
    said = "; ".join(f"{title}: {', '.join(f'{commit} ({n})' for commit, n in sorted(of.items()))}"
                     for title, of in sorted(commits.items()))
    return f"Measured at commits (cells): {said}.\n"


def write_report(folder: Path, optimum_of, quick: bool = False) -> int:
    results = load(folder, optimum_of)
    if not results:
        print(f"bench-tier: there are no results in {folder / 'results'}: run `make bench-tier-quick`", file=sys.stderr)
        return 1
    parts = [("QUICK RUN: one repetition, two short workloads. A direction, not a result.\n" if quick else ""), NOTES]
    for axis in plan.AXES.values():
        workloads = [w for w in plan.WORKLOADS if any(r["axis"] == axis.name and r["workload"] == w for r in results)]
        if workloads:
            parts += [f"### {axis.title}\n", overview(results, axis.name)]
            parts += [section(results, axis.name, w) for w in workloads]
            parts.append(measured_at([r for r in results if r["axis"] == axis.name]))
    text = "\n".join(p for p in parts if p)
    (folder / "report.md").write_text(text)
    print(text)
    plots(folder, results)
    print(f"bench-tier: this report is {folder / 'report.md'}")
    return 0


# ---- plots -----------------------------------------------------------------------------------

def plots(folder: Path, results: list[dict]) -> None:
    if not shutil.which("gnuplot"):
        print("bench-tier: no plots: gnuplot is not installed")
        return
    (folder / "plots").mkdir(exist_ok=True)
    for axis, workload in sorted({(r["axis"], r["workload"]) for r in results if r["axis"] != "tuning"}):
        plot(folder / "plots", [r for r in results if r["axis"] == axis and r["workload"] == workload])


def plot(folder: Path, results: list[dict]) -> None:
    """Near share by second, the median of the repetitions."""
    name = f"{results[0]['axis']}-{results[0]['workload']}"
    by_name = defaultdict(list)
    for r in results:
        by_name[r["contender"]].append(r)
    script = [f"set terminal svg size 900,420 dynamic; set output '{folder / name}.svg'",
              "set key outside right; set yrange [0:100]; set grid y",
              f"set title '{results[0]['workload']} ({results[0]['axis']})' noenhanced",
              "set xlabel 's'; set ylabel '% of the accesses near'"]
    curves, data = [], []
    for contender in sorted(by_name, key=lambda n: (ORDER.index(n) if n in ORDER else 99, n)):
        runs = [r["figures"]["by_second"] for r in by_name[contender]]
        length = min(len(r) for r in runs)
        points = [statistics.median(r[i] for r in runs) for i in range(length)]
        block = "\n".join(f"{i} {100 * p:.2f}" for i, p in enumerate(points))
        data.append(f"${contender.replace('-', '_')} << E\n{block}\nE")
        curves.append(f"${contender.replace('-', '_')} with lines lw 2 title '{by_name[contender][0]['title']}' noenhanced")
    optimum = results[0]["optimum"]
    if optimum:
        jump = results[0]["work"]["jump_s"]
        steps = optimum["phases"]
        levels = [(0, steps[0]), (jump or 1e3, steps[0])] + ([(jump, steps[1]), (1e3, steps[1])] if jump else [])
        data.append("$optimum << E\n" + "\n".join(f"{x} {100 * y:.2f}" for x, y in levels) + "\nE")
        curves.append("$optimum with lines dt 2 lc 'black' title 'best fixed placement'")
        script.append(f"set xrange [0:{max(len(r['figures']['by_second']) for r in results)}]")
    text = "\n".join([*data, *script, "plot " + ", ".join(curves)]) + "\n"
    subprocess.run(["gnuplot"], input=text, text=True, check=False)
