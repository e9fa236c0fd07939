// SPDX-License-Identifier: Apache-2.0
#include "pooltier/render.h"

#include <algorithm>
#include <cmath>

#include "numa_balancing.h"
#include "pooltier/args.h"
#include "tier/printable.h"
#include "tier/tenant_sum.h"
#include "uapi.h"

namespace pooltier {

using namespace libpool::tier;
using libpool::errno_text;

namespace {

std::string nodes_text(const std::vector<int>& nodes) {
    std::string out;
    for (int node : nodes) out += (out.empty() ? "" : ",") + std::to_string(node);
    return out.empty() ? "-" : out;
}

std::string count(uint64_t number) { return std::to_string(number); }

std::string limit_text(const Snapshot& s) {
    std::string out = s.near_limit_bytes == UINT64_MAX
                          ? "no limit"
                          : "limit " + describe_bytes(s.near_limit_bytes);
    return s.allotted_bytes == UINT64_MAX
               ? out
               : out + ", poold allots " + describe_bytes(s.allotted_bytes);
}

double overhead_share(const Snapshot& s) { return s.program_cpu_s > 0 ? s.overhead_share : NAN; }

// What columns are wide is counted in characters, not bytes.
size_t width(const std::string& cell) {
    return size_t(
        std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string line(const char* name, const std::string& words) {
    return text("%-9s %s\n", name, words.c_str());
}

std::string sampler_line(const Snapshot& s) {
    std::string out = s.sampler.empty() ? "none" : printable(s.sampler, 20);
    if (!s.sampler_describes.empty()) out += ": " + printable(s.sampler_describes);
    for (const Refusal& refusal : s.refused) {
        out += text("; not %s: %s", printable(refusal.sampler, 20).c_str(),
                    printable(refusal.why).c_str());
    }
    return line("sampler", out);
}

std::string memory_line(const Snapshot& s) {
    return line("memory",
                text("%s near (%s, room for %s), %s far, of %s in %s ranges; near nodes %s, far "
                     "nodes %s",
                     describe_bytes(s.near_bytes).c_str(), limit_text(s).c_str(),
                     describe_bytes(s.near_room_bytes).c_str(), describe_bytes(s.far_bytes).c_str(),
                     describe_bytes(s.tracked_bytes).c_str(), count(s.ranges).c_str(),
                     nodes_text(s.near_nodes).c_str(), nodes_text(s.far_nodes).c_str()));
}

std::string moves_line(const Snapshot& s) {
    std::string out =
        text("%s pages near, %s far, %s returned, %s failed", count(s.promoted_pages).c_str(),
             count(s.demoted_pages).c_str(), count(s.policy.bank.returned_pages).c_str(),
             count(s.failed_pages).c_str());
    std::string why;
    for (const MoveFailure& failure : s.failures) {
        why += text(
            "%s%s %s", why.empty() ? "" : ", ", count(failure.pages).c_str(),
            failure.code == 0 ? "not moved, no error given" : errno_text(failure.code).c_str());
    }
    if (!why.empty()) out += " (" + why + ")";
    out += "; " + describe_bytes(s.moved_bytes);
    if (s.move_limit_bytes_per_s > 0) {
        out += text(" (at most %s/s)", describe_bytes(s.move_limit_bytes_per_s).c_str());
    }
    return line("moves", out);
}

std::string bank_lines(const Snapshot& s) {
    const BankStatus& b = s.policy.bank;
    std::string out = line(
        "bank",
        text("%.3f s = %.3f allowance + %.3f earned - %.3f lost - %.3f spent %+.3f unused CPU - "
             "%.3f reserve; %s pages near that were far, %s far that were near",
             b.balance_s, b.allowance_s, b.earned_s, b.lost_s, b.spent_s, b.unused_s, b.reserve_s,
             count(b.guests).c_str(), count(b.exiles).c_str()));
    return out + line("promise",
                      text("with probability %g, as far as A1 to A7 of docs/TIERING.md hold, it "
                           "costs at most %g of the program's CPU time more than the placement "
                           "without it, and %s or %s moved, %s before it is noticed, and %s of "
                           "doubt; "
                           "pages above %.0f touches/s are "
                           "counted too low%s",
                           1 - s.delta, s.cpu_share, seconds_text(b.allowance_s).c_str(),
                           b.allowance_bytes > 0 && b.allowance_bytes < 1e18
                               ? describe_bytes(uint64_t(b.allowance_bytes)).c_str()
                               : "0 B",
                           seconds_text(b.unnoticed_s).c_str(), seconds_text(b.margin_s).c_str(),
                           b.resolved_rate,
                           s.writes_only ? "; reads are not seen and not in these sums: pages "
                                           "that are near without it stay near"
                                         : ""));
}

std::string policy_line(const Snapshot& s) {
    return line("policy",
                text("%s cycles, %s changes of behaviour%s, %s of %s blocks contested; "
                     "%s of its own",
                     count(s.policy.cycles).c_str(), count(s.policy.changes).c_str(),
                     s.policy.busy ? " (one lately)" : "", count(s.policy.contested_blocks).c_str(),
                     count(s.policy.blocks).c_str(),
                     s.policy.memory_bytes > 0 && s.policy.memory_bytes < 1e18
                         ? describe_bytes(uint64_t(s.policy.memory_bytes)).c_str()
                         : "0 B"));
}

// Nothing where it leaves pages alone.
std::string kernel_line(const Snapshot& s) {
    return s.numa_balancing == 0
               ? ""
               : line("kernel", libpool::describe_numa_balancing(s.numa_balancing));
}

// Nothing where there are no huge pages.
std::string huge_line(const Snapshot& s) {
    const SplitStatus& split = s.policy.split;
    if (split.huge_blocks + split.asked_blocks == 0) return "";
    std::string out = text("%s pages of 2 MiB", count(split.huge_blocks).c_str());
    if (s.split_blocks + s.unsplit_blocks > 0) {
        out +=
            text(", %s split (%s)", count(s.split_blocks).c_str(), seconds_text(s.split_s).c_str());
    }
    if (s.unsplit_blocks > 0) out += text(", %s not to be split", count(s.unsplit_blocks).c_str());
    switch (split.state) {
        case SplitState::whole:
            break;
        case SplitState::trial:
            out += "; some were split for a trial";
            break;
        case SplitState::worthless:
        case SplitState::worth:
            out += text("; of a trial's touches small pages would serve %s near, whole ones %s",
                        percent_text(split.parts_share).c_str(),
                        percent_text(split.whole_share).c_str());
            break;
    }
    if (!s.split_note.empty()) out += "; " + printable(s.split_note, 200);
    return line("huge", out);
}

const char* place_text(Place place) {
    return place == Place::near ? "near" : place == Place::far ? "far" : "nowhere";
}

const char* hint_text(Hint hint) {
    constexpr const char* names[] = {"none", "hot", "cold", "pinned near", "stream"};
    return names[static_cast<size_t>(hint)];
}

std::string headline(const Snapshot& s) {
    std::string who = text("%d %s", s.target, printable(s.program, 40).c_str());
    if (s.pid != s.target) who += text(" (attached by %d)", s.pid);
    if (!s.tenant.empty()) who += ", tenant " + printable(s.tenant, 63);
    std::string state = s.state == TieringState::tiered ? "tiered for " + seconds_text(s.uptime_s)
                                                        : std::string("untiered");
    if (!s.sentence.empty()) state += ": " + printable(s.sentence, 400);
    return who + ", " + state + "\n";
}

}  // namespace

std::string seconds_text(double seconds) {
    if (!std::isfinite(seconds)) return "-";
    double size = std::fabs(seconds);
    if (size == 0) return "0 s";
    if (size < 0.9995e-3) return text("%.0f us", seconds * 1e6);
    if (size < 0.9995) return text("%.0f ms", seconds * 1e3);
    return text(size < 100 ? "%.1f s" : "%.0f s", seconds);
}

std::string percent_text(double share) {
    if (!std::isfinite(share)) return "-";
    return text(std::fabs(share) < 0.0995 ? "%.2f %%" : "%.1f %%", share * 100);
}

std::string rate_text(double rate) {
    if (!std::isfinite(rate)) return "-";
    return text(rate >= 100 ? "%.0f/s" : "%.3g/s", rate);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string out;
    for (const auto& row : rows) {
        std::string one;
        for (size_t i = 0; i < row.size(); ++i) {
            one += row[i];
            if (i + 1 < row.size()) one += std::string(widths[i] - width(row[i]) + 2, ' ');
        }
        one.erase(one.find_last_not_of(' ') + 1);
        out += one + "\n";
    }
    return out;
}

std::string status_table(const std::vector<Heard>& heard) {
    std::vector<std::vector<std::string>> rows = {{"PID", "PROGRAM", "TENANT", "SAMPLER", "NEAR",
                                                   "FAR", "HITS", "BANK", "MOVED", "CPU", "STATE"}};
    for (const Heard& one : heard) {
        if (!one.said) {
            rows.push_back({std::to_string(one.pid), printable(one.program, 20), "-", "-", "-", "-",
                            "-", "-", "-", "-", "? " + printable(one.said.error().sentence)});
            continue;
        }
        const Snapshot& s = *one.said;
        bool tiered = s.state == TieringState::tiered;
        std::string state = tiered ? (s.policy.busy ? "tiered, busy" : "tiered")
                                   : "untiered: " + printable(s.sentence, 80);
        rows.push_back({std::to_string(s.target), printable(s.program, 20),
                        s.tenant.empty() ? "-" : printable(s.tenant, 20),
                        s.sampler.empty() ? "-" : printable(s.sampler, 10),
                        describe_bytes(s.near_bytes), describe_bytes(s.far_bytes),
                        tiered ? percent_text(s.policy.near_share) : "-",
                        tiered ? seconds_text(s.policy.bank.balance_s) : "-",
                        describe_bytes(s.moved_bytes), percent_text(overhead_share(s)), state});
    }
    return table(rows);
}

// By the word of the processes themselves; what poold divides by is in its metrics.
std::string tenant_table(const std::vector<Heard>& heard) {
    std::vector<TenantMember> members;
    for (const Heard& one : heard) {
        if (one.said && !one.said->tenant.empty())
            members.push_back({one.said->tenant, &*one.said});
    }
    const std::vector<TenantSum> tenants = sum_by_tenant(members);
    if (tenants.empty()) return "";
    std::vector<std::vector<std::string>> rows = {
        {"TENANT", "PROCESSES", "NEAR", "FAR", "HITS", "BANK", "MOVED", "UNDONE", "CPU"}};
    for (const TenantSum& t : tenants) {
        const double cpu = t.program_cpu_s > 0 ? t.overhead_cpu_s / t.program_cpu_s : 0;
        rows.push_back(
            {printable(t.tenant, 20), std::to_string(t.processes), describe_bytes(t.near_bytes),
             describe_bytes(t.far_bytes),
             text("%s (%s to %s)", percent_text(t.near_share).c_str(),
                  percent_text(t.near_share_low).c_str(), percent_text(t.near_share_high).c_str()),
             seconds_text(t.balance_s), describe_bytes(t.moved_bytes),
             describe_bytes(t.returned_pages * libpool::page_bytes), percent_text(cpu)});
    }
    return "\n" + table(rows);
}

std::string status_block(const Snapshot& s) {
    std::string out = headline(s) + sampler_line(s);
    if (s.state == TieringState::untiered) return out;
    out += memory_line(s) + kernel_line(s);
    out += line("hits", text("%s of touches are near (90 %% sure: %s to %s)",
                             percent_text(s.policy.near_share).c_str(),
                             percent_text(s.policy.near_share_low).c_str(),
                             percent_text(s.policy.near_share_high).c_str()));
    out += moves_line(s);
    out += line("overhead",
                text("%s of the program's CPU lately (budget %s), %s of %s in all; moving %s",
                     percent_text(overhead_share(s)).c_str(), percent_text(s.cpu_share).c_str(),
                     seconds_text(s.overhead_cpu_s).c_str(), seconds_text(s.program_cpu_s).c_str(),
                     seconds_text(s.moving_s).c_str()));
    out += bank_lines(s);
    out += line("pays",
                text("a far access costs %s more, moving a page %s; the page that just "
                     "fits near is touched %s",
                     text("%.0f ns", s.loss_ns).c_str(), seconds_text(s.move_ns * 1e-9).c_str(),
                     rate_text(s.policy.boundary_rate).c_str()));
    return out + policy_line(s) + huge_line(s);
}

std::string explain_block(const PageAnswer& a) {
    const Explanation& e = a.explanation;
    std::string out = text("0x%llx of %d is %s", static_cast<unsigned long long>(a.address),
                           a.target, place_text(e.place));
    if (a.node >= 0) out += text(" (node %d)", a.node);
    if (!a.range.empty()) out += ", in " + printable(a.range);
    out += ": " + printable(e.verdict, 400) + "\n";
    out += line("touches", text("%s (50 %% sure: %s to %s)%s", rate_text(e.rate).c_str(),
                                rate_text(e.rate_low).c_str(), rate_text(e.rate_high).c_str(),
                                e.huge ? "; one bit for the 512 pages of a huge page" : ""));
    out += line("needs", text("%s for its move to pay within %s: %.0f ns a touch against %s a move",
                              rate_text(e.admission_rate).c_str(), seconds_text(e.stay_s).c_str(),
                              a.loss_ns, seconds_text(a.move_ns * 1e-9).c_str()));
    out += line("credit", text("%s of a move's cost %s", percent_text(e.credit_share).c_str(),
                               e.place == Place::near ? "held" : "earned"));
    out += line("against",
                text("%s of the page that just fits near; at most %s of the one it would "
                     "displace",
                     rate_text(e.boundary_rate).c_str(), rate_text(e.victim_rate_high).c_str()));
    out += line("baseline", text("without tiering it would be %s; the bank holds %s",
                                 place_text(e.baseline), seconds_text(e.bank_balance_s).c_str()));
    if (e.hint != Hint::none) out += line("hint", hint_text(e.hint));
    return out;
}

std::string top_head(const std::vector<Heard>& heard) {
    uint64_t near = 0, far = 0, moved = 0;
    size_t tiered = 0;
    double overhead_s = 0, program_s = 0;
    for (const Heard& one : heard) {
        if (!one.said || one.said->state != TieringState::tiered) continue;
        ++tiered;
        near += one.said->near_bytes;
        far += one.said->far_bytes;
        moved += one.said->moved_bytes;
        overhead_s += one.said->overhead_cpu_s;
        program_s += one.said->program_cpu_s;
    }
    return text("%zu tiered, %zu not; near %s, far %s; moved %s; overhead %s\n", tiered,
                heard.size() - tiered, describe_bytes(near).c_str(), describe_bytes(far).c_str(),
                describe_bytes(moved).c_str(),
                percent_text(program_s > 0 ? overhead_s / program_s : NAN).c_str());
}

}  // namespace pooltier
