#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Samplers and tracked programs in a guest: what is seen is true, and no program comes to harm.

    +-------------------------+
    |  h1, 1 GiB DRAM         |    two nodes by numa=fake: pages can be moved between
    |  [node 0]    [node 1]   |    them, neither is faster
    +-------------------------+
"""

import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "vm")]

from vmtest import CHECKOUT, Failed, Fault, Rack, TestbedFault, expect, skip_unless_ready  # noqa: E402


def samplers_tell_the_truth(rack):
    result = rack.host("h1", "tier-sampler", timeout=90)
    expect(result.code == 0, f"tier-sampler: {(result.out + result.err).strip()[-300:]}")


def main(checks) -> None:
    """One boot, no fabric manager: nothing here is pooled."""
    skip_unless_ready()
    rack = Rack(str(HERE / "two-nodes.json"), CHECKOUT / "build/vm/run_test")
    failed, began = [], time.monotonic()
    try:
        rack.up()
        print(f"booted in {time.monotonic() - began:.1f} s", flush=True)
        for check in [c for c in checks if not sys.argv[1:] or c.__name__ in sys.argv[1:]]:
            began = time.monotonic()
            try:
                check(rack)
                print(f"ok      {check.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except (Failed, Fault) as e:
                print(f"FAILED  {check.__name__} ({time.monotonic() - began:.1f} s): {e}", flush=True)
                failed.append(check.__name__)
        rack.check_splats()
    except (Fault, TestbedFault) as e:
        print(f"FAILED: {e}")
        failed.append("run_test")
    finally:
        rack.down()
    if failed:
        print(f"{len(failed)} failed: {', '.join(failed)}; logs are in {rack.folder}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main([samplers_tell_the_truth])
