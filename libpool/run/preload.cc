// SPDX-License-Identifier: Apache-2.0
// libpool-run.so: loaded into a program by LD_PRELOAD, it tiers the program's memory when the
// environment says so (tier/settings.h). It shows no symbols, takes no signals, no descriptors and
// no malloc of the program's, and nothing of it runs in a forked child.
#include <linux/mempolicy.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "run/handover.h"
#include "run/heap.h"
#include "run/own_files.h"
#include "run/tiering.h"
#include "signals.h"
#include "tier/control.h"

namespace {

using namespace libpool;

constexpr size_t stack_bytes = 1 << 20;
constexpr int refused_code = 125;  // as pooltier run ends when it may not go on untiered

// Made once, never freed: at the program's end its thread may be anywhere.
struct Preloaded {
    explicit Preloaded(const tier::Settings& its_settings)
        : settings(its_settings), tiering(its_settings) {}
    tier::Settings settings;
    run::Tiering tiering;
    sem_t prepared;
    std::string refusal;                         // valid once prepared
    std::unique_ptr<run::HandOver> handed_over;  // instead of the tiering
    std::unique_ptr<tier::ControlServer> control;
};
std::atomic<Preloaded*> preloaded = nullptr;

void say(const tier::Settings& settings, tier::Say from, const std::string& sentence) {
    if (settings.say < from) return;
    std::string line = "pooltier: " + sentence + "\n";
    (void)!write(2, line.data(), line.size());
}

// The program's memory policy may be to begin far; what the tracking keeps is small, and used
// often.
void take_memory_nearby() { syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0); }

Result<void> begin(Preloaded& self) {
    take_memory_nearby();
    if (auto own = run::own_descriptors(); !own) return own;
    if (self.settings.hand_over) {
        auto opened = run::HandOver::open();
        if (!opened) return std::unexpected(opened.error());
        self.handed_over = std::move(*opened);
    } else if (auto ready = self.tiering.prepare(); !ready) {
        return ready;
    }
    auto control = self.handed_over ? tier::ControlServer::start(*self.handed_over)
                                    : tier::ControlServer::start(self.tiering);
    if (!control) return std::unexpected(control.error());
    self.control = std::move(*control);
    return {};
}

void* tier_program(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    try {
        if (auto begun = begin(self); !begun) self.refusal = begun.error().sentence;
    } catch (const std::exception& e) {
        self.refusal = e.what();
    }
    bool go_on = self.refusal.empty();
    sem_post(&self.prepared);
    // The descriptor lives in this thread's table, and in that of the socket's thread.
    if (go_on && !self.handed_over) self.tiering.run();
    return nullptr;
}

void before_fork() { run::heap::lock(); }
void after_fork() { run::heap::unlock(); }
void in_child() {
    run::heap::unlock();
    if (Preloaded* parents = preloaded.exchange(nullptr)) parents->tiering.forked();
}

// On a stack of our own, which is not tracked.
Result<void> start_thread(Preloaded& self) {
    void* stack = run::heap::take(stack_bytes, 4096);
    if (!stack) return fail(ENOMEM, "there is no memory for its thread");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, stack_bytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    SignalsBlocked inherited;
    pthread_t thread;
    int code = pthread_create(&thread, &attributes, tier_program, &self);
    pthread_attr_destroy(&attributes);
    if (code != 0) return fail(code, "no thread for it: %s", errno_text(code).c_str());
    pthread_setname_np(thread, "pooltier");
    return {};
}

Result<void> start(const tier::Settings& settings) {
    auto self = new Preloaded(settings);
    sem_init(&self->prepared, 0, 0);
    if (auto started = start_thread(*self); !started) return started;
    while (sem_wait(&self->prepared) != 0 && errno == EINTR) {
    }
    if (!self->refusal.empty()) return fail(EOPNOTSUPP, "%s", self->refusal.c_str());
    pthread_atfork(before_fork, after_fork, in_child);
    preloaded = self;
    say(settings, tier::Say::all,
        self->handed_over ? "waiting to be tiered from outside"
                          : "tiering by " + self->tiering.chosen());
    return {};
}

bool is_wanted() {
    const char* on = getenv("POOLTIER");
    return on && *on;
}

[[gnu::constructor]] void loaded() {
    if (!is_wanted()) return;
    try {
        auto settings = tier::settings_from_environment(environ);
        if (!settings) {
            say({}, tier::Say::trouble, settings.error().sentence);
            return;
        }
        if (!settings->on) return;
        auto started = start(*settings);
        if (started) return;
        say(*settings, tier::Say::trouble,
            text("process %d runs untiered: %s", int(getpid()), started.error().sentence.c_str()));
        if (settings->require) _exit(refused_code);
    } catch (const std::exception& e) {
        say({}, tier::Say::trouble, e.what());
    }
}

// The thread ends with the process, which is fine unless the system is to be put in order.
[[gnu::destructor]] void unloaded() {
    Preloaded* self = preloaded;
    if (!self || !self->tiering.must_be_stopped()) return;
    self->tiering.stop();
    for (int i = 0; i < 200 && !self->tiering.ended(); ++i) usleep(10000);
}

}  // namespace
