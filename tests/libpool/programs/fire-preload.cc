// SPDX-License-Identifier: Apache-2.0
// libtier-fire.so: by LD_PRELOAD every process of a program, forked ones too, comes under fire.
#include <pthread.h>

#include "fire.h"
#include "run/heap.h"

namespace {

using libpool::run::heap::lock;
using libpool::run::heap::unlock;

void begin() { new fire::Fire("rwp", fire::Start::at_once); }  // until the process ends

void in_child() {
    unlock();
    begin();
}

[[gnu::constructor]] void loaded() {
    begin();
    pthread_atfork(lock, unlock, in_child);
}

}  // namespace
