"""Files in sequence until the budget is met: the rows of ettin-partitions-v1, and no other file."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.here import Here, run_here

from pipeline.audit.verify import verify
from pipeline.config import load_mixture
from pipeline.core.errors import ConfigError, DocumentError, InputError
from pipeline.dataset import Manifest
from pipeline.runner import reached_partitions, run, sampled_shards
from pipeline.runner.cluster import Tasks
from pipeline.stages.sampling import in_sequence

MIXTURE = """\
name: reached
chunk: {algorithm: ettin-slice-v2, size: 64, min_size: 32, skip_below: 8, seed: 42}
sources:
  all: {from: {path: "in/all_*.jsonl"}}
  web: {from: {path: "in/web_*.jsonl"}, tokens: 4000}
sample: {algorithm: ettin-partitions-v2, seed: 42}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
"""
V1 = "sample.algorithm=ettin-partitions-v1"
NAMES = [f"web_{number:02d}" for number in range(12)]
SEQUENCE = [*in_sequence(NAMES, 42)]
TAIL = "-tokenized-chunked-64-32-8-backfill-nodups"


class Ahead(Here):
    """Makes all tasks before the first result is asked for, as many workers do."""

    def __init__(self) -> None:
        super().__init__()
        self.chunked: list[list[str]] = []
        """The partitions of each wave."""

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        if stage == "chunk" and len(tasks):
            self.chunked.append([task.partition for task in tasks])
        yield from [function(task) for task in tasks]


def in_waves(monkeypatch: pytest.MonkeyPatch, size: int) -> Ahead:
    """Let waves have a size of their own, and all of each be made."""
    cluster = Ahead()
    run_here(monkeypatch, sampled_shards, cluster)
    monkeypatch.setattr(reached_partitions, "_wave_size", lambda *_: size)
    return cluster


@pytest.fixture
def mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve files of 600 to 1,700 tokens, of which a few meet the budget."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate([*NAMES, "all_0"]):
        documents = builds.documents(name, 8 + number % 5, 200)
        (tmp_path / f"in/{name}.jsonl").write_bytes(builds.json_lines(documents))
    run_here(monkeypatch, sampled_shards, Here())
    return builds.write_mixture(tmp_path, MIXTURE)


def build(mixture: Path, out: str, *settings: str) -> tuple[Path, Manifest]:
    folder = mixture.parent / out
    declared = load_mixture(mixture, settings)
    made = run.build(declared, folder, workers=1, scheduler=None, report=lambda *_: None)
    assert verify(folder) == []
    return folder, made


def reached(manifest: Manifest) -> list[str]:
    return [one.partition for one in manifest.sources["web"].partitions]


def spoil(mixture: Path, names: Sequence[str]) -> None:
    for name in names:
        (mixture.parent / f"in/{name}.jsonl").write_bytes(b'{"other": "field"}\n')


@pytest.mark.parametrize("budget", ["1", "4000", "9000"])
def test_rows_and_their_order_are_those_of_v1(mixture: Path, budget: str) -> None:
    settings = (f"sources.web.tokens={budget}",)
    whole, of_all = build(mixture, "v1", *settings, V1)
    out, made = build(mixture, "v2", *settings)
    for folder in ("train", "order/checkpoint_000001"):
        assert builds.digests(out / folder) == builds.digests(whole / folder)
    assert made.order.ledger == of_all.order.ledger
    drawn = [one for one in of_all.sources["web"].partitions if one.chunks.drawn]
    web = made.sources["web"]
    assert reached(made) == [one.partition for one in drawn]
    assert {*reached(made)} == {*SEQUENCE[: len(drawn)]}
    assert 1 <= len(drawn) < len(NAMES)
    assert web.num_unread == len(NAMES) - len(drawn)
    assert web.budget.available == web.budget.drawn == of_all.sources["web"].budget.drawn
    assert web.documents.num_in == sum(one.documents.num_in for one in drawn)
    assert of_all.sources["web"].num_unread == 0
    assert b"num_unread" not in (whole / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        ("tokens: 30000, max_repetition: 5", ()),
        ("epochs: 3/2", ()),
        ("tokens: all", ()),
        ("tokens: 4000", ("scale=1/3",)),
    ],
)
def test_what_needs_all_files_is_as_with_v1(
    mixture: Path, budget: str, settings: tuple[str, ...]
) -> None:
    mixture.write_text(MIXTURE.replace("tokens: 4000", budget))
    whole, of_all = build(mixture, "v1", *settings, V1)
    out, made = build(mixture, "v2", *settings)
    assert builds.digests(out / "train") == builds.digests(whole / "train")
    assert made.sources["web"].budget == of_all.sources["web"].budget
    assert made.sources["web"].num_unread == 0


@pytest.mark.parametrize("wave", [None, 5])
@pytest.mark.parametrize("rest", ["fraction: 0.02", "fraction: 0.4, chunker: ettin-retokenize-v1"])
def test_what_is_held_out_as_published_is_that_of_v1(
    mixture: Path, monkeypatch: pytest.MonkeyPatch, rest: str, wave: int | None
) -> None:
    """Of the first partitions of the sequence, and training takes as many more."""
    validation = f"validation={{algorithm: ettin-validation-v1, seed: 42, {rest}}}"
    _, plain = build(mixture, "plain")
    whole, of_all = build(mixture, "v1", validation, V1)
    if wave:
        in_waves(monkeypatch, wave)
    out, made = build(mixture, "v2", validation)
    for folder in ("train", "order/checkpoint_000001", "validation/train/web"):
        assert builds.digests(out / folder) == builds.digests(whole / folder)
    drawn = [one for one in of_all.sources["web"].partitions if one.chunks.drawn]
    held = [one.partition for one in of_all.sources["web"].partitions if one.chunks.validation]
    assert {*reached(made)} == {*SEQUENCE[: len(reached(made))]}
    assert {*reached(made)} == {one.partition for one in drawn} | {*held}
    assert len(reached(made)) - len(reached(plain)) == ("0.4" in rest)
    web, budget = made.sources["web"], of_all.sources["web"].budget
    assert web.tokens.validation == of_all.sources["web"].tokens.validation > 0
    assert web.budget.drawn == budget.drawn == web.budget.available
    before = builds.digests(out)
    build(mixture, "v2", validation)
    assert builds.digests(out) == before


@pytest.mark.parametrize("tokens", [1, 4000])
def test_files_that_are_not_reached_are_not_opened(mixture: Path, tokens: int) -> None:
    budget = f"sources.web.tokens={tokens}"
    expected, made = build(mixture, "expected", budget)
    others = SEQUENCE[len(reached(made)) :]
    assert tokens > 1 or min(others) == NAMES[0]
    spoil(mixture, others)
    out, _ = build(mixture, "out", budget)
    assert builds.digests(out) == builds.digests(expected)
    with pytest.raises(InputError, match=f"{min(others)}.jsonl"):
        build(mixture, "v1", budget, V1)
    # What is reached has to be right.
    last = SEQUENCE[len(reached(made)) - 1]
    spoil(mixture, [last])
    with pytest.raises(InputError, match=f"{last}.jsonl"):
        build(mixture, "again", budget)


@pytest.mark.parametrize("wave", [3, 8, 40])
def test_what_is_made_beyond_the_budget_is_nowhere_and_no_error(
    mixture: Path, monkeypatch: pytest.MonkeyPatch, wave: int
) -> None:
    settings = ("keep_dropped=1", "sources.web.filters=[{length: {min_chars: 100}}]")
    expected, made = build(mixture, "expected", *settings)
    assert any((expected / "dropped/web").iterdir())
    num_reached = len(reached(made))
    assert num_reached % 3
    beyond = SEQUENCE[num_reached + (wave > 3)]
    spoil(mixture, [beyond])
    cluster = in_waves(monkeypatch, wave)
    chunked: list[list[str]] = []
    check_budgets = sampled_shards.check_budgets

    def look(*arguments: Any) -> None:
        chunked.append(sorted(one.name for one in mixture.parent.glob("out/.ettin/chunks/web/*")))
        check_budgets(*arguments)

    monkeypatch.setattr(sampled_shards, "check_budgets", look)
    out, _ = build(mixture, "out", *settings)
    assert beyond in cluster.chunked[-1]
    assert chunked == [[f"{name}{TAIL}" for name in reached(made)]]
    assert builds.digests(out) == builds.digests(expected)


@pytest.mark.parametrize("filters", ["", ", filters: [{length: {min_chars: 300}}]"])
def test_workers_are_given_hardly_more_than_the_budget_needs(
    mixture: Path, monkeypatch: pytest.MonkeyPatch, filters: str
) -> None:
    """Whether sizes say more tokens than there are, or less."""
    run_here(monkeypatch, sampled_shards, cluster := Ahead())
    mixture.write_text(MIXTURE.replace("tokens: 4000", f"tokens: 6500{filters}"))
    _, made = build(mixture, "out")
    first, *waves = cluster.chunked
    assert first == ["all_0"]
    handed = [name for wave in waves for name in wave]
    assert len(reached(made)) <= len(handed) <= len(reached(made)) + 1 < len(NAMES)
    assert handed == SEQUENCE[: len(handed)]
    assert 1 < len(waves) <= 5


class _Killed(BaseException):
    pass


def test_a_build_that_ends_at_any_partition_goes_on_to_the_same_bytes(
    mixture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, made = build(mixture, "expected")
    num_reached = len(reached(made))
    tried = reached_partitions.try_partition
    for stop_at in range(1, num_reached + 1):
        names: list[str] = []

        def stop(task: Any, stop_at: int = stop_at, names: list[str] = names) -> Any:
            names.append(task.partition)
            if len(names) > stop_at:
                raise _Killed
            return tried(task)

        with monkeypatch.context() as patch:
            patch.setattr(reached_partitions, "try_partition", stop)
            if stop_at < num_reached:
                with pytest.raises(_Killed):
                    build(mixture, f"out-{stop_at}")
        # In other waves than before.
        with monkeypatch.context() as patch:
            in_waves(patch, random.Random(stop_at).randrange(2, 9))
            out, _ = build(mixture, f"out-{stop_at}")
        assert builds.digests(out) == builds.digests(expected)


def test_a_build_whose_workers_are_killed_goes_on_to_the_same_bytes(mixture: Path) -> None:
    expected, _ = build(mixture, "expected")
    out = mixture.parent / "out"
    process = builds.start("build", mixture, "--out", out, "--workers", "2")
    stop = time.monotonic() + builds.SECONDS
    while not any(out.glob(".ettin/chunks/web/*")):
        assert process.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    while builds.group_members(process.pid):
        assert time.monotonic() < stop
        time.sleep(0.01)
    assert not (out / "manifest.json").exists()
    builds.run_well("build", mixture, "--out", out, "--workers", "2")
    assert builds.differences(builds.digests(out), builds.digests(expected)) == []


def test_a_finished_build_is_kept_and_mended(
    mixture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = build(mixture, "out")
    before = builds.digests(out)
    with monkeypatch.context() as patch:
        patch.setattr(reached_partitions, "try_partition", None)
        build(mixture, "out")
    assert builds.digests(out) == before
    [shard, *_] = (out / f"train/web/{reached(made)[-1]}{TAIL}").glob("*.mds")
    shard.write_bytes(b"")
    build(mixture, "out")
    assert builds.digests(out) == before


def repeat(mixture: Path, name: str, ids: Sequence[str]) -> None:
    """Let a file begin with documents that have ids of others."""
    path = mixture.parent / f"in/{name}.jsonl"
    copies = [{"id": id_, "text": builds.text(id_, 150)} for id_ in ids]
    path.write_bytes(builds.json_lines(copies) + path.read_bytes())


def test_ids_that_recur_in_what_is_reached_are_found(
    mixture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = build(mixture, "plain")
    first, second = SEQUENCE[:2]
    unread = SEQUENCE[len(reached(made)) :]
    repeat(mixture, unread[-1], [f"{first}-1"])
    build(mixture, "unread")
    repeat(mixture, second, [f"{first}-1", f"{unread[0]}-1", f"{first}-2"])
    with pytest.raises(DocumentError, match=f'"{first}-1" in {first} and {second}|{second} and'):
        build(mixture, "stop")
    skips = "on_error=skip"
    expected, of_all = build(mixture, "skip", skips)
    duplicates = {
        one.partition: one.documents.dropped.get("duplicate_id", 0)
        for one in of_all.sources["web"].partitions
    }
    assert duplicates[max(first, second)] == 2
    in_waves(monkeypatch, 3)
    out, _ = build(mixture, "other", skips)
    assert builds.digests(out) == builds.digests(expected)


@pytest.mark.parametrize("wave", [1, 4])
def test_where_dropped_ids_leave_too_little_the_next_file_is_reached(
    mixture: Path, monkeypatch: pytest.MonkeyPatch, wave: int
) -> None:
    in_waves(monkeypatch, wave)
    later, earlier, earliest = SEQUENCE[:3]
    assert earliest < earlier < later
    repeat(mixture, later, [f"{earlier}-{number}" for number in range(2)])
    # It is reached last and comes first by name, so that its document is the one that is kept.
    repeat(mixture, earliest, [f"{earlier}-1"])
    _, raw = build(mixture, "raw", "sources.web.from.id=null")
    tokens = {one.partition: one.tokens.written for one in raw.sources["web"].partitions}
    # What two files have with the documents that are dropped.
    budget = f"sources.web.tokens={tokens[later] + tokens[earlier]}"
    _, made = build(mixture, "out", budget, "on_error=skip")
    dropped = {
        one.partition: one.documents.dropped.get("duplicate_id", 0)
        for one in made.sources["web"].partitions
    }
    assert dropped == {earliest: 0, earlier: 1, later: 2}


@pytest.mark.parametrize("setting", [
    "validation={fraction: 0.1}", "dedup={}", "decontaminate={path: eval.jsonl}"
])  # fmt: skip
def test_what_decides_over_all_documents_is_refused(mixture: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match="got it with ettin-partitions-v2, which leaves files"):
        load_mixture(mixture, (setting,))
    with pytest.raises(ConfigError, match=r"validation.seed: got 7, expected the seed of .*, 42,"):
        load_mixture(mixture, ("validation={algorithm: ettin-validation-v1, seed: 7}",))
    own = "sources.web.sample.algorithm=ettin-partitions-v1"
    load_mixture(mixture, (setting, "sample.algorithm=keyed-v1", own))


def test_a_budget_that_cannot_be_met_is_refused(mixture: Path) -> None:
    with pytest.raises(ConfigError, match=r"web.tokens: needs 30,000 tokens, has \d+,\d+ at max_"):
        build(mixture, "out", "sources.web.tokens=30000")


def test_a_listing_may_name_what_is_not_reached(mixture: Path) -> None:
    _, made = build(mixture, "plain")
    listing = [f"web/{name}{TAIL}" for name in reversed(NAMES)] + [f"all/all_0{TAIL}"]
    (mixture.parent / "list.txt").write_text("\n".join(listing))
    out, _ = build(mixture, "out", "order.partitions=listed", "order.listing=list.txt")
    shards = json.loads((out / "train/index.json").read_bytes())["shards"]
    folders = list(dict.fromkeys(one["raw_data"]["basename"].rpartition("/")[0] for one in shards))
    assert folders == [
        one for one in listing if "all_0" in one or one[4:].split("-")[0] in reached(made)
    ]
