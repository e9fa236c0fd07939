# SPDX-License-Identifier: Apache-2.0
"""Under pooltier run a program does what it does without: it ends when its threads have ended, locks its memory,
starts others as quickly. With --wait the library works on a machine with one node, too."""

import os
import shutil
import signal
import socket
import subprocess
import time
import unittest

from harness import PATIENCE_S, POOLTIER, PooltierTest, pooltier

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("POOLTIER", "LD_PRELOAD"))}
RUN = [POOLTIER, "run", "--wait", "--say", "none", "--"]

THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void at_exit(void) { printf("at exit\n"); }
static void* brief(void* arg) { usleep(30000); return arg; }
static void* worker(void* arg) {
    for (int i = 0; i < 40; ++i) {  // others begin and end while the first one is gone
        pthread_t other;
        usleep(20000);
        pthread_create(&other, NULL, brief, NULL);
        pthread_detach(other);
    }
    printf("worker\n");
    return arg;
}
int main(int count, char** words) {
    atexit(at_exit);
    pthread_t thread;
    switch (words[1][0]) {
    case 'w':  // the first thread ends, another one works on
        pthread_create(&thread, NULL, worker, NULL);
        pthread_exit(NULL);
    case 'm':
        printf("main\n");
        pthread_exit(NULL);
    case 's':
        prctl(PR_SET_SECCOMP, 1);
        syscall(SYS_exit, 0);
    case '7':
        syscall(SYS_exit, 7);
    }
    return count;
}
"""

LOCKS = r"""
#include <stdio.h>
#include <sys/mman.h>
int main(void) {
    char line[256];
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) perror("mlockall");
    FILE* file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file)) {
        int kib;
        if (sscanf(line, "VmLck: %d", &kib) == 1 || sscanf(line, "VmData: %d", &kib) == 1) printf("%d ", kib);
    }
    return 0;
}
"""

FORKS = r"""
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int pid = fork();
    if (pid == 0) pause();
    printf("%d\n", pid);
    fflush(stdout);
    pause();
}
"""


class Harm(PooltierTest):
    def build(self, source):
        path = os.path.join(self.folder, "program")
        with open(path + ".c", "w") as file:
            file.write(source)
        subprocess.run(["gcc", "-pthread", "-o", path, path + ".c"], check=True)
        return path

    def start(self, *command, **more):
        process = subprocess.Popen([*RUN, *map(str, command)], env=PLAIN, **more)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, condition):
        until = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        return value

    def test_it_ends_with_its_last_thread_as_without(self):
        program = self.build(THREADS)
        runs = [(word, self.start(program, word, stdout=subprocess.PIPE, text=True)) for word in "wms7"]
        for word, process in runs:
            with self.subTest(word=word):
                out, _ = process.communicate(timeout=5)
                plain = subprocess.run([program, word], stdout=subprocess.PIPE, text=True)
                self.assertEqual((process.returncode, out), (plain.returncode, plain.stdout))

    def test_locking_all_memory_takes_little_more(self):
        program = self.build(LOCKS)
        plain = [int(n) for n in subprocess.check_output([program], text=True).split()]
        locked, data = (int(n) for n in subprocess.check_output([*RUN, program], text=True, env=PLAIN).split())
        self.assertLess(data - plain[1], 1200)  # KiB; what may be written
        self.assertLess(locked - plain[0], 5000)  # with the library itself
        if os.geteuid() == 0:
            limited = ["prlimit", f"--memlock={8 << 20}", "setpriv", "--reuid=65534", "--clear-groups"]
            os.chmod(self.folder, 0o755)
            done = subprocess.run([*limited, *RUN, program], capture_output=True, text=True, env=PLAIN)
            self.assertNotIn("mlockall", done.stderr)

    def test_a_little_program_pays_for_no_trial(self):
        """A sampler is tried out, and memory measured, when there is memory to tier: most programs end before."""
        calls = os.path.join(self.folder, "calls")
        trace = ["strace", "-f", "-o", calls, "-e", "trace=ioctl,userfaultfd,clone3"]
        if not shutil.which("strace"):
            self.skipTest("there is no strace")
        subprocess.run([*trace, *RUN, "true"], check=True, env=PLAIN)
        with open(calls) as file:
            made = file.read()
        self.assertIn("clone3", made)  # the library was there
        self.assertFalse("UFFDIO_WRITEPROTECT" in made, "a sampler was tried out")

    def test_a_name_that_is_taken_keeps_nobody_from_being_tiered_nor_asked(self):
        # Its number is known before the library is there.
        gate = subprocess.Popen(["sh", "-c", 'read line; exec "$@"', "sh", POOLTIER, "run", "--require", "--wait", "--say", "trouble",
                                 "--", "sleep", "60"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=PLAIN)
        self.addCleanup(gate.communicate)
        self.addCleanup(gate.kill)
        with socket.socket(socket.AF_UNIX) as squatter:
            squatter.bind(f"\0pooltier/{gate.pid}")
            squatter.listen(1)  # and lets whoever asks wait
            gate.stdin.write("\n")
            gate.stdin.flush()
            said = self.wait_for(lambda: (done := pooltier("status", gate.pid)).code == 0 and done.out)
            self.assertIn(f"{gate.pid} sleep, untiered: waits", said)
            self.assertIn("sleep", pooltier("status").out)

    def test_a_forked_child_is_told_of_by_itself_and_by_its_parent(self):
        parent = self.start(self.build(FORKS), stdout=subprocess.PIPE, text=True)
        child = int(parent.stdout.readline())
        self.addCleanup(os.kill, child, signal.SIGKILL)
        said = self.wait_for(lambda: (done := pooltier("status", parent.pid)).code == 0 and done.out)
        self.assertRegex(said, rf"1 forked so far, not tracked; alive: {child}")
        done = pooltier("status", child)
        self.assert_refused(done, 1, f"process {child} (program) runs untiered: process {parent.pid} has forked it, and what "
                                     "is forked is not tracked until it runs another program")


if __name__ == "__main__":
    unittest.main()
