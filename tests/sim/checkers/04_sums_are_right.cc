// SPDX-License-Identifier: Apache-2.0
// Invariant 4: a grant's bytes are the sum of its extents, of whole usable units, no byte in two
// grants, and free + granted is the device.
#include <fmt/format.h>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class SumsAreRight : public Checker {
  public:
    explicit SumsAreRight(const Truth& truth) : Checker(4, truth) {}

    void contradiction(const std::string& what) override { violated(what); }

    void record(const Record& record) override {
        const auto* created = std::get_if<GrantCreated>(&record.body);
        if (created == nullptr) return;
        for (const Extent& extent : created->extents) {
            const DeviceSpec& spec = truth_.world.fabric().devices.at(extent.device);
            if (extent.range.length == 0 || extent.range.dpa % spec.block != 0 ||
                extent.range.length % spec.block != 0 || extent.range.end() > spec.size) {
                violated(fmt::format("{} owns {}, not whole blocks of the device",
                                     created->name.text, describe(extent)));
            }
        }
    }

    void reply(const Intent& intent, const Reply& reply) override {
        const auto* create = std::get_if<CreateGrant>(&intent);
        if (create == nullptr || !reply.result) return;
        const auto* view = std::get_if<GrantView>(&*reply.result);
        if (view == nullptr) return;
        const LedgerGrant* grant = truth_.ledger.find(view->id);
        if (grant == nullptr) return;  // the 8th checker's business
        Bytes sum = 0;
        for (const Extent& extent : grant->extents) sum += extent.range.length;
        if (sum != create->size || view->size != create->size) {
            violated(fmt::format("{} was asked for {} bytes, says {}, owns {}", grant->name.text,
                                 create->size, view->size, sum));
        }
        if (grant->hosts != std::set<HostName>(create->hosts.begin(), create->hosts.end()) ||
            grant->use != create->use) {
            violated(
                fmt::format("{} has other hosts or another use than asked for", grant->name.text));
        }
    }

    void settled(const DoctorView*) override { free_and_granted(); }
    void emptied() override { free_and_granted(); }

  private:
    void free_and_granted() {
        for (const DeviceView& device : truth_.manager->fabric_view().devices) {
            Bytes owned = 0;
            const DeviceSpec& spec = truth_.world.fabric().devices.at(device.name);
            for (std::size_t block = 0; block < spec.size / spec.block; ++block) {
                if (truth_.ledger.owner(device.name, block)) owned += spec.block;
            }
            if (device.granted != owned || device.free + device.granted != device.size) {
                violated(
                    fmt::format("{}: {} bytes are owned; the view says {} granted, {} free of {}",
                                device.name.text, owned, device.granted, device.free, device.size));
            }
        }
    }
};

}  // namespace

std::unique_ptr<Checker> sums_are_right(const Truth& truth) {
    return std::make_unique<SumsAreRight>(truth);
}

}  // namespace cxlpool::fmsim
