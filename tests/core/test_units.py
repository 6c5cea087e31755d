"""Amounts are exact, and their messages say what to write instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError
from pipeline.core.units import (
    BYTES,
    LARGEST_AMOUNT,
    TOKENS,
    format_bytes,
    format_tokens,
)

AN_AMOUNT = "a token amount such as 837.2B, 5M, 64k or 12000"
A_SIZE = "a size in bytes such as 64MiB, 100kB or 100000"


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("837.2B", 837_200_000_000),
        ("1.5T", 1_500_000_000_000),
        ("64k", 64_000),
        ("64K", 64_000),
        ("12M", 12_000_000),
        ("0.001k", 1),
        ("1", 1),
        ("1.000M", 1_000_000),
        # As a binary float this would be 1.0000000000000002e18.
        ("1000000.000000000001T", 1_000_000_000_000_000_001),
        ("9223372036854775807", LARGEST_AMOUNT),
    ],
)
def test_token_amounts_are_exact(text: str, amount: int) -> None:
    assert TOKENS.parse(text) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("64MiB", 67_108_864),
        ("1GiB", 2**30),
        ("2TiB", 2**41),
        ("1.5KiB", 1536),
        ("100kB", 100_000),
        ("3MB", 3_000_000),
        ("4GB", 4_000_000_000),
        ("1TB", 10**12),
        ("100000", 100_000),
    ],
)
def test_sizes_are_exact(text: str, amount: int) -> None:
    assert BYTES.parse(text) == amount


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5m", f'got "5m", expected {AN_AMOUNT}; did you mean 5M?'),
        ("5 M", f'got "5 M", expected {AN_AMOUNT}; did you mean 5M?'),
        ("12_000", f'got "12_000", expected {AN_AMOUNT}; did you mean 12000?'),
        ("1_000k", f'got "1_000k", expected {AN_AMOUNT}; did you mean 1000k?'),
        ("1.5", f'got "1.5", expected {AN_AMOUNT}'),
        ("1_0.5", f'got "1_0.5", expected {AN_AMOUNT}'),
        ("5MB", f'got "5MB", expected {AN_AMOUNT}'),
        ("1,5M", f'got "1,5M", expected {AN_AMOUNT}'),
        ("1e6", f'got "1e6", expected {AN_AMOUNT}'),
        ("-5M", f'got "-5M", expected {AN_AMOUNT}'),
        ("007", f'got "007", expected {AN_AMOUNT}'),
        ("5M\n", f'got "5M\\n", expected {AN_AMOUNT}; did you mean 5M?'),
        ("٥M", f'got "٥M", expected {AN_AMOUNT}'),
        ("", f'got "", expected {AN_AMOUNT}'),
        ("1" * 5000, f'got "{"1" * 57}...", expected {AN_AMOUNT}'),
        ("0", f"got 0, expected an amount from 1 to {LARGEST_AMOUNT:,}"),
        ("0.0B", f"got 0.0B, expected an amount from 1 to {LARGEST_AMOUNT:,}"),
        ("9223372036854775808", f"got {2**63}, expected an amount from 1 to {LARGEST_AMOUNT:,}"),
        ("0.0001k", f"got 0.0001k, which is not a whole number, expected {AN_AMOUNT}"),
    ],
)
def test_what_is_no_token_amount_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TOKENS.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64mb", f'got "64mb", expected {A_SIZE}; did you mean 64MB?'),
        ("64mib", f'got "64mib", expected {A_SIZE}; did you mean 64MiB?'),
        ("64M", f'got "64M", expected {A_SIZE}; did you mean 64MiB?'),
        ("64 k", f'got "64 k", expected {A_SIZE}; did you mean 64KiB?'),
        ("64KB", f'got "64KB", expected {A_SIZE}; did you mean 64kB?'),
        ("100B", f'got "100B", expected {A_SIZE}'),
        ("0.3KiB", f"got 0.3KiB, which is not a whole number, expected {A_SIZE}"),
    ],
)
def test_what_is_no_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BYTES.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (1_249, "1.2k"),
        (1_250, "1.3k"),
        (999_949, "999.9k"),
        (999_950, "1M"),
        (5_000_000, "5M"),
        (999_950_000, "1B"),
        (837_180_000_000, "837.2B"),
        (1_704_712_345_678, "1704.7B"),
    ],
)
def test_token_counts_are_told_in_one_decimal(count: int, text: str) -> None:
    assert format_tokens(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (100_000, "97.7KiB"),
        (2**20 - 1, "1MiB"),
        (67_108_864, "64MiB"),
        (5 * 2**50, "5120TiB"),
    ],
)
def test_sizes_are_told_in_powers_of_1024(count: int, text: str) -> None:
    assert format_bytes(count) == text


@settings(derandomize=True)
@given(st.integers(1, 10**6), st.sampled_from(sorted(TOKENS.multiples)), st.integers(0, 3))
def test_a_token_amount_written_with_decimals_reads_back(
    count: int, unit: str, num_decimals: int
) -> None:
    digits = str(count).zfill(num_decimals + 1)
    cut = len(digits) - num_decimals
    text = digits[:cut] + ("." + digits[cut:] if num_decimals else "") + unit
    assert TOKENS.parse(text) * 10**num_decimals == count * TOKENS.multiples[unit]


@settings(derandomize=True)
@given(st.integers(1, 10**6), st.sampled_from(sorted(BYTES.multiples)))
def test_a_size_written_with_a_unit_reads_back(count: int, unit: str) -> None:
    assert BYTES.parse(f"{count}{unit}") == count * BYTES.multiples[unit]


@settings(derandomize=True)
@given(st.integers(1, 10**18))
def test_a_formatted_token_count_reads_back_within_half_a_tenth(count: int) -> None:
    text = format_tokens(count)
    unit = TOKENS.multiples.get(text[-1], 0)
    assert abs(TOKENS.parse(text) - count) * 20 <= unit


@settings(derandomize=True)
@given(st.integers(1, 9_999), st.sampled_from(["k", "M", "B"]))
def test_a_count_of_whole_tenths_reads_back_exactly(tenths: int, unit: str) -> None:
    count = tenths * TOKENS.multiples[unit] // 10
    assert TOKENS.parse(format_tokens(count)) == count


@settings(derandomize=True)
@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_a_mixture_error(text: str) -> None:
    for parse in (TOKENS.parse, BYTES.parse):
        try:
            amount = parse(text)
        except ConfigError:
            continue
        assert 1 <= amount <= LARGEST_AMOUNT
