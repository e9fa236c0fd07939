// SPDX-License-Identifier: Apache-2.0
#include "words.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/describe.h"
#include "core/units.h"
#include "script.h"

namespace cxlpool::scenario {

Words read_words(const std::string& line) {
    Words words;
    for (const std::string& word : split(line, ' ')) {
        const auto equals = word.find('=');
        if (words.verb.empty()) {
            words.verb = word;
        } else if (equals != std::string::npos) {
            words.named[word.substr(0, equals)] = word.substr(equals + 1);
        } else {
            words.plain.push_back(word);
        }
    }
    return words;
}

std::string Words::rest_after(std::size_t plain_words) const {
    std::string text;
    for (std::size_t i = plain_words; i < plain.size(); ++i)
        text += (text.empty() ? "" : " ") + plain[i];
    return text;
}

bool Words::has(const std::string& word) const {
    return std::ranges::find(plain, word) != plain.end();
}

Result<Millis> read_time(const std::string& text) {
    Millis unit = 1;
    std::string digits = text;
    if (text.ends_with("s")) unit = 1000;
    if (text.ends_with("m")) unit = 60'000;
    if (unit != 1) digits.pop_back();
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
        return fail(Code::invalid, fmt::format("\"{}\" is not a time", text));
    }
    return std::stoll(digits) * unit;
}

Result<Extent> read_extent(const std::string& text) {
    const auto open = text.find('['), dash = text.find('-'), close = text.find(']');
    if (open == std::string::npos || dash == std::string::npos || close == std::string::npos) {
        return fail(Code::invalid,
                    fmt::format("\"{}\" is not an extent such as mem0[0-256M]", text));
    }
    const auto from = parse_size(text.substr(open + 1, dash - open - 1));
    const auto to = parse_size(text.substr(dash + 1, close - dash - 1));
    if (!from || !to || *to <= *from)
        return fail(Code::invalid, fmt::format("\"{}\" is no range", text));
    return Extent{DeviceName{text.substr(0, open)}, {*from, *to - *from}};
}

Result<Intent> read_intent(const Words& words, std::size_t from) {
    const std::string what = words.at(from);
    const Mode mode = words.has("dry") ? Mode::dry_run : Mode::real;
    if (what == "doctor") return Intent{DoctorScan{}};
    if (what == "release") return Intent{ReleaseGrant{GrantName{words.at(from + 1)}, mode}};
    if (what == "fence") return Intent{FenceHost{HostName{words.at(from + 1)}, mode}};
    if (what != "create") return fail(Code::invalid, fmt::format("\"{}\" is not an intent", what));
    CreateGrant create;
    for (const std::string& host : split(words.at(from + 1), ',')) {
        if (host != "-") create.hosts.push_back(HostName{host});
    }
    const auto size = parse_size(words.at(from + 2));
    if (!size) return std::unexpected(size.error());
    const auto use = parse_use(words.at(from + 3));
    if (!use) return std::unexpected(use.error());
    create.size = *size;
    create.use = *use;
    create.mode = mode;
    const std::string name = words.at(from + 4);
    if (!name.empty() && name != "dry") create.name = GrantName{name};
    return Intent{create};
}

Result<Result<Answer>> read_answer(const Words& words) {
    const std::string what = words.at(1);
    if (what == "ok") return Result<Answer>{Answer{}};
    if (what == "fail") return Result<Answer>{fail(Code::fabric, words.rest_after(2))};
    if (what == "read") {
        const auto size = parse_size(words.at(2));
        if (!size) return std::unexpected(size.error());
        return Result<Answer>{Answer{ScrubReceipt{*size}}};
    }
    std::vector<Presence> all;
    for (std::size_t i = 1; i < words.plain.size(); ++i) {
        bool known = false;
        for (Presence one :
             {Presence::unknown, Presence::none, Presence::pending, Presence::accepted}) {
            if (words.plain[i] == name_of(one)) {
                all.push_back(one);
                known = true;
            }
        }
        if (!known) return fail(Code::invalid, fmt::format("\"{}\" is no answer", words.plain[i]));
    }
    return Result<Answer>{Answer{all}};
}

}  // namespace cxlpool::scenario
