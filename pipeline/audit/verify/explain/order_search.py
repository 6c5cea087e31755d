"""Order search: which order the target's rows are in.

Candidate orders, near the output's own, are scored by how many rows that follow one another in the
pool that they imply follow one another in the output's pool, too, whatever rows are missing, added
or made again, and whatever order the partitions are in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.audit.verify.build_output import make_permutation
from pipeline.audit.verify.comparison import Comparison, Finding, finding, shared
from pipeline.audit.verify.explain.pool_index import UNKNOWN, known_rows
from pipeline.core.arrays import Int64Array
from pipeline.dataset.mds import MdsRows
from pipeline.order import ALGORITHMS, PermutationKey, pcg64dxsm_permutation

# It depends on nothing but the sum of seed and epoch.
SUMMED = "ettin-pcg64dxsm-v1"
_NEAR_SEEDS = 4
_MOST_EPOCHS = 8
# Those of the published configurations first, then what people choose.
_KNOWN_SEEDS = (21, 210, 12345, 42, 17, 9176, 0, 1, 1234, 1337, 2**31 - 1, 2**32 - 1)
_NEAR_COUNTS = 64
_LIKELY = 8
# Samples permuted over all candidates: about five seconds; of large orders fewer are tried.
_MOST_PERMUTED = 1 << 28
_FEWEST_TRIED = 24
# Samples permuted in memory, of 4 bytes each; more are permuted through disk.
_MOST_IN_MEMORY = 1 << 28
_SCORED_ROWS = 4096
# By chance, two rows follow one another once in as many pairs as there are rows.
_FITS, _FEWEST_PAIRS = 0.1, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedRows:
    """Rows of the target by their places in the pool that an order implies."""

    key: PermutationKey | None
    """None where rows are in the order of the pool."""
    places: Int64Array
    """int64 [num_read], rising."""
    classes: Int64Array
    """int64 [num_read], the row of the output's pool that each is, or -1."""
    positions: Int64Array
    """int64 [num_read], where in the order each is."""
    num_samples: int
    """Rows of the target's pool."""


def place(
    key: PermutationKey | None, positions: Int64Array, classes: Int64Array, num_samples: int
) -> PlacedRows:
    if key is None:
        places = positions
    elif key.algorithm == SUMMED and key.num_samples <= _MOST_IN_MEMORY:
        # Made without its inverse, in half the time; no other algorithm needs one.
        rows = pcg64dxsm_permutation(key.num_samples, seed=key.seed, epoch=key.epoch)
        places = rows[positions].astype(np.int64)
    else:
        places = make_permutation(key).samples_at(positions)
    by_place = np.argsort(places, kind="stable")
    return PlacedRows(
        key=key,
        places=places[by_place],
        classes=classes[by_place],
        positions=positions[by_place],
        num_samples=num_samples,
    )


@shared
def find_order(comparison: Comparison) -> "OrderSearch":
    """Try candidate orders; return the search, with the rows under the best if it fits."""
    search = OrderSearch(comparison)
    key, is_order = comparison.output.key, comparison.of == "order"
    search.try_keys([key, None, *_declared_keys(comparison)] if is_order else [None])
    # Rows in the order of a pool are a pool, to which no other order is near.
    if is_order and (search.best is not None or search.score < _FITS):
        seeds, counts = list(other_keys(key)), list(_other_counts(comparison))
        by_count = [replace(key, num_samples=count) for count in counts]
        for candidates in (by_count[:_LIKELY], seeds, by_count):
            search.try_keys(candidates)
        near = [search.best] if search.best is not None and search.score >= _FITS else seeds
        search.try_keys(replace(one, num_samples=count) for count in counts for one in near)
    return search


def _declared_keys(comparison: Comparison) -> list[PermutationKey]:
    """Return the order that the other side's manifest declares, if it has one."""
    manifest = comparison.target.manifest
    if manifest is None or manifest.order.algorithm not in ALGORITHMS:
        return []
    order = manifest.order
    return [
        PermutationKey(
            algorithm=order.algorithm,
            num_samples=order.num_samples,
            seed=order.seed,
            epoch=order.epoch,
        )
    ]


class OrderSearch:
    """The best of the orders that were tried, on some of the rows that are in the pool."""

    def __init__(self, comparison: Comparison) -> None:
        self._rows = rows = known_rows(comparison)[1]
        known = np.flatnonzero(rows.classes != UNKNOWN)
        some = known[np.linspace(0, len(known) - 1, min(len(known), _SCORED_ROWS)).astype(np.int64)]
        self._positions, self._classes = rows.positions[some], rows.classes[some]
        self._num_permuted = 0
        ours, self._their_num_samples = comparison.output.key.num_samples, comparison.their_num_rows
        # Rows in full steps lack the last few; MDS shards may be a pool, and whole.
        num_left = ours - comparison.their_num_rows
        is_steps = comparison.of == "order" and not isinstance(comparison.theirs, MdsRows)
        if is_steps and 0 <= num_left < comparison.output.batch_size:
            self._their_num_samples = ours
        self.best: PermutationKey | None = None
        # How well the best fits, from 0 to 1.
        self.score = 0.0
        self._tried: set[PermutationKey | None] = set()

    def try_keys(self, keys: Iterable[PermutationKey | None]) -> None:
        """Try orders, None for that of the pool, until one fits wholly or enough was permuted."""
        for key in keys:
            num_samples = self._num_samples(key)
            is_enough = self._num_permuted + num_samples > _MOST_PERMUTED
            if self.score == 1.0 or (is_enough and len(self._tried) >= _FEWEST_TRIED):
                return
            if num_samples <= self._rows.positions[-1] or key in self._tried:
                continue
            self._tried.add(key)
            self._num_permuted += num_samples
            score = _smoothness(place(key, self._positions, self._classes, num_samples))
            if score > self.score:
                self.best, self.score = key, score

    @property
    def num_tried(self) -> int:
        return len(self._tried)

    @cached_property
    def placed(self) -> PlacedRows | None:
        """The target's rows under the order that fits; None where none does."""
        if self.score < _FITS:
            return None
        rows = self._rows
        return place(self.best, rows.positions, rows.classes, self._num_samples(self.best))

    @property
    def is_pool(self) -> bool:
        return self.placed is not None and self.placed.key is None

    def _num_samples(self, key: PermutationKey | None) -> int:
        return self._their_num_samples if key is None else key.num_samples


def _smoothness(placed: PlacedRows) -> float:
    """Return the share of rows next to one another in their pool that are as far apart in ours.

    Repetitions are all named by the first of them, so they follow one another as it does.
    """
    known = placed.classes != UNKNOWN
    together = np.diff(placed.classes[known] - placed.places[known]) == 0
    return float(together.mean()) if np.count_nonzero(together) >= _FEWEST_PAIRS else 0.0


def other_keys(ours: PermutationKey) -> Iterator[PermutationKey]:
    """Yield other seeds and epochs; of those that give the same order, one."""
    epochs = [replace(ours, epoch=epoch) for epoch in range(_MOST_EPOCHS + 1)]
    near = [ours.seed + sign * by for by in range(1, _NEAR_SEEDS + 1) for sign in (1, -1)]
    powers = [2**power for power in range(1, 17)]
    seeds = [replace(ours, seed=seed) for seed in (*near, *_KNOWN_SEEDS, *powers) if seed >= 0]
    others = [
        replace(key, algorithm=name)
        for name in sorted(ALGORITHMS)
        if name != ours.algorithm
        for key in (ours, replace(ours, seed=_KNOWN_SEEDS[0], epoch=0))
    ]
    seen = {_stream(ours)}
    for key in (*others, *epochs, *seeds):
        if _stream(key) not in seen:
            seen.add(_stream(key))
            yield key


def _stream(key: PermutationKey) -> tuple[str | int, ...]:
    """Return what of a key determines its random numbers."""
    seeds = (key.seed + key.epoch,) if key.algorithm == SUMMED else (key.seed, key.epoch)
    return (key.algorithm, *seeds)


def _other_counts(comparison: Comparison) -> Iterator[int]:
    """Yield other numbers of samples near ours, first those that give the target's full steps."""
    ours, theirs = comparison.output.key.num_samples, comparison.their_num_rows
    full = range(theirs, theirs + comparison.output.batch_size)
    near = [ours + sign * by for by in range(1, _NEAR_COUNTS + 1) for sign in (-1, 1)]
    yield from sorted(near, key=lambda count: count not in full)
    yield from full


def reproduction(comparison: Comparison) -> tuple[str, dict[str, Any]]:
    """Return how many of the rows read the output's pool gives in the order that fits.

    The first value is worded for people, the second has the numbers. Empty where the other side's
    pool has more rows or fewer, and so is another.
    """
    placed, index = find_order(comparison).placed, known_rows(comparison)[0]
    assert placed is not None
    if placed.num_samples != len(index.classes):
        return "", {}
    others = placed.positions[index.classes[placed.places] != placed.classes]
    num_read, num_others = len(placed.positions), len(others)
    numbers = {"num_read": num_read, "num_reproduced": num_read - num_others}
    if not num_others:
        return f"; in that order this pool gives all {num_read:,} rows that were read", numbers
    first = int(others.min())
    text = (
        f"; in that order this pool gives {num_read - num_others:,} of the {num_read:,} rows that"
        f" were read, and another first at row {first:,}"
    )
    return text, {**numbers, "first_other": first}


class SampleOrder:
    """Another seed, epoch or algorithm."""

    def applies(self, comparison: Comparison) -> bool:
        placed = find_order(comparison).placed
        if placed is None or placed.key is None:
            return False
        return _stream(comparison.output.key) != _stream(placed.key)

    def explain(self, comparison: Comparison) -> list[Finding]:
        search, ours = find_order(comparison), comparison.output.key
        assert search.placed is not None
        key = search.placed.key
        assert key is not None
        evidence: dict[str, Any] = {}
        text = f"epoch {key.epoch} of seed {key.seed}"
        declared = f"the output's is epoch {ours.epoch} of seed {ours.seed}"
        kind = "seed" if key.seed != ours.seed else "epoch"
        if key.algorithm != ours.algorithm:
            kind = "order algorithm"
            text = f"{key.algorithm}, {text}"
            declared = f"{declared} of {ours.algorithm}"
        elif key.algorithm == SUMMED:
            total = key.seed + key.epoch
            evidence["seed_plus_epoch"] = total
            kind = "seed"
            ways = [f"seed {total - ours.epoch} at epoch {ours.epoch}"]
            ways = ways if total >= ours.epoch else []
            if 0 <= total - ours.seed <= _MOST_EPOCHS:
                kind = "seed or epoch"
                ways.insert(0, f"epoch {total - ours.seed} of seed {ours.seed}")
            text = f"that of seed + epoch = {total}: {', or '.join(ways)}"
        reproduced, numbers = reproduction(comparison)
        return finding(
            kind,
            f"the other side's order is {text}; {declared}{reproduced}",
            algorithm=key.algorithm,
            fits=round(search.score, 4),
            our_seed=ours.seed,
            our_epoch=ours.epoch,
            seed=key.seed,
            epoch=key.epoch,
            **evidence,
            **numbers,
        )


class PoolOrder:
    """Rows that are in the order of a pool and are none."""

    def applies(self, comparison: Comparison) -> bool:
        is_pool = isinstance(comparison.theirs, MdsRows) or comparison.of == "pool"
        return find_order(comparison).is_pool and not is_pool

    def explain(self, comparison: Comparison) -> list[Finding]:
        text = "the other side's rows are in the order of the pool, as if never shuffled"
        return finding("row order", text, fits=find_order(comparison).score)
