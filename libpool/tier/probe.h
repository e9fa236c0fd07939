// SPDX-License-Identifier: Apache-2.0
// What a load from near and from far memory takes now, under the load there is now: some hundred
// dependent loads on each node at intervals, smoothed. Near memory that is saturated can be slower
// than far memory; moving pages to it then does harm, and the policy, which reads
// Situation.loss_ns, stops promoting while the loss is 0 or less.
//
// It has no thread: whoever runs an engine calls step() in his loop. Pure but for the LoadSource.
// Not for tiers whose gain was given (POOL_OPTION_GAIN_NS): where memory is emulated, loads tell
// nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "error.h"

namespace libpool::tier {

class LoadSource {
  public:
    virtual ~LoadSource() = default;
    // Mean of some hundred dependent loads from memory of this node, uncached.
    virtual Result<double> load_ns(int node) = 0;
    // Gives back what it holds on the node (256 KiB): it is about to go.
    virtual void leave(int node) = 0;
};

std::unique_ptr<LoadSource> make_load_source();

struct ProbeConfig {
    double interval_s = 1;
    double half_life_s = 3;  // of what was seen before, while nothing changes the median
};

struct ProbeReading {
    bool known = false;  // of no account before: at least 3 rounds on either side
    double near_ns = 0;  // mean of the tier's nodes
    double far_ns = 0;
    // For Situation.loss_ns: 0 when near is clearly (5 %) slower than far, else the difference, at
    // least 10: one that cannot be told from noise is no reason to give up, nor to move much.
    double loss_ns() const;
    uint64_t rounds = 0;
    std::string trouble;  // of the last round, "" when there was none: a node without room, gone
};

class LatencyProbe {
  public:
    // The source outlives the probe.
    LatencyProbe(LoadSource& source, std::vector<int> near, std::vector<int> far,
                 ProbeConfig config = {});

    // One round over all nodes when one is due; true when there was one.
    bool step(double now_s);
    double next_s() const { return next_s_; }

    // Nodes came or go. Those that are in neither list any more are left; what is known of the
    // others stays.
    void set_nodes(std::vector<int> near, std::vector<int> far);

    ProbeReading reading() const;

  private:
    static constexpr size_t recent_limit = 5;
    static constexpr uint64_t known_rounds = 3;
    // One long pause of this thread makes one wild value: the median of five does not see it.
    struct Believed {
        std::deque<double> recent_ns;
        double smooth_ns = 0;
        double at_s = 0;
        uint64_t rounds = 0;
    };
    void learn(int node, double load_ns, double now_s);
    bool mean_of(const std::vector<int>& nodes, double& mean_ns) const;

    LoadSource& source_;
    std::vector<int> near_;
    std::vector<int> far_;
    const ProbeConfig config_;
    std::map<int, Believed> believed_;
    double next_s_ = 0;
    uint64_t rounds_ = 0;
    std::string trouble_;
};

}  // namespace libpool::tier
