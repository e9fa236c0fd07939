// SPDX-License-Identifier: Apache-2.0
#include "poold/usage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "poold/fd.h"
#include "tier/maps.h"

namespace poold {

namespace {

constexpr uint64_t page_bytes = 4096;
constexpr size_t chunk_pages = 16384;

// Bits of /proc/kpageflags: Documentation/admin-guide/mm/pagemap.rst.
constexpr uint64_t flag(int bit) { return uint64_t{1} << bit; }
constexpr uint64_t buddy = flag(10), mapped = flag(11), no_page = flag(20), is_offline = flag(23);
constexpr uint64_t told = 0xffffffff & ~flag(25);  // below 32: for people; 25 = idle, no content

bool is_pid(const std::string& name) {
    return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

// One line of numa_maps starts with the address of an area and says "N1=12" where it has pages.
std::vector<uint64_t> areas_on_node(const Tree& tree, const std::string& folder, int node) {
    std::vector<uint64_t> starts;
    std::ifstream file(tree.at(folder + "/numa_maps"));
    const std::string mark = text(" N%d=", node);
    std::string line;
    while (std::getline(file, line) && starts.size() < 65536) {
        if (line.find(mark) == std::string::npos) continue;
        if (auto start = parse_hex(line.substr(0, line.find(' ')))) starts.push_back(*start);
    }
    return starts;
}

// start → end of every area.
std::map<uint64_t, uint64_t> read_areas(const Tree& tree, const std::string& folder) {
    std::map<uint64_t, uint64_t> areas;
    std::ifstream file(tree.at(folder + "/maps"));
    std::string line;
    while (std::getline(file, line) && areas.size() < 65536) {
        unsigned long long start = 0, end = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx", &start, &end) == 2 && end > start) {
            areas[start] = end;
        }
    }
    return areas;
}

uint64_t pages_in_range(int pagemap, uint64_t start, uint64_t end, PhysicalRange range,
                        const std::function<bool()>& stop) {
    std::vector<uint64_t> entries(chunk_pages);
    uint64_t pages = 0;
    for (uint64_t at = start; at < end && !stop();) {
        size_t want = std::min<uint64_t>(chunk_pages, (end - at) / page_bytes);
        ssize_t got =
            pread(pagemap, entries.data(), want * 8, static_cast<off_t>(at / page_bytes * 8));
        if (got < 8) break;
        for (ssize_t i = 0; i < got / 8; ++i) {
            uint64_t entry = entries[static_cast<size_t>(i)];
            uint64_t address = (entry & (flag(55) - 1)) * page_bytes;
            bool present = entry & flag(63);
            if (present && address >= range.start && address < range.end()) ++pages;
        }
        at += static_cast<uint64_t>(got) / 8 * page_bytes;
    }
    return pages;
}

void keep_largest(std::vector<Holder>& holders) {
    std::sort(holders.begin(), holders.end(), [](const Holder& a, const Holder& b) {
        return a.bytes != b.bytes ? a.bytes > b.bytes : a.pid < b.pid;
    });
    if (holders.size() > holder_limit) holders.resize(holder_limit);
}

Holder holder_of(const Tree& tree, const std::string& pid, uint64_t bytes) {
    auto number = parse_number(pid);
    return Holder{static_cast<int>(number.value_or(0)),
                  tame(tree.read_or_empty("/proc/" + pid + "/comm"), 32), bytes};
}

// Of the character device that a path leads to. A file's attributes are taken as they are known
// here: who serves a file system (FUSE) may never answer. `refused`: it may be one, for all that is
// known.
std::optional<dev_t> number_of_device(const std::string& path, bool* refused = nullptr) {
    struct statx info;
    const int known_here = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
    if (statx(AT_FDCWD, path.c_str(), known_here, STATX_TYPE, &info) != 0) {
        if (refused) *refused = errno != ENOENT && errno != ESRCH;
        return std::nullopt;
    }
    if (!S_ISCHR(info.stx_mode)) return std::nullopt;
    return makedev(info.stx_rdev_major, info.stx_rdev_minor);
}

// Opened by O_PATH, which everybody may who sees the name, and which keeps nothing from going.
bool is_path_alone(const Tree& tree, const std::string& fdinfo) {
    const std::vector<std::string> words = words_of(tree.read_or_empty(fdinfo));
    const auto flags = std::ranges::find(words, "flags:");
    if (flags == words.end() || flags + 1 == words.end()) return false;
    return std::strtoull((flags + 1)->c_str(), nullptr, 8) & O_PATH;
}

// A dax device as processes have it: by its number where there is one, which a container may have
// under another name. A recorded tree has names alone.
class DaxDevice {
  public:
    DaxDevice(const Tree& tree, const std::string& name) : tree_(tree), path_("/dev/" + name) {
        if (!tree.recorded()) number_ = number_of_device(path_);
    }

    // `process`: its folder in /proc.
    bool is_open(const std::string& process, const std::string& fd) const {
        const std::string link = tree_.at(process + "/fd/" + fd);
        std::error_code gone;
        const bool is_it = number_ ? number_of_device(link) == number_
                                   : std::filesystem::read_symlink(link, gone) == path_;
        return is_it && !is_path_alone(tree_, process + "/fdinfo/" + fd);
    }

    bool is_mapped(const std::string& process, const libpool::tier::Mapping& mapping) const {
        if (!number_) return mapping.name == path_;
        // Mapped by a file, and never privately: device_dax refuses that. The file itself is asked,
        // as its name is no proof, and as the device's file may be another one in a container.
        if (!mapping.shared || mapping.inode == 0) return false;
        const std::string file = text("/map_files/%llx-%llx",  // no zeros in front there
                                      static_cast<unsigned long long>(mapping.start),
                                      static_cast<unsigned long long>(mapping.end));
        bool refused = false;  // that takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE
        const auto number = number_of_device(tree_.at(process + file), &refused);
        return refused ? mapping.name == path_ : number == number_;
    }

  private:
    const Tree& tree_;
    const std::string path_;
    std::optional<dev_t> number_;
};

}  // namespace

Result<Usage> read_usage(const Tree& tree, PhysicalRange range) {
    std::string path = tree.at("/proc/kpageflags");
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        return fail(errno, "%s: %s (root is needed)", path.c_str(),
                    libpool::errno_text(errno).c_str());
    }
    Usage usage;
    std::vector<uint64_t> flags(chunk_pages);
    for (uint64_t at = range.start; at < range.end();) {
        size_t want = std::min<uint64_t>(chunk_pages, (range.end() - at) / page_bytes);
        ssize_t got =
            pread(file.get(), flags.data(), want * 8, static_cast<off_t>(at / page_bytes * 8));
        if (got < 0) {
            return fail(errno, "%s: %s", path.c_str(), libpool::errno_text(errno).c_str());
        }
        if (got < 8) break;  // behind the last page the kernel knows
        for (ssize_t i = 0; i < got / 8; ++i) {
            uint64_t one = flags[static_cast<size_t>(i)];
            if ((one & told) == 0 || (one & (buddy | no_page | is_offline))) continue;
            usage.used += page_bytes;
            if (!(one & mapped)) usage.unmapped += page_bytes;
        }
        at += static_cast<uint64_t>(got) / 8 * page_bytes;
    }
    return usage;
}

std::vector<Holder> find_holders(const Tree& tree, PhysicalRange range, int node,
                                 const std::function<bool()>& stop) {
    std::vector<Holder> holders;
    for (const std::string& pid : tree.list("/proc")) {
        if (!is_pid(pid) || stop()) continue;
        const std::string folder = "/proc/" + pid;
        auto starts = areas_on_node(tree, folder, node);
        if (starts.empty()) continue;
        auto areas = read_areas(tree, folder);
        Fd pagemap(open(tree.at(folder + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC));
        if (!pagemap) continue;  // gone meanwhile
        uint64_t pages = 0;
        for (uint64_t start : starts) {
            auto area = areas.find(start);
            if (area == areas.end()) continue;
            pages += pages_in_range(pagemap.get(), start, area->second, range, stop);
        }
        if (pages > 0) holders.push_back(holder_of(tree, pid, pages * page_bytes));
    }
    keep_largest(holders);
    return holders;
}

std::vector<Holder> find_dax_holders(const Tree& tree, const std::string& dax) {
    std::vector<Holder> holders;
    const DaxDevice device(tree, dax);
    for (const std::string& pid : tree.list("/proc")) {
        if (!is_pid(pid)) continue;
        const std::string folder = "/proc/" + pid;
        uint64_t bytes = 0;
        std::ifstream maps(tree.at(folder + "/maps"));
        std::string line;
        libpool::tier::Mapping mapping;
        while (std::getline(maps, line)) {
            if (!libpool::tier::parse_mapping(line, mapping)) continue;
            if (device.is_mapped(folder, mapping)) bytes += mapping.bytes();
        }
        const bool has =
            bytes > 0 || std::ranges::any_of(tree.list(folder + "/fd"), [&](const std::string& fd) {
                return device.is_open(folder, fd);
            });
        if (has) holders.push_back(holder_of(tree, pid, bytes));
    }
    keep_largest(holders);
    return holders;
}

std::string describe(const Held& held, uint64_t len) {
    std::string out = describe_bytes(held.used) + " of " + describe_bytes(len) + " held";
    // Both in MiB: the common case reads better with the unit said once.
    constexpr uint64_t mib = 1 << 20;
    if (held.used >= mib && len % mib == 0 && len < 1024 * mib) {
        out = text("%llu of %llu MiB held", static_cast<unsigned long long>(held.used / mib),
                   static_cast<unsigned long long>(len / mib));
    }
    std::string who;
    for (const Holder& holder : held.holders) {
        who += (who.empty() ? "" : ", ") + text("pid %d %s ", holder.pid, holder.comm.c_str()) +
               (holder.bytes ? describe_bytes(holder.bytes) : "has it open");
        if (who.size() > 300) break;
    }
    if (held.kernel) who += (who.empty() ? "" : ", ") + ("kernel " + describe_bytes(held.kernel));
    return who.empty() ? out : out + ": " + who;
}

}  // namespace poold
