# SPDX-License-Identifier: Apache-2.0
"""What is installed is complete, finds its parts, and can be built against by pkg-config alone."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CMAKE, BUILD, PREFIX, CXX, CC = sys.argv[1:6]
CHECKOUT = Path(__file__).resolve().parents[2]


def run(*argv, code=0, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=100, **more)
    if code is not None and done.returncode != code:
        raise AssertionError(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="cxlpool-install-")
        cls.addClassCleanup(folder.cleanup)
        cls.top = Path(folder.name)
        run(CMAKE, "--install", BUILD, env={**os.environ, "DESTDIR": str(cls.top)})
        cls.here = cls.top / PREFIX.lstrip("/")
        cls.found = {"/" + str(path.relative_to(cls.top)) for path in cls.top.rglob("*") if not path.is_dir()}
        [cls.lib] = {path.parent for path in cls.here.glob("lib/**/libpool.so")}

    def flags(self, *ask):
        return run("pkg-config", *ask, "libpool", env={
            **os.environ, "PKG_CONFIG_LIBDIR": str(self.lib / "pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(self.top), "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
            "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}).stdout.split()

    def test_what_users_look_for_is_there_and_no_more(self):
        lib = str(self.lib.relative_to(self.here))
        self.assertEqual(self.found, {f"{PREFIX}/{path}" for path in (
            *(f"bin/{name}" for name in ("fmd", "fmctl", "poold", "pooltier", "pooltrace")),
            "include/pool/pool.h", "include/pool/pool.hpp",
            *(f"{lib}/{name}" for name in ("libpool.a", "libpool.so", "libpool.so.0", "libpool.so.0.2",
                                           "libpool-run.so", "pkgconfig/libpool.pc")),
            "lib/systemd/system/poold.service",
            *(f"share/man/man1/{name}.1" for name in ("fmctl", "pooltier")),
            "share/man/man3/libpool.3",
            *(f"share/man/man8/{name}.8" for name in ("fmd", "poold")),
            "share/bash-completion/completions/fmctl", "share/zsh/site-functions/_fmctl")})

    def test_the_installed_programs_are_whole(self):
        for name in ("fmd", "fmctl", "poold", "pooltier", "pooltrace"):
            run(self.here / "bin" / name, "--help")
        unit = (self.here / "lib/systemd/system/poold.service").read_text()
        self.assertIn(f"\nExecStart={PREFIX}/bin/poold\n", unit)
        # Where there is no second node nothing is preloaded: that it would be found is asked with a wait for one.
        ran = run(self.here / "bin/pooltier", "run", "--wait", "--", "sh", "-c", "echo $LD_PRELOAD", code=None)
        self.assertEqual(ran.stdout, f"{(self.lib / 'libpool-run.so').resolve()}\n", ran.stderr)

    def test_programs_are_built_against_it(self):
        hello = CHECKOUT / "libpool/examples/pool-hello.cc"
        run(CXX, "-std=c++23", *self.flags("--cflags"), hello, "-o", self.top / "hello", *self.flags("--libs"))
        said = run(self.top / "hello", code=None, env={**os.environ, "LD_LIBRARY_PATH": str(self.lib)}).stdout
        self.assertRegex(said, r"^\d+ tiers: ")  # with one tier it ends there
        c = self.top / "version.c"
        c.write_text('#include <pool/pool.h>\n#include <stdio.h>\nint main(void) { puts(pool_version()); return 0; }\n')
        run(CC, *self.flags("--cflags"), c, "-o", self.top / "shared", *self.flags("--libs"))
        run(CC, *self.flags("--cflags"), c, "-o", self.top / "static", self.lib / "libpool.a",
            *[f for f in self.flags("--libs", "--static") if f != "-lpool"])
        shared = run(self.top / "shared", env={**os.environ, "LD_LIBRARY_PATH": str(self.lib)}).stdout
        self.assertEqual(shared, run(self.top / "static").stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
