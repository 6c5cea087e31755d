"""Feeds of rows in memory, some of which cannot be read."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset
from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.errors import (
    PipelineError,
)
from pipeline.core.ragged import Rows
from pipeline.feed.batch import Batch, Clm, Mlm, Objective
from pipeline.feed.feed import Feed
from pipeline.order.schedule import Schedule
from pipeline.stages.tokenizer import SpecialIds

CLS, SEP, PAD, MASK = 90, 91, 92, 93
_IS_SPECIAL = np.isin(np.arange(100), [CLS, SEP, PAD, MASK])
SPECIAL = SpecialIds(cls_id=CLS, sep_id=SEP, pad_id=PAD, mask_id=MASK, is_special=_IS_SPECIAL)
MLM = Mlm(mask_prob=0.3, seed=21)
OBJECTIVES: list[Objective | None] = [MLM, Clm(), None]


@dataclass
class Listed:
    """Rows of a list; some nodes may be out of reach."""

    rows: list[list[int]]
    bad: dict[int, PipelineError] = field(default_factory=dict)
    """The error of reading each of these rows."""
    num_taken: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def file_of(self, row: int) -> str:
        return "somewhere"

    def take(self, rows: Int64Array) -> Rows:
        assert (np.diff(rows) > 0).all()
        for row in rows.tolist():
            if row in self.bad:
                raise self.bad[row]
        self.num_taken += len(rows)
        return as_rows([self.rows[row] for row in rows.tolist()])


def as_rows(rows: list[list[int]]) -> Rows:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Rows(values=np.array([id_ for row in rows for id_ in row], np.uint32), offsets=offsets)


def made(num_rows: int, seed: int = 0) -> list[list[int]]:
    """Rows of one to nine ids, some with CLS in front and some with SEP at the end."""
    draw = np.random.default_rng(seed)
    rows = []
    for row in range(num_rows):
        body = draw.integers(0, 90, int(draw.integers(1, 8))).tolist()
        rows.append([CLS] * (row % 3 > 0) + body + [SEP] * (row % 2))
    return rows


def an_order(rows: Listed, **fields: Any) -> dataset.Order:
    told: dict[str, Any] = {
        "where": "somewhere",
        "rows": rows,
        "digest": "ab" * 32,
        "manifest": None,
        "view": "stored",
        "num_rows_per_step": 8,
        "max_seq_len": 6,
        "tokenizer_digest": None,
        "phase": "train",
    }
    return dataset.Order(**(told | fields))


def a_feed(rows: Listed | list[list[int]], **fields: Any) -> Feed:
    told: dict[str, Any] = {
        "order": an_order(rows if isinstance(rows, Listed) else Listed(rows)),
        "schedule": Schedule(num_rows_per_step=8),
        "micro_batch_rows": 3,
        "objective": MLM,
        "max_seq_len": 6 if "objective" not in fields or fields["objective"] else 99,
        "special": SPECIAL,
    }
    return Feed(**(told | fields))


def array(batch: Batch, name: str) -> NDArray[Any]:
    """Return one of the arrays that a model is given."""
    found = batch.inputs[name]
    assert isinstance(found, np.ndarray)
    return found


def digests(batch: Batch) -> Uint8Array:
    assert batch.digests is not None
    return batch.digests


def by_row(batches: Iterable[Batch]) -> dict[int, tuple[list[int], list[int]]]:
    """Return ids and labels of each row that flat batches hold; none twice."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for batch in batches:
        bounds = array(batch, "cu_seq_lens_q")
        for row, start, stop in zip(batch.rows.tolist(), bounds[:-1], bounds[1:], strict=False):
            assert row not in found
            parts = [array(batch, key)[0, start:stop].tolist() for key in ("input_ids", "labels")]
            found[row] = (parts[0], parts[1])
    return found


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in every field and every byte."""
    pairs = [
        (getattr(one, told.name), getattr(other, told.name))
        for told in dataclasses.fields(Batch)
        if told.name != "inputs"
    ]
    assert list(one.inputs) == list(other.inputs)
    pairs += zip(one.inputs.values(), other.inputs.values(), strict=True)
    return all(
        type(a) is type(b)
        and getattr(a, "dtype", None) == getattr(b, "dtype", None)
        and np.array_equal(a, b)
        for a, b in pairs
    )
