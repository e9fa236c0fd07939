// SPDX-License-Identifier: Apache-2.0
// The text of a record on disk, one JSON object a record:
//   record := {"seq":N, "time_us":N, "kind":KIND, …the fields of that kind}
//   extent := {"device":NAME, "dpa":N, "length":N}
// For example
//   {"seq":17,"time_us":1795334400000000,"kind":"offer-started","id":4,"host":"h1","device":"mem0"}
// The words are the disk's own: what the CLI prints may change, these may not without a new schema.
// Reading is strict: what this version would not have written is an error, never a guess.
#pragma once

#include <string>
#include <string_view>

#include "core/record.h"
#include "core/result.h"

namespace cxlpool {

// Bytes that are not UTF-8 (they can only come from outside, inside a reason) become U+FFFD.
std::string encode(const Record& record);

// `seq` is where the record was found; it must be the record's own, and is named in the error.
Result<Record> decode(Seq seq, std::string_view text);

}  // namespace cxlpool
