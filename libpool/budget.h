// SPDX-License-Identifier: Apache-2.0
// How soon the next window may open, so that sampling costs no more CPU than allowed. Pure: time
// comes in. Windows are paid for after the fact, and the next one waits until the debt is gone.
// What is granted (the first windows of a range, from which it is learnt) is not charged to the
// budget, but even then no moment costs more than `most` of a CPU.
#pragma once

#include <algorithm>

namespace libpool {

class Budget {
  public:
    explicit Budget(double share_of_cpu)
        : share_(share_of_cpu), most_(std::max(share_of_cpu, most)) {}

    void pass(double seconds) {
        account_s_ = std::min(account_s_ + seconds * share_, 0.0);
        moment_s_ = std::min(moment_s_ + seconds * most_, 0.0);
    }
    void spend(double cpu_seconds) {
        account_s_ -= cpu_seconds;
        moment_s_ -= cpu_seconds;
    }
    void grant(double cpu_seconds) { account_s_ += cpu_seconds; }

    // Until both accounts are out of debt.
    double wait_s() const { return std::max({-account_s_ / share_, -moment_s_ / most_, 0.0}); }

    static constexpr double most = 0.5;

  private:
    double share_;
    double most_;
    double account_s_ = 0;
    double moment_s_ = 0;
};

}  // namespace libpool
