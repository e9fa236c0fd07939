# SPDX-License-Identifier: Apache-2.0
"""Step 6: one copy, two hosts."""

from rack import MIB

OBJECT = 1 * MIB
GATE = "6402000A:1B58"  # 10.0.2.100:7000 as /proc/net/tcp writes it: fmd's socket of that guest


def show(story, rack):
    story.step(6, "One copy that both hosts read")
    story.fmctl(rack, "grant", "create", "--host", "h1", "--host", "h2", "--size", "32M", "--as", "dax",
                "--name", "shared", "--wait")
    grant = rack.grant("shared")
    dax = {seen["host"]: f"/dev/{seen['dax'][0]}" for seen in grant["seen"] if seen["dax"]}
    story.must(sorted(dax) == ["h1", "h2"], f"not both hosts have a device for it: {dax}")

    story.say("h1 makes an object of random bytes and stores it; h2 loads it.")
    received = received_by(rack, "h2")
    story.shell(rack, "h1", f"head -c {OBJECT} /dev/urandom > /tmp/object")
    made = story.shell(rack, "h1", "sha256sum < /tmp/object")
    story.shell(rack, "h1", f"memtool put {dax['h1']} 4096 < /tmp/object")
    read = story.shell(rack, "h2", f"memtool get {dax['h2']} 4096 {OBJECT} | sha256sum")
    received = received_by(rack, "h2") - received
    story.must(made.out == read.out, "h2 did not read the bytes that h1 wrote")

    peers = [peer for host in ("h1", "h2") for peer in tcp_peers(rack, host) if peer != GATE]
    story.must(not peers, f"there are connections past fmd's own sockets: {peers}")
    story.must(received < OBJECT // 4, f"h2's network card received {received} bytes meanwhile: the "
                                       "object may have come that way")
    story.figure("object_bytes", OBJECT, f"Both see the same {OBJECT} bytes, and there is one copy of them.")
    story.figure("bytes_sent_between_hosts", 0,
                 "Bytes sent between the hosts: 0. Neither has a connection to anything but its own socket "
                 f"of fmd, from which h2 received {received} bytes of fmd's own talk meanwhile.")
    story.report["steps"][-1]["figures"]["bytes_received_from_fmd"] = received
    story.fmctl(rack, "grant", "release", "shared", "--wait")


def received_by(rack, host: str) -> int:
    return int(rack.host(host, "cat", "/sys/class/net/eth0/statistics/rx_bytes").must().out)


def tcp_peers(rack, host: str) -> list[str]:
    lines = rack.host(host, "cat", "/proc/net/tcp").must().out.splitlines()[1:]
    return [line.split()[2] for line in lines if not line.split()[2].startswith("00000000:")]
