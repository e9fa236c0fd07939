# SPDX-License-Identifier: Apache-2.0
"""Step 4: the fabric manager dies at the worst moments, and nothing is lost or leaked."""

import subprocess

from rack import PAUSE_POINTS

MOMENTS = {"after-record": "The grant is durable in the journal; the device has not been told.",
           "after-command": "The device has been told; the journal does not know it yet.",
           "after-reply": "The client has its answer; the host is still taking the memory."}


def show(story, rack):
    story.step(4, "The fabric manager is killed, at the worst moments")
    for number, point in enumerate(PAUSE_POINTS, 1):
        story.say(MOMENTS[point] + " fmd stops itself there and gets kill -9.")
        kill_at(story, rack, point, f"k{number}")
    story.say("Once more, and the guest h2 is killed with it: what h2 held is scrubbed before the same "
              "grant is given to the new h2.")
    kill_at(story, rack, "after-command", "k4", host="h2", guest_too=True)
    grants = {g["name"]: g["state"] for g in rack.fmctl("grant", "list", "--json").must().json()}
    story.must(grants == {f"k{n}": "active" for n in range(1, 5)},
               f"the four grants are not all there and active: {grants}")
    rack.release_all()
    left = rack.healthy()
    story.must(not left, f"extents are left after every grant was released: {left}")
    rack.wait_clean()
    for device in rack.fmctl("fabric", "show", "--json").must().json()["devices"]:
        story.must(device["free"] == device["size"],
                   f"{device['name']} has {device['free']} of {device['size']} bytes free: some leaked")
    story.figure("kills_survived", 4, "Four kills: nothing lost; and after the release of all four grants "
                                      "every byte is free and erased: nothing leaked.")


def kill_at(story, rack, point: str, name: str, host: str = "h1", guest_too: bool = False):
    rack.fmd_stop()
    story.command("", rack.fmd_shown(f"--pause-at={point}"))
    rack.fmd_start(pause_at=point)
    rack.wait_ready(host)
    text = f"grant create --host {host} --size 128M --name {name}"
    story.command("", f"fmctl {text} &")
    client = rack.fmctl_start(*text.split())
    rack.fmd_wait_paused()
    story.command("", f"kill -9 {rack.fmd_pid}")
    rack.fmd_kill()
    if guest_too:
        story.command("", rack.testbed_shown("kill", host))
        rack.kill_host(host)
    try:
        out, err = client.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        story.must(False, "fmctl hangs although fmd is dead")
    story.lines((out + err).decode())
    story.must(point != "after-reply" or client.returncode == 0, "fmctl did not get the answer that was sent")
    story.command("", rack.fmd_shown())
    rack.fmd_start()
    if guest_too:
        story.command("", rack.testbed_shown("start", host))
        with story.working():
            rack.start_host(host)
            rack.wait_ready(host)
    with story.working():
        rack.wait_grant(name, "active")
        rack.healthy()
    story.fmctl(rack, "doctor")
