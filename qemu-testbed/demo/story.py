# SPDX-License-Identifier: Apache-2.0
"""How the demo speaks: numbered headings, short sentences, every command before its output, and every
figure also in a report for programs."""

import json
import os
import sys
import textwrap
import threading
import time
from pathlib import Path

WIDTH = 100


class Unshown(Exception):
    """A step did not show what it must: one sentence."""


class Story:
    def __init__(self, report: Path, out=sys.stdout):
        self._file, self._out = report, out
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()
        self._step_began = self._began
        self.report = {"ok": False, "emulated": True, "seconds": 0.0, "steps": []}

    # ---- speaking ----------------------------------------------------------------------------

    def _print(self, text: str = "", style: str = "") -> None:
        if self._colour and style and text:
            text = f"\033[{style}m{text}\033[0m"
        print(text, file=self._out, flush=True)

    def title(self, text: str, *lines: str) -> None:
        self._print(text, "1")
        for line in lines:
            self._print(line)

    def step(self, number: int, title: str) -> None:
        self._close_step()
        self._step_began = time.monotonic()
        self.report["steps"].append({"number": number, "title": title, "seconds": 0.0,
                                     "figures": {}, "commands": []})
        self._print()
        self._print(f"{number}. {title}", "1")

    def _close_step(self) -> None:
        now = time.monotonic()
        if self.report["steps"]:
            self.report["steps"][-1]["seconds"] = round(now - self._step_began, 2)
        self.report["seconds"] = round(now - self._began, 2)

    def say(self, text: str) -> None:
        self._print(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   ",
                                  break_on_hyphens=False, break_long_words=False))

    def lines(self, text: str) -> None:
        for line in text.rstrip("\n").splitlines():
            self._print("   " + line if line else "")

    def figure(self, name: str, value, text: str) -> None:
        """A figure in words, and under `name` in the report."""
        self.report["steps"][-1]["figures"][name] = value
        self.say(text)

    def must(self, held: bool, sentence: str) -> None:
        if not held:
            raise Unshown(sentence)

    # ---- commands ----------------------------------------------------------------------------

    def command(self, where: str, text: str) -> None:
        """Echo a command: `where` is "" for this machine or the name of a guest."""
        self._print(f"   {where}{'# ' if where else '$ '}{text}", "36")
        self.report["steps"][-1]["commands"].append({"host": where or "machine", "command": text})

    def show(self, where: str, text: str, run):
        """Echo, run, print what came out."""
        self.command(where, text)
        with self.working():
            result = run()
        self.lines(result.out)
        self.lines(result.err)
        self.report["steps"][-1]["commands"][-1].update(code=result.code, out=result.out, err=result.err)
        return result

    def fmctl(self, rack, *args: str):
        return self.show("", " ".join(["fmctl", *args]), lambda: rack.fmctl(*args)).must()

    def host(self, rack, host: str, *argv: str, code: int | None = 0, shown: str = "",
             timeout: float = 60):
        result = self.show(host, shown or " ".join(argv), lambda: rack.host(host, *argv, timeout=timeout))
        return result if code is None else result.must(code)

    def shell(self, rack, host: str, line: str):
        return self.host(rack, host, "sh", "-c", line, shown=line)

    def working(self, after: float = 3.0, every: float = 3.0):
        return _Working(self, after, every)

    def hint(self, text: str) -> None:
        """Progress: only where somebody watches."""
        if self._out.isatty():
            self._out.write(f"\r   … {text}\033[K")
            self._out.flush()

    def hint_end(self) -> None:
        if self._out.isatty():
            self._out.write("\r\033[K")
            self._out.flush()

    @property
    def number(self) -> int:
        """The step under way."""
        return self.report["steps"][-1]["number"] if self.report["steps"] else 1

    # ---- the end -----------------------------------------------------------------------------

    def finish(self, sentence: str = "") -> None:
        """Writes the report; a sentence means that something was not shown."""
        self._close_step()
        self.report["ok"] = not sentence
        if sentence:
            self.report["failed"] = sentence
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")
        partial.rename(self._file)


class _Working:
    """Shows on a terminal that a long command still runs, and for how long it has."""

    def __init__(self, story: Story, after: float, every: float):
        self._story, self._after, self._every = story, after, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        self._began = time.monotonic()
        self._thread.start()

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._story.hint_end()

    def _tick(self) -> None:
        wait = self._after
        while not self._ended.wait(wait):
            self._story.hint(f"still running, {time.monotonic() - self._began:.0f} s")
            wait = self._every
