"""Main: one command from its arguments to its exit code.

Data goes to stdout, everything else to stderr. Exit 0: good; 1: bytes differ, or what was asked
for is not there; 2: misuse or bad input; 130: interrupted; 141: whoever read stdout has gone.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence

from pipeline.cli import checking, feeding, making, planning, pulling, tracing, training
from pipeline.cli.arguments import Parser
from pipeline.cli.printing import print_json
from pipeline.core.errors import PipelineError
from pipeline.version import VERSION

_INTERRUPTED = 128 + signal.SIGINT
_READER_GONE = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr is from the start: no name of a file is a reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # So that another ends nothing half-way.
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # So that the interpreter, too, has where to flush to when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    except OSError as error:
        # Of the tool's own output, such as a full disk behind stdout; other doors have their words.
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for kind in (planning, pulling, making, checking, tracing, feeding, training):
        kind.add_commands(commands)
    return parser
