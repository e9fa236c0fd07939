// SPDX-License-Identifier: Apache-2.0
#include "poold/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace poold {

using libpool::errno_text;
using namespace std::chrono_literals;

namespace {

std::string lower(std::string word) {
    for (char& c : word) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return word;
}

std::string trim(const std::string& word) {
    size_t first = word.find_first_not_of(" \t");
    if (first == std::string::npos) return "";
    return word.substr(first, word.find_last_not_of(" \t") - first + 1);
}

struct Head {
    int status = 0;
    std::optional<uint64_t> length;
    bool close = false;
};

Result<Head> parse_head(const std::string& head) {
    Head out;
    size_t line_end = head.find("\r\n");
    std::string first = head.substr(0, line_end);
    if (!first.starts_with("HTTP/1.") || first.size() < 12 || first[8] != ' ') {
        return fail(EPROTO, "the answer is not HTTP: \"%s\"", tame(first, 60).c_str());
    }
    auto status = parse_number(first.substr(9, 3));
    if (!status || *status < 100 || *status > 599) {
        return fail(EPROTO, "the answer has no status: \"%s\"", tame(first, 60).c_str());
    }
    out.status = static_cast<int>(*status);
    out.close = first.starts_with("HTTP/1.0");
    while (line_end != std::string::npos) {
        size_t start = line_end + 2;
        line_end = head.find("\r\n", start);
        std::string line =
            head.substr(start, line_end == std::string::npos ? line_end : line_end - start);
        size_t colon = line.find(':');
        if (line.empty()) continue;
        if (colon == std::string::npos) {
            return fail(EPROTO, "the answer has a broken header: \"%s\"", tame(line, 60).c_str());
        }
        std::string name = lower(line.substr(0, colon)), value = trim(line.substr(colon + 1));
        if (name == "content-length") {
            auto length = parse_number(value);
            if (!length || (out.length && *out.length != *length)) {
                return fail(EPROTO, "the answer's Content-Length is \"%s\"",
                            tame(value, 40).c_str());
            }
            out.length = *length;
        } else if (name == "connection") {
            out.close = lower(value) == "close";
        } else if (name == "transfer-encoding") {
            return fail(EPROTO, "the answer uses Transfer-Encoding: %s", tame(value, 40).c_str());
        }
    }
    return out;
}

}  // namespace

Result<Address> parse_address(const std::string& spelled) {
    Address address;
    address.spelled = spelled;
    if (spelled.starts_with("unix:")) {
        address.path = spelled.substr(5);
        if (address.path.empty() || address.path.size() >= sizeof(sockaddr_un::sun_path)) {
            return fail(EINVAL, "--server %s: the path of a Unix socket has 1 to %zu characters",
                        tame(spelled).c_str(), sizeof(sockaddr_un::sun_path) - 1);
        }
        return address;
    }
    size_t colon = spelled.rfind(':');
    if (!spelled.starts_with("tcp:") || colon < 5) {
        return fail(EINVAL,
                    "--server %s: say tcp:ADDRESS:PORT with a numeric IPv4 address, or "
                    "unix:PATH",
                    tame(spelled).c_str());
    }
    in_addr ip;
    auto port = parse_number(spelled.substr(colon + 1));
    if (inet_pton(AF_INET, spelled.substr(4, colon - 4).c_str(), &ip) != 1 || !port || *port == 0 ||
        *port > 65535) {
        return fail(EINVAL,
                    "--server %s: it needs a numeric IPv4 address and a port from 1 to "
                    "65535, such as tcp:10.0.2.100:7000",
                    tame(spelled).c_str());
    }
    address.ip = ip.s_addr;
    address.port = static_cast<uint16_t>(*port);
    return address;
}

Result<Response> HttpClient::get(const std::string& target, std::chrono::milliseconds limit) {
    return exchange("GET " + target + " HTTP/1.1\r\nHost: fmd\r\nAccept: application/json\r\n\r\n",
                    limit);
}

Result<Response> HttpClient::post(const std::string& target, const std::string& body,
                                  std::chrono::milliseconds limit) {
    return exchange("POST " + target +
                        " HTTP/1.1\r\nHost: fmd\r\nContent-Type: application/json\r\n" +
                        text("Content-Length: %zu\r\n\r\n", body.size()) + body,
                    limit);
}

Result<Response> HttpClient::exchange(const std::string& request, std::chrono::milliseconds limit) {
    Deadline deadline = std::chrono::steady_clock::now() + limit;
    bool kept_open = static_cast<bool>(socket_);
    while (true) {
        answered_ = false;
        buffer_.clear();
        Result<void> sent = socket_ ? Result<void>() : open(deadline);
        if (sent) sent = send(request, deadline);
        Result<Response> response =
            sent ? receive(deadline) : Result<Response>(std::unexpected(sent.error()));
        if (response) return response;
        socket_.reset();
        int code = response.error().code;
        bool was_closed = code == EPIPE || code == ECONNRESET;
        if (!kept_open || answered_ || !was_closed) return response;
        kept_open = false;  // the server had closed it while nobody was looking: once more
    }
}

Result<void> HttpClient::open(Deadline deadline) {
    sockaddr_storage storage{};
    socklen_t length;
    if (!address_.path.empty()) {
        auto* local = reinterpret_cast<sockaddr_un*>(&storage);
        local->sun_family = AF_UNIX;
        std::memcpy(local->sun_path, address_.path.c_str(), address_.path.size() + 1);
        length = sizeof(sockaddr_un);
    } else {
        auto* inet = reinterpret_cast<sockaddr_in*>(&storage);
        inet->sin_family = AF_INET;
        inet->sin_addr.s_addr = address_.ip;
        inet->sin_port = htons(address_.port);
        length = sizeof(sockaddr_in);
    }
    socket_ = Fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket_) return fail(errno, "no socket can be made: %s", errno_text(errno).c_str());
    if (address_.path.empty()) {
        int on = 1;
        setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    auto not_there = [&](int code) {
        return fail(code, "fmd cannot be reached at %s: %s", address_.spelled.c_str(),
                    errno_text(code).c_str());
    };
    if (connect(socket_.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) return {};
    if (errno != EINPROGRESS) return not_there(errno);
    if (auto ready = wait(POLLOUT, deadline); !ready) return ready;
    int code = 0;
    socklen_t size = sizeof code;
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
    if (code != 0) return not_there(code);
    return {};
}

Result<void> HttpClient::wait(short events, Deadline deadline) {
    while (true) {
        if (stop_) return fail(ECANCELED, "stopping");
        auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline -
                                                                 std::chrono::steady_clock::now());
        if (left <= 0ms) {
            return fail(ETIMEDOUT, "fmd at %s did not answer in time", address_.spelled.c_str());
        }
        pollfd one{socket_.get(), events, 0};
        int ready = poll(&one, 1, static_cast<int>(std::min(left, 250ms).count()));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail(errno, "poll: %s", errno_text(errno).c_str());
    }
}

Result<void> HttpClient::send(const std::string& request, Deadline deadline) {
    size_t done = 0;
    while (done < request.size()) {
        if (auto ready = wait(POLLOUT, deadline); !ready) return ready;
        ssize_t put = ::send(socket_.get(), request.data() + done, request.size() - done,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) done += static_cast<size_t>(put);
        if (put < 0 && errno != EAGAIN && errno != EINTR) {
            return fail(errno, "fmd at %s closed the connection: %s", address_.spelled.c_str(),
                        errno_text(errno).c_str());
        }
    }
    return {};
}

Result<void> HttpClient::more(Deadline deadline) {
    while (true) {
        if (auto ready = wait(POLLIN, deadline); !ready) return ready;
        char part[16384];
        ssize_t got = recv(socket_.get(), part, sizeof part, MSG_DONTWAIT);
        if (got > 0) {
            answered_ = true;
            buffer_.append(part, static_cast<size_t>(got));
            return {};
        }
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        int code = got == 0 ? ECONNRESET : errno;
        return fail(code, "fmd at %s closed the connection", address_.spelled.c_str());
    }
}

Result<Response> HttpClient::receive(Deadline deadline) {
    size_t head_end;
    while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
        if (buffer_.size() > head_limit_bytes) {
            return fail(EPROTO, "the answer's headers are longer than %zu bytes", head_limit_bytes);
        }
        if (auto got = more(deadline); !got) return std::unexpected(got.error());
    }
    auto head = parse_head(buffer_.substr(0, head_end));
    if (!head) return std::unexpected(head.error());
    if (head->status < 200) return fail(EPROTO, "the answer is an interim one (%d)", head->status);
    bool bodiless = head->status == 204 || head->status == 304;
    if (!bodiless && !head->length) return fail(EPROTO, "the answer has no Content-Length");
    uint64_t length = bodiless ? 0 : *head->length;
    if (length > body_limit_bytes) {
        return fail(EPROTO, "the answer is longer than %zu bytes", body_limit_bytes);
    }
    size_t end = head_end + 4 + length;
    while (buffer_.size() < end) {
        if (auto got = more(deadline); !got) return std::unexpected(got.error());
    }
    if (buffer_.size() > end) return fail(EPROTO, "the answer is longer than it says");
    Response response{head->status, buffer_.substr(head_end + 4, length)};
    if (head->close) socket_.reset();
    return response;
}

}  // namespace poold
