// SPDX-License-Identifier: Apache-2.0
// A program that knows nothing of tiers: an index of words in a std::map, of which some are asked
// for nearly always. Nothing of libpool is in it; it is started through pooltier:
//
//   pooltier run -- plain-index 500000 60 &
//   pooltier status $!
//
// usage: plain-index [WORDS [SECONDS]]. Every answer is checked. Exit code: 0; 1 when one was
// wrong; 2 for wrong usage.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

namespace {

using Clock = std::chrono::steady_clock;

// Some hundred bytes, so that a page has ten.
std::string value_of(unsigned key) { return std::string(400, char('a' + key % 26)); }

unsigned number(const char* word) {
    char* end = nullptr;
    unsigned long value = std::strtoul(word, &end, 10);
    if (*word < '0' || *word > '9' || *end || value == 0 || value > 10'000'000) {
        std::fprintf(stderr, "plain-index: usage: plain-index [WORDS [SECONDS]], not \"%s\"\n",
                     word);
        std::exit(2);
    }
    return static_cast<unsigned>(value);
}

}  // namespace

int main(int argc, char** argv) {
    const unsigned words = argc > 1 ? number(argv[1]) : 100'000;
    const auto seconds = std::chrono::seconds(argc > 2 ? number(argv[2]) : 10);
    std::map<unsigned, std::string> index;
    for (unsigned key = 0; key < words; ++key) index[key] = value_of(key);

    // Nine of ten questions are for an eighth of the words.
    std::mt19937 random(1);
    unsigned long asked = 0, wrong = 0;
    for (const auto end = Clock::now() + seconds; Clock::now() < end;) {
        for (int i = 0; i < 1000; ++i, ++asked) {
            const unsigned key = random() % 10 ? random() % (words / 8 + 1) : random() % words;
            auto found = index.find(key % words);
            wrong += found == index.end() || found->second != value_of(key % words);
        }
    }
    std::printf("%u words, %lu questions, %lu wrong\n", words, asked, wrong);
    return wrong > 0;
}
