#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Samplers and tracked programs in a guest: what is seen is true, and no program comes to harm.

    +-------------------------+
    |  h1, 1 GiB DRAM         |    two nodes by numa=fake: pages can be moved between
    |  [node 0]    [node 1]   |    them, neither is faster
    +-------------------------+
"""

import json
import re
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "vm")]

import redis_check  # noqa: E402
from pooltier_checks import (OPTIONS, WORK, a_page_of_a_running_program_is_explained,  # noqa: E402
                             attached_from_outside, handed_over_to_an_agent, huge_pages_are_split,
                             recorded_and_replayed, what_has_no_memory_is_not_attached_to)
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


# As busy as it may be: most checks of tier-torture are over in less than a second. All memory begins far, so there is
# something to win. What the library says tells how often it was loaded.
TIERED = f"{PRELOAD} POOLTIER_LOSS_NS=3000 POOLTIER_CPU=50 POOLTIER_REQUIRE=1 POOLTIER_SAY=all"

# It is asked until it has ended: a zombie has no exe any more.
TORTURE = f"""
cd /tmp
numactl --preferred=1 env {TIERED} tier-torture >torture.out 2>torture.err &
program=$!
while [ -e /proc/$program/exe ]; do
    said=$(pooltier status --json $program 2>/dev/null) && last=$said
    sleep 0.1
done
wait $program
echo "code $?"
echo "$last"
echo ---
cat torture.err
echo ---
cat torture.out
"""

# Here numactl is tiered, too, until it becomes another program.
BECOMES_ANOTHER = f"""
cd /tmp
{TIERED} numactl --preferred=1 {WORK} --seconds 120 >/dev/null 2>becomes.err &
program=$!
for i in $(seq 100); do
    said=$(pooltier status --json $program 2>/dev/null)
    case $said in *'"promoted_pages":'[1-9]*) break;; esac
    sleep 0.2
done
kill $program
echo "$said"
echo ---
cat becomes.err
"""


def last_status(text):
    """The last line that is one; of who never answered, what a process is that was never tiered."""
    said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return said[-1] if said else {"program": "", "promoted_pages": 0, "policy": {"cycles": 0}}


def programs_survive_the_preload_library(rack):
    """Which is at work meanwhile, else that would say nothing; also on what a program becomes by exec."""
    loaded = "pooltier: tiering by rwp"
    torture = sh(rack, "h1", TORTURE, timeout=300)
    whole = (torture.out + torture.err).strip()[-600:]
    expect("code 0\n" in torture.out, f"tier-torture: {whole}")
    told, said, _ = torture.out.split("---\n")
    survivor = last_status(told)
    expect(set(said.splitlines()) == {loaded}, f"the preload library said: {said[:300]}")
    expect(said.count(loaded) >= 3, f"tier-torture and two that it becomes by exec are not all tiered: {said[:300]}")
    expect(survivor["policy"]["cycles"] > 0, f"tier-torture was never looked at: {told[-600:]}")

    becomes = sh(rack, "h1", BECOMES_ANOTHER, timeout=90)
    told, said = becomes.out.split("---\n")
    another = last_status(told)
    expect(said.splitlines() == [loaded] * 2, f"before and after the exec the preload library said: {said[:300]}")
    expect(another["program"] == "pool-work" and another["policy"]["cycles"] > 0,
           f"after its exec the program is not tiered: {told[-600:]}")
    promoted = [one["promoted_pages"] for one in (survivor, another)]
    expect(sum(promoted) > 0, f"no page has come near: {told[-600:]}")
    print(f"        tier-torture: {survivor['policy']['cycles']} cycles, {promoted[0]} pages came near; after an exec: "
          f"{another['policy']['cycles']} and {promoted[1]}")


def by_nobody(options):
    """Under `pooltier run` by a user without any rights: until a page has come near, or 20 seconds have passed."""
    return f"""
cd /tmp
without-privileges numactl --preferred=1 pooltier run --require {options} -- {WORK} --seconds 120 >/dev/null &
program=$!
for i in $(seq 100); do
    without-privileges pooltier status --json $program 2>/dev/null | grep -q '"promoted_pages":[1-9]' && break
    sleep 0.2
done
grep -E '^(Uid|CapEff|CapBnd)' /proc/$program/status
without-privileges pooltier status --json $program
without-privileges pooltier status $program
kill $program
"""


def comes_near_for_nobody(rack, sampler, options):
    """What both forms of the status said."""
    result = sh(rack, "h1", by_nobody(options), timeout=90)
    whole = (result.out + result.err)[-900:]
    expect(re.search(r"^Uid:\s+65534\s+65534\s+65534", result.out, re.M), f"the user is not nobody: {whole}")
    expect(len(re.findall(r"^Cap\w+:\s+0{16}$", result.out, re.M)) == 2, f"it has capabilities: {whole}")
    expect(re.search(r'"promoted_pages":[1-9]', result.out) and f'"sampler":"{sampler}"' in result.out,
           f"no page has come near: {whole}")
    return result.out


def an_ordinary_user_needs_no_privileges(rack):
    said = comes_near_for_nobody(rack, "rwp", OPTIONS)
    expect("reads are not seen" not in said, f"of rwp it says that reads are not seen: {said[-900:]}")


def where_reads_are_not_seen_what_is_written_comes_near(rack):
    """By wp, the sampler of kernels 6.7 to 7.2. One access in 16 of the workload writes."""
    said = comes_near_for_nobody(rack, "wp", f"{OPTIONS} --sampler wp")
    expect_in('"writes_only":true', said, "the status as JSON")
    expect_in("reads are not seen", said, "the status")


# The C library takes them out of the stacks of our threads: 256 KiB was more than any had, of 48 KiB little was left.
BIG_THREAD_LOCAL = f"""
cd /tmp
for kib in 48 256; do
    numactl --preferred=1 pooltier run --require {OPTIONS} -- big-thread-local-$kib 60 &
    program=$!
    for i in $(seq 100); do
        said=$(pooltier status --json $program 2>/dev/null)
        case $said in *'"promoted_pages":'[1-9]*) echo "$kib moved"; break;; esac
        sleep 0.2
    done
    kill $program
    wait $program
    echo "$kib ended with $?"
done
"""


def big_thread_local_data_leave_our_threads_room(rack):
    result = sh(rack, "h1", BIG_THREAD_LOCAL, timeout=120)
    whole = (result.out + result.err)[-600:]
    for kib in (48, 256):
        for wanted in (f"{kib} moved", f"{kib} ended with 0"):
            expect_in(wanted, result.out, f"with {kib} KiB of thread-local data ({whole})")


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
          where_reads_are_not_seen_what_is_written_comes_near, big_thread_local_data_leave_our_threads_room, what_cannot_be_tracked_runs_on,
          a_container_that_refuses_is_named, a_page_of_a_running_program_is_explained, recorded_and_replayed,
          attached_from_outside, what_has_no_memory_is_not_attached_to, handed_over_to_an_agent, huge_pages_are_split])
