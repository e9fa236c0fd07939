// SPDX-License-Identifier: Apache-2.0
// A stable one-line text of every value, for logs, events, scenario files and tables.
#pragma once

#include <string>
#include <string_view>

#include "core/command.h"
#include "core/manager.h"
#include "core/record.h"
#include "core/result.h"
#include "core/view.h"

namespace cxlpool {

std::string_view name_of(Code code);  // "no_space"
int http_status(Code code);           // 400, 403, 404, 409, 500, 502, 504
int exit_code(Code code);  // 1 refused, 3 fabric failed, 4 timeout (2 is fmctl's own: usage)
std::string_view name_of(Use use);  // "ram", "dax"
std::string_view name_of(Presence presence);
std::string_view name_of(GrantState state);
std::string_view name_of(HostState state);

Result<Code> parse_code(std::string_view text);
Result<Use> parse_use(std::string_view text);
Result<GrantState> parse_grant_state(std::string_view text);

std::string describe(const Record& record);    // "17 grant-created g1#4 h1 ram mem0[0-256M]"
std::string describe(const Command& command);  // "op 3 add h1 mem0 [0-256M]"
std::string describe(const Input& input);
std::string describe(const Output& output);  // several lines, no trailing newline
std::string describe(const Reply& reply);

// A sentence for people about a record, for `fmctl event list`; names the grant of the pool.
std::string sentence(const Record& record, const Pool& pool);

}  // namespace cxlpool
