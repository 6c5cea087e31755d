"""Which order theirs is in: neighbours of our order, tried by how well they fit known rows.

Enters: our order's key and, for some positions of theirs, the rows of our pool that are there.
Leaves: the neighbour under which rows that follow one another in their pool follow one another in
ours, too. That holds whatever rows are missing, added or made again, and whatever order the
partitions are in, so seed, epoch and the number of samples are found before anything else.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.audit.verify.comparison import Comparison, Finding, Output
from pipeline.audit.verify.explain.known_rows import UNKNOWN
from pipeline.core.arrays import Int64Array
from pipeline.order import (
    ALGORITHMS,
    Permutation,
    PermutationKey,
    load_permutation,
    pcg64dxsm_permutation,
    save_permutation,
)

SUMMED = "ettin-pcg64dxsm-v1"
"""The order that knows no seed and no epoch but only their sum."""
_NEAR_SEEDS = 4
_MOST_EPOCHS = 8
# Those of the published configurations first, then what people choose.
_KNOWN_SEEDS = (21, 210, 12345, 42, 17, 9176, 0, 1, 1234, 1337, 2**31 - 1, 2**32 - 1)
_NEAR_COUNTS = 64
_LIKELY = 8
# Samples drawn over all neighbours: about five seconds; of large orders fewer are tried, yet some.
_DRAWS = 1 << 28
_FEWEST_TRIED = 24
_SCORED_ROWS = 4096
# By chance, two rows follow one another once in as many pairs as there are rows.
_FITS, _FEWEST_PAIRS = 0.1, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Positions of theirs with the places in their pool that an order gives them."""

    key: PermutationKey | None
    """What their order follows from; None where positions are places."""
    places: Int64Array
    """int64 [num_read], rising: rows of their pool."""
    classes: Int64Array
    """int64 [num_read], the class of our rows that each is of, or -1."""
    positions: Int64Array
    """int64 [num_read], where in their order each is."""
    num_samples: int
    """How many rows their pool has."""


def place(
    key: PermutationKey | None, positions: Int64Array, classes: Int64Array, num_samples: int
) -> Placed:
    """Return positions by their places under an order."""
    places = positions if key is None else _samples_at(key, positions)
    by_place = np.argsort(places, kind="stable")
    return Placed(
        key=key,
        places=places[by_place],
        classes=classes[by_place],
        positions=positions[by_place],
        num_samples=num_samples,
    )


def _samples_at(key: PermutationKey, positions: Int64Array) -> Int64Array:
    if key.algorithm == SUMMED:
        # Without its inverse, which no other key needs, it is made in half the time.
        rows = pcg64dxsm_permutation(key.num_samples, seed=key.seed, epoch=key.epoch)
        return rows[positions].astype(np.int64)
    with _made(key) as order:
        return order.samples_at(positions)


def positions_of(key: PermutationKey | None, places: Int64Array) -> Int64Array:
    """Return the positions that an order gives places of the pool: int64 [num_places]."""
    if key is None:
        return places
    with _made(key) as order:
        return order.positions_of(places)


@contextmanager
def _made(key: PermutationKey) -> Iterator[Permutation]:
    with TemporaryDirectory(prefix="ettin-order-") as folder:
        save_permutation(key, Path(folder), Path(folder, "scratch"))
        yield load_permutation(key, Path(folder))


def smoothness(placed: Placed) -> float:
    """Return the share of neighbours in their pool that lie as far apart in ours.

    Of rows of one content the first stands for all: repetitions follow one another as it does.
    """
    known = placed.classes != UNKNOWN
    together = np.diff(placed.classes[known] - placed.places[known]) == 0
    return float(together.mean()) if np.count_nonzero(together) >= _FEWEST_PAIRS else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSearch:
    """What came of trying neighbours."""

    placed: Placed | None
    """Their rows under the order that fits; None where none does."""
    score: float
    """How well the best fits, from 0 to 1."""
    num_tried: int
    """How many were tried."""

    @property
    def is_pool(self) -> bool:
        """Whether their rows are in the order of their pool."""
        return self.placed is not None and self.placed.key is None


def find_order(
    output: Output,
    comparison: Comparison,
    positions: Int64Array,
    classes: Int64Array,
    *,
    is_mds: bool,
) -> OrderSearch:
    """Try neighbours of our order and return the one that fits best, if any does.

    `is_mds`: theirs may be a pool, whole, and not only rows in full steps.
    """
    ours, theirs = output.key.num_samples, comparison.their_num_rows
    # Of rows that come in full steps, the last few are not seen.
    if comparison.of == "order" and not is_mds and theirs <= ours < theirs + output.batch_size:
        theirs = ours
    search = _Search(theirs, positions, classes)
    search.try_keys([None] if comparison.of == "pool" else [output.key, None])
    # Rows in the order of a pool are a pool; it is another order that has neighbours.
    if comparison.of == "order" and (search.best is not None or search.score < _FITS):
        _try_neighbours(output, comparison, search)
    return OrderSearch(
        placed=search.place(positions, classes),
        score=search.score,
        num_tried=len(search.tried),
    )


def _try_neighbours(output: Output, comparison: Comparison, search: "_Search") -> None:
    draws = list(_other_draws(output.key))
    counts = list(_other_counts(output, comparison.their_num_rows))
    by_count = [replace(output.key, num_samples=count) for count in counts]
    search.try_keys(by_count[:_LIKELY])
    search.try_keys(draws)
    search.try_keys(by_count)
    if search.best is not None and search.score >= _FITS:
        search.try_keys([replace(search.best, num_samples=count) for count in counts])
    else:
        both = product(counts, draws)
        search.try_keys(replace(draw, num_samples=count) for count, draw in both)


class _Search:
    """The best of the keys that were tried, on some of the rows that are ours."""

    def __init__(self, their_num_samples: int, positions: Int64Array, classes: Int64Array) -> None:
        known = np.flatnonzero(classes != UNKNOWN)
        some = np.linspace(0, len(known) - 1, min(len(known), _SCORED_ROWS)).astype(np.int64)
        self._positions, self._classes = positions[known[some]], classes[known[some]]
        self._num_draws = 0
        self._num_needed = int(positions[-1]) + 1
        self._their_num_samples = their_num_samples
        self.best: PermutationKey | None = None
        self.score = 0.0
        self.tried: set[PermutationKey | None] = set()

    def try_keys(self, keys: Iterable[PermutationKey | None]) -> None:
        """Try keys, None for the order of the pool, until one fits wholly or enough was drawn."""
        for key in keys:
            num_samples = self._num_samples(key)
            is_enough = self._num_draws + num_samples > _DRAWS
            if self.score == 1.0 or (is_enough and len(self.tried) >= _FEWEST_TRIED):
                return
            if num_samples < self._num_needed or key in self.tried:
                continue
            self.tried.add(key)
            self._num_draws += num_samples
            score = smoothness(place(key, self._positions, self._classes, num_samples))
            if score > self.score:
                self.best, self.score = key, score

    def place(self, positions: Int64Array, classes: Int64Array) -> Placed | None:
        """Return all rows by the best key, if it fits."""
        if self.score < _FITS:
            return None
        return place(self.best, positions, classes, self._num_samples(self.best))

    def _num_samples(self, key: PermutationKey | None) -> int:
        return self._their_num_samples if key is None else key.num_samples


def _other_draws(ours: PermutationKey) -> Iterator[PermutationKey]:
    """Yield other seeds and epochs; of those that draw the same, one."""
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
    seen = {_draw(ours)}
    for key in (*others, *epochs, *seeds):
        if _draw(key) not in seen:
            seen.add(_draw(key))
            yield key


def _draw(key: PermutationKey) -> tuple[str | int, ...]:
    seeds = (key.seed + key.epoch,) if key.algorithm == SUMMED else (key.seed, key.epoch)
    return (key.algorithm, *seeds)


def _other_counts(output: Output, their_num_rows: int) -> Iterator[int]:
    """Yield other numbers of samples: those near ours, first those that give their full steps."""
    ours = output.key.num_samples
    full = range(their_num_rows, their_num_rows + output.batch_size)
    near = [ours + sign * by for by in range(1, _NEAR_COUNTS + 1) for sign in (-1, 1)]
    yield from sorted(near, key=lambda count: count not in full)
    yield from full


def explain_draw(output: Output, search: OrderSearch) -> list[Finding]:
    """Say which seed or epoch fits, if it is not ours."""
    if search.placed is None or search.placed.key is None:
        return []
    ours, key = output.key, search.placed.key
    if _draw(ours) == _draw(key):
        return []
    evidence = {
        "algorithm": key.algorithm,
        "fits": round(search.score, 4),
        "our_seed": ours.seed,
        "our_epoch": ours.epoch,
        "seed": key.seed,
        "epoch": key.epoch,
    }
    declared = f"ours is epoch {ours.epoch} of seed {ours.seed}"
    if key.algorithm != ours.algorithm:
        text = (
            f"their order is {key.algorithm}, epoch {key.epoch} of seed {key.seed}; {declared} of "
            f"{ours.algorithm}"
        )
        return [Finding(kind="order algorithm", text=text, evidence=evidence)]
    if key.algorithm != SUMMED:
        kind = "seed" if key.seed != ours.seed else "epoch"
        text = f"their order is epoch {key.epoch} of seed {key.seed}; {declared}"
        return [Finding(kind=kind, text=text, evidence=evidence)]
    total = key.seed + key.epoch
    evidence["seed_plus_epoch"] = total
    ways = [f"seed {total - ours.epoch} at epoch {ours.epoch}"] if total >= ours.epoch else []
    kind = "seed"
    if 0 <= total - ours.seed <= _MOST_EPOCHS:
        kind = "seed or epoch"
        ways.insert(0, f"epoch {total - ours.seed} of seed {ours.seed}")
    text = f"their order is that of seed + epoch = {total}: {', or '.join(ways)}; {declared}"
    return [Finding(kind=kind, text=text, evidence=evidence)]
