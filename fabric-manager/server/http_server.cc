// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <memory>

#include "server/log.h"

namespace cxlpool {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;
using Unix = asio::local::stream_protocol;
using Stream = beast::basic_stream<Unix>;
using Parser = http::request_parser<http::string_body>;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t read_chunk = 4096;
constexpr std::size_t most_drained =
    16 << 20;  // read and thrown away after a request that was refused

// What is shared by the connections of one listening socket.
struct Service {
    HttpLimits limits;
    HttpHandler handler;
    std::size_t open = 0;
};

// Counts a connection as long as it lives.
class Slot {
  public:
    explicit Slot(std::shared_ptr<Service> service) : service_(std::move(service)) {
        ++service_->open;
    }
    Slot(Slot&& other) = default;
    ~Slot() {
        if (service_) --service_->open;
    }
    Service& operator*() const { return *service_; }
    Service* operator->() const { return service_.get(); }

  private:
    std::shared_ptr<Service> service_;
};

Refusal why_not_read(const beast::error_code& error, const HttpLimits& limits) {
    if (error == http::error::body_limit)
        return {
            413,
            {Code::invalid, fmt::format("the body is larger than {} bytes", limits.body_bytes)}};
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
        return {431,
                {Code::invalid,
                 fmt::format("the header is larger than {} bytes", limits.header_bytes)}};
    return {400, {Code::invalid, fmt::format("this is not HTTP/1.1: {}", error.message())}};
}

// Nobody can be answered: the client has gone, or was too slow and is cut off.
bool gone(const beast::error_code& error) {
    return error == beast::error::timeout || error == http::error::end_of_stream ||
           error == asio::error::eof || error == http::error::partial_message ||
           error == asio::error::connection_reset || error == asio::error::broken_pipe;
}

http::response<http::string_body> to_http(const Response& answer, unsigned version,
                                          bool keep_alive) {
    http::response<http::string_body> out(static_cast<http::status>(answer.status), version);
    out.set(http::field::server, "cxlpool-fmd");
    if (!answer.body.empty()) out.set(http::field::content_type, "application/json");
    out.body() = answer.body;
    if (!answer.body.empty()) out.body() += '\n';
    out.keep_alive(keep_alive);
    if (answer.status != 204) out.prepare_payload();
    return out;
}

class Session final : public Connection {
  public:
    Session(Unix::socket socket, Slot slot)
        : stream_(std::move(socket)), service_(std::move(slot)) {}

    awaitable<void> run() {
        while (co_await wait_for_request()) {
            Parser parser;
            if (!co_await read_request(parser)) co_return;
            if (!co_await answer_request(parser)) co_return;
        }
    }

    // Here and below: what a coroutine is given is a named object of its caller, never a temporary
    // within a co_await expression, which g++ 12 destroys twice.
    awaitable<void> refuse(const Refusal& refused) {
        const Response response = answer(refused);
        if (co_await write(response, 11, false)) co_await drain();
    }

    awaitable<bool> wait(asio::steady_timer& timer) override {
        using namespace asio::experimental::awaitable_operators;
        auto& socket = stream_.socket();
        if (buffer_.size() == 0) {
            const auto first = co_await (timer.async_wait(as_result) ||
                                         socket.async_wait(Unix::socket::wait_read, as_result));
            if (first.index() == 0) co_return true;
            if (peer_closed()) co_return false;
            // The start of its next request: kept. The caller looks again at what it waits for,
            // since a wake meanwhile found nobody on the timer.
            co_return co_await take_some();
        }
        co_await timer.async_wait(as_result);
        co_return true;
    }

  private:
    // The first byte may take long; from then on the client must hurry.
    awaitable<bool> wait_for_request() {
        if (buffer_.size() > 0) co_return true;
        stream_.expires_after(service_->limits.idle);
        co_return co_await take_some();
    }

    awaitable<bool> take_some() {
        const auto [error, bytes] =
            co_await stream_.async_read_some(buffer_.prepare(read_chunk), as_result);
        if (error) co_return false;
        buffer_.commit(bytes);
        co_return true;
    }

    awaitable<bool> read_request(Parser& parser) {
        const HttpLimits& limits = service_->limits;
        parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes));
        parser.body_limit(limits.body_bytes);
        stream_.expires_after(limits.request);
        auto [error, bytes] = co_await http::async_read_header(stream_, buffer_, parser, as_result);
        if (!error && beast::iequals(parser.get()[http::field::expect], "100-continue"))
            co_await send_continue();
        if (!error)
            std::tie(error, bytes) = co_await http::async_read(stream_, buffer_, parser, as_result);
        if (!error) co_return true;
        if (gone(error)) co_return false;
        const Refusal refused = why_not_read(error, limits);
        co_await refuse(refused);
        co_return false;
    }

    awaitable<void> send_continue() {
        http::response<http::empty_body> go_on(http::status::continue_, 11);
        co_await http::async_write(stream_, go_on, as_result);
    }

    // Whether the connection stays open.
    awaitable<bool> answer_request(Parser& parser) {
        auto& message = parser.get();
        const bool keep_alive = message.keep_alive();
        const unsigned version = message.version();
        Request request{std::string(message.method_string()), std::string(message.target()),
                        std::move(message.body())};
        stream_.expires_never();
        const Handled handled = co_await service_->handler(std::move(request), *this);
        if (!co_await write(handled.response, version, keep_alive)) co_return false;
        if (handled.sent) handled.sent();
        co_return keep_alive;
    }

    awaitable<bool> write(const Response& response, unsigned version, bool keep_alive) {
        auto message = to_http(response, version, keep_alive);
        stream_.expires_after(service_->limits.write);
        const auto [error, bytes] = co_await http::async_write(stream_, message, as_result);
        co_return !error;
    }

    // Closing with unread bytes would reset the connection before the client has read its refusal.
    awaitable<void> drain() {
        beast::error_code ignored;
        stream_.socket().shutdown(Unix::socket::shutdown_send, ignored);
        for (std::size_t drained = 0; drained < most_drained; drained += buffer_.size()) {
            buffer_.clear();
            if (!co_await take_some()) co_return;
        }
    }

    bool peer_closed() {
        char byte = 0;
        return ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    }

    Stream stream_;
    Slot service_;
    beast::flat_buffer buffer_;
};

awaitable<void> serve_one(Unix::socket socket, Slot slot) {
    Session session(std::move(socket), std::move(slot));
    co_await session.run();
}

awaitable<void> turn_away(Unix::socket socket, std::shared_ptr<Service> service) {
    const std::size_t most = service->limits.connections;
    Session session(std::move(socket), Slot(std::move(service)));
    const Refusal refused{
        503,
        {Code::not_ready,
         fmt::format("fmd already serves {} connections on this socket, its limit", most)}};
    co_await session.refuse(refused);
}

awaitable<void> accept_all(Unix::acceptor acceptor, std::shared_ptr<Service> service) {
    asio::steady_timer pause(acceptor.get_executor());
    for (;;) {
        auto [error, socket] = co_await acceptor.async_accept(as_result);
        if (error == asio::error::operation_aborted) co_return;
        if (error) {  // out of descriptors or memory: others must end first
            log(LogLevel::warning, "cannot accept a connection: " + error.message());
            pause.expires_after(std::chrono::seconds(1));
            co_await pause.async_wait(as_result);
            continue;
        }
        const auto executor = acceptor.get_executor();
        // Those turned away count too while they are told; beyond twice the limit not even that.
        if (service->open >= 2 * service->limits.connections) continue;
        if (service->open >= service->limits.connections)
            asio::co_spawn(executor, turn_away(std::move(socket), service), asio::detached);
        else
            asio::co_spawn(executor, serve_one(std::move(socket), Slot(service)), asio::detached);
    }
}

}  // namespace

void serve_http(asio::io_context& io, int listening_fd, HttpLimits limits, HttpHandler handler) {
    Unix::acceptor acceptor(io, Unix(), listening_fd);
    auto service = std::make_shared<Service>(Service{limits, std::move(handler), 0});
    asio::co_spawn(io, accept_all(std::move(acceptor), std::move(service)), asio::detached);
}

}  // namespace cxlpool
