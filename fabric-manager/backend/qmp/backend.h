// SPDX-License-Identifier: Apache-2.0
// The backend for QEMU guests that share pool files: capacity over QMP, hosts as processes, scrubs
// in the files. All on the one thread of the io_context, but for scrubs, which have a thread of
// their own.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/fabric_file.h"
#include "backend/qmp/pool_file.h"
#include "backend/qmp/process_watch.h"
#include "backend/qmp/qmp_client.h"

namespace cxlpool {

class QmpBackend final : public Backend {
  public:
    using Warn = std::function<void(const std::string& sentence)>;

    // `warn` takes what an operator should see and no command can answer.
    QmpBackend(boost::asio::io_context& io, FabricFile file, Warn warn,
               QmpClient::Limits limits = {});
    ~QmpBackend() override;  // waits for a scrub that is under way to stop

    Result<Fabric> open() override;
    void expect(const HostName& host, const std::string& instance) override;
    void run(Sink sink) override;
    void start_command(const Command& command) override;

  private:
    struct Host;
    struct Asking;

    void make_client(Host& host);
    void observe(Input input);  // through the io_context, never at once
    void complete(OpId op, Result<Answer> result);

    void carry_out(OpId op, const AddCapacity& add);
    void carry_out(OpId op, const ReleaseCapacity& release);
    void carry_out(OpId op, const AskPresence& ask);
    void carry_out(OpId op, const Scrub& scrub);
    void carry_out(OpId op, const Fence& fence);
    Result<Presence> presence_told(const std::string& where, const Result<QmpAnswer>& answer) const;

    // Where a host's QEMU has a device; an error when it has not.
    Result<std::string> path_of(const HostName& host, const DeviceName& device) const;

    boost::asio::io_context& io_;
    FabricFile file_;
    Fabric fabric_;
    Warn warn_;
    QmpClient::Limits limits_;
    std::shared_ptr<Sink> sink_;  // posted handlers hold it weakly: none runs after our end
    std::map<HostName, std::unique_ptr<Host>> hosts_;
    ProcessWatch watch_;
    std::map<DeviceName, PoolFile> pool_files_;
    std::atomic<bool> stop_scrubs_ = false;
    boost::asio::thread_pool scrubber_{1};
};

}  // namespace cxlpool
