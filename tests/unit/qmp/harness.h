// SPDX-License-Identifier: Apache-2.0
// What the tests of the qmp backend need around it: a folder, a child process, a backend that is
// run and listened to.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/qmp/backend.h"

namespace cxlpool {

class TempDir {
  public:
    TempDir();
    ~TempDir() { std::filesystem::remove_all(path_); }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    std::string operator/(const char* name) const { return (path_ / name).string(); }

  private:
    std::filesystem::path path_;
};

// A program that ends with its owner.
class Child {
  public:
    explicit Child(const std::vector<std::string>& argv);
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }
    void signal(int number) const;
    void kill_and_reap();
    bool is_dead() const;  // not reaped: it stays a zombie
    // Writes a line to its stdin, and reads one of its stdout.
    std::string tell(const std::string& line);
    std::string hear();

  private:
    pid_t pid_ = -1;
    int in_ = -1, out_ = -1;
};

// A sparse file of zeros, 0600.
std::string make_pool_file(const std::string& path, Bytes size);

// A fabric file of one device of 1 GiB and one host.
FabricFile one_host(const TempDir& folder);

// A backend on an io_context of its own, with all that came out of it.
class Running {
  public:
    explicit Running(const FabricFile& file);
    ~Running();

    Result<Fabric> open() { return backend->open(); }
    void run();
    // Lets the loop run until it holds, or for a minute.
    bool until(const std::function<bool()>& holds);
    void pass(std::chrono::milliseconds time);

    OpId start(CommandBody body);
    // The completion of an op, waited for.
    Result<Answer> done(CommandBody body);
    std::vector<Presence> ask(const std::vector<Range>& ranges);
    std::string instance_up(std::size_t number = 1);  // of the number-th HostUp, waited for

    template <class T>
    std::vector<T> all() const {
        std::vector<T> found;
        for (const Input& input : inputs) {
            if (const T* one = std::get_if<T>(&input)) found.push_back(*one);
        }
        return found;
    }

    boost::asio::io_context io;
    std::vector<std::string> warnings;
    std::vector<Input> inputs;
    std::unique_ptr<QmpBackend> backend;

  private:
    std::uint64_t last_op_ = 0;
};

inline const HostName h1("h1");
inline const DeviceName mem0("mem0");

}  // namespace cxlpool
