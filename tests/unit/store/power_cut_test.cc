// SPDX-License-Identifier: Apache-2.0
// The power goes at each effect on the disk in turn. After the next boot every acknowledged record
// is there, and of the commit that was under way all or nothing.
#include <gtest/gtest.h>

#include <fstream>

#include "faulty_disk.h"
#include "store/sqlite_store.h"
#include "temp_dir.h"

namespace cxlpool {
namespace {

using Journal = std::vector<Record>;

struct Life {
    Journal acknowledged;
    Journal under_way;  // what the journal is if the commit that failed is there after all
    int effects = 0;
};

struct Workload {
    int commits;
    std::size_t most_records;
    std::size_t reason_bytes;

    Life run(const std::filesystem::path& state, FaultyDisk& disk, std::mt19937 random) const {
        Life life;
        {
            auto store = SqliteStore::open(state, disk.name());
            std::uint64_t seq = 0;
            for (int i = 1; store && i <= commits; ++i) {
                Journal records;
                for (auto n = random() % most_records + 1; n > 0; --n) {
                    records.push_back(
                        {Seq{++seq}, i, GrantFailed{GrantId{seq}, std::string(reason_bytes, 'x')}});
                }
                life.under_way = life.acknowledged;
                life.under_way.insert(life.under_way.end(), records.begin(), records.end());
                if (!(*store)->append(records)) break;
                life.acknowledged = life.under_way;
            }
            life.effects = disk.effects();
        }
        return life;
    }
};

void check_cut(const Workload& workload, int cut, unsigned seed) {
    SCOPED_TRACE("cut at effect " + std::to_string(cut) + ", seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TempDir before, after;
    FaultyDisk disk;
    disk.cut_power_at(cut);
    const Life life = workload.run(before / "state.db", disk, std::mt19937(7));
    disk.restore(after.path(), random);

    auto store = SqliteStore::open(after / "state.db");
    ASSERT_TRUE(store) << store.error().message;
    const auto found = (*store)->load();
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(*found == life.acknowledged || *found == life.under_way)
        << found->size() << " records found, " << life.acknowledged.size() << " acknowledged, "
        << life.under_way.size() << " with the commit under way";
    // And it is a working journal again.
    EXPECT_TRUE((*store)->append({{Seq{found->size() + 1}, 0, GrantGone{GrantId{1}}}}));
}

TEST(PowerCut, AtEveryEffectOfAShortLife) {
    const Workload workload{.commits = 8, .most_records = 4, .reason_bytes = 700};
    TempDir folder;
    FaultyDisk disk;
    const int effects = workload.run(folder / "state.db", disk, std::mt19937(7)).effects;
    ASSERT_GT(effects, 30);
    for (int cut = 1; cut <= effects + 1; ++cut) {
        for (unsigned seed = 1; seed <= 3; ++seed) check_cut(workload, cut, seed);
        if (HasFailure()) return;
    }
}

// Large records, so that the log is copied back into the database several times.
TEST(PowerCut, AroundCheckpoints) {
    const Workload workload{.commits = 14, .most_records = 8, .reason_bytes = 200'000};
    TempDir folder;
    FaultyDisk disk;
    const int effects = workload.run(folder / "state.db", disk, std::mt19937(7)).effects;
    std::mt19937 random(42);
    for (unsigned i = 0; i < 30 && !HasFailure(); ++i) {
        check_cut(workload, static_cast<int>(random() % static_cast<unsigned>(effects)) + 1, i);
    }
}

// The disk is cruel enough: without the last sync of a commit its record is lost for some seed, so
// a store that acknowledged before that sync would fail the tests above.
TEST(PowerCut, ACommitIsLostWithoutItsSync) {
    const Workload workload{.commits = 1, .most_records = 1, .reason_bytes = 10};
    TempDir folder, again;
    FaultyDisk whole, cut;
    int opened = 0;
    {
        auto store = SqliteStore::open(folder / "state.db", whole.name());
        ASSERT_TRUE(store) << store.error().message;
        opened = whole.effects();
        ASSERT_TRUE((*store)->append({{Seq{1}, 1, GrantGone{GrantId{1}}}}));
        ASSERT_GT(whole.effects(), opened + 1);
        cut.cut_power_at(whole.effects());
    }
    ASSERT_TRUE(workload.run(again / "state.db", cut, std::mt19937(7)).acknowledged.empty());
    bool lost = false;
    for (unsigned seed = 1; seed <= 20 && !lost; ++seed) {
        std::mt19937 random(seed);
        TempDir boot;
        cut.restore(boot.path(), random);
        auto found = SqliteStore::open(boot / "state.db");
        ASSERT_TRUE(found) << found.error().message;
        lost = (*found)->load()->empty();
    }
    EXPECT_TRUE(lost);
}

TEST(FullDisk, PoisonsTheStoreAndIsNeverRetried) {
    TempDir folder;
    FaultyDisk disk;
    auto store = SqliteStore::open(folder / "state.db", disk.name());
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->append({{Seq{1}, 0, GrantGone{GrantId{1}}}}));
    disk.fail_once_at(disk.effects() + 1, SQLITE_FULL);
    const auto full = (*store)->append({{Seq{2}, 0, GrantGone{GrantId{2}}}});
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, Code::storage);
    EXPECT_EQ(
        full.error().message,
        "state " + (folder / "state.db").string() +
            " could not be written: database or disk is full (SQLite 13, errno 28: No space "
            "left on device); nothing is acknowledged any more: mend the disk, then start fmd "
            "again");
    // The disk has room again, but nothing is written any more: not by an append, not by closing.
    const int effects = disk.effects();
    EXPECT_EQ((*store)->append({{Seq{2}, 0, GrantGone{GrantId{2}}}}).error(), full.error());
    EXPECT_EQ((*store)->load().error(), full.error());
    store->reset();
    EXPECT_EQ(disk.effects(), effects);
    auto again = SqliteStore::open(folder / "state.db");
    ASSERT_TRUE(again);
    EXPECT_EQ((*again)->load()->size(), 1u);
}

// As a first start of fmd on a disk that is full: refused at any effect, it leaves nothing behind.
TEST(FullDisk, AStateThatCannotBeMadeLeavesNoFile) {
    int effects = 0;
    {
        TempDir folder;
        FaultyDisk disk;
        ASSERT_TRUE(SqliteStore::open(folder / "state.db", disk.name()));
        effects = disk.effects();
    }
    int refused = 0;
    for (int full_at = 1; full_at <= effects; ++full_at) {
        TempDir folder;
        FaultyDisk disk;
        disk.fail_once_at(full_at, SQLITE_FULL);
        if (SqliteStore::open(folder / "state.db", disk.name())) continue;
        ++refused;
        EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "full at effect " << full_at;
    }
    EXPECT_GT(refused, 0);
}

// One that was there before, if only as an empty file, is not ours to remove.
TEST(FullDisk, AnEmptyFileThatWasThereStays) {
    TempDir folder;
    const auto state = folder / "state.db";
    std::ofstream(state).close();
    FaultyDisk disk;
    disk.fail_once_at(1, SQLITE_FULL);
    ASSERT_FALSE(SqliteStore::open(state, disk.name()));
    EXPECT_TRUE(std::filesystem::exists(state));
}

TEST(FailedSync, PoisonsTheStore) {
    TempDir folder;
    FaultyDisk disk;
    auto store = SqliteStore::open(folder / "state.db", disk.name());
    ASSERT_TRUE(store);
    const int before = disk.effects();
    ASSERT_TRUE((*store)->append({{Seq{1}, 0, GrantGone{GrantId{1}}}}));
    const int effects = disk.effects() - before;
    ASSERT_GT(effects, 1);
    disk.fail_once_at(disk.effects() + 3, SQLITE_IOERR_FSYNC);
    for (std::uint64_t seq = 2; seq < 5; ++seq) {
        const auto ok = (*store)->append({{Seq{seq}, 0, GrantGone{GrantId{seq}}}});
        if (ok) continue;
        EXPECT_FALSE((*store)->append({{Seq{seq}, 0, GrantGone{GrantId{seq}}}}));
        return;
    }
    FAIL() << "no sync ever failed";
}

TEST(GroupCommit, ManyRecordsAreOneSync) {
    TempDir folder;
    FaultyDisk disk;
    auto store = SqliteStore::open(folder / "state.db", disk.name());
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->append({{Seq{1}, 0, GrantGone{GrantId{1}}}}));
    const int before = disk.syncs();
    std::vector<Record> many;
    for (std::uint64_t seq = 2; seq < 1002; ++seq)
        many.push_back({Seq{seq}, 0, GrantGone{GrantId{seq}}});
    ASSERT_TRUE((*store)->append(many));
    EXPECT_EQ(disk.syncs() - before, 1);
}

}  // namespace
}  // namespace cxlpool
