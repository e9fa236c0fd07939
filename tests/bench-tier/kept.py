# SPDX-License-Identifier: Apache-2.0
"""Measured cells in one file of the repository, a line each: what the tables in docs/ were made of. Whoever takes them
back can make the tables and plots anew, or go on measuring where another machine has stopped."""

import json
import shutil
from pathlib import Path

ROW = ("epoch", "start_s", "seconds", "near", "far")


def packed(result: dict) -> dict:
    """Rows without their names, which would be most of it."""
    return {**result, "rows": [[row[name] for name in ROW] for row in result["rows"]]}


def unpacked(result: dict) -> dict:
    return {**result, "rows": [dict(zip(ROW, row, strict=True)) for row in result["rows"]]}


def name_of(value: dict) -> tuple[str, str]:
    """The folder of results it belongs to, and its name there."""
    return ("optima", value["optimum_of"]) if "optimum_of" in value else ("results", value["cell"])


def read(file: Path) -> dict[tuple[str, str], dict]:
    values = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            value = json.loads(line)
            kind, name = name_of(value)
            values[kind, Path(name).name] = value if kind == "optima" else unpacked(value)
        except (ValueError, KeyError, TypeError) as e:
            raise ValueError(f"{file}:{number} is no measured cell ({type(e).__name__}: {e})") from None
    return values


def keep(folder: Path, file: Path) -> int:
    """What is in the folder, and what is only in the file, sorted by name. How many there are then."""
    values = read(file) if file.exists() else {}
    for kind in ("results", "optima"):
        for cell in (folder / kind).glob("*.json"):
            value = json.loads(cell.read_text())
            values[kind, cell.stem] = {"optimum_of": cell.stem, **value} if kind == "optima" else value
    lines = [json.dumps(value if kind == "optima" else packed(value), separators=(",", ":"))
             for (kind, _), value in sorted(values.items(), key=lambda item: item[0])]
    partial = file.with_suffix(".partial")
    partial.write_text("".join(line + "\n" for line in lines))
    partial.rename(file)
    return len(lines)


# As docs/ shows them.
PLOTS = {"headline-hot-scattered.svg": "tiering-guest-hot.svg", "headline-zipf.svg": "tiering-guest-zipf.svg"}
HEAD = """# Tiering in one guest: every cell

Made by `tests/bench-tier/bench keep` of the cells in [tiering-guest.jsonl](tiering-guest.jsonl). What is measured how, and what
it means: [results](TIERING-results.md).

"""


def publish(folder: Path, docs: Path) -> list[str]:
    """The report and some of its plots; their names."""
    (docs / "tiering-guest.md").write_text(HEAD + (folder / "report.md").read_text())
    drawn = {plot: name for plot, name in PLOTS.items() if (folder / "plots" / plot).exists()}
    for plot, name in drawn.items():
        shutil.copyfile(folder / "plots" / plot, docs / name)
    return ["tiering-guest.md", *drawn.values()]


def take(folder: Path, file: Path) -> int:
    """How many came that were not there. What is there stays."""
    taken = 0
    for (kind, name), value in read(file).items():
        there = folder / kind / f"{name}.json"
        if there.exists():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        value.pop("optimum_of", None)
        there.write_text(json.dumps(value, indent=1) + "\n")
        taken += 1
    return taken
