"""Run one command, from its arguments to its exit code.

Data goes to stdout, everything else to stderr. Exit 0: good; 1: bytes differ, or what was asked
for is not there; 2: misuse or bad input; 130: interrupted; 141: the reader of stdout went away.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence

from pipeline.cli import (
    build,
    diff,
    digest,
    export,
    feed,
    lock,
    order,
    plan,
    pull,
    schema,
    trace,
    train,
    verify,
)
from pipeline.cli.arguments import Parser
from pipeline.cli.output import print_json
from pipeline.core.errors import PipelineError
from pipeline.version import VERSION

_VERBS = (plan, lock, pull, build, order, verify, digest, diff, trace, feed, train, export, schema)
_INTERRUPTED = 128 + signal.SIGINT
_READER_GONE = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Like stderr: a file name that is not valid text must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would cut the cleanup short.
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    except OSError as error:
        # From printing, such as a full disk behind stdout; the library raises its own errors.
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return PipelineError.exit_code
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = _parser().parse_args(arguments)
        code: int = parsed.run(parsed)
    except PipelineError as error:
        if "--json" in arguments:
            print_json({"error": error.message, "hint": error.hint})
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="ettin-data",
        description="From a mixture file to ordered, verified training shards.",
    )
    parser.add_argument("--version", action="version", version=f"ettin-data {VERSION}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in _VERBS:
        verb.add(verbs)
    return parser
