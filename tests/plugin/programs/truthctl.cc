// SPDX-License-Identifier: Apache-2.0
// Asks the plugin from inside a guest, for programs that do not do it themselves; and the program
// of the plugin's own test, whose accesses are known beforehand.
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "truth_client.h"

namespace {

const char usage[] =
    "usage: truthctl start ADDRESS PAGES EPOCH_MS LABEL [trace]\n"
    "       truthctl stop\n"
    "       truthctl touch LABEL    two threads touch 64 pages, page i 1000 * (i + 1) times each\n"
    "       truthctl where          the file that the truth sampler maps\n";

constexpr uint64_t touch_address = 0x200000000000;  // nobody else's
constexpr uint64_t touch_pages = 64;

int stop_with(const std::string& sentence) {
    if (sentence.empty()) return 0;
    std::fprintf(stderr, "truthctl: %s\n", sentence.c_str());
    return 1;
}

void touch_all(char* data) {
    for (uint64_t page = 0; page < touch_pages; ++page) {
        auto word = reinterpret_cast<volatile uint64_t*>(data + page * 4096);
        for (uint64_t i = 0; i < 1000 * (page + 1); ++i) (void)word[i % 512];
    }
}

int touch(truth::Client& client, const std::string& label) {
    void* memory =
        mmap(reinterpret_cast<void*>(touch_address), touch_pages * 4096, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) return stop_with("the test's address is taken");
    auto data = static_cast<char*>(memory);
    std::string failed = client.start({touch_address, touch_pages, 60000, label, true});
    if (!failed.empty()) return stop_with(failed);
    std::thread other(touch_all, data);
    touch_all(data);
    other.join();
    return stop_with(client.stop());
}

}  // namespace

int main(int argc, char** argv) {
    std::string verb = argc > 1 ? argv[1] : "";
    bool good = verb == "start" ? argc == 6 || (argc == 7 && !std::strcmp(argv[6], "trace"))
                : (verb == "stop" || verb == "where") ? argc == 2
                                                      : verb == "touch" && argc == 3;
    if (!good) return std::fputs(usage, stderr), 2;
    truth::Client client;
    std::string failed = client.open();
    if (!failed.empty()) return stop_with(failed);
    if (verb == "where") return std::puts(client.path().c_str()), 0;
    if (verb == "stop") return stop_with(client.stop());
    if (verb == "touch") return touch(client, argv[2]);
    return stop_with(
        client.start({std::strtoull(argv[2], nullptr, 0), std::strtoull(argv[3], nullptr, 0),
                      std::strtoull(argv[4], nullptr, 0), argv[5], argc == 7}));
}
