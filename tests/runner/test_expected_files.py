"""Expected files: of a source in sequence the first, by sizes; of any other all."""

from pathlib import Path

import pytest
from support.planned import GIGABYTE, MIXTURE, lock, mixture

from pipeline.config.load import load_mixture
from pipeline.runner.estimate import make_estimate
from pipeline.runner.expected_files import expected_lock, expected_part
from pipeline.runner.plan import Plan, make_plan
from pipeline.stages.sampling import in_sequence

NAMES = [f"part_{number:04d}" for number in range(10)]


def planned(folder: Path, algorithm: str, budget: str = "tokens: 2B", extra: str = "") -> Plan:
    mixture(folder)  # Writes the local source.
    sample = f"{budget}\n    sample: {{algorithm: {algorithm}, seed: 42}}"
    text = MIXTURE.replace("tokens: 300M", sample) + extra
    made = load_mixture(folder / "planned.yaml", text=text.encode())
    return make_plan(made, lock(), folder / "raw")


def test_of_a_source_in_sequence_the_files_that_meet_its_budget_are_expected(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, "ettin-partitions-v2")
    far, near = map(expected_part, plan.sources)
    # Each has 0.75B tokens by its size.
    expected = sorted([*in_sequence(NAMES, 42)][:3])
    assert [*far.partitions] == expected
    assert far.files is not None
    assert [file.partition for file in far.files] == expected
    assert far.locked is not None
    assert [file.path[:9].replace("-", "_") for file in far.locked.files] == expected
    assert near == plan.sources[1]
    locked = expected_lock(plan)
    assert locked is not None
    assert locked.sources["far"] == far.locked
    # The choice depends on the names of all, so these are the build's.
    assert plan.lock is not None
    assert len(plan.lock.sources["far"].files) == 10


@pytest.mark.parametrize("settings", [
    ("ettin-partitions-v1",),
    ("keyed-v1",),
    ("ettin-partitions-v2", "tokens: 15B\n    max_repetition: 3"),
    ("ettin-partitions-v2", "epochs: 3/2"),
    ("ettin-partitions-v2", "tokens: 2B", "scale: 1/2\n"),
])  # fmt: skip
def test_of_any_other_all_files_are(tmp_path: Path, settings: tuple[str, ...]) -> None:
    plan = planned(tmp_path, *settings)
    assert expected_part(plan.sources[0]) == plan.sources[0]
    assert expected_lock(plan) == plan.lock


def test_the_holdout_comes_on_top_of_the_budget(tmp_path: Path) -> None:
    held = "validation: {algorithm: ettin-validation-v1, fraction: 0.2, seed: 42}\n"
    far, _ = map(expected_part, planned(tmp_path, "ettin-partitions-v2", extra=held).sources)
    # 2B and 0.4B, of 0.75B each.
    assert len(far.partitions) == 4


def test_an_estimate_counts_the_expected_files_alone(tmp_path: Path) -> None:
    made = make_estimate(planned(tmp_path, "ettin-partitions-v2"), workers=2)
    far, near = made.sources
    assert (far.num_files, far.num_files_unread) == (3, 7)
    assert (near.num_files, near.num_files_unread) == (1, 0)
    assert far.download_bytes == far.input_bytes == made.download_bytes == 3 * GIGABYTE
    assert made.num_requests == 3
    # Whole files, which overshoot the 2B.
    assert far.drawn_tokens == far.available_tokens == 2_250_000_000
    assert not far.is_short
    whole = make_estimate(planned(tmp_path, "ettin-partitions-v1"), workers=2)
    assert whole.sources[0].num_files == 10
    chunks = [one.disk.bytes_by_kind["chunks"] for one in (made, whole)]
    assert chunks[0] == pytest.approx(0.3 * chunks[1], rel=0.01)


def test_a_source_that_is_not_locked_is_guessed_from_its_budget(tmp_path: Path) -> None:
    plan = planned(tmp_path, "ettin-partitions-v2")
    unlocked = make_plan(plan.mixture, None, tmp_path / "raw")
    assert expected_part(unlocked.sources[0]).files is None
    assert expected_lock(unlocked) is None
    assert make_estimate(unlocked, workers=2).sources[0].available_tokens == 2_000_000_000
