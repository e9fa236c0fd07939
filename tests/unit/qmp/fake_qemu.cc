// SPDX-License-Identifier: Apache-2.0
// fake_qemu SOCKET: one QMP socket before one dynamic-capacity device of 1 GiB, with QEMU 11.1's
// checks in QEMU's order and QEMU's words. What its guest does, and how it misbehaves, is told on
// stdin, a line each; each line is answered "ok" on stdout:
//   accept              the guest accepts the first offered group, whole
//   giveback DPA LEN    the guest returns that
//   say TEXT            TEXT is sent as a line
//   flood N             N bytes without an end of line are sent
//   mute                nothing is answered any more on this connection
//   drop                the connection is closed at the next command, which takes effect
//   lax                 an add that names a range twice is carried out: the bug that must be
//   reported count               answers the number of capacity commands so far instead of "ok"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/extents.h"

using namespace cxlpool;
using nlohmann::json;

namespace {

constexpr Bytes kBlock = 2 * MiB, kSize = 1 * GiB;

bool any_overlap(const std::vector<Range>& list, const Range& range) {
    for (const Range& other : list) {
        if (other.overlaps(range)) return true;
    }
    return false;
}

struct Device {
    std::vector<Range> accepted;
    std::vector<std::vector<Range>> pending;
    bool lax = false;

    bool is_pending(const Range& range) const {
        for (const auto& group : pending) {
            if (any_overlap(group, range)) return true;
        }
        return false;
    }

    // QEMU's refusal, or empty.
    std::string check(bool add, const std::vector<Range>& extents) const {
        std::vector<Range> named;
        for (const Range& extent : extents) {
            if (extent.length == 0) return "extent with 0 length is not allowed";
            if (extent.dpa % kBlock || extent.length % kBlock) {
                return "dpa or len is not aligned to region block size";
            }
            if (extent.end() > kSize) return "extent range is beyond the region end";
            if (any_overlap(named, extent) && !lax) {
                return "duplicate or overlapped extents are detected";
            }
            named.push_back(extent);
            if (add && any_overlap(accepted, extent)) {
                return "cannot add DPA already accessible to the same LD";
            }
            if (add && is_pending(extent)) return "cannot add DPA again while still pending";
            if (!add && is_pending(extent)) return "cannot release extent with pending DPA range";
            if (!add && !set_of(accepted).contains(extent)) {
                return "cannot release extent with non-existing DPA range";
            }
        }
        return {};
    }

    static RangeSet set_of(const std::vector<Range>& list) {
        RangeSet set;
        for (const Range& range : list) set.add(range);
        return set;
    }

    void give_back(const Range& range) {
        RangeSet set = set_of(accepted);
        set.subtract(range);
        accepted = set.ranges();
    }
};

class Server {
  public:
    explicit Server(const char* path)
        : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        ::unlink(path);
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(listener_, 4) != 0) {
            std::perror(path);
            std::exit(1);
        }
    }

    void run() {
        std::cout << "ok" << std::endl;
        for (;;) {
            // One client at a time, as QEMU has it.
            pollfd polls[] = {{STDIN_FILENO, POLLIN, 0},
                              {client_ < 0 ? listener_ : client_, POLLIN, 0}};
            if (::poll(polls, 2, -1) < 0) return;
            if (polls[0].revents) {
                std::string line;
                if (!std::getline(std::cin, line)) return;
                std::cout << control(line) << std::endl;
            } else if (polls[1].revents && client_ < 0) {
                greet();
            } else if (polls[1].revents) {
                serve();
            }
        }
    }

  private:
    void send(const std::string& text) {
        if (::send(client_, text.data(), text.size(), MSG_NOSIGNAL) < 0) hang_up();
    }

    void greet() {
        client_ = ::accept(listener_, nullptr, nullptr);
        negotiated_ = mute_ = false;
        input_.clear();
        send(
            R"({"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""},)"
            R"( "capabilities": ["oob"]}})"
            "\r\n");
    }

    void hang_up() {
        if (client_ >= 0) ::close(client_);
        client_ = -1;
    }

    void serve() {
        char buffer[65536];
        const ssize_t got = ::read(client_, buffer, sizeof buffer);
        if (got <= 0) return hang_up();
        input_.append(buffer, static_cast<std::size_t>(got));
        for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
            const json request = json::parse(input_.substr(0, end));
            input_.erase(0, end + 1);
            const json answer = execute(request);
            if (drop_) return drop_ = false, hang_up();
            if (!mute_) send(answer.dump() + "\r\n");
        }
    }

    static json refusal(const json& request, const char* type, const std::string& sentence) {
        return {{"id", request["id"]}, {"error", {{"class", type}, {"desc", sentence}}}};
    }

    json execute(const json& request) {
        const std::string command = request["execute"];
        if (command == "qmp_capabilities") {
            negotiated_ = true;
            return {{"return", json::object()}, {"id", request["id"]}};
        }
        const bool add = command == "cxl-add-dynamic-capacity";
        const bool release = command == "cxl-release-dynamic-capacity";
        if (!negotiated_ || (!add && !release)) {
            return refusal(request, "CommandNotFound",
                           "The command " + command + " has not been found");
        }
        ++commands_;
        const json& arguments = request["arguments"];
        if (arguments["path"] != "/machine/peripheral/cxl-mem0") {
            return refusal(request, "GenericError", "Unable to resolve CXL type 3 device");
        }
        if (arguments["host-id"] != 0 || arguments["region"] != 0 || arguments["tag"] != "" ||
            arguments[add ? "selection-policy" : "removal-policy"] != "prescriptive") {
            return refusal(request, "GenericError", "Selection policy not supported");
        }
        std::vector<Range> extents;
        for (const json& extent : arguments["extents"]) {
            extents.push_back({extent["offset"], extent["len"]});
        }
        if (const std::string why = device_.check(add, extents); !why.empty()) {
            return refusal(request, "GenericError", why);
        }
        if (add && !extents.empty()) device_.pending.push_back(extents);
        return {{"return", json::object()}, {"id", request["id"]}};
    }

    std::string control(const std::string& line) {
        const std::string verb = line.substr(0, line.find(' '));
        const std::string rest = verb.size() < line.size() ? line.substr(verb.size() + 1) : "";
        if (verb == "accept" && !device_.pending.empty()) {
            for (const Range& range : device_.pending.front()) device_.accepted.push_back(range);
            device_.pending.erase(device_.pending.begin());
        } else if (verb == "giveback") {
            std::size_t used = 0;
            const Bytes dpa = std::stoull(rest, &used);
            device_.give_back({dpa, std::stoull(rest.substr(used))});
        } else if (verb == "say") {
            send(rest + "\r\n");
        } else if (verb == "flood") {
            send(std::string(std::stoull(rest), 'x'));
        } else if (verb == "mute") {
            mute_ = true;
        } else if (verb == "drop") {
            drop_ = true;
        } else if (verb == "lax") {
            device_.lax = true;
        } else if (verb == "count") {
            return std::to_string(commands_);
        } else {
            return "what?";
        }
        return "ok";
    }

    int listener_;
    int client_ = -1;
    std::string input_;
    bool negotiated_ = false, mute_ = false, drop_ = false;
    int commands_ = 0;
    Device device_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    Server(argv[1]).run();
}
