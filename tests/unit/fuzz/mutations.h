// SPDX-License-Identifier: Apache-2.0
// Texts that are almost right: what is valid, changed a little, again and again. The same seed
// gives the same texts.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

class Mutations {
  public:
    // `words`: what the grammar is made of, which no chance would find.
    Mutations(uint64_t seed, std::vector<std::string> valid, std::vector<std::string> words)
        : random_(seed), valid_(std::move(valid)), words_(std::move(words)) {}

    std::string next() {
        std::string text = valid_[below(valid_.size())];
        for (size_t changes = 1 + below(6); changes > 0; --changes) change(text);
        return text;
    }

  private:
    static constexpr std::string_view numbers[] = {"0",
                                                   "-1",
                                                   "1",
                                                   "4294967295",
                                                   "4294967296",
                                                   "18446744073709551615",
                                                   "18446744073709551616",
                                                   "99999999999999999999999",
                                                   "1e308",
                                                   "nan",
                                                   "0x10",
                                                   "007",
                                                   "1/0",
                                                   "0.5"};

    size_t below(size_t limit) { return limit ? random_() % limit : 0; }
    void change(std::string& text) {
        size_t at = below(text.size() + 1), some = std::min(below(24), text.size() - at);
        switch (below(8)) {
            case 0:
                if (at < text.size()) text[at] = static_cast<char>(random_());
                break;
            case 1:
                text.insert(at, 1, static_cast<char>(random_()));
                break;
            case 2:
                text.erase(at, some);
                break;
            case 3:
                text.insert(below(text.size() + 1), text.substr(at, some));
                break;
            case 4:
                text.insert(at, words_[below(words_.size())]);
                break;
            case 5:  // a number becomes another one
                at = text.find_first_of("0123456789", at);
                if (at == text.npos) break;
                some = std::min(text.find_first_not_of("0123456789", at), text.size()) - at;
                text.replace(at, some, numbers[below(std::size(numbers))]);
                break;
            case 6: {  // the end of another one
                const std::string& other = valid_[below(valid_.size())];
                text.resize(at);
                text += other.substr(below(other.size()));
                break;
            }
            default:
                text.resize(at);
        }
    }

    std::mt19937_64 random_;
    std::vector<std::string> valid_, words_;
};

}  // namespace fuzz
