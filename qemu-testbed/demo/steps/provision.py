# SPDX-License-Identifier: Apache-2.0
"""Step 2: memory is provisioned, seen, and given back without hurting its neighbour."""

import re
import time

from rack import MIB

HELD = 8 * MIB


def show(story, rack):
    story.step(2, "h1 gets 256 MiB of the pool")
    began = time.monotonic()
    story.fmctl(rack, "grant", "create", "--host", "h1", "--size", "256M", "--name", "g1", "--wait")
    answered_ms = (time.monotonic() - began) * 1000
    node = node_of(story, rack, "g1")
    sizes(story, rack, node, 256)
    listed = story.host(rack, "h1", "daxctl", "list")
    found = [d for d in listed.json() if d.get("mode") == "system-ram" and d.get("target_node") == node]
    story.must(len(found) == 1 and found[0]["size"] == 256 * MIB and found[0].get("movable") is True,
               f"daxctl on h1 does not list one movable device of 256 MiB on node {node}")
    timeline(story, rack.grant("g1"), answered_ms)

    story.say("A second grant joins the same node, because both lie behind the same CXL window. "
              f"A program then holds {HELD // MIB} MiB of known bytes on that node, and g1 is released "
              "under it; after that the same with g2.")
    story.fmctl(rack, "grant", "create", "--host", "h1", "--size", "128M", "--name", "g2", "--wait")
    story.must(node_of(story, rack, "g2") == node, f"g2 is not on node {node} as g1 is")
    sizes(story, rack, node, 384)
    release_under(story, rack, node, "g1", "g2")
    story.fmctl(rack, "grant", "create", "--host", "h1", "--size", "256M", "--name", "g1", "--wait")
    release_under(story, rack, node, "g2", "g1")

    story.say("The last grant goes, and with it the node.")
    story.fmctl(rack, "grant", "release", "g1", "--wait")
    story.must(f"node {node} size" not in story.shell(rack, "h1", "numactl -H | grep size").out,
               f"node {node} of h1 is still there after its last grant was released")


def node_of(story, rack, name: str) -> int:
    grant = rack.grant(name)
    story.must(grant["state"] == "active", f"{name} is {grant['state']} and not active")
    nodes = grant["seen"][0]["nodes"]
    story.must(len(nodes) == 1, f"fmd was not told of one node for {name} but of {nodes}")
    return nodes[0]


def sizes(story, rack, node: int, mib: int):
    shown = story.shell(rack, "h1", "numactl -H | grep size")
    found = re.search(rf"^node {node} size: (\d+) MB", shown.out, re.M)
    story.must(found is not None, f"numactl on h1 shows no node {node}")
    story.must(int(found.group(1)) == mib,
               f"numactl on h1 shows node {node} with {found.group(1)} MB and not with {mib} MB")


# The moments in a grant's timeline at which each stage of its way ends.
STAGES = (("journal", "journaled"), ("offer", "offered to"), ("driver", "taken by the driver"),
          ("online", "plugged on"))


def split(grant: dict) -> dict[str, float]:
    """Milliseconds of each stage; an erasure before the offer, if there was one, is a stage too."""
    ends = {}
    for entry in grant["timeline"]:
        for stage, word in (*STAGES, ("scrub", "scrubbed")):
            if word in entry["what"]:
                ends.setdefault(stage, entry["ms"])
    stages, at = {}, 0.0
    for stage, end in sorted(ends.items(), key=lambda item: item[1]):
        stages[stage] = round(end - at, 1)
        at = end
    return stages


def timeline(story, grant: dict, answered_ms: float):
    stages, total = split(grant), grant["latency_ms"]
    missing = [stage for stage, _ in STAGES if stage not in stages]
    story.must(not missing, f"the timeline of {grant['name']} does not tell {', '.join(missing)}")
    stages["seen"] = round(answered_ms - sum(stages.values()), 1)
    story.figure("request_to_node_ms", round(total, 1),
                 f"From the request to the node: {total:.0f} ms; until fmctl had said so, "
                 f"{answered_ms:.0f} ms: " + ", ".join(f"{n} {ms:.0f}" for n, ms in stages.items()) + ".")
    story.figure("request_to_node_split_ms", stages,
                 "(Durable in the journal; offered by the device; taken by the driver; online as memory; "
                 "seen by whoever asked.)")


def release_under(story, rack, node: int, released: str, stays: str):
    held = rack.hold("h1", node, HELD, f"data-{released}")
    try:
        story.command("h1", f"memtool hold {node} {HELD // MIB}M data-{released} &")
        story.lines(held.said)
        on_node = held.first_nodes().get(node, 0)
        story.must(on_node == HELD // 4096,
                   f"only {on_node} of {HELD // 4096} pages started on node {node}")
        story.fmctl(rack, "grant", "release", released, "--wait")
        with story.working():
            said = held.check()
    finally:
        held.let_go()
    story.must(rack.grant(stays)["state"] == "active", f"{stays} was hurt by the release of {released}")
    story.figure(f"bytes_intact_after_release_of_{released}", HELD,
                 f"{released} is gone, {stays} stays, and {said}.")
