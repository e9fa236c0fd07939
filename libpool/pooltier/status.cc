// SPDX-License-Identifier: Apache-2.0
// pooltier status, top, explain, set: what is asked of tiered processes.
#include <signal.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "pooltier/render.h"
#include "pooltier/verbs.h"
#include "tier/control_client.h"
#include "tier/printable.h"
#include "tier/settings.h"

namespace pooltier {

using namespace libpool::tier;

namespace {

Result<pid_t> pid_of(const std::string& word) {
    auto value = number(word, "process id", 1, 1 << 22);
    if (!value) return std::unexpected(std::move(value.error()));
    return static_cast<pid_t>(*value);
}

// A sentence of another process may hold anything.
Error made_printable(Error error) { return {error.code, printable(error.sentence, 500)}; }

Result<std::vector<Heard>> hear_all() {
    auto pids = tiered_processes();
    if (!pids) return std::unexpected(std::move(pids.error()));
    std::vector<Heard> heard;
    for (pid_t pid : *pids) {
        ProcessFacts facts = process_facts(pid);
        if (!facts.exists) continue;  // ended meanwhile
        auto said = ask_status(pid, heard.size() < 8 ? default_deadline_s : 1);
        if (!said && said.error().code == ESRCH) continue;
        heard.push_back({pid, facts.program, std::move(said)});
    }
    return heard;
}

std::string quoted_json(const std::string& words) {
    std::string out = "\"";
    for (char c : printable(words, 500)) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

std::string json_list(const std::vector<Heard>& heard) {
    std::string out;
    for (const Heard& one : heard) {
        out += out.empty() ? "[" : ",\n ";
        out += one.said ? json_of(*one.said)
                        : text("{\"pid\":%d,\"program\":%s,\"error\":%s}", one.pid,
                               quoted_json(one.program).c_str(),
                               quoted_json(one.said.error().sentence).c_str());
    }
    return out.empty() ? "[]\n" : out + "]\n";
}

std::string tables(const std::vector<Heard>& heard) {
    return heard.empty() ? "" : status_table(heard) + tenant_table(heard);
}

constexpr const char* nobody =
    "no process here is tiered; `pooltier run -- CMD` starts one that is";

int status_of_all(bool as_json) {
    auto heard = hear_all();
    if (!heard) return say(heard.error());
    print(as_json ? json_list(*heard) : tables(*heard));
    if (heard->empty()) say(exit_done, nobody);
    return exit_done;
}

}  // namespace

int status(const Args& args) {
    if (args.arguments.empty()) return status_of_all(args.has("--json"));
    auto pid = pid_of(args.arguments.front());
    if (!pid) return say_usage(pid.error());
    auto speaker = speaker_of(*pid);
    if (!speaker) return say(made_printable(speaker.error()));
    auto said = ask_status(*speaker);
    if (!said) return say(made_printable(said.error()));
    print(args.has("--json") ? json_of(*said) + "\n" : status_block(*said));
    return exit_done;
}

int top(const Args& args) {
    bool terminal = isatty(STDOUT_FILENO);
    uint64_t frames = terminal ? UINT64_MAX : 1;
    if (auto word = args.value("--count")) {
        auto value = number(*word, "number of frames", 1, 1000000);
        if (!value) return say_usage(value.error());
        frames = *value;
    }
    uint64_t interval_s = 2;
    if (auto word = args.value("--interval")) {
        auto value = number(*word, "number of seconds", 1, 3600);
        if (!value) return say_usage(value.error());
        interval_s = *value;
    }
    for (uint64_t frame = 0; frame < frames; ++frame) {
        if (frame > 0) sleep(static_cast<unsigned>(interval_s));
        auto heard = hear_all();
        if (!heard) return say(heard.error());
        if (terminal) print("\033[H\033[2J");
        print(top_head(*heard) + tables(*heard));
        std::fflush(stdout);
        if (std::ferror(stdout)) return exit_answer;
    }
    return exit_done;
}

int explain(const Args& args) {
    auto pid = pid_of(args.arguments[0]);
    if (!pid) return say_usage(pid.error());
    auto at = address(args.arguments[1]);
    if (!at) return say_usage(at.error());
    auto speaker = speaker_of(*pid);
    if (!speaker) return say(made_printable(speaker.error()));
    auto answer = ask_explain(*speaker, *at);
    if (!answer) return say(made_printable(answer.error()));
    print(args.has("--json") ? json_of(*answer) + "\n" : explain_block(*answer));
    return exit_done;
}

int set(const Args& args) {
    auto pid = pid_of(args.arguments.front());
    if (!pid) return say_usage(pid.error());
    // The words are those of the settings; what is not named stays as it is.
    Settings settings;
    Limits limits;
    for (const auto& [option, name] :
         {std::pair{"--near-limit", "near_limit"}, {"--cpu", "cpu"}, {"--mbps", "mbps"}}) {
        auto word = args.value(option);
        if (!word) continue;
        if (auto taken = apply_setting(settings, name, *word); !taken) {
            return say_usage(taken.error());
        }
    }
    if (args.has("--near-limit")) limits.near_limit_bytes = settings.near_limit_bytes;
    if (args.has("--cpu")) limits.cpu_share = settings.cpu_share;
    if (args.has("--mbps")) limits.move_limit_bytes_per_s = settings.move_limit_bytes_per_s;
    if (args.options.empty()) {
        return say(exit_usage, "set needs one of --near-limit, --cpu, --mbps");
    }
    auto speaker = speaker_of(*pid);
    if (!speaker) return say(made_printable(speaker.error()));
    auto done = ask_set(*speaker, limits);
    if (!done) return say(made_printable(done.error()));
    return exit_done;
}

}  // namespace pooltier
