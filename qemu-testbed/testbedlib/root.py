# SPDX-License-Identifier: Apache-2.0
"""The root: a small Debian trixie tree with QEMU, a guest kernel with headers, and a compiler.

QEMU and the guests' programs come from it, so the machine's own distribution does not matter.
It is built once from the mirror that apt on this machine already uses, and kept in the cache
under a name made of its recipe. Nothing is pinned: package names of kernels change with each
upload, so the meta packages resolve them.
"""

import glob
import lzma
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import cache
from .errors import Fault

SUITE = "trixie"
BACKPORTS = "trixie-backports"
PACKAGES = [
    "ca-certificates", "busybox-static", "kmod", "procps", "python3-minimal",
    "gcc-14", "g++-14", "libc6-dev", "make", "cmake", "ninja-build",
    "cxl", "daxctl", "numactl",
    "libnuma-dev", "libcxl-dev", "libdaxctl-dev", "nlohmann-json3-dev", "libfmt-dev",
    "libcli11-dev", "pkg-config",
]
# These depend on other packages of backports (QEMU on its seabios), which plain trixie would
# win over in one resolver run: they are installed second, with backports as the target.
BACKPORTS_PACKAGES = ["qemu-system-x86", "linux-image-amd64", "linux-headers-amd64"]
NOT_UNPACKED = ["/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*"]

MIN_QEMU = (11, 1)
MIN_KERNEL = (7, 3)
RECIPE = "\n".join(["3", SUITE, BACKPORTS, *PACKAGES, "--", *BACKPORTS_PACKAGES, "--",
                    *NOT_UNPACKED])


# ---- what is there -------------------------------------------------------------------------

def path() -> Path:
    """Where the root is, or will be. CXLPOOL_TESTBED_ROOT names another one, made by hand."""
    own = os.environ.get("CXLPOOL_TESTBED_ROOT")
    return Path(own).absolute() if own else cache.folder() / f"root-{cache.key(RECIPE)}"


def ensure() -> Path:
    """The path of a root that has passed the check; builds it when there is none."""
    root = path()
    if os.environ.get("CXLPOOL_TESTBED_ROOT"):
        check(root)
        return root
    if not root.is_dir():
        folder = cache.folder()
        with cache.lock(folder / f"{root.name}.lock", f"builds {root}") as fd:
            if not root.is_dir():  # the one we waited for has built it
                _build(root, fd)
    check(root)
    return root


def kernel(root: Path) -> str:
    """The newest kernel release in the root that has both an image and modules."""
    releases = [Path(p).name.removeprefix("vmlinuz-") for p in glob.glob(f"{root}/boot/vmlinuz-*")]
    releases = [r for r in releases if (root / "usr/lib/modules" / r / "modules.dep").exists()]
    if not releases:
        raise Fault(_missing(root, "a kernel with modules"))
    return max(releases, key=_numbers)


def check(root: Path) -> None:
    """One sentence when the root cannot run a testbed: too old, incomplete, or a guest kernel
    whose own driver would fight ours for dynamic capacity."""
    qemu = qemu_version(root)
    if qemu < MIN_QEMU:
        raise Fault(f"QEMU {_dotted(qemu)} in {root} is too old: dynamic capacity needs "
                        f"{_dotted(MIN_QEMU)} or newer from {BACKPORTS}; " + _again(root))
    release = kernel(root)
    if _numbers(release)[:2] < MIN_KERNEL:
        raise Fault(f"kernel {release} in {root} is too old: the driver needs "
                        f"{_dotted(MIN_KERNEL)} or newer from {BACKPORTS}; " + _again(root))
    if not _inside(root, Path("usr/lib/modules", release, "build")).is_dir():
        raise Fault(_missing(root, f"the headers of kernel {release}"))
    for what, place in (("busybox", "usr/bin/busybox"), ("gcc-14", "usr/bin/gcc-14"),
                        ("cxl", "usr/bin/cxl"), ("daxctl", "usr/bin/daxctl"),
                        ("numactl", "usr/bin/numactl"), ("kmod", "usr/bin/kmod")):
        if not (root / place).exists():
            raise Fault(_missing(root, what))
    claim = claims_dcd(root, release)
    if claim:
        raise Fault(f"kernel {release} in {root} has a driver of its own for dynamic capacity "
                        f"({claim}), which would take the devices away from cxl_dcd: use a kernel "
                        "without it")


def qemu_version(root: Path) -> tuple[int, ...]:
    binary = root / "usr/bin/qemu-system-x86_64"
    if not binary.exists():
        raise Fault(_missing(root, "QEMU"))
    status = root / "var/lib/dpkg/status"
    found = re.search(r"^Package: qemu-system-x86\n(?:.+\n)*?Version: (?:\d+:)?([\d.]+)",
                      status.read_text(errors="replace") if status.exists() else "", re.M)
    if found:
        return _numbers(found.group(1))[:3]
    # Not from a package: the binary holds its version as a C string.
    found = re.search(rb"\0(\d+\.\d+\.\d+)[^\0]{0,40}\0", binary.read_bytes())
    return _numbers(found.group(1).decode()) if found else (0,)


# A kernel with DCD support needs new exports of cxl_core (the posted series calls them
# cxl_configure_dcd, cxl_dev_dc_identify, cxl_*_extent…) and knows the decoder mode
# "dynamic_ram". The names may still change, so several traces count.
_DCD_SYMBOL = re.compile(rb"\b\w*cxl\w*(?:_dcd|_dc_|dynamic_cap|_extent)\w*|\bdynamic_ram\w*")
_DCD_MODULES = ("cxl_core", "cxl_pci", "cxl_mem", "cxl_region", "dax_cxl")


def claims_dcd(root: Path, release: str) -> str:
    """The trace of a DCD driver of the kernel's own, or "" when there is none."""
    symvers = _inside(root, Path("usr/lib/modules", release, "build", "Module.symvers"))
    if symvers.exists():
        for line in symvers.read_bytes().splitlines():
            fields = line.split(b"\t")
            if len(fields) > 1 and _DCD_SYMBOL.fullmatch(fields[1]):
                return fields[1].decode()
    for module in _DCD_MODULES:
        for file in glob.glob(f"{root}/usr/lib/modules/{release}/kernel/drivers/*/{module}.ko*"):
            found = _DCD_SYMBOL.search(read_module(Path(file)))
            if found:
                return f"{module}: {found.group().decode()}"
    return ""


def read_module(file: Path) -> bytes:
    """The bytes of a kernel module, unpacked."""
    data = file.read_bytes()
    if file.suffix == ".xz":
        return lzma.decompress(data)
    if file.suffix == ".ko":
        return data
    raise Fault(f"the kernel module {file} is packed in a way that testbed cannot read "
                    "(it knows .ko and .ko.xz)")


def _inside(root: Path, path_in_root: Path) -> Path:
    """Follow symlinks as they look from inside the root."""
    parts, done = list(path_in_root.parts), root
    for _ in range(200):
        if not parts:
            return done
        done = done / parts.pop(0)
        if done.is_symlink():
            target = os.readlink(done)
            absolute = target.startswith("/")
            parts = list(Path(target.lstrip("/")).parts) + parts
            done = root if absolute else done.parent
        elif done.name == "..":
            done = done.parent.parent
    return done


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text.split("+")[0].split("-")[0]))


def _dotted(numbers) -> str:
    return ".".join(str(n) for n in numbers)


def _again(root: Path) -> str:
    return f"remove it with `rm -rf {root}` and run `testbed root` again"


def _missing(root: Path, what: str) -> str:
    return f"the root {root} is missing {what}: " + _again(root)


# ---- building ------------------------------------------------------------------------------

def _mirror() -> str:
    """The Debian mirror of this machine's own apt configuration."""
    try:
        out = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)",
                              "Created-By: Packages"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise Fault("apt-get on this machine does not tell its mirror, which the root is built "
                        "from: testbed needs a Debian (or set CXLPOOL_TESTBED_ROOT to a trixie "
                        "root made elsewhere)") from e
    sites = sorted({s.rstrip("/") for s in out.stdout.split() if s.rstrip("/").endswith("/debian")})
    if not sites:
        raise Fault("no mirror in this machine's apt sources ends in /debian: add Debian's own "
                        "to /etc/apt/sources.list and run `apt-get update`, or set "
                        "CXLPOOL_TESTBED_ROOT to a trixie root made elsewhere")
    return sites[0]


# mmdebstrap's apt does not read this machine's apt.conf; what decides whether the mirror can be
# reached and trusted at all has to be passed on.
_PASSED_ON = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until",
              "Acquire::Retries", "Acquire::ForceIPv4")


def _apt_options() -> list[str]:
    dump = subprocess.run(["apt-config", "dump", "--format", "%F %v%n", *_PASSED_ON],
                          capture_output=True, text=True).stdout
    options = []
    for line in dump.splitlines():
        name, _, value = line.partition(" ")
        if name in _PASSED_ON and value:
            options.append(f'--aptopt={name} "{value}"')
    return options


def _mmdebstrap_argv(mirror: str, target: str, mode: str) -> list[str]:
    install = ("INITRD=No DEBIAN_FRONTEND=noninteractive chroot \"$1\" apt-get -qq install -y "
               f"-t {BACKPORTS} --no-install-recommends " + " ".join(BACKPORTS_PACKAGES))
    return ["mmdebstrap", f"--mode={mode}", "--variant=minbase",
            '--aptopt=APT::Install-Recommends "false"', *_apt_options(),
            *[f"--dpkgopt=path-exclude={p}" for p in NOT_UNPACKED],
            "--include=" + ",".join(PACKAGES), f"--customize-hook={install}",
            "--customize-hook=rm -f \"$1\"/boot/initrd.img* \"$1\"/initrd.img*",
            *(["--format=tar"] if target == "-" else ["--format=directory"]),
            SUITE, target, f"deb {mirror} {SUITE} main", f"deb {mirror} {BACKPORTS} main"]


def _build(root: Path, lock_fd: int) -> None:
    """Build into ROOT.partial and rename. The caller holds the lock; its descriptor goes to the
    children so that an orphaned build still keeps others out."""
    if not shutil.which("mmdebstrap"):
        raise Fault("mmdebstrap is not installed, which builds the testbed's root: "
                        "run `apt-get install mmdebstrap`")
    if os.geteuid() != 0:
        _refuse_unprivileged()
    free = shutil.disk_usage(root.parent).free
    if free < 3 << 30:
        raise Fault(f"{root.parent} has {free >> 20} MiB free and a root needs 3072 MiB while "
                        "it is built: free some, or set CXLPOOL_CACHE to another disk")
    mirror = _mirror()
    partial, log = root.with_name(root.name + ".partial"), root.with_name(root.name + ".log")
    _remove(partial)
    print(f"testbed: building the root {root} (Debian {SUITE} with QEMU and kernel from "
          f"{BACKPORTS}; about 1 GB, 2 minutes; log in {log})", file=sys.stderr)
    began = time.monotonic()
    try:
        if os.geteuid() == 0:
            # A private mount namespace: whatever ends the build, no mount is left behind.
            argv = ["unshare", "--mount", "--propagation", "private",
                    *_mmdebstrap_argv(mirror, str(partial), "root")]
            failed = _run_logged(argv, log, lock_fd, began)
        else:
            failed = _build_unprivileged(mirror, partial, log, lock_fd, began)
        if failed:
            raise Fault(f"building the root failed after {time.monotonic() - began:.0f} s: "
                            f"{failed} (all of it in {log})")
        check(partial)
    except BaseException:
        _remove(partial)
        raise
    partial.rename(root)
    print(f"testbed: root ready after {time.monotonic() - began:.0f} s: kernel {kernel(root)}, "
          f"QEMU {_dotted(qemu_version(root))}", file=sys.stderr)


def _refuse_unprivileged() -> None:
    """What mmdebstrap needs in order to work in a user namespace."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    for file in ("/etc/subuid", "/etc/subgid"):
        lines = Path(file).read_text().splitlines() if os.path.exists(file) else []
        if not any(line.split(":")[0] in (user, str(os.getuid())) for line in lines):
            raise Fault(f"{user} has no range in {file}, which building without root needs: run once as "
                        f"root `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`")
    if not shutil.which("newuidmap"):
        raise Fault("newuidmap is not installed, which building without root needs: run "
                    "`apt-get install uidmap`")


def _build_unprivileged(mirror, partial, log, lock_fd, began) -> str:
    """Without root: mmdebstrap works in a user namespace and writes a tar, unpacked as the
    caller's own files. (A tree with subordinate owners could not be removed by its owner.)"""
    partial.mkdir()
    with subprocess.Popen(["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-C",
                           str(partial)], stdin=subprocess.PIPE, pass_fds=(lock_fd,)) as tar:
        try:
            failed = _run_logged(_mmdebstrap_argv(mirror, "-", "unshare"), log, lock_fd, began,
                                 tar.stdin)
        except BaseException:
            tar.kill()  # it would go on writing into what is being removed
            raise
        tar.stdin.close()
        if tar.wait() and not failed:
            failed = f"tar could not unpack into {partial}"
    return failed


def _run_logged(argv, log: Path, lock_fd: int, began: float, stdout=subprocess.DEVNULL) -> str:
    """Run, all output into the log, the steps also to stderr. Returns "" or what went wrong."""
    last_error = ""
    with open(log, "w", encoding="utf-8") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout,
                                 stderr=subprocess.PIPE, text=True, errors="replace",
                                 env={**os.environ, "LC_ALL": "C"}, pass_fds=(lock_fd,))
        try:
            for line in child.stderr:
                out.write(line)
                out.flush()
                if line.startswith("I: "):
                    print(f"testbed: [{time.monotonic() - began:3.0f} s] {line[3:].rstrip()}",
                          file=sys.stderr)
                elif line.startswith("E:") and not last_error:
                    last_error = line[2:].strip()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if child.wait():
            return last_error or f"{argv[0]} ended with code {child.returncode}"
    return ""


def _remove(tree: Path) -> None:
    if tree.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=False)
        if tree.exists():
            raise Fault(f"{tree}, left by an interrupted build, cannot be removed: remove it by "
                        "hand")
