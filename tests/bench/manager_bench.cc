// SPDX-License-Identifier: Apache-2.0
// What one decision and one commit cost: the manager's step with many grants, placement in a
// fragmented pool, and an append to the journal beside a bare write + fdatasync on the same disk.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/manager.h"
#include "core/placement.h"
#include "store/sqlite_store.h"

namespace cxlpool {
namespace {

const DeviceName mem0{"mem0"};
const HostName h1{"h1"};

Record next(const Pool& pool, RecordBody body) {
    return {Seq{pool.last_seq.value + 1}, 0, std::move(body)};
}

void must(const Result<void>& result) {
    if (!result) std::abort();
}

// A pool in which every other 2 MiB is granted: the worst case for looking for gaps.
Pool fragmented(Bytes grants) {
    Pool pool;
    must(apply(pool, next(pool, DeviceAdopted{mem0, 1, grants * 4 * MiB, 2 * MiB, "x"})));
    for (Bytes i = 0; i < grants; ++i)
        must(apply(pool, next(pool, GrantCreated{GrantId{i + 1},
                                                 GrantName("g" + std::to_string(i)),
                                                 {h1},
                                                 Use::dax,
                                                 {{mem0, {i * 4 * MiB, 2 * MiB}}}})));
    return pool;
}

void place_in_fragments(benchmark::State& state) {
    const Pool pool = fragmented(static_cast<Bytes>(state.range(0)));
    PlaceRequest request;
    request.devices = {mem0};
    request.size = 2 * MiB;
    request.unit = 2 * MiB;
    request.use = Use::dax;
    for (auto _ : state) benchmark::DoNotOptimize(place(pool, request));
}
BENCHMARK(place_in_fragments)->Arg(16)->Arg(128)->Arg(1024);

void tick_with_grants(benchmark::State& state) {
    Fabric fabric;
    const auto grants = static_cast<Bytes>(state.range(0));
    fabric.devices[mem0] = {1, grants * 4 * MiB, 2 * MiB, "x"};
    fabric.hosts[h1].devices = {mem0};
    Manager manager(fabric, Limits{});
    Pool pool;
    const auto replay = [&](RecordBody body) {
        const Record record = next(pool, std::move(body));
        must(apply(pool, record));
        must(manager.replay(record));
    };
    replay(DeviceAdopted{mem0, 1, grants * 4 * MiB, 2 * MiB, "x"});
    for (Bytes i = 0; i < grants; ++i)
        replay(GrantCreated{GrantId{i + 1},
                            GrantName("g" + std::to_string(i)),
                            {h1},
                            Use::dax,
                            {{mem0, {i * 4 * MiB, 2 * MiB}}}});
    if (!manager.start({0, 0})) std::abort();
    Millis now = 0;
    for (auto _ : state) benchmark::DoNotOptimize(manager.step(Tick{}, {++now, now * 1000}));
}
BENCHMARK(tick_with_grants)->Arg(16)->Arg(128)->Arg(512);

struct TempFolder {
    std::filesystem::path path;
    TempFolder() {
        std::string name = (std::filesystem::current_path() / "bench-XXXXXX").string();
        if (!mkdtemp(name.data())) std::abort();
        path = name;
    }
    ~TempFolder() { std::filesystem::remove_all(path); }
};

void journal_append(benchmark::State& state) {
    const TempFolder folder;
    auto store = SqliteStore::open((folder.path / "state.db").string());
    if (!store || !(*store)->load()) std::abort();
    std::uint64_t seq = 0;
    for (auto _ : state) {
        std::vector<Record> batch;
        for (int i = 0; i < state.range(0); ++i)
            batch.push_back({Seq{++seq}, 0, OfferTaken{GrantId{1}, h1, mem0}});
        must((*store)->append(batch));
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(seq));
}
BENCHMARK(journal_append)->Arg(1)->Arg(64)->UseRealTime()->Unit(benchmark::kMicrosecond);

void bare_write_and_fdatasync(benchmark::State& state) {
    const TempFolder folder;
    const int fd =
        open((folder.path / "log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) std::abort();
    const std::string line(200, 'x');
    for (auto _ : state)
        if (write(fd, line.data(), line.size()) < 0 || fdatasync(fd) != 0) std::abort();
    close(fd);
}
BENCHMARK(bare_write_and_fdatasync)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cxlpool
