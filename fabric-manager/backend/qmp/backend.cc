// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/backend.h"

#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "backend/qmp/dc_commands.h"

namespace cxlpool {

namespace asio = boost::asio;

struct QmpBackend::Host {
    HostName name;
    std::string qmp;
    std::map<DeviceName, std::string> paths;
    std::shared_ptr<QmpClient> client;
    std::optional<Process> peer;  // connected to, not known to be alive yet
    std::string trouble;          // the last one told
};

// An AskPresence on its way: the answers so far, in order; the first that tells nothing spoils the
// whole.
struct QmpBackend::Asking {
    OpId op;
    std::size_t count = 0;
    std::vector<Presence> found;
    std::optional<Error> trouble;

    void take(const Result<Presence>& presence) {
        found.push_back(presence.value_or(Presence::unknown));
        if (!presence && !trouble) trouble = presence.error();
    }
};

QmpBackend::QmpBackend(asio::io_context& io, FabricFile file, Warn warn, QmpClient::Limits limits)
    : io_(io),
      file_(std::move(file)),
      fabric_(file_.fabric()),
      warn_(std::move(warn)),
      limits_(limits),
      sink_(std::make_shared<Sink>()),
      watch_(io.get_executor(), [this](const HostName& host, const std::string& instance) {
          CXLPOOL_CHECK(*sink_);  // expect() comes before run(), and the io_context runs after it
          (*sink_)(HostDied{host, instance});
      }) {
    for (const FabricFile::Host& described : file_.hosts) {
        auto host = std::make_unique<Host>();
        host->name = described.name;
        host->qmp = described.qmp;
        for (const auto& device : described.devices) host->paths[device.device] = device.path;
        make_client(*host);
        hosts_[described.name] = std::move(host);
    }
}

QmpBackend::~QmpBackend() {
    for (const auto& [name, host] : hosts_) host->client->stop();
    stop_scrubs_ = true;
    scrubber_.join();
}

// ---- opening and observing ----

Result<Fabric> QmpBackend::open() {
    if (!PoolFile::really_scrubs()) {
        warn_(
            "this build erases nothing between two owners (CXLPOOL_TEST_NO_SCRUB): it is good for "
            "one "
            "test and nothing else");
    }
    for (const FabricFile::Device& device : file_.devices) {
        auto pool_file = PoolFile::open(device.pool_file, device.size);
        if (!pool_file) {
            return fail(pool_file.error().code,
                        fmt::format("{}: {}", device.name.text, pool_file.error().message));
        }
        fabric_.devices[device.name].identity = pool_file->identity();
        pool_files_.insert_or_assign(device.name, std::move(*pool_file));
    }
    return fabric_;
}

void QmpBackend::expect(const HostName& host, const std::string& instance) {
    if (auto ok = watch_.expect(host, instance); !ok) {
        warn_(fmt::format(
            "{}: its last machine ({}) cannot be watched, so nobody knows when it is dead: "
            "{}",
            host.text, instance, ok.error().message));
    }
}

void QmpBackend::run(Sink sink) {
    *sink_ = std::move(sink);
    for (const auto& [name, host] : hosts_) host->client->start();
}

void QmpBackend::make_client(Host& host) {
    QmpClient::Handlers handlers;
    handlers.connected = [&host](pid_t pid) -> Result<void> {
        auto process = process_of(pid);
        if (!process) return std::unexpected(process.error());
        host.peer = std::move(*process);
        return {};
    };
    // It has answered since `peer` was taken: that is the process, and it lives.
    handlers.ready = [this, &host] {
        const std::string instance = host.peer->instance;
        watch_.add(host.name, std::move(*host.peer));
        host.peer.reset();
        host.trouble.clear();
        (*sink_)(HostUp{host.name, instance});
    };
    handlers.lost = [this, &host](const std::string& why, Silence silence) {
        host.peer.reset();
        if (why == host.trouble) return;  // the same after each try
        host.trouble = why;
        (*sink_)(HostUnreachable{host.name, "its QMP socket " + why, silence});
    };
    handlers.event = [this, &host](const std::string& name) {
        if (name == "RESET") (*sink_)(HostReset{host.name});
    };
    host.client = std::make_shared<QmpClient>(io_, host.qmp, std::move(handlers), limits_);
}

void QmpBackend::observe(Input input) {
    asio::post(io_, [weak = std::weak_ptr(sink_), input = std::move(input)]() mutable {
        if (const auto sink = weak.lock(); sink && *sink) (*sink)(std::move(input));
    });
}

void QmpBackend::complete(OpId op, Result<Answer> result) {
    observe(Completion{op, std::move(result)});
}

// ---- commands ----

void QmpBackend::start_command(const Command& command) {
    std::visit([&](const auto& body) { carry_out(command.op, body); }, command.body);
}

Result<std::string> QmpBackend::path_of(const HostName& host, const DeviceName& device) const {
    const auto found = hosts_.find(host);
    if (found == hosts_.end()) {
        return fail(Code::not_found, fmt::format("host {} is not in the fabric file", host.text));
    }
    const auto path = found->second->paths.find(device);
    if (path == found->second->paths.end()) {
        return fail(Code::not_found,
                    fmt::format("{} has no device {} by the fabric file", host.text, device.text));
    }
    return path->second;
}

namespace {

// Of an add or a release: what the device took, or why it did not.
Result<Answer> taken(const std::string& where, const Result<QmpAnswer>& answer) {
    if (!answer)
        return fail(answer.error().code, fmt::format("{}: {}", where, answer.error().message));
    if (answer->done) return Answer{};
    return fail(Code::fabric, fmt::format("{}: QEMU refused: {}", where, answer->refusal));
}

}  // namespace

void QmpBackend::carry_out(OpId op, const AddCapacity& add) {
    const auto path = path_of(add.host, add.device);
    if (!path) return complete(op, std::unexpected(path.error()));
    if (auto ok = check_group(fabric_.devices.at(add.device), add.extents); !ok) {
        return complete(op, std::unexpected(ok.error()));
    }
    hosts_.at(add.host)->client->execute(
        kAddCapacity, add_arguments(*path, add.extents),
        [this, op, where = fmt::format("{} {}", add.host.text, add.device.text)](
            const auto& answer) { complete(op, taken(where, answer)); });
}

void QmpBackend::carry_out(OpId op, const ReleaseCapacity& release) {
    const auto path = path_of(release.host, release.device);
    if (!path) return complete(op, std::unexpected(path.error()));
    if (auto ok = check_group(fabric_.devices.at(release.device), release.extents); !ok) {
        return complete(op, std::unexpected(ok.error()));
    }
    hosts_.at(release.host)
        ->client->execute(
            kReleaseCapacity, release_arguments(*path, release.extents),
            [this, op, where = fmt::format("{} {}", release.host.text, release.device.text)](
                const auto& answer) { complete(op, taken(where, answer)); });
}

void QmpBackend::carry_out(OpId op, const AskPresence& ask) {
    const auto path = path_of(ask.host, ask.device);
    if (!path) return complete(op, std::unexpected(path.error()));
    if (ask.ranges.empty()) return complete(op, Answer{std::vector<Presence>{}});
    auto asking = std::make_shared<Asking>();
    asking->op = op;
    asking->count = ask.ranges.size();
    // All are queued in one go, so that no command that is started later comes between them.
    for (const Range& range : ask.ranges) {
        const std::string where =
            fmt::format("{} {}", ask.host.text, describe(Extent{ask.device, range}));
        hosts_.at(ask.host)->client->execute(
            kAddCapacity, query_arguments(*path, range),
            [this, asking, where](const Result<QmpAnswer>& answer) {
                asking->take(presence_told(where, answer));
                if (asking->found.size() < asking->count) return;
                if (asking->trouble) return complete(asking->op, std::unexpected(*asking->trouble));
                complete(asking->op, Answer{std::move(asking->found)});
            });
    }
}

Result<Presence> QmpBackend::presence_told(const std::string& where,
                                           const Result<QmpAnswer>& answer) const {
    if (!answer)
        return fail(answer.error().code, fmt::format("{}: {}", where, answer.error().message));
    if (answer->done) {
        // What can never be: the question was taken for an offer. The host may accept it now.
        warn_(fmt::format(
            "{}: QEMU carried out the query by an impossible add as if it were an offer; "
            "this QEMU must not be used with cxlpool: power the host off",
            where));
        return Presence::pending;
    }
    if (const auto presence = presence_by_refusal(answer->refusal)) return *presence;
    return fail(Code::fabric,
                fmt::format("{}: QEMU does not tell its state: {}", where, answer->refusal));
}

void QmpBackend::carry_out(OpId op, const Scrub& scrub) {
    const auto file = pool_files_.find(scrub.extent.device);
    if (file == pool_files_.end()) {
        return complete(op, fail(Code::not_found, fmt::format("device {} has no open pool file",
                                                              scrub.extent.device.text)));
    }
    asio::post(scrubber_, [this, op, &pool_file = file->second, extent = scrub.extent] {
        const auto bytes = pool_file.scrub(extent.range, stop_scrubs_);
        if (bytes) return complete(op, Answer{ScrubReceipt{*bytes}});
        complete(op, fail(bytes.error().code,
                          fmt::format("{}: {}", describe(extent), bytes.error().message)));
    });
}

void QmpBackend::carry_out(OpId op, const Fence& fence) {
    auto ok = watch_.kill(fence.host, fence.instance);
    if (ok) return complete(op, Answer{});
    complete(op, fail(ok.error().code, fmt::format("{}: {}", fence.host.text, ok.error().message)));
}

}  // namespace cxlpool
