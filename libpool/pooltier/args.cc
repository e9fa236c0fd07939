// SPDX-License-Identifier: Apache-2.0
#include "pooltier/args.h"

#include <algorithm>
#include <charconv>

#include "tier/printable.h"
#include "tier/settings.h"

namespace pooltier {

namespace {

using libpool::tier::nearest_word;
using libpool::tier::printable;

std::string suggestion(std::string_view word, const std::vector<std::string_view>& candidates) {
    std::string near = nearest_word(word, candidates);
    return near.empty() ? "; see pooltier --help" : "; did you mean " + near + "?";
}

std::string short_form(std::string_view word) { return printable(word, 60); }

class Parser {
  public:
    Parser(const std::vector<Verb>& verbs, const std::vector<std::string>& words)
        : verbs_(verbs), words_(words) {}

    Result<Args> parse() {
        while (next_ < words_.size()) {
            const std::string& word = words_[next_];
            bool plain = !word.starts_with("-") || word == "-";
            if (args_.verb && args_.verb->command && (plain || word == "--")) {
                args_.command.assign(words_.begin() + ptrdiff_t(next_) + (word == "--"),
                                     words_.end());
                break;
            }
            ++next_;
            auto taken = plain ? take_word(word) : take_option(word);
            if (!taken) return std::unexpected(taken.error());
        }
        return complete();
    }

  private:
    Result<void> take_word(const std::string& word) {
        if (!args_.verb) return take_verb(word);
        if (args_.arguments.size() == args_.verb->arguments.size()) {
            return fail(EINVAL, "%s is one word too many for pooltier %s", short_form(word).c_str(),
                        verb_name().c_str());
        }
        if (word.empty()) return fail(EINVAL, "an argument of %s is empty", verb_name().c_str());
        args_.arguments.push_back(word);
        return {};
    }

    Result<void> take_verb(const std::string& word) {
        std::vector<std::string_view> names;
        for (const Verb& verb : verbs_) {
            names.push_back(verb.name);
            if (verb.name == word) args_.verb = &verb;
        }
        if (args_.verb) return {};
        return fail(EINVAL, "%s is no command of pooltier%s", short_form(word).c_str(),
                    suggestion(word, names).c_str());
    }

    Result<void> take_option(const std::string& word) {
        if (word == "--help" || word == "-h") return set(args_.help);
        if (word == "--version") return set(args_.version);
        std::string name = word.substr(0, word.find('='));
        std::vector<std::string_view> names{"--help", "--version"};
        const Option* option = nullptr;
        if (args_.verb) {
            for (const Option& one : args_.verb->options) {
                names.push_back(one.name);
                if (one.name == name) option = &one;
            }
        }
        if (!option) {
            return fail(EINVAL, "%s is no option of pooltier%s%s", short_form(name).c_str(),
                        args_.verb ? (" " + verb_name()).c_str() : "",
                        suggestion(name, names).c_str());
        }
        if (args_.has(name)) return fail(EINVAL, "%s is there twice", name.c_str());
        bool has_value = name.size() < word.size();
        if (option->value.empty() && has_value) {
            return fail(EINVAL, "%s takes no value", name.c_str());
        }
        std::string value = has_value ? word.substr(name.size() + 1) : "";
        if (!option->value.empty() && !has_value) {
            // "--near-limit --cpu" is a forgotten value.
            if (next_ == words_.size() || words_[next_].starts_with("--")) {
                return fail(EINVAL, "%s needs a value: %s %s", name.c_str(), name.c_str(),
                            std::string(option->value).c_str());
            }
            value = words_[next_++];
        }
        args_.options.emplace(name, value);
        return {};
    }

    Result<void> set(bool& wish) {
        wish = true;
        return {};
    }

    Result<Args> complete() {
        if (args_.help || args_.version) return args_;
        if (!args_.verb) return fail(EINVAL, "what is to be done is missing; see pooltier --help");
        for (size_t i = args_.arguments.size(); i < args_.verb->arguments.size(); ++i) {
            if (args_.verb->arguments[i].starts_with("[")) continue;
            return fail(EINVAL, "pooltier %s needs %s", verb_name().c_str(),
                        std::string(args_.verb->arguments[i]).c_str());
        }
        if (args_.verb->command && args_.command.empty()) {
            return fail(EINVAL, "pooltier %s needs a command: pooltier %s -- CMD",
                        verb_name().c_str(), verb_name().c_str());
        }
        return args_;
    }

    std::string verb_name() const { return std::string(args_.verb->name); }

    const std::vector<Verb>& verbs_;
    const std::vector<std::string>& words_;
    size_t next_ = 0;
    Args args_;
};

std::string synopsis(const Verb& verb) {
    std::string out(verb.name);
    for (std::string_view argument : verb.arguments) out += " " + std::string(argument);
    if (!verb.options.empty()) out += " [options]";
    if (verb.command) out += " -- CMD";
    return out;
}

std::string entry(const std::string& left, std::string_view right) {
    return text("  %-34s %s\n", left.c_str(), std::string(right).c_str());
}

}  // namespace

std::optional<std::string> Args::value(std::string_view option) const {
    auto found = options.find(option);
    if (found == options.end()) return std::nullopt;
    return found->second;
}

Result<Args> parse_args(const std::vector<Verb>& verbs, const std::vector<std::string>& words) {
    return Parser(verbs, words).parse();
}

std::string help(const std::vector<Verb>& verbs) {
    std::string out = "pooltier - memory tiering of programs: see it, ask it, start it\n\n";
    for (const Verb& verb : verbs) out += entry(synopsis(verb), verb.help);
    return out + "\n" + entry("VERB --help", "the options of one verb") +
           entry("--version", "print the version") +
           "\nExit codes: 0 done, 1 refused, 2 usage, 3 no sensible answer; of run: see "
           "pooltier(1).\n";
}

std::string help(const Verb& verb) {
    std::string out = "pooltier " + synopsis(verb) + "\n\n" + std::string(verb.help) + "\n";
    if (!verb.options.empty()) out += "\n";
    for (const Option& option : verb.options) {
        std::string left(option.name);
        if (!option.value.empty()) left += " " + std::string(option.value);
        out += entry(left, option.help);
    }
    return out;
}

Result<uint64_t> number(std::string_view word, const char* what, uint64_t low, uint64_t high) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < low || value > high) {
        return fail(EINVAL, "%s is no %s (%llu to %llu)", short_form(word).c_str(), what,
                    static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
    }
    return value;
}

Result<uint64_t> address(std::string_view word) {
    bool hexadecimal = word.starts_with("0x");
    std::string_view digits = hexadecimal ? word.substr(2) : word;
    uint64_t value = 0;
    auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
        return fail(EINVAL, "%s is no address such as 0x7f0012345000", short_form(word).c_str());
    }
    return value;
}

}  // namespace pooltier
