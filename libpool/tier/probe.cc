// SPDX-License-Identifier: Apache-2.0
#include "tier/probe.h"

#include <algorithm>
#include <cmath>

#include "latency.h"

namespace libpool::tier {

namespace {

constexpr size_t loads_per_round = 256;

class RealLoads final : public LoadSource {
  public:
    Result<double> load_ns(int node) override {
        auto found = chains_.find(node);
        if (found != chains_.end() && !found->second.placed()) {
            chains_.erase(found);  // drained or demoted: put there anew, or refused
            found = chains_.end();
        }
        if (found == chains_.end()) {
            auto chain = LoadChain::on(node);
            if (!chain) return std::unexpected(chain.error());
            found = chains_.emplace(node, std::move(*chain)).first;
        }
        return found->second.load_ns(loads_per_round);
    }
    void leave(int node) override { chains_.erase(node); }

  private:
    std::map<int, LoadChain> chains_;
};

}  // namespace

std::unique_ptr<LoadSource> make_load_source() { return std::make_unique<RealLoads>(); }

double ProbeReading::loss_ns() const {
    constexpr double clearly = 0.95, least_ns = 10;
    return far_ns < clearly * near_ns ? 0 : std::max(far_ns - near_ns, least_ns);
}

LatencyProbe::LatencyProbe(LoadSource& source, std::vector<int> near, std::vector<int> far,
                           ProbeConfig config)
    : source_(source), near_(std::move(near)), far_(std::move(far)), config_(config) {}

bool LatencyProbe::step(double now_s) {
    if (now_s < next_s_) return false;
    next_s_ = now_s + config_.interval_s;
    trouble_.clear();
    for (const auto* nodes : {&near_, &far_}) {
        for (int node : *nodes) {
            auto load = source_.load_ns(node);
            if (load) {
                learn(node, *load, now_s);
            } else {
                trouble_ = load.error().sentence;
                believed_.erase(node);
            }
        }
    }
    ++rounds_;
    return true;
}

void LatencyProbe::learn(int node, double load_ns, double now_s) {
    Believed& of = believed_[node];
    of.recent_ns.push_back(load_ns);
    if (of.recent_ns.size() > recent_limit) of.recent_ns.pop_front();
    double middle_ns = median({of.recent_ns.begin(), of.recent_ns.end()});
    if (of.rounds < known_rounds) {
        of.smooth_ns = middle_ns;
    } else {
        double kept = std::exp2(-(now_s - of.at_s) / config_.half_life_s);
        of.smooth_ns = kept * of.smooth_ns + (1 - kept) * middle_ns;
    }
    of.at_s = now_s;
    ++of.rounds;
}

void LatencyProbe::set_nodes(std::vector<int> near, std::vector<int> far) {
    auto stays = [&](int node) {
        return std::count(near.begin(), near.end(), node) +
               std::count(far.begin(), far.end(), node);
    };
    for (const auto* nodes : {&near_, &far_}) {
        for (int node : *nodes) {
            if (stays(node)) continue;
            source_.leave(node);
            believed_.erase(node);
        }
    }
    near_ = std::move(near);
    far_ = std::move(far);
}

bool LatencyProbe::mean_of(const std::vector<int>& nodes, double& mean_ns) const {
    double sum_ns = 0;
    size_t count = 0;
    for (int node : nodes) {
        auto found = believed_.find(node);
        if (found == believed_.end() || found->second.rounds < known_rounds) continue;
        sum_ns += found->second.smooth_ns;
        ++count;
    }
    if (count > 0) mean_ns = sum_ns / double(count);
    return count > 0;
}

ProbeReading LatencyProbe::reading() const {
    ProbeReading reading;
    bool near_known = mean_of(near_, reading.near_ns), far_known = mean_of(far_, reading.far_ns);
    reading.known = near_known && far_known;
    reading.rounds = rounds_;
    reading.trouble = trouble_;
    return reading;
}

}  // namespace libpool::tier
