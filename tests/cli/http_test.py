# SPDX-License-Identifier: Apache-2.0
"""fmd against clients that are broken, slow, many or hostile: it answers them, and serves the others."""

import time
import unittest

from harness import PATIENCE_S, RackTest, read_answer, until


class Http(RackTest):
    def assert_error(self, answer, status, message):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(answer[1]["error"]["message"], message)

    def assert_alive(self):
        self.assertEqual(self.fmctl("fabric", "show").code, 0)

    def test_bad_bodies(self):
        for body, message in (
                (b"", "the body is empty; a JSON object is expected"),
                (b"{", "malformed JSON near byte 2"),
                (b"{'hosts': []}", "malformed JSON near byte 2"),
                (b"null", "the text is not a JSON object"),
                ({"hosts": ["h1"]}, "size is missing"),
                ({"hosts": ["h1"], "size": 1, "sise": 2}, "sise is not a known key"),
                ({"hosts": ["h1"], "size": "256M"}, "size is not a whole number of 0 or more"),
                ({"hosts": ["h1"], "size": 0}, "a grant of 0 bytes is none: ask for more"),
                ({"hosts": [], "size": 2}, "a grant needs at least one host"),
                (b'{"hosts":["h1"],"size":1,"size":1}', "size is there twice"),
                (b'{"hosts":["h1"],"size":1e999}', "malformed JSON: a number is out of range"),
                (b"[" * 100_000, "the JSON nests deeper than 16 levels")):
            with self.subTest(body=str(body)[:60]):
                self.assert_error_prefix(self.http("POST", "/v1/grants", body), 400, message)
        self.assertEqual(self.fmctl_json("grant", "list"), [])

    def test_bodies_where_none_is_read(self):
        self.assertEqual(self.fmctl("grant", "create", "--host", "h1", "--size", "128M", "--name", "stays",
                                    "--wait").code, 0)
        for method, path in (("DELETE", "/v1/grants/stays"), ("POST", "/v1/hosts/h1/fence")):
            for body in ({"dry_run": True}, b"garbage{"):
                self.assert_error(self.http(method, path, body), 400,
                                  f"{method} takes no body; what it knows is ?dry_run=1")
        self.assertEqual([g["state"] for g in self.fmctl_json("grant", "list")], ["active"])

    def assert_error_prefix(self, answer, status, message):
        # What nests too deep may be cut off as malformed first: either is a refusal.
        if answer[1]["error"]["message"].startswith("malformed") and "nests" in message:
            message = answer[1]["error"]["message"]
        self.assert_error(answer, status, message)

    def test_calls_that_are_none(self):
        self.assert_error(self.http("GET", "/v1/nothing"), 404, "there is no GET /v1/nothing; see docs/API.md")
        self.assert_error(self.http("PATCH", "/v1/grants"), 405, "/v1/grants takes GET or POST, not PATCH")
        self.assert_error(self.http("GET", "/v1/grants/g7"), 404, "no grant is named g7")

    def test_host_calls_are_not_served_to_users(self):
        self.assertEqual(self.http("POST", "/v1/report", {})[0], 404)
        self.assertEqual(self.http("GET", "/v1/desired")[0], 404)

    def test_body_over_a_mebibyte(self):
        for size in ((1 << 20) + 1, 8 << 20):
            self.assert_error(self.http("POST", "/v1/grants", b"x" * size), 413,
                              "the body is larger than 1048576 bytes")
        self.assert_error(self.http("POST", "/v1/grants", b"x" * (1 << 20)), 400, "malformed JSON near byte 1")

    def test_chunked_body_over_a_mebibyte(self):
        connection = self.connect()
        connection.sendall(b"POST /v1/grants HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(40):
                connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertEqual(read_answer(connection)[0], 413)

    def test_header_too_large(self):
        connection = self.connect()
        connection.sendall(b"GET /v1/fabric HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n")
        self.assert_error(read_answer(connection), 431, "the header is larger than 8192 bytes")

    def test_garbage(self):
        for bytes_sent in (b"\x00\xff\x16\x03\x01\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n",
                           b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/grants HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
            with self.subTest(bytes_sent=bytes_sent):
                connection = self.connect()
                connection.sendall(bytes_sent)
                status, body = read_answer(connection)
                self.assertEqual(status, 400)
                self.assertTrue(body["error"]["message"].startswith("this is not HTTP/1.1: "))
                self.assertEqual(connection.recv(1), b"")  # and it hangs up
        self.assert_alive()

    def test_keep_alive_and_pipelining(self):
        connection = self.connect()
        for _ in range(50):
            self.assertEqual(self.http("GET", "/v1/grants", connection=connection), (200, []))
        connection.sendall(b"GET /v1/grants HTTP/1.1\r\nHost: f\r\n\r\n" * 3)
        data = b""
        while data.count(b"200 OK") < 3:
            data += connection.recv(65536)

    def test_expect_continue(self):
        connection = self.connect()
        connection.sendall(b"POST /v1/grants HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n"
                           b"Expect: 100-continue\r\n\r\n")
        self.assertIn(b"100 Continue", connection.recv(4096))
        connection.sendall(b"{}")
        self.assert_error(read_answer(connection), 400, "hosts is missing")

    def test_slow_loris_is_cut_off(self):
        connection = self.connect()
        start = time.monotonic()
        connection.sendall(b"GET /v1/fab")
        self.assert_alive()
        self.assertEqual(connection.recv(1), b"")
        self.assertGreater(time.monotonic() - start, 5)

    def test_two_hundred_idle_connections(self):
        idle = [self.connect() for _ in range(200)]
        self.assert_alive()
        self.assertEqual(self.http("GET", "/v1/grants", connection=idle[100]), (200, []))

    def test_too_many_connections(self):
        idle = [self.connect() for _ in range(256)]
        for connection in idle[:3] + idle[-3:]:  # all of them are accepted by now
            self.http("GET", "/v1/grants", connection=connection)
        self.assert_error(read_answer(self.connect()), 503,
                          "fmd already serves 256 connections on this socket, its limit")
        for connection in idle:
            connection.close()
        until("others are served again", lambda: self.fmctl("fabric", "show").code == 0)

    def test_client_that_leaves_in_a_long_poll(self):
        for _ in range(300):  # more than the limit: each must be forgotten when it goes
            connection = self.connect()
            connection.sendall(b"GET /v1/events?after=99999&wait=60 HTTP/1.1\r\nHost: f\r\n\r\n")
            connection.close()
        until("others are served", lambda: self.fmctl("fabric", "show").code == 0)

    def test_long_polls_answer_when_something_changes(self):
        waiter = self.connect()
        last = self.http("GET", "/v1/events?limit=1")[1][-1]["seq"]
        self.http("POST", "/v1/grants", {"hosts": ["h1"], "size": 128 << 20})
        status, events = self.http("GET", f"/v1/events?after={last}&wait=60", connection=waiter)
        self.assertEqual(status, 200)
        self.assertGreater(events[0]["seq"], last)
        status, grant = self.http("GET", "/v1/grants/g1/wait?for=settled&timeout=60", connection=waiter)
        self.assertEqual((status, grant["state"]), (200, "active"))

    def test_wait_ends_as_it_is(self):
        start = time.monotonic()
        self.assertEqual(self.http("GET", "/v1/events?after=999999&wait=1"), (200, []))
        self.assertGreaterEqual(time.monotonic() - start, 0.99)
        self.assertLess(time.monotonic() - start, PATIENCE_S)


if __name__ == "__main__":
    unittest.main()
