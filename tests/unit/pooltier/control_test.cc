// SPDX-License-Identifier: Apache-2.0
// The control socket with bad company: half lines, long lines, too many, too slow.
#include "tier/control.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <functional>

#include "steady.h"
#include "tier/control_client.h"

using namespace libpool;
using namespace libpool::tier;

namespace {

class Still final : public Controlled {
  public:
    Snapshot status() override {
        Snapshot s;
        s.program = "still";
        s.target = target;
        return s;
    }
    Result<PageAnswer> explain(uint64_t) override { return fail(ENOENT, "no such page"); }
    Result<void> set(const Limits&) override { return {}; }
    Result<PageSlice> pages(uint64_t first, uint64_t pages, Detail) override {
        usleep(static_cast<useconds_t>(slow_s * 1e6));
        ++questions;
        PageSlice slice;
        slice.total_pages = total_pages;
        slice.first = first;
        slice.rates.assign(std::min(pages, told_at_once), 123456.0f);
        slice.rates.front() = float(first);
        slice.places.assign(slice.rates.size(), Place::far);
        if (first == 0) slice.ranges = ranges;
        return slice;
    }
    Result<std::vector<BenefitStep>> benefit() override { return std::vector<BenefitStep>{}; }
    Result<int> descriptor() override {
        if (hands_over < 0) return Controlled::descriptor();
        return hands_over;
    }
    double settle() override { return INFINITY; }
    int hands_over = -1;
    int target = 0;
    uint64_t total_pages = UINT32_MAX, told_at_once = UINT64_MAX;
    std::vector<PageRange> ranges;
    double slow_s = 0;
    std::atomic<int> questions = 0;
};

const auto always = [] { return true; };

// A process that says ready() when it has done `begin`, and lives until this is destroyed.
class Child {
  public:
    explicit Child(const std::function<bool()>& begin) {
        int ready[2], ends[2];
        EXPECT_EQ(pipe(ready) | pipe(ends), 0);
        pid_ = fork();
        if (pid_ == 0) {
            close(ready[0]);
            close(ends[1]);
            char byte = begin() ? 'y' : 'n';
            if (write(ready[1], &byte, 1) != 1) _exit(1);
            while (read(ends[0], &byte, 1) > 0) {
            }
            _exit(0);
        }
        close(ready[1]);
        close(ends[0]);
        char byte = 0;
        ready_ = read(ready[0], &byte, 1) == 1 && byte == 'y';
        close(ready[0]);
        ends_ = ends[1];
    }
    ~Child() {
        close(ends_);
        waitpid(pid_, nullptr, 0);
    }
    pid_t pid() const { return pid_; }
    bool ready() const { return ready_; }

  private:
    pid_t pid_ = 0;
    int ends_ = -1;
    bool ready_ = false;
};

// In a child: serves for as long as it lives, and says that it speaks for `target`.
bool serve(pid_t target) {
    static Still engine;
    engine.target = target;
    static auto server = ControlServer::start(engine);
    return bool(server);
}

constexpr uid_t nobody = 65534;

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

TEST_F(Control, PageNumbersAreFoundByAddress) {
    PageNumbers numbers({{512, 0x20000000, 2}, {0, 0x10000000, 4}, {UINT64_MAX, 0x30000000, 9}});
    EXPECT_EQ(numbers.of(0x10001fff), 1u);
    EXPECT_EQ(numbers.of(0x10004000), std::nullopt);  // behind the range
    EXPECT_EQ(numbers.of(0x0fffffff), std::nullopt);
    EXPECT_EQ(numbers.of(0x20001000), 513u);
    EXPECT_EQ(numbers.of(0x30001000), std::nullopt);  // no number is so large
}

TEST_F(Control, RatesAreAskedForWhereTheyAreWanted) {
    engine_.total_pages = uint64_t{1} << 31;
    engine_.ranges = {{0, 0x10000000, 4}, {1'000'000, 0x7f0000000000, 1 << 20}};
    const uint64_t far_page = 0x7f0000000000 + 4096 * 100'000;
    auto rates = ask_rates(
        getpid(),
        std::vector<uint64_t>{0x10000000, 0x10001000, 0x20000000, far_page, far_page + 4096},
        always);
    ASSERT_TRUE(rates) << rates.error().sentence;
    EXPECT_EQ(*rates, (std::vector<float>{0, 123000, 0, 1'100'000, 123000}));
    EXPECT_EQ(engine_.questions, 2);  // not the sixty thousand that would tell all
}

// One that has ever more pages to tell filled poold's memory, and kept it from ending.
TEST_F(Control, WhoSaysThatItHasMorePagesThanThereCanBeIsNotAskedFurther) {
    engine_.total_pages = UINT64_MAX;
    auto rates = ask_rates(getpid(), std::vector<uint64_t>{0x10000000}, always);
    ASSERT_FALSE(rates);
    EXPECT_EQ(rates.error().code, EFBIG);
    EXPECT_EQ(rates.error().sentence,
              text("process %d says that it has 18446744073709551615 tracked pages, and 4294967296 "
                   "is the most",
                   getpid()));
    EXPECT_EQ(engine_.questions, 1);
}

TEST_F(Control, AllQuestionsForRatesHaveOneDeadline) {
    engine_.ranges = {{0, 0x10000000, 1 << 20}};
    engine_.told_at_once = 1;  // a question for each page
    engine_.slow_s = 0.05;
    std::vector<uint64_t> pages;
    for (uint64_t i = 0; i < 1000; ++i) pages.push_back(0x10000000 + i * 4096);
    const double before_s = steady_now_s();
    auto rates = ask_rates(getpid(), pages, always, 0.3);
    ASSERT_FALSE(rates);
    EXPECT_EQ(rates.error().code, ETIMEDOUT);
    EXPECT_LT(steady_now_s() - before_s, 5);  // not 50
}

TEST_F(Control, WhoAsksForRatesMayStop) {
    engine_.ranges = {{0, 0x10000000, 1 << 20}};
    engine_.told_at_once = 1;
    int asked = 0;
    auto rates = ask_rates(getpid(), std::vector<uint64_t>{0x10000000, 0x10001000, 0x10002000},
                           [&] { return ++asked < 3; });
    ASSERT_FALSE(rates);
    EXPECT_EQ(rates.error().code, ECANCELED);
    EXPECT_EQ(engine_.questions, 2);
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

// As daemons do it; and all that they open then gets our numbers.
bool outlives_our_descriptors() {
    static Still engine;
    auto server = ControlServer::start(engine);
    if (!server) return false;
    usleep(50'000);  // it waits
    if (close_range(3, ~0u, 0) != 0) return false;
    int ends[2];
    if (pipe(ends) != 0) return false;
    for (int fd = 5; fd < 1024; ++fd) {
        if (dup2(ends[1], fd) != fd) return false;
    }
    server->reset();  // within a second it has seen that it is over
    for (int fd = 3; fd < 1024; ++fd) {
        if (fcntl(fd, F_GETFD) < 0) return false;
    }
    int queued = -1;
    return ioctl(ends[0], FIONREAD, &queued) == 0 && queued == 0;
}

TEST(ControlDescriptors, WhatTheProgramHasOpenedUnderTheirNumbersIsLeftAlone) {
    const pid_t child = fork();
    if (child == 0) _exit(outlives_our_descriptors() ? 0 : 1);
    int how = -1;
    ASSERT_EQ(waitpid(child, &how, 0), child);
    EXPECT_EQ(how, 0);
}

TEST_F(Control, ItEndsAndTheNameIsFree) {
    int fd = connected();
    server_.reset();
    EXPECT_TRUE(ended(fd));
    EXPECT_EQ(ask_status(getpid()).error().code, ENOENT);
    EXPECT_TRUE(ControlServer::start(engine_));
}

// The child is as a process of nobody's that has run a set-user-ID program.
TEST(ControlPeer, WhoListenedAsAnotherUserIsNotAsked) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    Child child([] { return seteuid(nobody) == 0 && serve(1) && seteuid(0) == 0; });
    ASSERT_TRUE(child.ready());
    auto told = ask_status(child.pid());
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().code, EPERM);
    EXPECT_EQ(
        told.error().sentence,
        text("the socket @pooltier/%d was made by uid 65534, and process %d belongs to uid 0: "
             "it was not asked",
             child.pid(), child.pid()));
}

TEST(ControlPeer, OnlyRootSpeaksForAnotherProcess) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    Child root([] { return serve(1); });
    ASSERT_TRUE(root.ready());
    auto told = ask_status(root.pid());
    ASSERT_TRUE(told) << told.error().sentence;
    EXPECT_EQ(told->target, 1);
    Child other([] { return setuid(nobody) == 0 && serve(1); });
    ASSERT_TRUE(other.ready());
    told = ask_status(other.pid());
    ASSERT_TRUE(told) << told.error().sentence;
    EXPECT_EQ(told->target, other.pid());
    Child no_more_root([] { return serve(1) && seteuid(nobody) == 0; });
    ASSERT_TRUE(no_more_root.ready());
    told = ask_status(no_more_root.pid());
    ASSERT_TRUE(told) << told.error().sentence;
    EXPECT_EQ(told->target, no_more_root.pid());
}

// The socket of a process that has ended is in a child of its own, and its number is another's.
TEST(ControlPeer, WhoHasTheNumberOfOneThatEndedIsNotTakenForIt) {
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pidfd = -1;
    socklen_t size = sizeof pidfd;
    const bool known =
        getsockopt(listener, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &pidfd, &size) == 0 ||
        errno != ENOPROTOOPT;
    if (!known) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD: 6.5 does";
    pid_t first = fork();
    if (first == 0) {
        const ControlAddress address(getpid());
        const bool listens =
            bind(listener, address.get(), address.size()) == 0 && listen(listener, 8) == 0;
        _exit(listens ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(first, &status, 0), first);  // the socket is ours, too, and listens still
    ASSERT_EQ(status, 0);
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = reinterpret_cast<uint64_t>(&first);
    arguments.set_tid_size = 1;
    const auto second = pid_t(syscall(SYS_clone3, &arguments, sizeof arguments));
    if (second == 0) {
        while (true) pause();
    }
    if (second < 0) {
        close(listener);
        GTEST_SKIP() << "no number can be chosen here: " << strerror(errno);
    }
    auto told = ask_status(first, 0.5);
    kill(second, SIGKILL);
    waitpid(second, nullptr, 0);
    close(listener);
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().code, EPERM) << told.error().sentence;
    EXPECT_NE(told.error().sentence.find("belongs to a process that has ended"), std::string::npos);
}

TEST(ControlSockets, NamesOfNobodyHideNobody) {
    std::string list;
    for (int i = 0; i < 5000; ++i) {
        list += text("0: 00000002 00000000 00010000 0001 01 1 @pooltier/%d.x\n", 4'200'000 + i);
        list += text("0: 00000002 00000000 00010000 0001 01 1 @pooltier/9.%08x\n", i);
    }
    list += "0: 00000002 00000000 00010000 0001 01 1 @pooltier/812\n";
    const std::vector<pid_t> pids = parse_control_sockets(list);
    EXPECT_EQ(pids.size(), 5002u);
    EXPECT_NE(std::find(pids.begin(), pids.end(), 812), pids.end());
    EXPECT_EQ(parse_control_names(list, 812), std::vector<std::string>{"pooltier/812"});
    EXPECT_EQ(parse_control_names(list, 9).size(), name_limit);
}

TEST(ControlSockets, WhatIsNoProcessIsNotListed) {
    constexpr pid_t no_process = (1 << 22) + 7;  // no kernel gives such a number
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const ControlAddress address(no_process);
    ASSERT_EQ(bind(fd, address.get(), address.size()), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    auto pids = tiered_processes();
    close(fd);
    ASSERT_TRUE(pids) << pids.error().sentence;
    EXPECT_EQ(std::find(pids->begin(), pids->end(), no_process), pids->end());
}

TEST(ControlSockets, EachUserHasItsTurn) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    const auto as_nobody = [] { return setuid(nobody) == 0; };
    Child one(as_nobody), two(as_nobody), three(as_nobody);
    const std::vector<pid_t> pids{one.pid(), two.pid(), three.pid(), getpid(), getppid()};
    EXPECT_EQ(by_turns(pids),
              (std::vector<pid_t>{one.pid(), getpid(), two.pid(), getppid(), three.pid()}));
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
