# SPDX-License-Identifier: Apache-2.0
"""A QMP client for testbed's own socket of a guest: one command, one answer."""

import json
import socket
from pathlib import Path

from .errors import Fault


class Qmp:
    def __init__(self, path: Path, host: str, timeout: float = 10):
        self._host = host
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
            self._file = self._socket.makefile("rwb")
            self._read()  # the greeting
            self.command("qmp_capabilities")
        except TimeoutError as e:
            raise Fault(f"{host}: QEMU does not answer on {path} within {timeout:.0f} s: another "
                        "QMP client may hold the socket") from e
        except OSError as e:
            raise Fault(f"{host}: no QEMU answers on {path} ({e.strerror}): is it running? "
                        "`testbed status` tells") from e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def _read(self) -> dict:
        line = self._file.readline()
        if not line:
            raise Fault(f"{self._host}: QEMU closed its QMP socket")
        return json.loads(line)

    def execute(self, request: dict) -> dict:
        """The answer as QEMU gave it: {"return": …} or {"error": …}. Events are passed over."""
        try:
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
            while True:
                answer = self._read()
                if "return" in answer or "error" in answer:
                    return answer
        except TimeoutError as e:
            raise Fault(f"{self._host}: QEMU did not answer {request.get('execute')}") from e
        except OSError as e:
            raise Fault(f"{self._host}: QEMU went away ({e.strerror})") from e

    def command(self, name: str, **arguments):
        answer = self.execute({"execute": name, "arguments": arguments})
        if "error" in answer:
            raise Fault(f"{self._host}: QEMU refused {name}: {answer['error']['desc']}")
        return answer["return"]
