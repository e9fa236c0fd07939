// SPDX-License-Identifier: Apache-2.0
// Names and numbers that must not be mixed up with each other.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace cxlpool {

template <class Tag>
struct Name {
    std::string text;

    Name() = default;
    explicit Name(std::string name) : text(std::move(name)) {}
    friend auto operator<=>(const Name&, const Name&) = default;
};

using HostName = Name<struct HostTag>;
using DeviceName = Name<struct DeviceTag>;
using GrantName = Name<struct GrantTag>;

template <class Tag>
struct Number {
    std::uint64_t value = 0;
    friend auto operator<=>(const Number&, const Number&) = default;
};

using Seq = Number<struct SeqTag>;          // of a journal record; 0 = none, records start at 1
using OpId = Number<struct OpTag>;          // of a command; unique in one life of fmd
using Ticket = Number<struct TicketTag>;    // of a submitted intent: whose reply is it
using GrantId = Number<struct GrantIdTag>;  // never reused, though names are

}  // namespace cxlpool
