// SPDX-License-Identifier: Apache-2.0
// How soon the next window may open, so that sampling costs no more CPU than allowed. Pure: time comes
// in. Two accounts that refill with time and are spent by what windows cost: a patient one at the
// budget's rate, with a reserve so that a program that has just begun learns quickly, and a strict one
// at three times the rate and nearly no reserve, which bounds any moment.
#pragma once

#include <algorithm>
#include <cstdint>

namespace libpool {

class Budget {
  public:
    explicit Budget(double share_of_cpu) : share_(share_of_cpu) {}

    void pass(double seconds) {
        patient_s_ = std::min(patient_s_ + seconds * share_, patient_reserve_s);
        strict_s_ = std::min(strict_s_ + seconds * share_ * burst, strict_reserve_s);
    }
    void spend(double cpu_seconds) {
        patient_s_ -= cpu_seconds;
        strict_s_ -= cpu_seconds;
    }
    // Until both accounts are out of debt.
    double wait_s() const {
        return std::max({-patient_s_ / share_, -strict_s_ / (share_ * burst), 0.0});
    }

    static constexpr double burst = 3;
    static constexpr double patient_reserve_s = 0.3;
    static constexpr double strict_reserve_s = 0.02;

  private:
    double share_;
    double patient_s_ = patient_reserve_s;
    double strict_s_ = strict_reserve_s;
};

}  // namespace libpool
