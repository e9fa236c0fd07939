// SPDX-License-Identifier: Apache-2.0
// How often each page is touched, as far as one bit per window can tell. Pure.
//
// A window of length W over a page with touch rate r shows "touched" with probability 1 - exp(-rW).
// One W saturates (all that is hotter than 1/W looks alike), so windows of many lengths are mixed
// and each page holds a belief: a probability for each of 16 rates, 1/16 … 2048 per second, a factor
// of 2 apart, updated by Bayes' rule. Before each window a small share of the belief is given back to
// the prior: pages change their mind. Rejected: counters per window length (a page that turns hot
// has to outlive its old windows first), and a Gamma belief (cannot say "hot, nobody knows how hot").
// Costs 64 bytes a page.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace libpool {

// What a window says of a page.
enum class Seen : uint8_t {
    absent,   // no page there: says nothing
    idle,     // present and not touched
    touched,  // touched, or came into being
};

inline constexpr size_t rate_count = 16;
using Belief = std::array<float, rate_count>;

// Touches per second. lower and upper leave out 5 % of the belief each.
struct Rate {
    float lower = 0;
    float mean = 0;
    float upper = 0;
};

// The rate of step `index` of the scale, touches per second.
double rate_step(size_t index);

class Heat {
  public:
    explicit Heat(size_t pages);

    // One window of `seconds` over all pages, seen[i] for page i.
    void observe(double seconds, std::span<const Seen> seen);

    Rate rate(size_t page) const;
    // Windows in which the page was present, up to 255.
    uint8_t windows(size_t page) const { return windows_[page]; }
    size_t size() const { return beliefs_.size(); }
    const Belief& belief(size_t page) const { return beliefs_[page]; }

  private:
    std::vector<Belief> beliefs_;
    std::vector<uint8_t> windows_;
};

}  // namespace libpool
