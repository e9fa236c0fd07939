// SPDX-License-Identifier: Apache-2.0
// `poold check` on recorded hosts: the table, and the one thing to change first.
#include "poold/check.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fake_tree.h"

namespace poold {
namespace {

struct Fit {
    FakeTree fake;
    Fit() {
        fake.add_host();
        fake.add_pooled();
    }
    std::string change() const { return check_host(fake.tree()).the_one_thing(); }
};

TEST(Check, AFitHost) {
    Fit host;
    CheckResult result = check_host(host.fake.tree());
    EXPECT_EQ(result.the_one_thing(), "");
    EXPECT_NE(result.as_text().find("This host is fit for pooled memory."), std::string::npos);
    auto answer = nlohmann::json::parse(result.as_json());
    EXPECT_EQ(answer["ok"], true);
    EXPECT_GE(answer["findings"].size(), 8u);
}

TEST(Check, TheFirstThingInTheOrderOfMending) {
    Fit host;
    host.fake.set("/sys/devices/system/memory/auto_online_blocks", "online\n");
    EXPECT_NE(host.change().find("memhp_default_state=offline"), std::string::npos);
    host.fake.set("/sys/devices/system/memory/block_size_bytes", "");
    EXPECT_NE(host.change().find("CONFIG_MEMORY_HOTPLUG"), std::string::npos);
    host.fake.remove("/sys/module/kmem");
    EXPECT_EQ(host.change().find("use a kernel with kmem"), 0u);
    host.fake.set(FakeTree::device_folder() + "/dcd/state", "broken\n");
    EXPECT_NE(host.change().find("dmesg"), std::string::npos);
    host.fake.link(FakeTree::device_folder() + "/driver", "x/cxl_pci");
    EXPECT_NE(host.change().find("unbind cxl_pci"), std::string::npos);
    host.fake.remove(FakeTree::device_folder() + "/driver");
    EXPECT_NE(host.change().find("modprobe cxl_dcd"), std::string::npos);
    host.fake.remove(FakeTree::device_folder());
    EXPECT_NE(host.change().find("make rack"), std::string::npos);
    host.fake.set("/proc/sys/kernel/osrelease", "6.12.1\n");
    EXPECT_EQ(host.change().find("boot a kernel 7.3 or newer"), 0u);
}

TEST(Check, AModuleThatIsOnlyOnDiskCounts) {
    Fit host;
    host.fake.remove("/sys/module/kmem");
    host.fake.set("/lib/modules/7.3.4+deb13-amd64/modules.dep",
                  "kernel/drivers/dax/kmem.ko.xz: kernel/drivers/dax/dax.ko.xz\n");
    EXPECT_EQ(host.change(), "");
}

TEST(Check, EitherPolicyThatCanBeGivenBackIsGood) {
    for (const char* policy : {"offline", "online_movable"}) {
        Fit host;
        host.fake.set("/sys/devices/system/memory/auto_online_blocks", policy);
        EXPECT_EQ(host.change(), "") << policy;
    }
    Fit host;
    host.fake.set("/sys/devices/system/memory/auto_online_blocks", "online_kernel\n");
    EXPECT_NE(host.change(), "");
}

TEST(Check, AKernelThatMovesPagesByItselfIsSaid) {
    Fit host;
    auto line = [&] {
        std::string all = check_host(host.fake.tree()).as_text();
        size_t at = all.find("  NUMA balancing  ");
        if (at == all.npos) return "no such line: " + all;
        at = all.rfind('\n', at) + 1;
        return all.substr(at, all.find('\n', at) - at);
    };
    EXPECT_EQ(line(), "ok    NUMA balancing  none in this kernel");
    host.fake.set("/proc/sys/kernel/numa_balancing", "0\n");
    EXPECT_EQ(line(), "ok    NUMA balancing  off");
    for (const char* mode : {"1", "2", "3"}) {
        host.fake.set("/proc/sys/kernel/numa_balancing", std::string(mode) + "\n");
        EXPECT_EQ(
            line().find(std::string("note  NUMA balancing  kernel.numa_balancing is ") + mode +
                        ": the kernel moves pages between nodes, too, and knows no near"),
            0u)
            << line();
        EXPECT_EQ(host.change(), "");
    }
}

}  // namespace
}  // namespace poold
