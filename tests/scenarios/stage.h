// SPDX-License-Identifier: Apache-2.0
// Where a scenario plays: a manager, a journal, devices that behave as devices do, and hosts that
// do only what the scenario says. The list of commands is in README.md beside this file.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/sim/device.h"
#include "core/manager.h"
#include "words.h"

namespace cxlpool::scenario {

class Stage {
  public:
    Stage();

    // What the command prints, line by line; or a sentence about what is wrong with the command.
    Result<std::vector<std::string>> play(const std::string& line);

  private:
    struct Host {
        std::string instance;  // empty: powered off
        int machines = 0, boots = 1;
        std::uint64_t seq = 0;
        std::map<Extent, Use> plugged;
        Bytes memory_block = 128 * MiB;
        std::map<DeviceName, Bytes> hpa;
    };
    using Lines = Result<std::vector<std::string>>;

    Result<void> obey(const Words& words);
    Result<void> build(const Words& words);
    Result<void> ready();
    Result<void> advance(const Words& words);
    Result<void> answer(const Words& words);
    Result<void> power(const Words& words);
    Result<void> show(const Words& words);
    Result<void> agent(const HostName& name);  // does what desired says
    Result<void> report(const Words& words);
    Result<void> restart();
    Result<void> own_hand(const Words& words);  // what a host does with its devices
    void crash();
    void give(const Input& input);
    void take(Output output);
    void sync();
    bool run_command(std::size_t index);  // of waiting_, on the devices
    void run_all();
    void say(std::string text);
    Result<Host*> host(const std::string& name);
    HostReport compose(const HostName& name, const Words& words);
    Now now() const { return {now_ms_, now_ms_ * 1000}; }

    Fabric fabric_;
    Limits limits_;
    std::map<DeviceName, std::unique_ptr<sim::SimDevice>> devices_;
    std::map<HostName, Host> hosts_;
    std::optional<Manager> manager_;
    std::vector<Record> journal_, unsynced_;
    std::vector<Command> waiting_;  // started, not carried out
    std::vector<Completion> done_;  // delivered once, by op: for repeats
    Output held_;                   // effects that wait for the sync
    bool hold_ = false;             // commits wait for "sync"
    bool quiet_ = false;
    Millis now_ms_ = 0;
    std::uint64_t last_ticket_ = 0;
    std::vector<std::string> out_;
};

}  // namespace cxlpool::scenario
