// SPDX-License-Identifier: Apache-2.0
#include "fmctl/client.h"

#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>

#include "server/wire.h"

namespace cxlpool::fmctl {
namespace {

constexpr std::size_t most_header_bytes = 64 * 1024;
constexpr std::size_t most_answer_bytes = std::size_t{256} << 20;
constexpr int connect_patience_s = 10;

void set_patience(int fd, int seconds) {
    const timeval patience{.tv_sec = seconds, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

// Who may use the socket, for the sentence on a denied one.
std::string owner_group(const std::string& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) return "";
    if (const struct group* group = ::getgrgid(found.st_gid)) return group->gr_name;
    return std::to_string(found.st_gid);
}

Error cannot_connect(const std::string& path, int error) {
    if (error == EACCES || error == EPERM) {
        const std::string group = owner_group(path);
        if (group.empty())
            return {Code::denied, fmt::format("no permission to reach {}: a folder on the way is "
                                              "closed to you",
                                              path)};
        return {Code::denied,
                fmt::format("no permission to talk to fmd at {}: its socket belongs to "
                            "the group {}; join it, or use sudo",
                            path, group)};
    }
    if (error == ENOENT)
        return {Code::fabric, fmt::format("fmd is not running: there is no {}; start fmd, or name "
                                          "its socket with --server",
                                          path)};
    if (error == ECONNREFUSED)
        return {Code::fabric, fmt::format("fmd is not running: nobody answers at {}", path)};
    if (error == ENOTSOCK) return {Code::invalid, fmt::format("{} is not a socket", path)};
    if (error == EAGAIN)
        return {Code::timeout, fmt::format("fmd at {} takes no connection: it is stopped or "
                                           "overloaded",
                                           path)};
    return {Code::fabric, fmt::format("cannot reach fmd at {}: {}", path, std::strerror(error))};
}

// 'T' when the process was stopped, 't' when a debugger holds it; '?' when it is not to be seen.
char kernel_state(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text;
    std::getline(file, text);
    const std::size_t name_end = text.rfind(") ");
    return name_end == std::string::npos ? '?' : text[name_end + 2];
}

struct Header {
    int status = 0;
    std::size_t content_length = 0;
    bool close = false;
};

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    return out;
}

Result<Header> parse_header(std::string_view text) {
    const auto wrong = [] {
        return fail(Code::fabric, "what answers is not fmd: its answer is not HTTP/1.1");
    };
    if (!text.starts_with("HTTP/1.1 ") || text.size() < 12) return wrong();
    Header out;
    std::from_chars(text.data() + 9, text.data() + 12, out.status);
    if (out.status < 100 || out.status > 599) return wrong();
    while (!text.empty()) {
        const std::size_t end = std::min(text.find("\r\n"), text.size());
        const std::string line = lower(text.substr(0, end));
        text.remove_prefix(std::min(end + 2, text.size()));
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos) continue;
        const std::string name = line.substr(0, colon);
        const std::size_t first = line.find_first_not_of(" \t", colon + 1);
        const std::string value = first == std::string::npos ? "" : line.substr(first);
        if (name == "connection") out.close = value == "close";
        if (name != "content-length") continue;
        const auto [end_of_number, problem] =
            std::from_chars(value.data(), value.data() + value.size(), out.content_length);
        if (problem != std::errc() || out.content_length > most_answer_bytes) return wrong();
    }
    return out;
}

}  // namespace

Client::~Client() { disconnect(); }

void Client::disconnect() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

Result<std::string> Client::get(const std::string& target, int hold_s) {
    return call("GET", target, "", hold_s);
}
Result<std::string> Client::post(const std::string& target, const std::string& body) {
    return call("POST", target, body, 0);
}
Result<std::string> Client::remove(const std::string& target) {
    return call("DELETE", target, "", 0);
}

Result<std::string> Client::call(const std::string& method, const std::string& target,
                                 const std::string& body, int hold_s) {
    if (const auto connected = connect(); !connected) return std::unexpected(connected.error());
    set_patience(fd_, answer_patience_s);
    const std::string request =
        fmt::format("{} {} HTTP/1.1\r\nHost: fmd\r\nContent-Length: {}\r\n{}\r\n{}", method, target,
                    body.size(), body.empty() ? "" : "Content-Type: application/json\r\n", body);
    const auto sent = send(request);
    auto answer = receive(hold_s);  // fmd may refuse a request before it has read all of it
    if (!answer) return std::unexpected(sent ? answer.error() : sent.error());
    if (answer->status >= 200 && answer->status < 300) return std::move(answer->body);
    if (auto error = wire::decode_error(answer->body); error) return std::unexpected(*error);
    return fail(Code::fabric,
                fmt::format("fmd answered with HTTP {} and no reason", answer->status));
}

Result<void> Client::connect() {
    if (fd_ >= 0) return {};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.empty() || path_.size() >= sizeof address.sun_path)
        return fail(Code::invalid,
                    fmt::format("the socket path has {} bytes; the kernel takes 1 to {}",
                                path_.size(), sizeof address.sun_path - 1));
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    set_patience(fd_, connect_patience_s);
    pending_.clear();
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return {};
    const Error error = cannot_connect(path_, errno);
    disconnect();
    return std::unexpected(error);
}

// Why fmd is silent, as far as that is to be seen from here.
std::string Client::what_fmd_does() const {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0)
        return "it is stopped or overloaded";
    switch (kernel_state(peer.pid)) {
        case 'T':
            return fmt::format("its process {0} is stopped (kill -CONT {0} lets it go on)",
                               peer.pid);
        case 't':
            return fmt::format("a debugger holds its process {}", peer.pid);
        default:
            return fmt::format("its process {} is busy, or waits for its disk", peer.pid);
    }
}

// The connection is of no more use: what was asked may or may not have been done.
Error Client::lost(const std::string& what) {
    disconnect();
    return {Code::fabric,
            fmt::format("fmd at {} went away {}; what was asked may have happened: look "
                        "with fmctl grant list",
                        path_, what)};
}

Result<void> Client::send(const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
        const auto sent = ::send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        // Not lost() yet: a refusal may be waiting to be read.
        if (sent < 0)
            return fail(Code::fabric,
                        fmt::format("fmd at {} went away before it had read the request", path_));
        done += static_cast<std::size_t>(sent);
    }
    return {};
}

// Until fmd has sent something, or has gone.
Result<void> Client::await(int hold_s) {
    using Clock = std::chrono::steady_clock;
    using std::chrono::seconds;
    const auto held_until = Clock::now() + seconds(hold_s);
    auto until = held_until + seconds(notice_after_s);
    const auto deadline = held_until + seconds(answer_patience_s);
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        std::array<pollfd, 2> watched{{{fd_, POLLIN, 0}, {read_fd_, 0, 0}}};
        const int found = ::poll(watched.data(), watched.size(),
                                 static_cast<int>(std::max<std::int64_t>(0, left.count())));
        if (watched[0].revents) return {};
        if (watched[1].revents) {
            disconnect();
            return fail(Code::fabric, "nobody reads the output any more");
        }
        if (found < 0 || Clock::now() < until) continue;  // a signal, or a clock that rounds
        const std::string why = what_fmd_does();
        if (until == deadline) {
            disconnect();
            return fail(Code::timeout,
                        fmt::format("fmd at {} did not answer in {} s: {}; what was asked may "
                                    "still happen",
                                    path_, hold_s + answer_patience_s, why));
        }
        if (notice_)
            notice_(fmt::format("fmd at {} has not answered for {} s: {}; waiting {} s more", path_,
                                hold_s + notice_after_s, why, answer_patience_s - notice_after_s));
        until = deadline;
    }
}

Result<std::string> Client::receive_more(int hold_s) {
    if (const auto there = await(hold_s); !there) return std::unexpected(there.error());
    std::array<char, 64 * 1024> buffer;
    for (;;) {
        const auto got = ::recv(fd_, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return std::unexpected(lost("before it answered"));
        return std::string(buffer.data(), static_cast<std::size_t>(got));
    }
}

Result<Answer> Client::receive(int hold_s) {
    std::size_t header_end = std::string::npos;
    while ((header_end = pending_.find("\r\n\r\n")) == std::string::npos) {
        if (pending_.size() > most_header_bytes)
            return fail(Code::fabric, "what answers is not fmd: its header does not end");
        auto more = receive_more(hold_s);
        if (!more) return std::unexpected(more.error());
        pending_ += *more;
    }
    const auto header = parse_header(std::string_view(pending_).substr(0, header_end));
    if (!header) return std::unexpected(header.error());
    pending_.erase(0, header_end + 4);
    while (pending_.size() < header->content_length) {
        auto more = receive_more(hold_s);
        if (!more) return std::unexpected(more.error());
        pending_ += *more;
    }
    Answer answer{header->status, pending_.substr(0, header->content_length)};
    pending_.erase(0, header->content_length);
    if (header->close) disconnect();
    return answer;
}

}  // namespace cxlpool::fmctl
