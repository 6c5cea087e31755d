"""The band of a random order holds 99 % of random orders."""

import numpy as np
import pytest

from pipeline.show.expected_share import expected_shares, folded


def orders(seed: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of sources of different number and length."""
    generator = np.random.default_rng(seed)
    sources = generator.choice(4, num_rows, p=[0.5, 0.3, 0.15, 0.05])
    longest = np.array([1024, 300, 1024, 2000])[sources]
    return sources, generator.integers(10, longest)


def sums(sources: np.ndarray, lengths: np.ndarray, num_sources: int) -> tuple[np.ndarray, ...]:
    return tuple(
        np.bincount(sources, weights, num_sources).astype(np.int64)
        for weights in (np.ones(len(lengths)), lengths, lengths.astype(float) ** 2)
    )


@pytest.mark.parametrize("num_rows", [200, 1000, 4000])
def test_so_many_columns_of_random_orders_lie_within_the_band(num_rows: int) -> None:
    sources, lengths = orders(1, 5000)
    band = expected_shares(*sums(sources, lengths, 4), num_rows, 5000)
    assert band.share.sum() == pytest.approx(1)
    generator = np.random.default_rng(2)
    inside, found = np.zeros(4), []
    for _ in range(4000):
        drawn = generator.permutation(5000)[:num_rows]
        tokens = np.bincount(sources[drawn], lengths[drawn], 4)
        share = tokens / tokens.sum()
        inside += (band.low <= share) & (share <= band.high)
        found.append(share)
    # Five standard deviations of a count of 4,000 at 99 % are 0.8 %.
    assert np.abs(inside / 4000 - 0.99).max() < 0.01
    assert np.abs(np.mean(found, axis=0) - band.share).max() < 0.003
    # Without the correction for drawing without replacement the band of 4,000 is 2.2 times as wide.
    width = (band.high - band.low) / 2 / 2.5758
    assert np.std(found, axis=0) == pytest.approx(width, rel=0.06)


def test_a_column_of_all_rows_has_the_share_itself_and_nothing_has_none() -> None:
    sources, lengths = orders(3, 100)
    band = expected_shares(*sums(sources, lengths, 4), 100, 100)
    assert band.low == pytest.approx(band.share, abs=1e-6)
    assert band.high == pytest.approx(band.share, abs=1e-6)
    none = np.zeros(2, np.int64)
    assert [one.tolist() for one in expected_shares(none, none, none, 5, 5)] == [[0, 0]] * 3
    lone = expected_shares(np.array([5]), np.array([50]), np.array([600]), 2, 5)
    assert [one.tolist() for one in lone] == [[1.0]] * 3


def test_a_band_stays_within_0_and_1() -> None:
    band = expected_shares(
        np.array([1000, 1]), np.array([10000, 3]), np.array([100000, 9]), 2, 1001
    )
    assert band.low.min() >= 0
    assert band.high.max() <= 1


def test_what_is_not_chosen_is_one_sum() -> None:
    values = np.arange(12).reshape(2, 6)
    assert folded(values, np.array([1, 4])).tolist() == [[1, 4, 10], [7, 10, 34]]
    assert folded(values, np.arange(6)).tolist() == values.tolist()
    assert folded(np.arange(3), np.array([0])).tolist() == [0, 3]
