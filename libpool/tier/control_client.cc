// SPDX-License-Identifier: Apache-2.0
#include "tier/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "read_text.h"
#include "steady.h"
#include "tier/control.h"
#include "tier/printable.h"
#include "uapi.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // since Linux 6.5
#endif

namespace libpool::tier {

namespace {

// visit(pid, name) for each socket that is listened on and called after a process. False: enough.
template <typename Visit>
void each_control_name(std::string_view proc_net_unix, Visit visit) {
    constexpr std::string_view mark = " @pooltier/";
    constexpr std::string_view listening = " 00010000 ";  // its flags: __SO_ACCEPTCON
    constexpr size_t longest = 64;
    while (!proc_net_unix.empty()) {
        std::string_view line = proc_net_unix.substr(0, proc_net_unix.find('\n'));
        proc_net_unix.remove_prefix(std::min(line.size() + 1, proc_net_unix.size()));
        size_t at = line.find(mark);
        if (at == line.npos || line.substr(0, at).find(listening) == line.npos) continue;
        std::string_view name = line.substr(at + 2), digits = line.substr(at + mark.size());
        if (name.size() > longest) continue;
        digits = digits.substr(0, digits.find('.'));
        int pid = 0;
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
        bool whole = error == std::errc() && end == digits.data() + digits.size();
        if (!whole || pid <= 0 || digits.front() == '0') continue;
        if (!visit(pid, name)) return;
    }
}

std::vector<std::string> control_names(pid_t pid) {
    return parse_control_names(read_text("/proc/net/unix").value_or(""), pid);
}

// All processes that can be seen, rising.
std::vector<pid_t> listed_processes() {
    std::vector<pid_t> pids;
    for (const std::string& name : list_folder("/proc")) {
        int pid = 0;
        auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
    }
    std::sort(pids.begin(), pids.end());
    return pids;
}

// Its effective user now; nothing: there is no such process.
std::optional<uid_t> owner_of(pid_t pid) {
    struct stat status {};
    if (pid <= 0 || stat(text("/proc/%d", pid).c_str(), &status) != 0) return std::nullopt;
    return status.st_uid;
}

// The parent of a process that has the preload library and no thread of it; 0: it has not, or has
// come to another parent since.
pid_t forked_by(pid_t pid) {
    const std::string folder = text("/proc/%d", pid);
    const std::string maps = read_text(folder + "/maps").value_or("");
    if (maps.find("/libpool-run.so") == maps.npos) return 0;
    const std::string stat = read_text(folder + "/stat").value_or("");
    const size_t name_end = stat.rfind(')');
    int parent = 0;
    if (name_end == stat.npos || name_end + 4 > stat.size() ||
        std::sscanf(stat.c_str() + name_end + 4, "%d", &parent) != 1) {
        return 0;
    }
    const std::string parents = read_text(text("/proc/%d/maps", parent)).value_or("");
    return parents.find("/libpool-run.so") == parents.npos ? 0 : parent;
}

class Connection {
  public:
    Connection(pid_t pid, double deadline_s) : pid_(pid), until_s_(steady_now_s() + deadline_s) {}
    ~Connection() {
        if (fd_ >= 0) close(fd_);
    }
    Connection(const Connection&) = delete;

    // By the usual name, without waiting: it may belong to somebody else, who may let us wait. Then
    // the process has another one, to be found in a list that takes long to read when it is long.
    Result<void> open() {
        const std::string usual = control_name(pid_);
        auto opened = open_as(usual, 0);
        if (opened || opened.error().code == ESRCH) return opened;
        for (const std::string& name : control_names(pid_)) {
            if (steady_now_s() > until_s_) break;
            if (name != usual && open_as(name, 0)) return {};
        }
        return opened.error().code == ETIMEDOUT ? open_as(usual, until_s_) : opened;
    }

    // Whether it is root who answers, and was root who listened.
    bool root() const { return root_; }

    Result<void> send_line(const std::string& line) {
        size_t at = 0;
        while (at < line.size()) {
            ssize_t sent = send(fd_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
            if (sent >= 0) {
                at += static_cast<size_t>(sent);
            } else if (errno == EPIPE || errno == ECONNRESET) {
                return {};  // refused before it was read: the answer says why
            } else if (errno != EINTR) {
                if (errno != EAGAIN) return gone();
                if (auto ready = wait(POLLOUT); !ready) return ready;
            }
        }
        return {};
    }

    // `with`: where a descriptor goes that comes with it; without, what comes is not taken.
    Result<std::string> read_line(size_t limit_bytes, Descriptor* with = nullptr) {
        std::string line;
        while (true) {
            char piece[16384];
            ssize_t got =
                with ? receive(piece, sizeof piece, *with) : recv(fd_, piece, sizeof piece, 0);
            if (got > 0) {
                size_t end = std::find(piece, piece + got, '\n') - piece;
                line.append(piece, end);
                if (end < static_cast<size_t>(got)) return line;
                if (line.size() > limit_bytes) {
                    return fail(EPROTO, "process %d answers with more than %zu bytes", pid_,
                                limit_bytes);
                }
                continue;
            }
            if (got == 0) return gone();
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return gone();
            if (auto ready = wait(POLLIN); !ready) return std::unexpected(ready.error());
        }
    }

  private:
    Result<void> open_as(const std::string& name, double until_s) {
        if (fd_ >= 0) close(fd_);
        fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd_ < 0) return fail(errno, "no socket: %s", errno_text(errno).c_str());
        const ControlAddress address(name);
        while (connect(fd_, address.get(), address.size()) != 0) {
            if (errno == ECONNREFUSED) return nobody();
            if (errno != EAGAIN && errno != EINTR) {
                return fail(errno, "process %d cannot be asked: %s", pid_,
                            errno_text(errno).c_str());
            }
            if (steady_now_s() > until_s) return silent();  // its queue is full
            poll(nullptr, 0, 20);
        }
        return check_peer(name);
    }

    std::unexpected<Error> nobody() const {
        ProcessFacts facts = process_facts(pid_);
        if (!facts.exists) return ended();
        const std::string who = text("process %d (%s)", pid_, printable(facts.program, 40).c_str());
        if (pid_t parent = forked_by(pid_)) {
            return fail(ENOENT,
                        "%s runs untiered: process %d has forked it, and what is forked is not "
                        "tracked until it runs another program",
                        who.c_str(), parent);
        }
        return fail(ENOENT,
                    "%s is not tiered: start it with `pooltier run -- CMD`, or `pooltier attach "
                    "%d` as root",
                    who.c_str(), pid_);
    }
    std::unexpected<Error> ended() const { return fail(ESRCH, "there is no process %d", pid_); }
    std::unexpected<Error> silent() const {
        return fail(ETIMEDOUT, "process %d does not answer (is it stopped?)", pid_);
    }
    std::unexpected<Error> gone() const {
        return fail(EPROTO, "process %d ended the talk without an answer", pid_);
    }

    // There is room for one; the kernel closes what is more.
    ssize_t receive(char* piece, size_t bytes, Descriptor& with) const {
        iovec into{piece, bytes};
        msghdr message{};
        message.msg_iov = &into;
        message.msg_iovlen = 1;
        int descriptor = -1;
        alignas(cmsghdr) char space[CMSG_SPACE(sizeof descriptor)];
        message.msg_control = space;
        message.msg_controllen = sizeof space;
        ssize_t got = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
        if (got <= 0) return got;
        const cmsghdr* rights = CMSG_FIRSTHDR(&message);
        if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
            rights->cmsg_len == CMSG_LEN(sizeof descriptor)) {
            std::memcpy(&descriptor, CMSG_DATA(rights), sizeof descriptor);
            with = Descriptor(descriptor);
        }
        return got;
    }

    // What the kernel knows of the peer is of the time at which it listened. Since then the process
    // may have become another program (one that is set-user-ID: then its user does not speak for
    // it), or have ended and left its number and its socket to others. Only who was root and gave
    // that up may be another user now: it speaks for itself as before, and is root no more.
    Result<void> check_peer(const std::string& name) {
        ucred peer{};
        socklen_t size = sizeof peer;
        if (getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return gone();
        if (peer.pid != pid_) {
            return fail(EPERM, "the socket @%s belongs to process %d, not to %d: it was not asked",
                        name.c_str(), peer.pid, pid_);
        }
        const auto owner = owner_of(pid_);
        if (!owner) return ended();
        if (peer.uid != *owner && peer.uid != 0) {
            return fail(EPERM,
                        "the socket @%s was made by uid %u, and process %d belongs to uid %u: it "
                        "was not asked",
                        name.c_str(), peer.uid, pid_, *owner);
        }
        if (listener_has_ended()) {
            if (!process_facts(pid_).exists) return ended();
            return fail(EPERM,
                        "the socket @%s belongs to a process that has ended, not to the %d that "
                        "there is now: it was not asked",
                        name.c_str(), pid_);
        }
        root_ = peer.uid == 0 && *owner == 0;
        return {};
    }

    // An older kernel does not know it: there the number and the user have to do.
    bool listener_has_ended() const {
        int pidfd = -1;
        socklen_t size = sizeof pidfd;
        if (getsockopt(fd_, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) != 0) {
            return errno == ESRCH || errno == EINVAL;  // of what has ended and been waited for
        }
        const Descriptor process(pidfd);
        pollfd polled{process.get(), POLLIN, 0};
        return poll(&polled, 1, 0) > 0;
    }

    Result<void> wait(short events) {
        pollfd polled{fd_, events, 0};
        double left_s = until_s_ - steady_now_s();
        if (left_s <= 0) return silent();
        if (poll(&polled, 1, static_cast<int>(left_s * 1000) + 1) == 0) return silent();
        return {};
    }

    pid_t pid_;
    double until_s_;
    int fd_ = -1;
    bool root_ = false;
};

struct Heard {
    std::string line;
    bool by_root = false;
};

Result<Heard> hear(pid_t pid, const Request& request, double deadline_s) {
    Connection connection(pid, deadline_s);
    if (auto opened = connection.open(); !opened) return std::unexpected(opened.error());
    auto sent = connection.send_line(encode_request(request) + "\n");
    if (!sent) return std::unexpected(sent.error());
    const bool of_pages = std::holds_alternative<AskPages>(request);
    auto line = connection.read_line(of_pages ? pages_answer_limit_bytes : answer_limit_bytes);
    if (!line) return std::unexpected(line.error());
    return Heard{std::move(*line), connection.root()};
}

// A nonsense answer is said with the name of who gave it.
template <typename T>
Result<T> decoded(pid_t pid, const Result<std::string>& line,
                  Result<T> (*decode)(std::string_view)) {
    if (!line) return std::unexpected(line.error());
    auto value = decode(*line);
    if (value || value.error().code != EPROTO) return value;
    return fail(EPROTO, "process %d: %s", pid, value.error().sentence.c_str());
}

}  // namespace

std::vector<pid_t> parse_control_sockets(std::string_view proc_net_unix) {
    std::vector<pid_t> pids;
    each_control_name(proc_net_unix, [&](pid_t pid, std::string_view) {
        pids.push_back(pid);
        return true;
    });
    std::sort(pids.begin(), pids.end());
    pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
    return pids;
}

std::vector<std::string> parse_control_names(std::string_view proc_net_unix, pid_t pid) {
    std::vector<std::string> names;
    each_control_name(proc_net_unix, [&](pid_t of, std::string_view name) {
        if (of == pid) names.emplace_back(name);
        return names.size() < name_limit;
    });
    std::sort(names.begin(), names.end());
    return names;
}

Result<std::vector<pid_t>> tiered_processes() {
    auto content = read_text("/proc/net/unix");
    if (!content) return fail(ENOENT, "/proc/net/unix cannot be read: is /proc mounted?");
    const std::vector<pid_t> named = parse_control_sockets(*content), listed = listed_processes();
    std::vector<pid_t> pids;
    std::set_intersection(named.begin(), named.end(), listed.begin(), listed.end(),
                          std::back_inserter(pids));
    if (pids.size() > process_limit) {
        pids = by_turns(std::move(pids));
        pids.resize(process_limit);
        std::sort(pids.begin(), pids.end());
    }
    return pids;
}

std::vector<pid_t> by_turns(std::vector<pid_t> pids) {
    std::map<uid_t, size_t> asked;  // of each user, so far
    std::vector<std::pair<size_t, pid_t>> turns;
    for (pid_t pid : pids) turns.emplace_back(asked[owner_of(pid).value_or(0)]++, pid);
    std::stable_sort(turns.begin(), turns.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 0; i < turns.size(); ++i) pids[i] = turns[i].second;
    return pids;
}

// In a thread of the preload library's, too: see read_text.h.
ProcessFacts process_facts(pid_t pid) {
    ProcessFacts facts;
    const auto owner = owner_of(pid);
    if (!owner) return facts;
    const std::string folder = text("/proc/%d", pid);
    // One that has ended and was not waited for yet is no process to anybody who asks.
    const std::string stat = read_text(folder + "/stat").value_or("");
    const size_t name_end = stat.rfind(')');
    facts.exists = name_end != stat.npos && stat.find_first_of("ZX", name_end) != name_end + 2;
    if (!facts.exists) return facts;
    facts.uid = *owner;
    facts.program = read_text(folder + "/comm").value_or("");
    if (facts.program.ends_with('\n')) facts.program.pop_back();
    return facts;
}

std::optional<pid_t> attacher_of(pid_t pid) {
    for (pid_t other : tiered_processes().value_or(std::vector<pid_t>{})) {
        if (other == pid) continue;
        const ProcessFacts facts = process_facts(other);
        if (!facts.exists || facts.uid != 0) continue;  // others cannot attach
        auto said = ask_status(other, 1);
        if (said && said->target == pid) return other;
    }
    return std::nullopt;
}

Result<pid_t> speaker_of(pid_t pid) {
    auto own = ask_status(pid);
    if (own && own->state == TieringState::tiered) return pid;
    // One that runs untiered may be tiered from outside, and so may one that is not heard.
    if (!own && own.error().code != ENOENT && own.error().code != ETIMEDOUT) {
        return std::unexpected(own.error());
    }
    if (auto attacher = attacher_of(pid)) return *attacher;
    if (own) return pid;
    return std::unexpected(own.error());
}

Result<std::string> ask(pid_t pid, const Request& request, double deadline_s) {
    auto heard = hear(pid, request, deadline_s);
    if (!heard) return std::unexpected(heard.error());
    return std::move(heard->line);
}

Result<Snapshot> ask_status(pid_t pid, double deadline_s) {
    auto heard = hear(pid, AskStatus{}, deadline_s);
    if (!heard) return std::unexpected(heard.error());
    auto snapshot = decoded(pid, std::move(heard->line), decode_snapshot);
    if (snapshot && snapshot->pid != pid) {
        return fail(EPROTO, "process %d says that it is process %d", pid, snapshot->pid);
    }
    if (snapshot && !heard->by_root) snapshot->target = pid;
    return snapshot;
}

Result<PageAnswer> ask_explain(pid_t pid, uint64_t address, double deadline_s) {
    auto heard = hear(pid, AskExplain{address}, deadline_s);
    if (!heard) return std::unexpected(heard.error());
    auto answer = decoded(pid, std::move(heard->line), decode_page_answer);
    if (answer && !heard->by_root) answer->target = pid;
    return answer;
}

Result<PageSlice> ask_pages(pid_t pid, const AskPages& wish, double deadline_s) {
    auto slice = decoded(pid, ask(pid, wish, deadline_s), decode_slice);
    if (slice && (slice->first != wish.first || slice->rates.size() > wish.pages)) {
        return fail(EPROTO, "process %d answers with pages that were not asked for", pid);
    }
    return slice;
}

Result<std::vector<BenefitStep>> ask_benefit(pid_t pid, double deadline_s) {
    return decoded(pid, ask(pid, AskBenefit{}, deadline_s), decode_benefit);
}

PageNumbers::PageNumbers(std::vector<PageRange> ranges) : ranges_(std::move(ranges)) {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const PageRange& a, const PageRange& b) { return a.start < b.start; });
}

std::optional<uint64_t> PageNumbers::of(uint64_t address) const {
    auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                  [](uint64_t at, const PageRange& one) { return at < one.start; });
    if (after == ranges_.begin()) return std::nullopt;
    const PageRange& range = *std::prev(after);
    const uint64_t page = (address - range.start) / page_bytes;
    if (page >= range.pages || page > UINT64_MAX - range.first) return std::nullopt;
    return range.first + page;
}

Result<std::vector<float>> ask_rates(pid_t pid, std::span<const uint64_t> addresses,
                                     const std::function<bool()>& go_on, double deadline_s) {
    const double until_s = steady_now_s() + deadline_s;
    auto ask_from = [&](uint64_t first) -> Result<PageSlice> {
        const double left_s = until_s - steady_now_s();
        if (!go_on()) return fail(ECANCELED, "process %d is not asked any further", pid);
        if (left_s <= 0) {
            return fail(ETIMEDOUT, "process %d does not tell the rates of %zu pages within %g s",
                        pid, addresses.size(), deadline_s);
        }
        return ask_pages(pid, {first, slice_limit_pages, Detail::rates}, left_s);
    };
    auto slice = ask_from(0);
    if (!slice) return std::unexpected(slice.error());
    const uint64_t total_pages = slice->total_pages;
    if (total_pages > tracked_limit_pages) {
        return fail(EFBIG, "process %d says that it has %llu tracked pages, and %llu is the most",
                    pid, static_cast<unsigned long long>(total_pages),
                    static_cast<unsigned long long>(tracked_limit_pages));
    }
    const PageNumbers numbers(std::move(slice->ranges));
    std::vector<std::pair<uint64_t, size_t>> wanted;  // number, and index in `addresses`
    for (size_t i = 0; i < addresses.size(); ++i) {
        auto number = numbers.of(addresses[i]);
        if (number && *number < total_pages) wanted.emplace_back(*number, i);
    }
    std::sort(wanted.begin(), wanted.end());
    std::vector<float> rates(addresses.size());
    for (const auto& [number, i] : wanted) {
        if (number - slice->first >= slice->rates.size()) slice = ask_from(number);
        if (!slice) return std::unexpected(slice.error());
        if (slice->rates.empty()) break;  // fewer than it said
        rates[i] = slice->rates[number - slice->first];
    }
    return rates;
}

Result<Descriptor> ask_descriptor(pid_t pid, double deadline_s) {
    Connection connection(pid, deadline_s);
    if (auto opened = connection.open(); !opened) return std::unexpected(opened.error());
    auto sent = connection.send_line(encode_request(AskDescriptor{}) + "\n");
    if (!sent) return std::unexpected(sent.error());
    Descriptor descriptor;
    auto done = decoded(pid, connection.read_line(answer_limit_bytes, &descriptor), decode_done);
    if (!done) return std::unexpected(done.error());
    if (!descriptor) return fail(EPROTO, "process %d handed over nothing", pid);
    return descriptor;
}

Result<void> ask_set(pid_t pid, const Limits& limits, double deadline_s) {
    return decoded(pid, ask(pid, AskSet{limits}, deadline_s), decode_done);
}

}  // namespace libpool::tier
