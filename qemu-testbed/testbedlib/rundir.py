# SPDX-License-Identifier: Apache-2.0
"""The folder of one running testbed (RUN), and what stands in it.

    topology.json  fmd.json  initrd  pool/<device>.pool
    <host>/{qmp.sock, qmp-fmd.sock, agent/<n>.sock, fmd.sock, console.log, qemu.log, qemu.pid,
            shared.mem, plugin/}

RUN is 0700 of the caller. A host's folder is 0711 only so that its QEMU, which sees nothing else
of RUN and has a user of its own, can reach its fmd.sock; the other sockets are not its user's.
"""

import contextlib
import fcntl
import json
import os
import zlib
from pathlib import Path

from . import topology as topologies
from .errors import Fault
from .qemu_args import qom_path
from .topology import DC_BLOCK, Host, Topology, show_size

SOCKET_PATH_MAX = 100  # the kernel's limit is 107; some room for who adds a suffix
# Nobody's: between the ranges of containers and of systemd (https://systemd.io/UIDS-GIDS).
UID_FIRST, UID_COUNT = 1879048192, 268304384
UID_NOBODY = 65534


class RunDir:
    def __init__(self, path: str | None):
        named = path or os.environ.get("CXLPOOL_TESTBED_DIR") or "build/testbed"
        self.path = Path(os.path.abspath(named))

    def __str__(self) -> str:
        return str(self.path)

    def host(self, name: str) -> Path:
        return self.path / name

    def pool_file(self, pool: str) -> Path:
        return self.path / "pool" / f"{pool}.pool"

    def topology(self) -> Topology:
        file = self.path / "topology.json"
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Fault(f"there is no testbed in {self.path}: start one with `testbed up --dir "
                        f"{self.path}`, or name its folder with --dir") from None
        except PermissionError:
            raise Fault(f"the testbed in {self.path} belongs to another user") from None
        except ValueError as e:
            raise Fault(f"{file} is not JSON: {e}") from e
        return topologies.parse(value, str(file))

    @contextlib.contextmanager
    def lock(self):
        """One change of this testbed at a time."""
        with open(self.path / ".lock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ---- making -----------------------------------------------------------------------------

    def prepare(self, topology: Topology) -> None:
        """Folders, with the checks that can refuse."""
        longest = max(len(str(self.host(h.name) / "qmp-fmd.sock")) for h in topology.hosts)
        if longest >= SOCKET_PATH_MAX:
            raise Fault(f"the folder {self.path} is too long for Unix sockets: the longest would "
                        f"have {longest} characters of at most {SOCKET_PATH_MAX - 1}; give a "
                        "shorter one with --dir")
        if self.path.exists() and not self.path.is_dir():
            raise Fault(f"{self.path} is not a folder")
        if self.path.is_dir() and any(self.path.iterdir()) and \
                not (self.path / "topology.json").exists() and not (self.path / ".lock").exists():
            raise Fault(f"{self.path} has files in it and is not a testbed's folder: name an "
                        "empty or a new one with --dir")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as e:
            raise Fault(f"the folder {self.path} cannot be made: {e.strerror}") from e

    def make_hosts(self, topology: Topology) -> None:
        (self.path / "pool").mkdir(mode=0o700, exist_ok=True)
        for host in topology.hosts:
            folder = self.host(host.name)
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
            (folder / "agent").mkdir(mode=0o700, exist_ok=True)
            if host.shared:
                self._make_shared(host)
            if host.plugin:  # where it may write: as QEMU's own user
                (folder / "plugin").mkdir(mode=0o700, exist_ok=True)
                os.chown(folder / "plugin", self.uid(host.name), -1)

    def _make_shared(self, host: Host) -> None:
        """Zeros, as memory is after a power cycle."""
        file = self.host(host.name) / "shared.mem"
        file.unlink(missing_ok=True)
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(fd, host.shared)
        finally:
            os.close(fd)

    def make_pools(self, topology: Topology) -> None:
        """Sparse files of the exact size, only where there is none: what an earlier run left in
        one stays, as bytes stay in real memory devices."""
        for pool in topology.pools:
            file = self.pool_file(pool.name)
            if file.exists():
                size = file.stat().st_size
                if size != pool.size:
                    raise Fault(f"the pool file {file} has {show_size(size)}, but the topology "
                                f"gives {pool.name} {show_size(pool.size)}: move the file away or "
                                "use the topology it was made for")
                continue
            # Under its own name only when whole: one of a wrong size would be refused ever after.
            partial = file.with_suffix(".partial")
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.truncate(fd, pool.size)
                partial.rename(file)
            except OSError as e:
                partial.unlink()
                raise Fault(f"the pool file {file} of {show_size(pool.size)} cannot be made: "
                            f"{e.strerror}") from e
            finally:
                os.close(fd)

    def fabric(self, topology: Topology) -> dict:
        """fmd's description of this fabric (fmd.json)."""
        return {
            "version": 1, "backend": "qmp",
            "devices": [{"name": p.name, "serial": topology.serial(p.name), "size": p.size,
                         "block": DC_BLOCK, "pool_file": str(self.pool_file(p.name))}
                        for p in topology.pools if topology.serial(p.name)],
            "hosts": [{"name": h.name, "socket": str(self.host(h.name) / "fmd.sock"),
                       "socket_uid": self.uid(h.name),
                       "qmp": str(self.host(h.name) / "qmp-fmd.sock"),
                       "devices": [{"device": d.pool, "path": qom_path(d.pool), "region": 0}
                                   for d in h.devices]}
                      for h in topology.hosts]}

    def uid(self, host: str) -> int:
        """The user of a host's QEMU: without root, the caller; as root, a number of its own for
        each host of each testbed, so that no guest's QEMU can touch another's socket or process."""
        if os.geteuid() != 0:
            return os.geteuid()
        uid = UID_FIRST + zlib.crc32(str(self.host(host)).encode()) % UID_COUNT
        return uid if _mapped(uid) else UID_NOBODY

    def write_json(self, name: str, value) -> None:
        partial = self.path / f"{name}.partial"
        partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        partial.rename(self.path / name)


def _mapped(uid: int) -> bool:
    """Does this user namespace (a container's, perhaps) have that uid?"""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(n) for n in line.split())
        if first <= uid < first + count:
            return True
    return False
