// SPDX-License-Identifier: Apache-2.0
// What the control socket's thread does takes no memory from malloc: under the preload library that
// is the program's, which may hold a lock of it for as long as it likes, and `operator new` alone
// is the library's own. Not under sanitizers, whose malloc cannot be exchanged.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "kernel.h"
#include "numa_balancing.h"
#include "tier/control_client.h"
#include "tier/control_json.h"
#include "tier/engine_control.h"
#include "tier/maps.h"

namespace {

bool counts = false;
int taken = 0;

}  // namespace

extern "C" void* __libc_malloc(size_t bytes);

extern "C" void* malloc(size_t bytes) noexcept {
    taken += counts;
    return __libc_malloc(bytes);
}

// Past that count, as in the preload library.
void* operator new(size_t bytes) {
    if (void* piece = __libc_malloc(bytes)) return piece;
    throw std::bad_alloc();
}
void operator delete(void* piece) noexcept { std::free(piece); }
void operator delete(void* piece, size_t) noexcept { std::free(piece); }

namespace libpool::tier {
namespace {

template <typename What>
int taken_by(What what) {
    taken = 0;
    counts = true;
    what();
    counts = false;
    return taken;
}

TEST(AnswerMemory, IsCountedHere) {
    EXPECT_GT(taken_by([] {
                  if (FILE* file = std::fopen("/proc/self/stat", "re")) std::fclose(file);
              }),
              0);
    EXPECT_EQ(taken_by([] { (void)std::string(1000, 'x'); }), 0);
}

TEST(AnswerMemory, IsNotTheProgramsOwn) {
    EXPECT_EQ(taken_by([] { EXPECT_TRUE(process_facts(getpid()).exists); }), 0);
    EXPECT_EQ(taken_by([] {
                  auto request = decode_request(encode_request(AskStatus{}));
                  UntieredControl control("not tracked: forked");
                  (void)encode_answer(control.status());
                  (void)encode_answer(PageSlice{2, 0, {0.1f, 1e6f}, {Place::near, Place::far}, {}});
              }),
              0);
    EXPECT_EQ(taken_by([] { (void)read_mappings(0); }), 0);
    EXPECT_EQ(taken_by([] { (void)make_kernel()->room_bytes(0); }), 0);
    EXPECT_EQ(taken_by([] { (void)read_numa_balancing(""); }), 0);
}

}  // namespace
}  // namespace libpool::tier
