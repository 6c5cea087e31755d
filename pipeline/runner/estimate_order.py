"""Estimate of an order on disk: what is put in order, and the files that this leaves on the way.

`order_volume` says how many rows and steps there are, and in which files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from math import ceil

import numpy as np

from pipeline.config import Mixture
from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    STEPS_PER_FILE,
    split_files,
    split_windows,
)
from pipeline.dataset.provenance import RECORD_DTYPE as INDEX_DTYPE
from pipeline.runner.measure_output import OutputCosts
from pipeline.runner.shuffle import (
    RECORD_DTYPE,
    Layout,
    Limits,
    lay_out,
    plan_index,
    record_bounds,
)
from pipeline.runner.source_volume import SourceVolume

ARRAY_BYTES = 128
"""What an array in numpy's format begins with."""
NODE_BYTES = DIGEST_BYTES * 4 / 3
"""A digest as base64."""
# Kept of each row while it is ordered; ids of a task that lays rows out by position.
_ROW_RECORD_BYTES, _SCATTERED_IDS = 20, 48 << 20
SHUFFLED_IN_MEMORY = 1 << 23
"""Samples that numpy shuffles for the published permutation; more go through disk."""
# A step in records of tasks: its digest and its tokens; in the table of steps, in which the
# digests hardly compress.
_STEP_RECORD_BYTES = 75
_STEP_BYTES = 44
_STEPS_BYTES = 1900
# Of a file of cells, and of each cell: its entry; then of each array its length and padding.
_CELLS_FILE_BYTES, _CELL_BYTES, _CELL_ARRAY_BYTES = 80, 40, 12
# Of a row that is laid out, beside names and ids: its position, its record, the length of its name.
_LAID_OUT_BYTES = 8 + RECORD_DTYPE.itemsize + 4
_LAID_OUT_ARRAYS, _INDEX_ARRAYS = 5, 2
_INDEX_RECORD_BYTES = 480


class Stage(IntEnum):
    """The stages of a build, in their order."""

    SCAN = auto()
    CHUNK = auto()
    COMPARE = auto()
    """Ids of documents, for those that recur."""
    SAMPLE = auto()
    PERMUTE = auto()
    SCATTER = auto()
    SORT = auto()
    ORDER = auto()
    DIVIDE = auto()
    """Rows of the provenance, by document; then MERGE, and INDEX."""
    MERGE = auto()
    INDEX = auto()
    HOLDOUT = auto()
    FINISH = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """Files of one kind."""

    what: str
    num_bytes: float
    num_files: float
    written: Stage
    until: Stage | None = Stage.FINISH
    """The last stage that they are there in; None for the product, which stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderVolume:
    """What is put in order."""

    num_samples: int
    num_tokens: float
    name_bytes: float
    num_places: int
    """Files that rows come from."""
    steps_by_file: tuple[int, ...]
    """Steps of each file of rows."""
    batch: int
    pool_bytes: float
    """Of all ids."""
    layout: Layout | None
    """How rows are laid out on disk; None where the pool fits in memory."""

    @property
    def num_steps(self) -> int:
        return sum(self.steps_by_file)

    @property
    def num_rows(self) -> int:
        return self.num_steps * self.batch


def order_volume(
    mixture: Mixture, volumes: Sequence[SourceVolume], memory_bytes: int, *, held: bool = False
) -> OrderVolume:
    """Return what there is to order: what is sampled, or held out. Pure."""
    chunks = [one.held_chunks if held else one.drawn_chunks for one in volumes]
    num_samples = round(sum(chunks))
    tokens = sum(n * one.tokens_per_chunk for n, one in zip(chunks, volumes, strict=True))
    names = sum(n * one.name_bytes for n, one in zip(chunks, volumes, strict=True))
    batch = mixture.order.global_batch_size
    if held:
        batch = max(1, num_samples // max(1, num_samples // batch))
    elif mixture.scale < 1:
        batch = min(batch, max(num_samples, 1))
    num_steps = num_samples // batch
    each = max(round(tokens / max(num_samples, 1) * batch), 1)
    windows = split_windows(
        np.full(num_steps, each, np.int64), mixture.order.window_tokens, mixture.phase
    ) if num_steps else []  # fmt: skip
    files = [file for window in windows for file in split_files(window, mixture.order.format)]
    sizes = [n * shard_row_bytes(mixture, one) for n, one in zip(chunks, volumes, strict=True)]
    is_laid_out = sum(sizes) > memory_bytes
    return OrderVolume(
        num_samples=num_samples,
        num_tokens=each * num_steps,
        name_bytes=names / max(num_samples, 1),
        num_places=sum(one.num_files or 1 for one in volumes),
        steps_by_file=tuple(file.num_steps for file in files),
        batch=batch,
        pool_bytes=tokens * item_bytes(mixture),
        layout=_lay_out(mixture, volumes, chunks, sizes, num_steps * batch, batch)
        if is_laid_out
        else None,
    )


def item_bytes(mixture: Mixture) -> int:
    """Return the bytes of an id on disk. Pure."""
    return {"uint16": 2, "uint32": 4}[mixture.shards.dtype]


def shard_row_bytes(mixture: Mixture, one: SourceVolume) -> float:
    """Return the bytes of a chunk in a shard. Pure.

    They are its place, two sizes, its id, rank and width of the array, its length, its ids.
    """
    return 13 + one.name_bytes + one.length_bytes + one.tokens_per_chunk * item_bytes(mixture)


def _lay_out(
    mixture: Mixture,
    volumes: Sequence[SourceVolume],
    sampled: Sequence[float],
    sizes: Sequence[float],
    num_rows: int,
    batch: int,
) -> Layout:
    """Lay rows out as a build does; sampled: chunks of each source, sizes: of their shards."""
    limits = Limits()
    num_tasks = 0.0
    for one, chunks, size in zip(volumes, sampled, sizes, strict=True):
        # Folders are joined up to the size of a run; larger ones are split.
        held = limits.held_bytes(round(size), round(chunks))
        of_folder = max(held / max(one.num_partitions, 1), 1)
        pieces = ceil(of_folder / limits.run_bytes)
        num_tasks += one.num_partitions * pieces / max(limits.run_bytes * pieces // of_folder, 1)
    return lay_out(
        limits,
        key="",
        num_rows=num_rows,
        num_bytes=round(sum(sizes)),
        id_bytes=item_bytes(mixture),
        num_tasks=ceil(num_tasks) or 1,
        file_rows=STEPS_PER_FILE * batch,
    )


def order_terms(mixture: Mixture, rows: OrderVolume, costs: OutputCosts) -> Iterator[Term]:
    """Rows in order with their provenance, twice, and what finds and sorts them."""
    files = len(rows.steps_by_file)
    yield from _prepared(mixture, rows)
    if rows.layout is not None:
        yield from _laid_out(rows, rows.layout)
    yield _rows(mixture, rows, costs)
    yield Term(
        what="provenance", num_bytes=costs.provenance.of(files, rows.num_rows), num_files=files,
        written=Stage.ORDER, until=None,
    )  # fmt: skip
    yield _order_records(rows)
    steps = _STEPS_BYTES + rows.num_steps * _STEP_BYTES
    yield Term(what="steps", num_bytes=steps, num_files=1, written=Stage.ORDER, until=None)
    yield Term(what="steps", num_bytes=steps, num_files=1, written=Stage.ORDER)
    yield from _documents(rows, costs)


def _rows(mixture: Mixture, rows: OrderVolume, costs: OutputCosts) -> Term:
    """Rows in order; where they are not written, the permutation, if it is not computed."""
    what, files = "rows in order", len(rows.steps_by_file)
    if mixture.order.rows == "index":
        what, files = "permutation of the output", int(mixture.order.algorithm != "feistel-v1")
        num_bytes: float = files * permutation_bytes(rows.num_samples)
    elif mixture.order.format == "parquet":
        num_bytes = costs.rows.of(files, rows.num_tokens)
    else:
        num_bytes = rows.pool_bytes + rows.num_rows * (rows.name_bytes + 16)
    return Term(what=what, num_bytes=num_bytes, num_files=files, written=Stage.ORDER, until=None)


def permutation_bytes(num_samples: int) -> int:
    """Return the bytes of a stored permutation and its inverse. Pure."""
    return ARRAY_BYTES + 8 * num_samples


def _prepared(mixture: Mixture, rows: OrderVolume) -> Iterator[Term]:
    """The permutation, the names of files, and tokens of steps as tasks count them."""
    if mixture.order.algorithm != "feistel-v1":
        yield Term(
            what="permutation", num_bytes=64 + permutation_bytes(rows.num_samples), num_files=2,
            written=Stage.PERMUTE,
        )  # fmt: skip
        if rows.num_samples > SHUFFLED_IN_MEMORY:
            blocks = ceil(rows.num_samples / SHUFFLED_IN_MEMORY)
            # Pairs of 8 bytes beside the inverse of 4, which is half of what stays.
            yield Term(
                what="pairs of a permutation", num_bytes=4 * rows.num_samples, num_files=2 * blocks,
                written=Stage.PERMUTE, until=Stage.PERMUTE,
            )  # fmt: skip
    tasks = len(record_bounds(rows.num_samples)) - 1
    num_bytes = rows.num_places * 40 + tasks * (ARRAY_BYTES + 8 * (rows.num_steps + 1))
    yield Term(
        what="tokens of steps", num_bytes=num_bytes, num_files=1 + tasks, written=Stage.SCATTER
    )
    if rows.layout is None:
        yield Term(
            what="records of rows",
            num_bytes=rows.num_samples * RECORD_DTYPE.itemsize + tasks * ARRAY_BYTES,
            num_files=tasks, written=Stage.SCATTER,
        )  # fmt: skip


def _laid_out(rows: OrderVolume, layout: Layout) -> Iterator[Term]:
    """All rows once more, by position; twice while they are sorted between."""
    num_bytes = rows.pool_bytes + rows.num_rows * (rows.name_bytes + _LAID_OUT_BYTES)
    num_cells = layout.num_buckets if layout.is_sorted else layout.bucket_cells
    yield Term(
        what="scattered rows",
        num_bytes=num_bytes + heads_bytes(layout.num_tasks, num_cells, _LAID_OUT_ARRAYS),
        num_files=layout.num_tasks,
        written=Stage.SCATTER,
        until=Stage.SORT if layout.is_sorted else Stage.ORDER,
    )
    if layout.is_sorted:
        files = layout.num_buckets * layout.num_parts
        yield Term(
            what="sorted rows",
            num_bytes=num_bytes + heads_bytes(files, layout.bucket_cells, _LAID_OUT_ARRAYS),
            num_files=files,
            written=Stage.SORT,
            until=Stage.ORDER,
        )


def _documents(rows: OrderVolume, costs: OutputCosts) -> Iterator[Term]:
    """The provenance by document: in runs, perhaps merged, and in the files of the index."""
    plan = plan_index(rows.num_rows)
    num_bytes = rows.num_rows * (INDEX_DTYPE.itemsize + rows.name_bytes)
    yield Term(
        what="divided provenance",
        num_bytes=num_bytes + heads_bytes(plan.num_parts, plan.num_cells, _INDEX_ARRAYS),
        num_files=plan.num_parts,
        written=Stage.DIVIDE,
        until=Stage.MERGE if plan.is_merged else Stage.FINISH,
    )
    if plan.is_merged:
        files = plan.num_cells**2
        yield Term(
            what="merged provenance",
            num_bytes=num_bytes + heads_bytes(files, plan.width, _INDEX_ARRAYS),
            num_files=files,
            written=Stage.MERGE,
        )
    yield Term(
        what="provenance by document", num_bytes=costs.documents.of(plan.num_parts, rows.num_rows),
        num_files=plan.num_parts, written=Stage.INDEX, until=None,
    )  # fmt: skip
    yield Term(
        what="records of provenance", num_bytes=_INDEX_RECORD_BYTES * plan.num_parts,
        num_files=0, written=Stage.INDEX,
    )  # fmt: skip


def heads_bytes(num_files: float, num_cells: float, num_arrays: int) -> float:
    """Return what files of cells take beside the values of arrays. Pure."""
    of_cell = _CELL_BYTES + num_arrays * _CELL_ARRAY_BYTES
    return num_files * (_CELLS_FILE_BYTES + num_cells * of_cell)


def _order_records(rows: OrderVolume) -> Term:
    """Of each file its steps, its nodes, and a digest for each row of a node that it shares."""
    total = 0.0
    first = 0
    for num_steps in rows.steps_by_file:
        stop = first + num_steps * rows.batch
        whole = max(stop // ROWS_PER_NODE - -(-first // ROWS_PER_NODE), 0)
        shared = stop - first - whole * ROWS_PER_NODE
        total += 800 + num_steps * _STEP_RECORD_BYTES + (whole + shared) * NODE_BYTES
        first = stop
    return Term(
        what="records of files of rows", num_bytes=total,
        num_files=0, written=Stage.ORDER,
    )  # fmt: skip
