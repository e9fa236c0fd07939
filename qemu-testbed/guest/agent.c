// SPDX-License-Identifier: Apache-2.0
/*
 * The agent in the guest: runs commands for `testbed exec` and `testbed shell`.
 *
 * Each virtio-serial port named "testbed.N" is served by a process of its own and carries one
 * session at a time; parallel calls use different ports. So a call that misbehaves, or a caller
 * that vanishes, can disturb nobody else, and nothing has to be shared out.
 *
 * Frames, both ways, in SLIP (0xC0 ends a frame and never occurs inside):
 *     u32 session | u8 type | u32 length of payload | payload            little-endian
 * A port keeps bytes of callers long gone, cut anywhere. The session, a random number of the
 * caller, and the length tell them from one's own.
 *
 *   to the guest                           from the guest
 *   P  ping                                P  instance: boot id, space, pid of the port's process
 *   R  run: u32 flags, u32 timeout ms,     A  instance; the agent has (re)started, session 0
 *      u16 rows, u16 columns, argv         S  instance; the command has started
 *      with a NUL after each               O  stdout        E  stderr
 *                                          C  u32: so many bytes of stdin were taken
 *   I  stdin; empty = end of file          X  end: u8 how, u32 number, text
 *   S  u8: send this signal
 *   W  u16 rows, u16 columns
 *   B  reboot
 * The caller never has more than WINDOW bytes of stdin under way, so that the agent can always
 * read its port and hear the other frames.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64 << 10, FRAME_MAX = 1 << 20, CHUNK = 32 << 10, HEADER = 9, ARGV_MAX = 4096 };
enum { FLAG_TTY = 1 };
enum how { EXITED = 0, SIGNALED = 1, TIMED_OUT = 2, NOT_STARTED = 3 };
enum { KILL_GRACE_MS = 1000 };
/*
 * The kernel learns that a caller has closed its side, and that the next has opened it, by other
 * ways than it gets the bytes: a new caller's request may be read first and the old one's hang-up
 * seen after it. So a hang-up counts only when it lasts.
 */
enum { HANGUP_MS = 1000 };

static int port = -1;
static char boot_id[64], instance[96]; /* instance: boot id and pid of this port's process */

/* The one session of this port; pid 0 = none. */
static struct {
    uint32_t id; /* stays when the command has ended */
    pid_t pid;
    int pidfd;
    int in, out, err; /* -1 when closed; with a terminal in == out and err == -1 */
    bool tty, eof;    /* eof: the caller's stdin has ended */
    int64_t deadline; /* ms, 0 = none */
    bool timed_out;
    uint8_t pending[WINDOW]; /* stdin that the command has not taken yet */
    size_t pending_len;
} s = {.in = -1, .out = -1, .err = -1, .pidfd = -1};

static int64_t now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static uint32_t get32(const uint8_t* p) {
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t* p, uint32_t v) {
    p[0] = v;
    p[1] = v >> 8;
    p[2] = v >> 16;
    p[3] = v >> 24;
}

/* ---- sending ------------------------------------------------------------------------- */

static uint8_t tx[2 * (CHUNK + HEADER) + 2];

static size_t escape(uint8_t* to, const uint8_t* from, size_t len) {
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (from[i] == 0xC0 || from[i] == 0xDB) {
            to[n++] = 0xDB;
            to[n++] = from[i] == 0xC0 ? 0xDC : 0xDD;
        } else {
            to[n++] = from[i];
        }
    }
    return n;
}

static bool hung_up(void) {
    struct pollfd p = {.fd = port};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* Sleep until the kernel tells something about the port by SIGIO, which is blocked. */
static void wait_for_news(int ms) {
    sigset_t io;
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigtimedwait(&io, NULL, &limit);
}

/* False when the caller has gone for good. */
static bool still_there(void) {
    for (int64_t until = now_ms() + HANGUP_MS; hung_up();) {
        if (now_ms() >= until) return false;
        wait_for_news(20);
    }
    return true;
}

/* False when nobody listens any more. At most CHUNK bytes of payload. */
static bool send_frame(uint32_t session, char type, const void* data, size_t len) {
    uint8_t header[HEADER];
    size_t n = 0;

    put32(header, session);
    header[4] = type;
    put32(header + 5, len);
    tx[n++] = 0xC0; /* ends what a cut frame may have left */
    n += escape(tx + n, header, HEADER);
    n += escape(tx + n, data, len);
    tx[n++] = 0xC0;
    for (size_t done = 0; done < n;) {
        ssize_t w = write(port, tx + done, n - done);

        if (w > 0) {
            done += w;
        } else if (w < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = port, .events = POLLOUT};

            poll(&p, 1, 1000);
            if (!still_there()) return false;
        } else if (w < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}

static bool send_end(enum how how, uint32_t number, const char* text) {
    uint8_t end[5 + 256];
    size_t len = strnlen(text, 256);

    end[0] = how;
    put32(end + 1, number);
    memcpy(end + 5, text, len);
    return send_frame(s.id, 'X', end, 5 + len);
}

/* ---- the command --------------------------------------------------------------------- */

static void close_fd(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void close_stdin(void) {
    if (!s.tty) close_fd(&s.in);
    s.pending_len = 0;
}

static void forget_session(void) {
    close_fd(&s.pidfd);
    if (s.tty) s.in = -1;
    close_fd(&s.in);
    close_fd(&s.out);
    close_fd(&s.err);
    s.pid = 0;
    s.pending_len = 0;
}

/* The caller is gone or gave up: nothing of its command's group may stay. */
static void abandon_session(void) {
    if (!s.pid) return;
    kill(-s.pid, s.tty ? SIGHUP : SIGTERM);
    struct pollfd p = {.fd = s.pidfd, .events = POLLIN};

    poll(&p, 1, KILL_GRACE_MS);
    kill(-s.pid, SIGKILL);
    waitpid(s.pid, NULL, 0);
    forget_session();
}

static _Noreturn void child(char** argv, int in, int out, int err, int failed) {
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    if (s.tty) ioctl(in, TIOCSCTTY, 0);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    execvp(argv[0], argv);
    int e = errno;

    (void)!write(failed, &e, sizeof(e));
    _exit(127);
}

static bool make_pipes(int in[2], int out[2], int err[2], int failed[2], struct winsize* size) {
    if (pipe2(failed, O_CLOEXEC)) return false;
    if (s.tty) {
        if (openpty(&in[1], &in[0], NULL, NULL, size)) return false;
        fcntl(in[1], F_SETFD, FD_CLOEXEC);
        out[0] = in[1];
        out[1] = err[1] = in[0];
        err[0] = -1;
        return true;
    }
    return !pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC);
}

static void run(uint32_t session, const uint8_t* data, size_t len) {
    static char* argv[ARGV_MAX + 1];
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, failed[2] = {-1, -1}, e = 0;
    struct winsize size = {0};
    size_t argc = 0;

    abandon_session();
    s.id = session;
    if (len < 13 || data[len - 1] != 0) {
        send_end(NOT_STARTED, EINVAL, "the request is malformed");
        return;
    }
    s.tty = get32(data) & FLAG_TTY;
    s.deadline = get32(data + 4) ? now_ms() + get32(data + 4) : 0;
    size.ws_row = data[8] | data[9] << 8;
    size.ws_col = data[10] | data[11] << 8;
    for (size_t at = 12; at < len && argc < ARGV_MAX; at += strlen((char*)data + at) + 1)
        argv[argc++] = (char*)data + at;
    argv[argc] = NULL;
    s.eof = s.timed_out = false;

    pid_t pid = -1;
    if (make_pipes(in, out, err, failed, &size)) pid = fork();
    if (pid == 0) child(argv, in[0], out[1], err[1], failed[1]);
    e = errno;
    close_fd(&failed[1]);
    close_fd(&in[0]);
    if (!s.tty) {
        close_fd(&out[1]);
        close_fd(&err[1]);
    }
    s.in = in[1];
    s.out = out[0];
    s.err = err[0];
    if (pid < 0) {
        close_fd(&failed[0]);
        forget_session();
        send_end(NOT_STARTED, e, strerror(e));
        return;
    }
    s.pid = pid;
    s.pidfd = syscall(SYS_pidfd_open, pid, 0);
    bool not_started = read(failed[0], &e, sizeof(e)) == sizeof(e);

    close_fd(&failed[0]);
    if (not_started) {
        waitpid(pid, NULL, 0);
        forget_session();
        send_end(NOT_STARTED, e, strerror(e));
        return;
    }
    fcntl(s.in, F_SETFL, O_NONBLOCK);
    fcntl(s.out, F_SETFL, O_NONBLOCK);
    if (s.err >= 0) fcntl(s.err, F_SETFL, O_NONBLOCK);
    send_frame(s.id, 'S', instance, strlen(instance));
}

/*
 * Pass on a part of what is there, or all: what fits in a pipe, because a writer that never stops
 * would make more for ever. False = the caller is gone. Closes *fd at end of file.
 */
static bool forward(int* fd, char type, bool all) {
    static uint8_t data[CHUNK];
    int left = all ? fcntl(*fd, F_GETPIPE_SZ) : 1;

    if (left < 0) /* a terminal, or closed */
        left = WINDOW;
    while (*fd >= 0 && left > 0) {
        ssize_t n = read(*fd, data, sizeof(data));

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n <= 0) { /* EIO is how a terminal says that its last user has gone */
            if (s.tty && fd == &s.out) s.in = -1;
            close_fd(fd);
            return true;
        }
        if (!send_frame(s.id, type, data, n)) return false;
        left -= n;
    }
    return true;
}

static bool feed_stdin(void) {
    uint8_t credit[4];
    ssize_t n = s.pending_len;

    if (s.in >= 0 && n > 0) {
        n = write(s.in, s.pending, s.pending_len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n < 0) { /* the command has closed its stdin: swallow the rest */
            n = s.pending_len;
            if (!s.tty) close_fd(&s.in);
        }
        memmove(s.pending, s.pending + n, s.pending_len - n);
        s.pending_len -= n;
    } else {
        s.pending_len = 0;
    }
    if (s.eof && s.pending_len == 0) close_stdin();
    put32(credit, n);
    return n == 0 || send_frame(s.id, 'C', credit, 4);
}

static bool reap(void) {
    int status = 0;

    if (waitpid(s.pid, &status, WNOHANG) != s.pid) return true;
    /* All that its own processes wrote is in the pipes by now. A daemon it left behind may keep
     * them open for ever, so the end of file is not waited for. */
    bool heard = forward(&s.out, 'O', true) && forward(&s.err, 'E', true);

    if (s.timed_out) kill(-s.pid, SIGKILL);
    if (heard && s.timed_out)
        heard = send_end(TIMED_OUT, 0, "");
    else if (heard && WIFSIGNALED(status))
        heard = send_end(SIGNALED, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (heard)
        heard = send_end(EXITED, WEXITSTATUS(status), "");
    forget_session();
    return heard;
}

/* ---- receiving ----------------------------------------------------------------------- */

static bool handle(uint32_t session, char type, const uint8_t* data, size_t len) {
    switch (type) {
        case 'P':
            return send_frame(session, 'P', instance, strlen(instance));
        case 'R':
            if (session != s.id) /* a caller that hears "A" asks again, in doubt twice */
                run(session, data, len);
            return true;
        case 'B':
            sync();
            reboot(RB_AUTOBOOT);
            return true;
    }
    if (!s.pid || session != s.id) return true; /* of a session that is over */
    switch (type) {
        case 'I':
            if (len == 0) s.eof = true;
            if (len > WINDOW - s.pending_len)
                return true; /* a caller that keeps to the window never comes here */
            memcpy(s.pending + s.pending_len, data, len);
            s.pending_len += len;
            return feed_stdin();
        case 'S':
            if (len == 1) kill(-s.pid, data[0]);
            return true;
        case 'W':
            if (len == 4 && s.tty && s.out >= 0) {
                struct winsize size = {.ws_row = data[0] | data[1] << 8,
                                       .ws_col = data[2] | data[3] << 8};
                ioctl(s.out, TIOCSWINSZ, &size);
            }
            return true;
    }
    return true;
}

/* Take in bytes of the port; frames that are cut or too long are dropped. */
static bool receive(const uint8_t* data, size_t len) {
    static uint8_t frame[HEADER + FRAME_MAX];
    static size_t have;
    static bool escaped;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];

        if (c == 0xC0) {
            size_t n = have;

            have = 0;
            escaped = false;
            if (n >= HEADER && n <= sizeof(frame) && get32(frame + 5) == n - HEADER &&
                !handle(get32(frame), frame[4], frame + HEADER, n - HEADER))
                return false;
            continue;
        }
        if (c == 0xDB) {
            escaped = true;
            continue;
        }
        if (escaped) c = c == 0xDC ? 0xC0 : 0xDB;
        escaped = false;
        if (have < sizeof(frame)) frame[have] = c;
        have += have <= sizeof(frame); /* one past the end marks "too long" */
    }
    return true;
}

/* ---- one port ------------------------------------------------------------------------ */

static int until_deadline(void) {
    if (!s.pid || !s.deadline) return -1;
    int64_t left = s.deadline - now_ms();

    return left < 0 ? 0 : left > 1000000 ? 1000000 : left;
}

static void enforce_deadline(void) {
    if (!s.pid || !s.deadline || now_ms() < s.deadline) return;
    kill(-s.pid, s.timed_out ? SIGKILL : SIGTERM);
    s.timed_out = true;
    s.deadline = now_ms() + KILL_GRACE_MS;
}

/* One round. False = the caller is gone. */
static bool serve(void) {
    static uint8_t data[CHUNK];
    struct pollfd p[5] = {
        {.fd = port, .events = POLLIN},
        {.fd = s.pid ? s.pidfd : -1, .events = POLLIN},
        {.fd = s.out, .events = POLLIN},
        {.fd = s.err, .events = POLLIN},
        {.fd = s.pending_len ? s.in : -1, .events = POLLOUT},
    };

    poll(p, 5, until_deadline());
    enforce_deadline();
    ssize_t n = p[0].revents & POLLIN ? read(port, data, sizeof(data)) : 0;

    if (n > 0 && !receive(data, n)) return false;
    /* A port that nobody listens to is always readable, with nothing to read. */
    if (n <= 0 && p[0].revents & (POLLHUP | POLLERR)) return s.pid && still_there();
    if (!s.pid) return true;
    if ((p[2].revents && !forward(&s.out, 'O', false)) ||
        (p[3].revents && !forward(&s.err, 'E', false)) || (p[4].revents && !feed_stdin()))
        return false;
    return !(p[1].revents & POLLIN) || reap();
}

static _Noreturn void serve_port(const char* device) {
    sigset_t io;
    char path[300];

    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigprocmask(SIG_BLOCK, &io, NULL);
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof(path), "/dev/%s", device);
    port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (port < 0) exit(1);
    snprintf(instance, sizeof(instance), "%s %d", boot_id, getpid());
    fcntl(port, F_SETOWN, getpid());
    fcntl(port, F_SETFL, O_NONBLOCK | O_ASYNC);
    for (bool announced = false;;) {
        if (!announced && !hung_up()) announced = send_frame(0, 'A', instance, strlen(instance));
        if (!serve()) {
            abandon_session();
            wait_for_news(5000);
        }
    }
}

static bool port_name(const char* device, char* name, size_t size) {
    char path[300];

    snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", device);
    FILE* f = fopen(path, "re");
    bool ok = f && fgets(name, size, f) && !strncmp(name, "testbed.", 8);

    if (f) fclose(f);
    return ok;
}

static void read_boot_id(void) {
    FILE* f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (f && fgets(boot_id, sizeof(boot_id), f)) boot_id[strcspn(boot_id, "\n")] = 0;
    if (f) fclose(f);
}

int main(void) {
    static struct {
        pid_t pid;
        char device[256];
    } workers[32];
    size_t n = 0;
    DIR* ports = opendir("/sys/class/virtio-ports");
    char name[64];

    read_boot_id();
    for (struct dirent* d; ports && n < 32 && (d = readdir(ports));)
        if (d->d_name[0] != '.' && port_name(d->d_name, name, sizeof(name)))
            snprintf(workers[n++].device, sizeof(workers[0].device), "%s", d->d_name);
    if (ports) closedir(ports);
    if (n == 0) {
        fprintf(stderr, "agent: no virtio-serial port is named testbed.*\n");
        return 1;
    }
    for (;;) {
        for (size_t i = 0; i < n; i++) {
            if (workers[i].pid > 0) continue;
            workers[i].pid = fork();
            if (workers[i].pid == 0) serve_port(workers[i].device);
        }
        pid_t gone = wait(NULL);

        for (size_t i = 0; i < n; i++)
            if (workers[i].pid == gone) workers[i].pid = 0;
        usleep(100000); /* a port that cannot be opened must not become a busy loop */
    }
}
