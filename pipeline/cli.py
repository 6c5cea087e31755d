"""The command line: parse, call the library once, print.

Data goes to stdout, everything else to stderr. Exit 0: good; 1: bytes differ; 2: misuse or bad
input; 130: interrupted; 141: whoever read stdout has gone.
"""

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.amounts import format_bytes, format_tokens
from pipeline.errors import MixtureError, PipelineError
from pipeline.mixture import load
from pipeline.shipped import manifest_path, mixture_path
from pipeline.version import VERSION

if TYPE_CHECKING:
    from rich.table import Table

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
            _print_json({"error": error.message, "hint": error.hint})
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return code


class _Parser(argparse.ArgumentParser):
    """Refuses a command line as everything else is refused."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise MixtureError(message, " ".join(self.format_usage().split()))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ettin-data",
        description="From a mixture file to ordered, verified training shards.",
    )
    parser.add_argument("--version", action="version", version=f"ettin-data {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = _Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON instead of text")
    with_mixture = _Parser(add_help=False)
    with_mixture.add_argument(
        "mixture", metavar="MIXTURE", help="a mixture file, or the name of one that ships"
    )
    with_mixture.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value by its dotted path, such as order.view=decoder; may be repeated",
    )

    build = commands.add_parser(
        "build", parents=[shared, with_mixture], help="build ordered shards from a mixture"
    )
    build.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    build.add_argument(
        "--workers",
        metavar="N",
        type=_positive,
        default=os.cpu_count() or 1,
        help="worker processes of the local cluster (default: one a core)",
    )
    build.add_argument(
        "--scheduler", metavar="ADDRESS", help="a dask scheduler of yours, such as tcp://host:8786"
    )
    build.set_defaults(run=_build)

    verify = commands.add_parser(
        "verify", parents=[shared], help="check every byte of an output against a manifest"
    )
    verify.add_argument("folder", metavar="DIR", type=Path, help="the output of a build")
    verify.add_argument(
        "--manifest", metavar="FILE", help="a manifest file, or the name of one that ships"
    )
    verify.set_defaults(run=_verify)

    plan = commands.add_parser(
        "plan", parents=[shared, with_mixture], help="show what a build would do"
    )
    plan.set_defaults(run=_plan)

    schema = commands.add_parser(
        "schema", parents=[shared], help="print the JSON Schema of mixture files"
    )
    schema.set_defaults(run=_schema)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an integer of at least 1")
    return int(text)


def _build(parsed: argparse.Namespace) -> int:
    # Imported here: compiled stages take a second to load, and other commands need none of them.
    from pipeline.build import build
    from pipeline.progress import show_progress

    mixture = load(mixture_path(parsed.mixture), parsed.set)
    started = time.monotonic()
    with show_progress() as report:
        manifest = build(
            mixture,
            parsed.out,
            workers=parsed.workers,
            scheduler=parsed.scheduler,
            report=report,
        )
    seconds = time.monotonic() - started
    if parsed.json:
        _print_json({"out": str(parsed.out), "seconds": round(seconds, 3), "manifest": manifest})
        return 0
    _print_sources(manifest)
    order = manifest["order"]
    print(
        f"{parsed.out}: {order['num_steps']:,} steps of {order['num_rows']:,} rows, "
        f"{order['num_tokens']:,} tokens; {order['num_rows_dropped']:,} rows dropped from the "
        f"incomplete last step; order {order['root_sha256']}"
    )
    print(f"built in {seconds:.1f} s", file=sys.stderr)
    return 0


def _print_sources(manifest: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("source", box=None)
    for heading in ("documents", "dropped", "chunks", "tokens", "discarded", "drawn"):
        table.add_column(heading, justify="right")
    for name, source in manifest["sources"].items():
        documents, tokens = source["documents"], source["tokens"]
        numbers = (
            documents["kept"],
            documents["in"] - documents["kept"],
            source["chunks"]["drawn"],
            tokens["in"],
            tokens["discarded"],
            tokens["drawn"],
        )
        table.add_row(name, *(f"{number:,}" for number in numbers))
    _print_table(table)


def _verify(parsed: argparse.Namespace) -> int:
    from pipeline.verify import verify

    manifest = None if parsed.manifest is None else manifest_path(parsed.manifest)
    mismatches = verify(parsed.folder, manifest)
    if parsed.json:
        _print_json({"out": str(parsed.folder), "mismatches": mismatches})
    elif mismatches:
        print("\n".join(mismatches))
    else:
        print(f"{parsed.folder}: every file is as the manifest says")
    return 1 if mismatches else 0


def _plan(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from pipeline.plan import look_ahead, make_plan

    mixture = load(mixture_path(parsed.mixture), parsed.set)
    outlooks = look_ahead(make_plan(mixture))
    if parsed.json:
        _print_json(
            {
                "mixture": mixture.name,
                "fingerprint": mixture.fingerprint,
                "sources": [asdict(outlook) for outlook in outlooks],
            }
        )
        return 0
    table = Table("source", "category", "asked", box=None)
    for heading in ("files", "input", "documents", "~tokens", "~output"):
        table.add_column(heading, justify="right")
    for outlook in outlooks:
        table.add_row(
            outlook.source,
            outlook.category,
            outlook.asked,
            f"{outlook.num_files:,}",
            format_bytes(outlook.input_bytes),
            "?" if outlook.num_documents is None else f"{outlook.num_documents:,}",
            format_tokens(outlook.estimated_tokens),
            format_bytes(outlook.estimated_bytes),
        )
    _print_table(table)
    total = sum(outlook.estimated_bytes for outlook in outlooks)
    print(
        f"{mixture.name}: {mixture.chunk.algorithm} at {mixture.chunk.size}, "
        f"{mixture.order.algorithm}, view {mixture.order.view}; about {format_bytes(total)} of "
        "disk (numbers with ~ are guesses from the size of the files)"
    )
    return 0


def _schema(parsed: argparse.Namespace) -> int:
    from pipeline.mixture.schema import document

    _print_json(document())
    return 0


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print_table(table: "Table") -> None:
    from rich.console import Console

    # Wide enough never to cut a number where stdout is no terminal.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
