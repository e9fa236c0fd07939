#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Samplers and tracked programs in a guest: what is seen is true, and no program comes to harm.

    +-------------------------+
    |  h1, 1 GiB DRAM         |    two nodes by numa=fake: pages can be moved between
    |  [node 0]    [node 1]   |    them, neither is faster
    +-------------------------+
"""

import re
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "vm")]

import redis_check  # noqa: E402
from pooltier_checks import (OPTIONS, WORK, attached_from_outside, handed_over_to_an_agent, huge_pages_are_split,  # noqa: E402
                             recorded_and_replayed)  # noqa: E402
from vmtest import (CHECKOUT, Failed, Fault, Rack, TestbedFault, expect, expect_in, overlay, sh,  # noqa: E402
                    skip_unless_ready)


def samplers_tell_the_truth(rack):
    result = rack.host("h1", "tier-sampler", timeout=90)
    expect(result.code == 0, f"tier-sampler: {(result.out + result.err).strip()[-300:]}")


PRELOAD = ("LD_PRELOAD=/usr/lib/libpool-run.so POOLTIER=1 POOLTIER_NEAR_NODES=0 POOLTIER_FAR_NODES=1 "
           "POOLTIER_MIN_RANGE=64K FIRE=off")


def programs_survive_a_tracker_at_full_speed(rack):
    result = rack.host("h1", "tier-torture", timeout=200)
    expect(result.code == 0, f"tier-torture: code {result.code}: {(result.out + result.err).strip()[-400:]}")
    expect("not checked" not in result.out, f"tier-torture: {result.out.strip()[-400:]}")


def programs_survive_the_preload_library(rack):
    result = sh(rack, "h1", f"{PRELOAD} POOLTIER_LOSS_NS=3000 POOLTIER_REQUIRE=1 tier-torture", timeout=200)
    expect(result.code == 0, f"tier-torture: code {result.code}: {(result.out + result.err).strip()[-400:]}")
    expect(result.err == "", f"the preload library said: {result.err[:300]}")


UNPRIVILEGED = f"""
cd /tmp
without-privileges numactl --preferred=1 pooltier run --require {OPTIONS} -- {WORK} --seconds 120 >/dev/null &
program=$!
for i in $(seq 100); do
    without-privileges pooltier status --json $program 2>/dev/null | grep -q '"promoted_pages":[1-9]' && break
    sleep 0.2
done
grep -E '^(Uid|CapEff|CapBnd)' /proc/$program/status
without-privileges pooltier status --json $program
kill $program
"""


def an_ordinary_user_needs_no_privileges(rack):
    result = sh(rack, "h1", UNPRIVILEGED, timeout=90)
    whole = (result.out + result.err)[-600:]
    expect(re.search(r"^Uid:\s+65534\s+65534\s+65534", result.out, re.M), f"the user is not nobody: {whole}")
    expect(result.out.count("0000000000000000") == 2, f"it has capabilities: {whole}")
    expect(re.search(r'"promoted_pages":[1-9]', result.out) and '"sampler":"rwp"' in result.out,
           f"no page has come near: {whole}")


def a_forked_child_is_told_of(rack):
    """By its parent: the child runs on untracked and listens to nobody."""
    told = sh(rack, "h1", f"{PRELOAD} tier-forker & for i in $(seq 100); do "
              "said=$(pooltier status --json $!); case $said in *rwp*alive*) break;; esac; sleep 0.1; done; "
              "echo \"$said\"; kill $!; wait", timeout=60).out
    expect('"sampler": "rwp"' in told or '"sampler":"rwp"' in told, f"status: {told[-400:]}")
    expect(re.search(r"1 forked so far, not tracked; alive: \d+", told), f"status: {told[-400:]}")


def what_cannot_be_tracked_runs_on(rack):
    """One sentence, the program's own exit code; with `require` it is not run at all."""
    cases = {
        "POOLTIER_FAR_NODES=7": "node 7 has no memory here",
        "POOLTIER_NEAR_LIMIT=much": "POOLTIER_NEAR_LIMIT",
        "POOLTIER_FAR_NODES=0": "POOLTIER_NEAR_NODES|node 0",
        "-u POOLTIER_NEAR_NODES -u POOLTIER_FAR_NODES": "runs untiered",
    }
    little = "tier-torture a_program_that_does_little"
    for words, said in cases.items():
        result = sh(rack, "h1", f"env {PRELOAD} env {words} {little}")
        expect(result.code == 0, f"{words}: code {result.code}, it should have run")
        expect(re.search(said, result.err) and len(result.err.splitlines()) == 1,
               f"{words}: it says {result.err!r}")


def a_container_that_refuses_is_named(rack):
    """Seccomp as containers have it. The fallback is taken and told, and puts back what it changed."""
    little = "tier-torture a_program_that_does_little"
    userfaultfd, move_pages = 323, 279  # on x86-64
    result = sh(rack, "h1", f"without-syscalls {userfaultfd} env {PRELOAD} POOLTIER_SAMPLER=rwp {little}")
    expect(result.code == 0, f"without userfaultfd: code {result.code}: {result.err}")
    expect_in("not rwp: userfaultfd: Operation not permitted", result.err, "it")
    result = sh(rack, "h1", f"without-syscalls {move_pages} env {PRELOAD} {little}")
    expect(result.code == 0, f"without move_pages: code {result.code}: {result.err}")
    expect_in("move_pages: Operation not permitted", result.err, "it")
    result = sh(rack, "h1", f"without-syscalls {userfaultfd} env {PRELOAD} POOLTIER_SAMPLER=rwp "
                            f"POOLTIER_REQUIRE=1 {little}")
    expect(result.code == 125 and "ok" not in result.out, f"require: code {result.code}: {result.out}")
    stat = "/sys/module/damon_stat/parameters/enabled"
    result = sh(rack, "h1", f"echo Y >{stat}; without-syscalls {userfaultfd} env {PRELOAD} POOLTIER_SAY=all "
                            f"{little}; cat {stat}")
    expect_in("tiering by damon; not rwp: userfaultfd: Operation not permitted", result.err, "it")
    expect(result.out.split()[-1] == "Y", f"DAMON_STAT was on, and is {result.out.split()[-1]} now")


def main(checks) -> None:
    """One boot, no fabric manager: nothing here is pooled."""
    skip_unless_ready()
    rack = Rack(str(HERE / "two-nodes.json"), CHECKOUT / "build/vm/run_test")
    if unknown := set(sys.argv[1:]) - {check.__name__ for check in checks}:
        sys.exit(f"there is no check {', '.join(sorted(unknown))}")
    failed, began = [], time.monotonic()
    overlays = ["--overlay", str(overlay())]
    if missing := redis_check.stage():
        print(f"without redis_saves_what_was_there: {missing}", flush=True)
    else:
        overlays += ["--overlay", str(redis_check.OVERLAY)]
        checks = [*checks, redis_check.redis_saves_what_was_there]
    try:
        rack.testbed("down")  # what a test that was killed has left
        rack.testbed("up", rack.topology, *overlays, timeout=300).must()
        print(f"booted in {time.monotonic() - began:.1f} s", flush=True)
        for check in [c for c in checks if not sys.argv[1:] or c.__name__ in sys.argv[1:]]:
            began = time.monotonic()
            try:
                check(rack)
                print(f"ok      {check.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except (Failed, Fault, ValueError, LookupError) as e:  # also what is printed may be anything
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
    main([samplers_tell_the_truth, programs_survive_a_tracker_at_full_speed,
          programs_survive_the_preload_library, an_ordinary_user_needs_no_privileges, a_forked_child_is_told_of,
          what_cannot_be_tracked_runs_on, a_container_that_refuses_is_named, recorded_and_replayed,
          attached_from_outside, handed_over_to_an_agent, huge_pages_are_split])
