// SPDX-License-Identifier: Apache-2.0
#include "pooltier/trace_writer.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace pooltier {

using libpool::text;
using libpool::tier::Place;

namespace {

// "7 0*300 2": runs of the same word.
class Words {
  public:
    void add(const std::string& word) {
        if (word == last_) {
            ++repeat_;
            return;
        }
        end();
        last_ = word;
        repeat_ = 1;
    }
    std::string take() {
        end();
        return std::move(out_);
    }

  private:
    void end() {
        if (repeat_ == 0) return;
        out_ += " " + last_;
        if (repeat_ > 1) out_ += "*" + std::to_string(repeat_);
        repeat_ = 0;
    }
    std::string out_, last_;
    uint64_t repeat_ = 0;
};

}  // namespace

// Half a count to begin with, which is rounding to the nearest.
TraceWriter::TraceWriter(uint64_t pages, double epoch_s)
    : epoch_s_(epoch_s), carried_(pages, 0.5f) {}

std::string TraceWriter::head(std::span<const Place> places, const std::string& whose) const {
    Words home;
    for (size_t page = 0; page < carried_.size(); ++page) {
        Place place = page < places.size() ? places[page] : Place::nowhere;
        home.add(place == Place::near ? "n" : place == Place::far ? "f" : "-");
    }
    return text("pooltrace 1\npages %zu\nepoch_ns %.0f\nhome%s\n", carried_.size(), epoch_s_ * 1e9,
                home.take().c_str()) +
           "# recorded from process " + whose +
           ": counts are estimates of a sampler, not counted accesses; home is where pages were "
           "when the recording began\n";
}

std::string TraceWriter::epoch(std::span<const float> rates) {
    constexpr double count_limit = 4e9;  // fits 32 bits
    Words counts;
    for (size_t page = 0; page < carried_.size() && page < rates.size(); ++page) {
        double due = std::clamp(double(rates[page]) * epoch_s_, 0.0, count_limit) + carried_[page];
        double whole = std::floor(due);
        carried_[page] = static_cast<float>(due - whole);
        counts.add(text("%.0f", whole));
    }
    std::string line = "epoch" + counts.take();
    // What is missing at the end is 0.
    size_t last = line.rfind(' ');
    if (last != line.npos && (line.substr(last) == " 0" || line.substr(last).starts_with(" 0*"))) {
        line.resize(last);
    }
    ++epochs_;
    return line + "\n";
}

std::string TraceWriter::end() const { return "end " + std::to_string(epochs_) + "\n"; }

}  // namespace pooltier
