// SPDX-License-Identifier: Apache-2.0
// memtool: what the demo and the guest tests do to memory. Every byte goes through aligned 8-byte
// loads and stores, which the emulator keeps whole on a shared extent; it promises nothing for
// atomics there.
//
// The pattern is text, so that it can be recognised in a pool file: lines of 64 bytes, each with
// its owner's label and its offset within the range: "h1               at 000000004096 …\n".
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kLine = 64, kPage = 4096, kMiB = 1 << 20;
constexpr std::size_t kDaxAlign = 2 * kMiB;  // a dax device maps in units of this

[[noreturn]] void die(const std::string& sentence) {
    std::fprintf(stderr, "memtool: %s\n", sentence.c_str());
    std::exit(1);
}

std::uint64_t number(const std::string& text, const char* what) {
    char* end = nullptr;
    errno = 0;
    const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
    static constexpr std::pair<char, int> units[] = {{'K', 10}, {'M', 20}, {'G', 30}};
    int shift = 0;
    for (const auto& [unit, bits] : units)
        if (*end == unit && end[1] == 0) shift = bits, ++end;
    if (text.empty() || text[0] == '-' || *end != 0 || errno != 0 ||
        value << shift >> shift != value)
        die(std::string(what) + " must be a number like 4096 or 32M, not \"" + text + "\"");
    return value << shift;
}

// A word of memory that the compiler must read or write as it stands, 8 bytes at once.
using Word = volatile std::uint64_t;

std::array<std::uint64_t, kLine / 8> line_at(std::string_view label, std::uint64_t offset) {
    char text[96];  // room for an offset of 20 digits; only a line of it is taken
    std::snprintf(text, sizeof text, "%-16.16s at %012" PRIu64 "%31s\n", std::string(label).c_str(),
                  offset, "");
    std::array<std::uint64_t, kLine / 8> words{};
    std::memcpy(words.data(), text, kLine);
    return words;
}

void fill(Word* at, std::uint64_t bytes, std::string_view label) {
    for (std::uint64_t offset = 0; offset < bytes; offset += kLine)
        for (const std::uint64_t word : line_at(label, offset)) *at++ = word;
}

// Bytes that are as they must be, counted in words; `label` "zeros" stands for all zeros.
std::uint64_t matching(const Word* at, std::uint64_t bytes, std::string_view label) {
    std::uint64_t same = 0;
    std::array<std::uint64_t, kLine / 8> want{};
    for (std::uint64_t offset = 0; offset < bytes; offset += kLine) {
        if (label != "zeros") want = line_at(label, offset);
        for (const std::uint64_t word : want) same += (*at++ == word) ? 8 : 0;
    }
    return same;
}

int say_matching(std::uint64_t same, std::uint64_t bytes, std::string_view label) {
    std::printf("%" PRIu64 " of %" PRIu64 " bytes are %s%.*s\n", same, bytes,
                label == "zeros" ? "" : "the pattern of ", static_cast<int>(label.size()),
                label.data());
    std::fflush(stdout);
    return same == bytes ? 0 : 1;
}

// ---- a dax device (or a file) ----

class Mapping {
  public:
    Mapping(const std::string& path, std::uint64_t offset, std::uint64_t bytes, bool write) {
        const int fd = open(path.c_str(), write ? O_RDWR : O_RDONLY);
        if (fd < 0) die(path + " cannot be opened: " + std::strerror(errno));
        skip_ = offset % kDaxAlign;
        size_ = (skip_ + bytes + kDaxAlign - 1) / kDaxAlign * kDaxAlign;
        base_ = mmap(nullptr, size_, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
                     static_cast<off_t>(offset - skip_));
        if (base_ == MAP_FAILED) die(path + " cannot be mapped: " + std::strerror(errno));
        close(fd);
    }
    ~Mapping() { munmap(base_, size_); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    Word* words() const { return reinterpret_cast<Word*>(static_cast<char*>(base_) + skip_); }

  private:
    void* base_ = nullptr;
    std::uint64_t skip_ = 0, size_ = 0;
};

std::uint64_t aligned(std::uint64_t value, std::size_t to, const char* what) {
    if (value % to) die(std::string(what) + " must be a multiple of " + std::to_string(to));
    return value;
}

int put(const std::string& path, std::uint64_t offset) {
    std::string bytes{std::istreambuf_iterator<char>(std::cin), {}};
    const std::size_t given = bytes.size();
    bytes.resize((given + 7) / 8 * 8);
    if (bytes.empty()) die("there is nothing on stdin to put");
    const Mapping map(path, offset, bytes.size(), true);
    for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i * 8, 8);
        map.words()[i] = word;
    }
    std::printf("%zu bytes stored\n", given);
    return 0;
}

int get(const std::string& path, std::uint64_t offset, std::uint64_t bytes) {
    const Mapping map(path, offset, bytes, false);
    std::string out((bytes + 7) / 8 * 8, '\0');
    for (std::size_t i = 0; i < out.size() / 8; ++i) {
        const std::uint64_t word = map.words()[i];
        std::memcpy(out.data() + i * 8, &word, 8);
    }
    return std::fwrite(out.data(), 1, bytes, stdout) == bytes ? 0 : 1;
}

// ---- memory of a node ----

// Small pages of exactly this node.
char* take(int node, std::uint64_t bytes) {
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) die(std::string("memory cannot be mapped: ") + std::strerror(errno));
    madvise(base, bytes, MADV_NOHUGEPAGE);
    constexpr int kBind = 2;  // MPOL_BIND
    unsigned long mask[16] = {};
    mask[node / 64] = 1UL << (node % 64);
    if (syscall(SYS_mbind, base, bytes, kBind, mask, 1024UL, 0UL) != 0)
        die("node " + std::to_string(node) + " gives no memory: " + std::strerror(errno));
    return static_cast<char*>(base);
}

// How many of the pages at base, base + stride, … are on which node, by the kernel's own word.
std::map<int, std::uint64_t> nodes_of(char* base, std::uint64_t bytes, std::size_t stride) {
    std::vector<void*> pages;
    for (std::uint64_t at = 0; at < bytes; at += stride) pages.push_back(base + at);
    std::vector<int> where(pages.size());
    if (syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, where.data(), 0) != 0)
        die(std::string("the nodes of the pages cannot be asked: ") + std::strerror(errno));
    std::map<int, std::uint64_t> counts;
    for (const int node : where) ++counts[node];
    return counts;
}

void say_nodes(const std::map<int, std::uint64_t>& counts) {
    for (const auto& [node, pages] : counts)
        if (node >= 0)
            std::printf("node%d %" PRIu64 " pages\n", node, pages);
        else
            std::printf("unknown (%s) %" PRIu64 " pages\n", std::strerror(-node), pages);
    std::fflush(stdout);
}

// Holds memory until stdin ends; each line "check" reads all of it back. Sparse: of each page its
// first line stands for all, since an emulated far node takes seconds for some MiB.
int hold(int node, std::uint64_t bytes, const std::string& label, bool sparse) {
    char* base = take(node, bytes);
    Word* words = reinterpret_cast<Word*>(base);
    const std::uint64_t step = sparse ? kPage : bytes, part = sparse ? kLine : bytes;
    auto name = [&](std::uint64_t at) {
        return sparse ? label + " page " + std::to_string(at / kPage) : label;
    };
    for (std::uint64_t at = 0; at < bytes; at += step) fill(words + at / 8, part, name(at));
    std::printf("pid %d holds %" PRIu64 " MiB\n", getpid(), bytes / kMiB);
    say_nodes(nodes_of(base, bytes, kPage));
    int worst = 0;
    for (std::string line; std::getline(std::cin, line);) {
        if (line != "check") die("a line on stdin must be \"check\", not \"" + line + "\"");
        say_nodes(nodes_of(base, bytes, kPage));
        std::uint64_t same = 0;
        for (std::uint64_t at = 0; at < bytes; at += step) {
            same += matching(words + at / 8, part, name(at)) * (step / part);
        }
        worst |= say_matching(same, bytes, label);
    }
    return worst;
}

// Maps BYTES of each node, writes and reads back one page of every MiB, and says where they are.
int spread(const std::vector<std::string>& shares) {
    std::uint64_t total = 0, same = 0, pages = 0;
    std::map<int, std::uint64_t> where;
    std::vector<std::pair<char*, std::uint64_t>> maps;
    for (const std::string& share : shares) {
        const std::size_t colon = share.find(':');
        if (colon == std::string::npos) die("\"" + share + "\" must be NODE:BYTES");
        const std::uint64_t bytes =
            aligned(number(share.substr(colon + 1), "BYTES"), kMiB, "BYTES");
        maps.emplace_back(take(static_cast<int>(number(share.substr(0, colon), "NODE")), bytes),
                          bytes);
        total += bytes;
    }
    for (const auto& [base, bytes] : maps)
        for (std::uint64_t at = 0; at < bytes; at += kMiB)
            fill(reinterpret_cast<Word*>(base + at), kPage, "spread " + std::to_string(at / kMiB));
    for (const auto& [base, bytes] : maps) {
        for (std::uint64_t at = 0; at < bytes; at += kMiB, ++pages)
            same += matching(reinterpret_cast<Word*>(base + at), kPage,
                             "spread " + std::to_string(at / kMiB));
        for (const auto& [node, count] : nodes_of(base, bytes, kMiB)) where[node] += count;
    }
    std::printf("%" PRIu64 " MiB mapped, one page of every MiB: %" PRIu64 " of %" PRIu64
                " pages written and read back\n",
                total / kMiB, same / kPage, pages);
    say_nodes(where);
    return same == pages * kPage ? 0 : 1;
}

constexpr std::string_view kUsage =
    "usage: memtool fill   FILE OFFSET BYTES LABEL    write the pattern of LABEL\n"
    "       memtool verify FILE OFFSET BYTES LABEL    compare (LABEL zeros: all zeros)\n"
    "       memtool put    FILE OFFSET                store stdin\n"
    "       memtool get    FILE OFFSET BYTES          load to stdout\n"
    "       memtool hold   NODE BYTES LABEL [sparse]  hold memory of a node until stdin ends\n"
    "       memtool spread NODE:BYTES…                one page of every MiB of each node\n";

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> a(argv + 1, argv + argc);
    if (a.size() == 5 && (a[0] == "fill" || a[0] == "verify")) {
        const std::uint64_t offset = aligned(number(a[2], "OFFSET"), 8, "OFFSET");
        const std::uint64_t bytes = aligned(number(a[3], "BYTES"), kLine, "BYTES");
        const Mapping map(a[1], offset, bytes, a[0] == "fill");
        if (a[0] == "verify") return say_matching(matching(map.words(), bytes, a[4]), bytes, a[4]);
        fill(map.words(), bytes, a[4]);
        std::printf("%" PRIu64 " bytes written with the pattern of %s\n", bytes, a[4].c_str());
        return 0;
    }
    if (a.size() == 3 && a[0] == "put")
        return put(a[1], aligned(number(a[2], "OFFSET"), 8, "OFFSET"));
    if (a.size() == 4 && a[0] == "get")
        return get(a[1], aligned(number(a[2], "OFFSET"), 8, "OFFSET"), number(a[3], "BYTES"));
    if ((a.size() == 4 || (a.size() == 5 && a[4] == "sparse")) && a[0] == "hold")
        return hold(static_cast<int>(number(a[1], "NODE")),
                    aligned(number(a[2], "BYTES"), kPage, "BYTES"), a[3], a.size() == 5);
    if (a.size() >= 2 && a[0] == "spread") return spread({a.begin() + 1, a.end()});
    std::fputs(std::string(kUsage).c_str(), stderr);
    return 2;
}
