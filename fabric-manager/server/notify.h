// SPDX-License-Identifier: Apache-2.0
// Tells systemd, when it started us, that fmd serves (sd_notify without the library).
#pragma once

#include <string_view>

namespace cxlpool {

void notify_systemd(
    std::string_view state);  // "READY=1", "STOPPING=1"; nothing without NOTIFY_SOCKET

}  // namespace cxlpool
