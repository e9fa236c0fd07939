# SPDX-License-Identifier: Apache-2.0
"""Step 5: no byte of one owner is readable by the next."""

import os

from rack import CHECKOUT, MIB, pattern

SIZE = 32 * MIB


def show(story, rack):
    story.step(5, "What h1 wrote, h2 never reads")
    story.say("h1 gets 32 MiB as a character device and fills them with a pattern. The pool file is the "
              "memory device itself, so the pattern must stand there.")
    extent, dax = take(story, rack, "h1", "secret")
    story.host(rack, "h1", "memtool", "fill", dax, "0", "32M", "h1", timeout=120)
    in_file(story, rack, extent, "h1", "the pattern of h1")

    story.say("h1 gives the memory back. fmd erases it, flushes, reads every byte back, and only the "
              "receipt in the journal makes it free again.")
    story.fmctl(rack, "grant", "release", "secret", "--wait")
    first, last = extent["dpa"] // MIB, (extent["dpa"] + extent["len"]) // MIB
    story.fmctl(rack, "event", "list", "--limit", "10")
    receipts = [e["text"] for e in rack.fmctl("event", "list", "--limit", "10", "--json").must().json()
                if "read back as zeros" in e["text"]]
    story.must(any("32 MiB read back" in text for text in receipts),
               f"there is no receipt for the erasing of {first} to {last} MiB: {receipts}")

    story.say("h2 gets the same bytes of the same device.")
    again, dax = take(story, rack, "h2", "next")
    story.must(again == extent, f"h2 was given {again} and not {extent}, so that it proves nothing")
    read = story.host(rack, "h2", "memtool", "verify", dax, "0", "32M", "zeros", code=None, timeout=120)
    story.must(read.code == 0, "h2 can read bytes that h1 wrote: the extent was not erased between its "
                               "two owners")
    story.figure("bytes_of_h1_read_by_h2", 0, "h2 reads zeros everywhere: not one byte of h1 is left.")
    story.host(rack, "h2", "memtool", "fill", dax, "0", "32M", "h2", timeout=120)
    in_file(story, rack, extent, "h2", "the pattern of h2")
    rack.release("next")


def take(story, rack, host: str, name: str) -> tuple[dict, str]:
    """A dax grant: its one extent and the path of its device on the host."""
    story.fmctl(rack, "grant", "create", "--host", host, "--size", "32M", "--as", "dax", "--name", name,
                "--wait")
    grant = rack.grant(name)
    story.must(len(grant["extents"]) == 1, f"{name} has {len(grant['extents'])} extents and not one")
    names = next(seen["dax"] for seen in grant["seen"] if seen["host"] == host)
    story.must(len(names) == 1, f"fmd was not told of one dax device for {name}: {names}")
    return grant["extents"][0], f"/dev/{names[0]}"


def in_file(story, rack, extent: dict, label: str, what: str):
    file = os.path.relpath(rack.pool_file(extent["device"]), CHECKOUT)
    command = f"tail -c +{extent['dpa'] + 1} {file} | head -c 64"
    story.show("", command, lambda: rack.run(["sh", "-c", command], command, 30))
    found = rack.pool_bytes(extent)
    wanted = pattern(label, extent["len"])
    story.must(found == wanted, f"the pool file does not hold {what} in {extent}")
    story.figure(f"bytes_in_pool_file_{label}", len(wanted),
                 f"All {len(wanted) // MIB} MiB in the pool file are {what}.")
