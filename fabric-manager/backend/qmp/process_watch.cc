// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/process_watch.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

namespace cxlpool {

namespace asio = boost::asio;

struct ProcessWatch::Watched {
    Watched(const asio::any_io_executor& executor, int pidfd_of_process)
        : pidfd(executor, pidfd_of_process) {}

    asio::posix::stream_descriptor pidfd;
};

ProcessWatch::ProcessWatch(asio::any_io_executor executor, OnDeath on_death)
    : executor_(std::move(executor)), on_death_(std::make_shared<OnDeath>(std::move(on_death))) {}

ProcessWatch::~ProcessWatch() = default;

void ProcessWatch::tell(const HostName& host, const std::string& instance) {
    asio::post(executor_, [weak = std::weak_ptr(on_death_), host, instance] {
        if (const auto on_death = weak.lock()) (*on_death)(host, instance);
    });
}

void ProcessWatch::add(const HostName& host, Process process) {
    const std::string instance = process.instance;
    if (watched_.contains(instance)) return;
    auto& watched = watched_[instance];
    watched = std::make_unique<Watched>(executor_, process.pidfd.release());
    wait_for(host, instance, *watched);
}

// A wait may end for nothing: asio takes the event for the fact. Once, on a busy machine, a QEMU
// that lived was told to be dead (most likely so); what a host holds would be erased and given away
// then. So the process itself is asked.
void ProcessWatch::wait_for(const HostName& host, const std::string& instance, Watched& watched) {
    watched.pidfd.async_wait(
        asio::posix::descriptor_base::wait_read,
        [this, weak = std::weak_ptr(on_death_), host, instance](boost::system::error_code error) {
            const auto on_death = weak.lock();
            if (!on_death || error) return;
            const auto found = watched_.find(instance);
            if (found == watched_.end()) return;
            if (!ended(found->second->pidfd.native_handle())) {
                return wait_for(host, instance, *found->second);
            }
            watched_.erase(found);
            (*on_death)(host, instance);
        });
}

Result<void> ProcessWatch::expect(const HostName& host, const std::string& instance) {
    if (watched_.contains(instance)) return {};
    auto process = find_process(instance);
    if (!process) return std::unexpected(process.error());
    if (*process) {
        add(host, std::move(**process));
    } else {
        tell(host, instance);
    }
    return {};
}

Result<void> ProcessWatch::kill(const HostName& host, const std::string& instance) {
    if (auto ok = expect(host, instance); !ok) return ok;
    const auto found = watched_.find(instance);
    if (found == watched_.end()) return {};  // dead already
    return kill_process(found->second->pidfd.native_handle(), instance);
}

}  // namespace cxlpool
