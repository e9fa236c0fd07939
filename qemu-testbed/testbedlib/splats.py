# SPDX-License-Identifier: Apache-2.0
"""Find kernel splats in a console log, by the list in splats.txt."""

import re
from pathlib import Path
from typing import NamedTuple

from .errors import Fault

TRACE_WITHIN = 10  # lines after the one that it belongs to
LIST = Path(__file__).resolve().parent.parent / "splats.txt"


class Splat(NamedTuple):
    line: int
    text: str


class Patterns:
    def __init__(self, file: Path = LIST):
        self._rules: list[tuple[str, re.Pattern]] = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            kind, _, pattern = line.partition(" ")
            if kind not in ("!", "-", "~") or not pattern:
                raise Fault(f'{file}:{number}: must begin with "! ", "- " or "~ "')
            try:
                self._rules.append((kind, re.compile(pattern)))
            except re.error as e:
                raise Fault(f"{file}:{number}: {e}") from e

    def _kind(self, line: str) -> str:
        return next((kind for kind, pattern in self._rules if pattern.search(line)), "-")

    def is_splat(self, line: str) -> bool:
        return self._kind(line) == "!"

    def scan(self, text: str) -> list[Splat]:
        found, trace_until = [], 0
        for number, line in enumerate(text.splitlines(), 1):
            kind = self._kind(line)
            if kind == "~":
                trace_until = number + TRACE_WITHIN
            elif kind == "!" and "Call Trace:" in line and number <= trace_until:
                trace_until = 0
            elif kind == "!":
                found.append(Splat(number, line))
        return found


def scan_file(file: Path) -> list[Splat]:
    try:
        return Patterns().scan(file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise Fault(f"there is no console log {file}: the host never ran") from None
