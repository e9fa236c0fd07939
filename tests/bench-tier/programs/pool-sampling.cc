// SPDX-License-Identifier: Apache-2.0
// What sampling costs on this machine while another thread uses the memory, by the number of runs
// that are armed: what a calibration on idle memory cannot see, because arming must then flush
// another CPU's TLB.
#include <sys/mman.h>

#include <cstdio>
#include <ctime>
#include <thread>
#include <vector>

#include "tier/samplers.h"

namespace {

constexpr uint64_t page_bytes = 4096, pages = 16384;

double cpu_s() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

double wall_s() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

void use(std::stop_token token, volatile char* data) {
    for (uint64_t i = 1; !token.stop_requested();) {
        for (int k = 0; k < 4096; ++k) {
            i = i * 6364136223846793005 + 1442695040888963407;
            (void)data[(i >> 33) % pages * page_bytes];
        }
    }
}

struct Cost {
    double arm_us = 0, look_us = 0, disarm_us = 0, arm_wall_us = 0;
};

// `runs` runs of `length` pages, spread evenly; microseconds of CPU in all, mean of some cycles.
Cost measure(libpool::tier::Sampler& sampler, uint64_t start, uint64_t runs, uint64_t length) {
    constexpr int cycles = 4;
    std::vector<libpool::tier::AddressRun> list;
    for (uint64_t i = 0; i < runs; ++i) {
        list.push_back({start + i * (pages / runs) * page_bytes, length});
    }
    Cost cost;
    for (int cycle = 0; cycle < cycles; ++cycle) {
        double at = cpu_s(), wall = wall_s();
        if (!sampler.arm(list)) std::puts("arming failed");
        double armed = cpu_s();
        cost.arm_wall_us += (wall_s() - wall) * 1e6 / cycles;
        auto look = sampler.look(0);
        double looked = cpu_s();
        sampler.disarm();
        cost.arm_us += (armed - at) * 1e6 / cycles;
        cost.look_us += (looked - armed) * 1e6 / cycles;
        cost.disarm_us += (cpu_s() - looked) * 1e6 / cycles;
    }
    return cost;
}

}  // namespace

int main() {
    auto sampler = libpool::tier::make_rwp_sampler();
    if (!sampler) return std::printf("no sampler: %s\n", sampler.error().sentence.c_str()), 1;
    void* memory = mmap(nullptr, pages * page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) return 1;
    madvise(memory, pages * page_bytes, MADV_NOHUGEPAGE);
    auto start = reinterpret_cast<uint64_t>(memory);
    if (!(*sampler)->add({start, pages})) return 1;
    auto costs = (*sampler)->info().costs;
    std::printf("calibrated: run %.0f ns, page %.0f ns, fault %.0f ns, look %.0f ns a page\n",
                costs.arm_run_ns, costs.arm_page_ns, costs.fault_ns, costs.look_page_ns);
    for (bool busy : {false, true}) {
        std::jthread other;
        if (busy) other = std::jthread(use, static_cast<char*>(memory));
        for (auto [runs, length] :
             {std::pair<uint64_t, uint64_t>{1, pages}, {32, 512}, {32, 16}, {512, 32}, {512, 1}}) {
            Cost c = measure(**sampler, start, runs, length);
            std::printf(
                "%-4s %4lu runs of %5lu pages: arm %7.0f us CPU (%7.0f wall), look %6.0f, disarm "
                "%6.0f\n",
                busy ? "busy" : "idle", runs, length, c.arm_us, c.arm_wall_us, c.look_us,
                c.disarm_us);
        }
    }
    return 0;
}
