// SPDX-License-Identifier: Apache-2.0
// The exact sampler of experiments: counts that an emulator's plugin keeps (truth.h).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "steady.h"
#include "tier/presence.h"
#include "tier/samplers.h"
#include "tier/truth.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

class TruthMapping {
  public:
    TruthMapping(const void* base, uint64_t bytes) : base_(base), bytes_(bytes) {}
    TruthMapping(TruthMapping&& other) noexcept
        : base_(std::exchange(other.base_, nullptr)), bytes_(other.bytes_) {}
    ~TruthMapping() {
        if (base_) munmap(const_cast<void*>(base_), bytes_);
    }

    // Another process or machine writes all of it: each value is read once, and judged then.
    uint64_t first_address() const {
        return __atomic_load_n(&header()->first_address, __ATOMIC_RELAXED);
    }
    uint64_t pages() const {
        uint64_t room = (bytes_ - truth_counts_offset) / sizeof(uint32_t);
        return std::min(room, __atomic_load_n(&header()->pages, __ATOMIC_RELAXED));
    }
    uint32_t count(uint64_t page) const {
        auto counts = static_cast<const char*>(base_) + truth_counts_offset;
        return __atomic_load_n(reinterpret_cast<const uint32_t*>(counts) + page, __ATOMIC_RELAXED);
    }

  private:
    const TruthHeader* header() const { return static_cast<const TruthHeader*>(base_); }
    const void* base_;
    uint64_t bytes_;
};

Result<TruthMapping> map_truth(const std::string& path) {
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat is {};
    if (!file || fstat(file.get(), &is) != 0) {
        return fail(errno, "counters %s: %s", path.c_str(), errno_text(errno).c_str());
    }
    auto bytes = uint64_t(is.st_size);
    if (bytes < truth_counts_offset) {
        return fail(EINVAL, "counters %s: %llu bytes are too few", path.c_str(),
                    static_cast<unsigned long long>(bytes));
    }
    void* base = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(), 0);
    if (base == MAP_FAILED) {
        return fail(errno, "counters %s: %s", path.c_str(), errno_text(errno).c_str());
    }
    TruthMapping mapping(base, bytes);
    if (std::memcmp(base, truth_magic, sizeof truth_magic - 1) != 0) {
        return fail(EINVAL, "counters %s: it does not begin with \"%s\"", path.c_str(),
                    truth_magic);
    }
    return mapping;
}

class TruthSampler final : public Sampler {
  public:
    TruthSampler(std::string path, TruthMapping truth, Presence presence, Clock* clock)
        : path_(std::move(path)),
          truth_(std::move(truth)),
          presence_(std::move(presence)),
          clock_(clock) {}

    Result<void> add(const AddressRun&) override { return {}; }
    void remove(const AddressRun&) override {}

    Result<void> arm(std::span<const AddressRun> runs) override {
        auto sights = presence_.arm(runs);
        if (!sights) return std::unexpected(sights.error());
        runs_.assign(runs.begin(), runs.end());
        sights_ = std::move(*sights);
        read(before_);
        for (size_t i = 0; i < sights_.size(); ++i) {
            if (!before_[i].known) sights_[i] = page_absent;
        }
        armed_at_s_ = now_s();
        return {};
    }

    Result<Look> look(Sight rung) override {
        Look look;
        look.at_s = now_s() - armed_at_s_;
        read(now_);
        if (auto seen = presence_.look(runs_, sights_, look.huge); !seen) {
            return std::unexpected(seen.error());
        }
        look.counts.resize(sights_.size());
        for (size_t i = 0; i < sights_.size(); ++i) {
            if (!before_[i].known || !now_[i].known) continue;
            look.counts[i] = now_[i].count - before_[i].count;
            if (look.counts[i] && sights_[i] == not_touched) sights_[i] = rung;
        }
        look.sights = sights_;
        return look;
    }

    void disarm() override { runs_.clear(), sights_.clear(); }

    SamplerInfo info() const override {
        return {"truth", "exact counts from " + path_, {}, false, true};
    }

  private:
    struct Count {
        uint32_t count = 0;
        bool known = false;
    };

    double now_s() const { return clock_ ? clock_->now_s() : steady_now_s(); }

    void read(std::vector<Count>& counts) const {
        counts.assign(sights_.size(), {});
        uint64_t first = truth_.first_address(), pages = truth_.pages();
        if (first == 0) return;
        size_t at = 0;
        for (const AddressRun& run : runs_) {
            for (uint64_t i = 0; i < run.pages; ++i, ++at) {
                uint64_t address = run.start + i * page_bytes;
                if (address < first || (address - first) / page_bytes >= pages) continue;
                counts[at] = {truth_.count((address - first) / page_bytes), true};
            }
        }
    }

    std::string path_;
    TruthMapping truth_;
    Presence presence_;
    Clock* clock_;
    std::vector<AddressRun> runs_;
    std::vector<Sight> sights_;
    std::vector<Count> before_, now_;
    double armed_at_s_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sampler>> make_truth_sampler(const std::string& path, pid_t pid,
                                                    Clock* clock) {
    auto truth = map_truth(path);
    if (!truth) return std::unexpected(truth.error());
    auto pagemap = open_pagemap(pid);
    if (!pagemap) return std::unexpected(pagemap.error());
    return std::make_unique<TruthSampler>(path, std::move(*truth), Presence(std::move(*pagemap)),
                                          clock);
}

}  // namespace libpool::tier
