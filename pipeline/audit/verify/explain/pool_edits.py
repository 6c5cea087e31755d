"""Edits of a pool -> findings: parts in another order, rows missing or added, made again, altered.

Each edit is put down to the partitions that it covers. A partition most of whose rows are not ours
was made again, of whatever length; elsewhere, numbers that differ are missing or added rows.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.audit.verify.comparison import Finding, Output
from pipeline.audit.verify.explain.pool_parts import Arrangement, Edit, partitions_of
from pipeline.core.arrays import Int64Array

_MOST_NAMED = 5


def explain_arrangement(arrangement: Arrangement) -> list[Finding]:
    """Say in which order theirs has the parts of the pool, if it is not ours."""
    if arrangement.is_ours:
        return []
    names = [arrangement.parts.names[part] for part in arrangement.order.tolist()]
    expected = list(arrangement.parts.names)
    wrong = [i for i, (one, other) in enumerate(zip(names, expected, strict=True)) if one != other]
    first, last = wrong[0], wrong[-1] + 1
    shown = ", ".join(names[first : min(last, first + _MOST_NAMED)])
    more = f" and {last - first - _MOST_NAMED} more" if last - first > _MOST_NAMED else ""
    return [
        Finding(
            kind="shard order",
            text=f"their index has the pool's parts in another order: from part {first + 1} on "
            f"{shown}{more}, where ours has {', '.join(expected[first:last][:_MOST_NAMED])}{more}",
            evidence={"theirs": names[first:last], "ours": expected[first:last], "first": first},
        )
    ]


@dataclass(kw_only=True)
class _Changed:
    """What edits do to some partitions that only they cover."""

    edits: list[Edit] = field(default_factory=list)
    num_kept: int = 0
    """How many rows that were read are ours and where ours are."""

    @property
    def num_unknown(self) -> int:
        """How many rows that were read are not ours."""
        return sum(len(edit.unknown) for edit in self.edits)

    @property
    def num_missing(self) -> int:
        """How many more rows ours has."""
        return sum(edit.num_missing for edit in self.edits)

    @property
    def is_remade(self) -> bool:
        """Whether most rows are not ours."""
        return self.num_unknown > max(self.num_kept, 1)


class Changes:
    """Edits by the partitions that they cover."""

    def __init__(
        self, output: Output, arrangement: Arrangement, edits: list[Edit], kept: Int64Array
    ) -> None:
        self._output = output
        self._arrangement = arrangement
        self._parts = partitions_of(output)
        self._changed: dict[tuple[int, ...], _Changed] = defaultdict(_Changed)
        for edit in edits:
            self._changed[self._covered(edit)].edits.append(edit)
        num_kept = np.bincount(self._parts.of(kept), minlength=self.num_partitions)
        for parts, changed in self._changed.items():
            changed.num_kept = int(num_kept[list(parts)].sum())

    def _covered(self, edit: Edit) -> tuple[int, ...]:
        """Return the partitions most of whose rows an edit covers, or else the one it is in."""
        row_of = self._arrangement.row_of
        rows = row_of[edit.first : edit.first + max(edit.num_ours, 0)]
        if not len(rows):
            near = min(max(edit.first - 1, 0), len(row_of) - 1)
            return tuple(self._parts.of(row_of[near : near + 1]).tolist())
        parts, counts = np.unique(self._parts.of(rows), return_counts=True)
        most = 2 * counts > np.diff(self._parts.bounds)[parts]
        return tuple(parts[most if most.any() else [counts.argmax()]].tolist())

    @property
    def touched(self) -> set[int]:
        """The partitions in which rows are not ours."""
        changed = self._changed.items()
        return {part for parts, one in changed if one.num_unknown for part in parts}

    @property
    def num_partitions(self) -> int:
        """How many partitions our pool has."""
        return len(self._parts.names)

    @property
    def moved(self) -> Int64Array:
        """int64, positions of rows that are elsewhere in our pool, but for parts made again."""
        others = (one for one in self._changed.values() if not one.is_remade)
        moved = (edit.moved for changed in others for edit in changed.edits)
        return np.sort(np.concatenate([np.empty(0, np.int64), *moved]))

    def findings(self, their_num_samples: int, remade_as: str = "") -> list[Finding]:
        """Say what the edits do. `remade_as`: what is known of how a partition was made again."""
        remade = {parts: one for parts, one in self._changed.items() if one.is_remade}
        others = [one for parts, one in sorted(self._changed.items()) if parts not in remade]
        edits = [edit for changed in others for edit in changed.edits]
        found = [self._remade(dict(sorted(remade.items())), remade_as)] if remade else []
        found += self._counted([edit for edit in edits if edit.num_missing], their_num_samples)
        return found + self._altered([edit for edit in edits if not edit.num_missing])

    def _remade(self, remade: dict[tuple[int, ...], _Changed], remade_as: str) -> Finding:
        texts, shown = [], []
        for parts, changed in list(remade.items())[:_MOST_NAMED]:
            names = [self._parts.names[part] for part in parts]
            num_ours = sum(len(self._parts.rows(part)) for part in parts)
            num_theirs = num_ours - changed.num_missing
            num_read = changed.num_unknown + changed.num_kept
            texts.append(
                f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} made again: "
                f"{changed.num_unknown:,} of {num_read:,} rows read there are not ours; theirs has "
                f"{num_theirs:,} rows there, ours {num_ours:,}"
            )
            shown.append(
                {
                    "partitions": names,
                    "num_unknown": changed.num_unknown,
                    "num_read": num_read,
                    "their_num_rows": num_theirs,
                    "our_num_rows": num_ours,
                }
            )
        more = f"; and {len(remade) - len(shown):,} more places" if len(remade) > len(shown) else ""
        text = "; ".join(texts) + more + remade_as
        return Finding(kind="partition", text=text, evidence={"places": shown})

    def _counted(self, edits: list[Edit], their_num_samples: int) -> list[Finding]:
        """Say where rows are missing or added, and what that does to the number of samples."""
        if not edits:
            return []
        ours = len(self._arrangement.row_of)
        missing = sum(edit.num_missing for edit in edits)
        places = [self._place(edit) for edit in edits]
        named = "; ".join(place["text"] for place in places[:_MOST_NAMED])
        more = f"; and {len(places) - _MOST_NAMED} more places" if len(places) > _MOST_NAMED else ""
        fewer = f", {abs(missing):,} {'fewer' if missing > 0 else 'more'}" if missing else ""
        kind = "row count"
        text = f"their pool has {their_num_samples:,} rows{fewer}, ours {ours:,}: {named}{more}"
        if not missing and not any(len(edit.unknown) for edit in edits):
            kind = "shard order"
            text = f"their pool has as many rows as ours, but parts are elsewhere: {named}{more}"
        evidence = {
            "our_num_samples": ours,
            "their_num_samples": their_num_samples,
            "k": -missing,
            "places": places[:_MOST_NAMED],
        }
        return [Finding(kind=kind, text=text, evidence=evidence)]

    def _place(self, edit: Edit) -> dict[str, Any]:
        row_of = self._arrangement.row_of
        count = abs(edit.num_missing)
        rows = row_of[edit.first : edit.first + max(edit.num_ours, 0)].tolist()
        what = f"{count:,} row{'s' if count > 1 else ''}"
        if edit.num_missing > 0 and count == len(rows):
            where = self._name_rows(rows)
            text = f"{where} {'are' if len(rows) > 1 else 'is'} missing"
        elif edit.num_missing > 0:
            where = f"{self._parts.name_row(rows[0])} to {self._parts.name_row(rows[-1])}"
            text = f"{what} missing of {where}"
        elif edit.first == 0:
            where = "before all of ours"
            text = f"{what} added {where}"
        else:
            where = self._parts.name_row(int(row_of[edit.first - 1]))
            text = f"{what} added after {where}"
            if rows:
                text += f" and before {self._parts.name_row(int(rows[-1]))}"
        return {
            "text": text,
            "k": -edit.num_missing,
            "where": where,
            "num_unknown": len(edit.unknown),
        }

    def _altered(self, edits: list[Edit]) -> list[Finding]:
        """Name rows of ours in whose place is one that is not ours."""
        altered = [edit for edit in edits if len(edit.unknown)]
        if not altered:
            return []
        count = sum(len(edit.unknown) for edit in altered)
        shown = []
        for edit in altered[:_MOST_NAMED]:
            rows = self._arrangement.row_of[edit.first : edit.first + edit.num_ours].tolist()
            ours = self._name_rows(rows)
            if len(rows) > len(edit.unknown):
                ours = f"{len(edit.unknown):,} of the rows from {ours}"
            positions = edit.unknown[:_MOST_NAMED].tolist()
            shown.append({"positions": positions, "ours": ours})
        named = "; ".join(
            f"{one['ours']}, {'first ' if len(one['positions']) > 1 else ''}at position "
            f"{one['positions'][0]:,}"
            for one in shown
        )
        more = " and others" if len(altered) > _MOST_NAMED else ""
        text = (
            f"{count:,} row{'s are' if count > 1 else ' is'} not in our pool, where ours has "
            f"others: {named}{more}"
        )
        return [Finding(kind="rows", text=text, evidence={"num_rows": count, "rows": shown})]

    def explain_moved(self) -> list[Finding]:
        """Name positions whose rows are ours, but of other positions."""
        moved = self.moved
        if not len(moved):
            return []
        text = (
            f"{len(moved):,} row{'s are' if len(moved) > 1 else ' is'} of our pool, but of other "
            f"positions: the first is at position {moved[0]:,}"
        )
        evidence = {"num_moved": len(moved), "first": int(moved[0])}
        return [Finding(kind="row order", text=text, evidence=evidence)]

    def _name_rows(self, rows: list[int]) -> str:
        """Name consecutive rows, and the document of a single one."""
        if len(rows) == 1:
            document = self._output.pool.document_ids(np.array(rows))[0]
            named = json.dumps(document, ensure_ascii=False)
            return f"{self._parts.name_row(rows[0])} (document {named})"
        return f"{self._parts.name_row(rows[0])} to {self._parts.name_row(rows[-1])}"
