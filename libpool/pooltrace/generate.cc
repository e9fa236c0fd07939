// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pooltrace/random.h"

namespace libpool::tier::trace {

namespace {

constexpr KindInfo all_kinds[] = {
    {"hot", "a contiguous hot set that jumps once, half way", false},
    {"scattered", "the same, its pages all over", false},
    {"zipf", "zipf's law over permuted pages", false},
    {"pagerank", "PageRank over a CSR graph: streams of edges, gathers of ranks", false},
    {"scan", "a hot set, and a slow scan over all pages", false},
    {"uniform", "all pages alike", true},
    {"cyclic", "one hot page at a time, in a cycle over near + 1 pages", true},
    {"turns", "pairs of pages that take turns as the hot one, near room for half of them", true},
    {"bighot", "a hot set of twice the near size, all of it alike", true},
    {"phase", "pages that are quiet whenever windows of 1 to 1024 ms would look, and busy between",
     true},
    {"lure", "far pages that are hot until they were fetched, and then the near ones for long",
     true},
    {"pairs", "the same with each pair of pages at its own time, so that nothing changes at once",
     true},
    {"pursuit", "turns that last longer each time, as the stay does that we expect", true},
};

// Expected accesses of each page in one epoch; the counts are drawn from them.
class Rates {
  public:
    Rates(const GenerateOptions& options, Random& source)
        : o(options), random(source), mean(options.pages, 0), order(options.pages) {
        std::iota(order.begin(), order.end(), 0u);
    }

    const GenerateOptions& o;
    Random& random;
    std::vector<double> mean;
    std::vector<uint32_t> order;  // a permutation: where the page of rank i lies
    uint32_t next_turn = 0;       // turns: the epoch of the next change, and who is hot until then
    bool far_turn = false;
    uint32_t turns_taken = 0;
    std::vector<uint32_t> next_turns;  // pairs: the same of each
    std::vector<char> far_turns;

    double per_epoch() const { return o.accesses_per_s * o.epoch_s; }
    void shuffle() {
        for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    }
    void clear() { std::fill(mean.begin(), mean.end(), 0); }
    // Spreads `accesses` over the pages of ranks from…from+length-1 (round the end).
    void spread(uint32_t from, uint32_t length, double accesses) {
        for (uint32_t i = 0; i < length; ++i)
            mean[order[(from + i) % o.pages]] += accesses / length;
    }
};

uint32_t hot_pages(const GenerateOptions& o) {
    return std::clamp(uint32_t(std::lround(o.pages * o.hot_part)), 1u, o.pages);
}

void hot_set(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    uint32_t hot = hot_pages(o), jump = o.epochs / 2;
    if (epoch != 0 && epoch != jump) return;
    rates.clear();
    if (epoch == 0 && o.kind == "scattered") rates.shuffle();
    rates.spread(0, o.pages, rates.per_epoch() * (1 - o.hot_share));
    // Far by first touch, before and after.
    rates.spread(epoch < jump ? o.pages / 2 : o.pages / 4 * 3, hot,
                 rates.per_epoch() * o.hot_share);
}

void zipf(Rates& rates, uint32_t epoch) {
    if (epoch != 0) return;
    const GenerateOptions& o = rates.o;
    rates.shuffle();
    double sum = 0;
    for (uint32_t i = 0; i < o.pages; ++i) sum += std::pow(i + 1, -o.skew);
    for (uint32_t i = 0; i < o.pages; ++i)
        rates.mean[rates.order[i]] = rates.per_epoch() * std::pow(i + 1, -o.skew) / sum;
}

// Layout: 80 % edges, 10 % ranks, 10 % next ranks. An iteration takes period_epochs: it streams
// once over the edges and over the next ranks, and gathers ranks by in-degree, which follows a
// power law with the great nodes all over.
void pagerank(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    uint32_t ranks = std::max(1u, o.pages / 10), edges = o.pages - 2 * ranks;
    if (epoch == 0) {
        std::vector<uint32_t> place(ranks);
        std::iota(place.begin(), place.end(), 0u);
        for (size_t i = ranks; i > 1; --i) std::swap(place[i - 1], place[rates.random.below(i)]);
        rates.order = place;
    }
    rates.clear();
    double sum = 0;
    for (uint32_t i = 0; i < ranks; ++i) sum += std::pow(i + 1, -0.6);
    for (uint32_t i = 0; i < ranks; ++i)
        rates.mean[edges + rates.order[i]] += rates.per_epoch() * 0.6 * std::pow(i + 1, -0.6) / sum;
    auto stream = [&](uint32_t first, uint32_t length, double accesses) {
        uint32_t part = epoch % o.period_epochs;
        uint32_t from = uint32_t(uint64_t(length) * part / o.period_epochs);
        uint32_t to = uint32_t(uint64_t(length) * (part + 1) / o.period_epochs);
        for (uint32_t i = from; i < to; ++i) rates.mean[first + i] += accesses / (to - from);
    };
    stream(0, edges, rates.per_epoch() * 0.3);
    stream(edges + ranks, ranks, rates.per_epoch() * 0.1);
}

void scan(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    if (epoch == 0) rates.shuffle();
    rates.clear();
    rates.spread(0, hot_pages(o), rates.per_epoch() * o.hot_share);
    uint32_t step = std::max(1u, o.pages / (8 * o.period_epochs));
    for (uint32_t i = 0; i < step; ++i) {
        uint64_t page = (uint64_t(epoch) * step + i) % o.pages;
        rates.mean[page] += rates.per_epoch() * (1 - o.hot_share) / step;
    }
}

void uniform(Rates& rates, uint32_t epoch) {
    if (epoch == 0) rates.spread(0, rates.o.pages, rates.per_epoch());
}

void cyclic(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    uint32_t cycle = std::min(o.pages, o.near_pages + 1);
    rates.clear();
    rates.spread((epoch / o.period_epochs) % cycle, 1, rates.per_epoch());
}

// Epochs that a turn lasts.
uint32_t turn_length(Rates& rates, bool far_turn) {
    const GenerateOptions& o = rates.o;
    double length = 2 * o.period_epochs * (far_turn ? o.far_part : 1 - o.far_part);
    if (o.irregular) length *= rates.random.exponential();
    if (o.growth > 1) {
        const auto steps = uint32_t(std::log(64) / std::log(o.growth)) + 1;
        length *= std::pow(o.growth, rates.turns_taken++ / 2 % steps);
    }
    return std::max(1u, uint32_t(std::lround(length)));
}

// In order: n near pages (by first touch) and n far ones; which of the two is hot changes.
void turns(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    uint32_t half = std::min(o.near_pages, o.pages - o.near_pages);
    if (epoch == rates.next_turn) {
        rates.far_turn = !rates.far_turn;
        rates.next_turn += turn_length(rates, rates.far_turn);
    }
    rates.clear();
    rates.spread(rates.far_turn ? o.near_pages : o.near_pages - half, half, rates.per_epoch());
}

void pairs(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    const uint32_t half = std::min(o.near_pages, o.pages - o.near_pages);
    if (epoch == 0) {
        rates.next_turns.resize(half);
        rates.far_turns.resize(half);
        for (uint32_t& at : rates.next_turns)
            at = uint32_t(rates.random.below(2 * o.period_epochs));
    }
    rates.clear();
    for (uint32_t i = 0; i < half; ++i) {
        if (epoch >= rates.next_turns[i]) {
            rates.far_turns[i] = !rates.far_turns[i];
            rates.next_turns[i] = epoch + turn_length(rates, rates.far_turns[i]);
        }
        rates.spread(rates.far_turns[i] ? o.near_pages + i : o.near_pages - half + i, 1,
                     rates.per_epoch() / half);
    }
}

void bighot(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    if (epoch != 0) return;
    rates.shuffle();
    rates.spread(0, std::min(o.pages, 2 * o.near_pages), rates.per_epoch());
}

// Far pages are lightly used in the first epoch of each period, near ones heavily in all others:
// who looks only then sees far pages hot and near ones idle.
void phase(Rates& rates, uint32_t epoch) {
    const GenerateOptions& o = rates.o;
    rates.clear();
    if (epoch % o.period_epochs == 0) {
        rates.spread(o.near_pages, o.pages - o.near_pages, rates.per_epoch());
    } else {
        rates.spread(0, o.near_pages, rates.per_epoch());
    }
}

using Step = void (*)(Rates&, uint32_t);
Step step_of(std::string_view kind) {
    if (kind == "hot" || kind == "scattered") return hot_set;
    if (kind == "zipf") return zipf;
    if (kind == "pagerank") return pagerank;
    if (kind == "scan") return scan;
    if (kind == "uniform") return uniform;
    if (kind == "cyclic") return cyclic;
    if (kind == "turns" || kind == "lure" || kind == "pursuit") return turns;
    if (kind == "pairs") return pairs;
    if (kind == "bighot") return bighot;
    if (kind == "phase") return phase;
    return nullptr;
}

Result<void> check(const GenerateOptions& o) {
    const Limits limits;
    if (!step_of(o.kind)) {
        std::string names;
        for (const KindInfo& kind : all_kinds) names += " " + std::string(kind.name);
        return fail(EINVAL, "There is no kind of trace \"%s\"; there are:%s.", o.kind.c_str(),
                    names.c_str());
    }
    if (o.pages < 2 || o.pages > limits.pages)
        return fail(EINVAL, "A trace can have 2 to %llu pages, not %u.",
                    static_cast<unsigned long long>(limits.pages), o.pages);
    if (o.near_pages < 1 || o.near_pages >= o.pages)
        return fail(EINVAL,
                    "Near memory of %u pages does not fit a trace of %u pages: it must be 1 to %u.",
                    o.near_pages, o.pages, o.pages - 1);
    if (o.epochs < 1 || uint64_t(o.epochs) * o.pages > limits.cells)
        return fail(
            EINVAL,
            "%u epochs of %u pages: there must be 1 epoch, and pages × epochs at most %llu.",
            o.epochs, o.pages, static_cast<unsigned long long>(limits.cells));
    if (!(o.epoch_s >= 1e-6 && o.epoch_s <= 3600))
        return fail(EINVAL, "An epoch can last 1e-6 to 3600 s, not %g.", o.epoch_s);
    if (!(o.accesses_per_s >= 0 && o.accesses_per_s * o.epoch_s <= 4e9))
        return fail(EINVAL, "%g accesses/s: there can be 0 to 4e9 accesses in an epoch.",
                    o.accesses_per_s);
    if (!(o.hot_part > 0 && o.hot_part <= 1 && o.hot_share >= 0 && o.hot_share <= 1))
        return fail(EINVAL,
                    "The hot part (%g) and its share of accesses (%g) are shares from 0 to 1.",
                    o.hot_part, o.hot_share);
    if (!(o.skew >= 0 && o.skew <= 10))
        return fail(EINVAL, "A skew can be 0 to 10, not %g.", o.skew);
    if (!(o.far_part >= 0 && o.far_part <= 1))
        return fail(EINVAL, "The part of the time that far pages are hot is 0 to 1, not %g.",
                    o.far_part);
    if (!(o.growth >= 1 && o.growth <= 100))
        return fail(EINVAL, "Turns can grow by 1 to 100 times, not %g.", o.growth);
    if (o.period_epochs < 1) return fail(EINVAL, "A period has at least one epoch.");
    return {};
}

}  // namespace

std::span<const KindInfo> kinds() { return all_kinds; }

Result<Generated> generate(const GenerateOptions& options) {
    if (auto good = check(options); !good) return std::unexpected(good.error());
    Generated made;
    made.trace.pages = options.pages;
    made.trace.epoch_ns = uint64_t(std::llround(options.epoch_s * 1e9));
    made.trace.counts.resize(size_t(options.pages) * options.epochs);
    Random random(options.seed);
    Rates rates(options, random);
    Step step = step_of(options.kind);
    for (uint32_t e = 0; e < options.epochs; ++e) {
        step(rates, e);
        uint32_t* row = made.trace.counts.data() + size_t(e) * options.pages;
        for (uint32_t i = 0; i < options.pages; ++i)
            row[i] = std::max(random.poisson(rates.mean[i]), e == 0 ? 1u : 0u);
    }
    if (step == hot_set && options.epochs > 1) made.jumps.push_back(options.epochs / 2);
    return made;
}

bool is_adversary(std::string_view name) {
    return std::ranges::any_of(
        all_kinds, [&](const KindInfo& kind) { return kind.adversarial && kind.name == name; });
}

namespace {

// Groups of pages that are worth much: all that the program does goes to them, and a far access
// costs as much as in a slow pool. The far ones are hot for about as long as it takes us to fetch
// them, and the near ones, which had to give way, for several times as long: each time their way
// back is lost, and nothing was gained. Minutes of it, so that much is lost beside the allowance.
void lure(Random& random, double page_rate, Adversary& made) {
    GenerateOptions& o = made.options;
    o.near_pages = uint32_t(random.log_between(48, 160));
    o.pages = 2 * o.near_pages;
    o.epoch_s = 0.1;
    const double far_s = random.log_between(0.7, 3), near_s = far_s * random.log_between(4, 20);
    const double length_s = std::clamp(60 * (far_s + near_s), 200.0, 500.0);
    o.epochs = uint32_t(length_s / o.epoch_s);
    o.period_epochs = std::max(1u, uint32_t((far_s + near_s) / 2 / o.epoch_s));
    o.far_part = far_s / (far_s + near_s);
    o.irregular = random.below(2);
    if (o.kind == "pursuit") o.growth = random.between(1.1, 2);
    o.accesses_per_s = page_rate * random.between(0.5, 1) * o.near_pages;
    made.loss_ns = std::min(random.log_between(2500, 5000), 0.8e9 / o.accesses_per_s);
}

}  // namespace

Adversary adversary(uint64_t seed, std::string_view wanted, double page_rate) {
    std::vector<std::string_view> names;
    for (const KindInfo& kind : all_kinds)
        if (kind.adversarial) names.push_back(kind.name);
    Random random(seed);
    Adversary made;
    GenerateOptions& o = made.options;
    o.kind = wanted.empty() ? names[seed % names.size()] : wanted;
    o.seed = random.bits();
    // One slot is where two pages take turns; many are where there is much to lose.
    o.near_pages = uint32_t(random.log_between(1, 1500));
    o.pages = o.near_pages * 2 + uint32_t(random.below(2 * o.near_pages));
    made.loss_ns = random.log_between(100, 1000);
    double length_s = random.log_between(20, 600);
    // Changes from far below to far above the time in which a policy can react.
    double period_s = random.log_between(0.02, 10);
    o.period_epochs = 1 + uint32_t(random.log_between(1, 32));
    double cells = 1.5e6, most_epochs = std::min(8000.0, cells / o.pages);
    o.epoch_s = std::clamp(period_s / o.period_epochs, length_s / most_epochs, 2.0);
    o.epochs = std::max(60u, uint32_t(length_s / o.epoch_s));
    o.far_part = random.between(0.1, 0.6);
    o.irregular = random.below(2);
    double busy_pages = o.kind == "cyclic" ? 1 : o.near_pages;
    // The more a program does, the more there is to lose; it cannot wait longer than it runs.
    double accesses_per_s = random.below(3) ? 1e12 : random.log_between(1e3, 1e6);
    o.accesses_per_s = std::min({accesses_per_s, page_rate * busy_pages, 0.8e9 / made.loss_ns});
    if (o.kind == "lure" || o.kind == "pairs" || o.kind == "pursuit") {
        lure(random, page_rate, made);
    }
    made.generated = *generate(o);
    return made;
}

}  // namespace libpool::tier::trace
