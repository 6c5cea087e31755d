"""Arguments: how a command line is read, and the options that several commands share."""

import argparse
import os
import re
from typing import Any, NoReturn

from pipeline.amounts import parse_bytes
from pipeline.errors import MixtureError

Commands = Any
"""What `argparse` adds commands to; it has no public type."""


class Parser(argparse.ArgumentParser):
    """Refuses a command line as everything else is refused."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise MixtureError(message, " ".join(self.format_usage().split()))


def with_json() -> Parser:
    """Return the option of every command."""
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def with_mixture() -> Parser:
    """Return the options of commands that read a mixture."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "mixture", metavar="MIXTURE", help="a mixture file, or the name of one that ships"
    )
    add_overrides(parser)
    return parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value by its dotted path, such as order.view=decoder; may be repeated",
    )


def with_workers() -> Parser:
    """Return the options of commands that work on a cluster."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=os.cpu_count() or 1,
        help="worker processes of the local cluster (default: one a core)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="a dask scheduler of yours, such as tcp://host:8786"
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=_size,
        help="a pool larger than this is laid out on disk before it is written in order, such as "
        "16GiB (default: half of the machine's memory)",
    )
    return parser


def positive(text: str) -> int:
    """Return an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an integer of at least 1")
    return int(text)


def natural(text: str) -> int:
    """Return an integer of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an integer of at least 0")
    return int(text)


def half_open(text: str) -> tuple[int, int]:
    """Return a range `A:B`, of which B is not part."""
    found = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected A:B with A below B, as 0:4608, of which B is not part"
        )
    return int(found[1]), int(found[2])


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except MixtureError as error:
        raise argparse.ArgumentTypeError(error.message) from error
