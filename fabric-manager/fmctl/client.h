// SPDX-License-Identifier: Apache-2.0
// One blocking HTTP connection to fmd's Unix socket, opened when first needed and kept. Speaks as
// much HTTP/1.1 as fmd answers with: a status line, headers, Content-Length.
#pragma once

#include <string>

#include "core/result.h"

namespace cxlpool::fmctl {

struct Answer {
    int status = 0;
    std::string body;  // JSON
};

class Client {
  public:
    explicit Client(std::string socket_path) : path_(std::move(socket_path)) {}
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // What fmd answered with 2xx, or its sentence as an Error; also an Error, with a sentence on
    // what to do, when fmd cannot be reached. `patience_s`: how long the answer may take.
    Result<std::string> get(const std::string& target, int patience_s = 30);
    Result<std::string> post(const std::string& target, const std::string& body);
    Result<std::string> remove(const std::string& target);

    const std::string& path() const { return path_; }

  private:
    Result<std::string> call(const std::string& method, const std::string& target,
                             const std::string& body, int patience_s);
    Result<void> connect();
    Result<void> send(const std::string& text);
    Result<Answer> receive();
    Result<std::string> receive_more();
    Error lost(const std::string& what);

    std::string path_;
    int fd_ = -1;
    std::string pending_;  // received, not yet used
};

}  // namespace cxlpool::fmctl
