// SPDX-License-Identifier: Apache-2.0
#include "fire.h"

#include <numaif.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "checks.h"
#include "run/ending.h"
#include "run/own_files.h"
#include "run/ranges.h"
#include "run/remap.h"
#include "signals.h"
#include "steady.h"
#include "tier/sampler_choice.h"

namespace fire {

using namespace libpool::tier;
using libpool::run::RangeBook;

constexpr int no_sampler_code = 77;  // as of a test that is skipped

struct Fire::Parts {
    std::unique_ptr<Sampler> sampler;
    RangeBook book;
    std::mt19937_64 random{1};
};

Fire::Fire(const std::string& name, Start start) : parts_(std::make_unique<Parts>()) {
    libpool::run::is_tracked = true;
    libpool::SignalsBlocked blocked;
    thread_ = std::thread([this, name] {
        auto own = libpool::run::own_descriptors();
        must(own.has_value(), own ? "" : own.error().sentence);
        auto choice = choose_sampler(name);
        if (!choice) {
            std::printf("skipped: %s\n", choice.error().sentence.c_str());
            std::fflush(stdout);
            std::_Exit(no_sampler_code);
        }
        parts_->sampler = std::move(choice->sampler);
        run();
    });
    if (start == Start::waited_for) wait_for_cycles(1);
}

Fire::~Fire() { stop(); }

Counts Fire::stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return counts_;
}

void Fire::forget() {
    thread_.detach();
    (void)parts_.release();
}

void Fire::wait_for_cycles(uint64_t more) const {
    uint64_t wanted = cycles_ + more;
    for (int i = 0; i < 20000 && cycles_ < wanted; ++i) usleep(1000);
    must(cycles_ >= wanted, "the sampler's thread stands still");
}

void Fire::run() {
    auto& [sampler, book, random] = *parts_;
    constexpr uint64_t window_pages = 512, move_pages_limit = 64;
    const uint64_t nodes_here = access("/sys/devices/system/node/node1", F_OK) == 0 ? 2 : 1;
    auto window = [&](const AddressRun& range, uint64_t limit) {
        uint64_t pages = std::min(range.pages, 1 + random() % limit);
        return AddressRun{range.start + random() % (range.pages - pages + 1) * 4096, pages};
    };
    libpool::run::Ending ending;
    const libpool::run::Ending::Own counted(ending);
    while (!stop_) {
        // Whose first thread has ended by itself (stress-ng has children that call exit, the system
        // call) waits for us alone.
        ending.look(libpool::steady_now_s());
        if (ending.is_over()) _exit(ending.first_threads_code());
        auto mappings = read_mappings(0);
        must(mappings.has_value(), mappings ? "" : mappings.error().sentence);
        auto change =
            book.update(libpool::run::select(*mappings, {}, 16384, machine_bytes()).mappings);
        for (const AddressRun& range : change.removed) sampler->remove(range);
        for (const AddressRun& range : change.added) {
            ++counts_.added;
            if (sampler->add(range)) continue;
            ++counts_.refused;
            book.drop(range.start);
        }
        auto ranges = book.ranges();
        for (int cycle = 0; cycle < 8 && !ranges.empty() && !stop_; ++cycle) {
            std::vector<AddressRun> runs;
            for (const AddressRun& range : ranges) {
                if (random() % 4 != 0) runs.push_back(window(range, window_pages));
            }
            if (auto armed = sampler->arm(runs); !armed) must(false, armed.error().sentence);
            for (Sight rung = 0; rung < 2; ++rung) {
                usleep(random() % 300);
                auto look = sampler->look(rung);
                if (!look) must(false, look.error().sentence);
                if (rung == 0) continue;
                counts_.absent += size_t(std::ranges::count(look->sights, page_absent));
                counts_.idle += size_t(std::ranges::count(look->sights, not_touched));
                counts_.touched += size_t(std::ranges::count_if(
                    look->sights, [](Sight sight) { return sight < rung_limit; }));
            }
            if (random() % 4 != 0) sampler->disarm();
            {
                AddressRun run = window(ranges[random() % ranges.size()], move_pages_limit);
                std::vector<void*> pages;
                for (uint64_t p = 0; p < run.pages; ++p) {
                    pages.push_back(reinterpret_cast<void*>(run.start + p * 4096));
                }
                std::vector<int> nodes(pages.size(), int(random() % nodes_here)),
                    status(pages.size(), -1);
                std::vector<int> before(pages.size(), -1);
                move_pages(0, pages.size(), pages.data(), nullptr, before.data(), 0);
                move_pages(0, pages.size(), pages.data(), nodes.data(), status.data(),
                           MPOL_MF_MOVE);
                for (size_t i = 0; i < pages.size(); ++i) {
                    counts_.moved +=
                        status[i] == nodes[0] && before[i] >= 0 && before[i] != nodes[0];
                }
            }
            ++counts_.cycles;
            ++cycles_;
        }
        if (ranges.empty()) ++cycles_;
    }
    sampler.reset();
}

}  // namespace fire
