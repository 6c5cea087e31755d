"""Compare: what two sides say of themselves -> what of it differs. Pure, but for opening them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.audit.diff.difference import (
    Change,
    Difference,
    FilesChange,
    OrderChange,
    PartitionChange,
    SourceChange,
)
from pipeline.config import load_mixture
from pipeline.core.bundled import manifest_path, mixture_path
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.json_record import to_json
from pipeline.core.progress import ReportProgress
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
    manifest_windows,
    read_either,
)

_ORDER_COUNTS = ("algorithm", "seed", "epoch", "view", "num_samples", "num_steps", "num_rows",
                 "num_tokens")  # fmt: skip


def diff(
    old: str, new: str, report: ReportProgress = lambda stage, done, total: None
) -> Difference:
    """Compare two mixtures, manifests, outputs or orders.

    Raises: PipelineError when a side cannot be used; InputError when they tell nothing in common.
    """
    one, other = _open(old, report), _open(new, report)
    declaration = sources = order = files = None
    if one.declaration is not None and other.declaration is not None:
        declaration = tuple(_changes(one.declaration, other.declaration))
    if one.manifest is not None and other.manifest is not None:
        if isinstance(one.manifest, Manifest) and isinstance(other.manifest, Manifest):
            declaration = compare_declarations(one.manifest, other.manifest)
            sources = compare_sources(one.manifest, other.manifest)
            files = _compare_files(one.manifest.files, other.manifest.files)
        order = _compare_orders(one.manifest, other.manifest)
    if declaration is None and order is None:
        raise InputError(
            f"{old}, {new}: got a mixture and an order, which tell nothing in common",
            "compare a mixture with a mixture, a manifest or an output",
        )
    return Difference(
        old=old, new=new, declaration=declaration, sources=sources, order=order, files=files
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """What one side tells."""

    declaration: Mapping[str, Any] | None = None
    manifest: Manifest | OrderManifest | None = None


def _open(what: str, report: ReportProgress) -> _Side:
    path = Path(what)
    if path.suffix in (".yaml", ".yml") or (not path.exists() and _names_mixture(what)):
        return _Side(declaration=load_mixture(mixture_path(what)).declaration())
    is_rows = path.suffix == ".parquet" or (path.is_dir() and not (path / MANIFEST).is_file())
    if "://" in what or is_rows:
        return _Side(manifest=digest_order(what, report, is_part=True))
    try:
        path = path / MANIFEST if path.is_dir() else manifest_path(what)
    except ConfigError as error:
        raise _nothing_known(
            what, f"{error.message}; or give one of the shipped mixtures"
        ) from error
    if not path.exists():
        raise _nothing_known(what, "check the path")
    manifest = read_either(path)
    if isinstance(manifest, OrderManifest):
        return _Side(manifest=manifest)
    return _Side(declaration=manifest.mixture.declaration, manifest=manifest)


def _nothing_known(what: str, hint: str) -> InputError:
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
    """Return what two builds were declared to be made from and by, where it differs."""
    changes = _changes(old.mixture.declaration, new.mixture.declaration)
    digests = _changes(old.tokenizer.sha256, new.tokenizer.sha256, "tokenizer.sha256")
    return (*changes, *digests)


def _changes(old: Any, new: Any, key: str = "") -> Iterable[Change]:
    """Yield what differs between two declarations, by dotted path; a list is one value."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from _changes(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new:
        yield Change(key=key, old=old, new=new)


def compare_sources(old: Manifest, new: Manifest) -> tuple[SourceChange, ...]:
    """Return the sources that two builds did not make equally."""
    found = []
    for name in sorted({*old.sources, *new.sources}):
        one, other = (side.sources.get(name) for side in (old, new))
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
    one, other = _by_partition(old), _by_partition(new)
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        what: Literal["added", "removed", "other input", "other shards"]
        if left is None or right is None:
            what = "added" if left is None else "removed"
        elif left.input.sha256 != right.input.sha256:
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


def _by_partition(source: SourceRecord | None) -> dict[str, PartitionRecord]:
    return {} if source is None else {one.partition: one for one in source.partitions}


def _shards(record: PartitionRecord, files: Mapping[str, FileDigest]) -> list[str]:
    """Return the digests of a partition's files, in whatever folder they are."""
    return [files[path].sha256 for path in sorted(record.files)]


def _compare_orders(old: Manifest | OrderManifest, new: Manifest | OrderManifest) -> OrderChange:
    one, other = old.order.ledger.load(), new.order.ledger.load()
    before, after = (_windows(manifest_windows(side)) for side in (old, new))
    keys = sorted({*before, *after})
    same = [key for key in keys if _is_same(before.get(key), after.get(key))]
    told, retold = _order_counts(old), _order_counts(new)
    both = told.keys() & retold.keys()
    return OrderChange(
        counts=tuple(change for change in _changes(told, retold) if change.key in both),
        same_sequence=one.sequence_root == other.sequence_root,
        same_multiset=one.multiset == other.multiset and one.num_rows == other.num_rows,
        first_rows=_first_rows(one, other),
        num_same_windows=len(same),
        other_windows=tuple(name for name, number in keys if (name, number) not in same),
    )


def _windows(windows: Iterable[ManifestWindow]) -> dict[tuple[str, int], ManifestWindow]:
    """Return windows by name and by how many of that name came before, as one folder may twice."""
    by_name: dict[str, list[ManifestWindow]] = defaultdict(list)
    for window in windows:
        by_name[window.name].append(window)
    return {
        (name, number): window
        for name, together in by_name.items()
        for number, window in enumerate(together)
    }


def _is_same(one: ManifestWindow | None, other: ManifestWindow | None) -> bool:
    if one is None or other is None or one.stop - one.start != other.stop - other.start:
        return False
    return one.multiset_root == other.multiset_root


def _order_counts(manifest: Manifest | OrderManifest) -> dict[str, Any]:
    """Return what a manifest says of its order besides the ledger; a published one says little."""
    counts = {key: getattr(manifest.order, key, None) for key in _ORDER_COUNTS}
    return {key: count for key, count in counts.items() if count is not None}


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
