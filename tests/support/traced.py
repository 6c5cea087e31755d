"""Outputs to be traced, without a build; rows in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from support.indexed import write_documents
from support.manifests import manifest_of, window

from pipeline.audit.trace.positions import RowRange
from pipeline.core.digest import FileDigest
from pipeline.core.ragged import Rows
from pipeline.dataset.manifest import manifest_bytes
from pipeline.dataset.parquet.writer import write_steps
from pipeline.dataset.provenance.reader import RowProvenance
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter
from pipeline.dataset.rows import RowSource


class ListedRows:
    """Rows in memory, read in blocks of three: the least that a row source is."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.rows = rows

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        for first in range(start, stop, 3):
            block = self.rows[first : min(first + 3, stop)]
            ids = np.array([id_ for row in block for id_ in row], np.uint32)
            offsets = np.cumsum([0, *map(len, block)], dtype=np.int64)
            yield Rows(values=ids, offsets=offsets)


def write_output(
    out: Path,
    rows: Sequence[tuple[str, str]],
    *,
    steps: Sequence[int] | None = None,
    windows: Sequence[int] | None = None,
    phase: str = "checkpoint",
    num_dropped: int = 0,
    tokenizer: dict[str, str] | None = None,
) -> list[RowProvenance]:
    """Write as much of an output as traces read; return where its rows come from.

    rows: source and document of each; steps: the rows of each step; windows: the steps of each.
    """
    steps = [1] * len(rows) if steps is None else steps
    windows = [len(steps)] if windows is None else windows
    ends = np.cumsum(steps)
    origins = [
        RowProvenance(
            row,
            int(np.searchsorted(ends, row, side="right")) + 1,
            source,
            f"in/{source}.jsonl",
            document,
            sum(1 for one in rows[:row] if one == (source, document)),
            rows.count((source, document)),
            10 + row,
        )
        for row, (source, document) in enumerate(rows)
    ]
    _write_provenance(out, origins, phase, len(steps))
    (out / "order").mkdir()
    write_steps(
        out / "order" / "steps.parquet",
        num_rows=np.array(steps, np.int64),
        num_tokens=np.zeros(len(steps), np.int64),
        sha256=[""] * len(steps),
    )
    bounds = [0, *np.cumsum(windows).tolist()]
    first_rows = [0, *ends.tolist()]
    made = manifest_of(
        [
            window(
                f"order/{phase}_{number:06d}", (first, stop), (first_rows[first], first_rows[stop])
            )
            for number, (first, stop) in enumerate(pairwise(bounds), 1)
        ]
    )
    declared = {
        "tokenizer": {"revision": None, "add_prefix_space": False},
        "chunk": {"algorithm": "whole-v1"},
    }
    manifest = replace(
        made,
        mixture=replace(made.mixture, declaration=declared),
        tokenizer=replace(made.tokenizer, **(tokenizer or {"name": "modernbert"})),
        order=replace(made.order, num_rows_dropped=num_dropped),
        files={
            path.relative_to(out).as_posix(): FileDigest.of(path)
            for path in sorted(out.rglob("*.parquet"))
        },
    )
    (out / "manifest.json").write_bytes(manifest_bytes(manifest))
    return origins


def _write_provenance(
    out: Path, origins: Sequence[RowProvenance], phase: str, num_steps: int
) -> None:
    name = f"steps_000001_to_{num_steps:06d}.parquet"
    path = out / "provenance" / f"{phase}_000001" / name
    path.parent.mkdir(parents=True)
    places = sorted({(origin.source, origin.file) for origin in origins})
    ids = [origin.document.encode() for origin in origins]
    with ProvenanceWriter(path, 0, places) as writer:
        writer.write(
            ProvenanceBlock(
                steps=np.array([one.step for one in origins], np.int64),
                places=np.array([places.index((o.source, o.file)) for o in origins], np.int32),
                documents=np.frombuffer(b"".join(ids), np.uint8),
                offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
                chunks=np.array([one.chunk for one in origins], np.uint32),
                num_chunks=np.array([one.num_chunks for one in origins], np.uint32),
                num_tokens=np.array([one.num_tokens for one in origins], np.uint32),
            )
        )
    write_documents(out, [(path, len(origins))], places)
    if not origins:
        path.unlink()


def rows_of(span: RowRange) -> range:
    return range(span.start_row, span.stop_row)


def naive_find(rows: Sequence[Sequence[int]], needles_: Sequence[list[int]]) -> set:
    """Look at every place of every row."""
    return {
        (number, place)
        for number, row in enumerate(rows)
        for needle in needles_
        if {*needle} <= {*row}
        for place in range(len(row) - len(needle) + 1)
        if list(row[place : place + len(needle)]) == needle
    }


def as_lists(rows: RowSource) -> list[list[int]]:
    return [
        block.values[start:stop].tolist()
        for block in rows.read(0, rows.num_rows)
        for start, stop in pairwise(block.offsets)
    ]


def unspaced(text: str) -> str:
    return "".join(text.split())
