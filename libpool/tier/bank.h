// SPDX-License-Identifier: Apache-2.0
// The do-no-harm account. It compares with the baseline: every page where it would be without us.
// A guest is near and its baseline is far: its touches earn. An exile is far and its baseline is
// near: its touches cost. While the balance is positive deviations may grow; below 0 they are taken
// back. docs/TIERING.md says which bound follows, and why.
//
// The balance rests on estimates that are right on average, without a margin. With one, taken
// first, doubt undid what was good: a few noisy readings made thousands of pages go back that had
// earned their place. So the margin stands in the bound instead, and is printed: the loss
// against the baseline is at most allowance + margin + what can be lost between two bookings, with
// probability 1 - delta, at any time. (That last part was held in reserve once: where bookings are
// rare it sent everything back for what might happen, though nothing had.)
//
// All amounts are seconds of the program's time. Pure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace libpool::tier {

// A sum of estimates, each right on average given all before, and how far off it may be: an
// empirical-Bernstein margin, uniform in time (Howard et al., Ann. Statist. 49(2), 2021, Theorem
// 4), with a union over the bookings, and the widest deviation seen in place of a range known
// before.
class Estimate {
  public:
    void add(double amount) {
        ++count_;
        sum_ += amount;
        double away = amount - expected_;
        squares_ += away * away;
        widest_ = std::max(widest_, std::abs(away));
        expected_ += (amount - expected_) / std::min(double(count_), 16.0);
    }
    double sum() const { return sum_; }
    double margin(double delta) const {
        double level = std::log(1 / delta) + 2 * std::log(double(count_) + 1);
        return std::sqrt(2 * squares_ * level) + widest_ * level / 3;
    }

  private:
    double sum_ = 0;
    double expected_ = 0;  // of the next one, from those before
    double squares_ = 0;
    double widest_ = 0;
    uint64_t count_ = 0;
};

class Bank {
  public:
    explicit Bank(double delta) : delta_(delta) {}

    // One interval's books.
    void book(double earned_s, double lost_s) {
        earned_.add(earned_s);
        lost_.add(lost_s);
        net_.add(earned_s - lost_s);
    }
    void spend(double moving_s) { spent_s_ += moving_s; }
    // ε times the program's time, minus what sampling and deciding took of it: what is not used is
    // there for moving, what was used beyond is a debt.
    void set_unused_budget(double seconds) { unused_s_ = seconds; }
    // For the way back of every deviation.
    void set_reserve(double seconds) { reserve_s_ = seconds; }
    void set_allowance(double seconds) { allowance_s_ = seconds; }

    // Two lower bounds of what was gained in all, each right with probability 1 - delta/2: of the
    // difference, which varies little when guests and exiles are alike; and of its parts, since
    // what was earned cannot be less than nothing.
    double certain_gain_s() const {
        double whole = net_.sum() - net_.margin(delta_ / 2);
        double parts = std::max(0.0, earned_.sum() - earned_.margin(delta_ / 4)) - lost_.sum() -
                       lost_.margin(delta_ / 4);
        return std::max(whole, parts);
    }
    double margin_s() const { return net_.sum() - certain_gain_s(); }
    double balance_s() const {
        return allowance_s_ + net_.sum() - spent_s_ + unused_s_ - reserve_s_;
    }

    double allowance_s() const { return allowance_s_; }
    double earned_s() const { return earned_.sum(); }
    double lost_s() const { return lost_.sum(); }
    double spent_s() const { return spent_s_; }
    double reserve_s() const { return reserve_s_; }
    double unused_s() const { return unused_s_; }

  private:
    double delta_;
    double allowance_s_ = 0;
    Estimate earned_, lost_, net_;
    double spent_s_ = 0, unused_s_ = 0, reserve_s_ = 0;
};

}  // namespace libpool::tier
