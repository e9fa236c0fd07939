// SPDX-License-Identifier: Apache-2.0
// Files and folders of the kernel's, read by system calls alone: the C library's ways take memory
// from malloc, which in a thread of the preload library's would be the program's.
#pragma once

#include <string>
#include <vector>

#include "error.h"

namespace libpool {

// The whole file.
Result<std::string> read_text(const std::string& path);

// Names, in no order; none where there is no such folder.
std::vector<std::string> list_folder(const std::string& path);

}  // namespace libpool
