// SPDX-License-Identifier: Apache-2.0
// pooltier record: what a process believes of its pages, epoch by epoch, as a trace for pooltrace.
// Rates become counts (rate x length of the epoch); what rounding leaves over is carried into the
// page's next epoch, so that a page touched every ten epochs is there every tenth.
#include <errno.h>
#include <time.h>

#include <cstdio>

#include "pooltier/trace_writer.h"
#include "pooltier/verbs.h"
#include "pooltrace/trace.h"
#include "steady.h"
#include "tier/control_client.h"
#include "tier/printable.h"
#include "uapi.h"

namespace pooltier {

using namespace libpool::tier;
namespace trace = libpool::tier::trace;

namespace {

void sleep_until(double at_s) {
    timespec time{static_cast<time_t>(at_s), long((at_s - double(time_t(at_s))) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
    }
}

// All pages, slice by slice.
Result<PageSlice> ask_all_pages(pid_t pid, Detail detail) {
    PageSlice all;
    do {
        auto slice = ask_pages(pid, {all.rates.size(), slice_limit_pages, detail});
        if (!slice) return slice;
        all.total_pages = slice->total_pages;
        all.rates.insert(all.rates.end(), slice->rates.begin(), slice->rates.end());
        all.places.insert(all.places.end(), slice->places.begin(), slice->places.end());
        if (slice->rates.empty()) break;
    } while (all.rates.size() < all.total_pages && all.rates.size() < trace::Limits{}.pages);
    return all;
}

Result<void> write_to(std::FILE* file, const std::string& words, const std::string& path) {
    if (std::fwrite(words.data(), 1, words.size(), file) == words.size() &&
        std::fflush(file) == 0) {
        return {};
    }
    return fail(EIO, "%s cannot be written: %s", printable(path).c_str(),
                libpool::errno_text(errno).c_str());
}

Result<void> record_epochs(pid_t pid, const PageSlice& first, std::FILE* file,
                           const std::string& path, uint64_t epochs, uint64_t epoch_ms) {
    auto facts = process_facts(pid);
    TraceWriter writer(first.rates.size(), double(epoch_ms) * 1e-3);
    auto done = write_to(
        file, writer.head(first.places, text("%d %s", pid, printable(facts.program, 40).c_str())),
        path);
    double start_s = libpool::steady_now_s();
    for (uint64_t epoch = 0; done && epoch < epochs; ++epoch) {
        sleep_until(start_s + double((epoch + 1) * epoch_ms) * 1e-3);
        auto slice = ask_all_pages(pid, Detail::rates);
        if (!slice) return std::unexpected(slice.error());
        done = write_to(file, writer.epoch(slice->rates), path);
    }
    return done ? write_to(file, writer.end(), path) : done;
}

// Of no use is what the reader will not take.
Result<void> fits_into_a_trace(pid_t pid, uint64_t pages, uint64_t epochs) {
    const trace::Limits limits;
    auto count = [](uint64_t value) { return static_cast<unsigned long long>(value); };
    if (pages > limits.pages) {
        return fail(EFBIG, "process %d has %llu tracked pages (%s), and a trace holds %llu (%s)",
                    pid, count(pages), describe_bytes(pages * libpool::page_bytes).c_str(),
                    count(limits.pages),
                    describe_bytes(limits.pages * libpool::page_bytes).c_str());
    }
    if (pages == 0 || epochs <= limits.cells / pages) return {};
    return fail(
        EFBIG,
        "%llu pages of process %d in %llu epochs are more counts than the %llu that a trace "
        "holds: at most %llu epochs, by less --seconds or more --epoch-ms",
        count(pages), pid, count(epochs), count(limits.cells), count(limits.cells / pages));
}

// The first look: before the file is made, so that a wrong pid costs no old recording.
Result<PageSlice> first_look(pid_t pid, uint64_t epochs) {
    auto one = ask_pages(pid, {0, 1, Detail::rates});
    if (!one) return one;
    if (auto fits = fits_into_a_trace(pid, one->total_pages, epochs); !fits) {
        return std::unexpected(fits.error());
    }
    auto first = ask_all_pages(pid, Detail::rates_and_places);
    if (first && first->rates.empty()) {
        return fail(ENODATA, "process %d has no tracked pages yet", pid);
    }
    return first;
}

}  // namespace

int record(const Args& args) {
    auto pid = number(args.arguments[0], "process id", 1, 1 << 22);
    auto seconds = number(args.value("--seconds").value_or("10"), "number of seconds", 1, 86400);
    auto epoch_ms = number(args.value("--epoch-ms").value_or("1000"), "epoch", 100, 60000);
    for (const auto* word : {&pid, &seconds, &epoch_ms}) {
        if (!*word) return say_usage(word->error());
    }
    auto told = [](const Error& error) {
        return say(exit_of(error), printable(error.sentence, 500));
    };
    auto speaker = speaker_of(static_cast<pid_t>(*pid));
    if (!speaker) return told(speaker.error());
    uint64_t epochs = std::max<uint64_t>(1, *seconds * 1000 / *epoch_ms);
    auto first = first_look(*speaker, epochs);
    if (!first) return told(first.error());
    const std::string& path = args.arguments[1];
    bool to_output = path == "-";
    std::FILE* file = to_output ? stdout : std::fopen(path.c_str(), "we");
    if (!file) {
        return say(exit_refused, text("%s cannot be written: %s", printable(path).c_str(),
                                      libpool::errno_text(errno).c_str()));
    }
    auto done = record_epochs(*speaker, *first, file, path, epochs, *epoch_ms);
    if (!to_output && std::fclose(file) != 0 && done) {
        return say(exit_answer, printable(path) + " cannot be written");
    }
    if (!done) return told(done.error());
    return exit_done;
}

}  // namespace pooltier
