// SPDX-License-Identifier: Apache-2.0
// Watches the processes of hosts and tells the end of each, once. Belongs to the thread of the
// io_context; must live as long as that runs or be destroyed first.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "backend/qmp/process.h"
#include "core/ids.h"

namespace cxlpool {

class ProcessWatch {
  public:
    using OnDeath = std::function<void(const HostName&, const std::string& instance)>;

    // `on_death` is called by the executor, never from inside a call of this class.
    ProcessWatch(boost::asio::any_io_executor executor, OnDeath on_death);
    ~ProcessWatch();
    ProcessWatch(const ProcessWatch&) = delete;
    ProcessWatch& operator=(const ProcessWatch&) = delete;

    // Again for an instance that is watched already: no effect.
    void add(const HostName& host, Process process);

    // For an instance known by name alone: its death is told at once when it is dead already. An
    // error when nobody can tell; nothing is watched then.
    Result<void> expect(const HostName& host, const std::string& instance);

    // SIGKILL to exactly that instance. Its death is told when it is seen.
    Result<void> kill(const HostName& host, const std::string& instance);

  private:
    struct Watched;
    void tell(const HostName& host, const std::string& instance);
    void wait_for(const HostName& host, const std::string& instance, Watched& watched);

    boost::asio::any_io_executor executor_;
    std::shared_ptr<OnDeath> on_death_;  // handlers hold it weakly: none runs after our end
    std::map<std::string, std::unique_ptr<Watched>> watched_;  // by instance
};

}  // namespace cxlpool
