// SPDX-License-Identifier: Apache-2.0
// One blocking HTTP connection to fmd's Unix socket, opened when first needed and kept. Speaks as
// much HTTP/1.1 as fmd answers with: a status line, headers, Content-Length.
//
// An answer may take answer_patience_s beyond what fmd was allowed to hold it back: a journal on a
// slow disk takes seconds, and who gives up on a change does not know whether it happened. So that
// nobody sits before a silent terminal meanwhile, a sentence says after notice_after_s what is
// waited for.
#pragma once

#include <string>

#include "core/result.h"

namespace cxlpool::fmctl {

struct Answer {
    int status = 0;
    std::string body;  // JSON
};

inline constexpr int answer_patience_s = 30;
inline constexpr int notice_after_s = 5;

class Client {
  public:
    // `notice`: where a sentence goes that is no error.
    explicit Client(std::string socket_path, void (*notice)(const std::string&) = nullptr)
        : path_(std::move(socket_path)), notice_(notice) {}
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // What fmd answered with 2xx, or its sentence as an Error; also an Error, with a sentence on
    // what to do, when fmd cannot be reached. `hold_s`: how long fmd may hold the answer back by
    // what the target says.
    Result<std::string> get(const std::string& target, int hold_s = 0);
    Result<std::string> post(const std::string& target, const std::string& body);
    Result<std::string> remove(const std::string& target);

    // From now on a wait for an answer ends, with an error, when nobody reads `fd` any more.
    void wait_while_read(int fd) { read_fd_ = fd; }

    const std::string& path() const { return path_; }

  private:
    Result<std::string> call(const std::string& method, const std::string& target,
                             const std::string& body, int hold_s);
    Result<void> connect();
    Result<void> send(const std::string& text);
    Result<void> await(int hold_s);
    Result<Answer> receive(int hold_s);
    Result<std::string> receive_more(int hold_s);
    std::string what_fmd_does() const;
    void disconnect();
    Error lost(const std::string& what);

    std::string path_;
    void (*notice_)(const std::string&);
    int fd_ = -1;
    int read_fd_ = -1;
    std::string pending_;  // received, not yet used
};

}  // namespace cxlpool::fmctl
