/* SPDX-License-Identifier: Apache-2.0
 * QEMU TCG plugin: counts every access of guest programs to each page of one range of virtual
 * addresses, and where (near or far, by guest physical address) it was served. The truth that
 * trackers are judged by.
 *
 *   -plugin pooltruth.so,shared=FILE,out=FOLDER[,far=START-END]...
 *
 * FILE (pooltruth.h) has the counters and the requests of the guest; it is opened before QEMU gives
 * up its privileges. Each range that is asked for leaves FOLDER/LABEL.csv (near and far accesses of
 * each epoch) and, when wanted, FOLDER/LABEL.trace (counts of each page and epoch: "pooltrace 1").
 *
 * Counted is what user code does, as QEMU does it: one access a load or store, two for a
 * read-modify-write, one for each part of what is wider than 16 bytes; at the page it begins in.
 * Not counted: what the kernel does for a program (read() into its memory). Addresses are not
 * checked for the process: use ones that no other has.
 *
 * Two kinds of threads: vCPUs only add to counters (on_access); one thread of ours does all else.
 */
#define _GNU_SOURCE
#include "pooltruth.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "qemu_api.h"

enum { MAX_FAR = 8, POLL_NS = 4000000, USER_SPACE_BITS = 47 };

struct physical_range {
    uint64_t start, end;
};

struct tally { /* of one vCPU, written by its thread alone */
    uint64_t near, far;
    char pad[112];
} __attribute__((aligned(128)));

struct run {
    FILE *csv, *epochs; /* epochs: NULL without a trace */
    char label[64];
    uint64_t epoch_ns, began_ns, next_ns, epoch_began_ns, number;
    struct tally before;
};

QEMU_EXPORT int qemu_plugin_version = 7;

static struct physical_range far_ranges[MAX_FAR];
static int far_count;
static const char* out_folder = "";
static struct pooltruth_head* head;
static uint32_t* counts;
static uint64_t capacity;
static uint64_t range_start, range_pages; /* what on_access counts; pages 0: nothing */
static struct tally tallies[POOLTRUTH_MAX_VCPUS];
static uint32_t* previous; /* counts at the end of the last epoch */
static char* first_place;  /* of each page: 0, 'n' or 'f' */
static struct run run;
static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER; /* run: our thread, and exit */

/* ---- what vCPUs do --------------------------------------------------------------------------- */

static bool is_far(uint64_t physical) {
    for (int i = 0; i < far_count; ++i) {
        if (physical >= far_ranges[i].start && physical < far_ranges[i].end) return true;
    }
    return false;
}

static void on_access(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void* data) {
    (void)data;
    uint64_t page =
        (address - __atomic_load_n(&range_start, __ATOMIC_RELAXED)) / POOLTRUTH_PAGE_BYTES;
    if (page >= __atomic_load_n(&range_pages, __ATOMIC_RELAXED)) return;
    __atomic_fetch_add(&counts[page], 1, __ATOMIC_RELAXED);
    const struct qemu_plugin_hwaddr* where = qemu_plugin_get_hwaddr(info, address);
    bool far = where && is_far(qemu_plugin_hwaddr_phys_addr(where));
    struct tally* tally = &tallies[vcpu % POOLTRUTH_MAX_VCPUS];
    uint64_t* side = far ? &tally->far : &tally->near;
    __atomic_store_n(side, *side + 1, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&first_place[page], __ATOMIC_RELAXED)) {
        __atomic_store_n(&first_place[page], far ? 'f' : 'n', __ATOMIC_RELAXED);
    }
}

static void on_translate(struct qemu_plugin_tb* tb, void* data) {
    (void)data;
    if (qemu_plugin_tb_vaddr(tb) >> USER_SPACE_BITS) return;
    size_t instructions = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < instructions; ++i) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access,
                                         QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static FILE* open_file(const char* label, const char* end, const char* mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", out_folder, label, end);
    return fopen(path, mode);
}

static struct tally publish_tallies(void) {
    struct tally sum = {0};
    for (int i = 0; i < POOLTRUTH_MAX_VCPUS; ++i) {
        uint64_t near = __atomic_load_n(&tallies[i].near, __ATOMIC_RELAXED);
        uint64_t far = __atomic_load_n(&tallies[i].far, __ATOMIC_RELAXED);
        __atomic_store_n(&head->near_accesses[i], near, __ATOMIC_RELAXED);
        __atomic_store_n(&head->far_accesses[i], far, __ATOMIC_RELAXED);
        sum.near += near;
        sum.far += far;
    }
    return sum;
}

/* Repeated values are one word; what is missing at the end is 0. */
struct words {
    FILE* file;
    uint32_t value;
    uint64_t repeat;
};

static void put_word(struct words* words) {
    if (words->repeat == 0) return;
    fprintf(words->file, words->repeat > 1 ? " %u*%lu" : " %u", words->value, words->repeat);
}

static void write_counts(FILE* file, const uint32_t* before, const uint32_t* after,
                         uint64_t pages) {
    struct words words = {file, 0, 0};
    fputs("epoch", file);
    for (uint64_t i = 0; i < pages; ++i) {
        uint32_t count = after[i] - before[i];
        if (count != words.value) {
            put_word(&words);
            words.value = count;
            words.repeat = 0;
        }
        ++words.repeat;
    }
    if (words.value != 0) put_word(&words);
    fputc('\n', file);
}

static void end_epoch(uint64_t now) {
    uint64_t pages = range_pages, touched = 0;
    uint32_t* after = malloc(pages * sizeof *after);
    if (!after) return;
    for (uint64_t i = 0; i < pages; ++i) {
        after[i] = __atomic_load_n(&counts[i], __ATOMIC_RELAXED);
        touched += after[i] != previous[i];
    }
    struct tally sum = publish_tallies();
    fprintf(run.csv, "%lu,%.3f,%.3f,%lu,%lu,%lu\n", run.number++,
            (double)(run.epoch_began_ns - run.began_ns) * 1e-9,
            (double)(now - run.epoch_began_ns) * 1e-9, sum.near - run.before.near,
            sum.far - run.before.far, touched);
    fflush(run.csv);
    if (run.epochs) write_counts(run.epochs, previous, after, pages);
    memcpy(previous, after, pages * sizeof *after);
    free(after);
    run.before = sum;
    run.epoch_began_ns = now;
}

static void write_home(FILE* file, uint64_t pages) {
    fputs("home", file);
    for (uint64_t i = 0; i < pages;) {
        uint64_t end = i + 1;
        while (end < pages && first_place[end] == first_place[i]) ++end;
        fprintf(file, end - i > 1 ? " %c*%lu" : " %c", first_place[i] ? first_place[i] : '-',
                end - i);
        i = end;
    }
    fputc('\n', file);
}

/* The head of a trace tells where pages were first, which is known only now. */
static void finish_trace(uint64_t pages) {
    FILE* trace = open_file(run.label, "trace", "w");
    if (trace) {
        fprintf(trace, "pooltrace 1\npages %lu\nepoch_ns %lu\n", pages, run.epoch_ns);
        write_home(trace, pages);
        rewind(run.epochs);
        char part[65536];
        for (size_t n; (n = fread(part, 1, sizeof part, run.epochs)) > 0;)
            fwrite(part, 1, n, trace);
        fprintf(trace, "end %lu\n", run.number);
        fclose(trace);
    }
    fclose(run.epochs);
    run.epochs = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.epochs", out_folder, run.label);
    unlink(path);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void stop_run(void) {
    if (!run.csv) return;
    uint64_t pages = range_pages;
    end_epoch(now_ns());
    __atomic_store_n(&range_pages, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&head->first_address, 0, __ATOMIC_RELEASE);
    if (run.epochs) finish_trace(pages);
    fclose(run.csv);
    run.csv = NULL;
}

static const char* refusal(const struct pooltruth_head* wanted) {
    if (wanted->want_pages == 0 || wanted->want_pages > capacity)
        return "the range has no page, or more pages than there are counters";
    if (wanted->want_address % POOLTRUTH_PAGE_BYTES || wanted->want_address >> USER_SPACE_BITS)
        return "the range does not begin at a page of user space";
    if (wanted->epoch_ns < 10000000) return "an epoch must be 10 ms or longer";
    size_t length = strnlen(wanted->label, sizeof wanted->label);
    if (length == 0 || length == sizeof wanted->label || wanted->label[0] == '.' ||
        strspn(wanted->label, "abcdefghijklmnopqrstuvwxyz0123456789.-") != length)
        return "the label must be 1 to 63 of a-z, 0-9, . and -";
    return NULL;
}

static const char* start_run(void) {
    struct pooltruth_head wanted = *head; /* the guest may change it under us */
    const char* refused = refusal(&wanted);
    if (refused) return refused;
    stop_run();
    memcpy(run.label, wanted.label, sizeof run.label);
    run.csv = open_file(run.label, "csv", "w");
    run.epochs = wanted.flags & POOLTRUTH_TRACE ? open_file(run.label, "epochs", "w+") : NULL;
    if (!run.csv || (wanted.flags & POOLTRUTH_TRACE && !run.epochs)) {
        if (run.csv) fclose(run.csv);
        run.csv = NULL;
        return "the files cannot be written in the folder given by out=";
    }
    fputs("epoch,start_s,seconds,near,far,pages_touched\n", run.csv);
    memset(first_place, 0, capacity);
    memcpy(previous, counts, wanted.want_pages * sizeof *counts);
    run.before = publish_tallies();
    run.number = 0;
    run.epoch_ns = wanted.epoch_ns;
    run.began_ns = run.epoch_began_ns = now_ns();
    run.next_ns = run.began_ns + run.epoch_ns;
    head->pages = wanted.want_pages;
    __atomic_store_n(&range_start, wanted.want_address, __ATOMIC_RELAXED);
    __atomic_store_n(&range_pages, wanted.want_pages, __ATOMIC_RELEASE);
    __atomic_store_n(&head->first_address, wanted.want_address, __ATOMIC_RELEASE);
    return NULL;
}

static void answer_request(void) {
    uint32_t request = __atomic_load_n(&head->request, __ATOMIC_ACQUIRE);
    if (request == __atomic_load_n(&head->answer, __ATOMIC_RELAXED)) return;
    const char* refused = NULL;
    if (head->command == POOLTRUTH_START) {
        refused = start_run();
    } else if (head->command == POOLTRUTH_STOP) {
        stop_run();
    } else {
        refused = "there is no such command";
    }
    snprintf(head->error, sizeof head->error, "%s", refused ? refused : "");
    __atomic_store_n(&head->answer, request, __ATOMIC_RELEASE);
}

__attribute__((noreturn)) static void* serve(void* data) {
    (void)data;
    for (;;) {
        nanosleep(&(struct timespec){0, POLL_NS}, NULL);
        pthread_mutex_lock(&run_lock);
        answer_request();
        uint64_t now = now_ns();
        if (run.csv && now >= run.next_ns) {
            end_epoch(now);
            run.next_ns += run.epoch_ns;
            if (run.next_ns < now) run.next_ns = now + run.epoch_ns;
        }
        publish_tallies();
        pthread_mutex_unlock(&run_lock);
    }
}

static void on_exit_of_qemu(void* data) {
    (void)data;
    pthread_mutex_lock(&run_lock);
    stop_run();
    pthread_mutex_unlock(&run_lock);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int fail(const char* what, const char* object) {
    fprintf(stderr, "pooltruth: %s: %s\n", object, what);
    return 1;
}

static int map_shared(const char* path) {
    struct stat status;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) return fail(strerror(errno), path);
    if (status.st_size <= POOLTRUTH_COUNTS_AT) return fail("has no room for counters", path);
    char* memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) return fail(strerror(errno), path);
    head = (struct pooltruth_head*)memory;
    counts = (uint32_t*)(memory + POOLTRUTH_COUNTS_AT);
    capacity = ((uint64_t)status.st_size - POOLTRUTH_COUNTS_AT) / sizeof *counts;
    previous = calloc(capacity, sizeof *previous);
    first_place = calloc(capacity, 1);
    if (!previous || !first_place) return fail("no memory for so many counters", path);
    head->pages = capacity;
    memcpy(head->magic, POOLTRUTH_MAGIC, sizeof head->magic);
    return 0;
}

static int parse_far(const char* text) {
    struct physical_range range;
    char* end;
    range.start = strtoull(text, &end, 0);
    if (*end != '-') return fail("far= takes START-END", text);
    range.end = strtoull(end + 1, &end, 0);
    if (*end || range.end <= range.start)
        return fail("far= takes START-END, END behind START", text);
    if (far_count == MAX_FAR) return fail("so many far ranges are not supported", text);
    far_ranges[far_count++] = range;
    return 0;
}

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                    char** argv);

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
    if (!info->system_emulation) return fail("is for whole guests", "pooltruth");
    if (info->system.max_vcpus > POOLTRUTH_MAX_VCPUS)
        return fail("counts for up to 16 vCPUs", "pooltruth");
    const char* shared = NULL;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "shared=", 7) == 0) {
            shared = argv[i] + 7;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_folder = argv[i] + 4;
        } else if (strncmp(argv[i], "far=", 4) == 0) {
            if (parse_far(argv[i] + 4)) return 1;
        } else {
            return fail("no such argument; there are shared=, out= and far=", argv[i]);
        }
    }
    if (!shared || !*out_folder) return fail("shared= and out= are needed", "pooltruth");
    if (map_shared(shared)) return 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, NULL))
        return fail("the thread cannot be started", "pooltruth");
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate, NULL);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
