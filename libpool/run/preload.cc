// SPDX-License-Identifier: Apache-2.0
// libpool-run.so: loaded into a program by LD_PRELOAD, it tiers the program's memory when the
// environment says so (tier/settings.h). It shows one symbol (mremap), takes no signals, no
// descriptors and no memory of the program's malloc (but what the C library takes for a thread),
// and nothing of it runs in a forked child. It has three threads: one tiers, one answers, and one
// waits for the end.
#include <link.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "run/ending.h"
#include "run/handover.h"
#include "run/heap.h"
#include "run/own_files.h"
#include "run/remap.h"
#include "run/tiering.h"
#include "signals.h"
#include "steady.h"
#include "tier/control.h"
#include "uapi.h"

namespace {

using namespace libpool;

// Of memory that a program may lock as a whole (mlockall).
// Choosing what moves takes 180 KiB of stack, the rest some 40.
constexpr size_t tiering_stack_bytes = 384 << 10, small_stack_bytes = 64 << 10;
// The C library's own of a thread: what describes it, and room for thread-local data of libraries
// that come later. Some 4 KiB, unless more room was asked for (GLIBC_TUNABLES).
constexpr size_t thread_descriptor_bytes = 16 << 10;
constexpr int refused_code = 125;  // as pooltier run ends when it may not go on untiered

// Made once, never freed: at the program's end its threads may be anywhere.
struct Preloaded {
    explicit Preloaded(const tier::Settings& its_settings)
        : settings(its_settings), tiering(its_settings) {
        for (sem_t* one : {&checked, &prepared, &over}) sem_init(one, 0, 0);
        pthread_sigmask(SIG_SETMASK, nullptr, &signals);
    }
    tier::Settings settings;
    run::Tiering tiering;
    run::Ending ending;
    sigset_t signals;                            // that the program held back when it began
    sem_t checked, prepared, over;               // in this order
    std::string refusal;                         // valid once prepared, as are these
    std::string unheard;                         // why it cannot be asked
    std::unique_ptr<run::HandOver> handed_over;  // instead of the tiering
    std::unique_ptr<tier::ControlServer> control;
    struct Thread {
        pthread_t id{};
        bool runs = false;
    } tiers, answers, waits;
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

void await(sem_t& event) {
    while (sem_wait(&event) != 0 && errno == EINTR) {
    }
}

// With descriptors of the calling thread's own.
template <typename Begin>
void begin(Preloaded& self, Begin what) {
    try {
        take_memory_nearby();
        auto begun = run::own_descriptors();
        if (begun) begun = what();
        if (!begun) self.refusal = begun.error().sentence;
    } catch (const std::exception&) {
        self.refusal = "there is no memory for its tracking";
    }
}

void* tier_program(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    run::Ending::Own counted(self.ending);
    if (!self.settings.hand_over) begin(self, [&] { return self.tiering.prepare(); });
    const bool go_on = self.refusal.empty() && !self.settings.hand_over;
    sem_post(&self.checked);
    if (go_on) self.tiering.run();
    return nullptr;
}

Result<void> open_control(Preloaded& self) {
    if (self.settings.hand_over) {
        auto opened = run::HandOver::open();
        if (!opened) return std::unexpected(opened.error());
        self.handed_over = std::move(*opened);
    }
    auto control = self.handed_over ? tier::ControlServer::open(*self.handed_over)
                                    : tier::ControlServer::open(self.tiering);
    if (control) {
        self.control = std::move(*control);
    } else if (self.handed_over) {
        return std::unexpected(control.error());  // nobody could take it
    } else {
        self.unheard = control.error().sentence;
    }
    return {};
}

// Its descriptors are not those of the tiering thread: no call of Controlled uses one of these.
void* answer_for_program(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    run::Ending::Own counted(self.ending);
    await(self.checked);
    if (self.refusal.empty()) begin(self, [&] { return open_control(self); });
    const bool go_on = self.refusal.empty();
    sem_post(&self.prepared);
    if (!go_on) return nullptr;
    auto look = [&self] {
        const double wait_s = self.ending.look(steady_now_s());
        if (self.ending.is_over() && self.control) self.control->stop();
        return wait_s;
    };
    while (!self.ending.is_over()) {
        if (self.control) {
            self.control->serve(look);
        } else {
            poll(nullptr, 0, int(std::min(look(), self.tiering.settle()) * 1000) + 1);
        }
    }
    self.tiering.stop();
    sem_post(&self.over);
    return nullptr;
}

void join(const Preloaded::Thread& thread) {
    if (thread.runs) pthread_join(thread.id, nullptr);
}

// Returns as the last thread of the process, upon which the C library ends it as it does after the
// last thread of any program: exit(0) with all that is done at exit, or, when the program's threads
// have ended otherwise, as the kernel ends it. With the program's signals, and a stack as usual.
void* end_program(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    for (const auto* thread : {&self.tiers, &self.answers}) join(*thread);
    const int code = self.ending.first_threads_code();
    if (code != 0) syscall(SYS_exit_group, code);  // the C library knows nothing of that end
    pthread_sigmask(SIG_SETMASK, &self.signals, nullptr);
    return nullptr;
}

void* end_program_after_me(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    join(self.waits);
    return end_program(arg);
}

// Shares the program's descriptors, which would be closed with its last thread: what the program
// has not yet written is written at exit. It opens none itself.
void* wait_for_the_end(void* arg) {
    auto& self = *static_cast<Preloaded*>(arg);
    run::Ending::Own counted(self.ending);
    await(self.over);
    if (!self.ending.is_over()) return nullptr;
    pthread_t last;
    if (pthread_create(&last, nullptr, end_program_after_me, &self) != 0) end_program(&self);
    return nullptr;
}

void before_fork() { run::heap::lock(); }
void after_fork() { run::heap::unlock(); }
void in_child() {
    run::heap::unlock();
    run::is_tracked = false;
    if (Preloaded* parents = preloaded.exchange(nullptr)) parents->tiering.forked();
}

// No less than the C library takes out of a new thread's stack. It refuses one (EINVAL) only when
// next to nothing would be left; a thread of ours would end the program soon after it began.
size_t taken_of_a_stack() {
    size_t bytes = thread_descriptor_bytes;
    const auto count = [](dl_phdr_info* object, size_t, void* sum) {
        for (size_t i = 0; i < object->dlpi_phnum; ++i) {
            const auto& part = object->dlpi_phdr[i];
            if (part.p_type != PT_TLS) continue;
            // Each piece is aligned, and then the whole of them, and what is above them.
            *static_cast<size_t*>(sum) += part.p_memsz + 3 * part.p_align;
        }
        return 0;
    };
    dl_iterate_phdr(count, &bytes);
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

// On a stack of our own, which is not tracked. By the program's thread: the C library takes some
// bytes for a new one from malloc, and for a thread that has never called it 64 MiB of addresses.
Result<void> start_thread(Preloaded& self, Preloaded::Thread& thread, void* (*main)(void*),
                          const char* name, size_t stack_bytes) {
    const size_t bytes = stack_bytes + taken_of_a_stack();
    int code = ENOMEM;
    if (void* stack = run::heap::take(bytes, page_bytes)) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, stack, bytes);
        code = pthread_create(&thread.id, &attributes, main, &self);
        pthread_attr_destroy(&attributes);
        if (code == 0) {
            thread.runs = true;
            pthread_setname_np(thread.id, name);
            return {};
        }
        run::heap::give(stack);
    }
    return fail(code, "no thread for it: %s", errno_text(code).c_str());
}

Result<void> start_threads(Preloaded& self) {
    SignalsBlocked inherited;
    Result<void> started =
        start_thread(self, self.waits, wait_for_the_end, "pooltier-end", small_stack_bytes);
    if (!started) return started;
    started =
        start_thread(self, self.answers, answer_for_program, "pooltier-ctl", small_stack_bytes);
    if (started) {
        started = start_thread(self, self.tiers, tier_program, "pooltier", tiering_stack_bytes);
        if (!started) {
            self.refusal = started.error().sentence;
            sem_post(&self.checked);
        }
    }
    if (self.answers.runs) await(self.prepared);
    if (started && !self.refusal.empty()) started = fail(EOPNOTSUPP, "%s", self.refusal.c_str());
    if (started) return started;
    self.tiering.stop();  // it may have begun before the other one failed
    sem_post(&self.over);
    for (const auto* thread : {&self.tiers, &self.answers, &self.waits}) join(*thread);
    return started;
}

Result<void> start(const tier::Settings& settings) {
    auto self = new Preloaded(settings);
    run::is_tracked = true;
    pthread_atfork(before_fork, after_fork, in_child);
    if (auto started = start_threads(*self); !started) {
        run::is_tracked = false;
        return started;
    }
    preloaded = self;
    if (!self->unheard.empty()) {
        say(settings, tier::Say::trouble,
            text("process %d is tiered, and cannot be asked: %s", int(getpid()),
                 self->unheard.c_str()));
    }
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
