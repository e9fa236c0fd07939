// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/qmp_client.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <utility>

namespace cxlpool {

namespace asio = boost::asio;
using nlohmann::json;

namespace {

std::string text_of(const json& message) {
    return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

const std::string* string_at(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get_ptr<const std::string*>()
                                                       : nullptr;
}

}  // namespace

QmpClient::QmpClient(asio::io_context& io, std::string path, Handlers handlers, Limits limits)
    : io_(io),
      path_(std::move(path)),
      handlers_(std::move(handlers)),
      limits_(limits),
      socket_(io),
      timer_(io),
      retry_(limits.first_retry) {}

void QmpClient::start() {
    asio::post(io_, [self = shared_from_this()] { self->connect(); });
}

void QmpClient::stop() {
    stopped_ = true;
    ++connection_;
    Error ignored;
    socket_.close(ignored);
    timer_.cancel();
    requests_.clear();
    handlers_ = {};
}

void QmpClient::execute(const std::string& command, const json& arguments, Done done) {
    if (phase_ != Phase::ready) {
        asio::post(io_, [self = shared_from_this(), done = std::move(done),
                         why = fmt::format("no connection to QEMU: {}", trouble_)] {
            if (!self->stopped_) done(fail(Code::fabric, why));
        });
        return;
    }
    const std::uint64_t id = ++last_id_;
    const json message{{"execute", command}, {"arguments", arguments}, {"id", id}};
    requests_.push_back({id, command, text_of(message), std::move(done)});
    send_next();
}

// ---- the connection ----

void QmpClient::connect() {
    if (stopped_) return;
    ++connection_;
    phase_ = Phase::connecting;
    socket_ = asio::local::stream_protocol::socket(io_);
    input_.clear();
    arm(limits_.handshake, "does not greet (is another program connected to it?)");
    socket_.async_connect(path_,
                          [self = shared_from_this(), mine = connection_](const Error& error) {
                              if (mine == self->connection_) self->on_connected(error);
                          });
}

void QmpClient::on_connected(const Error& error) {
    if (error) {
        const bool nobody = error == boost::system::errc::connection_refused ||
                            error == boost::system::errc::no_such_file_or_directory;
        return lose(error.message(), nobody ? Silence::nobody_listens : Silence::no_answer);
    }
    // The process that listens there, told by the kernel. Asked before QEMU says a word: what it
    // says later proves that it was alive all the time, so that the pid is its own.
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
        peer.pid <= 0) {
        return lose("belongs to a process that cannot be seen from here");
    }
    if (const auto ok = handlers_.connected(peer.pid); !ok) return lose(ok.error().message);
    phase_ = Phase::greeting;
    read();
}

void QmpClient::read() {
    asio::async_read_until(
        socket_, asio::dynamic_buffer(input_, limits_.line_bytes), '\n',
        [self = shared_from_this(), mine = connection_](const Error& error, std::size_t length) {
            if (mine != self->connection_) return;
            if (error == asio::error::not_found) {
                return self->lose(
                    fmt::format("sent a line of more than {} bytes", self->limits_.line_bytes));
            }
            if (error == asio::error::eof) return self->lose("was closed by QEMU");
            if (error) return self->lose(error.message());
            const std::string line = self->input_.substr(0, length);
            self->input_.erase(0, length);
            self->on_line(line);
            if (mine == self->connection_) self->read();
        });
}

void QmpClient::on_line(const std::string& line) {
    const json message = json::parse(line, nullptr, false);
    if (!message.is_object()) return lose("sent a line that is not a QMP message");
    if (phase_ == Phase::greeting) return on_greeting(message);
    if (const std::string* event = string_at(message, "event")) return handlers_.event(*event);
    on_answer(message);
}

void QmpClient::on_greeting(const json& message) {
    if (!message.contains("QMP")) return lose("does not greet as QEMU does");
    phase_ = Phase::negotiating;
    const std::uint64_t id = ++last_id_;
    const json request{{"execute", "qmp_capabilities"}, {"id", id}};
    requests_.push_front({id, "qmp_capabilities", text_of(request), [this](const auto& answer) {
                              if (!answer) return;  // lost: told by lose()
                              if (!answer->done) return lose("refused: " + answer->refusal);
                              phase_ = Phase::ready;
                              retry_ = limits_.first_retry;
                              handlers_.ready();
                          }});
    send_next();
}

void QmpClient::on_answer(const json& message) {
    QmpAnswer answer{message.contains("return"), {}};
    if (!answer.done) {
        const auto error = message.find("error");
        const std::string* sentence =
            error != message.end() && error->is_object() ? string_at(*error, "desc") : nullptr;
        if (!sentence) return lose("sent a message that is neither answer nor event");
        answer.refusal = *sentence;
    }
    const auto id = message.find("id");
    // An error without an id is about a text that QEMU could not even parse: ours, or it is broken.
    if (!sent_ || id == message.end() || *id != requests_.front().id) {
        return lose(fmt::format("answered what was not asked{}{}",
                                answer.refusal.empty() ? "" : ": ", answer.refusal));
    }
    timer_.cancel();
    sent_ = false;
    const Done done = std::move(requests_.front().done);
    requests_.pop_front();
    const std::uint64_t mine = connection_;
    done(answer);
    if (mine == connection_) send_next();
}

void QmpClient::send_next() {
    if (sent_ || requests_.empty()) return;
    sent_ = true;
    Request& request = requests_.front();
    const bool handshake = phase_ == Phase::negotiating;
    arm(handshake ? limits_.handshake : limits_.command,
        fmt::format("did not answer {} in time (is the machine stopped?)", request.name));
    write(std::move(request.text));
}

void QmpClient::write(std::string text) {
    output_ = std::move(text);
    asio::async_write(
        socket_, asio::buffer(output_),
        [self = shared_from_this(), mine = connection_](const Error& error, std::size_t) {
            if (error && mine == self->connection_) self->lose(error.message());
        });
}

void QmpClient::arm(std::chrono::milliseconds limit, std::string why) {
    timer_.expires_after(limit);
    timer_.async_wait(
        [self = shared_from_this(), mine = connection_, why = std::move(why)](const Error& error) {
            if (!error && mine == self->connection_) self->lose(why);
        });
}

void QmpClient::lose(const std::string& why, Silence silence) {
    if (stopped_) return;
    const std::uint64_t mine = ++connection_;
    Error ignored;
    socket_.close(ignored);
    phase_ = Phase::waiting;
    sent_ = false;
    trouble_ = fmt::format("{} {}", path_, why);
    timer_.expires_after(retry_);
    timer_.async_wait([self = shared_from_this(), mine](const Error& error) {
        if (!error && mine == self->connection_) self->connect();
    });
    retry_ = std::min(retry_ * 2, limits_.last_retry);

    const std::deque<Request> given_up = std::exchange(requests_, {});
    const auto answer = fail(Code::fabric, fmt::format("no answer of QEMU: {}", trouble_));
    for (const Request& request : given_up) request.done(answer);
    if (!stopped_) handlers_.lost(trouble_, silence);
}

}  // namespace cxlpool
