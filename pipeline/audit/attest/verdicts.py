"""Verdicts: evidence against facts -> for each partition, what agrees and what contradicts.

Facts that follow from others are checked too: ids up to 1,024 a row; bytes, rows and ids, which
leave a mean length for the ids of documents that each source has bounds of; and that a partition
has the file of counts of the script that made its rows last, and not that of another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from pipeline.audit.attest.evidence import DamagedError, Evidence
from pipeline.audit.attest.facts import Fact, FactKind, rounded_size, whole_index
from pipeline.audit.attest.row_size import id_bytes_of, is_id_length, mean_id_bytes
from pipeline.dataset.mds import INDEX_NAME, IndexEntry
from pipeline.sources import ARCHIVE

_TRUNCATED_LENGTH = 1024
_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
_TOTALS = ("total_tokens_written", "total_tokens_skipped", "total_duplicated_tokens")
_OF_INDEX = (
    *("column_names", "column_encodings", "column_sizes", "compression", "hashes"),
    *("size_limit", "version"),
)
_NUM_TOKENS, _STATS, _DECILES = "num_tokens.json", "stats.json", "token_decile.json"
# What the script of the tokenizer leaves beside an index, and what that of the chunker does.
_OTHERS: Final[Mapping[FactKind, tuple[str, ...]]] = {
    "num_tokens": (_STATS, _DECILES),
    "stats": (_NUM_TOKENS,),
}
# Other files, such as cards and logs, come and go.
_LASTING = (".mds", ARCHIVE, f"/{INDEX_NAME}", f"/{_NUM_TOKENS}", f"/{_STATS}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
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


_Check = Callable[[Evidence, Fact], Iterator[_Compared]]


def attest(evidence: Evidence, facts: Mapping[str, tuple[Fact, ...]]) -> Iterator[Verdict]:
    """Yield what comes of every fact that something is known of, in the order of their paths.

    A file that is not what its name says contradicts the facts that it is read for.

    Raises: InputError for a file that cannot be read at all.
    """
    own = facts.get(evidence.repo or "", ())
    indexes = {fact.path: fact for fact in own if fact.kind == "index"}
    for fact in own:
        archive = fact.path.removesuffix(ARCHIVE)
        for one in _compare(evidence, fact, indexes.get(fact.beside(INDEX_NAME))):
            yield Verdict(
                partition=fact.folder if archive == fact.path else archive,
                fact=fact,
                what=one.what,
                got=one.got,
                expected=one.expected,
                agrees=one.agrees,
            )


def _compare(evidence: Evidence, fact: Fact, index: Fact | None) -> Iterator[_Compared]:
    """Yield all comparisons with a fact; index: what is published of the index beside it."""
    checks: list[_Check] = [*_CHECKS[fact.kind], partial(_check_room, known=index)]
    damage = []
    for check in checks:
        try:
            yield from check(evidence, fact)
        except DamagedError as error:
            damage.append(error.message)
    for message in dict.fromkeys(damage):
        yield _contradicts("content", message, "a file that can be read")


def _same(what: str, got: object, expected: object) -> _Compared:
    return _Compared(what=what, got=got, expected=expected, agrees=got == expected)


def _contradicts(what: str, got: object, expected: object) -> _Compared:
    return _Compared(what=what, got=got, expected=expected, agrees=False)


def _is_due(evidence: Evidence, fact: Fact, path: str) -> bool:
    """Whether a path has to be there; what a proposal shows may never have become part of it."""
    return evidence.is_due(path) and not fact.revision.startswith("refs/")


def _check_presence(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    is_there = fact.path in evidence.sizes or evidence.packed(fact.path)
    if not is_there and fact.path.endswith(_LASTING) and _is_due(evidence, fact, fact.path):
        what = "shard" if fact.path.endswith(".mds") else "file"
        yield _contradicts(what, "none", f"a {what}")


def _check_file(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare size and digest of a file; of a shard that lies compressed, unpacked."""
    if fact.path not in evidence.sizes:
        if evidence.packed(fact.path) and (found := evidence.unpacked(fact.path)) is not None:
            if "bytes" in fact.value:
                yield _same("bytes", found[0], fact.value["bytes"])
            if "sha256" in fact.value:
                yield _same("digest", found[1], fact.value["sha256"])
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
        path = fact.beside(name)
        if path in evidence.sizes:
            yield from _sized(evidence, f"bytes of {name}", path, shown)
        elif (
            rounded_size(shown)
            and name.endswith((".mds", ARCHIVE))
            and not evidence.packed(path)
            and _is_due(evidence, fact, path)
        ):
            yield _contradicts(f"shard {name}", "none", shown)
    for name in listed.get("dirs", ()):
        path = fact.beside(name)
        if evidence.has_folder(path) or _is_due(evidence, fact, path):
            yield _same("folder", name if evidence.has_folder(path) else "none", name)


def _check_num_tokens(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    if (told := evidence.record(fact.path)) is not None:
        keys = "num_tokens", "num_truncated_tokens"
        yield _same(_NUM_TOKENS, tuple(map(told.get, keys)), tuple(fact.value[key] for key in keys))


def _check_counted_rows(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare the rows with the counts."""
    lengths = evidence.lengths(fact.folder)
    if lengths is not None:
        yield _same("ids", int(lengths.sum()), fact.value["num_tokens"])
        truncated = int(np.minimum(lengths, _TRUNCATED_LENGTH).sum())
        yield _same("ids up to 1,024 a row", truncated, fact.value["num_truncated_tokens"])


def _check_room(evidence: Evidence, fact: Fact, known: Fact | None) -> Iterator[_Compared]:
    """Derive the mean length of documents' ids from bytes, rows and ids.

    Bytes and rows are of the index that is there, else bytes are of the list, and rows of the whole
    index that is published.
    """
    if fact.kind not in _OTHERS:
        return
    index = evidence.index(fact.beside(INDEX_NAME))
    if index is not None:
        rows = [one["samples"] for one in index]
        sizes = [one["raw_data"].get("bytes", 0) for one in index]
        is_uint16 = all(one.get("column_encodings") == ["str", "ndarray:uint16"] for one in index)
    else:
        shards = [] if known is None else whole_index(known) or []
        paths = [fact.beside(one["basename"]) for one in shards]
        rows = [one["samples"] for one in shards]
        sizes = [evidence.sizes.get(one, 0) for one in paths]
        is_uint16 = True
    if not is_uint16 or not sum(rows) or not all(sizes):
        return
    num_tokens = fact.value["num_tokens" if fact.kind == "num_tokens" else "total_tokens_written"]
    mean = mean_id_bytes(sum(sizes), len(sizes), sum(rows), 2 * num_tokens)
    bounds = id_bytes_of(fact.path)
    yield _Compared(
        what="bytes of so many ids",
        got=f"{mean:.1f} bytes for the id of a document",
        expected=f"{bounds[0]} to {bounds[1]}",
        agrees=is_id_length(mean, bounds),
    )


def _check_others(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Refuse counts that another script leaves: rows are either chunks or tokenized again."""
    for name in _OTHERS[fact.kind]:
        if fact.beside(name) in evidence.sizes:
            yield _contradicts("layout", name, f"{fact.path.rpartition('/')[2]} alone")


def _check_index(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    if "first_shards" in fact.value:
        yield from _check_first_shards(evidence, fact)
        return
    known = fact.value["shards"]
    index = evidence.index(fact.path)
    if index is None:
        index = evidence.index(fact.beside(INDEX_NAME))
    if index is None:
        yield from _sized(evidence, "bytes of the index", fact.path, fact.value.get("file_size"))
        for one in known:
            path = fact.beside(one["basename"])
            if path in evidence.sizes and "raw_bytes" in one:
                yield _same(f"bytes of {one['basename']}", evidence.sizes[path], one["raw_bytes"])
        return
    for key in _OF_INDEX if index else ():
        if key in fact.value:
            yield _same(key, index[0].get(key), fact.value[key])
    yield from _check_shards(index, known, is_complete=fact.is_complete)


def _check_shards(
    index: Sequence[IndexEntry], known: Sequence[Mapping[str, Any]], *, is_complete: bool
) -> Iterator[_Compared]:
    names = [one["raw_data"]["basename"] for one in index]
    yield _same("order of shards", names[: len(known)], [one["basename"] for one in known])
    if is_complete:
        yield _same("shards", len(index), len(known))
    for got, expected in zip(index, known, strict=False):
        name = expected["basename"]
        if got["raw_data"]["basename"] == name:
            rows, num_bytes = expected.get("samples"), expected.get("raw_bytes")
            if rows is not None:
                yield _same(f"rows of {name}", got["samples"], rows)
            if num_bytes is not None:
                yield _same(f"bytes of {name}", got["raw_data"].get("bytes"), num_bytes)


def _check_first_shards(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    index = evidence.index(fact.beside(INDEX_NAME))
    if index is not None:
        rows = sum(one["samples"] for one in index[: fact.value["first_shards"]])
        what = f"rows of the first {fact.value['first_shards']} shards"
        yield _same(what, rows, fact.value["samples_total"])


def _check_stats(evidence: Evidence, fact: Fact) -> Iterator[_Compared]:
    """Compare the file, or what of it follows from the rows."""
    expected = fact.value
    told = evidence.record(fact.path)
    if told is not None:
        for key in (*_TOTALS, "percentiles"):
            yield _same(key, told.get(key), expected[key])
        return
    lengths = evidence.lengths(fact.folder)
    if lengths is not None and len(lengths):
        yield _same("ids", int(lengths.sum()), expected["total_tokens_written"])
        values = np.percentile(lengths, _PERCENTILES)
        got = {f"{p}th": int(v) for p, v in zip(_PERCENTILES, values, strict=True)}
        yield _same("percentiles", got, expected["percentiles"])


_CHECKS: Final[Mapping[FactKind, tuple[_Check, ...]]] = {
    "sha256": (_check_presence, _check_file),
    "size": (_check_presence, _check_file),
    "listing": (_check_listing,),
    "num_tokens": (_check_presence, _check_num_tokens, _check_counted_rows, _check_others),
    "index": (_check_presence, _check_index),
    "stats": (_check_presence, _check_stats, _check_others),
}
