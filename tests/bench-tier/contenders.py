# SPDX-License-Identifier: Apache-2.0
"""Who is compared: for each contender what is set in the guest before the workload runs, and how the
workload is started. Pure: shell scripts as texts. Everything that could tell is set for everybody."""

from dataclasses import dataclass, field

DAMON = "/sys/kernel/mm/damon/admin/kdamonds"
NUMA = "/sys/kernel/mm/numa/demotion_enabled"
MIB = 1 << 20
# What libpool shall take a near access to save. Both nodes are the same RAM here, so it would measure nothing and move
# nothing; 150 ns, as between DRAM and CXL memory, times 20, because moving a page costs about 20 times what it costs on
# hardware (60 us instead of 3). The kernel and DAMON weigh no costs.
GAIN_NS = 3000
MOVE_NS = 60000  # for the cost of a run, the same for everybody; libpool measures 35 to 60 us
CPU_PPM = 20000  # of sampling and deciding: an emulator makes both dear, so twice what is the default


def reset(thp: str) -> str:
    """The same beginning for everybody."""
    return f"""
for k in {DAMON}/[0-9]*; do [ -e $k/state ] && echo off > $k/state 2>/dev/null; done
echo 0 > {DAMON}/nr_kdamonds
echo N > /sys/module/damon_stat/parameters/enabled
echo 0 > /proc/sys/kernel/numa_balancing
echo 65536 > /proc/sys/kernel/numa_balancing_promote_rate_limit_MBps
echo 0 > {NUMA}
echo {thp} > /sys/kernel/mm/transparent_hugepage/enabled
echo {thp} > /sys/kernel/mm/transparent_hugepage/defrag 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
"""


@dataclass(frozen=True)
class Contender:
    name: str
    title: str
    setup: str = ""  # a shell script in the guest; its last act is a check that the setting took
    wrap: tuple[str, ...] = ()  # in front of the workload's command
    options: tuple[str, ...] = ()  # behind it
    environment: dict = field(default_factory=dict)
    needs: str = ""  # a program of the overlay


def kernel_tiering(rate_mbps: int = 0) -> str:
    limit = f"echo {rate_mbps} > /proc/sys/kernel/numa_balancing_promote_rate_limit_MBps\n" if rate_mbps else ""
    return f"""
echo 1 > {NUMA}
{limit}echo 2 > /proc/sys/kernel/numa_balancing
[ "$(cat /proc/sys/kernel/numa_balancing)" = 2 ] && [ "$(cat {NUMA})" = true ]
"""


# ---- DAMON -----------------------------------------------------------------------------------

@dataclass(frozen=True)
class DamonSetting:
    """Two kdamonds over physical memory, as samples/damon/mtier.c and damo's script for tiering have them: one
    demotes what is cold on node 0, one promotes what is hot on node 1."""
    name: str
    sample_us: int = 5000
    aggregate_us: int = 100000
    autotune: bool = False  # intervals by a goal of 4 % observed accesses in 3 aggregations
    regions: tuple[int, int] = (10, 1000)
    tuner: str = "consist"  # of the quota; "" = fixed quota, no goal
    young: bool = True  # only what is young now is promoted, and only what is not is demoted
    goal_bp: tuple[int, int] = (400, 9800)  # of node 0: free for the one that demotes, used for the other
    quota_mib: int = 200
    hot_share: float = 0.0  # of the samples of an aggregation, from which on something is hot; 0: one


# The first is the recipe as its authors give it. Its goals (0.5 % free, 99.7 % used) lie above the watermarks of a
# large node, but below those of a small one, which is then never short of memory in its eyes and demotes nothing:
# the others have goals that a small node can miss. They vary what the documentation names as worth varying:
# regions, intervals, the tuner, the filter, the threshold.
DAMON_SETTINGS = (
    DamonSetting("recipe", autotune=True, goal_bp=(50, 9970)),
    DamonSetting("auto", autotune=True),
    DamonSetting("auto-temporal", autotune=True, tuner="temporal"),
    DamonSetting("auto-5pct", autotune=True, tuner="temporal", hot_share=0.05),
    DamonSetting("coarse", tuner="temporal"),
    DamonSetting("fine", tuner="temporal", regions=(1000, 10000)),
    DamonSetting("fine-anyage", tuner="temporal", regions=(1000, 10000), young=False),
    DamonSetting("fine-slow", tuner="temporal", regions=(1000, 10000), sample_us=20000, aggregate_us=400000),
    DamonSetting("fine-long", tuner="temporal", regions=(1000, 10000), sample_us=50000, aggregate_us=2000000),
    DamonSetting("finest-long", tuner="temporal", regions=(10000, 50000), sample_us=100000, aggregate_us=2000000),
    DamonSetting("fine-quota", tuner="", regions=(1000, 10000), sample_us=20000, aggregate_us=400000, quota_mib=16),
    DamonSetting("fine-hot", tuner="temporal", regions=(1000, 10000), sample_us=20000, aggregate_us=400000,
                 hot_share=0.25),
)


def _kdamond(n: int, s: DamonSetting, promote: bool, start: int, end: int) -> str:
    c = f"{DAMON}/{n}/contexts/0"
    scheme = f"{c}/schemes/0"
    samples = s.aggregate_us // s.sample_us
    hot = max(1, round(samples * s.hot_share))
    values = {
        f"{DAMON}/{n}/contexts/nr_contexts": 1,
        f"{c}/operations": "paddr",
        f"{c}/monitoring_attrs/intervals/sample_us": s.sample_us,
        f"{c}/monitoring_attrs/intervals/aggr_us": s.aggregate_us,
        f"{c}/monitoring_attrs/intervals/update_us": 60000000,
        f"{c}/monitoring_attrs/nr_regions/min": s.regions[0],
        f"{c}/monitoring_attrs/nr_regions/max": s.regions[1],
        f"{c}/targets/nr_targets": 1,
        f"{c}/targets/0/regions/nr_regions": 1,
        f"{c}/targets/0/regions/0/start": start,
        f"{c}/targets/0/regions/0/end": end,
        f"{c}/schemes/nr_schemes": 1,
        f"{scheme}/action": "migrate_hot" if promote else "migrate_cold",
        f"{scheme}/target_nid": 0 if promote else 1,
        f"{scheme}/apply_interval_us": 1000000,
        f"{scheme}/access_pattern/sz/min": 4096,
        f"{scheme}/access_pattern/sz/max": (1 << 63) - 1,
        f"{scheme}/access_pattern/nr_accesses/min": hot if promote else 0,
        f"{scheme}/access_pattern/nr_accesses/max": (1 << 31) - 1 if promote else 0,
        f"{scheme}/access_pattern/age/min": 0,
        f"{scheme}/access_pattern/age/max": (1 << 31) - 1,
        f"{scheme}/quotas/bytes": s.quota_mib * MIB,
        f"{scheme}/quotas/reset_interval_ms": 1000,
        f"{scheme}/quotas/weights/sz_permil": 0,
        f"{scheme}/quotas/weights/nr_accesses_permil": 100,
        f"{scheme}/quotas/weights/age_permil": 100,
    }
    if s.autotune:
        goal = f"{c}/monitoring_attrs/intervals/intervals_goal"
        values |= {f"{goal}/access_bp": 400, f"{goal}/aggrs": 3, f"{goal}/min_sample_us": 5000,
                   f"{goal}/max_sample_us": 10000000}
    if s.tuner:
        goal = f"{scheme}/quotas/goals"
        values |= {f"{scheme}/quotas/goal_tuner": s.tuner, f"{goal}/nr_goals": 1,
                   f"{goal}/0/target_metric": "node_mem_used_bp" if promote else "node_mem_free_bp",
                   f"{goal}/0/target_value": s.goal_bp[promote], f"{goal}/0/nid": 0}
    if s.young:
        values |= {f"{scheme}/filters/nr_filters": 1, f"{scheme}/filters/0/type": "young",
                   f"{scheme}/filters/0/matching": "Y", f"{scheme}/filters/0/allow": "Y" if promote else "N"}
    return "\n".join(f"echo {value} > {file}" for file, value in values.items())


def damon(s: DamonSetting, near_end: int, far_end: int) -> str:
    return "\n".join([
        "set -e", f"echo 2 > {DAMON}/nr_kdamonds",
        _kdamond(0, s, False, 0, near_end), _kdamond(1, s, True, near_end, far_end),
        f"for n in 0 1; do echo on > {DAMON}/$n/state; done",
        f'[ "$(cat {DAMON}/0/state)" = on ] && [ "$(cat {DAMON}/1/state)" = on ]'])


# ---- the list --------------------------------------------------------------------------------

def contenders(near_end: int, far_end: int, damon_setting: str = "recipe",
               gain_ns: int = GAIN_NS) -> dict[str, Contender]:
    pooltier_run = ("pooltier", "run", "--require", "--loss-ns", str(gain_ns), "--cpu", f"{CPU_PPM / 10000:g}")
    chosen = next(s for s in DAMON_SETTINGS if s.name == damon_setting)
    both = [
        Contender("first-touch", "first touch"),
        Contender("kernel", "kernel tiering", kernel_tiering()),
        Contender("kernel-limited", "kernel tiering, 4 MB/s", kernel_tiering(4)),
        Contender("damon", f"DAMON ({damon_setting})", damon(chosen, near_end, far_end)),
        Contender("interleave", "weighted interleave 1:7", options=("--interleave", "1:7")),
        Contender("all-far", "all far", options=("--far",)),
        Contender("libpool-run", "libpool, by pooltier run", wrap=(*pooltier_run, "--"), needs="pooltier"),
        Contender("libpool-damon", "libpool fed by DAMON",
                  wrap=("with-kdamond", *pooltier_run, "--sampler", "damon", "--"), needs="pooltier"),
        Contender("libpool-truth", "libpool fed by the truth", options=("--exact", "--gain", str(gain_ns))),
        Contender("libpool", "libpool", options=("--tiering", "--gain", str(gain_ns), "--cpu", str(CPU_PPM))),
    ]
    both += [Contender(f"damon-{s.name}", f"DAMON {s.name}", damon(s, near_end, far_end)) for s in DAMON_SETTINGS]
    return {c.name: c for c in both}
