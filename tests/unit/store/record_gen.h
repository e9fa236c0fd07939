// SPDX-License-Identifier: Apache-2.0
// Any record of any kind, for property tests.
#pragma once

#include <rapidcheck.h>

#include "core/record.h"

namespace cxlpool {

inline rc::Gen<std::string> gen_text() {
    // Everything a reason may carry: quotes, backslashes, control characters, UTF-8.
    return rc::gen::container<std::string>(
        rc::gen::oneOf(rc::gen::inRange('\x01', '\x7f'), rc::gen::element('"', '\\', '\n', '\0')));
}

inline rc::Gen<std::uint64_t> gen_number() { return rc::gen::arbitrary<std::uint64_t>(); }

inline rc::Gen<Range> gen_range() {
    return rc::gen::map(rc::gen::pair(gen_number(), gen_number()),
                        [](const std::pair<std::uint64_t, std::uint64_t>& ends) {
                            const auto [low, high] = std::minmax(ends.first, ends.second);
                            return Range{low, high - low};
                        });
}

inline HostName any_host() { return HostName(*gen_text()); }
inline DeviceName any_device() { return DeviceName(*gen_text()); }
inline GrantId any_grant() { return GrantId{*gen_number()}; }
inline Extent any_extent() { return {any_device(), *gen_range()}; }

template <class T, class Make>
std::vector<T> any_list(Make make) {
    std::vector<T> list(*rc::gen::inRange<std::size_t>(0, 5));
    for (T& element : list) element = make();
    return list;
}

// The kind number `kind` of RecordBody with arbitrary contents.
inline RecordBody any_body(std::size_t kind) {
    switch (kind) {
        case 0:
            return DeviceAdopted{any_device(), *gen_number(), *gen_number(), *gen_number(),
                                 *gen_text()};
        case 1:
            return HostSeen{any_host(), *gen_text()};
        case 2:
            return HostDead{any_host(), *gen_text()};
        case 3:
            return FenceStarted{any_host(), *gen_text()};
        case 4:
            return GrantCreated{any_grant(), GrantName(*gen_text()), any_list<HostName>(any_host),
                                *rc::gen::element(Use::ram, Use::dax),
                                any_list<Extent>(any_extent)};
        case 5:
            return OfferStarted{any_grant(), any_host(), any_device()};
        case 6:
            return OfferTaken{any_grant(), any_host(), any_device()};
        case 7:
            return OfferAccepted{any_grant(), any_host(), any_device()};
        case 8:
            return GrantActive{any_grant()};
        case 9:
            return GrantReleased{any_grant()};
        case 10:
            return ReturnStarted{any_grant(), any_host(), any_device()};
        case 11:
            return Returned{any_grant(), any_host(), any_device()};
        case 12:
            return GrantFailed{any_grant(), *gen_text()};
        case 13:
            return GrantGone{any_grant()};
        case 14:
            return ScrubStarted{any_extent()};
        case 15:
            return ScrubDone{any_extent(), *gen_number()};
        case 16:
            return ForeignSeen{any_host(), any_extent()};
    }
    throw std::logic_error("a new kind of record needs a line here");
}

}  // namespace cxlpool
