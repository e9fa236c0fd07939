// SPDX-License-Identifier: Apache-2.0
#include "tiers.h"

#include <algorithm>
#include <sstream>

namespace libpool {

namespace {

bool names(const std::vector<int>& nodes, int node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

std::string list_of(const std::vector<int>& nodes) {
    std::string list;
    for (int node : nodes) list += text("%s%d", list.empty() ? "" : ", ", node);
    return list;
}

// From outside: of what no terminal should get, nothing is repeated.
std::string quoted(std::string word) {
    word.resize(std::min<size_t>(word.size(), 40));
    for (char& c : word) {
        if (c < ' ' || c > '~') c = '?';
    }
    return "\"" + word + "\"";
}

Result<void> check(const Declaration& declared) {
    if (declared.near.empty() || declared.far.empty()) {
        return fail(EINVAL, "tiers need at least one near and one far node");
    }
    for (int node : declared.near) {
        if (names(declared.far, node)) {
            return fail(EINVAL, "node %d is declared near and far", node);
        }
    }
    return {};
}

}  // namespace

Result<Declaration> parse_declaration(const std::string& words, const std::string& where_from) {
    auto wrong = [&](const std::string& what) {
        return fail(EINVAL, "%s: %s; it takes such as \"near=0 far=1-2\", or \"measure\"",
                    where_from.c_str(), what.c_str());
    };
    Declaration declared;
    std::string spaced = words;
    std::replace(spaced.begin(), spaced.end(), ';', ' ');
    std::istringstream parts(spaced);
    std::string part;
    size_t count = 0;
    while (parts >> part) {
        ++count;
        size_t equals = part.find('=');
        std::string key = part.substr(0, equals);
        if (part == "measure") {
            declared.measure = true;
            continue;
        }
        bool known = equals != std::string::npos && (key == "near" || key == "far");
        if (!known) return wrong(quoted(part) + " says no tier");
        std::vector<int>& nodes = key == "near" ? declared.near : declared.far;
        if (!nodes.empty()) return wrong(key + " is there twice");
        auto list = parse_list(part.substr(equals + 1));
        if (!list || list->empty()) return wrong(quoted(part) + " names no nodes");
        nodes = std::move(*list);
    }
    if (declared.measure && count > 1) return wrong("measure stands alone");
    if (declared.measure) return declared;
    if (auto good = check(declared); !good) return wrong(good.error().sentence);
    return declared;
}

Result<void> declare_tiers(Topology& topology, const Declaration& declared) {
    if (auto good = check(declared); !good) return good;
    std::vector<int> empty, later[2];
    std::vector<Node> kept;
    size_t found[2] = {0, 0};
    for (size_t tier : {0, 1}) {
        for (int node : tier == 0 ? declared.near : declared.far) {
            const Node* known = topology.find(node);
            if (!known) {
                empty.push_back(node);
                later[tier].push_back(node);
                continue;
            }
            kept.push_back(*known);
            kept.back().tier = tier;
            ++found[tier];
        }
    }
    for (size_t tier : {0, 1}) {
        if (found[tier] > 0) continue;
        return fail(ENOENT, "no node that is declared %s (%s) has memory", tier ? "far" : "near",
                    list_of(tier ? declared.far : declared.near).c_str());
    }
    std::sort(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.id < b.id; });
    topology.nodes = std::move(kept);
    topology.later_near = std::move(later[0]);
    topology.later_far = std::move(later[1]);
    topology.source = TierSource::declared;
    topology.tier_names = {"near", "far"};
    topology.reason = text("declared: near %s, far %s", list_of(declared.near).c_str(),
                           list_of(declared.far).c_str());
    if (!empty.empty())
        topology.reason += text(" (without memory now: %s)", list_of(empty).c_str());
    return {};
}

void tiers_by_latency(Topology& topology, std::vector<NodeLatency> latencies) {
    std::stable_sort(latencies.begin(), latencies.end(),
                     [](auto& a, auto& b) { return a.load_ns < b.load_ns; });
    size_t tiers = 0;
    double fastest_ns = 0;
    std::string said;
    for (const NodeLatency& one : latencies) {
        if (tiers == 0 || one.load_ns >= tier_ratio * fastest_ns) {
            fastest_ns = one.load_ns;
            ++tiers;
        }
        said += text("%snode %d %.0f ns", said.empty() ? "" : ", ", one.node, one.load_ns);
        for (Node& node : topology.nodes) {
            if (node.id != one.node) continue;
            node.tier = tiers - 1;
            node.load_ns = one.load_ns;
        }
    }
    topology.source = TierSource::measured;
    topology.tier_names.clear();
    for (size_t tier = 0; tier < tiers; ++tier) {
        topology.tier_names.push_back(tier == 0    ? "near"
                                      : tiers == 2 ? "far"
                                                   : text("far%zu", tier));
    }
    topology.reason =
        text("measured: a load takes %s; ", said.c_str()) +
        (tiers == 1
             ? text("none takes %.1f times as long as the fastest: nothing to tier", tier_ratio)
             : text("%.1f times as long makes another tier", tier_ratio));
}

Result<void> measure_tiers(Topology& topology) {
    std::vector<Vantage> nodes;
    for (const Node& node : topology.nodes) nodes.push_back({node.id, node.cpu_node});
    auto latencies = measure_nodes(nodes);
    if (!latencies) return std::unexpected(latencies.error());
    tiers_by_latency(topology, std::move(*latencies));
    return {};
}

}  // namespace libpool
