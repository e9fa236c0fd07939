// SPDX-License-Identifier: Apache-2.0
// How long a program has kept its ways and is expected to keep them; and after a change, how long
// it is looked at more closely and how soon what was believed of it is forgotten. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace libpool::tier {

class Steadiness {
  public:
    // busy_s: how long it is looked at more closely after a change.
    explicit Steadiness(double busy_s) : busy_s_(busy_s) {}

    // Nothing is known of it yet. passing: what the first cycles show is not to be relied on.
    void begin(double now_s, bool passing) {
        changed_s_ = now_s;
        busy_until_s_ = now_s + busy_s_;
        forget_more_ = passing ? changed_readings : 0;
    }
    // What was believed is worth little, though it has not changed.
    void learn_anew(double now_s) {
        busy_until_s_ = now_s + busy_s_;
        forget_more_ = changed_readings;
    }
    void change(double now_s) {
        ++changes_;
        lasted_s_ = now_s - changed_s_;
        changed_s_ = now_s;
        learn_anew(now_s);
    }

    // What has lasted will last; after a change, half as long as the last time.
    double stay_s(double now_s) const {
        const double least_s = changes_ == 0 ? stay_unknown_s : stay_min_s;
        return std::clamp(std::max(now_s - changed_s_, lasted_s_ / 2), least_s, stay_max_s);
    }
    double since_change_s(double now_s) const { return now_s - changed_s_; }
    bool busy(double now_s) const { return now_s < busy_until_s_; }
    bool learning() const { return forget_more_ > 0; }
    uint64_t changes() const { return changes_; }

    // Share of a belief that returns to the prior with the reading at hand, which saw such a part
    // of all there is: a change is forgotten over some full cycles.
    double forgetting(double part) {
        const double forgetting = forget_more_ > changed_readings - 1 ? forgetting_changed
                                  : forget_more_ > 0                  ? forgetting_after
                                                                      : forgetting_usual;
        forget_more_ = std::max(0.0, forget_more_ - part);
        return forgetting;
    }

    // Changes that are believed on weak grounds, or are looked at on credit, are few: so many in a
    // row, then one in alarm_again_s. Told of each reading.
    void allow_alarms(double now_s) {
        alarms_ = std::min(most_alarms, alarms_ + (now_s - alarms_at_s_) / alarm_again_s);
        alarms_at_s_ = now_s;
    }
    bool may_alarm() const { return alarms_ >= 1; }
    void alarm() { --alarms_; }

  private:
    // Until it has changed for the first time, two minutes: dear moves (5 ms a page to an emulated
    // extent) would never pay else.
    static constexpr double stay_min_s = 5, stay_unknown_s = 120, stay_max_s = 300;
    static constexpr double forgetting_usual = 0.001;
    static constexpr double forgetting_changed = 0.85, forgetting_after = 0.2;
    static constexpr double changed_readings = 2;
    static constexpr double most_alarms = 2, alarm_again_s = 60;

    double busy_s_;
    double changed_s_ = 0;  // or begun
    double lasted_s_ = 0;   // between the last two changes
    double busy_until_s_ = 0;
    double forget_more_ = 0;  // full cycles that are still to be read with a short memory
    double alarms_ = most_alarms, alarms_at_s_ = 0;
    uint64_t changes_ = 0;
};

}  // namespace libpool::tier
