// SPDX-License-Identifier: Apache-2.0
// A SQLite VFS over the machine's own that counts every effect on the disk (write, truncate, sync),
// can let one of them fail, or all from one on (the power is gone), and knows what a disk would
// hold afterwards: what was synced, and of the rest any part of any write, in any mix.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace cxlpool {

class FaultyDisk {
  public:
    FaultyDisk();  // registers itself with SQLite
    ~FaultyDisk();
    FaultyDisk(const FaultyDisk&) = delete;
    FaultyDisk& operator=(const FaultyDisk&) = delete;

    const std::string& name() const { return name_; }
    int effects() const { return effects_; }
    int syncs() const { return syncs_; }

    void cut_power_at(int effect) { cut_at_ = effect; }  // counted from 1
    void fail_once_at(int effect, int code) { fail_at_ = effect, fail_code_ = code; }

    // Writes the files as the next boot finds them into `folder`.
    void restore(const std::filesystem::path& folder, std::mt19937& random) const;

  private:
    struct Write {
        std::uint64_t offset;
        std::string bytes;
        bool truncate;
    };
    struct File {
        std::string durable;
        bool name_durable = false;
        std::vector<Write> pending;
    };
    struct Handle;  // of an open file, as SQLite sees it
    friend struct Handle;

    int effect();  // SQLITE_OK, or why it fails

    static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out);
    static int remove(sqlite3_vfs* vfs, const char* path, int sync_folder);

    std::string name_;
    sqlite3_vfs vfs_ = {};
    sqlite3_vfs* real_;
    std::map<std::string, File> files_;
    int effects_ = 0, syncs_ = 0, cut_at_ = 0, fail_at_ = 0, fail_code_ = SQLITE_OK;
};

}  // namespace cxlpool
