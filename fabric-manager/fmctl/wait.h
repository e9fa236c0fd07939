// SPDX-License-Identifier: Apache-2.0
// --wait: long-polls fmd until a grant is at rest or patience ends. On a terminal one line on
// stderr tells what it waits for; Ctrl-C says what is still pending and ends fmctl, never the
// claim.
#pragma once

#include <string>

#include "core/view.h"
#include "fmctl/command.h"

namespace cxlpool::fmctl {

inline constexpr int most_wait_s = 86'400;

// The seconds of --wait[=SECONDS], or why they are wrong.
Result<int> patience(const Args& args, int when_not_said);

// From here on Ctrl-C prints this sentence and ends fmctl with 130.
void on_interrupt_say(const std::string& sentence);

struct Waited {
    GrantView grant;       // as last seen
    std::string json;      // the same, as fmd said it
    bool settled = false;  // active, gone, failed or stuck
};

// `after_interrupt` ends the sentence that Ctrl-C prints: "the claim stays".
Result<Waited> wait_for(Command& command, GrantView grant, int seconds,
                        const std::string& after_interrupt);

// "is still offered and waits for h1 to plug it"
std::string still_pending(const GrantView& grant);

}  // namespace cxlpool::fmctl
