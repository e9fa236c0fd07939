# SPDX-License-Identifier: Apache-2.0
"""The host's side of the agent: run a command in a guest. The frames are drawn in guest/agent.c.

A guest has several ports; a call takes one for itself with a lock. Closing the connection is
enough to end the command in the guest, so a caller may die in any way.
"""

import contextlib
import errno
import fcntl
import os
import selectors
import signal
import socket
import struct
import termios
import time
import tty
from pathlib import Path
from typing import Callable, NamedTuple

from .errors import Fault
from .qemu_args import AGENT_PORTS

WINDOW = 64 << 10  # bytes of stdin under way; the agent's buffer
CHUNK = 16 << 10
REQUEST_MAX = 1 << 20
GRACE = 15.0  # seconds past the command's own time-out before the guest counts as hung
FLAG_TTY = 1
EXITED, SIGNALED, TIMED_OUT, NOT_STARTED = range(4)
EXIT_TIMEOUT = 124  # as timeout(1)
_HEADER = struct.Struct("<IBI")
_END, _ESC = b"\xc0", b"\xdb"


class Lost(Fault):
    """The guest went away under a command."""


def encode(session: int, kind: bytes, payload: bytes = b"") -> bytes:
    frame = _HEADER.pack(session, kind[0], len(payload)) + payload
    return _END + frame.replace(_ESC, b"\xdb\xdd").replace(_END, b"\xdb\xdc") + _END


class Decoder:
    """Bytes in, frames out; what is cut or damaged is dropped."""

    def __init__(self):
        self._rest = b""

    def feed(self, data: bytes):
        *frames, self._rest = (self._rest + data).split(_END)
        for raw in frames:
            frame = raw.replace(b"\xdb\xdc", _END).replace(b"\xdb\xdd", _ESC)
            if len(frame) >= _HEADER.size:
                session, kind, length = _HEADER.unpack_from(frame)
                if length == len(frame) - _HEADER.size:
                    yield session, bytes([kind]), frame[_HEADER.size:]


class Port:
    """A connection to one port of the agent, with a session of its own."""

    def __init__(self, host: str, folder: Path, deadline: float):
        self.host = host
        self.session = int.from_bytes(os.urandom(4), "little") or 1
        self._decoder = Decoder()
        self._lock, index = _take_port(host, folder, deadline)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(str(folder / f"{index}.sock"))
        except OSError as e:
            self.close()
            raise Fault(f"{host} is not running ({e.strerror}): start it with `testbed start "
                        f"{host}`") from e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.socket.close()
        os.close(self._lock)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        try:
            self.socket.sendall(encode(self.session, kind, payload))
        except OSError as e:
            raise Lost(f"{self.host}: QEMU ended ({e.strerror})") from e

    def receive(self) -> list[tuple[bytes, bytes]]:
        """The frames for this session, and "A" of an agent that has started anew."""
        try:
            data = self.socket.recv(256 << 10)
        except TimeoutError:
            return []
        except OSError as e:
            raise Lost(f"{self.host}: QEMU ended ({e.strerror})") from e
        if not data:
            raise Lost(f"{self.host}: QEMU ended")
        return [(kind, payload) for session, kind, payload in self._decoder.feed(data)
                if session == self.session or kind == b"A"]


def _take_port(host: str, folder: Path, deadline: float) -> tuple[int, int]:
    """Lock a free port; wait for one when all are taken."""
    first = os.getpid() % AGENT_PORTS
    while True:
        for n in range(AGENT_PORTS):
            index = (first + n) % AGENT_PORTS
            try:
                fd = os.open(folder / f"{index}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as e:
                raise Fault(f"{host}: {folder} cannot be used: {e.strerror}") from e
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd, index
            except OSError as e:
                os.close(fd)
                if e.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
        if time.monotonic() > deadline:
            raise Fault(f"{host}: all {AGENT_PORTS} ports of its agent are busy with other calls")
        time.sleep(0.02)


def wait_ready(host: str, folder: Path, deadline: float, not_boot: str = "") -> str:
    """Wait until the agent answers, in a boot other than `not_boot`. Returns the boot id."""
    while True:
        with Port(host, folder, deadline) as port:
            port.send(b"P")
            asked = time.monotonic()
            # A ping that the guest took and then rebooted is lost: ask again now and then.
            while time.monotonic() < min(deadline, asked + 3):
                port.socket.settimeout(max(0.01, min(deadline, asked + 3) - time.monotonic()))
                for kind, payload in port.receive():
                    boot = payload.decode(errors="replace").split(" ")[0]
                    if kind in (b"A", b"P") and boot != not_boot:
                        return boot
                    if kind == b"P":
                        time.sleep(0.1)
                        port.send(b"P")
        if time.monotonic() >= deadline:
            raise Fault(f"{host}: the guest's agent did not answer in time: `testbed logs {host}` "
                        "shows how far it booted")


class Result(NamedTuple):
    how: int
    number: int
    text: str

    def exit_code(self) -> int:
        if self.how == EXITED:
            return self.number
        if self.how == SIGNALED:
            return 128 + self.number
        if self.how == TIMED_OUT:
            return EXIT_TIMEOUT
        return 127 if self.number == errno.ENOENT else 126


class Call:
    """One command in a guest: pumps stdin, stdout and stderr until it ends."""

    def __init__(self, port: Port, argv: list[str], timeout: float | None, terminal: bool,
                 stdin: int | None, on_output: Callable[[int, bytes], None]):
        self._port, self._argv, self._timeout = port, argv, timeout
        self._terminal, self._stdin, self._on_output = terminal, stdin, on_output
        self._instance = b""  # of the agent that started the command
        self._sent = self._taken = 0
        self._selector = selectors.DefaultSelector()

    def _request(self) -> bytes:
        rows, columns = _window_size() if self._terminal else (0, 0)
        flags = FLAG_TTY if self._terminal else 0
        milliseconds = max(1, int(self._timeout * 1000)) if self._timeout else 0
        payload = struct.pack("<IIHH", flags, milliseconds, rows, columns) + \
            b"".join(os.fsencode(a) + b"\0" for a in self._argv)
        if len(payload) > REQUEST_MAX:
            raise Fault(f"the command has {len(payload)} bytes of at most {REQUEST_MAX}: give the "
                        "data on its stdin")
        return payload

    def run(self) -> Result:
        self._port.send(b"R", self._request())
        self._port.socket.settimeout(60)  # for sending; reading waits for the selector
        self._selector.register(self._port.socket, selectors.EVENT_READ)
        deadline = time.monotonic() + self._timeout + GRACE if self._timeout else None
        with self._signals() as wake:
            while True:
                left = max(0, deadline - time.monotonic()) if deadline else None
                for key, _ in self._selector.select(left):
                    if key.fileobj is self._port.socket:
                        result = self._from_guest()
                        if result:
                            return result
                    elif key.fd == wake:
                        self._pass_signals(wake)
                    else:
                        self._to_guest()
                if deadline and time.monotonic() >= deadline:
                    raise Lost(f"{self._port.host}: the guest does not answer {GRACE:.0f} s after "
                               f"the time-out of {self._timeout:g} s: it hangs or is stopped")

    def _from_guest(self) -> Result | None:
        for kind, payload in self._port.receive():
            if kind == b"O":
                self._on_output(1, payload)
            elif kind == b"E":
                self._on_output(2, payload)
            elif kind == b"C":
                self._taken += int.from_bytes(payload, "little")
                self._watch_stdin(True)
            elif kind == b"X":
                return Result(payload[0], int.from_bytes(payload[1:5], "little"),
                              payload[5:].decode(errors="replace"))
            elif kind == b"S":
                self._instance = payload
                self._watch_stdin(True)
            elif kind == b"A" and payload != self._instance:
                if self._instance:
                    raise Lost(f"{self._port.host}: the guest rebooted under the command")
                self._port.send(b"R", self._request())  # the agent was not there yet
        return None

    def _to_guest(self) -> None:
        room = min(CHUNK, WINDOW - (self._sent - self._taken))
        if room <= 0:
            self._watch_stdin(False)
            return
        try:
            data = os.read(self._stdin, room)
        except OSError:
            data = b""
        self._port.send(b"I", data)
        self._sent += len(data)
        if not data:
            self._watch_stdin(False)
            self._stdin = None

    def _watch_stdin(self, on: bool) -> None:
        if self._stdin is None:
            return
        watched = self._stdin in self._selector.get_map()
        try:
            if on and not watched:
                self._selector.register(self._stdin, selectors.EVENT_READ)
            elif watched and not on:
                self._selector.unregister(self._stdin)
        except (OSError, ValueError):
            # Not a thing to wait for, like a file or a closed stdin: always readable; sent on as
            # room comes.
            while self._stdin is not None and self._sent - self._taken < WINDOW:
                self._to_guest()

    @contextlib.contextmanager
    def _signals(self):
        """SIGINT and SIGTERM go to the command; a second one closes the connection, which kills."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(read, selectors.EVENT_READ)
        numbers = (signal.SIGINT, signal.SIGTERM) + \
            ((signal.SIGWINCH,) if self._terminal else ())
        old = {n: signal.signal(n, lambda number, _: os.write(write, bytes([number])))
               for n in numbers}
        self._interrupted = False
        try:
            yield read
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            self._selector.unregister(read)
            os.close(read)
            os.close(write)

    def _pass_signals(self, wake: int) -> None:
        for number in os.read(wake, 64):
            if number == signal.SIGWINCH:
                self._port.send(b"W", struct.pack("<HH", *_window_size()))
                continue
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            self._port.send(b"S", bytes([number]))


def _window_size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(0)
        return size.lines, size.columns
    except OSError:
        return 24, 80


def run(host: str, folder: Path, argv: list[str], *, timeout: float | None = None,
        stdin: int | None = None, terminal: bool = False,
        on_output: Callable[[int, bytes], None]) -> Result:
    """Run ARGV in the guest. `stdin`: a file descriptor, None = empty."""
    with Port(host, folder, time.monotonic() + 60) as port:
        empty = -1
        if stdin is None:
            stdin = empty = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Call(port, argv, timeout, terminal, stdin, on_output).run()
        finally:
            if empty >= 0:
                os.close(empty)


@contextlib.contextmanager
def raw_terminal(fd: int):
    """Keys go to the guest as they are, also Ctrl-C."""
    old = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # not the default, which drops what was typed already
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, old)
