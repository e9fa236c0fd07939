# SPDX-License-Identifier: Apache-2.0
"""Step 1: two guests, a pool, a fabric manager."""

import os

from rack import CHECKOUT


def show(story, rack):
    story.step(1, "Two hosts and one pool of memory")
    story.say("h1 and h2 are QEMU guests, each with 2 GiB of its own DRAM and a CXL device with dynamic "
              "capacity. Both devices show the same 1 GiB, which is one file on this machine: the pool. "
              "Booting them takes some seconds.")
    story.command("", rack.up_shown())
    with story.working():
        seconds = rack.up()
    story.lines("\n".join(rack.picture()))
    story.figure("boot_s", round(seconds, 1), f"Both guests were up after {seconds:.1f} s.")
    story.say("Now the fabric manager on this machine. In each guest the driver cxl_dcd and the agent "
              "poold run already; each guest reaches nothing but its own socket of fmd.")
    story.command("", rack.fmd_shown())
    rack.fmd_start()
    story.command("", f"export CXLPOOL_SERVER={os.path.relpath(rack.socket, CHECKOUT)}")
    rack.wait_ready()
    with story.working():
        seconds = rack.wait_clean()
    story.figure("first_scrub_s", round(seconds, 1),
                 f"Of a pool it has never seen fmd trusts no byte: erasing all of it and reading it back "
                 f"took {seconds:.1f} s.")
    fabric = story.fmctl(rack, "fabric", "show")
    story.must("mem0" in fabric.out, "`fmctl fabric show` does not name the device mem0")
    story.fmctl(rack, "host", "list")
    states = {h["name"]: h["state"] for h in rack.fmctl("host", "list", "--json").must().json()}
    story.must(states == {"h1": "ready", "h2": "ready"},
               f"not both hosts are ready: {states}")
