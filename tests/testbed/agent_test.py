# SPDX-License-Identifier: Apache-2.0
"""The frames between testbed and the agent: what is cut or foreign is dropped, the rest arrives."""

import random
import unittest

import common  # noqa: F401
from testbedlib import agent


class Frames(unittest.TestCase):
    def test_there_and_back(self):
        payload = bytes(range(256)) * 3 + b"\xc0\xdb\xdb\xdc\xdd\xc0"
        data = agent.encode(7, b"I", payload)
        self.assertEqual(list(agent.Decoder().feed(data)), [(7, b"I", payload)])
        self.assertEqual(data.count(b"\xc0"), 2)

    def test_any_cut_and_any_chunks(self):
        seed = random.randrange(1 << 32)
        print("seed", seed)
        rng = random.Random(seed)
        for _ in range(200):
            frames = [(rng.randrange(1 << 32), bytes([rng.choice(b"IOEX")]),
                       bytes(rng.choice(b"\xc0\xdb\xdc\xddab") for _ in range(rng.randrange(40))))
                      for _ in range(rng.randrange(1, 5))]
            cut = agent.encode(1, b"R", b"some command of a caller that died")
            data = cut[:rng.randrange(1, len(cut) - 1)] + b"".join(agent.encode(*f) for f in frames)
            decoder, got = agent.Decoder(), []
            while data:
                n = rng.randrange(1, 20)
                got += decoder.feed(data[:n])
                data = data[n:]
            self.assertEqual(got, frames)

    def test_exit_codes(self):
        for result, code in ((agent.Result(agent.EXITED, 7, ""), 7),
                             (agent.Result(agent.SIGNALED, 9, ""), 137),
                             (agent.Result(agent.TIMED_OUT, 0, ""), 124),
                             (agent.Result(agent.NOT_STARTED, 2, ""), 127),
                             (agent.Result(agent.NOT_STARTED, 13, ""), 126)):
            self.assertEqual(result.exit_code(), code)


if __name__ == "__main__":
    unittest.main()
