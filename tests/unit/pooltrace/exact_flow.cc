// SPDX-License-Identifier: Apache-2.0
// Near slots are the flow. A slot is with a page during an epoch (a node of capacity one, which
// saves what the page's accesses would lose) or idle; it stays for nothing, goes to the idle ones
// for a move and comes from them for a move. Everything is far in the constant.
#include "exact_flow.h"

#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

#include <stdexcept>

namespace exact {

int64_t optimum(const Problem& p) {
    using Graph = lemon::SmartDigraph;
    Graph graph;
    Graph::ArcMap<int64_t> capacity(graph), cost(graph);
    auto arc = [&](Graph::Node from, Graph::Node to, int64_t most, int64_t each) {
        Graph::Arc made = graph.addArc(from, to);
        capacity[made] = most;
        cost[made] = each;
    };
    std::vector<Graph::Node> idle(p.epochs + 1);
    for (auto& node : idle) node = graph.addNode();
    Graph::Node source = graph.addNode();
    int64_t constant = 0, homes = 0;
    for (uint32_t page = 0; page < p.pages; ++page) {
        uint32_t birth = 0;
        while (birth < p.epochs && p.home[page] == '-' && p.counts[birth * p.pages + page] == 0)
            ++birth;
        if (birth == p.epochs) continue;
        Graph::Node before = graph.addNode();  // where a slot is that the page had before the epoch
        if (p.home[page] == 'n') {
            arc(source, before, 1, 0);
            ++homes;
        }
        for (uint32_t epoch = birth; epoch < p.epochs; ++epoch) {
            Graph::Node in = graph.addNode(), out = graph.addNode();
            int64_t saved = int64_t(p.counts[epoch * p.pages + page]) * p.loss;
            constant += saved;
            bool free = epoch == birth && p.home[page] == '-';
            arc(idle[epoch], in, 1, free ? 0 : p.move);
            arc(before, in, 1, 0);
            arc(before, idle[epoch], 1, p.move);
            arc(in, out, 1, -saved);
            before = out;
        }
        arc(before, idle[p.epochs], 1, 0);
    }
    for (uint32_t epoch = 0; epoch < p.epochs; ++epoch)
        arc(idle[epoch], idle[epoch + 1], p.near_pages, 0);
    arc(source, idle[0], int64_t(p.near_pages) - homes, 0);
    lemon::NetworkSimplex<Graph, int64_t> simplex(graph);
    simplex.upperMap(capacity).costMap(cost).stSupply(source, idle[p.epochs], p.near_pages);
    if (simplex.run() != simplex.OPTIMAL) throw std::runtime_error("no flow");
    return constant + simplex.totalCost();
}

}  // namespace exact
