# SPDX-License-Identifier: Apache-2.0
"""One host of a topology → the arguments of its QEMU. Pure: no file is looked at."""

from dataclasses import dataclass

from .topology import GIB, MIB, Host, Topology

AGENT_PORTS = 8  # so many `testbed exec` at once in one guest
RELAY_ADDRESS = "10.0.2.100:7000"  # what a guest connects to in order to reach its fmd.sock
GUEST_ADDRESS = "10.0.2.15/24"
MIN_WINDOW = 4 * GIB
HMAT = ((100, 20480), (250, 8192))  # ns and MiB/s of near and far memory, as hardware of 2026 has them
FIRST_BUS, BUS_STEP = 12, 12  # bus numbers of the host bridges; room for what is plugged below


@dataclass(frozen=True)
class Places:
    """Where QEMU sees its files (inside its jail)."""
    kernel: str = "/run/boot/vmlinuz"
    initrd: str = "/run/boot/initrd"
    host: str = "/run/host"  # RUN/<host>: sockets and console log
    pool: str = "/run/pool"  # RUN/pool
    relay: str = "/run/boot/relay"
    plugin: str = "/run/boot/plugin.so"
    user: str = ""  # "uid:gid" to change to before the guest runs, "" = stay


def device_id(pool: str) -> str:
    return f"cxl-{pool}"


def qom_path(pool: str) -> str:
    return f"/machine/peripheral/{device_id(pool)}"


def kernel_append(host: Host) -> str:
    # memhp_default_state=offline: else kmem puts new memory into the kernel zone, from which it
    # can never be taken back. panic=1: a guest that panics reboots, and its console log tells. A task
    # that hangs shall say so while somebody still looks: by default only after two to four minutes.
    return " ".join(a for a in ("console=ttyS0 panic=1 memhp_default_state=offline",
                                "sysctl.kernel.hung_task_timeout_secs=40",
                                f"testbed.host={host.name}", host.append) if a)


def argv(topology: Topology, host: Host, places: Places,
         binary: str = "/usr/bin/qemu-system-x86_64") -> list[str]:
    return [binary, *_machine(host, places), *_boot(host, places), *_control(places),
            *_agent(places), *_network(places), *_cxl(topology, host, places),
            *_shared(host, places), *_plugin(host, places)]


def _machine(host: Host, places: Places) -> list[str]:
    # TCG turns `lock` instructions into plain ones when there can only ever be one CPU, and
    # guests share memory: so never fewer than two possible CPUs.
    smp = f"{host.cpus}" if host.cpus > 1 else "1,maxcpus=2"
    # hypervisor=off: with the bit set the kernel will not flush caches for a CXL region.
    # Room for DIMMs (never used) makes QEMU describe NUMA in ACPI; without, the kernel fakes one
    # node, forgets those of the CXL windows, and kmem refuses their memory with EINVAL.
    size = (host.memory + host.far_memory) // MIB
    memory = f"{size}M,slots=1,maxmem={size + 1024}M"
    args = ["-name", f"{host.name},process={f'testbed-{host.name}'[:15]}",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35,cxl=on", "-accel", "tcg,thread=multi",
            "-cpu", "max,hypervisor=off", "-smp", smp, "-m", memory,
            *_nodes(host)]
    # The relay has to be spawned, in a session of its own: elevateprivileges=deny would kill it at
    # setsid(). Privileges are out of reach all the same: the jail has dropped every capability (but
    # those with which QEMU changes to its own user, where there is one) and set no_new_privs.
    args += ["-sandbox", "on,obsolete=deny,elevateprivileges=allow,spawn=allow,"
                         "resourcecontrol=deny"]
    if places.user:
        args += ["-run-with", f"user={places.user}"]
    return args


def _nodes(host: Host) -> list[str]:
    """Two nodes of direct RAM, at 0 and right above it. The kernel makes tiers of them only because
    HMAT tells latencies that differ (it computes an abstract distance from both values)."""
    if not host.far_memory:
        return []
    args = ["-machine", "hmat=on"]
    for name, size in (("near", host.memory), ("far", host.far_memory)):
        args += ["-object", f"memory-backend-ram,id={name},size={size // MIB}M"]
    args += ["-numa", f"node,nodeid=0,memdev=near,cpus=0-{max(host.cpus, 2) - 1},initiator=0",
             "-numa", "node,nodeid=1,memdev=far,initiator=0"]
    for target, (latency_ns, bandwidth_mib) in enumerate(HMAT):
        common = f"hmat-lb,initiator=0,target={target},hierarchy=memory"
        args += ["-numa", f"{common},data-type=access-latency,latency={latency_ns}",
                 "-numa", f"{common},data-type=access-bandwidth,bandwidth={bandwidth_mib}M"]
    return args


def _boot(host: Host, places: Places) -> list[str]:
    return ["-kernel", places.kernel, "-initrd", places.initrd, "-append", kernel_append(host),
            "-chardev", f"file,id=console,path={places.host}/console.log,append=on",
            "-serial", "chardev:console"]


def _control(places: Places) -> list[str]:
    # One client a socket: one for testbed, one for the fabric manager.
    args = []
    for name in ("qmp", "qmp-fmd"):
        args += ["-chardev", f"socket,id={name},path={places.host}/{name}.sock,server=on,wait=off",
                 "-object", f"monitor-qmp,id=monitor-{name},chardev={name}"]
    return args


def _agent(places: Places) -> list[str]:
    args = ["-device", f"virtio-serial-pci,id=serial,max_ports={AGENT_PORTS + 1}"]
    for i in range(AGENT_PORTS):
        args += ["-chardev", f"socket,id=agent{i},path={places.host}/agent/{i}.sock,"
                             "server=on,wait=off",
                 "-device", f"virtserialport,bus=serial.0,nr={i + 1},chardev=agent{i},"
                            f"name=testbed.{i}"]
    return args


def _network(places: Places) -> list[str]:
    return ["-netdev", "user,id=net,restrict=on,ipv6=off,"
                       f"guestfwd=tcp:{RELAY_ADDRESS}-cmd:{places.relay} {places.host}/fmd.sock",
            "-device", "virtio-net-pci,netdev=net,romfile="]


def _cxl(topology: Topology, host: Host, places: Places) -> list[str]:
    """Each device, and each empty port, behind a host bridge with a window of its own: such a
    bridge decodes without HDM decoders of its own."""
    args, windows = [], []
    for device in host.devices:
        size = topology.pool(device.pool).size
        n = len(windows)
        args += ["-object", f"memory-backend-file,id=pool-{device.pool},"
                            f"mem-path={places.pool}/{device.pool}.pool,"
                            f"size={size // MIB}M,share=on",
                 *_port(n),
                 "-device", f"cxl-type3,bus=rp{n},id={device_id(device.pool)},"
                            f"volatile-dc-memdev=pool-{device.pool},num-dc-regions=1,"
                            f"sn={device.serial}"]
        windows.append(max(size, MIN_WINDOW))
    for _ in range(host.empty_ports):
        args += _port(len(windows))
        windows.append(MIN_WINDOW)
    if windows:  # all in one option: QEMU refuses the list in parts
        args += ["-machine", ",".join(f"cxl-fmw.{n}.targets.0=cxl.{n},cxl-fmw.{n}.size="
                                      f"{size // MIB}M" for n, size in enumerate(windows))]
    return args


def _port(n: int) -> list[str]:
    return ["-device", f"pxb-cxl,bus_nr={FIRST_BUS + BUS_STEP * n},bus=pcie.0,id=cxl.{n}",
            "-device", f"cxl-rp,port=0,bus=cxl.{n},id=rp{n},chassis=0,slot={n + 2}"]


def _shared(host: Host, places: Places) -> list[str]:
    if not host.shared:
        return []
    return ["-object", f"memory-backend-file,id=shared,mem-path={places.host}/shared.mem,"
                       f"size={host.shared // MIB}M,share=on",
            "-device", "ivshmem-plain,memdev=shared,bus=pcie.0"]


def _plugin(host: Host, places: Places) -> list[str]:
    if not host.plugin:
        return []
    return ["-plugin", ",".join(a for a in (places.plugin, host.plugin_arguments) if a)]
