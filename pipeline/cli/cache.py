"""`ettin-data cache`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb, checked, size
from pipeline.cli.output import count, print_json, print_lines, print_table
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.runner import ChunkCache, Entry, StoredChunkCache

_SECONDS = {"h": 60 * 60, "d": 24 * 60 * 60}


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "cache",
        run,
        "list, check or thin out the chunks that builds with --cache share",
        "`list` shows every partition there, `verify` reads all of them, and exits with 1 if any is"
        " damaged, `prune` removes those that were used longest ago, and damaged ones. Files that"
        " an output shares with the cache stay in the output.",
    )
    options.add("action {list,prune,verify}", "what to do")
    options.add_place("folder DIR", "what a build has had as --cache: a folder, or its address")
    age = checked(_seconds, "a time such as 30d or 12h")
    options.add("--older-than TIME", "prune what was not used for as long: 30d, 12h", age)
    what = "prune what was used longest ago until no more than this is left, such as 100GB"
    options.add("--larger-than SIZE", what, size)


def _seconds(text: str) -> int:
    if not text[:-1].isdecimal() or text[-1] not in _SECONDS:
        raise ValueError(text)
    return int(text[:-1]) * _SECONDS[text[-1]]


def run(parsed: Arguments) -> int:
    from pipeline.runner import open_chunk_cache

    limits = (parsed.older_than, parsed.larger_than)
    if (parsed.action == "prune") == (limits == (None, None)):
        raise ConfigError(
            f"cache {parsed.action}: expected --older-than or --larger-than with prune alone"
        )
    cache = open_chunk_cache(parsed.folder)
    if not cache.exists():
        raise InputError(
            f"{parsed.folder}: got no chunks of a build, expected a folder that one has filled",
            "build with --cache DIR first",
        )
    if parsed.action == "verify":
        return _verify(parsed, cache)
    if parsed.action == "prune":
        removed = cache.prune(older_than=parsed.older_than, larger_than=parsed.larger_than)
        return _show(parsed, removed, "removed")
    return _show(parsed, list(cache.entries()), "there")


def _verify(parsed: Arguments, cache: "ChunkCache | StoredChunkCache") -> int:
    entries = list(cache.entries())
    found = {one.key: cache.damage(one) for one in entries}
    damaged = {key: what for key, what in found.items() if what is not None}
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
