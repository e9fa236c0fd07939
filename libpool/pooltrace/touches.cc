// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/touches.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pooltrace/random.h"

namespace libpool::tier::trace {

Touches::Touches(const Trace& trace, std::span<const uint32_t> births, uint64_t seed)
    : trace_(trace), births_(births), seed_(mix(seed)) {}

std::vector<Touches::Part> Touches::parts_of(const Reading& reading) const {
    std::vector<Part> parts;
    double length = trace_.epoch_s();
    double start = reading.start_s / length,
           end = (reading.start_s + reading.rungs_s.back()) / length;
    size_t look = 0;
    for (size_t e = size_t(start); e < trace_.epochs() && double(e) < end; ++e) {
        Part part{e, std::max(0.0, start - double(e)), std::min(1.0, end - double(e)), {}};
        auto edge = [&](double at) {
            double width = at - part.from;
            double hazard =
                width >= 1 ? std::numeric_limits<double>::infinity() : -std::log1p(-width);
            part.edges.push_back({Sight(look), at, hazard});
        };
        for (; look < reading.rungs_s.size(); ++look) {
            double at = (reading.start_s + reading.rungs_s[look]) / length - double(e);
            if (at > part.to) break;
            edge(at);
        }
        if (look < reading.rungs_s.size()) edge(part.to);
        parts.push_back(std::move(part));
    }
    return parts;
}

double Touches::time_of(size_t epoch, PageId page, uint32_t access) const {
    return unit(mix(mix(seed_ ^ (uint64_t(epoch) << 32 | page)) + access));
}

Sight Touches::few_seen(const Part& part, PageId page, uint32_t count) const {
    double first = 2;
    for (uint32_t i = 0; i < count; ++i) {
        double at = time_of(part.epoch, page, i);
        if (at > part.from) first = std::min(first, at);
    }
    for (const Part::Edge& edge : part.edges)
        if (first <= edge.at) return edge.look;
    return not_touched;
}

void Touches::look_in(const Part& part, Reading& reading) {
    std::span<const uint32_t> counts = trace_.epoch(part.epoch);
    double all = part.edges.back().hazard;
    size_t i = 0;
    for (const Run& run : reading.runs) {
        for (PageId page = run.first; page < run.end(); ++page, ++i) {
            uint32_t count = counts[page];
            if (count == 0 || reading.sights[i] != not_touched) continue;
            if (count <= few) {
                reading.sights[i] = few_seen(part, page, count);
                continue;
            }
            if (left_[i] < 0)
                left_[i] = float(-std::log(unit(mix(seed_ + cycle_ * 0x100000001b3) ^ mix(page))));
            double survives = double(left_[i]) / count;
            if (survives > all) {
                left_[i] = std::max(0.0f, float(left_[i] - count * all));
                continue;
            }
            auto edge = part.edges.begin();
            while (edge->hazard < survives) ++edge;
            reading.sights[i] = edge->look;
        }
    }
}

uint64_t Touches::look(Reading& reading, Cycle which) {
    cycle_ += which == Cycle::next;
    size_t armed = 0, now = size_t(reading.start_s / trace_.epoch_s());
    for (const Run& run : reading.runs) armed += run.pages;
    reading.sights.assign(armed, not_touched);
    left_.assign(armed, -1);
    size_t i = 0;
    for (const Run& run : reading.runs)
        for (PageId page = run.first; page < run.end(); ++page, ++i)
            if (births_[page] > now) reading.sights[i] = page_absent;
    for (const Part& part : parts_of(reading)) look_in(part, reading);
    return uint64_t(std::ranges::count_if(reading.sights, [](Sight s) { return s < rung_limit; }));
}

void Touches::count(Reading& reading, Cycle which) {
    cycle_ += which == Cycle::next;
    size_t armed = 0;
    for (const Run& run : reading.runs) armed += run.pages;
    reading.sights.assign(armed, not_touched);
    reading.counts.assign(armed, 0);
    for (const Part& part : parts_of(reading)) {
        std::span<const uint32_t> counts = trace_.epoch(part.epoch);
        size_t i = 0;
        for (const Run& run : reading.runs) {
            for (PageId page = run.first; page < run.end(); ++page, ++i) {
                uint32_t count = counts[page], seen = 0;
                if (count <= few) {
                    for (uint32_t k = 0; k < count; ++k) {
                        double at = time_of(part.epoch, page, k);
                        seen += at > part.from && at <= part.to;
                    }
                } else {  // its mean, rounded up or down by chance
                    double mean = count * (part.to - part.from);
                    seen = uint32_t(mean + 1 - unit(mix(seed_ ^ cycle_) ^ mix(page)));
                }
                reading.counts[i] += seen;
            }
        }
    }
    for (size_t i = 0; i < armed; ++i)
        if (reading.counts[i] > 0) reading.sights[i] = 0;
}

}  // namespace libpool::tier::trace
