// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 client for fmd's socket of this host: one kept-open connection, one request at a
// time, every step under a deadline, every length under a limit. A library would be larger than all
// of poold, and the guest image carries it. It speaks what fmd speaks: Content-Length bodies.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "poold/fd.h"
#include "poold/tree.h"

namespace poold {

// "tcp:10.0.2.100:7000" or "unix:/run/fmd.sock".
struct Address {
    std::string path;  // of a Unix socket, or empty
    uint32_t ip = 0;   // network order
    uint16_t port = 0;
    std::string spelled;  // as given, for messages
};
Result<Address> parse_address(const std::string& spelled);

struct Response {
    int status = 0;
    std::string body;
};

class HttpClient {
  public:
    static constexpr size_t head_limit_bytes = 16 * 1024;
    static constexpr size_t body_limit_bytes = 16 * 1024 * 1024;

    HttpClient(Address address, const std::atomic<bool>& stop)
        : address_(std::move(address)), stop_(stop) {}

    // A kept-open connection that turns out closed is opened again once. Any failure closes it.
    // ECANCELED within a quarter of a second after `stop` became true.
    Result<Response> get(const std::string& target, std::chrono::milliseconds limit);
    Result<Response> post(const std::string& target, const std::string& body,
                          std::chrono::milliseconds limit);

  private:
    using Deadline = std::chrono::steady_clock::time_point;

    Result<Response> exchange(const std::string& request, std::chrono::milliseconds limit);
    Result<void> open(Deadline deadline);
    Result<void> send(const std::string& request, Deadline deadline);
    Result<Response> receive(Deadline deadline);
    Result<void> more(Deadline deadline);  // at least one byte into buffer_
    Result<void> wait(short events, Deadline deadline);

    Address address_;
    const std::atomic<bool>& stop_;
    Fd socket_;
    std::string buffer_;
    bool answered_ = false;  // the first byte of this response has arrived
};

}  // namespace poold
