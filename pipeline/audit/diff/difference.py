"""Difference: two mixtures, manifests, outputs or orders -> what differs between them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config import load_mixture
from pipeline.core.bundled import manifest_path, mixture_path
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.json_record import to_json
from pipeline.core.progress import ReportProgress, no_progress
from pipeline.dataset import (
    MANIFEST,
    ROWS_PER_NODE,
    Ledger,
    Manifest,
    ManifestWindow,
    OrderManifest,
    PartitionRecord,
    SourceRecord,
    digest_order,
    first_difference,
    is_other_form,
    manifest_windows,
    read_either,
    without_rows,
)

_ORDER_COUNTS = ("algorithm", "seed", "epoch", "view", "num_samples", "num_steps", "num_rows",
                 "num_tokens")  # fmt: skip
AnyManifest = Manifest | OrderManifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A value that differs; None on a side that has none."""

    key: str
    """Its dotted path."""
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionChange:
    """A partition that differs."""

    folder: str
    what: Literal["added", "removed", "other input", "other shards"]
    """Only one side has it, or it was made from other bytes, or differently from the same bytes."""
    old_rows: int
    """Its rows in the pool."""
    new_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceChange:
    """A source that differs."""

    name: str
    what: Literal["added", "removed", "altered"]
    counts: tuple[Change, ...]
    """Documents, chunks, tokens and partitions."""
    partitions: tuple[PartitionChange, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderChange:
    """How the ordered rows of two sides differ, by their ledgers."""

    counts: tuple[Change, ...]
    """Algorithm, seed, epoch, view, samples, steps, rows, tokens."""
    same_sequence: bool
    """Whether the rows are the same in the same order."""
    same_multiset: bool
    """Whether the rows are the same in some order."""
    first_rows: tuple[int, int] | None
    """The first rows, half-open, among which some differ."""
    num_same_windows: int
    """Windows of one name with the same rows in some order."""
    other_windows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesChange:
    """Numbers of files."""

    added: int
    removed: int
    changed: int
    same: int

    @property
    def equal(self) -> bool:
        return self.added == self.removed == self.changed == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs between two sides; None for what one of them does not have."""

    old: str
    new: str
    declaration: tuple[Change, ...] | None = None
    """Keys of the mixtures, and the tokenizer."""
    sources: tuple[SourceChange, ...] | None = None
    order: OrderChange | None = None
    files: FilesChange | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing differs that was compared."""
        same_order = self.order is None or (self.order.same_sequence and not self.order.counts)
        same_files = self.files is None or self.files.equal
        return not self.declaration and not self.sources and same_order and same_files


def diff(old: str, new: str, report: ReportProgress = no_progress) -> Difference:
    """Compare two mixtures, manifests, outputs or orders.

    Raises: PipelineError when a side cannot be used; InputError when they have nothing in common.
    """
    (one_declared, one), (other_declared, other) = _open(old, report), _open(new, report)
    declaration = sources = order = files = None
    if one_declared is not None and other_declared is not None:
        declaration = tuple(_changes(one_declared, other_declared))
    if one is not None and other is not None:
        if isinstance(one, Manifest) and isinstance(other, Manifest):
            declaration = compare_declarations(one, other)
            sources = compare_sources(one, other)
            if is_other_form(one, other):
                one, other = without_rows(one), without_rows(other)
            files = _compare_files(one.files, other.files)
        order = _compare_orders(one, other)
    if declaration is None and order is None:
        raise InputError(
            f"{old}, {new}: got a mixture and an order, which have nothing in common",
            "compare a mixture with a mixture, a manifest or an output",
        )
    return Difference(
        old=old, new=new, declaration=declaration, sources=sources, order=order, files=files
    )


def _open(what: str, report: ReportProgress) -> tuple[Mapping[str, Any] | None, AnyManifest | None]:
    """Return the declaration and the manifest of a side, as far as it has them."""
    path = Path(what)
    if path.suffix in (".yaml", ".yml") or (not path.exists() and _names_mixture(what)):
        return load_mixture(mixture_path(what)).declaration(), None
    is_rows = path.suffix == ".parquet" or (path.is_dir() and not (path / MANIFEST).is_file())
    if "://" in what or is_rows:
        return None, digest_order(what, report, is_part=True)
    try:
        path = path / MANIFEST if path.is_dir() else manifest_path(what)
    except ConfigError as error:
        raise _unknown(what, f"{error.message}; or give one of the shipped mixtures") from error
    if not path.exists():
        raise _unknown(what, "check the path")
    manifest = read_either(path)
    return manifest.mixture.declaration if isinstance(manifest, Manifest) else None, manifest


def _unknown(what: str, hint: str) -> InputError:
    return InputError(
        f"{what}: got nothing known, expected a mixture, a manifest, an output, or rows in order",
        hint,
    )


def _names_mixture(name: str) -> bool:
    try:
        return mixture_path(name).is_file()
    except ConfigError:
        return False


def compare_declarations(old: Manifest, new: Manifest) -> tuple[Change, ...]:
    """Return where the declarations and tokenizers of two builds differ."""
    changes = _changes(old.mixture.declaration, new.mixture.declaration)
    return (*changes, *_changes(old.tokenizer.sha256, new.tokenizer.sha256, "tokenizer.sha256"))


def _changes(old: Any, new: Any, key: str = "") -> Iterable[Change]:
    """Yield what differs between two declarations, by dotted path; a list is one value."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from _changes(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new:
        yield Change(key=key, old=old, new=new)


def compare_sources(old: Manifest, new: Manifest) -> tuple[SourceChange, ...]:
    """Return the sources that two builds made differently."""
    found = []
    for name in sorted({*old.sources, *new.sources}):
        one, other = old.sources.get(name), new.sources.get(name)
        what: Literal["added", "removed", "altered"] = "altered"
        if one is None or other is None:
            what = "added" if one is None else "removed"
        counts = tuple(_changes(_counts(one), _counts(other)))
        partitions = tuple(_compare_partitions(one, other, old.files, new.files))
        if counts or partitions or what != "altered":
            found.append(SourceChange(name=name, what=what, counts=counts, partitions=partitions))
    return tuple(found)


def _counts(source: SourceRecord | None) -> dict[str, Any]:
    if source is None:
        return {}
    counted = {key: to_json(getattr(source, key)) for key in ("documents", "chunks", "tokens")}
    return {**counted, "partitions": len(source.partitions)}


def _compare_partitions(
    old: SourceRecord | None,
    new: SourceRecord | None,
    old_files: Mapping[str, FileDigest],
    new_files: Mapping[str, FileDigest],
) -> Iterable[PartitionChange]:
    one, other = (
        {} if source is None else {part.partition: part for part in source.partitions}
        for source in (old, new)
    )
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        what: Literal["added", "removed", "other input", "other shards"]
        if left is None or right is None:
            what = "added" if left is None else "removed"
        elif [one.sha256 for one in left.inputs] != [one.sha256 for one in right.inputs]:
            what = "other input"
        elif _shards(left, old_files) != _shards(right, new_files):
            what = "other shards"
        else:
            continue
        yield PartitionChange(
            folder=(left or other[name]).folder,
            what=what,
            old_rows=0 if left is None else left.chunks.drawn,
            new_rows=0 if right is None else right.chunks.drawn,
        )


def _shards(record: PartitionRecord, files: Mapping[str, FileDigest]) -> list[str]:
    """Return the digests of a partition's files, in whatever folder they are."""
    return [files[path].sha256 for path in sorted(record.files)]


def _compare_orders(old: AnyManifest, new: AnyManifest) -> OrderChange:
    one, other = old.order.ledger.load(), new.order.ledger.load()
    before, after = (_windows(manifest_windows(side)) for side in (old, new))
    keys = sorted({*before, *after})
    same = {key for key in keys if _is_same(before.get(key), after.get(key))}
    counts = _changes(_order_counts(old), _order_counts(new))
    return OrderChange(
        counts=tuple(change for change in counts if None not in (change.old, change.new)),
        same_sequence=one.sequence_root == other.sequence_root,
        same_multiset=one.multiset == other.multiset and one.num_rows == other.num_rows,
        first_rows=_first_rows(one, other),
        num_same_windows=len(same),
        other_windows=tuple(key[0] for key in keys if key not in same),
    )


def _windows(windows: Iterable[ManifestWindow]) -> dict[tuple[str, int], ManifestWindow]:
    """Return windows by name and by how many of that name came before: a folder may come twice."""
    seen: Counter[str] = Counter()
    found = {}
    for window in windows:
        found[window.name, seen[window.name]] = window
        seen[window.name] += 1
    return found


def _is_same(one: ManifestWindow | None, other: ManifestWindow | None) -> bool:
    if one is None or other is None or one.stop - one.start != other.stop - other.start:
        return False
    return one.multiset_root == other.multiset_root


def _order_counts(manifest: AnyManifest) -> dict[str, Any]:
    """Return what a manifest says of its order; None for what a published one does not say."""
    return {key: getattr(manifest.order, key, None) for key in _ORDER_COUNTS}


def _first_rows(one: Ledger, other: Ledger) -> tuple[int, int] | None:
    node = first_difference(one, other)
    if node is None:
        return None
    start = node * ROWS_PER_NODE
    return start, min(start + ROWS_PER_NODE, max(one.num_rows, other.num_rows))


def _compare_files(old: Mapping[str, FileDigest], new: Mapping[str, FileDigest]) -> FilesChange:
    both = old.keys() & new.keys()
    same = sum(old[path].sha256 == new[path].sha256 for path in both)
    return FilesChange(
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        changed=len(both) - same,
        same=same,
    )
