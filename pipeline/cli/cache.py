"""`ettin-data cache`."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import (
    Arguments,
    Options,
    Verbs,
    add_verb,
    add_verb_group,
    checked,
    size,
)
from pipeline.cli.output import print_json, print_lines
from pipeline.cli.shown_progress import show_progress
from pipeline.cli.table import count, print_table
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.progress import Work
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.runner import ChunkCache, Entry, StoredChunkCache

    AnyCache = ChunkCache | StoredChunkCache

_SECONDS = {"h": 60 * 60, "d": 24 * 60 * 60}


def add(verbs: Verbs) -> None:
    summary = "list, check or thin out the chunks that builds with --cache share"
    actions = add_verb_group(verbs, "cache", summary)
    _add_action(
        actions,
        "list",
        _list,
        "list the partitions in a cache, what they were made for and when they were last used",
        examples=("ettin-data cache list chunks", "ettin-data cache list chunks --json"),
    )
    verify = _add_action(
        actions,
        "verify",
        _verify,
        "check every byte in a cache",
        "Exits with 1 if a partition is damaged; `cache prune` removes it.",
        examples=("ettin-data cache verify chunks", "ettin-data cache verify chunks --json"),
    )
    verify.add_progress()
    prune = _add_action(
        actions,
        "prune",
        _prune,
        "remove the partitions that were used longest ago, and damaged ones",
        "Files that an output shares with the cache stay in the output.",
        examples=(
            "ettin-data cache prune chunks --older-than 30d",
            "ettin-data cache prune chunks --larger-than 100GB",
        ),
    )
    age = checked(_age, "a time such as 30d or 12h")
    what = "remove what no build has used for this long, such as 30d or 12h"
    prune.add("--older-than TIME", what, age)
    what = "remove what was used longest ago until at most this is left, such as 100GB"
    prune.add("--larger-than SIZE", what, size)


def _add_action(
    actions: Verbs,
    name: str,
    act: "Callable[[Arguments, AnyCache], int]",
    summary: str,
    details: str = "",
    *,
    examples: tuple[str, str],
) -> Options:
    """Add an action, which is called with the cache that it opens."""
    options = add_verb(
        actions,
        name,
        lambda parsed: act(parsed, _open(parsed)),
        summary,
        details,
        examples=examples,
        guide="docs/guide/change-a-mixture.md#a-cache-of-chunks",
    )
    options.add_place("folder DIR", "folder or address that was the --cache of a build")
    return options


def _age(text: str) -> int:
    if not text[:-1].isdecimal() or text[-1] not in _SECONDS:
        raise ValueError(text)
    return int(text[:-1]) * _SECONDS[text[-1]]


def _open(parsed: Arguments) -> "AnyCache":
    """Open a cache that a build has filled. Raises: InputError."""
    from pipeline.runner import open_chunk_cache

    cache = open_chunk_cache(parsed.folder)
    if not cache.exists():
        raise InputError(
            f"{parsed.folder}: got no chunks of a build, expected a folder that one has filled",
            "build with --cache DIR first",
        )
    return cache


def _list(parsed: Arguments, cache: "AnyCache") -> int:
    return _show(parsed, list(cache.entries()), "there")


def _prune(parsed: Arguments, cache: "AnyCache") -> int:
    if parsed.older_than is parsed.larger_than is None:
        raise ConfigError("cache prune: expected --older-than or --larger-than", "give one of them")
    removed = cache.prune(older_than=parsed.older_than, larger_than=parsed.larger_than)
    return _show(parsed, removed, "removed")


def _verify(parsed: Arguments, cache: "AnyCache") -> int:
    entries = list(cache.entries())
    damaged = {}
    with show_progress(parsed) as show:
        work = Work(unit="partitions")
        show("verify", 0, len(entries), work)
        for done, one in enumerate(entries, 1):
            if (what := cache.damage(one)) is not None:
                damaged[one.key] = what
            work += Work(num_bytes=one.num_bytes)
            show("verify", done, len(entries), work)
    if parsed.json:
        print_json({"entries": list(map(_describe, entries)), "damaged": damaged})
    else:
        print_lines(f"damaged: {key}: {what}" for key, what in damaged.items())
        print(f"{parsed.folder}: {len(entries):,} partitions, {len(damaged):,} damaged")
    return 1 if damaged else 0


def _show(parsed: Arguments, entries: Sequence["Entry"], what: str) -> int:
    if parsed.json:
        print_json({"entries": list(map(_describe, entries))})
        return 0
    rows = [
        (one.key[:12], one.about, _day(one), count(one.num_files), format_bytes(one.num_bytes))
        for one in entries
    ]
    if rows:
        print_table(("key", "made for", "last used"), ("files", "size"), rows)
    total = format_bytes(sum(one.num_bytes for one in entries))
    print(f"{parsed.folder}: {len(entries):,} partitions, {total}, {what}")
    return 0


def _describe(entry: "Entry") -> dict[str, Any]:
    return {
        "key": entry.key,
        "about": entry.about,
        "files": entry.num_files,
        "bytes": entry.num_bytes,
        "unused_seconds": max(0, round(time.time() - entry.used)),
        "damaged": entry.record is None,
    }


def _day(entry: "Entry") -> str:
    return datetime.fromtimestamp(entry.used, UTC).strftime("%Y-%m-%d %H:%M")
