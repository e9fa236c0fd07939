// SPDX-License-Identifier: Apache-2.0
// The control socket of a tiered process: the abstract Unix socket @pooltier/<pid>, or, when
// somebody else has that name, @pooltier/<pid>.<8 hex digits>. Answered by a thread of its own that
// holds all signals back, or by the owner's. What it tells (when which page is touched) is a
// side channel, so it speaks to the process's own user and to root only, and to root only when the
// process is not dumpable or has capabilities (then ptrace might not be allowed, either). It never
// writes files and never takes orders but limits.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tier/control_json.h"
#include "tier/descriptor.h"

namespace libpool::tier {

// "pooltier/812"; the socket's name has a zero byte in front.
std::string control_name(pid_t pid);

// For bind() and connect().
class ControlAddress {
  public:
    explicit ControlAddress(pid_t pid) : ControlAddress(control_name(pid)) {}
    explicit ControlAddress(const std::string& name);  // at most 100 bytes
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
    socklen_t size() const { return size_; }

  private:
    sockaddr_un address_{};
    socklen_t size_ = 0;
};

struct ControlLimits {
    size_t clients = 8;
    double request_s = 5;  // from connecting, or from the last answer, to a whole request
    double answer_s = 5;   // for the client to take it
};

class ControlServer {
  public:
    // `controlled` outlives the server.
    static Result<std::unique_ptr<ControlServer>> start(Controlled& controlled,
                                                        ControlLimits limits = {});
    // Without a thread: the owner's calls serve().
    static Result<std::unique_ptr<ControlServer>> open(Controlled& controlled,
                                                       ControlLimits limits = {});
    ~ControlServer();  // ends the thread, which may be in one call of `controlled`

    // Until stop(). `besides`: called now and then, says in how many seconds it has to be again.
    void serve(const std::function<double()>& besides = nullptr);
    void stop();

    // In a forked child, where the thread is not and the socket is the parent's: lets go of both.
    // The server is good for nothing afterwards but to be forgotten or destroyed.
    void abandon_in_child();

  private:
    struct Client;
    ControlServer(Controlled& controlled, ControlLimits limits, Descriptor listener,
                  Descriptor wake);
    bool serve_once(const std::function<double()>& besides);  // false: stopped
    void accept_one();
    bool attend(Client& client, short events);  // false: it is over
    // What is said, and the descriptor that goes with it, or -1.
    std::pair<std::string, int> answer(std::string_view line);

    Controlled& controlled_;
    const ControlLimits limits_;
    // In a program that may close them and open its own under their numbers: then it is over.
    Descriptor listener_;
    Descriptor wake_;  // eventfd: look whether to stop
    std::atomic<bool> stopping_ = false;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<pollfd> polled_;  // room for all there can be, so that waiting takes no memory
    std::thread thread_;
};

}  // namespace libpool::tier
