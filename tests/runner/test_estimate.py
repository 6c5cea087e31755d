"""The estimate: what a build takes, by the sizes of its files."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from support.planned import GIGABYTE, lock, mixture

from pipeline.config.load import load_mixture
from pipeline.core.bundled import mixture_path
from pipeline.runner import estimate
from pipeline.runner.plan import make_plan


def test_what_a_build_takes_follows_from_sizes_and_rates(tmp_path: Path) -> None:
    made = estimate.make_estimate(make_plan(mixture(tmp_path), lock(), tmp_path / "raw"), workers=4)
    far, near = made.sources
    assert far.download_bytes == far.input_bytes == 10 * GIGABYTE
    assert near.download_bytes == 0
    # 3 bytes of text a packed byte, 4 a token.
    assert far.available_tokens == 7_500_000_000
    assert (far.drawn_tokens, near.drawn_tokens) == (300_000_000, 1000)
    assert (far.is_sampled, near.is_sampled) == (True, False)
    assert made.download_bytes == 10 * GIGABYTE
    assert made.num_requests == 10
    assert not far.is_short
    assert made.chunk_bytes == 2 * far.available_tokens
    assert made.pull_hours == pytest.approx(10 * GIGABYTE / estimate.BYTES_PER_SECOND / 3600)
    seconds = (7_500_000_000 + 1000) * 4 / estimate.TEXT_BYTES_PER_CORE_SECOND
    assert made.build_hours == pytest.approx(seconds / 4 / 3600)
    assert made.unlocked == ()


def test_what_is_pulled_already_is_not_counted_again(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(3), tmp_path / "raw")
    assert plan.sources[0].files is not None
    first = plan.sources[0].files[0].path
    first.parent.mkdir(parents=True)
    first.touch()
    made = estimate.make_estimate(plan, workers=1)
    assert made.download_bytes == 2 * GIGABYTE
    assert made.num_requests == 2


def test_before_it_is_locked_a_phase_is_guessed_from_its_tokens(tmp_path: Path) -> None:
    phase = load_mixture(mixture_path("ettin-decay"))
    made = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    assert set(made.unlocked) == {source.name for source in phase.sources}
    books = next(one for one in made.sources if one.source == "books")
    assert (books.available_tokens, books.drawn_tokens) == (5_250_000_000, 5_250_000_000)
    assert made.output_bytes > 76_300_000_000 * 2
    assert made.download_bytes > 0


def test_a_miniature_that_is_not_locked_reads_whole_files(tmp_path: Path) -> None:
    phase = replace(load_mixture(mixture_path("ettin-pretraining")), scale=Fraction(1, 10**6))
    made = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    books = next(one for one in made.sources if one.source == "books")
    # One of three files of 5.3B tokens, for 5,300 of them.
    assert books.num_files == 1
    assert books.available_tokens == 5_300_000_000 // 3
    assert books.drawn_tokens == 5300


def test_a_source_that_seems_too_small_is_marked(tmp_path: Path) -> None:
    made = estimate.make_estimate(make_plan(mixture(tmp_path), lock(1, 10**8), tmp_path), workers=1)
    # 75M by its size; 500M is what no text can exceed.
    assert [one.is_short for one in made.sources] == [True, False]


def test_money_is_counted_for_what_has_a_price(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(), tmp_path / "raw")
    free = estimate.make_estimate(plan, workers=1)
    assert free.dollars is None
    cores = estimate.make_estimate(plan, workers=4, price_core_hour=Fraction(100))
    # The more cores, the fewer hours.
    assert cores.dollars == round(100 * free.build_hours)
    terabytes = (free.raw_bytes + free.chunk_bytes + free.output_bytes) / 10**12
    disk = estimate.make_estimate(plan, workers=1, price_tb_month=Fraction(1000))
    assert disk.dollars == round(1000 * terabytes)
    both = estimate.make_estimate(
        plan, workers=1, price_core_hour=Fraction(100), price_tb_month=Fraction(1000)
    )
    assert both.dollars == round(100 * free.build_hours + 1000 * terabytes)
