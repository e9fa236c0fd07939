// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "store/codec.h"

namespace cxlpool {
namespace {

constexpr int kApplicationId = 0x63786c70;  // "cxlp"

std::unexpected<Error> file_error(const std::filesystem::path& path, const char* verb, int error) {
    return fail(
        error == EACCES || error == EPERM ? Code::denied : Code::storage,
        fmt::format("state {} cannot be {}: {}", path.string(), verb, std::strerror(error)));
}

// What SQLite keeps of a state, or has left behind of it.
void remove_files(const std::filesystem::path& state) {
    for (const char* suffix : {"", "-wal", "-journal"}) {
        ::unlink((state.string() + suffix).c_str());
    }
}

// Makes the file before SQLite does: 0600 from its first instant, and its name durable.
Result<void> make_private_file(const std::filesystem::path& path, bool& made) {
    constexpr int flags = O_RDWR | O_CREAT | O_CLOEXEC;
    int fd = ::open(path.c_str(), flags | O_EXCL, 0600);
    made = fd >= 0;
    if (!made && errno == EEXIST) fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return file_error(path, "opened", errno);
    struct stat status = {};
    int error = 0;
    if (::fstat(fd, &status) != 0) error = errno;
    if (error == 0 && !S_ISREG(status.st_mode)) error = EINVAL;
    if (error == 0 && (status.st_mode & 077) != 0 && ::fchmod(fd, 0600) != 0) error = errno;
    ::close(fd);  // before SQLite opens it: see StateLock
    if (error != 0) return file_error(path, "made private (0600)", error);

    const std::filesystem::path folder = path.parent_path();
    const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) return file_error(folder, "opened", errno);
    error = ::fsync(folder_fd) != 0 ? errno : 0;
    ::close(folder_fd);
    if (error != 0) return file_error(folder, "flushed", error);
    return {};
}

bool is_damage(int code) {
    const int primary = code & 0xff;
    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

Error damaged(const std::filesystem::path& path, const std::string& what) {
    return {Code::storage,
            fmt::format("state {} is damaged ({}): put back a copy of it, or power off every host, "
                        "move it away and start anew; fmd then scrubs all memory before any offer",
                        path.string(), what)};
}

}  // namespace

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::filesystem::path& path,
                                                       const std::string& vfs) {
    // One state has one name, so that it has one lock.
    std::error_code error;
    const std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
    if (error) return file_error(path, "opened", error.value());
    auto lock = StateLock::take(resolved);
    if (!lock) return std::unexpected(lock.error());

    std::unique_ptr<SqliteStore> store(new SqliteStore(resolved, std::move(*lock)));
    if (auto ok = make_private_file(resolved, store->made_); !ok) {
        return std::unexpected(ok.error());
    }
    if (auto ok = store->connect(vfs); !ok) return std::unexpected(ok.error());
    if (auto ok = store->identify(); !ok) return std::unexpected(ok.error());
    if (auto ok = store->configure(); !ok) return std::unexpected(ok.error());
    if (auto ok = store->check_integrity(); !ok) return std::unexpected(ok.error());
    store->lock_.keep();
    store->made_ = false;
    return store;
}

SqliteStore::SqliteStore(std::filesystem::path path, StateLock lock)
    : path_(std::move(path)), lock_(std::move(lock)) {}

SqliteStore::~SqliteStore() {
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
    if (made_) remove_files(path_);  // while it is still locked
}

Result<void> SqliteStore::connect(const std::string& vfs) {
    const int code = sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE,
                                     vfs.empty() ? nullptr : vfs.c_str());
    if (code != SQLITE_OK) return std::unexpected(read_error());
    sqlite3_extended_result_codes(db_, 1);
    // Before the first access: SQLite then keeps its own lock for life as well (against other
    // programs), and the index of the WAL in memory.
    return run("PRAGMA locking_mode=EXCLUSIVE");
}

// Reads only: what is not ours must stay as it is.
Result<void> SqliteStore::identify() {
    auto application = ask("PRAGMA application_id");
    if (!application) return std::unexpected(application.error());
    auto version = ask("PRAGMA user_version");
    if (!version) return std::unexpected(version.error());
    auto tables = ask("SELECT count(*) FROM sqlite_schema");
    if (!tables) return std::unexpected(tables.error());

    // Empty, or made by a life that ended before its schema was committed.
    fresh_ = *application == "0" && *version == "0" && *tables == "0";
    if (fresh_) return {};
    if (*application != std::to_string(kApplicationId)) {
        return fail(Code::storage,
                    fmt::format("{} is a SQLite file of another program, not a state of "
                                "cxlpool: name another file",
                                path_.string()));
    }
    const int schema = std::stoi(*version);
    if (schema > kSchema) {
        return fail(Code::storage,
                    fmt::format("{} was written by a newer cxlpool (schema {}, this one reads {}): "
                                "start that version, or name another file",
                                path_.string(), schema, kSchema));
    }
    if (schema != kSchema) {
        return std::unexpected(damaged(path_, fmt::format("schema {} never was", schema)));
    }
    return {};
}

Result<void> SqliteStore::configure() {
    auto mode = ask("PRAGMA journal_mode=WAL");
    if (!mode) return std::unexpected(mode.error());
    if (*mode != "wal") {
        return fail(Code::storage, fmt::format("state {} cannot have a write-ahead log there (mode "
                                               "'{}'): put it on a local disk",
                                               path_.string(), *mode));
    }
    if (auto ok = run("PRAGMA synchronous=FULL"); !ok) return ok;
    if (!fresh_) return {};
    return run(
        fmt::format("BEGIN IMMEDIATE;"
                    "CREATE TABLE journal(seq INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;"
                    "PRAGMA application_id={}; PRAGMA user_version={}; COMMIT",
                    kApplicationId, kSchema));
}

Result<void> SqliteStore::check_integrity() {
    auto verdict = ask("PRAGMA integrity_check(1)");
    if (!verdict) return std::unexpected(verdict.error());
    if (*verdict != "ok") return std::unexpected(damaged(path_, *verdict));
    if (sqlite3_prepare_v2(db_, "INSERT INTO journal(seq, record) VALUES(?1, ?2)", -1, &insert_,
                           nullptr) != SQLITE_OK) {
        return std::unexpected(read_error());
    }
    return {};
}

Result<std::vector<Record>> SqliteStore::load() {
    if (poison_) return std::unexpected(*poison_);
    sqlite3_stmt* query = nullptr;
    std::vector<Record> records;
    int code = sqlite3_prepare_v2(db_, "SELECT seq, record FROM journal ORDER BY seq", -1, &query,
                                  nullptr);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(query);
        if (code != SQLITE_ROW) break;
        const Seq seq{static_cast<std::uint64_t>(sqlite3_column_int64(query, 0))};
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(query, 1));
        const auto length = static_cast<std::size_t>(sqlite3_column_bytes(query, 1));
        auto record = decode(seq, {text ? text : "", text ? length : 0});
        if (record && seq.value == records.size() + 1) {
            records.push_back(std::move(*record));
            continue;
        }
        sqlite3_finalize(query);
        return std::unexpected(damaged(
            path_, record ? fmt::format("record {} of the journal is missing", records.size() + 1)
                          : record.error().message));
    }
    const bool whole = code == SQLITE_DONE;
    const Error error = whole ? Error{} : read_error();
    sqlite3_finalize(query);
    if (!whole) return std::unexpected(error);
    return records;
}

Result<void> SqliteStore::append(const std::vector<Record>& records) {
    if (poison_) return std::unexpected(*poison_);
    if (records.empty()) return {};
    if (commit(records) != SQLITE_OK) return poison();
    return {};
}

// One transaction, thus one flush however many the records.
int SqliteStore::commit(const std::vector<Record>& records) {
    int code = sqlite3_exec(db_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return code;
    for (const Record& record : records) {
        const std::string text = encode(record);
        sqlite3_bind_int64(insert_, 1, static_cast<sqlite3_int64>(record.seq.value));
        sqlite3_bind_text(insert_, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
        code = sqlite3_step(insert_);
        // Its own answer repeats the error of the step, whose text is still to be read.
        if (code == SQLITE_DONE) sqlite3_reset(insert_);
        if (code != SQLITE_DONE) return code;
    }
    return sqlite3_exec(db_, "COMMIT", nullptr, nullptr, nullptr);
}

Result<void> SqliteStore::run(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return std::unexpected(read_error());
}

Result<std::string> SqliteStore::ask(const std::string& sql) {
    sqlite3_stmt* query = nullptr;
    std::optional<std::string> answer;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &query, nullptr) == SQLITE_OK &&
        sqlite3_step(query) == SQLITE_ROW) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(query, 0));
        answer = text ? text : "";
    }
    const Error error = answer ? Error{} : read_error();
    sqlite3_finalize(query);
    if (!answer) return std::unexpected(error);
    return *answer;
}

Error SqliteStore::read_error() const {
    const int code = sqlite3_extended_errcode(db_);
    const char* text = sqlite3_errmsg(db_);
    if (is_damage(code)) return damaged(path_, text);
    if ((code & 0xff) == SQLITE_BUSY) {
        return {Code::conflict,
                fmt::format("state {} is held open by another program: close it first",
                            path_.string())};
    }
    return {Code::storage, fmt::format("state {} cannot be opened: {}", path_.string(), cause())};
}

// What the kernel said about the last failed call on the log or the database, or 0.
int SqliteStore::last_errno() const {
    for (const int which : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
        sqlite3_file* file = nullptr;
        int error = 0;
        if (sqlite3_file_control(db_, "main", which, &file) == SQLITE_OK && file &&
            file->pMethods) {
            file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
        }
        if (error != 0) return error;
    }
    return sqlite3_system_errno(db_);
}

// "disk I/O error (SQLite 778, errno 28: No space left on device)"
std::string SqliteStore::cause() const {
    const int code = sqlite3_extended_errcode(db_);
    int system = last_errno();
    if (code == SQLITE_FULL) system = ENOSPC;  // SQLite keeps no errno for this one
    return fmt::format("{} (SQLite {}{})", sqlite3_errmsg(db_), code,
                       system ? fmt::format(", errno {}: {}", system, std::strerror(system)) : "");
}

// After a failed flush the kernel calls the pages clean though the disk never got them: a second
// try would succeed and mean nothing. So nothing is written any more, not even a checkpoint at
// closing.
std::unexpected<Error> SqliteStore::poison() {
    poison_ = Error{Code::storage,
                    fmt::format("state {} could not be written: {}; nothing is acknowledged any "
                                "more: mend the disk, then start fmd again",
                                path_.string(), cause())};
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    return std::unexpected(*poison_);
}

}  // namespace cxlpool
