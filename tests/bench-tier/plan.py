# SPDX-License-Identifier: Apache-2.0
"""What is measured: cells, in the order in which they run. Pure."""

from dataclasses import dataclass

MIB = 1 << 20
DATA, HOT = 256 * MIB, 56 * MIB
TUNING_SEED = 101  # DAMON's settings are chosen on other seeds than they are compared on


@dataclass(frozen=True)
class Workload:
    name: str
    program: str  # of pool-work
    seconds: int
    jump_s: int = 0

    def command(self, seed: int, label: str, trace: bool, wrap, options) -> list[str]:
        """In a guest whose plugin counts."""
        if self.program == "redis":
            return ["redis-work", str(self.seconds), str(seed), label, *(["trace"] if trace else []), "--", *wrap]
        return [*wrap, "pool-work", *self.options(seed), "--truth", label, *(["--trace"] if trace else []), *options]

    def options(self, seed: int) -> list[str]:
        """Of pool-work."""
        jump = ["--jump", str(self.jump_s)] if self.jump_s else []
        return [self.program, "--bytes", str(DATA), "--hot", str(HOT), "--seconds", str(self.seconds),
                "--seed", str(seed), *jump]


WORKLOADS = {w.name: w for w in (
    Workload("hot-contiguous", "hot-contiguous", 44, 13),
    Workload("hot-scattered", "hot-scattered", 44, 13),
    Workload("zipf", "zipf", 28),
    Workload("pagerank", "pagerank", 28),
    Workload("redis", "redis", 30),
    Workload("hot-short", "hot-scattered", 32, 11),
    Workload("zipf-short", "zipf", 20),
    Workload("uniform", "uniform", 23),
    Workload("scan", "scan", 23),
)}


@dataclass(frozen=True)
class Axis:
    """What differs from the headline."""
    name: str
    title: str
    near: int = DATA // 8
    thp: str = "never"
    heartbeat: bool = False


HEADLINE = Axis("headline", "near 1/8 of the data, 4 KiB pages")
AXES = {a.name: a for a in (
    HEADLINE,
    Axis("near-half", "near 1/2 of the data", near=DATA // 2),
    Axis("heartbeat", "TLB flushed every 5 ms for all", heartbeat=True),
    Axis("thp", "transparent huge pages: always", thp="always"),
    Axis("tuning", "near 1/8 of the data, 4 KiB pages, seed of tuning"),
)}


@dataclass(frozen=True)
class Cell:
    axis: str
    workload: str
    contender: str
    seed: int  # also the number of the repetition

    @property
    def id(self) -> str:
        return f"{self.axis}.{self.workload}.{self.contender}.{self.seed}"

    @property
    def group(self) -> tuple:
        """Cells of one group run in one guest, one after another."""
        return self.axis, self.workload, self.seed


def cells(axis: str, workloads, contenders, seeds) -> list[Cell]:
    """Interleaved: each repetition has all contenders, in another order each time."""
    contenders = list(contenders)
    out = []
    for seed in seeds:
        for workload in workloads:
            turn = seed % len(contenders)
            out += [Cell(axis, workload, c, seed) for c in contenders[turn:] + contenders[:turn]]
    return out


HEADLINE_WORKLOADS = ("hot-contiguous", "hot-scattered", "zipf", "pagerank")
HEADLINE_CONTENDERS = ("first-touch", "kernel", "damon", "libpool", "libpool-truth")
# Redis links no libpool: only what needs no option of pool-work can be compared on it.
REDIS_CONTENDERS = ("first-touch", "kernel", "damon", "libpool-run")
QUICK_CONTENDERS = ("first-touch", "kernel", "damon", "libpool")
SHORT = ("hot-short", "zipf-short")


def quick() -> list[Cell]:
    return cells("headline", SHORT, QUICK_CONTENDERS, (1,))


def tuning(settings) -> list[Cell]:
    return cells("tuning", SHORT, [f"damon-{s}" for s in settings], (TUNING_SEED,))


def full(available) -> list[Cell]:
    """`available`: contenders that this build has."""
    def of(*names):
        return [n for n in names if n in available]

    three = (1, 2, 3)
    return [
        *cells("headline", HEADLINE_WORKLOADS, of(*HEADLINE_CONTENDERS), range(1, 6)),
        *cells("headline", ("redis",), of(*REDIS_CONTENDERS), range(1, 6)),
        *cells("headline", SHORT, of("first-touch", "kernel", "kernel-limited", "interleave", "libpool",
                                     "libpool-damon"), three),
        *cells("headline", ("uniform", "scan"), of("first-touch", "libpool"), three),
        *cells("near-half", SHORT, of("first-touch", "kernel", "libpool"), three),
        # DAMON reads accessed bits, which an emulated CPU sets only as it fills its TLB.
        *cells("heartbeat", SHORT, of("kernel", "damon", "libpool"), three),
        *cells("thp", SHORT, of("first-touch", "kernel", "libpool"), three),
    ]


def seconds_of(cell: Cell) -> float:
    """Of a cell, roughly: what surrounds the workload takes some 12 s."""
    return WORKLOADS[cell.workload].seconds + 12 + (20 if cell.workload == "redis" else 0)
