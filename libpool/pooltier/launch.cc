// SPDX-License-Identifier: Apache-2.0
#include "pooltier/launch.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "pooltier/nodes.h"
#include "tier/printable.h"
#include "tier/sampler_choice.h"

namespace pooltier {

using namespace libpool::tier;
using libpool::errno_text;
using libpool::fail;
using libpool::Result;
using libpool::text;

namespace {

constexpr int interpreter_limit = 4;  // as in the kernel
constexpr size_t header_bytes = 4096;

bool is_file(const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string head_of(const std::string& path, size_t bytes) {
    std::string head(bytes, '\0');
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = file < 0 ? -1 : pread(file, head.data(), head.size(), 0);
    if (file >= 0) close(file);
    head.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return head;
}

// "#!/usr/bin/env python3" → "/usr/bin/env".
std::string interpreter_of(std::string_view head) {
    std::string_view line = head.substr(2, head.find('\n') - 2);
    size_t first = line.find_first_not_of(" \t");
    if (first == line.npos) return "";
    line.remove_prefix(first);
    return std::string(line.substr(0, line.find_first_of(" \t\r")));
}

// As shells tell them from programs: no zero byte in what would be the first line.
bool is_commands(std::string_view head) {
    if (head.starts_with("\177ELF") || head.starts_with("#!")) return false;
    return head.substr(0, head.find('\n')).find('\0') == head.npos;
}

bool has_interpreter(std::string_view head) {
    Elf64_Ehdr header;
    std::memcpy(&header, head.data(), sizeof header);
    for (size_t i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr segment;
        size_t at = header.e_phoff + i * sizeof segment;
        if (at > head.size() || head.size() - at < sizeof segment) break;
        std::memcpy(&segment, head.data() + at, sizeof segment);
        if (segment.p_type == PT_INTERP) return true;
    }
    return false;
}

std::optional<std::string> elf_refuses(const std::string& name, std::string_view head) {
    if (head.size() < sizeof(Elf64_Ehdr)) return std::nullopt;  // execve will say
    if (head[EI_CLASS] != ELFCLASS64) {
        return text("%s is a 32-bit program, and the library is not", name.c_str());
    }
    if (!has_interpreter(head)) {
        return text(
            "%s is statically linked: no library can be preloaded (a program can link "
            "libpool itself, or be attached to by root)",
            name.c_str());
    }
    return std::nullopt;
}

std::optional<std::string> privileges_refuse(const std::string& path, const std::string& name) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return std::nullopt;
    bool user = (status.st_mode & S_ISUID) && status.st_uid != geteuid();
    bool group = (status.st_mode & S_ISGID) && status.st_gid != getegid();
    bool capable = geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
    if (!user && !group && !capable) return std::nullopt;
    return text(
        "%s runs with other privileges than yours (%s): the loader preloads nothing into "
        "such programs",
        name.c_str(),
        user    ? "set-user-ID"
        : group ? "set-group-ID"
                : "file capabilities");
}

std::string own_folder() {
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    std::string whole(path, size > 0 ? static_cast<size_t>(size) : 0);
    return whole.substr(0, whole.rfind('/'));
}

bool about_tiering(std::string_view entry) {
    std::string_view name = entry.substr(0, entry.find('='));
    return name == "POOLTIER" || name.starts_with("POOLTIER_");
}

}  // namespace

Result<std::string> find_program(const std::string& word, const char* path_variable) {
    auto executable = [](const std::string& path) {
        return is_file(path) && access(path.c_str(), X_OK) == 0;
    };
    std::string name = printable(word, 100);
    if (word.find('/') != word.npos) {
        if (executable(word)) return word;
        if (!is_file(word)) return fail(ENOENT, "there is no program %s", name.c_str());
        return fail(EACCES, "%s is not executable", name.c_str());
    }
    std::string_view rest = path_variable ? path_variable : "/usr/bin:/bin";
    bool found_one = false;
    while (true) {
        std::string_view folder = rest.substr(0, rest.find(':'));
        std::string path = (folder.empty() ? "." : std::string(folder)) + "/" + word;
        if (executable(path)) return path;
        found_one = found_one || is_file(path);
        if (folder.size() == rest.size()) break;
        rest.remove_prefix(folder.size() + 1);
    }
    if (found_one) return fail(EACCES, "%s is in PATH and not executable", name.c_str());
    return fail(ENOENT, "there is no program %s in PATH", name.c_str());
}

bool is_shell_script(const std::string& program) {
    return is_commands(head_of(program, header_bytes));
}

std::optional<std::string> cannot_preload(const std::string& program) {
    std::string path = program;
    for (int level = 0; level <= interpreter_limit; ++level) {
        std::string name = printable(path, 100);
        if (auto refused = privileges_refuse(path, name)) return refused;
        std::string head = head_of(path, header_bytes);
        if (head.starts_with("\177ELF")) return elf_refuses(name, head);
        if (!head.starts_with("#!") && !is_commands(head)) return std::nullopt;  // execve will say
        path = head.starts_with("#!") ? interpreter_of(head) : shell;
        if (path.empty()) return std::nullopt;
    }
    return std::nullopt;
}

Result<std::string> choose_here(const Settings& settings) {
    auto tiers = tiers_of(settings);
    if (!tiers && !settings.wait && !settings.hand_over) return std::unexpected(tiers.error());
    constexpr const char* names[] = {"", "rwp", "wp", "damon"};
    std::string wanted = names[static_cast<size_t>(settings.sampler)];
    if (settings.hand_over) wanted = "rwp";  // no other sampler works by a descriptor
    std::string refused;
    for (const SamplerState& state : probe_samplers("")) {
        if (state.name == "numa-hints" || (!wanted.empty() && state.name != wanted)) continue;
        bool usable = state.usable && (state.name != "damon" || geteuid() == 0);
        if (usable) {
            return refused.empty() ? "" : "sampling by " + state.name + ", for want of " + refused;
        }
        refused +=
            text("%s%s (%s)", refused.empty() ? "" : ", ", state.name.c_str(), state.why.c_str());
    }
    return fail(ENOTSUP, "%s: %s",
                settings.hand_over ? "there is nothing to hand over" : "no sampler works here",
                refused.c_str());
}

Result<std::string> find_library() {
    constexpr const char* name = "libpool-run.so";
    std::vector<std::string> places;
    if (const char* given = std::getenv("POOLTIER_LIBRARY")) {
        places = {given};
    } else {
        std::string folder = own_folder();
        for (const char* place : {"", "/" POOLTIER_LIBRARIES, "/../lib", "/../run"}) {
            places.push_back(folder + place + "/" + name);
        }
    }
    for (const std::string& place : places) {
        char* whole = realpath(place.c_str(), nullptr);
        if (!whole) continue;
        std::string path(whole);
        std::free(whole);
        if (!is_file(path)) continue;
        if (path.find_first_of(": \t\n") != path.npos) {
            return fail(EINVAL, "%s cannot be preloaded: the loader takes no blanks and colons",
                        printable(path).c_str());
        }
        return path;
    }
    return fail(ENOENT, "%s is not there (looked for %s)", name, printable(places.front()).c_str());
}

std::vector<std::string> environment_for(const char* const* before, const Settings& settings,
                                         const std::string& library) {
    constexpr std::string_view preload = "LD_PRELOAD=";
    std::vector<std::string> out;
    std::string preloaded;
    for (; before && *before; ++before) {
        std::string_view entry(*before);
        if (entry.starts_with(preload))
            preloaded = entry.substr(preload.size());
        else if (!about_tiering(entry))
            out.emplace_back(entry);
    }
    if (!library.empty()) preloaded = library + (preloaded.empty() ? "" : ":" + preloaded);
    if (!preloaded.empty()) out.push_back(std::string(preload) + preloaded);
    for (std::string& entry : environment_of(settings)) out.push_back(std::move(entry));
    return out;
}

}  // namespace pooltier
