"""feistel-v1: frozen, a bijection with its inverse at every size, and without visible bias.

The oracle is the specification of `docs/spec/orders.md` in plain integers. All seeds are fixed, so
the statistics below are the same numbers in every run; each limit is four standard deviations or
more.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.paths import REPOSITORY
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError
from pipeline.order.permutation import save_permutation
from pipeline.order.permutation.feistel import LARGEST, Feistel, load
from pipeline.order.permutation.key import PermutationKey

LIMIT = 4.0
"""Standard deviations."""


def order(num_samples: int, seed: int = 21, epoch: int = 0) -> Feistel:
    key = PermutationKey(algorithm="feistel-v1", num_samples=num_samples, seed=seed, epoch=epoch)
    return load(key, Path())


def whole(num_samples: int, seed: int = 21, epoch: int = 0) -> Int64Array:
    return order(num_samples, seed, epoch).samples(0, num_samples)


# The specification, again

BITS_64 = 2**64 - 1


def scramble(number: int) -> int:
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & BITS_64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & BITS_64
    return number ^ (number >> 31)


def naive_sample(position: int, num_samples: int, seed: int, epoch: int) -> int:
    """Return the sample at a position, one step of the specification after the other."""
    hashed = hashlib.sha256()
    for label in (str(seed), "order", "feistel-v1", str(epoch), str(num_samples)):
        hashed.update(len(label).to_bytes(8, "little") + label.encode())
    first = int.from_bytes(hashed.digest()[:8], "little")
    keys = [scramble((first + i * 0x9E3779B97F4A7C15) & BITS_64) for i in range(1, 13)]
    side = 2
    while side * side < num_samples:
        # Towards the root from above, so that large numbers are quick.
        side = max(side + 2, math.isqrt(num_samples) // 2 * 2)
    cell = position
    while True:
        row, column = divmod(cell, side)
        for key in keys:
            turn = (scramble(column ^ key) >> 24) * side >> 40
            row, column = column, (row + turn) % side
        cell = row * side + column
        if cell < num_samples:
            return cell


sizes = st.one_of(
    st.integers(1, 300),
    st.integers(1, LARGEST),
    st.builds(
        lambda bits, more: min(max((1 << bits) + more, 1), LARGEST),
        st.integers(0, 48),
        st.integers(-2, 2),
    ),
)
seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 2**31 - 1)


@QUICK
@given(num_samples=sizes, seed=seeds, epoch=epochs, data=st.data())
def test_any_position_is_as_specified_and_leads_back(
    num_samples: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    made = order(num_samples, seed, epoch)
    some = st.lists(st.integers(0, num_samples - 1), min_size=1, max_size=20)
    positions = np.array(data.draw(some), np.int64)
    samples = made.samples_at(positions)
    assert samples.dtype == np.int64
    expected = [naive_sample(position, num_samples, seed, epoch) for position in positions.tolist()]
    assert samples.tolist() == expected
    assert np.array_equal(made.positions_of(samples), positions)
    assert np.array_equal(made.samples_at(made.positions_of(positions)), positions)


def test_the_lowest_bits_of_large_products_count() -> None:
    # The side is near 2^24 and no power of two, so some of these positions need all 40 bits.
    num_samples = 200_000_000_000_000
    expected = [naive_sample(position, num_samples, 21, 0) for position in range(2_000)]
    assert order(num_samples).samples(0, 2_000).tolist() == expected


@pytest.mark.parametrize("num_samples", [0, 1, 2, 3, 4, 5, 15, 16, 17, 99, 100, 101, 65_537])
@pytest.mark.parametrize("seed", [0, 21])
def test_every_order_is_a_bijection_with_its_inverse(num_samples: int, seed: int) -> None:
    made = order(num_samples, seed)
    samples = made.samples(0, num_samples)
    assert np.array_equal(np.sort(samples), np.arange(num_samples))
    assert np.array_equal(made.positions(0, num_samples), np.argsort(samples))


@QUICK
@given(num_samples=st.integers(0, 3_000), seed=seeds, epoch=epochs)
def test_any_order_is_a_bijection(num_samples: int, seed: int, epoch: int) -> None:
    assert sorted(whole(num_samples, seed, epoch).tolist()) == list(range(num_samples))


@QUICK
@given(num_samples=sizes, data=st.data())
def test_a_range_is_its_positions_one_by_one(num_samples: int, data: st.DataObject) -> None:
    made = order(num_samples)
    start = data.draw(st.integers(0, num_samples))
    stop = data.draw(st.integers(start, min(start + 50, num_samples)))
    places = np.arange(start, stop)
    assert np.array_equal(made.samples(start, stop), made.samples_at(places))
    assert np.array_equal(made.positions(start, stop), made.positions_of(places))


# Frozen: these change with a new name of the algorithm, and never under this one


@pytest.mark.parametrize(
    ("num_samples", "seed", "epoch", "first_samples", "last_positions"),
    [
        (1, 0, 0, [0], [0]),
        (2, 3, 0, [1, 0], [1, 0]),
        (3, 0, 0, [2, 1, 0], [1, 0]),
        (10, 21, 0, [0, 4, 5, 3, 1, 7, 8, 2, 6, 9], [6, 9]),
        (10, 21, 1, [0, 7, 9, 2, 8, 4, 1, 6, 5, 3], [4, 2]),
        (1_000, 21, 0, [919, 580, 284, 963], [962, 904]),
        (100_000, 21, 0, [33909, 83382, 61535, 34614], [58385, 90]),
        (2_800_000_000, 21, 0, [1664199346, 2569526785], [2198888722, 341199857]),
        (2_800_000_000, 2**32 - 1, 7, [2237487234, 1088477455], [2561065865, 2772889074]),
        (2**33 - 1, 0, 2**31 - 1, [8190690174, 7415741712], [8285829944, 4657565420]),
        (2**33 + 1, 21, 0, [6414063811, 1220369844], [6418685662, 7730551938]),
        (2**48, 21, 0, [217690142196569, 112972082396778], [5390677476727, 206072929179589]),
        (2**48, 0, 3, [159008907654246, 99208041315404], [264121226806402, 270482987428252]),
    ],
)
def test_the_order_is_frozen(
    num_samples: int,
    seed: int,
    epoch: int,
    first_samples: list[int],
    last_positions: list[int],
) -> None:
    made = order(num_samples, seed, epoch)
    assert made.samples(0, len(first_samples)).tolist() == first_samples
    last = made.positions(num_samples - len(last_positions), num_samples)
    assert last.tolist() == last_positions


def test_a_whole_order_is_frozen() -> None:
    digest = hashlib.sha256(whole(100_000).astype("<i8").tobytes()).hexdigest()
    assert digest == "ee783834dd6c241f315f4c0520855af6074ae60243d6011b4c55d8884f02c886"


def test_the_vectors_of_the_specification_hold() -> None:
    page = (REPOSITORY / "docs" / "spec" / "orders.md").read_text()
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| (\d+) \| ([\d ]+) \| ([\d ]+) \|$", page, re.M)
    assert len(rows) == 7
    for size, seed, epoch, first_samples, last_positions in rows:
        num_samples = int(size.replace(",", ""))
        made = order(num_samples, int(seed), int(epoch))
        first, last = (
            [int(one) for one in text.split()] for text in (first_samples, last_positions)
        )
        assert made.samples(0, len(first)).tolist() == first
        assert made.positions(num_samples - len(last), num_samples).tolist() == last
    keys = order(1_000).round_keys
    assert f"seed 21, epoch 0): 0x{keys[0]:016X}, 0x{keys[-1]:016X}." in page


# What is refused


def test_more_samples_than_the_rounds_are_made_for_are_refused(tmp_path: Path) -> None:
    key = PermutationKey(algorithm="feistel-v1", num_samples=2**48 + 1, seed=1, epoch=0)
    with pytest.raises(ConfigError) as raised:
        save_permutation(key, tmp_path, tmp_path)
    assert raised.value.message == (
        "order: got 281,474,976,710,657 samples, expected at most 281,474,976,710,656 "
        "with feistel-v1"
    )


@pytest.mark.parametrize("place", [-1, 10, 16])
def test_what_lies_outside_the_order_is_never_walked(place: int) -> None:
    with pytest.raises(AssertionError):
        order(10).samples_at(np.array([0, place]))
    with pytest.raises(AssertionError):
        order(10).positions_of(np.array([0, place]))


# Bias


def deviation(observed: NDArray[np.int64], expected: NDArray[np.float64], freedom: int) -> float:
    """Return by how many standard deviations a chi-square of counts is too large.

    Source: Wilson, Hilferty, "The distribution of chi-square", 1931.
    """
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    spread = 2 / (9 * freedom)
    return ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def table_deviation(rows: Int64Array, columns: Int64Array) -> float:
    """Say how far two labels of the same things are from independent of each other."""
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(rows)
    return deviation(table, expected, (table.shape[0] - 1) * (table.shape[1] - 1))


def even_deviation(counts: NDArray[np.int64]) -> float:
    expected = np.full(len(counts), counts.sum() / len(counts))
    return deviation(counts, expected, len(counts) - 1)


@pytest.mark.parametrize("num_samples", [2, 3, 4, 5])
def test_every_order_of_a_few_samples_is_as_likely(num_samples: int) -> None:
    found = Counter(tuple(whole(num_samples, seed).tolist()) for seed in range(12_000))
    counts = np.array([found[one] for one in permutations(range(num_samples))])
    assert abs(even_deviation(counts)) < LIMIT


@pytest.mark.parametrize("num_samples", [6, 12, 16, 17, 36, 64])
def test_even_and_odd_permutations_are_as_likely(num_samples: int) -> None:
    # Squares of even sides, where no walk changes the sign, are among them.
    rounds = 4_000
    num_odd = 0
    for seed in range(rounds):
        samples = whole(num_samples, seed)
        num_odd += np.triu(samples[:, None] > samples[None, :]).sum() % 2
    assert abs(num_odd - rounds / 2) < LIMIT * math.sqrt(rounds) / 2


@pytest.mark.parametrize("num_samples", [12, 16])
def test_the_first_two_samples_are_any_two(num_samples: int) -> None:
    drawn = [order(num_samples, seed).samples(0, 2).tolist() for seed in range(12_000)]
    found = Counter(first * num_samples + second for first, second in drawn)
    pairs = permutations(range(num_samples), 2)
    counts = np.array([found[first * num_samples + second] for first, second in pairs])
    assert abs(even_deviation(counts)) < LIMIT


def test_fixed_points_are_as_many_as_chance_has() -> None:
    rounds = 4_000
    counts = [int((whole(100, seed) == np.arange(100)).sum()) for seed in range(rounds)]
    # Poisson with mean 1; the variance of a variance is then 3 / rounds.
    assert abs(np.mean(counts) - 1) < LIMIT / math.sqrt(rounds)
    assert abs(np.var(counts) - 1) < LIMIT * math.sqrt(3 / rounds)


Statistic = Callable[[Int64Array, int], float]
"""Of an order and its side: standard deviations from what chance gives."""


def _buckets(samples: Int64Array, side: int) -> float:
    width = -(-len(samples) // 61)
    return table_deviation(np.arange(len(samples)) // width, samples // width)


def _remainders(samples: Int64Array, side: int) -> float:
    return table_deviation(np.arange(len(samples)) % 64, samples % 64)


def _rows_to_columns(samples: Int64Array, side: int) -> float:
    width = -(-side // 37)
    places = np.arange(len(samples))
    return max(
        table_deviation(places // side // width, samples % side // width),
        table_deviation(places % side // width, samples // side // width),
        table_deviation(places % side // width, samples % side // width),
        key=abs,
    )


def _first_differences(samples: Int64Array, side: int) -> float:
    steps = np.diff(samples) % len(samples)
    return even_deviation(np.bincount(steps * 251 // len(samples), minlength=251))


def _neighbours(samples: Int64Array, side: int) -> float:
    correlations = [np.corrcoef(samples[:-lag], samples[lag:])[0, 1] for lag in (1, 2, side)]
    return float(max(correlations, key=abs)) * math.sqrt(len(samples))


def _descents(samples: Int64Array, side: int) -> float:
    # Of n numbers in any order (n - 1) / 2 are followed by a smaller one, with variance (n + 1)/12.
    falls = int((np.diff(samples) < 0).sum())
    return (falls - (len(samples) - 1) / 2) / math.sqrt((len(samples) + 1) / 12)


STATISTICS = [
    _buckets,
    _remainders,
    _rows_to_columns,
    _first_differences,
    _neighbours,
    _descents,
]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("num_samples", [200_000, 2**18, 508**2])
def test_an_order_looks_like_chance(statistic: Statistic, num_samples: int) -> None:
    for seed in range(4):
        made = order(num_samples, seed)
        assert abs(statistic(made.samples(0, num_samples), made.side)) < LIMIT


@pytest.mark.parametrize("num_rounds", [1, 2, 3])
def test_too_few_rounds_do_not_look_like_chance(num_rounds: int) -> None:
    made = order(2**18)
    weak = replace(made, round_keys=made.round_keys[:num_rounds])
    samples = weak.samples(0, 2**18)
    worst = max(abs(statistic(samples, weak.side)) for statistic in STATISTICS)
    assert worst > 10 * LIMIT


@pytest.mark.parametrize(("seed", "epoch"), [(22, 0), (21, 1), (20, 1), (21, 2**31 - 1)])
def test_other_seeds_and_epochs_give_unrelated_orders(seed: int, epoch: int) -> None:
    num_samples = 200_000
    one, other = whole(num_samples), whole(num_samples, seed, epoch)
    assert abs(table_deviation(one // 4_000, other // 4_000)) < LIMIT
    assert abs(np.corrcoef(one, other)[0, 1]) * math.sqrt(num_samples) < LIMIT
    # Places at which both have the same sample: Poisson with mean 1.
    assert (one == other).sum() < 8


def test_another_number_of_samples_gives_an_unrelated_order() -> None:
    one, other = whole(200_000), whole(200_001)[:200_000]
    assert abs(table_deviation(one // 4_000, np.minimum(other, 199_999) // 4_000)) < LIMIT
    assert (one == other).sum() < 8
