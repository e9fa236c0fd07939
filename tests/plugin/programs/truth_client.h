// SPDX-License-Identifier: Apache-2.0
// The guest's side of pooltruth.h: finds the device, maps its memory, asks the plugin and waits.
// Results are sentences: empty when all went well.
#pragma once

#include <cstdint>
#include <string>

struct pooltruth_head;

namespace truth {

class Client {
  public:
    ~Client();
    // Maps BAR 2 of the ivshmem device, or `path` where it is not empty.
    std::string open(const std::string& path = {});

    struct Range {
        uint64_t address = 0;
        uint64_t pages = 0;
        uint64_t epoch_ms = 1000;
        std::string label;
        bool trace = false;
    };
    std::string start(const Range& range);
    std::string stop();

    struct Totals {
        uint64_t near = 0, far = 0;
    };
    Totals totals() const;           // since QEMU began, up to 4 ms old
    const uint32_t* counts() const;  // of each page, growing
    const std::string& path() const { return path_; }

  private:
    std::string ask(uint64_t command);
    std::string path_;
    pooltruth_head* head_ = nullptr;
    uint64_t size_bytes_ = 0;
};

}  // namespace truth
