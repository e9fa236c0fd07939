# SPDX-License-Identifier: Apache-2.0
"""Redis under `pooltier run`: its memory moves, and BGSAVE (a fork that reads everything while the server writes on)
saves what was there when it was asked for."""

import re
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "vm")]

from vmtest import CHECKOUT, expect, sh  # noqa: E402

OVERLAY = CHECKOUT / "build/bench-tier/redis"  # made by tests/bench-tier/redis-overlay

# All memory begins on the far node. What is read most comes near; then a BGSAVE that takes some seconds, with writes
# meanwhile. Another server, not tiered, reads the dump: its digest is that from before the writes.
SCRIPT = r"""
cd /tmp && rm -f r.sock r2.sock d.rdb
cli() { redis-cli -s /tmp/r.sock "$@"; }
store() { cli EVAL 'local v = string.rep(ARGV[1], 4000)
    for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do redis.call("set", string.format("key:%012d", i), v .. i) end' 0 $*; }
field() { pooltier status --json $server | grep -o "\"$1\":[^,}]*" | sed 's/.*://; s/"//g'; }
serve() { # SOCKET [WRAP...]
    socket=$1
    shift
    exec "$@" redis-server --port 0 --unixsocket $socket --save '' --appendonly no --enable-debug-command yes \
        --dir /tmp --dbfilename d.rdb --logfile /tmp/r.log
}
serve /tmp/r.sock numactl --preferred=1 pooltier run --require --near-nodes 0 --far-nodes 1 --near-limit 24M \
    --min-range 256K --loss-ns 3000 --cpu 20 -- &
server=$!
for i in $(seq 100); do [ -S /tmp/r.sock ] && break; sleep 0.1; done
store x 0 2999 >/dev/null
redis-benchmark -s /tmp/r.sock -n 100000000 -c 2 -P 8 -r 300 -q GET key:__rand_int__ >/dev/null 2>&1 &
client=$!
for i in $(seq 100); do [ "$(field promoted_pages)" -gt 0 ] && break; sleep 0.2; done
echo "sampler $(field sampler)"
echo "promoted $(field promoted_pages)"
echo "before $(cli DEBUG DIGEST)"
cli CONFIG SET rdb-key-save-delay 100 >/dev/null
cli BGSAVE >/dev/null
store y 0 599 >/dev/null
store y 2400 2999 >/dev/null
echo "told $(pooltier status $server | head -n 1)"
echo "saving $(cli INFO persistence | tr -d '\r' | sed -n 's/^rdb_bgsave_in_progress://p')"
cycles=$(field cycles)
cli CONFIG SET rdb-key-save-delay 0 >/dev/null
for i in $(seq 200); do cli INFO persistence | grep -q 'in_progress:1' || break; sleep 0.2; done
echo "saved $(cli INFO persistence | tr -d '\r' | sed -n 's/^rdb_last_bgsave_status://p')"
echo "after $(cli DEBUG DIGEST)"
serve /tmp/r2.sock &
for i in $(seq 100); do [ "$(redis-cli -s /tmp/r2.sock PING 2>&1)" = PONG ] && break; sleep 0.1; done
echo "dump $(redis-cli -s /tmp/r2.sock DEBUG DIGEST)"
redis-cli -s /tmp/r2.sock SHUTDOWN NOSAVE
for i in $(seq 100); do [ "$(field cycles)" -gt $cycles ] && echo "goes on" && break; sleep 0.1; done
kill $client
cli SHUTDOWN NOSAVE
wait $server
echo "code $?"
"""


def stage() -> str:
    """'' when Redis is there for the guests' overlay, else why not."""
    done = subprocess.run([str(CHECKOUT / "tests/bench-tier/redis-overlay")], capture_output=True, text=True,
                          check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or "redis-overlay failed"


def redis_saves_what_was_there(rack):
    result = sh(rack, "h1", SCRIPT, timeout=150)
    said = dict(line.split(" ", 1) for line in result.out.splitlines() if " " in line)
    whole = (result.out + result.err)[-600:]
    expect(said.get("sampler") == "rwp", f"it is not tiered by rwp: {whole}")
    expect(int(said.get("promoted", 0)) > 0, f"no page came near: {whole}")
    expect(said.get("saving") == "1", f"the child was not at work any more when it was looked for: {whole}")
    expect(re.search(r"1 forked so far, not tracked; alive: \d+", said.get("told", "")),
           f"the status does not tell of the child: {whole}")
    expect(said.get("saved") == "ok", f"BGSAVE: {whole}")
    expect(len(said.get("before", "")) == 40 and said["before"] != said.get("after"), f"nothing was written: {whole}")
    expect(said.get("dump") == said["before"], f"the dump is not what was there when it was asked for: {whole}")
    expect(said.get("goes") == "on" and said.get("code") == "0", f"the server: {whole}")
