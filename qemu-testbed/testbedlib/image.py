# SPDX-License-Identifier: Apache-2.0
"""What the guests boot: a base image made from the root, and the caller's overlays after it.

The base is an uncompressed cpio in the cache: unpacking it costs the emulated CPU less than
decompressing would, but each 25 MB still cost about a second, so only what is needed is in it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import cache, root as roots
from .cpio import Writer
from .errors import Fault

HERE = Path(__file__).resolve().parent
GUEST = HERE.parent / "guest"
TESTBED = HERE.parent / "testbed"

PROGRAMS = ["usr/bin/numactl", "usr/bin/cxl", "usr/bin/daxctl", "usr/bin/kmod"]
KMOD_NAMES = ["modprobe", "insmod", "rmmod", "lsmod", "depmod", "modinfo"]
# What programs built in the root may link with.
LIBRARIES = ["libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libnuma.so.1", "libcxl.so.1",
             "libdaxctl.so.1", "libkmod.so.2", "libudev.so.1", "libuuid.so.1", "libjson-c.so.5",
             "libpthread.so.0", "libdl.so.2", "librt.so.1"]
LIBRARY_FOLDER = "usr/lib/x86_64-linux-gnu"
MODULES = ["virtio_net", "cxl_acpi", "cxl_pci", "cxl_mem", "dax_cxl", "dax_hmem", "device_dax",
           "kmem"]


def in_root(root: Path, argv: list[str], binds=(), **how) -> subprocess.CompletedProcess:
    """Run a program in the root from here."""
    command = [sys.executable, str(TESTBED), "in-root"]
    for bind in binds:
        command += ["--bind", str(bind)]
    return subprocess.run([*command, "--", *argv], text=True,
                          env={**os.environ, "CXLPOOL_TESTBED_ROOT": str(root)}, **how)


def _root_id(root: Path) -> str:
    """Changes when the root is another one, or has other packages."""
    status = (root / "var/lib/dpkg/status").stat()
    return f"{root.resolve()} {status.st_ino} {status.st_mtime_ns} {roots.kernel(root)}"


# ---- programs of the testbed itself ----------------------------------------------------------

def tools(root: Path) -> Path:
    """Folder with `agent` and `relay`, compiled in the root, static."""
    sources = [GUEST / "agent.c", GUEST / "relay.c"]
    folder = cache.folder() / f"tools-{cache.key(_root_id(root), *[s.read_bytes() for s in sources])}"
    if folder.is_dir():
        return folder
    with cache.lock(folder.with_suffix(".lock"), "compiles the agent"):
        if folder.is_dir():
            return folder
        partial = _fresh(folder)
        for source in sources:
            built = in_root(root, ["gcc-14", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror",
                                   "-static", "-s", "-o", str(partial / source.stem), str(source)],
                            [partial, GUEST], capture_output=True)
            if built.returncode:
                raise Fault(f"{source.name} does not compile in the root {root}: "
                            f"{built.stderr.strip()}")
        # QEMU runs the relay as its own unprivileged user.
        partial.chmod(0o755)
        partial.rename(folder)
    return folder


# ---- base ------------------------------------------------------------------------------------

def base(root: Path) -> Path:
    """The base image, built when there is none for this root and this recipe."""
    agent = tools(root) / "agent"
    init = GUEST / "init"
    name = f"base-{cache.key(_root_id(root), Path(__file__).read_bytes(), init.read_bytes(), (HERE / 'cpio.py').read_bytes(), agent.read_bytes())}.cpio"
    image = cache.folder() / name
    if image.exists():
        return image
    with cache.lock(image.with_suffix(".lock"), "builds the base image"):
        if not image.exists():
            partial = image.with_suffix(".partial")
            with open(partial, "wb") as out:
                writer = Writer(out)
                _system(writer, init)
                _busybox(writer, root)
                _programs(writer, root)
                _modules(writer, root, _fresh(image.with_suffix(".modules")))
                writer.file("usr/bin/testbed-agent", agent.read_bytes(), 0o755)
                writer.finish()
            partial.rename(image)
    return image


def _fresh(folder: Path) -> Path:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    return partial


def _system(writer: Writer, init: Path) -> None:
    for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", LIBRARY_FOLDER, "proc", "sys",
                   "dev", "run", "etc/testbed.d", "root", "var/log", "mnt"):
        writer.folder(folder)
    writer.folder("tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        writer.symlink(name, f"usr/{name}")
    writer.device("dev/console", 5, 1)
    writer.device("dev/null", 1, 3, 0o666)
    writer.file("init", init.read_bytes(), 0o755)
    writer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"
                              b"nobody:x:65534:65534:nobody:/:/bin/false\n")
    writer.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")


def _busybox(writer: Writer, root: Path) -> None:
    binary = root / "usr/bin/busybox"
    writer.file("usr/bin/busybox", binary.read_bytes(), 0o755)
    listed = in_root(root, ["/usr/bin/busybox", "--list"], capture_output=True, check=True).stdout
    own = {Path(p).name for p in PROGRAMS} | set(KMOD_NAMES) | {"busybox", "init"}
    for applet in listed.split():
        if applet not in own:
            writer.symlink(f"usr/bin/{applet}", "busybox")


def _programs(writer: Writer, root: Path) -> None:
    binaries = PROGRAMS + [f"{LIBRARY_FOLDER}/{name}" for name in LIBRARIES]
    for program in PROGRAMS:
        writer.file(program, (root / program).read_bytes(), 0o755)
    for name in KMOD_NAMES:
        writer.symlink(f"usr/sbin/{name}", "../bin/kmod")
    listed = in_root(root, ["ldd", *(f"/{b}" for b in binaries)], capture_output=True)
    needed = set(f"/{b}" for b in binaries[len(PROGRAMS):])
    for line in listed.stdout.splitlines():
        words = line.replace("=>", "").split()
        needed |= {w for w in words[:2] if w.startswith("/") and not w.endswith(":")}
        if "not found" in line:
            raise Fault(f"a library of the guests' programs is missing in {root}: {line.strip()}")
    done = set()
    for library in sorted(needed):
        inside = library.replace("/lib/", "/usr/lib/", 1) if library.startswith("/lib/") else \
            library.replace("/lib64/", "/usr/lib64/", 1) if library.startswith("/lib64/") else library
        if inside not in done:
            done.add(inside)
            writer.file(inside, (root / inside.lstrip("/")).read_bytes(), 0o755)


def _modules(writer: Writer, root: Path, stage: Path) -> None:
    """The modules and what they depend on, unpacked, with indices made by the root's depmod."""
    release = roots.kernel(root)
    source = root / "usr/lib/modules" / release
    target = stage / "lib/modules" / release
    needed = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, deps = line.partition(":")
        needed[Path(path).name.split(".ko")[0].replace("-", "_")] = [path, *deps.split()]
    builtin = {Path(p).stem.replace("-", "_")
               for p in (source / "modules.builtin").read_text().split()}
    for module in MODULES:
        if module not in needed and module not in builtin:
            raise Fault(f"kernel {release} in {root} has no module {module}: the guests need it")
        for path in needed.get(module, []):
            file = target / (path.split(".ko")[0] + ".ko")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(roots.read_module(source / path))
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(source / name, target / name)
    in_root(root, ["depmod", "-b", str(stage), release], [stage], check=True)
    writer.tree(stage)
    shutil.rmtree(stage)


# ---- the image of one testbed ------------------------------------------------------------------

def compose(base_image: Path, overlays: list[Path], out: Path) -> None:
    """Base + overlays, as one file: QEMU takes one initrd, the kernel unpacks both parts."""
    partial = out.with_name(out.name + ".partial")
    try:
        with open(partial, "wb") as file, open(base_image, "rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
            writer = Writer(file)
            modules = False
            for overlay in overlays:
                if not overlay.is_dir():
                    raise Fault(f"the overlay {overlay} is not a folder")
                names = writer.tree(overlay)
                modules = modules or any(n.endswith(".ko") for n in names)
            if modules:
                writer.file("etc/testbed.depmod", b"")  # tells init to index them
            writer.finish()
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)  # of one that failed: it may have filled the disk
