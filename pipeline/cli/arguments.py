"""Arguments: how a command line is read, and the options that several commands share."""

import argparse
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.config import Mixture, Replay, load_config
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import ConfigError
from pipeline.core.units import parse_bytes

if TYPE_CHECKING:
    from pipeline.sources import Lock

Commands = Any
"""What `argparse` adds commands to; it has no public type."""


class Parser(argparse.ArgumentParser):
    """Refuses a command line as everything else is refused."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, " ".join(self.format_usage().split()))


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
    parser.add_argument(
        "--scale",
        metavar="X",
        type=_scale,
        help="build a miniature: short for --set scale=X, such as 1e-6 or 1/1000",
    )
    return parser


def with_lock() -> Parser:
    """Return the options of commands that work from a lock."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--lock",
        metavar="FILE",
        type=Path,
        help="the lock (default: manifests/NAME.lock.json in the current folder)",
    )
    return parser


def load_mixture(parsed: argparse.Namespace) -> Mixture | Replay:
    """Load what a command line declares. Raises: ConfigError."""
    scale: Fraction | None = parsed.scale
    more = [] if scale is None else [f"scale={scale.numerator}/{scale.denominator}"]
    return load_config(mixture_path(parsed.mixture), [*parsed.set, *more])


def lock_path(parsed: argparse.Namespace, mixture: Mixture | Replay) -> Path:
    """Return where the lock of a mixture lies, or would."""
    from pipeline.sources import default_lock_path

    assert mixture.name is not None
    path: Path | None = parsed.lock
    return default_lock_path(mixture.name) if path is None else path


def find_lock(parsed: argparse.Namespace, mixture: Mixture | Replay) -> "Lock | None":
    """Read the lock that was named, or the one in its place; None if there is none.

    Raises: InputError when the one that was named is not there, or is none.
    """
    from pipeline.sources import read_lock

    path = lock_path(parsed, mixture)
    return read_lock(path) if parsed.lock is not None or path.exists() else None


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


def _scale(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a positive number such as 1e-6 or 1/1000"
        ) from error


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from error
