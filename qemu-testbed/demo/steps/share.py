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
    sent, received = counted(rack, "h1", "tx"), counted(rack, "h2", "rx")
    story.shell(rack, "h1", f"head -c {OBJECT} /dev/urandom > /tmp/object")
    made = story.shell(rack, "h1", "sha256sum < /tmp/object")
    story.shell(rack, "h1", f"memtool put {dax['h1']} 4096 < /tmp/object")
    read = story.shell(rack, "h2", f"memtool get {dax['h2']} 4096 {OBJECT} | sha256sum")
    sent, received = counted(rack, "h1", "tx") - sent, counted(rack, "h2", "rx") - received
    story.must(made.out == read.out, "h2 did not read the bytes that h1 wrote")

    peers = [peer for host in ("h1", "h2") for peer in peers_of(rack, host) if peer != GATE]
    story.must(not peers, f"there are connections past fmd's own sockets: {peers}")
    story.must(sent < OBJECT // 4 and received < OBJECT // 4,
               f"h1's network card sent {sent} bytes meanwhile and h2's received {received}: the object may have "
               "gone that way")
    story.figure("object_bytes", OBJECT, f"Both see the same {OBJECT} bytes, and there is one copy of them.")
    # What goes between them would need a socket with a peer: there is none but fmd's gate.
    story.figure("bytes_sent_between_hosts", 0,
                 "Bytes sent between the hosts: 0. No socket of either has a peer but its own gate to fmd, through "
                 f"which h1's agent said {sent} bytes meanwhile and h2's heard {received}: far fewer than the object "
                 "has.")
    story.report["steps"][-1]["figures"].update(bytes_h1_said_to_fmd=sent, bytes_h2_heard_from_fmd=received)
    story.fmctl(rack, "grant", "release", "shared", "--wait")


def counted(rack, host: str, way: str) -> int:
    return int(rack.host(host, "cat", f"/sys/class/net/eth0/statistics/{way}_bytes").must().out)


def peers_of(rack, host: str) -> list[str]:
    """Of every socket of IP that has one, as the kernel lists them: address:port in hex."""
    files = "/proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6"
    lines = rack.host(host, "sh", "-c", f"cat {files} 2>/dev/null").out.splitlines()
    found = [line.split()[2] for line in lines if line.split()[0].rstrip(":").isdigit()]
    return [peer for peer in found if peer.partition(":")[0].strip("0")]
