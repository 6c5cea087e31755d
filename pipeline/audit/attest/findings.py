"""Findings: evidence against facts -> for each partition, what agrees and what contradicts.

Facts that follow from others are checked too. A row of ids takes, in a shard of uint16, an offset
(4 bytes), two sizes (8), its document's id, 3 bytes of shape (2 below 256 ids) and 2 an id; a shard
8 bytes and its header, 206 bytes where that says zstd. So bytes, rows and ids give the mean length
of an id, which is at least 1, and of at most this many characters:
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.audit.attest.evidence import Evidence
from pipeline.audit.attest.facts import Fact, FactKind, rounded_size
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.dataset.mds import INDEX_NAME
from pipeline.sources import ARCHIVE

_MOST_ID_BYTES: Final = 300
_SHARD_BYTES, _ROW_BYTES = 8 + 206, 4 + 8 + 3
_TRUNCATED_LENGTH = 1024
_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
_OF_INDEX = (
    *("column_names", "column_encodings", "column_sizes", "compression", "hashes"),
    *("size_limit", "version"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One comparison of what is there with a fact."""

    partition: str
    fact: Fact
    what: str
    """Such as digest, bytes, rows, ids."""
    got: object
    expected: object
    agrees: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compared:
    what: str
    got: object
    expected: object
    agrees: bool


def attest(evidence: Evidence, facts: Mapping[str, tuple[Fact, ...]]) -> Iterator[Finding]:
    """Yield what comes of every fact that something is known of, in the order of their paths.

    Raises: InputError for a file that cannot be read.
    """
    partitions = set(evidence.partitions())
    for fact in facts.get(evidence.repo or "", ()):
        partition = _partition_of(fact.path, partitions)
        for one in _CHECKS[fact.kind](evidence, fact):
            yield Finding(
                partition=partition,
                fact=fact,
                what=one.what,
                got=one.got,
                expected=one.expected,
                agrees=one.agrees,
            )


def _partition_of(path: str, partitions: set[str]) -> str:
    if path.endswith(ARCHIVE):
        return path.removesuffix(ARCHIVE)
    parent = path.rpartition("/")[0]
    return path if path in partitions or "." not in path.rpartition("/")[2] else parent


def _same(what: str, got: object, expected: object) -> _Compared:
    return _Compared(what=what, got=got, expected=expected, agrees=got == expected)


def _check_file(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare size and digest of a file; one that is missing from a whole folder contradicts."""
    if fact.path not in evidence.sizes:
        folder = fact.path.rpartition("/")[0]
        if evidence.below(folder) and fact.path.endswith(".mds"):
            yield _Compared(what="shard", got="none", expected="a shard", agrees=False)
        return
    if "bytes" in fact.value:
        yield _same("bytes", evidence.sizes[fact.path], fact.value["bytes"])
    if "size" in fact.value:
        yield from _sized(evidence, "bytes", fact.path, fact.value["size"])
    if "sha256" in fact.value and (digest := evidence.sha256(fact.path)) is not None:
        yield _same("digest", digest, fact.value["sha256"])


def _sized(evidence: Evidence, what: str, path: str, shown: object) -> Iterator[_Compared]:
    bounds = rounded_size(shown)
    if bounds is not None and path in evidence.sizes:
        size = evidence.sizes[path]
        agrees = bounds[0] <= size <= bounds[1]
        yield _Compared(what=what, got=size, expected=shown, agrees=agrees)


def _check_listing(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare the sizes of the files, and the names of the folders, that a page lists."""
    listed = fact.value.get("files", {})
    for name, shown in listed.items():
        path = f"{fact.path}/{name}"
        if path in evidence.sizes:
            yield from _sized(evidence, f"bytes of {name}", path, shown)
        elif rounded_size(shown) and name.endswith(".mds") and evidence.below(fact.path):
            yield _Compared(what=f"shard {name}", got="none", expected=shown, agrees=False)
    if evidence.has_all and evidence.below(fact.path):
        for name in listed.get("dirs", ()):
            there = bool(evidence.below(f"{fact.path}/{name}"))
            if not there:
                yield _Compared(what="folder", got="none", expected=name, agrees=False)


def _check_num_tokens(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare the file, the rows, and the bytes that so many ids take."""
    partition = fact.path.rpartition("/")[0]
    expected = fact.value["num_tokens"], fact.value["num_truncated_tokens"]
    if (told := evidence.read(fact.path)) is not None:
        got = told.get("num_tokens"), told.get("num_truncated_tokens")
        yield _same("num_tokens.json", got, expected)
    lengths = yield from _lengths(evidence, partition)
    if lengths is not None:
        yield _same("ids", int(lengths.sum()), expected[0])
        truncated = int(np.minimum(lengths, _TRUNCATED_LENGTH).sum())
        yield _same("ids up to 1,024 a row", truncated, expected[1])
    elif (index := evidence.read(f"{partition}/{INDEX_NAME}")) is not None:
        yield from _mean_id(index["shards"], expected[0])


def _lengths(evidence: Evidence, partition: str) -> Generator[_Compared, None, Int64Array | None]:
    """Return the ids of each row of a partition; what cannot be read contradicts any fact of it."""
    try:
        return evidence.lengths(partition)
    except InputError as error:
        yield _Compared(
            what="rows", got=error.message, expected="rows that can be read", agrees=False
        )
        return None


def _mean_id(shards: list[dict[str, Any]], num_tokens: int) -> Iterator[_Compared]:
    """Derive the mean length of documents' ids from bytes, rows and ids."""
    num_rows = sum(one["samples"] for one in shards)
    num_bytes = sum(one["raw_data"]["bytes"] for one in shards)
    if not num_rows or any("ndarray:uint16" not in one["column_encodings"] for one in shards):
        return
    mean = mean_id_bytes(num_bytes, len(shards), num_rows, 2 * num_tokens)
    yield _Compared(
        what="bytes of so many ids",
        got=f"{mean:.1f} bytes for the id of a document",
        expected=f"1 to {_MOST_ID_BYTES}",
        agrees=0.5 <= mean <= _MOST_ID_BYTES,
    )


def mean_id_bytes(num_bytes: int, num_shards: int, num_rows: int, token_bytes: int) -> float:
    """Return the mean length of documents' ids in shards of so many bytes, rows and ids. Pure.

    token_bytes: what the ids of tokens take; headers are those that say zstd.
    """
    return (num_bytes - _SHARD_BYTES * num_shards - token_bytes) / num_rows - _ROW_BYTES


def _check_index(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    if "first_shards" in fact.value:
        yield from _check_first_shards(evidence, fact)
        return
    folder = fact.path.rpartition("/")[0]
    known = fact.value["shards"]
    index = evidence.read(fact.path) or evidence.read(f"{folder}/{INDEX_NAME}")
    if index is None:
        yield from _sized(evidence, "bytes of the index", fact.path, fact.value.get("file_size"))
        for one in known:
            path = f"{folder}/{one['basename']}"
            if path in evidence.sizes and "raw_bytes" in one:
                yield _same(f"bytes of {one['basename']}", evidence.sizes[path], one["raw_bytes"])
        return
    shards = index["shards"]
    if shards:
        for key in _OF_INDEX:
            if key in fact.value:
                yield _same(key, shards[0].get(key), fact.value[key])
    names = [one["raw_data"]["basename"] for one in shards]
    yield _same("order of shards", names[: len(known)], [one["basename"] for one in known])
    if fact.is_complete:
        yield _same("shards", len(shards), len(known))
    for got, expected in zip(shards, known, strict=False):
        if got["raw_data"]["basename"] == expected["basename"]:
            rows, num_bytes = expected.get("samples"), expected.get("raw_bytes")
            if rows is not None:
                yield _same(f"rows of {expected['basename']}", got["samples"], rows)
            if num_bytes is not None:
                yield _same(f"bytes of {expected['basename']}", got["raw_data"]["bytes"], num_bytes)


def _check_first_shards(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    index = evidence.read(f"{fact.path}/{INDEX_NAME}")
    if index is not None:
        first = index["shards"][: fact.value["first_shards"]]
        rows = sum(one["samples"] for one in first)
        what = f"rows of the first {fact.value['first_shards']} shards"
        yield _same(what, rows, fact.value["samples_total"])


def _check_stats(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare the file, or what of it follows from the rows."""
    expected = fact.value
    told = evidence.read(fact.path)
    if told is not None:
        for key in ("total_tokens_written", "total_tokens_skipped", "total_duplicated_tokens"):
            yield _same(key, told.get(key), expected[key])
        yield _same("percentiles", told.get("percentiles"), expected["percentiles"])
        return
    lengths = yield from _lengths(evidence, fact.path.rpartition("/")[0])
    if lengths is not None and len(lengths):
        yield _same("ids", int(lengths.sum()), expected["total_tokens_written"])
        values = np.percentile(lengths, _PERCENTILES)
        got = {f"{p}th": int(v) for p, v in zip(_PERCENTILES, values, strict=True)}
        yield _same("percentiles", got, expected["percentiles"])


_CHECKS: Final[Mapping[FactKind, Callable[[Evidence, Fact], Iterator[_Compared]]]] = {
    "sha256": _check_file,
    "size": _check_file,
    "listing": _check_listing,
    "num_tokens": _check_num_tokens,
    "index": _check_index,
    "stats": _check_stats,
}
