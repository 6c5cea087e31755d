"""How a command line is parsed, and the options that several verbs share."""

import argparse
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.config import Mixture, Replay, load_config
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import ConfigError
from pipeline.core.units import BYTES

if TYPE_CHECKING:
    from pipeline.sources import Lock

Verbs = Any
"""What `argparse` adds verbs to; it has no public type."""

Arguments = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """Raises ConfigError for a wrong command line; options cannot be abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, " ".join(self.format_usage().split()))


def add_verb(
    verbs: Verbs, name: str, run: Callable[[Arguments], int], summary: str, details: str = ""
) -> Parser:
    """Add a verb with `--json`, the option of each; its own help shows summary and details."""
    sentence = f"{summary[0].upper()}{summary[1:]}. {details}"
    parser: Parser = verbs.add_parser(name, help=summary, description=sentence)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)
    return parser


def add_mixture(parser: Parser) -> None:
    """Add a mixture and what overrides it, for `load_mixture`; and its lock, for `find_lock`."""
    parser.add_argument("mixture", metavar="MIXTURE", help="mixture file, or name of a bundled one")
    add_set(parser)
    parser.add_argument(
        "--scale",
        metavar="X",
        type=_scale,
        help="scale all budgets, to build a miniature: 1e-6 or 1/1000; same as --set scale=X",
    )
    parser.add_argument(
        "--lock",
        metavar="FILE",
        type=Path,
        help="lock file (default: manifests/NAME.lock.json in the current directory)",
    )


def add_set(parser: Parser) -> None:
    """Add `--set`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value by its dotted path, such as order.view=decoder; repeatable",
    )


def add_cluster(parser: Parser) -> None:
    """Add the options of verbs that run tasks on a cluster, for `cluster_options`."""
    add_workers(parser, "worker processes of the local cluster")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="use a running dask scheduler: tcp://host:8786"
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=_size,
        help="shuffle on disk any pool larger than this, such as 16GiB (default: half of the"
        " machine's memory)",
    )


def cluster_options(parsed: Arguments) -> dict[str, Any]:
    """Return the options of `add_cluster` as the library takes them."""
    return {
        "workers": parsed.workers,
        "scheduler": parsed.scheduler,
        "memory_bytes": parsed.memory,
    }


def add_workers(parser: Parser, what: str) -> None:
    """Add `--workers`."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=os.cpu_count() or 1,
        help=f"{what} (default: the number of cores)",
    )


def add_out(parser: Parser, what: str) -> None:
    """Add `--out`."""
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help=what)


def add_on_damage(parser: Parser) -> None:
    """Add `--on-damage`."""
    parser.add_argument(
        "--on-damage",
        choices=("stop", "tombstone"),
        default="stop",
        help="what to do with unreadable rows: stop with an error, or feed empty placeholder rows"
        " and report them (default: stop)",
    )


def load_mixture(parsed: Arguments) -> Mixture | Replay:
    """Load the mixture of `add_mixture`. Raises: ConfigError."""
    scale: Fraction | None = parsed.scale
    more = [] if scale is None else [f"scale={scale.numerator}/{scale.denominator}"]
    return load_config(mixture_path(parsed.mixture), [*parsed.set, *more])


def lock_path(parsed: Arguments, mixture: Mixture | Replay) -> Path:
    """Return the path of a mixture's lock, whether or not it exists."""
    from pipeline.sources import default_lock_path

    assert mixture.name is not None
    path: Path | None = parsed.lock
    return default_lock_path(mixture.name) if path is None else path


def find_lock(parsed: Arguments, mixture: Mixture | Replay) -> "Lock | None":
    """Read the lock that `--lock` names, or the default one if it exists.

    Raises: InputError when the named one is missing, or a lock is malformed.
    """
    from pipeline.sources import read_lock

    path = lock_path(parsed, mixture)
    return read_lock(path) if parsed.lock is not None or path.exists() else None


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(
                f"got {text!r}, expected an integer of at least {minimum}"
            )
        return int(text)

    return parse


positive = _at_least(1)
natural = _at_least(0)


def half_open(text: str) -> tuple[int, int]:
    """Return a range `A:B`, which excludes B."""
    found = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected A:B with A below B, as 0:4608, which excludes B"
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
        return BYTES.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from error
