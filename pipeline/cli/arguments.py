"""How a command line is parsed, and the options that several verbs share."""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pipeline.config import Mixture, Replay, load_config
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import ConfigError
from pipeline.core.limits import num_cores
from pipeline.core.units import BYTES

if TYPE_CHECKING:
    from pipeline.runner import Tls
    from pipeline.sources import Lock, Pulled

Verbs = Any
"""What `argparse` adds verbs to; it has no public type."""

Arguments = argparse.Namespace
Value = TypeVar("Value")


class _Formatter(argparse.HelpFormatter):
    """Wraps prose; keeps the lines of a text that has several, such as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Raises ConfigError for a wrong command line; options cannot be abbreviated."""

    guide: str | None = None
    """The page of the guide, with its anchor."""
    examples: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, " ".join(self.format_usage().split()), guide=self.guide)


class Options:
    """Declares the options of a verb, or of a group of them."""

    def __init__(self, parser: argparse._ActionsContainer) -> None:
        self._parser = parser

    def add(
        self,
        usage: str,
        what: str,
        parse: Callable[[str], object] = str,
        default: object = None,
        **settings: Any,
    ) -> None:
        """Add `--name VALUE`, `--name {one,of,these}`, `--name`, or argument `name VALUE`.

        One that is parsed as a `Path` refuses addresses.
        """
        name, _, value = usage.partition(" ")
        if parse is Path:
            parse = partial(_path, name if name.startswith("-") else value)
        if not value:
            settings["action"] = "store_true"
        elif value.startswith("{"):
            settings |= {"choices": value[1:-1].split(","), "default": default}
        else:
            settings |= {"metavar": value, "type": parse, "default": default}
        shown = "" if default is None else f" (default: {default})"
        self._parser.add_argument(name, help=what + shown, **settings)

    def one_of(self, *, required: bool = False) -> "Options":
        """Add a group of options that exclude each other."""
        return Options(self._parser.add_mutually_exclusive_group(required=required))

    def add_mixture(self) -> None:
        """Add a mixture and what overrides it, for `load_mixture`; its lock, for `find_lock`."""
        self.add("mixture MIXTURE", "mixture file, or the name of a bundled mixture")
        self.add_set()
        what = "scale all budgets, to build a miniature: 1e-6 or 1/1000; same as --set scale=X"
        scale = checked(Fraction, "a positive number such as 1e-6 or 1/1000")
        self.add("--scale X", what, scale)
        what = "lock file, which pins every input file (default: manifests/NAME.lock.json)"
        self.add("--lock FILE", what, Path)

    def add_set(self) -> None:
        self._parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="override a key by its dotted path, such as order.view=decoder; repeatable",
        )

    def add_cluster(self) -> None:
        """Add the options of verbs that run tasks on a cluster, for `cluster_options`."""
        group = Options(self._parser.add_argument_group("workers"))
        what = "worker processes on this machine (default: one per core; none for small inputs)"
        group.add("--workers N", what, positive)
        what = "run on the workers of this dask scheduler, such as tls://host:8786"
        group.add("--scheduler ADDRESS", what)
        what = "PEM file of the authority that signed the certificate of the scheduler"
        group.add("--tls-ca-file FILE", what, Path)
        group.add("--tls-cert FILE", "PEM file of the client certificate for the scheduler", Path)
        what = "PEM file of its private key, unless --tls-cert contains it"
        group.add("--tls-key FILE", what, Path)
        group.add(
            "--memory SIZE",
            "memory for a shuffle, such as 16GiB; larger pools are shuffled through files on disk"
            " (default: half of the memory that a process may use)",
            size,
        )
        what = (
            "when resuming, hash all finished files, even those of unchanged size, mtime and inode"
        )
        self.add("--check", what)
        what = "update the output of an edited mixture: keep what has not changed, redo the rest"
        self.add("--update", what)

    def add_allow_code(self) -> None:
        """Add what lets filters run code that a mixture names."""
        what = "allow filters to run the Python code that the mixture names; read that code first"
        self.add("--allow-code", what)

    def add_out(self, *, required: bool = True) -> None:
        """Add where an output goes, for `open_out`."""
        what = "output folder, or an address in an object store: s3://, gs:// or az://"
        self.add("--out DIR", what, partial(_place, "--out"), required=required)
        what = "local working folder, if an address is given (default: a temporary one)"
        self.add("--scratch DIR", what, Path)

    def add_place(
        self,
        usage: str = "folder DIR",
        what: str = "output of a build, or its address in an object store",
        default: object = None,
    ) -> None:
        """Add a path on this machine or an address in an object store."""
        option = usage if usage.startswith("-") else usage.partition(" ")[2]
        self.add(usage, what, partial(_place, option.partition(" ")[0]), default)

    def add_workers(self, what: str) -> None:
        self.add("--workers N", what, positive, num_cores())

    def add_progress(self) -> None:
        """Add how progress is shown, for `show_progress`."""
        self.add("--json-progress", "print progress to stderr as JSON, one object per line")

    def add_on_damage(self) -> None:
        self.add(
            "--on-damage {stop,tombstone}",
            "what to do with unreadable rows: stop with an error, or feed empty placeholder rows"
            " and report them",
            default="stop",
        )


def add_verb(
    verbs: Verbs,
    name: str,
    run: Callable[[Arguments], int],
    summary: str,
    details: str = "",
    *,
    examples: tuple[str, str, *tuple[str, ...]],
    guide: str,
) -> Options:
    """Add a verb with `--json`, the option of each.

    Its help shows summary, details, examples (commands that a test runs) and the page of the guide.
    """
    sentence = f"{summary[0].upper()}{summary[1:]}. {details}"
    epilog = "\n".join(["examples:", *(f"  {one}" for one in examples), "", f"guide: {guide}"])
    parser: Parser = verbs.add_parser(name, help=summary, description=sentence, epilog=epilog)
    parser.guide, parser.examples = guide, examples
    parser.set_defaults(run=run, guide=guide)
    options = Options(parser)
    options.add("--json", "print the result as JSON instead of text")
    return options


def add_verb_group(verbs: Verbs, name: str, summary: str) -> Verbs:
    """Return what adds verbs that are called by two words, such as `cache list`."""
    sentence = f"{summary[0].upper()}{summary[1:]}."
    parser: Parser = verbs.add_parser(name, help=summary, description=sentence)
    return parser.add_subparsers(required=True, metavar="ACTION")


def cluster_options(parsed: Arguments) -> dict[str, Any]:
    """Return the options of `add_cluster` as the library takes them. Raises: ConfigError.

    What tasks ran again for is counted in `parsed.retried`.
    """
    parsed.retried = Counter[str]()
    return {
        "retried": parsed.retried,
        "workers": parsed.workers,
        "scheduler": parsed.scheduler,
        "tls": _tls(parsed),
        "memory_bytes": parsed.memory,
        "hashes_all": parsed.check,
        "updates": parsed.update,
    }


@contextmanager
def open_out(parsed: Arguments) -> Iterator[None]:
    """Set `folder` to where the output of `add_out` is made. Raises: as `working_folder`."""
    from pipeline.runner import working_folder

    shares = parsed.scheduler is not None
    with working_folder(parsed.out, scratch=parsed.scratch, shares=shares) as parsed.folder:
        yield


@contextmanager
def open_raw(parsed: Arguments) -> Iterator[None]:
    """Set `raw` of `add_raw` to a folder on this machine."""
    from pipeline.runner import raw_folder

    with raw_folder(parsed.raw, scratch=parsed.scratch) as parsed.raw:
        yield


def _tls(parsed: Arguments) -> "Tls | None":
    ca_file, cert, key = parsed.tls_ca_file, parsed.tls_cert, parsed.tls_key
    if ca_file is cert is key is None:
        return None
    if None in (parsed.scheduler, ca_file, cert):
        raise ConfigError(
            "--tls-*: expected --scheduler, --tls-ca-file and --tls-cert together",
            "workers on this machine need none: they get certificates of their own",
        )
    from pipeline.runner import Tls

    return Tls(ca_file=ca_file, cert=cert, key=key)


def load_mixture(parsed: Arguments) -> Mixture | Replay:
    """Load the mixture of `add_mixture`. Raises: ConfigError."""
    scale: Fraction | None = parsed.scale
    more = [] if scale is None else [f"scale={scale.numerator}/{scale.denominator}"]
    return load_config(mixture_path(parsed.mixture), [*parsed.set, *more])


def mixture_arguments(parsed: Arguments) -> list[str]:
    """Return the arguments of `add_mixture` as they were given, for another command."""
    named = [("--scale", parsed.scale), ("--lock", parsed.lock)]
    settings = [part for one in parsed.set for part in ("--set", one)]
    options = [part for name, one in named if one is not None for part in (name, str(one))]
    return [parsed.mixture, *settings, *options]


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


def record_pulled(path: Path, found: "Pulled") -> None:
    """Add to a lock what was found of its files; where it cannot be written, say so on stderr."""
    from pipeline.core.errors import OutputError
    from pipeline.sources import record_digests

    try:
        record_digests(path, found)
    except OutputError as error:
        print(f"warning: the lock gets no sha256 of pulled files: {error.message}", file=sys.stderr)


def _path(option: str, text: str) -> Path:
    """Return a path on this machine; as such, an address would be a folder named `s3:`."""
    if "://" in text:
        raise ConfigError(
            f"{option}: got the address {text}, expected a path on this machine",
            "write to a disk, or mount the store, and copy with its own tool; addresses in object"
            " stores are taken by --out, --raw and --cache of build, and read by `url` in a"
            " mixture, plan --against, verify, trace, order, diff, digest, feed and train --data",
            guide="docs/guide/clusters.md#object-stores",
        )
    return Path(text)


def _place(option: str, text: str) -> Path | str:
    """Return a path on this machine, or an address in a store that can be written to."""
    from pipeline.storage import is_store_address, local_path

    if text.startswith("file://"):
        return local_path(text)
    return text if is_store_address(text) else _path(option, text)


def checked(
    parse: Callable[[str], Value],
    expected: str,
    holds: Callable[[Value], bool] = lambda value: True,
) -> Callable[[str], Value]:
    """Return a parser of an option that says what it expects where `parse` or `holds` refuses."""

    def parse_checked(text: str) -> Value:
        with suppress(ValueError, ZeroDivisionError):
            value = parse(text)
            if holds(value):
                return value
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")

    return parse_checked


def _integer(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def parse_range(text: str) -> tuple[int, int]:
    """Return a range `A:B`, which excludes B. Raises: ValueError for anything else."""
    found = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError(text)
    return int(found[1]), int(found[2])


def _parse_number_or_range(text: str) -> tuple[int, int]:
    """Return `N` as the range `N:N+1`. Raises: ValueError as `parse_range`."""
    if text.isascii() and text.isdigit():
        return int(text), int(text) + 1
    return parse_range(text)


positive = checked(_integer, "an integer of at least 1", lambda number: number >= 1)
natural = checked(_integer, "an integer of at least 0", lambda number: number >= 0)
half_open = checked(parse_range, "A:B with A below B, as 0:4608, which excludes B")
number_or_range = checked(_parse_number_or_range, "a number, or A:B with A below B, as 5:8")


def size(text: str) -> int:
    try:
        return BYTES.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from error
