# SPDX-License-Identifier: Apache-2.0
"""A topology: pools, and hosts with the devices that show them. A value, read from JSON.

Every error is one sentence that names the file and the place in it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import Fault

SHIPPED = Path(__file__).resolve().parent.parent / "topologies"
MIB = 1 << 20
GIB = 1 << 30
DC_BLOCK = 2 * MIB  # QEMU's, fixed
POOL_MULTIPLE = 256 * MIB  # QEMU's granularity of a CXL capacity
MAX_PORTS = 16  # root ports of one host, each behind a bridge with bus numbers of its own
MAX_HOSTS = 16
MIN_MEMORY = 256 * MIB
MIN_NODE = 48 * MIB  # of two memory nodes


@dataclass(frozen=True)
class Pool:
    name: str
    size: int


@dataclass(frozen=True)
class Device:
    pool: str
    serial: int


@dataclass(frozen=True)
class Host:
    name: str
    memory: int
    cpus: int
    devices: tuple[Device, ...]
    empty_ports: int
    append: str
    far_memory: int = 0  # direct RAM on a node of its own without CPUs, a slower tier by HMAT
    shared: int = 0  # a PCI BAR over RUN/<host>/shared.mem, which this machine maps, too
    plugin: str = ""  # a TCG plugin of this machine's
    plugin_arguments: str = ""


@dataclass(frozen=True)
class Topology:
    name: str
    description: str
    picture: tuple[str, ...]
    pools: tuple[Pool, ...]
    hosts: tuple[Host, ...]

    def pool(self, name: str) -> Pool:
        return next(p for p in self.pools if p.name == name)

    def host(self, name: str) -> Host:
        for h in self.hosts:
            if h.name == name:
                return h
        raise Fault(f"there is no host {name}: this testbed has " +
                    ", ".join(h.name for h in self.hosts))

    def serial(self, pool: str) -> int:
        """A pool has the same serial in every host (0 when no host has it)."""
        return next((d.serial for h in self.hosts for d in h.devices if d.pool == pool), 0)


_REQUIRED = object()


class _Reader:
    """An object of the JSON file, with its path for the errors."""

    def __init__(self, value, path: str, file: str, keys: dict):
        self.path, self.file = path, file
        if not isinstance(value, dict):
            raise self.fault("", f"must be an object, not {_kind(value)}")
        for key in value:
            if key not in keys:
                raise self.fault(key, "is not known here; known are " + ", ".join(keys))
        for key, default in keys.items():
            if default is _REQUIRED and key not in value:
                raise self.fault(key, "is missing")
        self.value = {k: value.get(k, d) for k, d in keys.items()}

    def where(self, key) -> str:
        return ".".join(p for p in (self.path, str(key)) if p) or "the file"

    def fault(self, key, what: str) -> Fault:
        return Fault(f"topology {self.file}: {self.where(key)} {what}")

    def text(self, key) -> str:
        v = self.value[key]
        if not isinstance(v, str):
            raise self.fault(key, f"must be a text, not {_kind(v)}")
        return v

    def name(self, key) -> str:
        v = self.text(key)
        if not re.fullmatch(r"[a-z0-9-]{1,63}", v) or v.startswith("-"):
            raise self.fault(key, f'"{v}" must be 1 to 63 of a-z, 0-9 and -, not beginning with -')
        return v

    def number(self, key, low: int, high: int) -> int:
        v = self.value[key]
        if not isinstance(v, int) or isinstance(v, bool) or not low <= v <= high:
            raise self.fault(key, f"must be a number from {low} to {high}, not {json.dumps(v)}")
        return v

    def size(self, key, multiple: int, low: int, high: int) -> int:
        try:
            v = parse_size(self.value[key])
        except ValueError as e:
            raise self.fault(key, str(e)) from e
        if not low <= v <= high or v % multiple:
            raise self.fault(key, f"must be a multiple of {show_size(multiple)} from "
                                  f"{show_size(low)} to {show_size(high)}, not "
                                  f"{json.dumps(self.value[key])}")
        return v

    def optional_size(self, key, low: int) -> int:
        return 0 if self.value[key] == 0 else self.size(key, MIB, low, 1 << 40)

    def items(self, key, low: int, high: int) -> list:
        v = self.value[key]
        if not isinstance(v, list):
            raise self.fault(key, f"must be a list, not {_kind(v)}")
        if not low <= len(v) <= high:
            raise self.fault(key, f"must have {low} to {high} entries, not {len(v)}")
        return v

    def objects(self, key, low: int, high: int, keys: dict) -> list["_Reader"]:
        return [_Reader(v, f"{self.where(key)}[{i}]", self.file, keys)
                for i, v in enumerate(self.items(key, low, high))]


def parse_size(value) -> int:
    """Bytes from a number or a text like "512M"; K, M, G, T are binary."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d{1,15})([KMGT]?)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f'must be a size like "1G" or "512M", not {json.dumps(value)}')
    return int(found.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found.group(2)]


def show_size(size: int) -> str:
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def _kind(value) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number",
            float: "a number", type(None): "null"}[type(value)]


def _unique(values, reader: _Reader, key: str, what: str) -> None:
    seen = set()
    for v in values:
        if v in seen:
            raise reader.fault(key, f"has two {what} named {v}" if isinstance(v, str)
                               else f"has two {what} {v}")
        seen.add(v)


def parse(value, file: str) -> Topology:
    top = _Reader(value, "", file, {"name": _REQUIRED, "description": "", "picture": [],
                                    "append": "", "pools": _REQUIRED, "hosts": _REQUIRED})
    picture = top.items("picture", 0, 60)
    if not all(isinstance(line, str) for line in picture):
        raise top.fault("picture", "must be a list of texts, one a line")
    pools = [(Pool(r.name("name"), r.size("size", POOL_MULTIPLE, POOL_MULTIPLE, 1 << 40)))
             for r in top.objects("pools", 0, MAX_PORTS, {"name": _REQUIRED, "size": _REQUIRED})]
    _unique([p.name for p in pools], top, "pools", "pools")
    readers = top.objects("hosts", 1, MAX_HOSTS,
                          {"name": _REQUIRED, "memory": "2G", "cpus": 2, "devices": [],
                           "empty_ports": 0, "append": "", "far_memory": 0, "shared": 0,
                           "plugin": "", "plugin_arguments": ""})
    hosts = [_host(r, pools, top.text("append")) for r in readers]
    _unique([h.name for h in hosts], top, "hosts", "hosts")
    _check_serials(hosts, top)
    return Topology(top.name("name"), top.text("description"), tuple(picture), tuple(pools),
                    tuple(hosts))


def _host(r: _Reader, pools: list[Pool], append: str) -> Host:
    devices = []
    names = [p.name for p in pools]
    for d in r.objects("devices", 0, MAX_PORTS, {"pool": _REQUIRED, "serial": 0}):
        pool = d.name("pool")
        if pool not in names:
            raise d.fault("pool", f'names "{pool}", but the pools are ' +
                          (", ".join(names) or "none"))
        serial = d.number("serial", 0, (1 << 64) - 1)
        devices.append(Device(pool, serial or names.index(pool) + 1))
    _unique([d.pool for d in devices], r, "devices", "devices over the pool")
    empty = r.number("empty_ports", 0, MAX_PORTS)
    if len(devices) + empty > MAX_PORTS:
        raise r.fault("empty_ports", f"and devices together are {len(devices) + empty} ports; a "
                                     f"host has room for {MAX_PORTS}")
    far = r.optional_size("far_memory", MIN_NODE)
    shared = r.optional_size("shared", MIB)
    if shared & (shared - 1):
        raise r.fault("shared", f"must be a power of two, as PCI BARs are, not {show_size(shared)}")
    plugin, arguments = r.text("plugin"), r.text("plugin_arguments")
    if arguments and not plugin:
        raise r.fault("plugin_arguments", "are for a plugin, and there is none")
    if "," in plugin:
        raise r.fault("plugin", f'"{plugin}" must have no comma, which QEMU divides arguments at')
    return Host(r.name("name"), r.size("memory", MIB, MIN_NODE if far else MIN_MEMORY, 1 << 40),
                r.number("cpus", 1, 64), tuple(devices), empty,
                " ".join(a for a in (append, r.text("append")) if a), far, shared, plugin, arguments)


def _check_serials(hosts: list[Host], top: _Reader) -> None:
    """The same pool is the same device: one serial in all hosts, and no other's."""
    owner, serial = {}, {}
    for i, h in enumerate(hosts):
        for j, d in enumerate(h.devices):
            key = f"hosts[{i}].devices[{j}].serial"
            if serial.setdefault(d.pool, d.serial) != d.serial:
                raise top.fault(key, f"is {d.serial}, but the pool {d.pool} has serial "
                                     f"{serial[d.pool]} in another host: it is one device")
            if owner.setdefault(d.serial, d.pool) != d.pool:
                raise top.fault(key, f"is {d.serial}, which the pool {owner[d.serial]} has already")


def load(name_or_path: str) -> tuple[Topology, dict]:
    """A shipped topology by its name, or a file. Also returns the JSON it was made of."""
    path = Path(name_or_path)
    if "/" not in name_or_path and not name_or_path.endswith(".json"):
        path = SHIPPED / f"{name_or_path}.json"
        if not path.exists():
            raise Fault(f"there is no topology {name_or_path}: shipped are " +
                        ", ".join(shipped()) + "; or name a file with its path")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise Fault(f"topology {path}: {e.strerror}") from e
    except ValueError as e:
        raise Fault(f"topology {path} is not JSON: {e}") from e
    return parse(value, path.name), value


def shipped() -> list[str]:
    return sorted(p.stem for p in SHIPPED.glob("*.json"))
