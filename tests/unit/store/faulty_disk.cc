// SPDX-License-Identifier: Apache-2.0
#include "faulty_disk.h"

#include <fstream>
#include <iterator>

namespace cxlpool {
namespace {

constexpr std::size_t kSector = 512;  // what a disk writes whole or not at all

void write_at(std::string& contents, std::uint64_t offset, std::string_view bytes) {
    if (contents.size() < offset + bytes.size()) contents.resize(offset + bytes.size());
    contents.replace(offset, bytes.size(), bytes);
}

std::string contents_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

struct FaultyDisk::Handle {
    sqlite3_file base;
    FaultyDisk* disk;
    File* file;

    static Handle& of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }
    static sqlite3_file* real(sqlite3_file* file) {
        return reinterpret_cast<sqlite3_file*>(reinterpret_cast<Handle*>(file) + 1);
    }

    static int close(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
    static int read(sqlite3_file* file, void* to, int length, sqlite3_int64 offset) {
        return real(file)->pMethods->xRead(real(file), to, length, offset);
    }
    static int write(sqlite3_file* file, const void* from, int length, sqlite3_int64 offset) {
        if (const int code = of(file).disk->effect(); code != SQLITE_OK) return code;
        const std::string bytes(static_cast<const char*>(from), static_cast<std::size_t>(length));
        of(file).file->pending.push_back({static_cast<std::uint64_t>(offset), bytes, false});
        return real(file)->pMethods->xWrite(real(file), from, length, offset);
    }
    static int truncate(sqlite3_file* file, sqlite3_int64 size) {
        if (const int code = of(file).disk->effect(); code != SQLITE_OK) return code;
        of(file).file->pending.push_back({static_cast<std::uint64_t>(size), {}, true});
        return real(file)->pMethods->xTruncate(real(file), size);
    }
    static int sync(sqlite3_file* file, int) {
        if (const int code = of(file).disk->effect(); code != SQLITE_OK) return code;
        ++of(file).disk->syncs_;
        File& state = *of(file).file;
        for (const Write& write : state.pending) {
            if (write.truncate) {
                state.durable.resize(write.offset);
            } else {
                write_at(state.durable, write.offset, write.bytes);
            }
        }
        state.pending.clear();
        state.name_durable = true;
        return SQLITE_OK;  // what the real disk does is not the point here, and would be slow
    }
    static int size(sqlite3_file* file, sqlite3_int64* size) {
        return real(file)->pMethods->xFileSize(real(file), size);
    }
    static int lock(sqlite3_file* file, int level) {
        return real(file)->pMethods->xLock(real(file), level);
    }
    static int unlock(sqlite3_file* file, int level) {
        return real(file)->pMethods->xUnlock(real(file), level);
    }
    static int check_lock(sqlite3_file* file, int* out) {
        return real(file)->pMethods->xCheckReservedLock(real(file), out);
    }
    static int control(sqlite3_file* file, int op, void* argument) {
        return real(file)->pMethods->xFileControl(real(file), op, argument);
    }
    static int sector(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
    static int traits(sqlite3_file* file) {
        return real(file)->pMethods->xDeviceCharacteristics(real(file));
    }
};

FaultyDisk::FaultyDisk() : real_(sqlite3_vfs_find(nullptr)) {
    static int number = 0;
    name_ = "faulty-disk-" + std::to_string(++number);
    vfs_ = *real_;
    vfs_.zName = name_.c_str();
    vfs_.pNext = nullptr;
    vfs_.pAppData = this;
    vfs_.szOsFile = static_cast<int>(sizeof(Handle)) + real_->szOsFile;
    vfs_.xOpen = open;
    vfs_.xDelete = remove;
    sqlite3_vfs_register(&vfs_, 0);
}

FaultyDisk::~FaultyDisk() { sqlite3_vfs_unregister(&vfs_); }

int FaultyDisk::effect() {
    ++effects_;
    if (cut_at_ && effects_ >= cut_at_) return SQLITE_IOERR;
    if (effects_ == fail_at_) return fail_code_;
    return SQLITE_OK;
}

int FaultyDisk::open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
    static const sqlite3_io_methods methods = {1,
                                               Handle::close,
                                               Handle::read,
                                               Handle::write,
                                               Handle::truncate,
                                               Handle::sync,
                                               Handle::size,
                                               Handle::lock,
                                               Handle::unlock,
                                               Handle::check_lock,
                                               Handle::control,
                                               Handle::sector,
                                               Handle::traits,
                                               nullptr,
                                               nullptr,
                                               nullptr,
                                               nullptr,
                                               nullptr,
                                               nullptr};
    auto& disk = *static_cast<FaultyDisk*>(vfs->pAppData);
    auto& handle = Handle::of(file);
    handle.base.pMethods = nullptr;
    if (!disk.files_.contains(path)) {
        const bool there = std::filesystem::exists(path);
        disk.files_[path] = {contents_of(path), there, {}};
    }
    const int code = disk.real_->xOpen(disk.real_, path, Handle::real(file), flags, out);
    if (code != SQLITE_OK) return code;
    handle.base.pMethods = &methods;
    handle.disk = &disk;
    handle.file = &disk.files_[path];
    return SQLITE_OK;
}

int FaultyDisk::remove(sqlite3_vfs* vfs, const char* path, int sync_folder) {
    auto& disk = *static_cast<FaultyDisk*>(vfs->pAppData);
    if (disk.cut_at_ && disk.effects_ >= disk.cut_at_) return SQLITE_IOERR_DELETE;
    disk.files_.erase(path);
    return disk.real_->xDelete(disk.real_, path, sync_folder);
}

void FaultyDisk::restore(const std::filesystem::path& folder, std::mt19937& random) const {
    for (const auto& [path, file] : files_) {
        if (!file.name_durable && random() % 2) continue;
        std::string contents = file.durable;
        for (const Write& write : file.pending) {
            const auto fate = random() % 3;  // lost, torn, written
            if (fate == 0) continue;
            if (write.truncate) {
                contents.resize(write.offset);
                continue;
            }
            const std::size_t sectors = (write.bytes.size() + kSector - 1) / kSector;
            const std::size_t kept = fate == 1 ? random() % sectors : sectors;
            write_at(contents, write.offset,
                     std::string_view(write.bytes).substr(0, kept * kSector));
        }
        const auto name = std::filesystem::path(path).filename();
        std::ofstream(folder / name, std::ios::binary | std::ios::trunc) << contents;
    }
}

}  // namespace cxlpool
