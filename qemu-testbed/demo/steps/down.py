# SPDX-License-Identifier: Apache-2.0
"""Step 8: everything goes, and nothing stays."""


def show(story, rack, before):
    story.step(8, "Everything down, and nothing left behind")
    story.show("", rack.testbed_shown("splats", "--all"), lambda: rack.testbed("splats", "--all")).must()
    story.figure("kernel_splats", 0, "The kernels of all guests, from boot to now: no warning, no bug, no "
                                     "stall.")
    story.command("", f"kill {rack.fmd_pid}; {rack.testbed_shown('down')}")
    rack.down()
    for what, found in (("processes", before.processes()), ("mounts", before.mounts()),
                        ("files", before.files())):
        story.must(not found, f"{len(found)} {what} are left, the first: {found[0] if found else ''}")
        story.report["steps"][-1]["figures"][f"{what}_left"] = 0
    story.say("Left: 0 processes, 0 mounts, 0 files outside the cache and build/.")
