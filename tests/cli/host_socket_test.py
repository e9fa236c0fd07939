# SPDX-License-Identifier: Apache-2.0
"""What a host's agent may say on its own socket, and what fmd makes of it. The hosts' machines are not
there: their sockets are all that is needed."""

import os
import stat
import threading
import time
import unittest

from harness import RackTest, until


def report(seq, boot="boot-1", **more):
    return {"boot": boot, "driver": "d1", "seq": seq, "memory_block": 128 << 20, "driver_state": "ready",
            "online_policy": "offline",
            "devices": [{"serial": 1, "region_base": 0, "region_len": 1 << 30, "hpa": 4 << 30, "extents": []}],
            **more}


class HostSocket(RackTest):
    start = False

    def setUp(self):
        super().setUp()
        pool = os.path.join(self.folder, "mem0.pool")
        with open(os.open(pool, os.O_CREAT | os.O_RDWR, 0o600), "wb") as file:
            file.truncate(16 << 20)
        self.description = {
            "version": 1, "backend": "qmp",
            "devices": [{"name": "mem0", "serial": 1, "size": 16 << 20, "block": 2 << 20, "pool_file": pool}],
            "hosts": [{"name": name, "socket": os.path.join(self.folder, f"{name}.sock"),
                       "socket_uid": os.geteuid(), "qmp": os.path.join(self.folder, f"{name}.qmp"),
                       "devices": [{"device": "mem0", "path": "/machine/peripheral/cxl-mem0", "region": 0}]}
                      for name in ("h1", "h2")]}
        self.fmd = self.start_fmd(backend="qmp", fabric=self.description)

    def say(self, host, method, target, body=b""):
        with self.connect(f"{host}.sock") as connection:
            return self.http(method, target, body, connection)

    def test_sockets_are_private_and_go_with_fmd(self):
        for host in ("h1", "h2"):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.folder, f"{host}.sock")).st_mode), 0o600)
        self.assertEqual(self.fmd.stop(), 0)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "h1.sock")))

    def test_reports_rise(self):
        self.assertEqual(self.say("h1", "POST", "/v1/report", report(5))[0], 200)
        self.assertEqual(self.say("h1", "POST", "/v1/report", report(6))[0], 200)
        for stale in (report(6), report(5)):
            status, body = self.say("h1", "POST", "/v1/report", stale)
            self.assertEqual((status, body["error"]["code"]), (409, "conflict"), body)
        self.assertEqual(self.say("h1", "POST", "/v1/report", report(1, boot="boot-2"))[0], 200)
        self.assertEqual(self.say("h1", "POST", "/v1/report", report(7))[0], 409)  # the boot before
        self.assertEqual(self.say("h2", "POST", "/v1/report", report(1))[0], 200)  # is another host

    def test_report_is_seen(self):
        self.assertIsNone(self.fmctl_json("host", "show", "h1")["last_seen_ms"])
        self.say("h1", "POST", "/v1/report", report(1))
        host = self.fmctl_json("host", "show", "h1")
        self.assertEqual((host["boot"], host["memory_block"]), ("boot-1", 128 << 20))
        self.assertIsNotNone(host["last_seen_ms"])
        self.assertIsNone(self.fmctl_json("host", "show", "h2")["last_seen_ms"])

    def test_the_socket_is_the_identity(self):
        self.assertEqual(self.say("h1", "POST", "/v1/report", report(1, host="h2"))[0], 200)
        self.assertIsNotNone(self.fmctl_json("host", "show", "h1")["last_seen_ms"])
        self.assertIsNone(self.fmctl_json("host", "show", "h2")["last_seen_ms"])
        self.assertIn("h1: its agent calls itself h2; the socket counts", self.fmd.log())

    def test_desired(self):
        status, first = self.say("h1", "GET", "/v1/desired?after=0&wait=30")
        self.assertEqual((status, first["extents"]), (200, []))  # at once: the first of this life of fmd
        start = time.monotonic()
        self.assertEqual(self.say("h1", "GET", f"/v1/desired?after={first['rev']}&wait=1"), (204, None))
        self.assertGreaterEqual(time.monotonic() - start, 0.99)
        status, again = self.say("h1", "GET", f"/v1/desired?after={first['rev'] + 7}&wait=30")
        self.assertEqual((status, again), (200, first))

    def test_nothing_else_is_served(self):
        for method, target in (("GET", "/v1/grants"), ("POST", "/v1/grants"), ("DELETE", "/v1/grants/g1"),
                               ("POST", "/v1/hosts/h2/fence"), ("GET", "/v1/fabric"), ("GET", "/v1/events")):
            with self.subTest(target=target):
                self.assertEqual(self.say("h1", method, target, b"{}")[0], 404)

    def test_bad_reports(self):
        for body, sentence in (
                (b"", "the body is empty; a JSON object is expected"),
                (report(1, colour="red"), "colour is not a known key"),
                (report(-1), "seq is not a whole number of 0 or more"),
                (report(1, boot=7), "boot is not a string"),
                (report(1, boot=""), "boot is empty"),
                (report(1, devices=[{"serial": 1}]), "devices[0].region_base is missing"),
                (report(1, driver_error="x" * 5000), "a string is longer than 4096 bytes"),
                (report(1, devices={}), "devices is not an array")):
            with self.subTest(sentence=sentence):
                status, answer = self.say("h1", "POST", "/v1/report", body)
                self.assertEqual((status, answer["error"]["message"]), (400, sentence))
        self.assertIsNone(self.fmctl_json("host", "show", "h1")["last_seen_ms"])

    def test_a_host_cannot_crowd_out_the_others(self):
        crowd = [self.connect("h1.sock") for _ in range(40)]
        self.assertEqual(self.say("h2", "POST", "/v1/report", report(1))[0], 200)
        self.assertEqual(self.fmctl("host", "list").code, 0)
        for connection in crowd:
            connection.close()
        until("h1 is served again", lambda: self.served("h1"))

    def served(self, host):
        try:
            return self.say(host, "GET", "/v1/desired")[0] == 200
        except ConnectionError:
            return False

    def test_a_poll_that_waits_does_not_block_reports(self):
        self.say("h1", "GET", "/v1/desired")
        done = []
        poll = threading.Thread(target=lambda: done.append(self.say("h1", "GET", "/v1/desired?after=0&wait=3")))
        poll.start()
        for seq in range(1, 20):
            self.assertEqual(self.say("h1", "POST", "/v1/report", report(seq))[0], 200)
        poll.join()
        self.assertIn(done[0][0], (200, 204))

    def test_second_fmd_on_one_pool_file(self):
        other = self.launch_fmd(backend="qmp", fabric=self.description, state=os.path.join(self.folder, "2.db"),
                                socket_path=os.path.join(self.folder, "2.sock"))
        self.assertEqual(other.process.wait(60), 1)
        errors = [line for line in other.log().splitlines() if line.startswith("fmd: error: ")]
        self.assertEqual(len(errors), 1, other.log())
        self.assertIn("mem0.pool is in use by another fmd", errors[0])


if __name__ == "__main__":
    unittest.main()
