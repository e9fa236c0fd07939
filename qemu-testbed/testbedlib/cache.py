# SPDX-License-Identifier: Apache-2.0
"""The folder that outlives checkouts: roots, base images, guest tools, and their locks.

Everything in it is named after the hash of its recipe, built under another name and renamed
when complete: what has its final name is whole, and deleting any of it only costs time.
"""

import contextlib
import fcntl
import hashlib
import os
import sys
from pathlib import Path

from .errors import Fault


def folder() -> Path:
    """${CXLPOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cxlpool}, made when absent."""
    own = os.environ.get("CXLPOOL_CACHE")
    if own:
        path = Path(own)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        path = Path(base) / "cxlpool"
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Fault(f"the cache folder {path} cannot be made ({e.strerror}): set CXLPOOL_CACHE "
                    "to a folder you can write to") from e
    return path


def key(*parts: bytes | str) -> str:
    """A short name for a recipe: the same parts always give the same key."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()[:12]


@contextlib.contextmanager
def lock(path: Path, waiting_for: str):
    """Exclusive lock on `path`; yields its file descriptor, which children may inherit so that
    the lock lasts as long as the last of them. Says once on stderr when it has to wait."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"testbed: waiting for another testbed that {waiting_for}", file=sys.stderr)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
