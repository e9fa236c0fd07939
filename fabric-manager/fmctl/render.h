// SPDX-License-Identifier: Apache-2.0
// Values of fmd as text for people. Pure; whatever came from outside is made printable here.
#pragma once

#include <string>
#include <vector>

#include "core/view.h"
#include "server/wire.h"

namespace cxlpool::fmctl {

// Columns two spaces apart, as wide as their widest cell; no spaces at the end of a line.
std::string table(const std::vector<std::vector<std::string>>& rows);

// "g1  active  256 MiB  h1:node1  mem0[0-256M]  84 ms": the contract of `grant create --wait`.
std::string line(const GrantView& grant);

std::string where_seen(
    const GrantView& grant);  // "h1:node1", "h1:dax0.0,h2:dax0.0", "h1" when not seen
std::string extents(const std::vector<Extent>& extents);  // "mem0[0-256M],mem1[0-128M]"
std::string milliseconds(double ms);                      // "84 ms", "0.4 ms"
std::string ago(Millis ms);                               // "12 s ago"
std::string local_time(std::int64_t time_us);             // "2026-11-22 08:13:17.123"

std::string describe_grant(const GrantView& grant);  // several lines
std::string describe_host(const HostView& host);
std::string describe_plan(const Plan& plan);

std::string grant_table(const std::vector<GrantView>& grants);
std::string host_table(const std::vector<HostView>& hosts);
std::string fabric_text(const wire::FabricInfo& fabric);
std::string doctor_table(const DoctorView& doctor);
std::string event_line(const wire::EventView& event);

}  // namespace cxlpool::fmctl
