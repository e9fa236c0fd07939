# SPDX-License-Identifier: Apache-2.0
"""The command line: one table of verbs."""

import argparse
import difflib
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from . import agent, bed, jail, root as roots, splats, topology as topologies
from .errors import EXIT_REFUSED, EXIT_USAGE, Fault
from .rundir import RunDir
from .topology import show_size


class _Parser(argparse.ArgumentParser):
    """Errors are one sentence, as everywhere."""

    def error(self, message: str):
        raise Fault(f"{message} (see `{self.prog} --help`)", EXIT_USAGE)


def _verb(verbs, name: str, what: str, run, host: bool = False):
    parser = verbs.add_parser(name, help=what, description=what)
    if host:
        parser.add_argument("host", metavar="HOST")
    parser.add_argument("--dir", metavar="RUN", help="the testbed's folder (default "
                        "$CXLPOOL_TESTBED_DIR, else build/testbed)")
    parser.set_defaults(run=run)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def parser() -> _Parser:
    top = _Parser(prog="testbed", description="Boot QEMU guests that share CXL memory pools.")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    p = _verb(verbs, "root", "build the root (QEMU, guest kernel, compiler) when there is none, "
              "and print its path", _root)
    p = _verb(verbs, "in-root", "run a program in the root", _in_root)
    p.add_argument("--bind", action="append", default=[], metavar="DIR",
                   help="show this folder at the same place")
    p.add_argument("--cwd", metavar="DIR", help="start there (default: the first --bind)")
    p.add_argument("command", nargs="+", metavar="-- CMD")

    p = _verb(verbs, "up", "boot a topology", _up)
    p.add_argument("topology", nargs="?", default="two-hosts", metavar="TOPOLOGY",
                   help="a file, or one of: " + ", ".join(topologies.shipped()))
    p.add_argument("--overlay", action="append", default=[], metavar="DIR",
                   help="files to put over the base image")
    p.add_argument("--timeout", type=_seconds, default=bed.BOOT_TIMEOUT, metavar="S")
    p = _verb(verbs, "exec", "run a program in a guest", _exec, host=True)
    p.add_argument("--timeout", type=_seconds, metavar="S",
                   help="end it after so long, with code 124")
    p.add_argument("-n", "--no-stdin", action="store_true", help="give it an empty stdin")
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD ARG…")
    p = _verb(verbs, "shell", "open a shell in a guest", _shell, host=True)
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD ARG…")
    p = _verb(verbs, "logs", "print a guest's console log", _logs, host=True)
    p.add_argument("-f", "--follow", action="store_true")
    p.add_argument("--qemu", action="store_true", help="QEMU's own log instead")
    _verb(verbs, "env", "print what a shell needs: eval \"$(testbed env)\"", _env)
    p = _verb(verbs, "status", "tell which hosts run", _status)
    p.add_argument("--json", action="store_true")
    _verb(verbs, "down", "end all guests; pool files and logs stay", _down)
    p = _verb(verbs, "reboot", "reboot a guest and wait for it", _reboot, host=True)
    p.add_argument("--hard", action="store_true", help="by the reset button")
    p.add_argument("--timeout", type=_seconds, default=bed.BOOT_TIMEOUT, metavar="S")
    _verb(verbs, "kill", "kill a host's QEMU at once", _kill, host=True)
    p = _verb(verbs, "start", "boot a killed host anew", _start, host=True)
    p.add_argument("--timeout", type=_seconds, default=bed.BOOT_TIMEOUT, metavar="S")
    _verb(verbs, "stop", "freeze a guest", _stop, host=True)
    _verb(verbs, "cont", "let a frozen guest go on", _cont, host=True)
    p = _verb(verbs, "qmp", "send QEMU one QMP command, print its answer", _qmp, host=True)
    p.add_argument("request", metavar="JSON", help='{"execute": …} or a bare command name')
    p = _verb(verbs, "splats", "fail when a console log has a kernel splat", _splats)
    p.add_argument("host", nargs="?", metavar="HOST")
    p.add_argument("--all", action="store_true", help="all hosts")
    top.verbs = list(verbs.choices)
    return top


# ---- verbs -------------------------------------------------------------------------------

def _root(args) -> int:
    print(roots.ensure())
    return 0


def _in_root(args) -> int:
    root = roots.path() if roots.path().is_dir() else roots.ensure()
    jail.run_in_root(root, args.bind, args.cwd, args.command)
    return 0


def _up(args) -> int:
    topology, source = topologies.load(args.topology)
    bed.up(RunDir(args.dir), topology, source, [Path(o) for o in args.overlay], args.timeout)
    return 0


def _folder(args) -> Path:
    run = RunDir(args.dir)
    run.topology().host(args.host)
    return run.host(args.host) / "agent"


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def _exec(args) -> int:
    if not args.command:
        raise Fault("exec needs a program to run: testbed exec HOST CMD ARG…", EXIT_USAGE)
    result = agent.run(args.host, _folder(args), args.command, timeout=args.timeout,
                       stdin=None if args.no_stdin else 0, on_output=_write)
    return _ended(args, result)


def _ended(args, result: agent.Result) -> int:
    if result.how == agent.TIMED_OUT:
        bed.say(f"{args.host}: {args.command[0]} did not end within {args.timeout:g} s and was "
                "killed")
    elif result.how == agent.NOT_STARTED:
        bed.say(f"{args.host}: {args.command[0]}: {result.text}")
    return result.exit_code()


def _shell(args) -> int:
    folder = _folder(args)
    args.command = args.command or ["/bin/sh", "-l"]
    if not os.isatty(0):
        raise Fault("shell needs a terminal: use `testbed exec` in scripts")
    with agent.raw_terminal(0):
        result = agent.run(args.host, folder, args.command, stdin=0, terminal=True,
                           on_output=lambda _, data: _write(1, data))
    args.timeout = None
    return _ended(args, result)


def _logs(args) -> int:
    run = RunDir(args.dir)
    run.topology().host(args.host)
    file = run.host(args.host) / ("qemu.log" if args.qemu else "console.log")
    try:
        with open(file, "rb") as log:
            while True:
                data = log.read(64 << 10)
                if data:
                    _write(1, data)
                elif args.follow:
                    time.sleep(0.2)
                else:
                    return 0
    except FileNotFoundError:
        raise Fault(f"{args.host} has no log yet: {file} does not exist") from None


def _env(args) -> int:
    for name, value in bed.env(RunDir(args.dir)).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _status(args) -> int:
    rows = bed.status(RunDir(args.dir))
    if args.json:
        print(json.dumps({"dir": str(RunDir(args.dir)), "hosts": rows}, indent=1))
        return 0
    for r in rows:
        print(f"{r['name']:<12} {r['state']:<10} {'pid ' + str(r['pid']) if r['pid'] else '-':<12} "
              f"{show_size(r['memory']):<10} {', '.join(r['devices']) or '-'}")
    return 0


def _down(args) -> int:
    bed.down(RunDir(args.dir))
    return 0


def _reboot(args) -> int:
    bed.reboot(RunDir(args.dir), args.host, args.timeout, args.hard)
    return 0


def _kill(args) -> int:
    bed.kill(RunDir(args.dir), args.host)
    return 0


def _start(args) -> int:
    bed.start(RunDir(args.dir), args.host, args.timeout)
    return 0


def _stop(args) -> int:
    bed.stop(RunDir(args.dir), args.host, "stop")
    return 0


def _cont(args) -> int:
    bed.stop(RunDir(args.dir), args.host, "cont")
    return 0


def _qmp(args) -> int:
    request = {"execute": args.request}
    if args.request.lstrip().startswith("{"):
        try:
            request = json.loads(args.request)
        except ValueError as e:
            raise Fault(f"the QMP command is not JSON: {e}", EXIT_USAGE) from e
        if "execute" not in request:
            raise Fault('the QMP command has no "execute"', EXIT_USAGE)
    answer = bed.qmp(RunDir(args.dir), args.host, request)
    print(json.dumps(answer))
    return EXIT_REFUSED if "error" in answer else 0


def _splats(args) -> int:
    run = RunDir(args.dir)
    topology = run.topology()
    if bool(args.host) == args.all:
        raise Fault("splats needs either a HOST or --all", EXIT_USAGE)
    hosts = [h.name for h in topology.hosts] if args.all else [topology.host(args.host).name]
    found = 0
    for host in hosts:
        for splat in splats.scan_file(run.host(host) / "console.log"):
            print(f"{host}: console.log:{splat.line}: {splat.text.strip()}")
            found += 1
    if found:
        raise Fault(f"{found} lines of kernel trouble in the console logs of {', '.join(hosts)}")
    return 0


# ---- main --------------------------------------------------------------------------------

# Options of exec and shell that may also stand between HOST and CMD; True = with a value.
_OPTIONS = {"--timeout": True, "--dir": True, "-n": False, "--no-stdin": False}


def _hoist(arguments: list[str]) -> list[str]:
    """`exec HOST --timeout 5 CMD …` → `exec --timeout 5 HOST CMD …`: CMD begins at the first
    word after HOST that is not an option, and its own options are left alone."""
    if arguments[:1] not in (["exec"], ["shell"]):
        return arguments
    options, words = [], arguments[1:]
    host: list[str] = []
    while words:
        word = words[0]
        if word == "--" and host:
            words = words[1:]
            break
        if word.split("=", 1)[0] not in _OPTIONS:
            if host or word.startswith("-"):
                break
            host, words = [word], words[1:]
            continue
        take = 2 if _OPTIONS[word.split("=", 1)[0]] and "=" not in word else 1
        options, words = options + words[:take], words[take:]
    return [arguments[0], *options, *host, *words]


def _terminated(number, _frame):
    """Being told to end is like Ctrl-C: what was started half is ended, too."""
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup's wish
        signal.signal(signal.SIGHUP, _terminated)
    try:
        top = parser()
        arguments = _hoist(arguments)
        first = next((a for a in arguments if not a.startswith("-")), None)
        if first and first not in top.verbs:
            near = difflib.get_close_matches(first, top.verbs, 1, 0.5)
            raise Fault(f"there is no verb {first}" +
                        (f": did you mean {near[0]}?" if near else
                         ": there are " + ", ".join(top.verbs)), EXIT_USAGE)
        args = top.parse_args(arguments)
        if not args.verb:
            top.print_help(sys.stderr)
            return EXIT_USAGE
        return args.run(args)
    except Fault as e:
        print(f"testbed: {e}", file=sys.stderr)
        return e.code
    except KeyboardInterrupt:
        print("testbed: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as e:  # a full disk, a folder that cannot be written to
        print("testbed: " + (f"{e.filename}: " if e.filename else "") + (e.strerror or str(e)),
              file=sys.stderr)
        return EXIT_REFUSED
