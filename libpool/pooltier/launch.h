// SPDX-License-Identifier: Apache-2.0
// What stands between a command and its being tiered by a preload library. Reads files; starts
// nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "tier/settings.h"

namespace pooltier {

// The file that a command's first word means, as execvp(3) finds it. ENOENT, EACCES.
libpool::Result<std::string> find_program(const std::string& word, const char* path_variable);

// What a shell runs as commands, and execve(2) does not take: text without "#!". It is `shell` that
// runs it then, as with execvp(3).
bool is_shell_script(const std::string& program);
inline constexpr const char* shell = "/bin/sh";

// Why the dynamic loader would not preload a library into it, or nothing: static, set-user-ID, file
// capabilities, another word size. Follows "#!" lines.
std::optional<std::string> cannot_preload(const std::string& program);

// Which way the program will be tiered here: "" the best one, or a sentence on the fallback. The
// error says why it cannot be tiered at all: no second tier, no sampler that works in this
// container.
libpool::Result<std::string> choose_here(const libpool::tier::Settings& settings);

// The absolute path of libpool-run.so: $POOLTIER_LIBRARY, else beside the executable, in ../lib,
// where it was installed to, or (build tree) ../run.
libpool::Result<std::string> find_library();

// The environment of the command: `before` without what it says of tiering, with `settings`, and
// with the library in front of LD_PRELOAD when there is one.
std::vector<std::string> environment_for(const char* const* before,
                                         const libpool::tier::Settings& settings,
                                         const std::string& library);

}  // namespace pooltier
