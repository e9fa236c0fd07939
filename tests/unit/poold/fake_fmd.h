// SPDX-License-Identifier: Apache-2.0
// A server on a socket that answers what a test says, also wrongly, slowly or not at all.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "poold/fd.h"

namespace poold {

struct Request {
    std::string method, target, body;
};

inline std::string answer(int status, const std::string& body) {
    return "HTTP/1.1 " + std::to_string(status) +
           " Whatever\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\nContent-Type: application/json\r\n\r\n" + body;
}

class FakeFmd {
  public:
    // Bytes to send back; "" closes the connection without an answer.
    using Handler = std::function<std::string(const Request&)>;

    FakeFmd(std::string path, Handler handler)
        : path_(std::move(path)), handler_(std::move(handler)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        listener_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        unlink(path_.c_str());
        start(reinterpret_cast<sockaddr*>(&address), sizeof address);
    }
    // On the loopback, at a port of the kernel's choice.
    explicit FakeFmd(Handler handler) : handler_(std::move(handler)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        start(reinterpret_cast<sockaddr*>(&address), sizeof address);
        socklen_t length = sizeof address;
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
        port_ = ntohs(address.sin_port);
    }
    ~FakeFmd() {
        stop_ = true;
        accepting_.join();
        for (std::thread& one : serving_) one.join();
        if (!path_.empty()) unlink(path_.c_str());
    }

    int connections() const { return connections_; }
    std::string address() const {
        return path_.empty() ? "tcp:127.0.0.1:" + std::to_string(port_) : "unix:" + path_;
    }

  private:
    void start(const sockaddr* address, socklen_t length) {
        if (bind(listener_.get(), address, length) != 0 || listen(listener_.get(), 16) != 0)
            abort();
        accepting_ = std::thread([this] {
            while (readable(listener_.get())) {
                int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
                if (fd < 0) continue;
                ++connections_;
                serving_.emplace_back([this, fd] { serve(Fd(fd)); });
            }
        });
    }
    // False when the server is to stop.
    bool readable(int fd) const {
        while (!stop_) {
            pollfd one{fd, POLLIN, 0};
            if (poll(&one, 1, 20) > 0) return true;
        }
        return false;
    }
    void serve(Fd socket) {
        std::string buffer;
        while (true) {
            size_t head;
            while ((head = buffer.find("\r\n\r\n")) == std::string::npos) {
                if (!more(socket.get(), buffer)) return;
            }
            size_t length = 0;
            if (size_t at = buffer.find("Content-Length: "); at < head) {
                length = std::stoul(buffer.substr(at + 16));
            }
            while (buffer.size() < head + 4 + length) {
                if (!more(socket.get(), buffer)) return;
            }
            Request request;
            request.method = buffer.substr(0, buffer.find(' '));
            size_t start = request.method.size() + 1;
            request.target = buffer.substr(start, buffer.find(' ', start) - start);
            request.body = buffer.substr(head + 4, length);
            buffer.erase(0, head + 4 + length);
            std::string reply = handler_(request);
            if (reply.empty()) return;
            if (send(socket.get(), reply.data(), reply.size(), MSG_NOSIGNAL) < 0) return;
        }
    }
    bool more(int fd, std::string& buffer) const {
        if (!readable(fd)) return false;
        char part[65536];
        ssize_t got = recv(fd, part, sizeof part, 0);
        if (got <= 0) return false;
        buffer.append(part, static_cast<size_t>(got));
        return true;
    }

    std::string path_;
    uint16_t port_ = 0;
    Handler handler_;
    Fd listener_;
    std::atomic<bool> stop_{false};
    std::atomic<int> connections_{0};
    std::thread accepting_;
    std::vector<std::thread> serving_;
};

}  // namespace poold
