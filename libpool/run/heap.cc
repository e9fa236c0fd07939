// SPDX-License-Identifier: Apache-2.0
#include "run/heap.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "apart.h"
#include "uapi.h"

namespace libpool::run::heap {

namespace {

constexpr size_t smallest_bytes = 32, largest_bytes = 64 << 10;
// Each chunk is twice the last: a program that locks all its memory (mlockall) locks them, too.
constexpr size_t first_chunk_bytes = 128 << 10, chunk_bytes = 1 << 20;
constexpr size_t class_count = std::bit_width(largest_bytes / smallest_bytes);
constexpr size_t alone = class_count;  // instead of a class: a mapping of its own

// In front of each piece.
struct Head {
    uint32_t size_class;
    uint32_t shift;  // from where the piece begins to what was given out
};
constexpr size_t head_bytes = 16;
static_assert(sizeof(Head) <= head_bytes);

struct Free {
    Free* next;
};

struct Mapping {
    char* base;
    size_t bytes;
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // guards all below
std::array<Free*, class_count> free_pieces{};
char* chunk_at = nullptr;
char* chunk_end = nullptr;
size_t next_chunk_bytes = first_chunk_bytes;
std::array<Mapping, mapping_limit> mappings{};
size_t mapping_count = 0;

char* map_guarded(size_t bytes) {
    if (mapping_count == mapping_limit) return nullptr;
    size_t whole = bytes + 2 * page_bytes;
    void* base = map_apart(whole, PROT_NONE);
    if (base == MAP_FAILED) return nullptr;
    char* inside = static_cast<char*>(base) + page_bytes;
    if (mprotect(inside, bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(base, whole);
        return nullptr;
    }
    mappings[mapping_count++] = {static_cast<char*>(base), whole};
    return inside;
}

void unmap(char* inside) {
    auto end = mappings.begin() + mapping_count;
    auto found = std::find_if(mappings.begin(), end, [&](const Mapping& mapping) {
        return mapping.base + page_bytes == inside;
    });
    munmap(found->base, found->bytes);
    *found = mappings[--mapping_count];
}

char* take_piece(size_t size_class) {
    if (Free* piece = free_pieces[size_class]) {
        free_pieces[size_class] = piece->next;
        return reinterpret_cast<char*>(piece);
    }
    size_t bytes = smallest_bytes << size_class;
    if (size_t(chunk_end - chunk_at) < bytes) {  // what is left of the chunk stays unused
        char* chunk = map_guarded(next_chunk_bytes);
        if (!chunk) return nullptr;
        chunk_at = chunk;
        chunk_end = chunk + next_chunk_bytes;
        next_chunk_bytes = std::min(next_chunk_bytes * 2, chunk_bytes);
    }
    return std::exchange(chunk_at, chunk_at + bytes);
}

}  // namespace

void lock() { pthread_mutex_lock(&mutex); }
void unlock() { pthread_mutex_unlock(&mutex); }

void* take(size_t bytes, size_t alignment) {
    alignment = std::max(alignment, head_bytes);
    if (bytes > SIZE_MAX / 2 || alignment > chunk_bytes) return nullptr;
    size_t whole = std::max(bytes + alignment, smallest_bytes);
    size_t size_class =
        whole > largest_bytes ? alone : size_t(std::bit_width((whole - 1) / smallest_bytes));
    lock();
    char* piece = size_class == alone ? map_guarded((whole + page_bytes - 1) & ~(page_bytes - 1))
                                      : take_piece(size_class);
    unlock();
    if (!piece) return nullptr;
    auto address = reinterpret_cast<uintptr_t>(piece) + head_bytes;
    auto given = (address + alignment - 1) & ~(alignment - 1);
    size_t shift = given - reinterpret_cast<uintptr_t>(piece);
    auto head = reinterpret_cast<Head*>(given - head_bytes);
    *head = {uint32_t(size_class), uint32_t(shift)};
    return reinterpret_cast<void*>(given);
}

void give(void* given) {
    if (!given) return;
    auto head = reinterpret_cast<Head*>(static_cast<char*>(given) - head_bytes);
    char* piece = static_cast<char*>(given) - head->shift;
    size_t size_class = head->size_class;
    lock();
    if (size_class == alone) {
        unmap(piece);
    } else {
        auto free_piece = reinterpret_cast<Free*>(piece);
        free_piece->next = free_pieces[size_class];
        free_pieces[size_class] = free_piece;
    }
    unlock();
}

std::vector<tier::AddressRun> ranges() {
    std::vector<tier::AddressRun> runs;
    runs.reserve(mapping_limit);  // nothing is taken with the lock held
    lock();
    for (size_t i = 0; i < mapping_count; ++i) {
        runs.push_back(
            {reinterpret_cast<uint64_t>(mappings[i].base), mappings[i].bytes / page_bytes});
    }
    unlock();
    return runs;
}

}  // namespace libpool::run::heap
