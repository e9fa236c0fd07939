# SPDX-License-Identifier: Apache-2.0
"""What is measured: cells, in the order in which they run. Pure."""

from dataclasses import dataclass

from contenders import GAIN_NS

MIB = 1 << 20
DATA, HOT = 256 * MIB, 56 * MIB
TUNING_SEED = 101  # DAMON's settings are chosen on other seeds than they are compared on


@dataclass(frozen=True)
class Workload:
    name: str
    program: str  # of pool-work
    seconds: int
    jump_s: int = 0

    def command(self, axis: "Axis", seed: int, label: str, trace: bool, wrap, options) -> list[str]:
        """In a guest whose plugin counts."""
        if self.program == "redis":
            return ["redis-work", str(self.seconds), str(seed), label, *(["trace"] if trace else []), "--", *wrap]
        return [*wrap, "pool-work", *self.options(seed, axis.shrink), "--truth", label, *(["--trace"] if trace else []), *options]

    def options(self, seed: int, shrink: int = 1) -> list[str]:
        """Of pool-work, with that part of the data."""
        jump = ["--jump", str(self.jump_s)] if self.jump_s else []
        return [self.program, "--bytes", str(DATA // shrink), "--hot", str(HOT // shrink),
                "--seconds", str(self.seconds), "--seed", str(seed), *jump]


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
    Workload("zipf-lasting", "zipf", 300),
)}


@dataclass(frozen=True)
class Axis:
    """What differs from the headline."""
    name: str
    title: str
    near: int = DATA // 8
    thp: str = "never"
    heartbeat: bool = False
    shrink: int = 1  # data and hot part are that much smaller
    dcd: bool = False  # the far node is a grant of fmd's on a device with dynamic capacity, not direct RAM
    gain_ns: int = GAIN_NS


HEADLINE = Axis("headline", "near 1/8 of the data, 4 KiB pages")
AXES = {a.name: a for a in (
    HEADLINE,
    Axis("near-half", "near 1/2 of the data", near=DATA // 2),
    Axis("heartbeat", "TLB flushed every 5 ms for all", heartbeat=True),
    Axis("thp", "transparent huge pages: always", thp="always"),
    # Each access to the far node is a call into the emulated device, 512 of them for a page that is copied: moving one
    # takes several times as long as in direct RAM (60 us; here 260 and more), hence a fourth of the data and five
    # times the gain.
    Axis("dcd", "far node: a DCD extent granted by fmd; near 8 MiB, 1/8 of 64 MiB (a fourth of the headline's). Hit "
         "share only; emulated DCD: times mean nothing", near=DATA // 8 // 4, shrink=4, dcd=True, gain_ns=5 * GAIN_NS),
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


def lasting() -> list[Cell]:
    """Minutes of the same: what learning cost is small then, and beliefs are as sure as they get."""
    return cells("headline", ("zipf-lasting",), ("first-touch", "kernel", "libpool"), (1,))


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
        *cells("dcd", SHORT, of("first-touch", "kernel", "libpool"), three),
    ]


def seconds_of(cell: Cell) -> float:
    """Of a cell, roughly. Around a workload 2 to 4 s were seen, and 8 s for the boot of each group."""
    around = 8 + (20 if cell.workload == "redis" else 0) + (8 if AXES[cell.axis].dcd else 0)
    return WORKLOADS[cell.workload].seconds + around
