// SPDX-License-Identifier: Apache-2.0
// One connection to one QMP socket of QEMU, made again whenever it is lost. Commands are sent one
// at a time, in order; the next waits for the answer of the last. QEMU serves one client a socket
// and drops what a lost one left unread before it greets the next, so order holds over reconnects
// as well: what an answer shows is later than every command before it. A connection that does not
// answer in time is given up with all that waits for it: whether its commands took effect is then
// unknown.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/command.h"
#include "core/result.h"

namespace cxlpool {

// QEMU's answer to a command: done, or refused with a sentence of its own.
struct QmpAnswer {
    bool done = false;
    std::string refusal;
};

class QmpClient : public std::enable_shared_from_this<QmpClient> {
  public:
    struct Limits {
        std::chrono::milliseconds handshake{5'000};
        std::chrono::milliseconds command{5'000};
        std::chrono::milliseconds first_retry{50};
        std::chrono::milliseconds last_retry{500};
        std::size_t line_bytes = 1 << 20;
    };

    // All are called on the io_context's thread, never from inside a call of this class.
    struct Handlers {
        // Connected to this process, nothing said yet; an error gives the connection up.
        std::function<Result<void>(pid_t)> connected;
        std::function<void()> ready;                                // commands will be answered
        std::function<void(const std::string& why, Silence)> lost;  // also after each failed try
        std::function<void(const std::string& name)> event;
    };

    using Done = std::function<void(const Result<QmpAnswer>&)>;

    QmpClient(boost::asio::io_context& io, std::string path, Handlers handlers, Limits limits);

    void start();
    void stop();  // for good: no handler and no Done is called any more

    // Done is called exactly once, never from inside: with QEMU's answer, or why there is none.
    void execute(const std::string& command, const nlohmann::json& arguments, Done done);

  private:
    enum class Phase { waiting, connecting, greeting, negotiating, ready };
    struct Request {
        std::uint64_t id;
        std::string name;
        std::string text;
        Done done;
    };
    using Error = boost::system::error_code;

    void connect();
    void on_connected(const Error& error);
    void read();
    void on_line(const std::string& line);
    void on_greeting(const nlohmann::json& message);
    void on_answer(const nlohmann::json& message);
    void send_next();
    void write(std::string text);
    void arm(std::chrono::milliseconds limit, std::string why);
    void lose(const std::string& why, Silence silence = Silence::no_answer);

    boost::asio::io_context& io_;
    std::string path_;
    Handlers handlers_;
    Limits limits_;

    Phase phase_ = Phase::waiting;
    std::uint64_t connection_ = 0;  // handlers of an earlier connection do nothing
    boost::asio::local::stream_protocol::socket socket_;
    boost::asio::steady_timer timer_;
    std::string input_;
    std::string output_;
    std::chrono::milliseconds retry_;
    std::string trouble_ = "not connected yet";
    std::deque<Request> requests_;  // the first is with QEMU when sent_
    bool sent_ = false;
    bool stopped_ = false;
    std::uint64_t last_id_ = 0;
};

}  // namespace cxlpool
