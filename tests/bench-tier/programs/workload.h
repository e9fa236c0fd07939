// SPDX-License-Identifier: Apache-2.0
// A workload: data of a given size, and accesses to it in steps of some thousand. It knows time
// only as the moment of a jump. Everything but the data itself (tables, counters) lies outside the
// data.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace work {

struct Shape {
    char* data = nullptr;
    uint64_t bytes = 0;
    uint64_t hot_bytes = 0;
    uint64_t seed = 1;
};

// Addresses of some accesses, for the workload's own view of where they went.
class Samples {
  public:
    void offer(const void* address) {
        if (++since_ < every) return;
        since_ = 0;
        if (addresses_.size() < limit) addresses_.push_back(const_cast<void*>(address));
    }
    std::vector<void*> take() { return std::exchange(addresses_, {}); }

  private:
    static constexpr uint32_t every = 256;
    static constexpr size_t limit = 8192;
    uint32_t since_ = 0;
    std::vector<void*> addresses_;
};

class Workload {
  public:
    virtual ~Workload() = default;
    // First touch of all data, in the order of addresses, as a program that loads its data does.
    virtual void populate() = 0;
    // Some thousand accesses; how many.
    virtual uint64_t step(Samples& samples) = 0;
    // The hot set goes elsewhere.
    virtual void jump() {}
};

// hot-contiguous, hot-scattered, zipf, pagerank, uniform, scan. Null: there is none of that name.
std::unique_ptr<Workload> make_workload(const std::string& name, const Shape& shape);
extern const char* const workload_names;

}  // namespace work
