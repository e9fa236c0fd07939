# SPDX-License-Identifier: Apache-2.0
"""Run a program inside the root, with a private view of the file system.

The new view is a tmpfs that holds bind mounts: the root's own folders, and whatever the caller
names, at whatever place. It lives in a mount namespace of the process alone, so it ends with it
and nothing stays mounted; the root's folder itself is never written. Without root the same is
done in a user namespace. `enter()` changes the calling process for good: call it in a child, or
just before exec.
"""

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

from .errors import Fault

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
CAP_SETGID, CAP_SETUID = 6, 7
_CAP_LAST = 63

_libc = ctypes.CDLL(None, use_errno=True)

SYMLINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
# What a compiler or a package tool needs of a root.
WHOLE_ROOT = ("usr", "etc", "boot", "var/lib", "var/cache")


class Bind(NamedTuple):
    source: str
    target: str  # absolute, as seen inside
    writable: bool = True


def _call(function, *args) -> None:
    if function(*args) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call(_libc.mount, source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags),
          data.encode())


def enter(root: Path, binds: list[Bind], cwd: str = "/", folders=WHOLE_ROOT) -> None:
    """Make ROOT's folders plus `binds` the file system of this process. No thread but the
    caller's may exist."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        _call(_libc.unshare, _CLONE_NEWNS | (0 if uid == 0 else _CLONE_NEWUSER))
    except OSError as e:
        raise Fault("this machine does not let " + ("root" if uid == 0 else "you") + " make a "
                    f"private mount namespace ({e.strerror}): run testbed " +
                    ("outside the container, or in one with CAP_SYS_ADMIN" if uid == 0 else
                     "as root, or allow unprivileged user namespaces")) from e
    try:
        if uid != 0:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        new = f"{root}/mnt"
        _mount("tmpfs", new, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
        for name, target in SYMLINKS.items():
            os.symlink(target, f"{new}/{name}")
        for name in ("tmp", "var/tmp"):
            os.makedirs(f"{new}/{name}", exist_ok=True)
            os.chmod(f"{new}/{name}", 0o1777)
        for name in folders:
            _bind(Bind(f"{root}/{name}", f"/{name}", writable=False), new)
        for bind in binds:
            _bind(bind, new)
        os.chroot(new)
        os.chdir(cwd)
    except OSError as e:
        raise Fault(f"the inside of {root} cannot be set up: {e.filename or 'mount'}: "
                    f"{e.strerror}") from e


def _bind(bind: Bind, new: str) -> None:
    target = new + bind.target
    try:
        if os.path.isdir(bind.source):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        _mount(bind.source, target, "", _MS_BIND | _MS_REC)
        # In a user namespace a remount may not drop flags that the outside has locked. (Those of
        # access times stay unless another is named.)
        if not bind.writable:
            locked = os.statvfs(target).f_flag & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
            _mount("none", target, "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | locked)
    except OSError as e:
        raise Fault(f"{bind.source} cannot be shown inside the root as {bind.target}: "
                    f"{e.strerror}") from e


def drop_privileges(keep: tuple[int, ...] = ()) -> None:
    """From the next exec on: no capability but `keep`, and none to be had from any program."""
    for cap in range(_CAP_LAST + 1):
        if cap not in keep:
            _libc.prctl(_PR_CAPBSET_DROP, cap, 0, 0, 0)  # EINVAL beyond the kernel's last one
    _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def run_in_root(root: Path, binds: list[str], cwd: str | None, argv: list[str]) -> None:
    """Replace this process by ARGV in the root (`testbed in-root`). Does not return."""
    shown = [Bind(d, d) for d in ("/proc", "/sys", "/dev")]
    for folder in binds:
        absolute = os.path.abspath(folder)
        if not os.path.isdir(absolute):
            raise Fault(f"--bind {folder}: there is no such folder")
        shown.append(Bind(absolute, absolute))
    where = os.path.abspath(cwd) if cwd else (shown[3].target if len(shown) > 3 else "/")
    if cwd and not any(where == b.target or where.startswith(b.target + "/") for b in shown):
        raise Fault(f"--cwd {cwd} is not inside the root: name it, or a folder above, with --bind")
    enter(root, shown, where)
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        os.execvp(argv[0], argv)
    except OSError as e:
        raise Fault(f"{argv[0]} cannot be run in the root: {e.strerror}", 127) from e
