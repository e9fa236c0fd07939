// SPDX-License-Identifier: Apache-2.0
// The journal in one SQLite file (WAL, synchronous=FULL), one row a record. Schema 1, application
// id "cxlp", user_version = schema:
//   CREATE TABLE journal(seq INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
// `record` is the text of store/codec.h. The file is 0600 and belongs to one fmd at a time.
// Everything is checked when it is opened; a file that is damaged, newer or not ours is refused and
// left as it is. A state that cannot be created leaves no file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "store/state_lock.h"
#include "store/store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cxlpool {

class SqliteStore final : public Store {
  public:
    static constexpr int kSchema = 1;

    // Opens the state, or creates it when absent (its folder must exist). `vfs` names the SQLite
    // VFS: empty is the machine's own; tests give one that loses power.
    static Result<std::unique_ptr<SqliteStore>> open(const std::filesystem::path& path,
                                                     const std::string& vfs = "");
    ~SqliteStore() override;
    SqliteStore(const SqliteStore&) = delete;
    SqliteStore& operator=(const SqliteStore&) = delete;

    Result<std::vector<Record>> load() override;
    Result<void> append(const std::vector<Record>& records) override;

  private:
    SqliteStore(std::filesystem::path path, StateLock lock);
    Result<void> connect(const std::string& vfs);
    Result<void> identify();
    Result<void> configure();
    Result<void> check_integrity();
    int commit(const std::vector<Record>& records);
    Result<void> run(const std::string& sql);
    Result<std::string> ask(const std::string& sql);  // the one value that it answers

    Error read_error() const;
    std::string cause() const;
    int last_errno() const;
    std::unexpected<Error> poison();

    std::filesystem::path path_;
    StateLock lock_;
    sqlite3* db_ = nullptr;
    sqlite3_stmt* insert_ = nullptr;
    bool fresh_ = false;  // has no schema yet
    bool made_ = false;   // the file, by an open() that has not succeeded yet
    std::optional<Error> poison_;
};

}  // namespace cxlpool
