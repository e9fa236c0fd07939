// SPDX-License-Identifier: Apache-2.0
// Every text from outside that tiering reads, almost right: refused with one sentence, or taken and
// then the same when it is written and read again. Under the sanitizers in `make test`;
// FUZZ_ROUNDS=N for more (`make fuzz-tier`), FUZZ_SEED=N for others.
#include <gtest/gtest.h>

#include <cstdlib>

#include "mutations.h"
#include "poold/tenants_file.h"
#include "pooltrace/trace.h"
#include "tier/control_client.h"
#include "tier/control_json.h"
#include "tier/maps.h"
#include "tier/settings.h"
#include "tiers.h"

using namespace libpool;
using namespace libpool::tier;

namespace {

uint64_t setting(const char* name, uint64_t otherwise) {
    const char* given = std::getenv(name);
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

template <typename Check>
void run(std::vector<std::string> valid, std::vector<std::string> words, Check check) {
    const uint64_t seed = setting("FUZZ_SEED", 1), rounds = setting("FUZZ_ROUNDS", 3000);
    fuzz::Mutations mutations(seed, std::move(valid), std::move(words));
    uint64_t taken = 0;
    for (uint64_t round = 0; round < rounds; ++round) {
        std::string text = mutations.next();
        SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round) + ": " +
                     text);
        taken += check(text);
        if (testing::Test::HasFailure()) return;
    }
    // Both ways have to be taken, or the texts are no use.
    EXPECT_GT(taken, rounds / 100);
    EXPECT_LT(taken, rounds);
}

void one_sentence(const Error& error) {
    EXPECT_NE(error.code, 0);
    EXPECT_FALSE(error.sentence.empty());
    EXPECT_LT(error.sentence.size(), 600u);
    for (unsigned char c : error.sentence) EXPECT_GE(c, ' ') << "a control character in a sentence";
}

template <typename T>
bool taken_or_told(const Result<T>& result) {
    if (!result) one_sentence(result.error());
    return bool(result);
}

TEST(Fuzz, Traces) {
    run({"pooltrace 1\npages 12\nepoch_ns 1000000\nhome n*4 f*6 - n\nepoch 1 2*3 0*8\nepoch "
         "7*12\nend 2\n",
         "pooltrace 1\npages 3\nepoch_ns 5\n# a remark\nepoch 1\nepoch\nepoch 4294967295*3\n"},
        {"pages ", "epoch ", "end ", "end 2\n", "epoch_ns ", "home ", "n*", "f*", "-", "*", "\n",
         " ", "#"},
        [](const std::string& text) {
            trace::Limits limits{
                .pages = 4096, .epoch_ns = 1u << 30, .cells = 1 << 16, .file_bytes = 1 << 20};
            auto read = trace::parse(text, limits);
            if (!taken_or_told(read)) return false;
            EXPECT_LE(read->counts.size(), limits.cells);
            auto again = trace::parse(trace::print(*read), limits);
            EXPECT_TRUE(again && again->counts == read->counts && again->home == read->home &&
                        again->epoch_ns == read->epoch_ns && again->whole == read->whole);
            return true;
        });
}

TEST(Fuzz, Settings) {
    run({"near_limit = 512M\ncpu = 0.5%\nmbps = 100\nnear_nodes = 0,2-3\nfar_nodes = 1\nseed = 7\n",
         "sampler = damon\ntenant = web-1\nmin_range = 64K\nloss_ns = 300\nsay = all\n# why\n",
         "on = 1\nrequire = 0\nwait = 1\nhand_over = 1\nnear_limit = none\n"},
        {"=", "near_nodes", "cpu", "%", "-", ",", "\n", "none", "M", "rwp", "1-1000000000"},
        [](const std::string& text) {
            Settings settings;
            auto done = apply_text(settings, text, "file");
            if (!taken_or_told(done)) {
                EXPECT_EQ(settings, Settings{});  // unchanged
                return false;
            }
            if (!taken_or_told(check_settings(settings))) return false;
            settings.on = true;
            std::vector<std::string> entries = environment_of(settings);
            std::vector<const char*> environment;
            for (const std::string& entry : entries) environment.push_back(entry.c_str());
            environment.push_back(nullptr);
            auto again = settings_from_environment(environment.data());
            EXPECT_TRUE(again) << again.error().sentence;
            if (again) {
                EXPECT_EQ(*again, settings);
            }
            return true;
        });
}

TEST(Fuzz, Tenants) {
    run({"capacity = 1G\ntenant web program=nginx floor=64M cap=512M weight=200\n",
         "capacity = auto\ntenant db cgroup=/system.slice/pg.service weight=1 # the rest\n"
         "tenant mine pid=812\ntenant other label=x floor=4K\n"},
        {"tenant ", "capacity", "=", "pid=", "floor=", "weight=", "\n", "label=", "auto", "1G"},
        [](const std::string& text) { return taken_or_told(poold::parse_tenants(text, "file")); });
}

TEST(Fuzz, Declarations) {
    run({"near=0 far=1", "near=0,2-3 far=1,4", "far=1 near=0-1"},
        {"near=", "far=", ",", "-", " ", "0-4096", "="}, [](const std::string& text) {
            return taken_or_told(parse_declaration(text, "POOL_TIERS"));
        });
}

TEST(Fuzz, Maps) {
    const std::string maps =
        "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]\n"
        "7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
        "7f1000000000-7f1000001000 r-xp 00002000 fe:01 1234  /usr/lib/a b.so (deleted)\n"
        "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n";
    run({maps}, {"-", " ", "rw-p", "\n", "ffffffffffffffff", "[anon:x]"},
        [](const std::string& text) {
            uint64_t last = 0;
            auto mappings = parse_mappings(text);
            for (const Mapping& mapping : mappings) {
                EXPECT_GE(mapping.start, last);
                EXPECT_GT(mapping.end, mapping.start);
                last = mapping.end;
            }
            return mappings.size() == 4;
        });
}

TEST(Fuzz, ControlSockets) {
    run({"Num       RefCount Protocol Flags    Type St Inode Path\n"
         "ffff: 00000002 00000000 00010000 0001 01 1234 @pooltier/812\n"
         "ffff: 00000003 00000000 00000000 0001 03 1235 @pooltier/813\n"},
        {" @pooltier/", " 00010000 ", "\n", "0", "99999999999"}, [](const std::string& text) {
            auto pids = parse_control_sockets(text);
            for (pid_t pid : pids) EXPECT_GT(pid, 0);
            return pids == std::vector<pid_t>{812};
        });
}

TEST(Fuzz, Requests) {
    run({encode_request(AskStatus{}), encode_request(AskPages{1, 2}),
         encode_request(AskExplain{4096}), encode_request(AskDescriptor{}),
         R"({"do":"set","near_limit_bytes":4096,"cpu_share":0.02})"},
        {"\"do\"", ":", "{", "}", "\"status\"", "null", "[", "1e999", "-5", "\"pages\""},
        [](const std::string& text) {
            auto request = decode_request(text);
            if (!taken_or_told(request)) return false;
            EXPECT_TRUE(decode_request(encode_request(*request)));
            return true;
        });
}

TEST(Fuzz, Answers) {
    PageSlice slice;
    slice.total_pages = 4;
    slice.rates = {1, 2.5f, 0, 1e6f};
    slice.places = {Place::near, Place::far, Place::nowhere, Place::near};
    slice.ranges = {{0, 0x10000000, 4}};
    run({encode_answer(slice), encode_answer(Snapshot{}), encode_answer(PageAnswer{})},
        {"\"ok\"", "null", "{", "]", "1e999", "-1", "\"error\"", "\"ranges\":[", "\"rates\":"},
        [](const std::string& text) {
            bool taken = false;
            if (auto pages = decode_slice(text)) {
                taken = true;
                PageNumbers numbers(pages->ranges);
                for (uint64_t at : {uint64_t(0), uint64_t(0x10001000), UINT64_MAX}) {
                    const auto number = numbers.of(at);
                    EXPECT_TRUE(!number || !pages->ranges.empty());
                }
            }
            taken |= bool(decode_snapshot(text));
            taken |= bool(decode_page_answer(text));
            return taken;
        });
}

}  // namespace
