// SPDX-License-Identifier: Apache-2.0
#include "tier/sampler_choice.h"

#include <fcntl.h>
#include <unistd.h>

#include <functional>

#include "numa_balancing.h"
#include "tier/damon.h"
#include "tier/samplers.h"
#include "tier/uffd.h"

namespace libpool::tier {

namespace {

std::string first_word(const std::string& path) {
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char content[16];
    ssize_t got = file ? read(file.get(), content, sizeof content) : 0;
    std::string word;
    for (ssize_t i = 0; i < got && content[i] > ' ' && content[i] < 0x7f; ++i) word += content[i];
    return word;
}

SamplerState probe_uffd(const UffdKind& kind) {
    auto uffd = open_uffd(kind);
    return {kind.name, bool(uffd), uffd ? "" : uffd.error().sentence};
}

SamplerState probe_damon(const std::string& root) {
    std::string refusal = damon_refusal(root);
    if (!refusal.empty()) return {"damon", false, refusal};
    bool stat = first_word(root + "/sys/module/damon_stat/parameters/enabled") == "Y";
    return {"damon", true, stat ? "needs root; switches DAMON_STAT off meanwhile" : "needs root"};
}

SamplerState probe_numa_hints(const std::string& root) {
    const auto mode = read_numa_balancing(root);
    if (!mode) return {"numa-hints", false, "the kernel has no NUMA balancing"};
    if (*mode == 0) {
        return {"numa-hints", false, "kernel.numa_balancing is 0 (2 = tiering)"};
    }
    return {"numa-hints", true, text("kernel.numa_balancing is %d", *mode)};
}

struct Candidate {
    const char* name;
    std::function<Result<std::unique_ptr<Sampler>>()> make;
};

Result<SamplerChoice> first_that_works(const std::string& wanted,
                                       const std::vector<Candidate>& candidates) {
    SamplerChoice choice;
    int code = EINVAL;
    for (const Candidate& candidate : candidates) {
        if (wanted != "auto" && wanted != candidate.name) continue;
        auto sampler = candidate.make();
        if (sampler) {
            choice.sampler = std::move(*sampler);
            return choice;
        }
        code = sampler.error().code;
        choice.refused.push_back({candidate.name, false, sampler.error().sentence});
    }
    if (choice.refused.empty()) {
        std::string known;
        for (const Candidate& candidate : candidates) known += std::string(", ") + candidate.name;
        return fail(EINVAL, "there is no sampler \"%.40s\" here: auto%s", wanted.c_str(),
                    known.c_str());
    }
    return fail(code, "no sampler can be used: %s", choice.describe().c_str());
}

}  // namespace

std::vector<SamplerState> probe_samplers(const std::string& root) {
    std::vector<SamplerState> states;
    if (root.empty()) {
        states.push_back(probe_uffd(rwp_kind));
        states.push_back(probe_uffd(wp_kind));
    }
    states.push_back(probe_damon(root));
    states.push_back(probe_numa_hints(root));
    return states;
}

Result<void> check_samplers(const std::string& wanted) {
    SamplerChoice choice;
    for (SamplerState& state : probe_samplers("")) {
        if (state.name == "numa-hints" || (wanted != "auto" && wanted != state.name)) continue;
        if (state.usable && (state.name != "damon" || geteuid() == 0)) return {};
        choice.refused.push_back(std::move(state));
    }
    return fail(EOPNOTSUPP, "no sampler can be used: %s", choice.describe().c_str());
}

std::string SamplerChoice::describe() const {
    std::string said = sampler ? sampler->info().name : "";
    for (const SamplerState& state : refused) {
        said += (said.empty() ? "" : "; ") + ("not " + state.name) + ": " + state.why;
    }
    return said;
}

Result<SamplerChoice> choose_sampler(const std::string& wanted) {
    return first_that_works(wanted, {{"rwp", [] { return make_rwp_sampler(); }},
                                     {"wp", [] { return make_wp_sampler(); }},
                                     {"damon", [] { return make_damon_sampler(getpid(), {}); }}});
}

Result<SamplerChoice> choose_sampler(const std::string& wanted, pid_t pid, Descriptor uffd) {
    auto rwp = [&]() -> Result<std::unique_ptr<Sampler>> {
        if (!uffd) {
            return fail(EPERM, "process %d has handed over no userfaultfd of its own", int(pid));
        }
        return make_rwp_sampler(pid, std::move(uffd));
    };
    return first_that_works(
        wanted, {{"rwp", rwp}, {"damon", [pid] { return make_damon_sampler(pid, {}); }}});
}

}  // namespace libpool::tier
