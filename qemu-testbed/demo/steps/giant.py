# SPDX-License-Identifier: Apache-2.0
"""Step 7: a guest with more pool memory than DRAM of its own."""

import re

from rack import MIB


def show(story, rack):
    story.step(7, "A giant: more memory from the pool than of its own")
    story.say("Another rack: one guest with 1 GiB of DRAM and two pool devices of 1 GiB behind two host "
              "bridges. One grant takes both whole.")
    story.command("", rack.up_shown())
    with story.working():
        rack.up()
    story.lines("\n".join(rack.picture()))
    rack.fmd_start()
    rack.wait_ready()
    with story.working():
        rack.wait_clean()
        story.fmctl(rack, "grant", "create", "--host", "h1", "--size", "2G", "--name", "big", "--wait")
    grant = rack.grant("big")
    story.must(len({e["device"] for e in grant["extents"]}) == 2, "the grant does not span both devices")
    story.must([len(seen["nodes"]) for seen in grant["seen"]] == [2], "fmd does not see its memory on two nodes")
    shown = story.shell(rack, "h1", "numactl -H | grep size")
    nodes = {int(n): int(mb) for n, mb in re.findall(r"^node (\d+) size: (\d+) MB", shown.out, re.M)}
    own, pool = nodes.pop(0, 0), {n: mb for n, mb in nodes.items() if mb}
    story.must(sum(pool.values()) == 2048 and own > 0,
               f"the nodes of the pool have {sum(pool.values())} MB and not 2048 MB")
    story.must(sum(pool.values()) > own, f"the pool gives it {sum(pool.values())} MB, which is not more "
                                         f"than its own {own} MB")
    story.figure("own_mb", own, f"Of its own it has {own} MB, from the pool {sum(pool.values())} MB.")
    story.report["steps"][-1]["figures"]["pool_mb"] = sum(pool.values())

    # A little stays free: the kernel keeps some of each node for itself.
    shares = [f"{node}:{mb - 64}M" for node, mb in sorted(pool.items())]
    spread = story.host(rack, "h1", "memtool", "spread", *shares, timeout=120)
    counted = {int(n): int(p) for n, p in re.findall(r"^node(\d+) (\d+) pages", spread.out, re.M)}
    wanted = {node: mb - 64 for node, mb in pool.items()}
    story.must(counted == wanted, f"the pages are on {counted} and not on {wanted}")
    story.figure("pages_by_node", {str(n): p for n, p in counted.items()},
                 f"One page of every MiB was written and read back, "
                 f"{sum(counted.values()) * 4096 // MIB} MiB in all: " +
                 ", ".join(f"{p} pages on node {n}" for n, p in sorted(counted.items())) + ".")
    story.fmctl(rack, "grant", "release", "big", "--wait")
    rack.check_splats()
