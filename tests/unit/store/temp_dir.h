// SPDX-License-Identifier: Apache-2.0
// A folder of a test's own that goes with it; in memory where it can be: these tests make and flush
// hundreds of files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace cxlpool {

class TempDir {
  public:
    TempDir() {
        const std::string folders[] = {"/dev/shm", std::filesystem::temp_directory_path().string()};
        for (const std::string& folder : folders) {
            std::string name = folder + "/cxlpool-test-XXXXXX";
            if (!::mkdtemp(name.data())) continue;
            path_ = name;
            return;
        }
        throw std::runtime_error("no temporary folder can be made");
    }
    ~TempDir() { std::filesystem::remove_all(path_); }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(const char* name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

}  // namespace cxlpool
