// SPDX-License-Identifier: Apache-2.0
#include "fmctl/args.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "server/log.h"

namespace cxlpool::fmctl {
namespace {

std::unexpected<Error> usage(std::string message) {
    return fail(Code::invalid, std::move(message));
}

std::string did_you_mean(std::string_view typed, const std::vector<std::string_view>& words) {
    const auto near = nearest(typed, words);
    return near ? fmt::format("; did you mean {}?", *near) : "; see fmctl --help";
}

// Insertions, deletions, replacements and swaps of neighbours that make one word of the other.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i)
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a.size()][b.size()];
}

// Reads words one after the other into Args.
class Parser {
  public:
    Parser(const std::vector<Verb>& verbs, const std::vector<Option>& global,
           const std::vector<std::string>& words)
        : verbs_(verbs), global_(global), words_(words) {}

    Result<Args> parse() {
        while (next_ < words_.size()) {
            const std::string& word = words_[next_++];
            const bool option = word.starts_with("-") && word != "-" && !only_words_;
            if (word == "--" && !only_words_) {
                only_words_ = true;
                continue;
            }
            const auto taken = option ? take_option(word) : take_word(word);
            if (!taken) return std::unexpected(taken.error());
        }
        if (args_.has("--help") || args_.has("--version")) return args_;
        if (const auto complete = check_complete(); !complete)
            return std::unexpected(complete.error());
        return args_;
    }

  private:
    Result<void> take_word(const std::string& word) {
        if (noun_.empty()) return take_noun(word);
        if (!args_.verb) return take_verb(word);
        if (args_.verb->argument.empty() || !args_.argument.empty())
            return usage(fmt::format("{} is one word too many for fmctl {}", printable(word),
                                     title(*args_.verb)));
        if (word.empty()) return usage(fmt::format("the {} is empty", args_.verb->argument));
        args_.argument = word;
        return {};
    }

    Result<void> take_noun(const std::string& word) {
        std::vector<std::string_view> nouns;
        for (const Verb& verb : verbs_) nouns.push_back(verb.noun);
        if (std::ranges::find(nouns, word) == nouns.end())
            return usage(fmt::format("{} is no command of fmctl{}", printable(word),
                                     did_you_mean(word, nouns)));
        noun_ = word;
        const auto alone = std::ranges::find_if(
            verbs_, [&](const Verb& verb) { return verb.noun == word && verb.verb.empty(); });
        if (alone != verbs_.end()) args_.verb = &*alone;
        return {};
    }

    Result<void> take_verb(const std::string& word) {
        for (const Verb& verb : verbs_)
            if (verb.noun == noun_ && verb.verb == word) args_.verb = &verb;
        if (args_.verb) return {};
        return usage(fmt::format("{} {} is no command of fmctl{}", noun_, printable(word),
                                 did_you_mean(word, verbs_of(noun_))));
    }

    Result<void> take_option(const std::string& word) {
        const std::size_t equals = std::min(word.find('='), word.size());
        const std::string name = word == "-h" ? "--help" : word.substr(0, equals);
        const Option* option = find(name);
        if (!option)
            return usage(fmt::format("{} is no option of fmctl{}{}", printable(name),
                                     args_.verb ? " " + title(*args_.verb) : "",
                                     did_you_mean(name, option_names())));
        if (option->takes != Takes::values && args_.has(name))
            return usage(fmt::format("{} is there twice", name));
        if (equals < word.size()) {
            if (option->takes == Takes::nothing)
                return usage(fmt::format("{} takes no value", name));
            args_.options.emplace(name, word.substr(equals + 1));
            return {};
        }
        if (option->takes == Takes::value || option->takes == Takes::values) {
            // "--name --dry-run" is a forgotten value, not a name.
            if (next_ == words_.size() || words_[next_].starts_with("--"))
                return usage(fmt::format("{} needs a value: {} {}", name, name, option->value));
            args_.options.emplace(name, words_[next_++]);
            return {};
        }
        args_.options.emplace(name, "");
        return {};
    }

    Result<void> check_complete() const {
        if (noun_.empty()) return usage("what is to be done is missing; see fmctl --help");
        if (!args_.verb) {
            const auto verbs = verbs_of(noun_);
            return usage(fmt::format("fmctl {} needs a verb: {}", noun_, fmt::join(verbs, ", ")));
        }
        if (!args_.verb->argument.empty() && args_.argument.empty())
            return usage(
                fmt::format("fmctl {} needs a {}", title(*args_.verb), args_.verb->argument));
        return {};
    }

    // The options of a verb stand behind it.
    const Option* find(std::string_view name) const {
        const auto in = [&](const std::vector<Option>& options) -> const Option* {
            const auto found = std::ranges::find(options, name, &Option::name);
            return found == options.end() ? nullptr : &*found;
        };
        if (const Option* option = in(global_)) return option;
        return args_.verb ? in(args_.verb->options) : nullptr;
    }

    std::vector<std::string_view> option_names() const {
        std::vector<std::string_view> names;
        for (const Option& option : global_) names.push_back(option.name);
        if (args_.verb)
            for (const Option& option : args_.verb->options) names.push_back(option.name);
        return names;
    }

    std::vector<std::string_view> verbs_of(std::string_view noun) const {
        std::vector<std::string_view> out;
        for (const Verb& verb : verbs_)
            if (verb.noun == noun) out.push_back(verb.verb);
        return out;
    }

    static std::string title(const Verb& verb) {
        return verb.verb.empty() ? std::string(verb.noun)
                                 : fmt::format("{} {}", verb.noun, verb.verb);
    }

    const std::vector<Verb>& verbs_;
    const std::vector<Option>& global_;
    const std::vector<std::string>& words_;
    std::size_t next_ = 0;
    bool only_words_ = false;
    std::string noun_;
    Args args_;
};

std::string option_line(const Option& option) {
    std::string name(option.name);
    if (option.takes == Takes::maybe_value)
        name += fmt::format("[={}]", option.value);
    else if (option.takes != Takes::nothing)
        name += fmt::format(" {}", option.value);
    return fmt::format("  {:<20} {}\n", name, option.help);
}

std::string synopsis(const Verb& verb) {
    std::string out(verb.noun);
    if (!verb.verb.empty()) out += fmt::format(" {}", verb.verb);
    if (!verb.argument.empty()) out += fmt::format(" {}", verb.argument);
    return out;
}

}  // namespace

std::optional<std::string> Args::value(std::string_view option) const {
    const auto found = options.find(option);
    if (found == options.end()) return std::nullopt;
    return found->second;
}

std::vector<std::string> Args::values(std::string_view option) const {
    std::vector<std::string> out;
    const auto [begin, end] = options.equal_range(option);
    for (auto found = begin; found != end; ++found) out.push_back(found->second);
    return out;
}

Result<Args> parse_args(const std::vector<Verb>& verbs, const std::vector<Option>& global,
                        const std::vector<std::string>& words) {
    return Parser(verbs, global, words).parse();
}

std::optional<std::string> nearest(std::string_view typed,
                                   const std::vector<std::string_view>& words) {
    std::optional<std::string> best;
    // A third of the word may be wrong; more is another word.
    std::size_t least = std::max<std::size_t>(1, typed.size() / 3) + 1;
    if (typed.size() > 63) return best;
    for (const std::string_view word : words) {
        const std::size_t far = distance(typed, word);
        const bool beginning = typed.size() >= 2 && word.starts_with(typed);
        if (far >= least && !(beginning && !best)) continue;
        least = std::min(least, far);
        best = std::string(word);
    }
    return best;
}

std::string help(const std::vector<Verb>& verbs, const std::vector<Option>& global) {
    std::string out =
        "fmctl: asks fmd, the fabric manager, for pooled CXL memory.\n\n"
        "usage: fmctl [options] NOUN VERB [NAME] [options]\n\n";
    for (const Verb& verb : verbs) out += fmt::format("  {:<20} {}\n", synopsis(verb), verb.help);
    out += "\noptions of every command\n";
    for (const Option& option : global) out += option_line(option);
    out +=
        "\nSizes are binary: 256M is 256 MiB.\n"
        "Exit codes: 0 done, 1 refused, 2 wrong command line, 3 the fabric failed, 4 time-out.\n";
    return out;
}

std::string help(const Verb& verb, const std::vector<Option>& global) {
    std::string out = fmt::format("usage: fmctl {} [options]\n\n{}\n", synopsis(verb), verb.help);
    if (!verb.options.empty()) out += "\noptions\n";
    for (const Option& option : verb.options) out += option_line(option);
    out += "\noptions of every command\n";
    for (const Option& option : global) out += option_line(option);
    return out;
}

}  // namespace cxlpool::fmctl
