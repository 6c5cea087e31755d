"""Run one command, from its arguments to its exit code.

Data goes to stdout, everything else to stderr. `EXIT_CODES` says how a command may end.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches

from pipeline.cli import (
    attest,
    build,
    bundle,
    cache,
    completion,
    diff,
    digest,
    doctor,
    evaluate,
    export,
    feed,
    lock,
    new,
    order,
    plan,
    pull,
    push,
    report,
    schema,
    search_index,
    show,
    trace,
    train,
    verify,
)
from pipeline.cli.arguments import Parser
from pipeline.cli.fault import write_report
from pipeline.cli.output import print_json
from pipeline.core.errors import (
    ConfigError,
    InputError,
    InternalError,
    NetworkError,
    PipelineError,
    causes_of,
    is_interrupt,
    lacks_files,
    lacks_memory,
)
from pipeline.core.limits import raise_open_files
from pipeline.core.shown import printable
from pipeline.version import VERSION

_VERBS = (
    *(new, plan, lock, pull, build, cache, order, verify, attest, digest, diff, trace),
    *(search_index, show, report, bundle, push, feed, train, evaluate, export, schema),
    *(doctor, completion),
)
_INTERRUPTED = 128 + signal.SIGINT
_READER_GONE = 128 + signal.SIGPIPE
_GUIDE = "docs/guide/command-line.md#the-command-line"

EXIT_CODES = {
    0: "success",
    1: "bytes differ, what was asked for does not exist, or `doctor` found a fault",
    PipelineError.exit_code: "misuse or bad input",
    InternalError.exit_code: "a fault of ettin-data; the message names a file to send in a report",
    NetworkError.exit_code: "a server cannot be reached or does not answer; run the command later",
    _INTERRUPTED: "interrupted; run the same command again to resume",
    _READER_GONE: "the reader of stdout went away, such as `head`",
}
"""Each exit code with what it means; the README has the same."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_closed_streams()
    raise_open_files()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Like stderr: a file name that is not valid text must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say_interrupted()
    except BrokenPipeError:
        _discard_output()
        return _READER_GONE
    except OSError as error:
        if lacks_memory(error):
            return _say_out_of_memory()
        if lacks_files(error):
            return _say_out_of_files()
        # From printing, such as a full disk behind stdout; the library raises its own errors.
        where = "" if error.filename is None else f"{error.filename}: "
        _say(f"error: {where}{error.strerror or error}")
        _discard_output()
        return PipelineError.exit_code
    except Exception as error:
        return _report(error, arguments)
    return code


def _report(error: Exception, arguments: Sequence[str]) -> int:
    """Say that an error was not expected, and where the report of it is, or what it came from."""
    if any(map(is_interrupt, causes_of(error))):
        return _say_interrupted()
    if any(map(lacks_memory, causes_of(error))):
        return _say_out_of_memory()
    if any(map(lacks_files, causes_of(error))):
        return _say_out_of_files()
    try:
        report = write_report(error, arguments)
    except MemoryError:
        # Libraries without memory raise errors of any type.
        return _say_out_of_memory()
    _say(
        f"error: unexpected {type(error).__name__}, a fault of ettin-data and not of yours\n"
        f"hint: report it, with what this file says: {report}"
    )
    return InternalError.exit_code


def _say_interrupted() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would cut the cleanup short.
    _say("interrupted; run the same command again to resume")
    return _INTERRUPTED


def _say_out_of_memory() -> int:
    _say(
        "error: out of memory\nhint: raise `ulimit -v` or the limit of the job or container, or "
        "run again with fewer --workers; finished work is kept"
    )
    return PipelineError.exit_code


def _say_out_of_files() -> int:
    _say(
        "error: too many open files\nhint: raise `ulimit -n` or the limit of the job or container,"
        " also of workers that run elsewhere; finished work is kept"
    )
    return PipelineError.exit_code


def _open_closed_streams() -> None:
    """Point standard streams that were closed at nothing, before a file takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _say(message: str) -> None:
    """Print to stderr, whose end is no reason to end otherwise."""
    with suppress(OSError):
        print(printable(message), file=sys.stderr)


def _discard_output() -> None:
    """Discard what stdout still holds: the interpreter flushes it once more at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str]) -> int:
    guide = _GUIDE
    try:
        parser, verbs = build_parser()
        _check_verb(arguments, verbs)
        parsed = parser.parse_args(arguments)
        guide = parsed.guide
        code: int = parsed.run(parsed)
    except PipelineError as error:
        if any(map(is_interrupt, causes_of(error))):
            return _say_interrupted()
        page = error.guide
        if page is None and error.exit_code == 2 and isinstance(error, ConfigError | InputError):
            page = guide
        if "--json" in arguments:
            print_json({"error": error.message, "hint": error.hint, "guide": page})
        _say(f"error: {error}" if page is None else f"error: {error}\nguide: {page}")
        return error.exit_code
    return code


def build_parser() -> tuple[Parser, list[str]]:
    """Return the parser of all commands, and their names."""
    parser = Parser(
        prog="ettin-data",
        description="From a mixture file to ordered, verified training shards.",
        epilog=_epilog(),
    )
    parser.guide = _GUIDE
    parser.set_defaults(parser=parser)  # For `completion`.
    parser.add_argument("--version", action="version", version=f"ettin-data {VERSION}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in _VERBS:
        verb.add(verbs)
    return parser, [*verbs.choices]


def _epilog() -> str:
    return "\n".join(
        [
            "exit codes:",
            *(f"  {code:<5}{meaning}" for code, meaning in EXIT_CODES.items()),
            "",
            "`ettin-data COMMAND --help` explains a command, with examples.",
            f"guide: {_GUIDE}",
        ]
    )


def _check_verb(arguments: Sequence[str], verbs: Sequence[str]) -> None:
    """Refuse an unknown command with the one that was meant. Raises: ConfigError."""
    given = next((one for one in arguments if not one.startswith("-")), None)
    if given is None or given in verbs:
        return
    near = get_close_matches(given, verbs, n=1)
    hint = f"did you mean ettin-data {near[0]}?" if near else "ettin-data --help lists them"
    raise ConfigError(f"got the command {given!r}, expected one of {', '.join(verbs)}", hint)
