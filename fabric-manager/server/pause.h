// SPDX-License-Identifier: Apache-2.0
// Named points at which fmd stops itself, so that a test or the demo can kill it exactly there:
// `fmd --pause-at=after-record`. The first time the point is reached fmd says "paused at
// after-record" and raises SIGSTOP; SIGCONT lets it go on, and it does not stop again.
#pragma once

#include <optional>
#include <string_view>

namespace cxlpool {

enum class PausePoint {
    after_record,   // an OfferStarted is durable; its command is not started
    after_command,  // an AddCapacity was carried out; fmd has recorded nothing of it
    after_reply,    // the answer to a create was written to the client's socket
};

std::optional<PausePoint> parse_pause_point(std::string_view text);
std::string_view name_of(PausePoint point);

class Pause {
  public:
    explicit Pause(std::optional<PausePoint> at = {}) : at_(at) {}
    void reached(PausePoint point);

  private:
    std::optional<PausePoint> at_;
};

}  // namespace cxlpool
