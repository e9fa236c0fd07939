# SPDX-License-Identifier: Apache-2.0
"""pooltier's verbs on programs that run: explain; record, replay, what-if; attach."""

import json
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "vm")]

from vmtest import expect, sh  # noqa: E402

# Both nodes are the same memory: what near saves is said.
OPTIONS = "--near-nodes 0 --far-nodes 1 --loss-ns 3000 --cpu 20 --near-limit 8M"
WORK = "pool-work hot-contiguous --bytes 32M --hot 6M --own-view"

# A page of its heap that malloc itself uses. Of address 0x1000 nothing is known.
EXPLAIN = f"""
cd /tmp
numactl --preferred=1 pooltier run --require {OPTIONS} --min-range 64K -- {WORK} --seconds 120 >/dev/null &
program=$!
for i in $(seq 100); do
    pooltier status --json $program 2>/dev/null | grep -q '"promoted_pages":[1-9]' && break
    sleep 0.2
done
heap=$(sed -n 's/-.*\\[heap\\]$//p' /proc/$program/maps | head -n 1)
echo "$program 0x$heap"
echo ---
pooltier explain $program 0x$heap || echo "explain ended with $?"
echo ---
pooltier explain --json $program 0x$heap
echo ---
pooltier explain $program 0x1000
echo "elsewhere $?"
kill $program
"""


def a_page_of_a_running_program_is_explained(rack):
    """By the program itself, over its socket: all the numbers that led to where the page is."""
    result = sh(rack, "h1", EXPLAIN, timeout=90)
    whole = (result.out + result.err)[-900:]
    asked, told, as_json, elsewhere = (part.strip() for part in result.out.split("---\n"))
    program, address = asked.split()
    address = hex(int(address, 16))  # without the zeros that the kernel may put before it
    rate, time = r"[\d.]+(?:e[+-]\d+)?/s", r"[\d.]+ (?:us|ms|s)"
    chain = [rf"{address} of {program} is (near \(node 0\)|far \(node 1\)), in \[heap\]: \w.*",
             rf"touches +{rate} \(50 % sure: {rate} to {rate}\).*",
             rf"needs +{rate} for its move to pay within {time}: 3000 ns a touch against {time} a move",
             r"credit +[\d.]+ % of a move's cost (held|earned)",
             rf"against +{rate} of the page that just fits near; at most {rate} of the one it would displace",
             rf"baseline +without tiering it would be (near|far); the bank holds -?{time}"]
    lines = told.splitlines()
    expect(len(lines) == len(chain), f"{len(lines)} lines and not {len(chain)}: {whole}")
    for line, wanted in zip(lines, chain):
        expect(re.fullmatch(wanted, line), f"it says {line!r}: {whole}")
    page = json.loads(as_json)
    why = page["explanation"]
    expect(page["target"] == int(program) and page["address"] == int(address, 16), f"another page: {whole}")
    expect(0 <= why["rate_low"] <= why["rate"] <= why["rate_high"], f"rates that do not rise: {whole}")
    expect(why["admission_rate"] > 0 and why["verdict"], f"no reason is given: {whole}")
    expect("elsewhere 1" in elsewhere and "0x1000 is in no tracked range" in result.err,
           f"of what is no page of it: {whole}")


RECORD = f"""
cd /tmp && rm -f a.trace
numactl --preferred=1 pooltier run --require {OPTIONS} -- {WORK} --seconds 8 >work.json &
program=$!
sleep 3
pooltier record $program a.trace --seconds 3 || echo "record ended with $?"
grep -c '^epoch ' a.trace
echo ---
pooltier replay a.trace --loss-ns 3000 || echo "replay ended with $?"
echo ---
pooltier what-if a.trace --loss-ns 3000 --near 1/2 --policy ours,histogram || echo "what-if ended with $?"
wait $program
"""


def recorded_and_replayed(rack):
    """What a running program's tiering believes, as a trace: under the policy as it was, and with other settings."""
    result = sh(rack, "h1", RECORD, timeout=60)
    epochs, replay, what_if = (part.strip() for part in result.out.split("---\n"))
    whole = (result.out + result.err)[-800:]
    expect(epochs == "3", f"the recording has {epochs} epochs instead of 3: {whole}")
    rows = [line for line in (replay + "\n" + what_if).splitlines() if re.match("as recorded|what if", line)]
    policies = [re.search(r"\d+\s+(ours|first-touch|histogram)\s", row) for row in rows]
    expect([p and p[1] for p in policies] == ["ours", "first-touch", "ours", "ours", "histogram"],
           f"rows are missing: {whole}")
    near = [float(re.search(r"\d+\s+[\w-]+\s+([\d.]+)", row)[1]) for row in rows]
    expect(near[3] > near[0] > 0, f"more near memory serves no more accesses: {whole}")


# DAMON reads accessed bits, which an emulated CPU sets as it fills its TLB: the program flushes it now and then.
ATTACH = f"""
cd /tmp
stat=/sys/module/damon_stat/parameters/enabled
echo Y >$stat
numactl --preferred=1 {WORK} --heartbeat --seconds 60 >work.json &
program=$!
sleep 1
pooltier attach $program {OPTIONS} >attach.txt 2>&1 &
agent=$!
for i in $(seq 200); do
    pooltier status --json $program 2>/dev/null | grep -q '"promoted_pages":[1-9]' && break
    sleep 0.2
done
pooltier status --json $program
echo ---
pooltier attach $program {OPTIONS}
echo "second $?"
kill -TERM $agent
wait $agent
echo "attach $?"
echo "stat $(cat $stat)"
grep -c 'N0=' /proc/$program/numa_maps
[ "$(awk '{{ print $3 }}' /proc/$program/stat)" != Z ] && kill -0 $program && echo "runs on"
kill $program
cat attach.txt
"""


def attached_from_outside(rack):
    """A program that knows nothing of it is tiered by root, with DAMON; left alone again, it runs on."""
    result = sh(rack, "h1", ATTACH, timeout=90)
    status, _, rest = result.out.partition("---\n")
    whole = (rest + result.err)[-600:]
    said = json.loads(status or "{}")
    expect(said.get("sampler") == "damon" and said.get("promoted_pages", 0) > 0,
           f"no page has come near: {status[-300:]} {whole}")
    expect(said["target"] != said["pid"], "the agent answers for the program")
    expect("second 1" in rest and "tiered already" in result.err, f"it can be attached to twice: {whole}")
    expect("attach 0" in rest and "runs on" in rest, f"after the end of tiering: {whole}")
    expect("stat Y" in rest, f"DAMON_STAT was on, and is not any more: {whole}")
    expect(re.search(r"^\d+ pool-work \(attached by \d+\), tiered for", rest, re.M), f"its last words: {whole}")


# DAMON is begun before that is known, and left as it was.
NO_MEMORY = f"""
stat=/sys/module/damon_stat/parameters/enabled
echo Y >$stat
sleep 60 &
sleeper=$!
pooltier attach $sleeper {OPTIONS}
echo "attach $?"
echo "stat $(cat $stat)"
pooltier status $sleeper
echo "status $?"
pooltier attach $sleeper --near-nodes 0 --far-nodes 7
echo "no such node $?"
echo "sleeper $sleeper"
kill $sleeper
"""


def what_has_no_memory_is_not_attached_to(rack):
    result = sh(rack, "h1", NO_MEMORY, timeout=60)
    whole = (result.out + result.err)[-600:]
    sleeper = re.search(r"^sleeper (\d+)$", result.out, re.M)[1]
    expect(f"pooltier: process {sleeper} has no private memory in pieces of 2 MiB or more\n" in result.err,
           f"it says something else: {whole}")
    expect("attach 1\n" in result.out, f"it does not end with 1: {whole}")
    expect("stat Y\n" in result.out, f"DAMON_STAT was on, and is not any more: {whole}")
    expect("status 1\n" in result.out and "is not tiered" in result.err, f"it is tiered all the same: {whole}")
    expect("no such node 1\n" in result.out and "node 7 has no memory here" in result.err,
           f"it takes what is no node for one: {whole}")


# The program opens the userfaultfd in a table of descriptors that nobody else sees, and hands it over. Its pages are
# small: which of sixteen huge ones are hot takes luck to tell in some seconds.
HAND_OVER = f"""
cd /tmp
thp=/sys/kernel/mm/transparent_hugepage/enabled
was=$(sed 's/.*\\[//; s/\\].*//' $thp)
echo never >$thp
numactl --preferred=1 pooltier run --require --near-nodes 0 --far-nodes 1 --hand-over -- {WORK} --seconds 120 >work.json &
program=$!
sleep 1
pooltier status $program
for end in TERM KILL; do
    pooltier attach $program {OPTIONS} >attach.txt 2>&1 &
    agent=$!
    for i in $(seq 100); do
        said=$(pooltier status --json $program)
        case $said in *'"promoted_pages":'[1-9]*'"sampler":"rwp"'*) echo "moved $end"; break;; esac
        sleep 0.2
    done
    kill -$end $agent
    wait $agent 2>/dev/null
    echo "$end $?"
done
pooltier status $program
kill $program
wait $program
echo "program $?"
echo $was >$thp
"""


def handed_over_to_an_agent(rack):
    """RWP from outside, by the program's own userfaultfd; the agent may end as it likes."""
    result = sh(rack, "h1", HAND_OVER, timeout=120)
    whole = (result.out + result.err)[-800:]
    expect(result.out.count("waits to be tiered from outside") == 2, f"before and after: {whole}")
    for wanted in ("moved TERM", "TERM 0", "moved KILL", "KILL 137", "program 143"):
        expect(wanted in result.out, f"it does not say {wanted}: {whole}")


# One part of eight is hot, in every huge page. All memory is far at first; whole blocks could bring an eighth near.
HUGE = f"""
cd /tmp
thp=/sys/kernel/mm/transparent_hugepage/enabled
was=$(sed 's/.*\\[//; s/\\].*//' $thp)
echo always >$thp
numactl --preferred=1 pooltier run --require {OPTIONS} -- pool-work hot-scattered --bytes 64M --hot 8M --seconds 60 >work.json &
program=$!
for i in $(seq 100); do
    sleep 0.4
    said=$(pooltier status --json $program)
    case $said in *'"near_share":0.'[3-9]*'"split_blocks":'[2-9][0-9]*) break;; esac
done
pooltier status $program
kill $program
wait $program
echo "the program ended with $?"
echo ---
echo "$said"
echo $was >$thp
"""


def huge_pages_are_split(rack):
    """Hot pages that are scattered over huge ones come near: nothing else tells them apart. On a CPU that others
    hold up for most of the time, one start of nine stayed with the few pages of the trial: a second one is allowed."""
    for attempt in (1, 2):
        result = sh(rack, "h1", HUGE, timeout=120)
        shown, _, said = result.out.partition("---\n")
        whole = (shown + result.err)[-3000:]
        expect(said.strip(), f"the program is not tiered any more: {whole}")
        status = json.loads(said)
        if status.get("split_blocks", 0) >= 20:
            break
        print(f"        not split at start {attempt}: {whole}")
    expect(status.get("split_blocks", 0) >= 20, f"nothing was split: {whole}")
    expect(status["policy"]["split"]["state"] == "worth", f"the trial says: {whole}")
    expect(status["policy"]["near_share"] > 0.3, f"whole huge pages would serve an eighth near: {whole}")
    expect(re.search(r"^huge +\d+ pages of 2 MiB, \d+ split", shown, re.M), f"pooltier status is silent on it: {whole}")
