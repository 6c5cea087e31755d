"""Values of a comparison: an opened output, what was compared, what explains a difference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pipeline.audit.verify.pool_rows import ReplayedPool, Viewed
from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import (
    MANIFEST,
    ORDER,
    TRAIN,
    Manifest,
    ManifestWindow,
    RowSource,
    manifest_windows,
    open_rows,
    read_manifest,
    windows_of,
)
from pipeline.dataset.mds import INDEX_NAME, MdsRows, Pool
from pipeline.order import Permutation, PermutationKey, View, load_permutation, save_permutation
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

VIEWS: tuple[View, ...] = ("stored", "encoder", "decoder")
Of = Literal["order", "pool"]
"""What positions are of: an output's ordered rows, or the rows of its pool."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """An opened output folder; nothing but its manifest is read before it is asked for."""

    folder: Path
    """The folder."""
    manifest: Manifest
    """Its own manifest."""

    @classmethod
    def open(cls, folder: Path) -> "Output":
        """Open the output of a build.

        Raises: InputError when there is none, or its manifest is not whole.
        """
        try:
            manifest = read_manifest(folder / MANIFEST)
        except MismatchError as error:
            raise InputError(error.message, "give the folder of a finished build") from error
        return cls(folder=folder, manifest=manifest)

    @property
    def declaration(self) -> Mapping[str, Any]:
        """The mixture's declaration, with defaults filled in."""
        return self.manifest.mixture.declaration

    @property
    def view(self) -> View:
        """The view under which the ordered rows are written."""
        return self.manifest.order.view

    @cached_property
    def has_pool(self) -> bool:
        """Whether it has a pool of its own; what `ettin-data order` makes of a pool has none."""
        return bool(self.manifest.sources) or (self.folder / TRAIN / INDEX_NAME).is_file()

    @property
    def views(self) -> tuple[View, ...]:
        """The views that its ordered rows can be had under, its own first: the cheapest to read.

        From stored rows all are made; of others, only where the pool is there.
        """
        if not self.has_pool and self.view != "stored":
            return (self.view,)
        return tuple(sorted(VIEWS, key=lambda view: view != self.view))

    @property
    def num_rows(self) -> int:
        """How many ordered rows there are."""
        return self.manifest.order.num_rows

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        return int(self.declaration["order"]["global_batch_size"])

    @property
    def max_seq_len(self) -> int:
        """Most ids of a row under a view other than `stored`."""
        return int(self.declaration["order"]["max_seq_len"])

    @property
    def key(self) -> PermutationKey:
        """What the order follows from."""
        order = self.manifest.order
        return PermutationKey(
            algorithm=order.algorithm,
            num_samples=order.num_samples,
            seed=order.seed,
            epoch=order.epoch,
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the output was made with.

        Raises: InputError when it is found no more, or is another by now.
        """
        declared = self.declaration["tokenizer"]
        tokenizer = _tokenizer(declared["name"], declared["add_prefix_space"], declared["revision"])
        expected = self.manifest.tokenizer.sha256
        if tokenizer.digest != expected:
            raise InputError(
                f"{declared['name']}: sha256 is {tokenizer.digest}, the manifest says {expected}",
                "run from the folder of the mixture, with the tokenizer that the output was "
                "built with",
            )
        return tokenizer

    @property
    def cls_id(self) -> int:
        """Id that starts a sequence."""
        return self.manifest.tokenizer.cls_id

    @property
    def sep_id(self) -> int:
        """Id that ends a sequence."""
        return self.manifest.tokenizer.sep_id

    @cached_property
    def order_rows(self) -> RowSource:
        """The ordered rows as written."""
        return open_rows(str(self.folder / ORDER))

    @cached_property
    def pool(self) -> Pool:
        """The pool of the drawn shards, in `train/`."""
        return Pool.open(self.folder / TRAIN)

    @cached_property
    def order(self) -> Permutation:
        """The order of the pool's rows."""
        # What is mapped stays readable when its files are gone.
        with TemporaryDirectory(prefix="ettin-order-") as folder:
            save_permutation(self.key, Path(folder), Path(folder, "scratch"))
            return load_permutation(self.key, Path(folder))

    @cached_property
    def windows(self) -> tuple[ManifestWindow, ...]:
        """The windows of its order."""
        return manifest_windows(self.manifest)

    @cached_property
    def partitions(self) -> tuple[ManifestWindow, ...]:
        """The rows of each partition in the pool."""
        sources = sorted(self.manifest.sources.items())
        return windows_of(
            (record.folder, record.chunks.drawn, None)
            for _, source in sources
            for record in source.partitions
        )

    def check_view(self, view: View) -> None:
        """Raise InputError when the ordered rows cannot be had under a view."""
        if view not in self.views:
            raise InputError(
                f"--view {view}: the rows of {self.folder} are the {self.view} view, and it has no "
                "pool of its own to make others of",
                "leave --view out, or verify the output of the build that made the pool",
            )

    def rows_under(self, view: View) -> RowSource:
        """Return the ordered rows under one of `views`.

        Where the rows were written under another one, they come from the pool, in the order.
        """
        if view == self.view:
            return self.order_rows
        if self.view == "stored":
            return self._viewed(self.order_rows, view)
        return self.replay(self.order, self.num_rows, view)

    def replay(self, order: Permutation | None, num_rows: int, view: View) -> RowSource:
        """Return the first `num_rows` of the pool's rows in any order, under a view.

        `order`: of as many samples as the pool has rows; None stands for all rows as they lie.
        """
        rows: RowSource = MdsRows(where=str(self.folder / TRAIN), pool=self.pool)
        if order is not None:
            rows = ReplayedPool(pool=self.pool, order=order, num_rows=num_rows)
        return rows if view == "stored" else self._viewed(rows, view)

    def _viewed(self, rows: RowSource, view: View) -> RowSource:
        return Viewed(
            stored=rows,
            view=view,
            max_seq_len=self.max_seq_len,
            cls_id=self.cls_id,
            sep_id=self.sep_id,
        )


@lru_cache(maxsize=1)
def _tokenizer(name: str, add_prefix_space: bool, revision: str | None) -> Tokenizer:
    """Load a tokenizer once in a process: its tables take about half a second to make."""
    return load_tokenizer(name, add_prefix_space=add_prefix_space, revision=revision)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowResult:
    """What came of the comparison of the part of a window that was compared."""

    name: str
    """Its folder."""
    start: int
    """First row compared."""
    stop: int
    """One past the last row compared."""
    same_multiset: bool | None
    """Whether both sides have the same rows in some order; None where it cannot be told."""
    num_differing: int
    """How many rows are not the same on both sides; 1,024 and more for each node of a manifest."""
    first_difference: int | None
    """The first row that is not the same, if any."""

    @property
    def equal(self) -> bool:
        """Whether both sides have the same rows in the same order."""
        return self.num_differing == 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rows of an output beside those of something else, over one range."""

    of: Of
    """Whether positions are of the output's ordered rows, or of the rows of its pool."""
    view: View
    """The view under which the output's rows were compared."""
    why_view: str
    """In words, why that one."""
    start: int
    """First row compared."""
    stop: int
    """One past the last row compared."""
    num_rows: int
    """How many rows the output has; up to the end of the window where one is compared."""
    their_num_rows: int
    """How many rows the other side has, likewise; of a part that is equal, at least so many."""
    is_whole: bool
    """Whether all rows of both sides, or of a window of both, were to be compared, so that their
    numbers count."""
    num_missing: int
    """How many rows only one side has; counted where all were to be compared."""
    same_multiset: bool | None
    """Whether both sides have the same rows between `start` and `stop`, in some order; None where
    that cannot be told, as from a part of a ledger."""
    windows: tuple[WindowResult, ...]
    """By window, those that were touched."""
    rows_per_unit: int
    """1 where rows were compared; 1,024 where only nodes of a ledger were."""
    num_differing: int
    """How many rows are not the same on both sides."""
    differing: Int64Array
    """int64 [at most 65,536], the first positions that differ, of rows or of nodes' first rows."""
    digests_start: int
    """The row that `our_digests` and `their_digests` begin with: the first that differs."""
    our_digests: Uint8Array
    """uint8 [at most 65,536, 32], row digests of the output under `view`; empty for nodes,
    and where nothing differs."""
    their_digests: Uint8Array
    """uint8 [as many, 32], row digests of the other side."""
    notes: tuple[str, ...] = ()
    """What was not compared as it was asked for, in words."""

    @property
    def first_difference(self) -> int | None:
        """The first row that is not the same on both sides."""
        return int(self.differing[0]) if self.num_differing else None

    @property
    def equal(self) -> bool:
        """Whether both sides have the rows asked for, and they are the same."""
        return self.num_differing == 0 and self.num_missing == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that explains a difference, or was found beside one."""

    kind: str
    """Such as `row count`, `shard order`, `partition`, `prefix space`, `tokenizer`, `chunk
    algorithm`, `view`, `dtype`, `seed`, `epoch`, `mixture`, `unknown`."""
    text: str
    """One sentence for a person."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The numbers behind it, JSON-able."""
