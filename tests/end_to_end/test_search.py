"""Search by commands: a build is indexed, traced with and without, damaged, killed and mended."""

import json
import shutil
import time
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from support import builds
from support.commands import call
from support.orders import read_rows, write_order
from support.places import lying, shards
from support.searched import patterns_of
from support.traced import naive_find

from pipeline import dataset
from pipeline.audit.search import SearchIndex
from pipeline.audit.search.index_record import SectionRecord, damaged_files, read_index_record
from pipeline.core.errors import MismatchError

TEXTS = ("the", "harbour", "copper lantern", "a of and under", "no such words anywhere")


def test_trace_prints_the_same_with_an_index_and_verify_does_not_mind(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.symlink_to(finished)
    asked = [*product(TEXTS, ["--json"]), ("copper lantern", "--text"), ("copper lantern",)]
    commands = [("trace", out, "--find", *one) for one in asked]
    before = [call(capsys, *command) for command in commands]
    assert [code for code, _, _ in before] == [0, 0, 0, 1, 1, 0, 0]
    code, printed, _ = call(capsys, "search-index", out, "--memory", "1kB", "--json")
    said = json.loads(printed)
    index = tmp_path / "out.search-index"
    assert (code, said["out"], said["num_sections"] > 3) == (0, str(index), True)
    assert said["num_bytes"] == sum(path.stat().st_size for path in index.glob("*/*.npy"))
    rows = read_rows(finished / "order")
    assert (said["num_rows"], said["num_tokens"]) == (len(rows), sum(map(len, rows)))
    assert [call(capsys, *command) for command in commands] == before
    assert call(capsys, "verify", out)[0] == 0

    # That the index is read shows where it is damaged.
    (index / "section-000001" / "tokens.npy").write_bytes(b"")
    code, printed, said_of_it = call(capsys, "trace", out, "--find", "the")
    assert (code, printed) == (1, "")
    assert "section-000001/tokens.npy: is damaged\n" in said_of_it
    assert call(capsys, "search-index", out, "--memory", "1kB")[0] == 0
    assert [call(capsys, *command) for command in commands] == before


@pytest.mark.parametrize(
    ("form", "place"),
    [*product(["parquet", "mds"], ["path", "hub", "memory"]), ("mds", "web")],
)
def test_an_order_is_indexed_wherever_it_lies(
    form: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, index = tmp_path / "order", tmp_path / "index"
    rows = [[1 + number % 3, 2, 3 + number % 2] * (1 + number % 5) for number in range(64)]
    if form == "mds":
        shards(folder, [np.array(row, np.uint32) for row in rows])
    else:
        write_order(folder, rows, [32, 32])
    with lying(place, folder, monkeypatch) as where:
        code, _, said = call(capsys, "search-index", where, "--out", index)
        assert code == 0, said
        found = SearchIndex.open(index, dataset.open(where)).find(patterns_of([2, 3, 1]), 1000)
    places = [*zip(found.rows.tolist(), found.offsets.tolist(), strict=True)]
    assert places == sorted(naive_find(rows, [[2, 3, 1]]))
    assert len(places) == 20


def test_an_address_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, said = call(capsys, "search-index", "hf://datasets/org/order")
    assert (code, printed) == (2, "")
    assert "hint: name a folder for it with --out" in said


def test_an_index_of_another_order_is_said(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_order(tmp_path / "other", [[1, 2]] * 16, [16])
    (tmp_path / "out").symlink_to(finished)
    index = tmp_path / "out.search-index"
    assert call(capsys, "search-index", tmp_path / "other", "--out", index)[0] == 0
    code, printed, said = call(capsys, "trace", tmp_path / "out", "--find", "the")
    assert (code, printed) == (1, "")
    assert f"{index}: got the index of the order " in said
    assert "hint: run `ettin-data search-index` again, or remove the index" in said


def test_a_command_that_is_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    rows = [[number % 7, number % 11, number % 13] * 300 for number in range(640)]
    write_order(tmp_path / "order", rows, [320, 320])
    command = ("search-index", tmp_path / "order", "--memory", "1kB", "--out")
    builds.run_well(*command, tmp_path / "whole")
    killed = tmp_path / "killed"
    process = builds.start(*command, killed)
    while process.poll() is None and not [*killed.glob("section-*")]:
        pass
    process.kill()
    process.wait(timeout=builds.SECONDS)
    assert not (killed / "index.json").exists(), "it was done before it was killed"
    builds.run_well(*command, killed)
    expected = builds.digests(tmp_path / "whole")
    assert len(expected) > 500
    differing = builds.differences(builds.digests(killed), expected)
    # What says when files were written.
    assert all(path.endswith("/section.json") for path in differing)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment_leave_whole_sections_and_the_same_bytes(
    seed: int, tmp_path: Path
) -> None:
    rows = [[number % 7, number % 11, number % 13] * 300 for number in range(640)]
    order = dataset.open(write_order(tmp_path / "order", rows, [320, 320]))
    command = ("search-index", tmp_path / "order", "--memory", "1kB", "--out")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    builds.run_well(*command, whole)
    num_sections = len([*whole.glob("section-*")])
    rng = np.random.default_rng(seed)
    for kill in range(8):
        if kill == 4:
            # The other kills are while one that was finished is mended.
            builds.run_well(*command, killed)
            for section in sorted(killed.glob("section-*"))[::2]:
                shutil.rmtree(section)
        until = rng.integers(len([*killed.glob("section-*")]), num_sections, endpoint=True)
        process = builds.start(*command, killed)
        while process.poll() is None and len([*killed.glob("section-*")]) < until:
            pass
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.wait(timeout=builds.SECONDS)
        sections = [*killed.glob("section-*")]
        for section in sections:
            record = read_index_record(section / "section.json", SectionRecord)
            assert damaged_files(section, record.listed()) == []
        if (killed / "index.json").exists():
            is_whole = len(sections) == num_sections
            with nullcontext() if is_whole else pytest.raises(MismatchError, match="is missing"):
                SearchIndex.open(killed, order)
    builds.run_well(*command, killed)
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
    differing = builds.differences(builds.digests(killed), builds.digests(whole))
    assert all(path.endswith("/section.json") for path in differing)
