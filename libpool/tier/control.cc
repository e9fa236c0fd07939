// SPDX-License-Identifier: Apache-2.0
#include "tier/control.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <tuple>
#include <utility>

#include "read_text.h"
#include "signals.h"
#include "steady.h"

namespace libpool::tier {

namespace {

constexpr int name_tries = 4;

// 0 or errno.
int bind_as(int fd, const std::string& name) {
    const ControlAddress address(name);
    return bind(fd, address.get(), address.size()) == 0 ? 0 : errno;
}

// A name belongs to whoever takes it first: any user could keep the next processes from being
// asked, and so does a process of the same number in another PID namespace. What nobody can guess
// nobody has taken.
Result<int> listen_as(pid_t pid) {
    const std::string usual = control_name(pid);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(errno, "no socket for @%s: %s", usual.c_str(), errno_text(errno).c_str());
    int code = bind_as(fd, usual);
    for (int i = 0; code == EADDRINUSE && i < name_tries; ++i) {
        unsigned random = 0;
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != ssize_t(sizeof random)) break;
        code = bind_as(fd, text("%s.%08x", usual.c_str(), random));
    }
    if (code == 0 && listen(fd, 8) != 0) code = errno;
    if (code == 0) return fd;
    close(fd);
    return fail(code, "the socket @%s cannot be made: %s", usual.c_str(), errno_text(code).c_str());
}

// Permitted ones of this process. By reading: a program may have forbidden itself capget().
Result<uint64_t> own_capabilities() {
    auto status = read_text("/proc/self/status");
    if (!status) return std::unexpected(status.error());
    const size_t at = status->find("\nCapPrm:");
    if (at == std::string::npos) return fail(ENODATA, "/proc/self/status has no CapPrm");
    return std::strtoull(status->c_str() + at + std::strlen("\nCapPrm:"), nullptr, 16);
}

constexpr double look_again_s = 1;  // who closes our descriptors wakes nobody up

// Nothing, or why this peer is not told: it must see no more here than by ptrace(), for which the
// kernel wants its user, a dumpable process, and no capabilities that the peer lacks. What the peer
// has is not asked: in a user namespace of its own anybody has all.
Result<void> may_ask(int fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return fail(EACCES, "the peer is not known");
    }
    if (peer.uid == 0) return {};
    if (peer.uid != geteuid()) {
        return fail(EACCES, "process %d belongs to uid %u: only it and root may ask", getpid(),
                    geteuid());
    }
    if (prctl(PR_GET_DUMPABLE) != 1) {
        return fail(EACCES, "process %d is not dumpable: only root may ask", getpid());
    }
    const auto capabilities = own_capabilities();
    if (!capabilities || *capabilities != 0) {
        return fail(EACCES, "process %d %s: only root may ask", getpid(),
                    capabilities ? "has capabilities" : "cannot tell whether it has capabilities");
    }
    return {};
}

struct CarryOut {
    Controlled& controlled;
    int descriptor = -1;  // to go with the answer
    std::string operator()(const AskStatus&) {
        Snapshot snapshot = controlled.status();
        snapshot.pid = getpid();
        if (snapshot.target == 0) snapshot.target = snapshot.pid;
        return encode_answer(snapshot);
    }
    std::string operator()(const AskBenefit&) { return said(controlled.benefit()); }
    std::string operator()(const AskDescriptor&) {
        auto given = controlled.descriptor();
        if (!given) return encode_refusal(given.error());
        descriptor = *given;
        return encode_done();
    }
    std::string operator()(const AskExplain& ask) {
        auto answer = controlled.explain(ask.address);
        if (answer && answer->target == 0) answer->target = getpid();
        return said(answer);
    }
    std::string operator()(const AskPages& ask) {
        return said(controlled.pages(ask.first, ask.pages, ask.detail));
    }
    std::string operator()(const AskSet& ask) {
        auto done = controlled.set(ask.limits);
        return done ? encode_done() : encode_refusal(done.error());
    }
    template <typename T>
    std::string said(const Result<T>& result) {
        return result ? encode_answer(*result) : encode_refusal(result.error());
    }
};

// `descriptor` goes with the first byte; -1: none.
ssize_t send_with(int fd, std::string& words, int descriptor) {
    iovec piece{words.data(), words.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof descriptor)] = {};
    if (descriptor >= 0) {
        message.msg_control = space;
        message.msg_controllen = sizeof space;
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

std::string control_name(pid_t pid) { return text("pooltier/%d", pid); }

ControlAddress::ControlAddress(const std::string& name) {
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path + 1, name.data(), name.size());
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

struct ControlServer::Client {
    Client(int its_fd, double its_deadline_s) : fd(its_fd), deadline_s(its_deadline_s) {}
    ~Client() { close(fd); }
    int fd;
    double deadline_s;
    std::string in;       // less than a request
    std::string out;      // what is still to be sent
    int descriptor = -1;  // with its first byte; the owner's
    bool closing = false;
};

Result<std::unique_ptr<ControlServer>> ControlServer::open(Controlled& controlled,
                                                           ControlLimits limits) {
    auto listening = listen_as(getpid());
    if (!listening) return std::unexpected(std::move(listening.error()));
    Descriptor listener(*listening), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) {
        return fail(errno, "no eventfd for the control socket: %s", errno_text(errno).c_str());
    }
    listener.lift();
    wake.lift();
    return std::unique_ptr<ControlServer>(
        new ControlServer(controlled, limits, std::move(listener), std::move(wake)));
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(Controlled& controlled,
                                                            ControlLimits limits) {
    auto opened = open(controlled, limits);
    if (!opened) return opened;
    SignalsBlocked inherited;  // the program's signals are for the program's threads
    try {
        (*opened)->thread_ = std::thread([raw = opened->get()] { raw->serve(); });
    } catch (const std::exception& trouble) {
        return fail(EAGAIN, "no thread for the control socket: %s", trouble.what());
    }
    pthread_setname_np((*opened)->thread_.native_handle(), "pooltier-ctl");
    return opened;
}

ControlServer::ControlServer(Controlled& controlled, ControlLimits limits, Descriptor listener,
                             Descriptor wake)
    : controlled_(controlled),
      limits_(limits),
      listener_(std::move(listener)),
      wake_(std::move(wake)) {
    polled_.reserve(2 + limits.clients);
    clients_.reserve(limits.clients);
}

ControlServer::~ControlServer() {
    if (thread_.joinable()) {
        stop();
        thread_.join();
    }
}

void ControlServer::abandon_in_child() {
    // The thread is not here, and may have been in the middle of changing clients_ when fork copied
    // it: both are forgotten, not destroyed. The clients' connections stay the parent's affair.
    std::construct_at(&thread_);
    std::construct_at(&clients_);
    listener_ = {};
    wake_ = {};
}

void ControlServer::stop() {
    stopping_ = true;
    if (!wake_.still_ours()) return;  // it looks in a second
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(wake_.get(), &one, sizeof one);
}

void ControlServer::serve(const std::function<double()>& besides) {
    bool go_on = true;
    while (go_on) {
        try {
            go_on = serve_once(besides);
        } catch (const std::exception&) {
            poll(nullptr, 0, 100);  // no memory: the program may need what there is
        }
    }
}

bool ControlServer::serve_once(const std::function<double()>& besides) {
    if (stopping_ || !wake_.still_ours() || !listener_.still_ours()) return false;
    double wait_s = controlled_.settle();
    wait_s = std::min(wait_s, besides ? besides() : look_again_s);
    polled_.assign({{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
    for (const auto& client : clients_) {
        polled_.push_back(
            {client->fd, static_cast<short>(client->out.empty() ? POLLIN : POLLOUT), 0});
        wait_s = std::min(wait_s, client->deadline_s - steady_now_s());
    }
    int wait_ms = std::isinf(wait_s) ? -1 : std::max(0, static_cast<int>(wait_s * 1000) + 1);
    int ready = poll(polled_.data(), polled_.size(), wait_ms);
    if (ready < 0) return errno == EINTR;
    if (polled_[0].revents) return false;
    double now_s = steady_now_s();
    for (size_t i = clients_.size(); i-- > 0;) {
        bool over = clients_[i]->deadline_s <= now_s;
        try {
            if (!over && polled_[2 + i].revents) {
                over = !attend(*clients_[i], polled_[2 + i].revents);
            }
        } catch (const std::exception&) {
            over = true;  // no memory for its answer
        }
        if (over) clients_.erase(clients_.begin() + static_cast<ptrdiff_t>(i));
    }
    if (polled_[1].revents) accept_one();
    return true;
}

void ControlServer::accept_one() {
    if (!listener_.still_ours()) return;
    int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        // Out of descriptors: the connection stays in the queue and poll would return at once.
        if (errno == EMFILE || errno == ENFILE) poll(nullptr, 0, 100);
        return;
    }
    auto client = std::make_unique<Client>(fd, steady_now_s() + limits_.request_s);
    if (auto allowed = may_ask(fd); !allowed) {
        client->out = encode_refusal(allowed.error()) + "\n";
    } else if (clients_.size() >= limits_.clients) {
        client->out = encode_refusal({EBUSY, text("process %d serves %zu clients already: ask "
                                                  "again",
                                                  getpid(), limits_.clients)}) +
                      "\n";
    } else {
        clients_.push_back(std::move(client));
        return;
    }
    // One line into an empty buffer: it fits, and nobody is waited for.
    [[maybe_unused]] ssize_t sent =
        send(fd, client->out.data(), client->out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool ControlServer::attend(Client& client, short events) {
    if (!client.out.empty()) {
        if (!(events & POLLOUT)) return false;
        ssize_t sent = send_with(client.fd, client.out, client.descriptor);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        if (sent > 0) client.descriptor = -1;
        client.out.erase(0, static_cast<size_t>(sent));
        if (!client.out.empty()) return true;
        if (client.closing) return false;
        client.deadline_s = steady_now_s() + limits_.request_s;
    } else {
        char piece[request_limit_bytes];
        ssize_t got = recv(client.fd, piece, sizeof piece, 0);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) return false;
        client.in.append(piece, static_cast<size_t>(got));
    }
    size_t end = client.in.find('\n');
    if (end == std::string::npos && client.in.size() <= request_limit_bytes) return true;
    if (end == std::string::npos || end > request_limit_bytes) {
        client.out =
            encode_refusal({E2BIG, text("a request is at most %zu bytes", request_limit_bytes)});
        client.closing = true;
    } else {
        std::string line = client.in.substr(0, end);
        client.in.erase(0, end + 1);
        std::tie(client.out, client.descriptor) = answer(line);
    }
    client.out += '\n';
    client.deadline_s = steady_now_s() + limits_.answer_s;
    return true;
}

std::pair<std::string, int> ControlServer::answer(std::string_view line) {
    auto request = decode_request(line);
    if (!request) return {encode_refusal(request.error()), -1};
    CarryOut act{controlled_};
    std::string said = std::visit(act, *request);
    return {std::move(said), act.descriptor};
}

}  // namespace libpool::tier
