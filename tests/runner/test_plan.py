"""What is known ahead: the files that a build would read, and what it would take."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.config.origin import Origin
from pipeline.core.bundled import mixture_path
from pipeline.core.errors import ConfigError, InputError
from pipeline.runner import estimate
from pipeline.runner.plan import make_plan
from pipeline.sources.lock.entries import Lock, LockedSource, LockedTokenizer
from pipeline.storage.store import StoredFile

GIGABYTE = 10**9
MIXTURE = """\
name: planned
chunk: {size: 1024}
sources:
  far:
    category: crawl
    from: {hub: org/data, files: "*.jsonl.zst"}
    tokens: 300M
  near:
    category: prose
    from: {path: near/*.jsonl}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
shards: {dtype: uint16}
"""


def mixture(folder: Path) -> Mixture:
    (folder / "near").mkdir(exist_ok=True)
    (folder / "near" / "a.jsonl").write_bytes(b"x" * 4000)
    return load_mixture(folder / "planned.yaml", text=MIXTURE.encode())


def lock(num_files: int = 10, num_bytes: int = GIGABYTE) -> Lock:
    """Return what a lock would say of the mixture's origins."""
    files = tuple(
        StoredFile(path=f"part-{i:04d}.jsonl.zst", num_bytes=num_bytes, digest=f"sha256:{i:064x}")
        for i in range(num_files)
    )
    far = LockedSource(
        origin=Origin(hub="org/data", files=("*.jsonl.zst",)), revision="c" * 40, files=files
    )
    near = LockedSource(
        origin=Origin(path=("near/*.jsonl",)),
        revision=None,
        files=(StoredFile(path="near/a.jsonl", num_bytes=4000, digest="sha256:" + "a" * 64),),
    )
    tokenizer = LockedTokenizer(name="modernbert", revision=None, digest="0" * 64)
    sources = {"far": far, "near": near}
    return Lock(name="planned", tokenizer=tokenizer, algorithms={}, sources=sources)


def test_a_locked_file_is_a_partition_at_the_place_of_its_commit(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(2), tmp_path / "raw")
    far, near = plan.sources
    assert far.files is not None
    assert [file.partition for file in far.files] == ["part_0000", "part_0001"]
    assert far.files[0].declared == f"hf://datasets/org/data@{'c' * 40}/part-0000.jsonl.zst"
    place = tmp_path / "raw" / "hub" / "org" / "data" / ("c" * 40) / "part-0000.jsonl.zst"
    assert far.files[0].path == place
    assert near.files is not None
    assert near.files[0].path == tmp_path / "near" / "a.jsonl"
    assert plan.unlocked == []


def test_without_a_lock_only_local_files_are_known(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), None, tmp_path / "raw")
    assert plan.unlocked == ["far"]
    assert plan.lock is None
    assert plan.sources[1].files is not None


def test_a_lock_of_another_origin_is_refused_by_name(tmp_path: Path) -> None:
    other = load_mixture(
        tmp_path / "m.yaml", text=MIXTURE.replace("org/data", "org/other").encode()
    )
    with pytest.raises(InputError, match=r"sources\.far\.from: .*org/other"):
        make_plan(other, lock(), tmp_path / "raw")


def test_a_budget_that_its_files_cannot_meet_is_refused_before_any_work(tmp_path: Path) -> None:
    mixture(tmp_path)
    with pytest.raises(ConfigError, match=r"sources\.far\.tokens: needs 300,000,000 tokens"):
        make_plan(mixture(tmp_path), lock(1, 1000), tmp_path / "raw")


def test_a_miniature_reads_a_part_of_the_files_and_insists_on_no_others(tmp_path: Path) -> None:
    small = replace(mixture(tmp_path), scale=Fraction(1, 100))
    plan = make_plan(small, lock(1000), tmp_path / "raw")
    far = plan.sources[0]
    assert far.files is not None
    # Twice the part that the budget is, and whole files.
    assert len(far.files) == 20
    assert plan.lock is not None
    assert len(plan.lock.sources["far"].files) == 20
    assert far.ask.tokens == 3_000_000


def test_what_a_build_takes_follows_from_sizes_and_rates(tmp_path: Path) -> None:
    told = estimate.make_estimate(make_plan(mixture(tmp_path), lock(), tmp_path / "raw"), workers=4)
    far, near = told.sources
    assert far.download_bytes == far.input_bytes == 10 * GIGABYTE
    assert near.download_bytes == 0
    # 3 bytes of text a packed byte, 4 a token.
    assert far.available_tokens == 7_500_000_000
    assert (far.drawn_tokens, near.drawn_tokens) == (300_000_000, 1000)
    assert (far.is_sampled, near.is_sampled) == (True, False)
    assert told.download_bytes == 10 * GIGABYTE
    assert told.num_requests == 10
    assert not far.is_short
    assert told.chunk_bytes == 2 * far.available_tokens
    assert told.pull_hours == pytest.approx(10 * GIGABYTE / estimate.BYTES_PER_SECOND / 3600)
    seconds = (7_500_000_000 + 1000) * 4 / estimate.TEXT_BYTES_PER_CORE_SECOND
    assert told.build_hours == pytest.approx(seconds / 4 / 3600)
    assert told.unlocked == ()


def test_what_is_pulled_already_is_not_counted_again(tmp_path: Path) -> None:
    plan = make_plan(mixture(tmp_path), lock(3), tmp_path / "raw")
    assert plan.sources[0].files is not None
    first = plan.sources[0].files[0].path
    first.parent.mkdir(parents=True)
    first.touch()
    told = estimate.make_estimate(plan, workers=1)
    assert told.download_bytes == 2 * GIGABYTE
    assert told.num_requests == 2


def test_before_it_is_locked_a_phase_is_guessed_from_its_tokens(tmp_path: Path) -> None:
    phase = load_mixture(mixture_path("ettin-decay"))
    told = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    assert set(told.unlocked) == {source.name for source in phase.sources}
    books = next(one for one in told.sources if one.source == "books")
    assert (books.available_tokens, books.drawn_tokens) == (5_250_000_000, 10_500_000_000)
    assert told.output_bytes > 76_300_000_000 * 2
    assert told.download_bytes > 0


def test_a_miniature_that_is_not_locked_reads_whole_files(tmp_path: Path) -> None:
    phase = replace(load_mixture(mixture_path("ettin-pretraining")), scale=Fraction(1, 10**6))
    told = estimate.make_estimate(make_plan(phase, None, tmp_path), workers=64)
    books = next(one for one in told.sources if one.source == "books")
    # One of three files of 5.3B tokens, for 5,300 of them.
    assert books.num_files == 1
    assert books.available_tokens == 5_300_000_000 // 3
    assert books.drawn_tokens == 5300


def test_a_source_that_seems_too_small_is_told_ahead(tmp_path: Path) -> None:
    told = estimate.make_estimate(make_plan(mixture(tmp_path), lock(1, 10**8), tmp_path), workers=1)
    # 75M by its size; 500M is what no text can exceed.
    assert [one.is_short for one in told.sources] == [True, False]
