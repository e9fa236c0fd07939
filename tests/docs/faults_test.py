# SPDX-License-Identifier: Apache-2.0
"""docs/FAULTS.md names a test for each promise: every one of them must exist."""

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
TESTS = TOP / "tests"
FOLDERS = {"vm": TESTS / "vm", "cli": TESTS / "cli", "unit": TESTS / "unit", "driver": TESTS / "driver",
           "libpool": TESTS / "libpool", "pooltier": TESTS / "pooltier"}


def cases() -> list[str]:
    """The test column of each row that is a fault."""
    rows = [line.split("|") for line in (TOP / "docs/FAULTS.md").read_text().splitlines() if line.startswith("| ")]
    return [row[3] for row in rows if len(row) == 5 and row[1].strip() != "fault"]


def missing(column: str) -> list[str]:
    python = "\n".join(file.read_text() for folder in ("vm", "driver", "libpool") for file in (TESTS / folder).glob("*.py"))
    found = []
    for part in re.split(r" · ", column.strip()):
        for folder, name in re.findall(r"`(\w+)/(\w+)`", part):
            where = FOLDERS[folder]
            if not ((where / f"{name}.py").exists() or (where / name).is_dir()):
                found.append(f"`{folder}/{name}`")
        words = re.sub(r"`[^`]*`|\([^)]*\)", "", part).replace(",", " ").split()
        scenario = bool(words) and words[0] in ("scenario", "scenarios")
        for word in words[1:] if scenario else words:
            if word == "sim":
                continue
            if word.endswith("*") and list((TESTS / "scenarios").glob(f"{word}.txt")):
                continue
            if (TESTS / "scenarios" / f"{word}.txt").exists() if scenario else f"def {word}(" in python:
                continue
            found.append(word)
    return found


def main() -> int:
    columns = cases()
    bad = [(column.strip(), missing(column)) for column in columns]
    bad = [(column, names) for column, names in bad if names]
    for column, names in bad:
        print(f"FAILED: no test is called {', '.join(names)} (in: {column})")
    empty = sum(not column.strip() for column in columns)
    print(f"{len(columns)} faults, {len(bad)} with a test that does not exist, {empty} without any")
    return 1 if bad or empty or len(columns) < 30 else 0


if __name__ == "__main__":
    sys.exit(main())
