"""An order, opened to be fed: where its rows are, and what is known of it.

Enters: a path or an address. Leaves: its rows by number, and the digest that a position belongs to,
which is the same wherever the same order lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.digest import fingerprint, sha256_file
from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import MANIFEST, ORDER, Manifest, as_path, open_remote
from pipeline.dataset.mds import INDEX_NAME, Pool, open_fetched, read_index
from pipeline.dataset.parquet import PublishedOrder
from pipeline.feed.batch import FeedRows, SpecialIds
from pipeline.feed.manifest_facts import ManifestFacts, read_manifest_facts
from pipeline.feed.rows import CheckedRows, FiledRows, OrderedPool, SequentialRows, ShardRows
from pipeline.order import PermutationKey, load_permutation, save_permutation
from pipeline.stages.tokenizer import EMBEDDED, read_special_tokens

_FORMAT = "ettin-feed-order-v1"


@dataclass(frozen=True, kw_only=True)
class FeedOrder:
    """An order that is open. It is pickled as what it was opened from."""

    where: str
    """The path or address."""
    rows: FeedRows = field(repr=False)
    """Its rows."""
    digest: str
    """64 hex digits: what a position belongs to."""
    manifest: Manifest | None = field(default=None, repr=False)
    """What is known of it, if it is the output of a build."""
    view: str = "stored"
    """The view that its rows were written under."""
    num_rows_per_step: int | None = None
    """The global batch size that it was made for, if that is known."""
    max_seq_len: int | None = None
    """The longest sequence that it was made for, if that is known."""
    tokenizer_digest: str | None = None
    """sha256 of the `tokenizer.json` that made its ids, if that is known."""
    phase: str = ""
    """The phase of training that it is of, if that is known."""
    reopens: tuple[Callable[..., "FeedOrder"], tuple[Any, ...], dict[str, Any]] | None = field(
        default=None, repr=False
    )
    """What opens it, for another process."""

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called; the order itself, if its rows lie in none."""
        file_of = getattr(self.rows, "file_of", None)
        return self.where if file_of is None else str(file_of(row))

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.reopens is None:
            return super().__reduce__()
        return _reopen, (*self.reopens, self.digest)


def open_order(where: str | Path, *, checks: bool = True, phase: str | None = None) -> FeedOrder:
    """Open an order: the output of a build, published parquet, or MDS shards in index order.

    `where`: a folder, a parquet file, or an address of one: `hf://datasets/ORG/NAME[@REVISION]
    [/PATH]`, `https://`, `s3://`, and whatever else fsspec knows. `checks`: rows are compared with
    the ledger of the build, if there is one. `phase`: which one, where an order has several.

    Raises: InputError when there is no order, MismatchError when it is not what its manifest says,
    NotFoundError for a phase that it has not.
    """
    path = as_path(where)
    found = _open_remote(str(where), phase) if path is None else _open_local(path, phase)
    about: dict[str, Any] = {}
    rows: FeedRows = found.rows
    if found.told is not None:
        about, ledger = found.told.about, found.told.ledger
        if ledger.num_rows != rows.num_rows:
            missing = f"; missing: {', '.join(found.missing)}" if found.missing else ""
            raise MismatchError(
                f"{found.where}: got {rows.num_rows:,} rows, expected {ledger.num_rows:,} by its"
                f" manifest{missing}",
                "build or pull it again",
            )
        if checks:
            rows = CheckedRows(rows=found.rows, ledger=ledger)
    else:
        about = {"digest": fingerprint({"format": _FORMAT, **found.identity}), "phase": found.phase}
    reopens = (open_order, (found.where,), {"checks": checks, "phase": phase})
    return FeedOrder(where=found.where, rows=rows, reopens=reopens, **about)


def open_pool(folder: Path, key: PermutationKey, scratch: Path) -> FeedOrder:
    """Open a pool of MDS shards in an order of its own.

    `scratch`: a folder that keeps the permutation, if it is of an algorithm that has to.

    Raises: InputError when there is no pool, or it has another number of rows than the key;
    ConfigError as `save_permutation`.
    """
    pool, digest = _open_shards(folder)
    num_rows = int(pool.num_rows.sum())
    if num_rows != key.num_samples:
        raise InputError(
            f"{folder}: got {num_rows:,} rows, expected {key.num_samples:,} by the key of the order"
        )
    save_permutation(key, scratch, scratch)
    identity = {"format": _FORMAT, "index": digest, "order": asdict(key)}
    return FeedOrder(
        where=str(folder),
        rows=OrderedPool(pool=pool, order=load_permutation(key, scratch)),
        digest=fingerprint(identity),
        reopens=(open_pool, (folder, key, scratch), {}),
    )


def special_ids(order: FeedOrder, tokenizer: str | None = None) -> SpecialIds:
    """Return the special ids of a tokenizer, of the embedded one where none is named.

    `tokenizer`: the path of a `tokenizer.json`.

    Raises: MismatchError when the order's ids were made by another; as `load_tokenizer`.
    """
    frame = read_special_tokens(tokenizer or EMBEDDED)
    if order.tokenizer_digest not in (None, frame.digest):
        raise MismatchError(
            f"{order.where}: got ids of the tokenizer {order.tokenizer_digest}, expected those of"
            f" {tokenizer or EMBEDDED}, {frame.digest}",
            "feed it with the tokenizer.json that made them: --tokenizer FILE, or"
            " special=special_ids(order, FILE)",
        )
    is_special = np.zeros(frame.vocab_size, np.bool_)
    is_special[frame.special_ids] = True
    return SpecialIds(
        cls_id=frame.cls_id,
        sep_id=frame.sep_id,
        pad_id=frame.pad_id,
        mask_id=frame.mask_id,
        is_special=is_special,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    where: str
    """The path or address, of the Hub with the commit."""
    rows: FiledRows
    identity: dict[str, Any]
    """What tells it from other orders, wherever it lies."""
    told: ManifestFacts | None
    phase: str = ""
    missing: tuple[str, ...] = ()
    """Files of rows that the manifest names, and that are not there."""


def _open_local(path: Path, phase: str | None) -> _Found:
    path = path.absolute()
    if not path.exists():
        raise InputError(f"{path}: got nothing there, expected an order", "check the path")
    manifest = path / MANIFEST
    told = read_manifest_facts(manifest.read_bytes(), str(path)) if manifest.is_file() else None
    base = path / ORDER if told is not None or (path / ORDER).is_dir() else path
    if (base / INDEX_NAME).is_file():
        pool, digest = _open_shards(base)
        shards = ShardRows(pool=pool)
        return _Found(where=str(path), rows=shards, identity={"index": digest}, told=told)
    num_rows = None if told is None else told.num_rows
    order = _one_phase(PublishedOrder.open_local(base, wrap=True, told=num_rows), phase)
    if told is not None:
        return _published(str(path), order, {}, told)
    folder = base.parent if base.is_file() else base
    sizes = {file.path: (folder / file.path).stat().st_size for file in order.files}
    return _published(str(path), order, sizes, told)


def _open_remote(where: str, phase: str | None) -> _Found:
    folder = open_remote(where)
    where = f"{folder.where}/{next(iter(folder.num_bytes))}" if folder.is_file else folder.where
    has_manifest = MANIFEST in folder.num_bytes
    told = read_manifest_facts(folder.read(MANIFEST), where) if has_manifest else None
    if any(path.startswith(f"{ORDER}/") for path in folder.num_bytes):
        folder = folder.below(ORDER)
    if INDEX_NAME in folder.num_bytes:
        pool, digest = open_fetched(folder, {} if told is None else told.digests)
        shards = ShardRows(pool=pool)
        return _Found(where=where, rows=shards, identity={"index": digest}, told=told)
    order = _one_phase(PublishedOrder.of_folder(folder, wrap=True), phase)
    sizes = {file.path: folder.num_bytes[file.path] for file in order.files}
    return _published(where, order, sizes, told)


def _published(
    where: str, order: PublishedOrder, sizes: Mapping[str, int], told: ManifestFacts | None
) -> _Found:
    expected = {} if told is None or told.num_rows is None else told.num_rows
    there = {file.path for file in order.files}
    return _Found(
        where=where,
        rows=SequentialRows(order),
        identity={"files": [[path, size] for path, size in sorted(sizes.items())]},
        told=told,
        phase=order.phases[0] if order.phases else "",
        missing=tuple(f"{ORDER}/{path}" for path in expected if path not in there),
    )


def _one_phase(order: PublishedOrder, phase: str | None) -> PublishedOrder:
    if phase is not None:
        return order.phase(phase)
    if len(order.phases) > 1:
        raise InputError(
            f"{order.where}: got an order of several phases ({', '.join(order.phases)}), expected"
            " one, since each is a training of its own",
            "choose one with phase (--phase), or name the folder of a window",
        )
    return order


def _open_shards(folder: Path) -> tuple[Pool, str]:
    """Return a pool, none of whose shards was looked for, and the sha256 of its index."""
    path = folder / INDEX_NAME
    pool = Pool.of(folder, read_index(path))
    return pool, sha256_file(path)


def _reopen(opens: Callable[..., FeedOrder], args: Any, options: Any, digest: str) -> FeedOrder:
    order = opens(*args, **options)
    if order.digest != digest:
        raise MismatchError(
            f"{order.where}: got the order {order.digest}, expected {digest} as in the process that"
            " opened it first",
            "run again once nobody changes it any more",
        )
    return order
