# SPDX-License-Identifier: Apache-2.0
"""Step 3: hot pages come near. The judge is the workload's own count of its accesses together with the
node that the kernel names for each page; what the sampler believes plays no part."""

import re

WORKLOAD = ("pool-hotset", "--bytes", "32M", "--hot-bytes", "6M", "--near-limit", "10M",
            "--baseline-seconds", "4", "--budget", "50000")


def show(story, rack):
    story.step(3, "A program's hot pages move near")
    story.fmctl(rack, "grant", "create", "--host", "h1", "--size", "256M", "--name", "far", "--wait")
    story.say("A workload linked with libpool keeps 32 MiB on the far node and uses 6 MiB of it nearly "
              "always. It counts its own accesses, first without tiering and then with it, and asks the "
              "kernel on which node each page really is. (Filling 32 MiB takes the emulator a "
              "while; looking costs ten times what it does on hardware, so it may take 5 % of the CPU. It ends "
              "when 80 % were near for the last third of its time.)")
    run = story.host(rack, "h1", *WORKLOAD, "--seconds", "100", "--until", "80", "--check", code=None,
                     timeout=180)
    near = {kind: (float(mean), float(end)) for kind, mean, end in re.findall(
        r"^(off|on)\s+\d+\s+\d+\s+([\d.]+) %\s+([\d.]+) %", run.out, re.M)}
    moved = re.search(r"^moved\s+(\d+) pages near, (\d+) far", run.out, re.M)
    story.must(set(near) == {"off", "on"} and moved is not None,
               f"the workload did not finish: {(run.err or run.out).strip()[-200:]}")
    off, on = near["off"][0], near["on"][1]
    story.must(off <= 20, f"without tiering {off} % of the accesses are near, which is more than 20 %")
    story.must(on >= 70, f"with tiering {on} % of the accesses are near, which is less than 70 %")
    story.must(run.code == 0, f"the workload's own check failed: {run.err.strip()}")
    story.figure("near_percent_without", off, f"Near without tiering: {off} % of the accesses,")
    story.figure("near_percent_with", on, f"with it, in the end: {on} %.")
    story.figure("pages_moved", {"near": int(moved.group(1)), "far": int(moved.group(2))},
                 f"Pages moved near: {moved.group(1)}, back to far: {moved.group(2)}.")

    story.say("The same check, with the part that moves pages turned off: it must fail.")
    blind = story.host(rack, "h1", "pool-hotset", "--bytes", "12M", "--hot-bytes", "2M", "--near-limit",
                       "4M", "--tiering", "on", "--seconds", "5", "--mover", "off", "--check", code=None,
                       timeout=60)
    story.must(blind.code == 1 and "are near" in blind.err,
               "the check passes with the mover off, so that it proves nothing"
               if blind.code == 0 else f"the workload broke: {(blind.err or blind.out).strip()[-200:]}")
    found = re.search(r"([\d.]+) % of the accesses", blind.err)
    story.figure("near_percent_mover_off", float(found.group(1)),
                 f"It fails, as it must, with {found.group(1)} %.")
    story.fmctl(rack, "grant", "release", "far", "--wait")
