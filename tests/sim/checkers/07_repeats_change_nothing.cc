// SPDX-License-Identifier: Apache-2.0
// Invariant 7: late, repeated or reordered completions change nothing they should not. The run lets
// the manager do what is due first; then it must answer a repeated completion, or a report that it
// refuses, with nothing.
#include <fmt/format.h>

#include "checkers/checkers.h"
#include "core/describe.h"

namespace cxlpool::fmsim {
namespace {

class RepeatsChangeNothing : public Checker {
  public:
    explicit RepeatsChangeNothing(const Truth& truth) : Checker(7, truth) {}

    void repeated(const Input& input, const Output& output, bool pool_changed) override {
        if (!pool_changed && output.records.empty() && output.commands.empty() &&
            output.replies.empty()) {
            return;
        }
        violated(fmt::format("heard again: {}; it led to: {}", describe(input), describe(output)));
    }
};

}  // namespace

std::unique_ptr<Checker> repeats_change_nothing(const Truth& truth) {
    return std::make_unique<RepeatsChangeNothing>(truth);
}

}  // namespace cxlpool::fmsim
