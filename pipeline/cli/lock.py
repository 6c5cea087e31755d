"""`ettin-data lock`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import (
    Arguments,
    Verbs,
    add_verb,
    load_mixture,
    lock_path,
    mixture_arguments,
)
from pipeline.cli.output import print_json, print_result, print_warnings
from pipeline.cli.shown_progress import say_next, show_progress
from pipeline.cli.table import count, print_table
from pipeline.config import Mixture, Replay, closest
from pipeline.core.errors import ConfigError
from pipeline.core.shown import printable
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.sources import Lock, PoolLayout

_MAX_CHANGES = 20


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "lock",
        run,
        "pin the files that a mixture reads",
        "Asks each source for its revision, files, sizes and checksums, and writes them to a lock.",
        examples=(
            "ettin-data lock stories.yaml",
            "ettin-data lock stories.yaml --check",
        ),
        guide="docs/guide/rebuild.md#rebuild-a-phase",
    )
    options.add_mixture()
    part = options.one_of()
    part.add(
        "--check", "write nothing; list what has changed at the sources since the lock was written"
    )
    what = "lock only these sources, and keep what the lock has of the others"
    part.add("--sources A,B", what, lambda text: text.split(","))
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Write a lock, or check one; exit 1 if it is out of date, 75 if a server is away."""
    from pipeline.runner import check_local
    from pipeline.sources import POOL, PoolLayout, check_replaceable, make_lock, write_lock

    mixture = load_mixture(parsed)
    path = lock_path(parsed, mixture)
    if parsed.check:
        return _check(parsed, path, mixture)
    check_replaceable(path)
    old = _read_old(path, mixture)
    asked = mixture if parsed.sources is None else _narrow(mixture, parsed.sources)
    left_out = check_local(asked) if isinstance(asked, Mixture) else []
    with show_progress(parsed) as show:
        made = make_lock(asked, show)
    if old is not None and parsed.sources is not None:
        made = replace(made, sources=dict(sorted({**old.sources, **made.sources}.items())))
    if old is not None:
        made = _print_changes(old, made)
    write_lock(made, path)
    pool = PoolLayout.of(made.sources[POOL]) if isinstance(mixture, Replay) else None
    _print_lock(parsed, path, made, pool)
    print_warnings(left_out)
    say_next(parsed, ["build", *mixture_arguments(parsed), "--out", mixture.name])
    return 0


def _narrow(mixture: Mixture | Replay, names: Sequence[str]) -> Mixture:
    """Return a mixture of some of its sources. Raises: ConfigError for those that it lacks."""
    sources = mixture.sources if isinstance(mixture, Mixture) else ()
    known = [source.name for source in sources]
    for name in names:
        if not isinstance(mixture, Mixture) or name not in known:
            expected = f"some of {', '.join(known)}{closest(name, known)}" if known else "none"
            raise ConfigError(f'--sources: got "{name}", expected {expected}')
    assert isinstance(mixture, Mixture)
    return replace(mixture, sources=tuple(one for one in sources if one.name in names))


def _check(parsed: Arguments, path: Path, mixture: Mixture | Replay) -> int:
    from pipeline.core.errors import NetworkError
    from pipeline.sources import check_lock, read_lock

    lock = read_lock(path)
    with show_progress(parsed) as show:
        checked = check_lock(lock, mixture, show)
    rest = "of the rest, nothing" if checked.unreachable else "nothing"
    lines = checked.changes or [f"{path}: {rest} has changed since it was locked"]
    print_result(parsed, {"lock": str(path), **asdict(checked)}, lines)
    for line in checked.unreachable:
        print(printable(f"error: not checked: {line}"), file=sys.stderr)
    if checked.unreachable:
        return NetworkError.exit_code
    return 1 if checked.changes else 0


def _read_old(path: Path, mixture: Mixture | Replay) -> "Lock | None":
    """Return the lock that is to be replaced; None where there is none, or a damaged one.

    Raises: OutputError for the lock of another mixture.
    """
    from pipeline.core.errors import PipelineError
    from pipeline.sources import check_replaced, read_lock

    if not path.exists():
        return None
    try:
        old = read_lock(path)
    except PipelineError as error:
        print_warnings([error.message])
        return None
    check_replaced(old, mixture)
    return old


def _print_changes(old: "Lock", made: "Lock") -> "Lock":
    """Say on stderr how a new lock differs from the one that it replaces.

    Return it with what pulls found of files that have not changed since.
    """
    from pipeline.sources import differences, known_digests, with_digests

    changes, made = differences(old, made), with_digests(made, known_digests(old))
    for line in changes[:_MAX_CHANGES]:
        print(printable(line), file=sys.stderr)
    if len(changes) > _MAX_CHANGES:
        print(f"and {len(changes) - _MAX_CHANGES:,} more changes", file=sys.stderr)
    return made


def _print_lock(parsed: Arguments, path: Path, lock: "Lock", pool: "PoolLayout | None") -> None:
    """Print what was locked, and of a replay's pool the layout that was found."""
    if parsed.json:
        sources = {
            name: {
                "from": source.origin.kind,
                "revision": source.revision,
                "num_files": len(source.files),
                "num_bytes": source.num_bytes,
                "num_rows": source.num_rows,
            }
            for name, source in lock.sources.items()
        }
        layout = {} if pool is None else {"layout": pool.words}
        digest = lock.tokenizer.digest
        print_json({"lock": str(path), "tokenizer": digest, "sources": sources, **layout})
        return
    print_table(
        ("source", "from", "revision"),
        ("files", "size", "rows"),
        (
            (
                name,
                source.origin.kind,
                source.revision or "",
                f"{len(source.files):,}",
                format_bytes(source.num_bytes),
                count(source.num_rows),
            )
            for name, source in lock.sources.items()
        ),
    )
    num_files = sum(len(source.files) for source in lock.sources.values())
    num_bytes = sum(source.num_bytes for source in lock.sources.values())
    print(
        f"{path}: {len(lock.sources)} sources, {num_files:,} files, {format_bytes(num_bytes)}; "
        f"tokenizer {lock.tokenizer.name} {lock.tokenizer.digest}"
    )
    if pool is not None:
        print(f"pool: {pool.words}")
