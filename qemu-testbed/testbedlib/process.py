# SPDX-License-Identifier: Apache-2.0
"""The QEMU process of a host, known by its pid and start time, so that a recycled pid is never
taken for it, also after a crash of whoever started it.

qemu.pid has the pid in its first line and "start-time boot-id" in its second.
"""

import os
import select
import signal
from pathlib import Path


def _stat(pid: int) -> tuple[str, str]:
    """State letter and start time, ("", "") when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record(file: Path, pid: int) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(f"{pid}\n{_stat(pid)[1]} {_boot()}\n")
    partial.rename(file)


class Process:
    """The process that `file` records, if it still runs; pid 0 otherwise."""

    def __init__(self, file: Path):
        self.pid, self._fd = 0, -1
        try:
            first, second = file.read_text().splitlines()
            pid, (start, boot) = int(first), second.split()
        except (OSError, ValueError):
            return
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        # Looked at after the pidfd holds the process: no other can slip in between.
        state, started = _stat(pid)
        if boot != _boot() or started != start or state in ("", "Z", "X"):
            os.close(fd)
            return
        self.pid, self._fd = pid, fd

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def running(self) -> bool:
        return self._fd >= 0 and not self.wait(0)

    def wait(self, seconds: float) -> bool:
        """True when the process has ended within the time."""
        if self._fd < 0:
            return True
        poll = select.poll()  # not select(): the descriptor may be large
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def send(self, number: signal.Signals) -> None:
        if self._fd >= 0:
            try:
                signal.pidfd_send_signal(self._fd, number)
            except ProcessLookupError:
                pass
