"""The estimate: what a build takes, by the sizes of its files."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import zstandard
from support.builds import json_lines
from support.planned import GIGABYTE, MIXTURE, lock, mixture

from pipeline.config.load import load_mixture
from pipeline.core.bundled import mixture_path
from pipeline.runner import estimate
from pipeline.runner.estimate_time import BYTES_PER_SECOND
from pipeline.runner.machine import Machine
from pipeline.runner.plan import Plan, make_plan
from pipeline.stages.tokenizer import load_tokenizer

SENTENCE = "The tide went out before the lantern was lit, and the boats lay on the sand. "


def test_what_a_build_takes_follows_from_sizes_and_rates(tmp_path: Path) -> None:
    made = estimate.make_estimate(make_plan(mixture(tmp_path), lock(), tmp_path / "raw"), workers=4)
    far, near = made.sources
    assert far.download_bytes == far.input_bytes == 10 * GIGABYTE
    assert near.download_bytes == 0
    # 3 bytes of text a packed byte, 4 a token; nothing of it is here.
    assert far.available_tokens == 7_500_000_000
    assert not far.is_measured
    assert (far.drawn_tokens, near.drawn_tokens) == (300_000_000, 1000)
    assert (far.is_sampled, near.is_sampled) == (True, False)
    assert made.download_bytes == 10 * GIGABYTE
    assert made.num_requests == 10
    assert not far.is_short
    # Two bytes a token, and what comes with each chunk.
    assert 1.0 < made.disk.bytes_by_kind["chunks"] / (2 * far.available_tokens) < 1.1
    assert made.time.pull_hours == pytest.approx(10 * GIGABYTE / BYTES_PER_SECOND / 3600)
    assert made.time.build_hours > made.time.core_hours / 4
    assert made.unlocked == ()


def test_what_is_pulled_already_is_not_counted_again(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(3), tmp_path / "raw")
    assert plan.sources[0].files is not None
    first = plan.sources[0].files[0].path
    first.parent.mkdir(parents=True)
    first.write_bytes(zstandard.compress(json_lines([{"id": "a", "text": SENTENCE}])))
    made = estimate.make_estimate(plan, workers=1)
    assert made.download_bytes == 2 * GIGABYTE
    assert made.num_requests == 2


def test_before_it_is_locked_a_phase_is_guessed_from_its_tokens(tmp_path: Path) -> None:
    phase = load_mixture(mixture_path("ettin-decay"))
    made = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    assert set(made.unlocked) == {source.name for source in phase.sources}
    books = next(one for one in made.sources if one.source == "books")
    assert (books.available_tokens, books.drawn_tokens) == (5_250_000_000, 5_250_000_000)
    assert made.disk.output_bytes > 76_300_000_000 * 2
    assert made.download_bytes > 0


def test_a_miniature_that_is_not_locked_reads_whole_files(tmp_path: Path) -> None:
    phase = replace(load_mixture(mixture_path("ettin-pretraining")), scale=Fraction(1, 10**6))
    made = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    books = next(one for one in made.sources if one.source == "books")
    # One of three files of 5.3B tokens, for 5,300 of them.
    assert books.num_files == 1
    held = 1 - 1 / 3000
    assert books.available_tokens == pytest.approx(5_300_000_000 / 3 * held, rel=1e-3)
    assert books.drawn_tokens == 5300


def test_a_source_that_seems_too_small_is_marked(tmp_path: Path) -> None:
    made = estimate.make_estimate(make_plan(mixture(tmp_path), lock(1, 10**8), tmp_path), workers=1)
    # 75M by its size; 500M is what no text can exceed.
    assert [one.is_short for one in made.sources] == [True, False]


def test_money_is_counted_for_what_has_a_price(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(), tmp_path / "raw")
    assert estimate.make_estimate(plan, workers=1).dollars is None
    cores = estimate.make_estimate(plan, workers=4, price_core_hour=Fraction(100))
    # Of cores, so that it is the same with more of them.
    assert cores.dollars == round(100 * cores.time.core_hours)
    disk = estimate.make_estimate(plan, workers=1, price_tb_month=Fraction(1000))
    terabytes = (disk.raw_bytes + disk.disk.peak_bytes) / 10**12
    assert disk.dollars == round(1000 * terabytes)


def declared(folder: Path, filters: str = "", extra: str = "") -> Plan:
    """Return the plan of one local source of 200 documents, which is written."""
    (folder / "in").mkdir(exist_ok=True)
    lines = [{"id": f"d{i}", "text": SENTENCE * (1 + i % 20)} for i in range(200)]
    (folder / "in" / "a.jsonl").write_bytes(json_lines(lines))
    text = (
        "name: here\nchunk: {size: 64}\n"
        f"sources: {{here: {{from: {{path: in/*.jsonl}}{filters}}}}}\n"
        f"order: {{seed: 1, global_batch_size: 8, max_seq_len: 64}}\n{extra}"
    )
    made = load_mixture(folder / "here.yaml", text=text.encode())
    return make_plan(made, None, folder / "raw")


def test_a_source_that_is_here_is_measured(tmp_path: Path) -> None:
    (here,) = estimate.make_estimate(declared(tmp_path), workers=1).sources
    assert here.is_measured
    tokenizer = load_tokenizer("modernbert", add_prefix_space=False)
    lengths = tokenizer.encode([SENTENCE * (1 + i % 20) for i in range(200)]).lengths()
    # All of the file was read; chunks after the first have special tokens of their own.
    assert lengths.sum() <= here.available_tokens <= lengths.sum() * 1.1


def test_filters_count_with_what_they_drop_and_take(tmp_path: Path) -> None:
    plain = estimate.make_estimate(declared(tmp_path), workers=1)
    slow = (
        ', filters: [regex: {pattern: "(e|a|o)+(n|r)+z", drop_if: found}, length: {min_chars: 800}]'
    )
    filtered = estimate.make_estimate(declared(tmp_path, slow), workers=1)
    kept, of = filtered.sources[0].available_tokens, plain.sources[0].available_tokens
    # Ten of each twenty documents have more than ten sentences.
    assert 0.7 < kept / of < 0.8
    assert filtered.time.core_hours_by_stage["filter"] > plain.time.core_hours_by_stage["filter"]


def test_filters_that_lack_something_are_named_and_left_out(tmp_path: Path) -> None:
    made = estimate.make_estimate(
        declared(tmp_path, ", filters: [language: {model: none.bin, languages: [en]}]"), workers=1
    )
    (line,) = made.unasked
    assert line.startswith("sources.here.filters: ")
    assert "none.bin" in line
    assert made.sources[0].is_measured


def test_a_second_reading_is_counted(tmp_path: Path) -> None:
    mixture(tmp_path)  # Writes the local source.
    plan = make_plan(
        load_mixture(tmp_path / "p.yaml", text=(MIXTURE + "dedup: {}\n").encode()),
        lock(),
        tmp_path / "raw",
    )
    made = estimate.make_estimate(plan, workers=1)
    assert (made.num_requests, made.num_requests_unkept) == (10, 20)
    assert made.disk.bytes_by_kind["scans"] > 0


def test_what_exceeds_the_machine_is_said_in_a_line_each(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(), tmp_path / "raw")
    small = Machine(memory_bytes=4 << 30, process_bytes=4 << 30, free_bytes=1 << 30, open_files=64)
    disk, memory, files = estimate.make_estimate(plan, workers=8, machine=small).exceeds
    assert re.fullmatch(r"disk: about [\d.]+GiB are needed at the peak, 1GiB are free", disk)
    assert re.fullmatch(
        r"memory: 8 workers and the command take about [\d.]+GiB, there are 4GiB: --workers \d fit",
        memory,
    )
    assert files == "open files: about 184 are needed, `ulimit -n` allows 64"
    large = Machine(
        memory_bytes=1 << 50, process_bytes=1 << 50, free_bytes=1 << 50, open_files=1 << 20
    )
    assert estimate.make_estimate(plan, workers=8, machine=large).exceeds == ()


@pytest.mark.parametrize("size", [64, 8192])
def test_a_worker_holds_less_than_a_gibibyte_at_any_size(tmp_path: Path, size: int) -> None:
    declared = mixture(tmp_path)
    large = replace(
        declared,
        chunk=replace(declared.chunk, size=size),
        order=replace(declared.order, global_batch_size=1 << 16),
        sources=tuple(replace(one, tokens=None) for one in declared.sources),
    )
    plan = make_plan(large, lock(500), tmp_path / "raw")
    made = estimate.make_estimate(plan, workers=1, memory_bytes=1 << 30)
    assert made.disk.bytes_by_kind["sorted rows"] > 1 << 38
    # A full run, or a full bucket of numbers of texts, beside what each process has.
    assert 750 << 20 < made.memory.worker_bytes < 1 << 30
