// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/process.h"

#include <fmt/format.h>
#include <poll.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

extern "C" {  // glibc 2.36 forgot to say so itself
#include <sys/pidfd.h>
}

namespace cxlpool {
namespace {

std::string boot_id() {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string id;
    in >> id;
    return id.substr(0, 8);
}

// In clock ticks since the kernel's boot: field 22 of /proc/PID/stat. The name before it may hold
// spaces and brackets, so fields are counted from the last ')'.
std::optional<std::uint64_t> start_time(pid_t pid) {
    std::ifstream in(fmt::format("/proc/{}/stat", pid));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return std::nullopt;
    std::istringstream fields(text.substr(name_end + 1));
    std::string field;
    for (int number = 3; number <= 22; ++number) {
        if (!(fields >> field)) return std::nullopt;
    }
    std::uint64_t ticks = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), ticks);
    if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
    return ticks;
}

std::string instance_text(pid_t pid, std::uint64_t start) {
    return fmt::format("{}:{}:{}", pid, start, boot_id());
}

struct Parsed {
    pid_t pid = 0;
    std::string boot;
};

std::optional<Parsed> parse(const std::string& instance) {
    const auto first = instance.find(':');
    const auto second = instance.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) return std::nullopt;
    Parsed parsed{0, instance.substr(second + 1)};
    const auto [end, error] = std::from_chars(instance.data(), instance.data() + first, parsed.pid);
    if (error != std::errc() || end != instance.data() + first || parsed.pid <= 0) {
        return std::nullopt;
    }
    return parsed;
}

}  // namespace

bool ended(int pidfd) {
    pollfd poll_fd{pidfd, POLLIN, 0};
    return ::poll(&poll_fd, 1, 0) == 1;
}

Result<Process> process_of(pid_t pid) {
    // The pidfd first: what is read of /proc afterwards is of this process or of none, unless it
    // died in between, which the caller sees by the pidfd.
    UniqueFd pidfd(::pidfd_open(pid, 0));
    if (!pidfd) {
        return fail(Code::fabric,
                    fmt::format("process {} cannot be watched: {}", pid, std::strerror(errno)));
    }
    const auto start = start_time(pid);
    if (!start) {
        return fail(
            Code::fabric,
            fmt::format("process {} cannot be told from others: /proc/{}/stat is not readable "
                        "(is /proc mounted with hidepid?)",
                        pid, pid));
    }
    return Process{instance_text(pid, *start), std::move(pidfd)};
}

Result<std::optional<Process>> find_process(const std::string& instance) {
    const auto parsed = parse(instance);
    if (!parsed) {
        return fail(
            Code::fabric,
            fmt::format("'{}' is not the name of a QEMU process of this machine", instance));
    }
    if (parsed->boot != boot_id()) return std::nullopt;  // ended with its kernel
    UniqueFd pidfd(::pidfd_open(parsed->pid, 0));
    // EINVAL: the number is a thread of another process now.
    if (!pidfd && (errno == ESRCH || errno == EINVAL)) return std::nullopt;
    if (!pidfd) {
        return fail(Code::fabric, fmt::format("process {} cannot be watched: {}", parsed->pid,
                                              std::strerror(errno)));
    }
    if (ended(pidfd.get())) return std::nullopt;  // not reaped yet, whichever process it was
    const auto start = start_time(parsed->pid);
    if (start && instance_text(parsed->pid, *start) != instance) return std::nullopt;
    if (!start && ended(pidfd.get())) return std::nullopt;
    if (!start) {
        return fail(Code::fabric, fmt::format("nobody can tell whether process {} is still {}: "
                                              "/proc/{}/stat is not readable",
                                              parsed->pid, instance, parsed->pid));
    }
    return std::optional(Process{instance, std::move(pidfd)});
}

Result<void> kill_process(int pidfd, const std::string& instance) {
    if (::pidfd_send_signal(pidfd, SIGKILL, nullptr, 0) == 0 || errno == ESRCH) {
        return {};
    }
    return fail(errno == EPERM ? Code::denied : Code::fabric,
                fmt::format("process {} cannot be killed: {}",
                            instance.substr(0, instance.find(':')), std::strerror(errno)));
}

}  // namespace cxlpool
