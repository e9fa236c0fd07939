// SPDX-License-Identifier: Apache-2.0
// The files of the kernel (sysfs, procfs) below a root folder: "" on a machine, a recorded tree in
// tests. Every read has a limit, because nothing that a device or another process wrote may make
// the agent grow without bound.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace poold {

using libpool::Error;
using libpool::fail;
using libpool::Result;
using libpool::text;

class Tree {
  public:
    static constexpr size_t read_limit_bytes = 1 << 20;
    static constexpr size_t list_limit = 65536;

    explicit Tree(std::string root = "") : root_(std::move(root)) {}

    const std::string& root() const { return root_; }
    bool recorded() const { return !root_.empty(); }
    std::string at(const std::string& path) const { return root_ + path; }

    // The content without trailing white space. The errno of open() or read() in Error::code;
    // EFBIG when the file is longer than the limit.
    Result<std::string> read(const std::string& path, size_t limit_bytes = read_limit_bytes) const;
    // As read(), or "" on any failure: for facts that may be absent.
    std::string read_or_empty(const std::string& path) const;
    // One write(2) of the whole text, as sysfs wants it.
    Result<void> write(const std::string& path, const std::string& content) const;
    // Entries of a folder, sorted; empty when it is not there.
    std::vector<std::string> list(const std::string& path) const;
    // Last component of what a symbolic link points to, or "".
    std::string link_name(const std::string& path) const;
    bool exists(const std::string& path) const;

  private:
    std::string root_;
};

// The whole word as a number: decimal, or hexadecimal with 0x. EINVAL otherwise.
Result<uint64_t> parse_number(std::string_view word);
// As parse_number, for hexadecimal without 0x.
Result<uint64_t> parse_hex(std::string_view word);
// Separated by spaces, tabs and line ends.
std::vector<std::string> words_of(const std::string& content);
std::vector<std::string> lines_of(const std::string& content);
// Printable ASCII only, cut to a limit: for text that came from elsewhere and goes into messages.
std::string tame(std::string_view content, size_t limit_bytes = 200);
// "256 MiB", "4 KiB", "1.5 GiB".
std::string describe_bytes(uint64_t bytes);

}  // namespace poold
