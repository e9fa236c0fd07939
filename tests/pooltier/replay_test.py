# SPDX-License-Identifier: Apache-2.0
"""replay and what-if: traces that were cut off, are none, or are too much; and what the rows mean."""

import os
import subprocess
import unittest

from harness import PATIENCE_S, POOLTIER, PooltierTest, pooltier

HEAD = "pooltrace 1\npages 8\nepoch_ns 1000000000\nhome n*4 f*4\n"


class Replay(PooltierTest):
    def write(self, text):
        path = os.path.join(self.folder, "a.trace")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_a_whole_trace_is_played_without_a_word(self):
        done = pooltier("replay", self.write(HEAD + "epoch 9 8 7 6 5 4 3 2\n" * 3 + "end 3\n"))
        self.assertEqual((done.code, done.err), (0, ""), done)
        self.assertEqual(len([line for line in done.out.splitlines() if line.startswith("as recorded")]), 2, done)

    def test_it_says_what_the_rows_are(self):
        done = pooltier("what-if", self.write(HEAD + "epoch 9 8 7 6 5 4 3 2\n" * 3 + "end 3\n"), "--near", "16K")
        self.assertEqual(done.out.splitlines()[-1],
                         "Each policy begins anew: it knows nothing, pages are where first touch puts them, and all that "
                         "it can learn from are 3 s.", done)

    def test_one_that_was_cut_off_is_said(self):
        path = self.write(HEAD + "epoch 9 8 7 6 5 4 3 2\n" * 2 + "epoch 9 8 7 65")
        done = pooltier("replay", path)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.err, f"pooltier: {path} has no end: it was cut off, or written by a version that wrote none; "
                                   "its first 2 epochs are taken\n")

    def test_words_from_outside_write_nothing_on_the_terminal(self):
        path = self.write(HEAD + "epoch 9 8\nend 1\n")
        done = pooltier("what-if", path, "--policy", "x\033[31m\n\033]0;pwn\a")
        self.assert_refused(done, 2, 'There is no policy "x\\x1b[31m\\x0a\\x1b]0;pwn\\x07"; …ours.')
        self.assert_refused(pooltier("what-if", "\033[31m"), 1, "Trace \\x1b[31m: No such file or directory.")

    def test_what_is_no_trace_is_not_read_to_its_end(self):
        self.assert_refused(pooltier("what-if", "/dev/zero"), 1, "Trace /dev/zero is neither a file nor a pipe.")
        pipe = os.path.join(self.folder, "pipe")
        os.mkfifo(pipe)
        self.assert_refused(pooltier("what-if", pipe), 1, f"Nobody has written to the pipe {pipe} for 3 s.")

    def test_a_trace_that_memory_is_too_little_for(self):
        path = self.write("pooltrace 1\npages 16000000\nepoch_ns 1000\n" + "epoch 1*16000000\n" * 16 + "end 16\n")
        done = subprocess.run(["bash", "-c", 'ulimit -v 500000; exec "$0" what-if "$1" --near 1G', POOLTIER, path],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "pooltier: there is not enough memory for this\n"))

    def test_more_near_memory_than_pages_is_all_of_them(self):
        done = pooltier("what-if", self.write(HEAD + "epoch 9 8\nend 1\n"), "--near", "99999999G")
        row = next(line for line in done.out.splitlines() if line.startswith("what if"))
        self.assertEqual(row.split()[2], "8", done)


if __name__ == "__main__":
    unittest.main()
