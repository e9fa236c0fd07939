// SPDX-License-Identifier: Apache-2.0
// The HTTP client against a real socket: servers that are well, slow, rude or gone.
#include "poold/http.h"

#include <gtest/gtest.h>

#include "fake_fmd.h"
#include "fake_tree.h"

namespace poold {
namespace {

using namespace std::chrono_literals;

struct Socket {
    FakeTree folder;
    std::string path = folder.root() + "/fmd.sock";
    std::atomic<bool> stop{false};

    HttpClient client(const std::string& address) {
        return HttpClient(*parse_address(address), stop);
    }
};

TEST(Http, AKeptOpenConnectionServesManyRequests) {
    Socket socket;
    FakeFmd fmd(socket.path, [](const Request& request) {
        return answer(200, request.method + " " + request.target + " " + request.body);
    });
    HttpClient client = socket.client(fmd.address());
    for (int i = 0; i < 5; ++i) {
        auto response = client.post("/v1/report", "{}", 1s);
        ASSERT_TRUE(response) << response.error().sentence;
        EXPECT_EQ(response->body, "POST /v1/report {}");
    }
    EXPECT_EQ(client.get("/v1/desired?after=0&wait=0", 1s)->body,
              "GET /v1/desired?after=0&wait=0 ");
    EXPECT_EQ(fmd.connections(), 1);
}

TEST(Http, OverTcp) {
    FakeFmd fmd([](const Request&) { return answer(204, ""); });
    Socket socket;
    HttpClient client = socket.client(fmd.address());
    EXPECT_EQ(client.get("/", 1s)->status, 204);
}

TEST(Http, ALargeBodyArrivesWhole) {
    std::string large(3 << 20, 'x');
    Socket socket;
    FakeFmd fmd(socket.path, [&](const Request& request) {
        return answer(200, std::to_string(request.body.size()) + large);
    });
    HttpClient client = socket.client(fmd.address());
    auto response = client.post("/", large, 10s);
    ASSERT_TRUE(response) << response.error().sentence;
    EXPECT_EQ(response->body, std::to_string(large.size()) + large);
}

TEST(Http, AConnectionThatWasClosedMeanwhileIsOpenedAgain) {
    Socket socket;
    std::atomic<int> count{0};
    FakeFmd fmd(socket.path, [&](const Request&) {
        return ++count % 2 == 0 ? std::string() : answer(200, "{}");
    });
    HttpClient client = socket.client(fmd.address());
    EXPECT_TRUE(client.get("/", 1s));
    EXPECT_TRUE(client.get("/", 1s));  // closed at the 2nd request, answered at the 3rd
    EXPECT_EQ(fmd.connections(), 2);
    EXPECT_FALSE(socket.client(fmd.address()).get("/", 1s));  // but a new one is not tried twice
}

TEST(Http, NobodyThere) {
    Socket socket;
    auto response = socket.client("unix:" + socket.path).get("/", 1s);
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().sentence,
              "fmd cannot be reached at unix:" + socket.path + ": No such file or directory");
}

TEST(Http, ASlowServerMeetsTheDeadline) {
    Socket socket;
    std::atomic<bool> end{false};
    FakeFmd fmd(socket.path, [&](const Request&) {
        while (!end) std::this_thread::sleep_for(5ms);
        return answer(200, "{}");
    });
    HttpClient client = socket.client(fmd.address());
    auto started = std::chrono::steady_clock::now();
    auto response = client.get("/", 150ms);
    EXPECT_FALSE(response);
    EXPECT_EQ(response.error().code, ETIMEDOUT);
    EXPECT_LT(std::chrono::steady_clock::now() - started, 1s);
    socket.stop = true;
    EXPECT_EQ(client.get("/", 10s).error().code, ECANCELED);
    end = true;
}

TEST(Http, RubbishIsRefusedWithASentence) {
    std::string reply;
    Socket socket;
    FakeFmd fmd(socket.path, [&](const Request&) { return reply; });
    HttpClient client = socket.client(fmd.address());
    for (std::string bad : {
             std::string("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"),
             std::string("HTTP/1.1 abc\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\n\r\n"),
             std::string("HTTP/1.1 999 No\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
             std::string("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore than one"),
             std::string("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
             std::string("HTTP/1.1 100 Continue\r\n\r\n"),
             std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
             std::string(100000, 'a'),
             std::string(100, '\0') + "\r\n\r\n",
         }) {
        reply = bad;
        auto response = client.get("/", 1s);
        ASSERT_FALSE(response) << bad.substr(0, 40);
        EXPECT_EQ(response.error().code, EPROTO) << bad.substr(0, 40);
    }
    reply = answer(200, "well again");
    EXPECT_EQ(client.get("/", 1s)->body, "well again");
}

TEST(Address, EachForm) {
    EXPECT_EQ(parse_address("unix:/run/x")->path, "/run/x");
    EXPECT_EQ(parse_address("tcp:10.0.2.100:7000")->port, 7000);
    for (const char* bad :
         {"", "x", "unix:", "tcp:", "tcp:7000", "tcp:localhost:1", "tcp:1.2.3.4:0",
          "tcp:1.2.3.4:65536", "tcp:1.2.3.4:x", "http://x", "tcp::1"}) {
        auto address = parse_address(bad);
        ASSERT_FALSE(address) << bad;
        EXPECT_EQ(address.error().sentence.find("--server "), 0u);
    }
    EXPECT_FALSE(parse_address("unix:/" + std::string(200, 'x')));
}

}  // namespace
}  // namespace poold
