// SPDX-License-Identifier: Apache-2.0
// How often each page is touched, as far as one bit per window can tell. Pure but for a seed.
//
// A window of length W over a page with touch rate r shows "touched" with probability 1 - exp(-rW).
// One W saturates (all that is hotter than 1/W looks alike), so windows of many lengths are mixed,
// and each page has a belief about log2 of its rate: a normal distribution, cut to 1/16 … 3400
// touches per second. A window updates it by Bayes' rule; before that a small share of the belief
// goes back to the prior, since pages change their mind.
//
// One byte a page: 64 means, a quarter octave apart, times 4 spreads. There are so few beliefs that
// a window computes each one's two successors once and every page is a table look-up. What falls
// between two beliefs is rounded at random, so that many small steps add up. Rejected: counters per
// window length (a page that turns hot must first outlive its old windows), and 16 floats a page
// (exact, and ten times slower than taking the sample).
#pragma once

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

// Touches per second. lower and upper leave out 5 % of the belief each.
struct Rate {
    float lower = 0;
    float mean = 0;  // of the logarithm
    float upper = 0;
};

class Heat {
  public:
    explicit Heat(size_t pages, uint64_t seed = 1);

    // One window of `seconds` over all pages, seen[i] for page i.
    void observe(double seconds, std::span<const Seen> seen);

    Rate rate(size_t page) const;
    // Windows in which the page was present, up to 255.
    uint8_t windows(size_t page) const { return windows_[page]; }
    size_t size() const { return beliefs_.size(); }

  private:
    std::vector<uint8_t> beliefs_;
    std::vector<uint8_t> windows_;
    uint64_t random_;
};

}  // namespace libpool
