"""Pool edits: parts of the pool in another order; rows missing, added, made again, or altered.

Each edit is attributed to the partitions that it covers. A partition most of whose rows are not in
the output's pool was made again; elsewhere, rows are missing or added. Rows around a small edit are
read, too, so that a single missing row is named.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.audit.diff import listed
from pipeline.audit.verify.build_output import Output, make_permutation
from pipeline.audit.verify.comparison import Comparison, Finding, finding, shared
from pipeline.audit.verify.explain.arrangement import (
    Arrangement,
    Edit,
    arrangement_of,
    find_edits,
    partitions_of,
)
from pipeline.audit.verify.explain.order_search import find_order, place
from pipeline.audit.verify.explain.pool_index import TargetRows, known_rows, target_rows
from pipeline.core.arrays import Int64Array

_MOST_NAMED = 5
# Each row that is read for a closer look may lie in a row group of its own.
_MOST_CLOSER = 64


@shared
def closer_rows(comparison: Comparison) -> TargetRows:
    """Return the rows that were read of the target, and those within the first small edits."""
    index, rows = known_rows(comparison)
    placed, arrangement = find_order(comparison).placed, arrangement_of(comparison)
    if placed is None or arrangement is None:
        return rows
    places: list[int] = []
    for edit in find_edits(placed, index, arrangement)[0]:
        if edit.num_missing and 0 < edit.num_theirs <= _MOST_CLOSER - len(places):
            places += range(edit.place, edit.place + edit.num_theirs)
    if not places:
        return rows
    positions = np.array(places)
    if placed.key is not None:
        positions = make_permutation(placed.key).positions_of(positions)
    stop = min(comparison.stop, comparison.their_num_rows)
    positions = positions[(positions >= comparison.start) & (positions < stop)]
    positions = np.setdiff1d(positions, rows.positions)
    keys = [
        index.reading.read_keys(block)
        for position in positions.tolist()
        for block in target_rows(comparison).read(position, position + 1)
    ]
    return rows.with_rows(positions, np.concatenate([rows.keys[:0], *keys]), index)


@shared
def pool_edits(comparison: Comparison) -> "PoolEdits | None":
    """Return how the pools differ; None where no order fits."""
    placed, arrangement = find_order(comparison).placed, arrangement_of(comparison)
    if placed is None or arrangement is None:
        return None
    rows = closer_rows(comparison)
    placed = place(placed.key, rows.positions, rows.classes, placed.num_samples)
    edits, kept = find_edits(placed, known_rows(comparison)[0], arrangement)
    return PoolEdits(comparison.output, arrangement, edits, kept)


@dataclass(kw_only=True)
class _PartitionEdits:
    """Edits that cover the same partitions."""

    edits: list[Edit] = field(default_factory=list)
    num_kept: int = 0
    """Rows that were read and are where the output's pool has them."""

    @property
    def num_unknown(self) -> int:
        return sum(len(edit.unknown) for edit in self.edits)

    @property
    def is_remade(self) -> bool:
        """Whether most rows are not in the output's pool."""
        return self.num_unknown > max(self.num_kept, 1)


class PoolEdits:
    """Edits by the partitions that they cover."""

    def __init__(
        self, output: Output, arrangement: Arrangement, edits: list[Edit], kept: Int64Array
    ) -> None:
        self._output = output
        self._row_of = arrangement.row_of
        self._partitions = partitions_of(output)
        self._edited: dict[tuple[int, ...], _PartitionEdits] = defaultdict(_PartitionEdits)
        for edit in edits:
            self._edited[self._covered(edit)].edits.append(edit)
        num_kept = np.bincount(self._partitions.of(kept), minlength=len(self._partitions.names))
        for parts, edited in self._edited.items():
            edited.num_kept = int(num_kept[list(parts)].sum())

    def _covered(self, edit: Edit) -> tuple[int, ...]:
        """Return the partitions most of whose rows an edit covers, or else the one it is in."""
        rows = self._rows(edit)
        if not len(rows):
            near = min(max(edit.first - 1, 0), len(self._row_of) - 1)
            return tuple(self._partitions.of(self._row_of[near : near + 1]).tolist())
        parts, counts = np.unique(self._partitions.of(rows), return_counts=True)
        most = 2 * counts > np.diff(self._partitions.bounds)[parts]
        return tuple(parts[most if most.any() else [counts.argmax()]].tolist())

    def _rows(self, edit: Edit) -> Int64Array:
        return self._row_of[edit.first : edit.first + max(edit.num_ours, 0)]

    def only_partition(self) -> int | None:
        """Return the partition that alone, of several, has rows that are not in the pool."""
        touched = {part for parts, one in self._edited.items() if one.num_unknown for part in parts}
        is_only = len(touched) == 1 < len(self._partitions.names)
        return touched.pop() if is_only else None

    @property
    def moved(self) -> Int64Array:
        """int64, positions of rows that are elsewhere in the pool, but for parts made again."""
        others = (one for one in self._edited.values() if not one.is_remade)
        moved = (edit.moved for edited in others for edit in edited.edits)
        return np.sort(np.concatenate([np.empty(0, np.int64), *moved]))

    def findings(self, their_num_samples: int, remade_as: str = "") -> list[Finding]:
        """Describe the edits. `remade_as`: what is known of how a partition was made again."""
        edited = sorted(self._edited.items())
        remade = {parts: one for parts, one in edited if one.is_remade}
        edits = [edit for _, one in edited if not one.is_remade for edit in one.edits]
        counted = [edit for edit in edits if edit.num_missing]
        altered = [edit for edit in edits if not edit.num_missing and len(edit.unknown)]
        found = self._remade(remade, remade_as) if remade else []
        found += self._counted(counted, their_num_samples) if counted else []
        found += self._altered(altered) if altered else []
        # Where rows were made in another way, that is why they are others.
        return found + ([] if remade_as else self._sampled(remade))

    def _remade(
        self, remade: dict[tuple[int, ...], _PartitionEdits], remade_as: str
    ) -> list[Finding]:
        texts, places = [], []
        for parts, edited in list(remade.items())[:_MOST_NAMED]:
            names = [self._partitions.names[part] for part in parts]
            num_ours = sum(len(self._partitions.rows(part)) for part in parts)
            num_theirs = num_ours - sum(edit.num_missing for edit in edited.edits)
            num_read = edited.num_unknown + edited.num_kept
            place = {
                "partitions": names,
                "num_unknown": edited.num_unknown,
                "num_read": num_read,
                "their_num_rows": num_theirs,
                "our_num_rows": num_ours,
            }
            texts.append(
                f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} made again: "
                f"{edited.num_unknown:,} of {num_read:,} rows read there are not in the output's "
                f"pool; the other side has {num_theirs:,} rows there, the output {num_ours:,}"
            )
            places.append(place)
        text = "; ".join(texts) + _more(remade, "; and {:,} more places") + remade_as
        return finding("partition", text, places=places)

    def _sampled(self, remade: Iterable[tuple[int, ...]]) -> list[Finding]:
        """Say of which of these partitions the output has a sample, and by which algorithm."""
        names = {self._partitions.names[part] for parts in remade for part in parts}
        declared = self._output.declaration
        by: defaultdict[str, list[str]] = defaultdict(list)
        for source, made in sorted(self._output.manifest.sources.items()):
            for one in made.partitions:
                name, chunks = f"{source}/{one.partition}", one.chunks
                if name in names and chunks.drawn < chunks.written - chunks.validation:
                    own = declared["sources"][source].get("sample") or declared["sample"]
                    by[f"{own['algorithm']}, seed {own['seed']}"].append(name)
        if not by:
            return []
        samples = ", ".join(
            f"of {listed(found, _MOST_NAMED)} a part by {how}" for how, found in sorted(by.items())
        )
        text = (
            f"the output has samples: {samples}; the other side may have taken other chunks there,"
            " by another algorithm, seed or budget (sample, tokens)"
        )
        return finding("sample", text, partitions_by_sample=dict(by))

    def _counted(self, edits: list[Edit], their_num_samples: int) -> list[Finding]:
        ours = len(self._row_of)
        missing = sum(edit.num_missing for edit in edits)
        places = [self._place(edit) for edit in edits]
        named = "; ".join(place["text"] for place in places[:_MOST_NAMED])
        named += _more(places, "; and {} more places")
        fewer = f", {abs(missing):,} {'fewer' if missing > 0 else 'more'}" if missing else ""
        kind = "row count"
        text = f"the other side's pool has {their_num_samples:,} rows{fewer}, the output's {ours:,}"
        if not missing and not any(len(edit.unknown) for edit in edits):
            kind = "shard order"
            text = "both pools have as many rows, but parts are elsewhere"
        return finding(
            kind,
            f"{text}: {named}",
            our_num_samples=ours,
            their_num_samples=their_num_samples,
            k=-missing,
            places=places[:_MOST_NAMED],
        )

    def _place(self, edit: Edit) -> dict[str, Any]:
        count = abs(edit.num_missing)
        rows = self._rows(edit).tolist()
        what = f"{count:,} row{'s' if count > 1 else ''}"
        if edit.num_missing > 0 and count == len(rows):
            where = self._name_rows(rows)
            text = f"{where} {'are' if len(rows) > 1 else 'is'} missing"
        elif edit.num_missing > 0:
            where = self._partitions.name_rows(rows)
            text = f"{what} missing of {where}"
        elif edit.first == 0:
            where = "before all of the output's"
            text = f"{what} added {where}"
        else:
            where = self._partitions.name_row(int(self._row_of[edit.first - 1]))
            text = f"{what} added after {where}"
            if rows:
                text += f" and before {self._partitions.name_row(int(rows[-1]))}"
        return {
            "text": text,
            "k": -edit.num_missing,
            "where": where,
            "num_unknown": len(edit.unknown),
        }

    def _altered(self, edits: list[Edit]) -> list[Finding]:
        count = sum(len(edit.unknown) for edit in edits)
        texts, shown = [], []
        for edit in edits[:_MOST_NAMED]:
            rows = self._rows(edit).tolist()
            ours = self._name_rows(rows)
            if len(rows) > len(edit.unknown):
                ours = f"{len(edit.unknown):,} of the rows from {ours}"
            positions = edit.unknown[:_MOST_NAMED].tolist()
            shown.append({"positions": positions, "ours": ours})
            first = "first " if len(positions) > 1 else ""
            texts.append(f"{ours}, {first}at position {positions[0]:,}")
        text = (
            f"{count:,} row{'s are' if count > 1 else ' is'} not in the output's pool, which has "
            f"others there: {'; '.join(texts)}{_more(edits, ' and others')}"
        )
        return finding("rows", text, num_rows=count, rows=shown)

    def _name_rows(self, rows: list[int]) -> str:
        """Name consecutive rows, and the document of a single one."""
        if len(rows) > 1:
            return self._partitions.name_rows(rows)
        document = self._output.pool.document_ids(np.array(rows))[0]
        named = json.dumps(document, ensure_ascii=False)
        return f"{self._partitions.name_row(rows[0])} (document {named})"


def _more(items: Any, text: str) -> str:
    return text.format(len(items) - _MOST_NAMED) if len(items) > _MOST_NAMED else ""
