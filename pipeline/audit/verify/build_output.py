"""An output folder, opened for a comparison: its order and its pool, as rows under any view."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import dataset
from pipeline.audit.built_tokenizer import load_built_tokenizer
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.json_record import ABSENT
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    MANIFEST,
    ORDER,
    TRAIN,
    Manifest,
    ManifestWindow,
    RowSource,
    manifest_windows,
    read_manifest,
    windows_of,
)
from pipeline.dataset.mds import INDEX_NAME, MdsRows, Pool, read_index
from pipeline.order import (
    Permutation,
    PermutationKey,
    View,
    load_permutation,
    save_permutation,
    view_rows,
)
from pipeline.stages.tokenizer import NO_TOKEN, Tokenizer

_VIEWS: tuple[View, ...] = ("stored", "encoder", "decoder")
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Output:
    """The output of a build; everything but its manifest is read on first use."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> "Output":
        """Open an output. Raises: InputError when there is none, or its manifest is damaged."""
        try:
            manifest = read_manifest(folder / MANIFEST)
        except MismatchError as error:
            raise InputError(error.message, "give the folder of a finished build") from error
        output = cls(folder=folder, manifest=manifest)
        try:
            _ = output.declaration["phase"], output.batch_size, output.max_seq_len
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / MANIFEST}: got a manifest that lacks what this version reads: {error}",
                "build again to write it",
            ) from error
        return output

    @property
    def declaration(self) -> Mapping[str, Any]:
        return self.manifest.mixture.declaration

    @property
    def view(self) -> View:
        return self.manifest.order.view

    @cached_property
    def has_pool(self) -> bool:
        """Whether it has a pool of its own; `ettin-data order` writes outputs without one."""
        return bool(self.manifest.sources) or (self.folder / TRAIN / INDEX_NAME).is_file()

    @property
    def views(self) -> tuple[View, ...]:
        """The views that its ordered rows can be read under, its own first.

        Stored rows give every view; rows of another view need the pool.
        """
        if not self.has_pool and self.view != "stored":
            return (self.view,)
        return tuple(sorted(self.known_views, key=lambda view: view != self.view))

    @property
    def known_views(self) -> tuple[View, ...]:
        """The views that rows of its tokenizer may be under."""
        if self.manifest.tokenizer.sep_id == NO_TOKEN:
            return tuple(view for view in _VIEWS if view != "encoder")
        return _VIEWS

    @property
    def num_rows(self) -> int:
        return self.manifest.order.num_rows

    @property
    def batch_size(self) -> int:
        return self.manifest.num_rows_per_step

    @property
    def max_seq_len(self) -> int:
        """Most ids of a row under a view other than `stored`."""
        return int(self.declaration["order"]["max_seq_len"])

    @property
    def key(self) -> PermutationKey:
        return self.manifest.order.permutation_key

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the output was built with. Raises: InputError when it is not found."""
        has_prefix = self.declaration["tokenizer"]["add_prefix_space"]
        try:
            return load_built_tokenizer(self.folder, self.manifest, add_prefix_space=has_prefix)
        except MismatchError as error:
            raise InputError(error.message, error.hint) from error

    @property
    def tokenizer_problem(self) -> str | None:
        """Why the tokenizer cannot be loaded, if it cannot."""
        try:
            self.tokenizer  # noqa: B018
        except InputError as error:
            return error.message
        return None

    @cached_property
    def ordered_rows(self) -> RowSource:
        is_index = self.manifest.order.pool is not ABSENT
        return dataset.open(self.folder if is_index else self.folder / ORDER, checks=False).rows

    @cached_property
    def pool(self) -> Pool:
        return Pool.open(self.folder / TRAIN)

    @property
    def pool_rows(self) -> MdsRows:
        """The stored rows of the pool, in the order of its index."""
        return MdsRows(where=str(self.folder / TRAIN), pool=self.pool)

    @cached_property
    def order(self) -> Permutation:
        return make_permutation(self.key)

    @cached_property
    def windows(self) -> tuple[ManifestWindow, ...]:
        return manifest_windows(self.manifest)

    @cached_property
    def partitions(self) -> tuple[ManifestWindow, ...]:
        """The rows of each partition in the pool."""
        records = [
            record
            for _, source in sorted(self.manifest.sources.items())
            for record in source.partitions
        ]
        if self.declaration["order"].get("partitions") == "listed":
            # The manifest has the digest of the listing alone, and the index its order.
            entries = read_index(self.folder / TRAIN / INDEX_NAME)
            names = (PurePosixPath(TRAIN, one["raw_data"]["basename"]).parent for one in entries)
            places = {name.as_posix(): place for place, name in enumerate(dict.fromkeys(names))}
            records.sort(key=lambda record: places.get(record.folder, len(places)))
        return windows_of((record.folder, record.chunks.drawn, None) for record in records)

    def check_view(self, view: View) -> None:
        """Raise InputError when the ordered rows cannot be read under a view."""
        if view not in self.views:
            raise InputError(
                f"--view {view}: the rows of {self.folder} are the {self.view} view, and without a "
                "pool of its own no other view of them can be made",
                "leave --view out, or verify the output of the build that made the pool",
            )

    def ordered_under(self, view: View) -> RowSource:
        """Return the ordered rows under one of `views`; the pool is replayed where it must be."""
        if view == self.view:
            return self.ordered_rows
        if self.view == "stored":
            return self.viewed(self.ordered_rows, view)
        rows = ReplayedPool(pool=self.pool, order=self.order, num_rows=self.num_rows)
        return self.viewed(rows, view)

    def pool_under(self, view: View) -> RowSource:
        return self.viewed(self.pool_rows, view)

    def viewed(self, rows: RowSource, view: View) -> RowSource:
        if view == "stored":
            return rows
        return MappedRows(rows, lambda block: self.apply_view(block, view, self.max_seq_len))

    def apply_view(self, rows: Rows, view: View, max_seq_len: int) -> Rows:
        tokenizer = self.manifest.tokenizer
        return view_rows(rows, view, max_seq_len, tokenizer.cls_id, tokenizer.sep_id)


def make_permutation(key: PermutationKey) -> Permutation:
    """Make an order in temporary files; what is mapped outlives them."""
    with TemporaryDirectory(prefix="ettin-order-") as folder:
        save_permutation(key, Path(folder), Path(folder, "scratch"))
        return load_permutation(key, Path(folder))


@dataclass(frozen=True, kw_only=True)
class ReplayedPool:
    """Stored rows of a pool in an order."""

    pool: Pool
    order: Permutation
    num_rows: int

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        for first in range(start, stop, _BLOCK_ROWS):
            yield self.pool.take(self.order.samples(first, min(first + _BLOCK_ROWS, stop)))


@dataclass(frozen=True)
class MappedRows:
    """Rows that are changed block by block as they are read."""

    rows: RowSource
    change: Callable[[Rows], Rows]

    @property
    def num_rows(self) -> int:
        return self.rows.num_rows

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        return map(self.change, self.rows.read(start, stop))
