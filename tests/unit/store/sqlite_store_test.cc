// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "temp_dir.h"

namespace cxlpool {
namespace {

Record gone(std::uint64_t seq) { return {Seq{seq}, 5, GrantGone{GrantId{seq}}}; }

std::string refusal(const std::filesystem::path& path) {
    const auto store = SqliteStore::open(path);
    return store ? "opened" : store.error().message;
}

void sql(const std::filesystem::path& path, const char* text) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, text, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
}

class Sqlite : public testing::Test {
  protected:
    TempDir folder_;
    std::filesystem::path path_ = folder_ / "state.db";
    std::string state_ = path_.string();

    std::unique_ptr<SqliteStore> open() {
        auto store = SqliteStore::open(path_);
        EXPECT_TRUE(store) << store.error().message;
        return store ? std::move(*store) : nullptr;
    }
};

TEST_F(Sqlite, KeepsRecordsInOrderOverLives) {
    EXPECT_TRUE(open()->load()->empty());
    ASSERT_TRUE(open()->append({gone(1), gone(2)}));
    {
        auto store = open();
        ASSERT_TRUE(store->append({gone(3)}));
        ASSERT_TRUE(store->append({}));
    }
    EXPECT_EQ(*open()->load(), (std::vector{gone(1), gone(2), gone(3)}));
}

TEST_F(Sqlite, IsPrivate) {
    std::ofstream(path_).close();
    std::filesystem::permissions(path_, std::filesystem::perms(0644));
    auto store = open();
    ASSERT_TRUE(store->append({gone(1)}));
    for (const char* name : {"state.db", "state.db-wal", "state.db.lock"}) {
        struct stat status = {};
        ASSERT_EQ(::stat((folder_ / name).c_str(), &status), 0) << name;
        EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
    }
}

TEST_F(Sqlite, ServesOneFmdAtATime) {
    auto store = open();
    const std::string busy = "state " + state_ + " is in use by another fmd (pid " +
                             std::to_string(::getpid()) +
                             "): stop that one first, or give this one a state of its own";
    EXPECT_EQ(refusal(path_), busy);
    // Another name for it is not another state.
    std::filesystem::create_symlink(path_, folder_ / "alias.db");
    EXPECT_EQ(refusal(folder_ / "alias.db"), busy);
    store.reset();
    EXPECT_EQ(refusal(path_), "opened");
}

TEST_F(Sqlite, IsFreeAgainWhenItsHolderIsKilled) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        auto store = SqliteStore::open(path_);
        const bool ok = store && (*store)->append({gone(1)});
        if (ok && ::write(ready[1], "r", 1) == 1) ::pause();
        ::_exit(1);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_NE(refusal(path_).find("(pid " + std::to_string(child) + ")"), std::string::npos);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(open()->load()->size(), 1u);
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_F(Sqlite, RefusesANewerSchema) {
    open();
    sql(path_, "PRAGMA user_version=7");
    EXPECT_EQ(refusal(path_), state_ +
                                  " was written by a newer cxlpool (schema 7, this one reads 1): "
                                  "start that version, or name another file");
}

TEST_F(Sqlite, RefusesAFileOfAnotherProgramAndLeavesItAsItIs) {
    sql(path_, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    const auto before = std::filesystem::last_write_time(path_);
    EXPECT_EQ(refusal(path_), state_ +
                                  " is a SQLite file of another program, not a state of cxlpool: "
                                  "name another file");
    EXPECT_EQ(std::filesystem::last_write_time(path_), before);

    std::ofstream(path_, std::ios::trunc) << std::string(5000, 'z');
    EXPECT_EQ(refusal(path_),
              "state " + state_ +
                  " is damaged (file is not a database): put back a copy of it, or power off every "
                  "host, move it away and start anew; fmd then scrubs all memory before any offer");
}

TEST_F(Sqlite, RefusesDamage) {
    {
        auto store = open();
        for (std::uint64_t seq = 1; seq <= 200; ++seq) ASSERT_TRUE(store->append({gone(seq)}));
    }
    // Every page in turn is overwritten in its middle: refused, or it hit nothing but free space.
    int refused = 0;
    const auto size = std::filesystem::file_size(path_);
    ASSERT_GT(size, 3u * 4096);
    for (std::uintmax_t page = 0; page < size / 4096; ++page) {
        TempDir copy;
        std::filesystem::copy_file(path_, copy / "state.db");
        std::fstream file(copy / "state.db", std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(page * 4096 + 2000));
        file << std::string(1500, '\xa5');
        file.close();
        auto store = SqliteStore::open(copy / "state.db");
        std::string why = store ? "" : store.error().message;
        if (store) {
            const auto records = (*store)->load();
            if (records) {
                EXPECT_EQ(records->size(), 200u) << "page " << page;
                continue;
            }
            why = records.error().message;
        }
        EXPECT_NE(why.find("is damaged ("), std::string::npos) << why;
        ++refused;
    }
    EXPECT_GE(refused, 3);
}

TEST_F(Sqlite, ARecordOfAnotherVersionIsDamageAndNamesItsNumber) {
    ASSERT_TRUE(open()->append({gone(1), gone(2)}));
    sql(path_,
        "UPDATE journal SET record = replace(record, 'grant-gone', 'grant-odd') WHERE seq = 2");
    const auto records = open()->load();
    ASSERT_FALSE(records);
    EXPECT_NE(records.error().message.find("record 2 of the journal cannot be read: its kind "
                                           "'grant-odd' is not known"),
              std::string::npos)
        << records.error().message;
}

TEST_F(Sqlite, ALostRowIsDamage) {
    ASSERT_TRUE(open()->append({gone(1), gone(2), gone(3)}));
    sql(path_, "DELETE FROM journal WHERE seq = 2");
    const auto records = open()->load();
    ASSERT_FALSE(records);
    EXPECT_NE(records.error().message.find("record 2 of the journal is missing"),
              std::string::npos);
}

TEST_F(Sqlite, NamesWhatCannotBeOpened) {
    EXPECT_EQ(refusal(folder_ / "no/such/state.db"),
              "state " + (folder_ / "no/such/state.db").string() + " cannot be locked: " +
                  (folder_ / "no/such/state.db.lock").string() + ": No such file or directory");
    std::filesystem::create_directory(path_);
    EXPECT_EQ(refusal(path_), "state " + state_ + " cannot be opened: Is a directory");
}

TEST_F(Sqlite, AFileThatMayNotGrowIsSaidWithItsErrno) {
    const pid_t child = ::fork();
    if (child == 0) {
        // The kernel's own refusal of a write, as a quota or a full disk gives it.
        auto store = SqliteStore::open(path_);
        if (!store) ::_exit(2);
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{20'000, 20'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        std::uint64_t seq = 1;
        Result<void> ok = {};
        while (ok && seq < 100) ok = (*store)->append({gone(seq++)});
        const std::string why = ok ? "never failed" : ok.error().message;
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const bool named = why.find(state_) != std::string::npos &&
                           why.find("errno 27: File too large") != std::string::npos;
        if (!named) std::fprintf(stderr, "%s\n", why.c_str());
        ::_exit(named ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    // What was acknowledged before is there.
    const auto records = open()->load();
    ASSERT_TRUE(records) << records.error().message;
    EXPECT_GT(records->size(), 0u);
}

}  // namespace
}  // namespace cxlpool
