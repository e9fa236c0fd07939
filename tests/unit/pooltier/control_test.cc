// SPDX-License-Identifier: Apache-2.0
// The control socket with bad company: half lines, long lines, too many, too slow.
#include "tier/control.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>

#include "tier/control_client.h"

using namespace libpool;
using namespace libpool::tier;

namespace {

class Still final : public Controlled {
  public:
    Snapshot status() override {
        Snapshot s;
        s.program = "still";
        return s;
    }
    Result<PageAnswer> explain(uint64_t) override { return fail(ENOENT, "no such page"); }
    Result<void> set(const Limits&) override { return {}; }
    Result<PageSlice> pages(uint64_t first, uint64_t pages, Detail) override {
        PageSlice slice;
        slice.total_pages = UINT32_MAX;
        slice.first = first;
        slice.rates.assign(pages, 123456.0f);
        slice.places.assign(pages, Place::far);
        return slice;
    }
    Result<std::vector<BenefitStep>> benefit() override { return std::vector<BenefitStep>{}; }
    Result<int> descriptor() override {
        if (hands_over < 0) return Controlled::descriptor();
        return hands_over;
    }
    double settle() override { return INFINITY; }
    int hands_over = -1;
};

class Control : public testing::Test {
  protected:
    void SetUp() override {
        auto started =
            ControlServer::start(engine_, {.clients = 3, .request_s = 0.3, .answer_s = 0.3});
        ASSERT_TRUE(started) << started.error().sentence;
        server_ = std::move(*started);
    }
    void TearDown() override {
        for (int fd : open_) close(fd);
    }

    int connected() {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const ControlAddress address(getpid());
        EXPECT_EQ(connect(fd, address.get(), address.size()), 0);
        open_.push_back(fd);
        return fd;
    }
    static void say(int fd, const std::string& words) {
        EXPECT_EQ(send(fd, words.data(), words.size(), MSG_NOSIGNAL), ssize_t(words.size()));
    }
    // Up to the end of a line, or of the talk ("").
    static std::string hear(int fd) {
        std::string line;
        char byte;
        while (recv(fd, &byte, 1, 0) == 1) {
            if (byte == '\n') return line;
            line += byte;
        }
        return "";
    }
    static bool ended(int fd) {
        char byte;
        return recv(fd, &byte, 1, 0) <= 0;
    }

    Still engine_;
    std::unique_ptr<ControlServer> server_;
    std::vector<int> open_;
};

}  // namespace

TEST_F(Control, AnswersWithItsPid) {
    auto told = ask_status(getpid());
    ASSERT_TRUE(told) << told.error().sentence;
    EXPECT_EQ(told->pid, getpid());
    EXPECT_EQ(told->target, getpid());
    EXPECT_EQ(told->program, "still");
    auto pids = tiered_processes();
    ASSERT_TRUE(pids);
    EXPECT_NE(std::find(pids->begin(), pids->end(), getpid()), pids->end());
}

TEST_F(Control, ALargeAnswerArrivesWhole) {
    auto slice = ask_pages(getpid(), {32768, slice_limit_pages});
    ASSERT_TRUE(slice) << slice.error().sentence;
    EXPECT_EQ(slice->rates.size(), slice_limit_pages);
}

TEST_F(Control, ADescriptorIsHandedOver) {
    auto refused = ask_descriptor(getpid());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ENOTSUP);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    engine_.hands_over = ends[1];
    auto given = ask_descriptor(getpid());
    ASSERT_TRUE(given) << given.error().sentence;
    EXPECT_NE(given->get(), ends[1]);
    EXPECT_EQ(write(given->get(), "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    // Who does not ask for it gets none, and the next answer has none either.
    EXPECT_TRUE(ask_status(getpid()));
    close(ends[0]);
    close(ends[1]);
}

TEST_F(Control, RatesAreFoundByAddress) {
    RatesByAddress rates({{512, 0x20000000, 2}, {0, 0x10000000, 4}}, {1, 2, 3, 4});
    EXPECT_EQ(rates.of(0x10001fff), 2);
    EXPECT_EQ(rates.of(0x10004000), 0);  // behind the range
    EXPECT_EQ(rates.of(0x0fffffff), 0);
    EXPECT_EQ(rates.of(0x20001000), 0);  // its rates have not come
}

TEST_F(Control, SeveralRequestsOnOneConnectionEvenAtOnce) {
    int fd = connected();
    say(fd, "{\"do\":\"status\"}\n{\"do\":\"no\"}\n{\"do\":\"benefit\"}\n");
    EXPECT_TRUE(hear(fd).starts_with("{\"ok\""));
    EXPECT_TRUE(hear(fd).starts_with("{\"code\":22"));
    EXPECT_EQ(hear(fd), "{\"ok\":{\"steps\":[]}}");
}

TEST_F(Control, AWordAtATime) {
    int fd = connected();
    for (char c : std::string("{\"do\":\"status\"}\n")) say(fd, std::string(1, c));
    EXPECT_TRUE(hear(fd).starts_with("{\"ok\""));
}

TEST_F(Control, HalfALineIsWaitedForOnlySoLong) {
    int fd = connected();
    say(fd, "{\"do\":");
    EXPECT_EQ(hear(fd), "");  // ended, without an answer
}

TEST_F(Control, ALongLineIsRefused) {
    int fd = connected();
    say(fd, std::string(request_limit_bytes + 1, 'x'));
    EXPECT_EQ(hear(fd), "{\"code\":7,\"error\":\"a request is at most 4096 bytes\"}");
    EXPECT_TRUE(ended(fd));
}

TEST_F(Control, WhoDoesNotReadIsLetGo) {
    int fd = connected();
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    std::string ask = "{\"do\":\"pages\",\"first\":0,\"pages\":32768}\n";
    for (int i = 0; i < 20; ++i) send(fd, ask.data(), ask.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    pollfd hung_up{fd, POLLRDHUP, 0};  // nothing is read before: a slow machine answers late
    ASSERT_EQ(poll(&hung_up, 1, 20'000), 1);
    EXPECT_TRUE(ask_status(getpid()));
    std::string rest(1 << 22, '\0');
    ssize_t got, all = 0;
    while ((got = recv(fd, rest.data(), rest.size(), 0)) > 0) all += got;
    EXPECT_LT(all, 1 << 22);  // not all twenty answers
}

TEST_F(Control, OneTooManyIsToldSo) {
    std::vector<int> talkers;
    for (int i = 0; i < 3; ++i) {
        talkers.push_back(connected());
        say(talkers.back(), "{\"do\":\"benefit\"}\n");
        EXPECT_NE(hear(talkers.back()), "");
    }
    auto told = ask_status(getpid());
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().code, EBUSY);
    EXPECT_NE(told.error().sentence.find("serves 3 clients already"), std::string::npos);
    usleep(500'000);  // their time is over
    EXPECT_TRUE(ask_status(getpid()));
}

// Somebody else had the name, or the same number in another namespace: the program was not tiered.
TEST_F(Control, WhoFindsItsNameTakenTakesAnotherAndIsFoundByIt) {
    auto second = ControlServer::start(engine_);
    ASSERT_TRUE(second) << second.error().sentence;
    server_.reset();
    EXPECT_TRUE(ask_status(getpid()));
    second->reset();
    EXPECT_EQ(ask_status(getpid()).error().code, ENOENT);
}

TEST_F(Control, ItEndsAndTheNameIsFree) {
    int fd = connected();
    server_.reset();
    EXPECT_TRUE(ended(fd));
    EXPECT_EQ(ask_status(getpid()).error().code, ENOENT);
    EXPECT_TRUE(ControlServer::start(engine_));
}

TEST(ControlSockets, OfProcNetUnix) {
    EXPECT_EQ(parse_control_sockets(
                  "Num       RefCount Protocol Flags    Type St Inode Path\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 11 @pooltier/812\n"
                  "0000000000000000: 00000003 00000000 00000000 0001 03 12 @pooltier/813\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 13 @pooltier/9x\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 13 @pooltier/-5\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 13 @pooltier/007\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 13 @pooltier/99999999999\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 13 /tmp/@pooltier/5\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 14 @pooltier/7\n"
                  "0000000000000000: 00000002 00000000 00010000 0001 01 15 @pooltier/812"),
              (std::vector<pid_t>{7, 812}));
    EXPECT_TRUE(parse_control_sockets("").empty());
}
