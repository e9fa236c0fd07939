# SPDX-License-Identifier: Apache-2.0
"""make bench-tier TARGET=native NEAR=0 FAR=1: the same workloads on two memory nodes of this machine.

The near node cannot be made small here without a hog, which tierers see: so all data begins on the far node, and
libpool may take 1/8 of it near. The kernel has no such limit and is shown for what it is. Near shares are the
workload's own: each second the kernel is asked where a sample of the accessed pages is.
"""

import json
import os
import statistics
import subprocess
from pathlib import Path

import contenders as who
import plan
from guest import CHECKOUT, Fault

RUNS = 3
NODES = Path("/sys/devices/system/node")
BALANCING = Path("/proc/sys/kernel/numa_balancing")
KERNEL_TIERING = {Path(who.NUMA): "1", BALANCING: "2"}


def program() -> str:
    for file in (CHECKOUT / "build/host").rglob("pool-work"):
        if file.is_file():
            return str(file)
    raise Fault("pool-work is not built for this machine: run `make` first")


def check_nodes(near: int, far: int) -> None:
    there = sorted(int(n.name[4:]) for n in NODES.glob("node[0-9]*") if "MemTotal:        0" not in
                   (n / "meminfo").read_text())
    missing = [n for n in (near, far) if n not in there]
    if near == far or missing:
        have = "the memory node " + str(there[0]) if len(there) == 1 else "the memory nodes " + str(there)[1:-1]
        raise Fault(f"this machine has {have}, and the comparison needs two different ones; NEAR={near} FAR={far} was "
                    "asked for")


def run_one(words: list[str], near: int, far: int) -> dict:
    argv = [program(), *words, "--nodes", f"{near},{far}", "--own-view"]
    # Where both have CPUs nothing but this word makes one of them near.
    tiers = {**os.environ, "POOL_TIERS": f"near={near} far={far}"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=tiers)
    if done.returncode:
        raise Fault(done.stderr.strip() or f"{' '.join(argv)} ended with {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def shown(result: dict) -> tuple[float, float]:
    near = sum(n * a for n, a in zip(result["near"], result["accesses"])) / sum(result["accesses"])
    return 100 * near, sum(result["accesses"]) / sum(result["seconds"]) / 1e6


def with_values(values: dict, act):
    """Set what moves pages in the kernel, and back afterwards."""
    before = {f: f.read_text().strip() for f in values}
    try:
        for file, value in values.items():
            file.write_text(value)
        return act()
    finally:
        for file, value in before.items():
            file.write_text("1" if value == "true" else "0" if value == "false" else value)


def without_kernel_tiering(act):
    """With 1, which distributions have, the kernel brings pages to the CPU that uses them: near, most of all."""
    can = os.geteuid() == 0 and os.access(BALANCING, os.W_OK)
    return with_values({BALANCING: "0"}, act) if can else act()


def balanced_by_the_kernel() -> str:
    """What must be known of figures that were taken with NUMA balancing on, or nothing."""
    if os.geteuid() == 0 or not BALANCING.exists() or BALANCING.read_text().strip() == "0":
        return ""
    return ("NUMA balancing is on and moves pages near in each row: as root it is switched off meanwhile, or by "
            "`sysctl kernel.numa_balancing=0`")


def no_kernel_tiering() -> str:
    """Why it cannot be shown, or nothing."""
    if os.geteuid() != 0:
        return "only root can switch it on"
    missing = [str(f) for f in KERNEL_TIERING if not os.access(f, os.W_OK)]
    return f"{missing[0]} is not there to be written" if missing else ""


def native(words: list[str]) -> int:
    if len(words) != 2 or not all(w.isdigit() for w in words):
        raise Fault("native takes two nodes: TARGET=native NEAR=0 FAR=1")
    near, far = int(words[0]), int(words[1])
    check_nodes(near, far)
    limit = str(plan.DATA // 8)
    ways = {"all far": ["--far"], "libpool, 1/8 near": ["--far", "--tiering", "--near-limit", limit],
            "kernel tiering, all near allowed": ["--far"]}
    refused = {}
    if why := no_kernel_tiering():
        refused["kernel tiering, all near allowed"] = why
    print(f"near is node {near}, far is node {far}; medians of {RUNS} runs\n")
    print("| workload | contender | near % | million accesses/s |\n|---|---|---|---|")
    for workload in plan.HEADLINE_WORKLOADS:
        for name, options in ways.items():
            if name in refused:
                continue
            runs = []
            for seed in range(1, RUNS + 1):
                argv = [*plan.WORKLOADS[workload].options(seed), *options]
                act = lambda argv=argv: run_one(argv, near, far)  # noqa: E731
                try:
                    kernel = name.startswith("kernel")
                    runs.append(shown(with_values(KERNEL_TIERING, act) if kernel else
                                      without_kernel_tiering(act)))
                except Fault as e:
                    if "--tiering" not in options:
                        raise
                    refused[name] = str(e)  # the others can be shown all the same
                    break
            if name not in refused:
                near_percent, speed = (statistics.median(r[i] for r in runs) for i in (0, 1))
                print(f"| {workload} | {name} | {near_percent:.1f} | {speed:.2f} |", flush=True)
    for name, why in refused.items():
        print(f"\nnot shown: {name}: {why}")
    if note := balanced_by_the_kernel():
        print(f"\n{note}")
    return 1 if "libpool, 1/8 near" in refused else 0
