# SPDX-License-Identifier: Apache-2.0
"""Find kernel splats in a console log, by the list in splats.txt."""

import re
from pathlib import Path
from typing import NamedTuple

from .errors import Fault

LIST = Path(__file__).resolve().parent.parent / "splats.txt"


class Splat(NamedTuple):
    line: int
    text: str


class Patterns:
    def __init__(self, file: Path = LIST):
        self._rules: list[tuple[bool, re.Pattern]] = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            kind, _, pattern = line.partition(" ")
            if kind not in ("!", "-") or not pattern:
                raise Fault(f'{file}:{number}: must begin with "! " or "- "')
            try:
                self._rules.append((kind == "!", re.compile(pattern)))
            except re.error as e:
                raise Fault(f"{file}:{number}: {e}") from e

    def is_splat(self, line: str) -> bool:
        for splat, pattern in self._rules:
            if pattern.search(line):
                return splat
        return False

    def scan(self, text: str) -> list[Splat]:
        return [Splat(n, line) for n, line in enumerate(text.splitlines(), 1)
                if self.is_splat(line)]


def scan_file(file: Path) -> list[Splat]:
    try:
        return Patterns().scan(file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise Fault(f"there is no console log {file}: the host never ran") from None
