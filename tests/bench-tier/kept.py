# SPDX-License-Identifier: Apache-2.0
"""Measured cells in one file of the repository, a line each: what the tables in docs/ were made of. Whoever takes them
back can make the tables and plots anew, or go on measuring where another machine has stopped."""

import json
from pathlib import Path

ROW = ("epoch", "start_s", "seconds", "near", "far")


def packed(result: dict) -> dict:
    """Rows without their names, which would be most of it."""
    return {**result, "rows": [[row[name] for name in ROW] for row in result["rows"]]}


def unpacked(result: dict) -> dict:
    return {**result, "rows": [dict(zip(ROW, row, strict=True)) for row in result["rows"]]}


def lines_of(folder: Path) -> list[str]:
    """Cells and optima of a folder of results, in the order of their names."""
    cells = [json.loads(file.read_text()) for file in sorted((folder / "results").glob("*.json"))]
    optima = [{"optimum_of": file.stem, **json.loads(file.read_text())} for file in sorted((folder / "optima").glob("*.json"))]
    return [json.dumps(value, separators=(",", ":")) for value in [*map(packed, cells), *optima]]


def keep(folder: Path, file: Path) -> int:
    """How many lines were written."""
    lines = lines_of(folder)
    partial = file.with_suffix(".partial")
    partial.write_text("".join(line + "\n" for line in lines))
    partial.rename(file)
    return len(lines)


def take(folder: Path, file: Path) -> int:
    """How many came that were not there. What is there stays."""
    taken = 0
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            value = json.loads(line)
            optimum = value.pop("optimum_of", None)
            name, kind = (optimum, "optima") if optimum else (value["cell"], "results")
            value = value if optimum else unpacked(value)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"{file}:{number} is no measured cell ({type(e).__name__}: {e})") from None
        there = folder / kind / f"{Path(name).name}.json"
        if there.exists():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(json.dumps(value, indent=1) + "\n")
        taken += 1
    return taken
