#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo as a test: all eight steps, in time, with every figure in its report."""

import json
import subprocess
import sys

from vmtest import CHECKOUT, skip_unless_ready

LIMIT_S = 300  # twice what it takes alone: other tests run beside it
FIGURES = {1: {"boot_s"},
           2: {"request_to_node_ms", "request_to_node_split_ms"},
           3: {"near_percent_without", "near_percent_with", "near_percent_mover_off", "pages_moved"},
           4: {"kills_survived"},
           5: {"bytes_of_h1_read_by_h2"},
           6: {"object_bytes", "bytes_sent_between_hosts"},
           7: {"own_mb", "pool_mb", "pages_by_node"},
           8: {"kernel_splats", "processes_left", "mounts_left", "files_left"}}


def main() -> int:
    skip_unless_ready()
    folder = CHECKOUT / "build/vm/demo"
    done = subprocess.run([sys.executable, str(CHECKOUT / "qemu-testbed/demo/demo"), "--dir", str(folder)])
    report = json.loads((folder / "report.json").read_text())
    failed = [] if done.returncode == 0 and report["ok"] else [report.get("failed", "no sentence")]
    steps = {step["number"]: step for step in report["steps"]}
    for number, names in FIGURES.items():
        missing = names - set(steps.get(number, {"figures": {}})["figures"])
        if missing:
            failed.append(f"step {number} has no {', '.join(sorted(missing))} in report.json")
    if report["seconds"] > LIMIT_S:
        failed.append(f"it took {report['seconds']:.0f} s of at most {LIMIT_S}")
    for sentence in failed:
        print(f"FAILED: {sentence}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
