// SPDX-License-Identifier: Apache-2.0
#include "truth_client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "../pooltruth.h"

namespace truth {
namespace {

constexpr int answer_wait_ms = 5000;

std::string word_of(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string word;
    in >> word;
    return word;
}

// The memory of an ivshmem device, and the device switched on. Empty: there is none.
std::string find_device() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/pci/devices", error)) {
        if (word_of(entry.path() / "vendor") != "0x1af4") continue;
        if (word_of(entry.path() / "device") != "0x1110") continue;
        std::ofstream(entry.path() / "enable") << 1;
        return entry.path() / "resource2";
    }
    return {};
}

}  // namespace

Client::~Client() {
    if (head_) munmap(head_, size_bytes_);
}

std::string Client::open(const std::string& path) {
    path_ = path.empty() ? find_device() : path;
    if (path_.empty()) return "this guest has no ivshmem device: its topology needs \"shared\"";
    int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct stat status = {};
    if (fd < 0 || fstat(fd, &status) != 0) return path_ + ": " + std::strerror(errno);
    size_bytes_ = uint64_t(status.st_size);
    void* memory = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (memory == MAP_FAILED) return path_ + ": " + std::strerror(errno);
    head_ = static_cast<pooltruth_head*>(memory);
    if (std::memcmp(head_->magic, POOLTRUTH_MAGIC, sizeof head_->magic) != 0) {
        return path_ + " has no counters: is QEMU running with the plugin?";
    }
    return {};
}

std::string Client::ask(uint64_t command) {
    head_->command = command;
    uint32_t request = __atomic_add_fetch(&head_->request, 1, __ATOMIC_RELEASE);
    for (int waited_ms = 0; waited_ms < answer_wait_ms; ++waited_ms) {
        if (__atomic_load_n(&head_->answer, __ATOMIC_ACQUIRE) == request) {
            return {head_->error, strnlen(head_->error, sizeof head_->error)};
        }
        usleep(1000);
    }
    return "the plugin has not answered within 5 s";
}

std::string Client::start(const Range& range) {
    if (range.label.size() >= sizeof head_->label) return "the label is longer than 63";
    head_->want_address = range.address;
    head_->want_pages = range.pages;
    head_->epoch_ns = range.epoch_ms * 1000000;
    head_->flags = range.trace ? POOLTRUTH_TRACE : 0;
    std::memset(head_->label, 0, sizeof head_->label);
    std::memcpy(head_->label, range.label.data(), range.label.size());
    return ask(POOLTRUTH_START);
}

std::string Client::stop() { return ask(POOLTRUTH_STOP); }

Client::Totals Client::totals() const {
    Totals sum;
    for (int i = 0; i < POOLTRUTH_MAX_VCPUS; ++i) {
        sum.near += __atomic_load_n(&head_->near_accesses[i], __ATOMIC_RELAXED);
        sum.far += __atomic_load_n(&head_->far_accesses[i], __ATOMIC_RELAXED);
    }
    return sum;
}

const uint32_t* Client::counts() const {
    return reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(head_) +
                                             POOLTRUTH_COUNTS_AT);
}

}  // namespace truth
