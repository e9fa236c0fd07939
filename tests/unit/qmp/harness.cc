// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>

namespace cxlpool {

using Clock = std::chrono::steady_clock;

TempDir::TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "cxlpool-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder can be made");
    path_ = name;
}

Child::Child(const std::vector<std::string>& argv) {
    int to[2], from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) {
        throw std::runtime_error("no pipes");
    }
    std::vector<char*> arguments;
    for (const std::string& argument : argv)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    const int error =
        ::posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    in_ = to[1];
    out_ = from[0];
    if (error != 0) throw std::runtime_error("cannot start " + argv[0]);
}

Child::~Child() {
    kill_and_reap();
    ::close(in_);
    ::close(out_);
}

void Child::signal(int number) const { ::kill(pid_, number); }

void Child::kill_and_reap() {
    if (pid_ < 0) return;
    signal(SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

bool Child::is_dead() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == pid_;
}

std::string Child::tell(const std::string& line) {
    const std::string text = line + "\n";
    if (::write(in_, text.data(), text.size()) < 0) throw std::runtime_error("the child is gone");
    return hear();
}

std::string Child::hear() {
    std::string line;
    for (char byte = 0; ::read(out_, &byte, 1) == 1 && byte != '\n';) line += byte;
    return line;
}

std::string make_pool_file(const std::string& path, Bytes size) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) {
        throw std::runtime_error("cannot make " + path);
    }
    ::close(fd);
    return path;
}

FabricFile one_host(const TempDir& folder) {
    FabricFile file;
    file.devices.push_back(
        {mem0, 1, 1 * GiB, 2 * MiB, make_pool_file(folder / "mem0.pool", 1 * GiB)});
    file.hosts.push_back({h1,
                          folder / "fmd.sock",
                          {},
                          folder / "qmp.sock",
                          {{mem0, "/machine/peripheral/cxl-mem0"}}});
    return file;
}

Running::Running(const FabricFile& file) {
    QmpClient::Limits limits;
    limits.handshake = std::chrono::milliseconds(1000);
    limits.command = std::chrono::milliseconds(1000);
    limits.first_retry = std::chrono::milliseconds(10);
    limits.last_retry = std::chrono::milliseconds(50);
    limits.line_bytes = 64 << 10;
    backend = std::make_unique<QmpBackend>(
        io, file, [this](const std::string& sentence) { warnings.push_back(sentence); }, limits);
}

Running::~Running() { backend.reset(); }

void Running::run() {
    backend->run([this](Input input) { inputs.push_back(std::move(input)); });
}

bool Running::until(const std::function<bool()>& holds) {
    const auto end = Clock::now() + std::chrono::seconds(60);
    const auto work = boost::asio::make_work_guard(io);
    io.restart();
    while (!holds()) {
        if (Clock::now() > end) return false;
        io.run_one_for(std::chrono::milliseconds(20));
    }
    return true;
}

void Running::pass(std::chrono::milliseconds time) {
    const auto end = Clock::now() + time;
    until([&] { return Clock::now() > end; });
}

OpId Running::start(CommandBody body) {
    const OpId op{++last_op_};
    const std::size_t before = inputs.size();
    backend->start_command({op, std::move(body)});
    if (inputs.size() != before) throw std::logic_error("completed from inside start_command()");
    return op;
}

Result<Answer> Running::done(CommandBody body) {
    const OpId op = start(std::move(body));
    Result<Answer> result = fail(Code::timeout, "never completed");
    until([&] {
        for (const Completion& completion : all<Completion>()) {
            if (completion.op != op) continue;
            result = completion.result;
            return true;
        }
        return false;
    });
    return result;
}

std::vector<Presence> Running::ask(const std::vector<Range>& ranges) {
    const auto result = done(AskPresence{h1, mem0, ranges});
    if (!result) return {};
    return std::get<std::vector<Presence>>(*result);
}

std::string Running::instance_up(std::size_t number) {
    if (!until([&] { return all<HostUp>().size() >= number; })) return "never up";
    return all<HostUp>()[number - 1].instance;
}

}  // namespace cxlpool
