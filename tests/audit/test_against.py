"""Against: what is the same is said to be, and of what is not the right rows are named."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import builds
from support.clusters import Build
from support.manifests import read_content
from support.order_server import serve
from support.orders import Row, read_rows, write_order
from support.paths import SHARED
from support.strategies import QUICK

from pipeline.audit.verify import alignment, compare
from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.compare import compare_rows, digest_rows
from pipeline.audit.verify.comparison import Finding
from pipeline.audit.verify.explain.declarations import declared_differences
from pipeline.audit.verify.output import Output
from pipeline.audit.verify.report import Report, as_json, lines
from pipeline.audit.verify.scope import Scope
from pipeline.audit.verify.target import ForwardReader, open_target
from pipeline.core.errors import ConfigError, InputError, NotFoundError, PipelineError
from pipeline.core.ragged import Rows
from pipeline.dataset.ledger import LedgerSpan, join, multiset_of, root_of_multiset, row_digests
from pipeline.dataset.manifest import seal
from pipeline.dataset.open import open_rows
from pipeline.dataset.order_manifest import digest_order, write_order_manifest

GOLDEN = SHARED / "golden"
WINDOWS = [848, 848, 864, 128]
"""Rows of the windows of the small output."""
NUM_ROWS, BATCH = 2688, 16


def quiet(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="session")
def rows(finished: Path) -> list[Row]:
    """The ordered rows of `finished`; not to be changed."""
    rows = read_rows(finished / "order")
    assert len(rows) == NUM_ROWS == sum(WINDOWS)
    return rows


@pytest.fixture(scope="session")
def viewed(
    small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build
) -> dict[str, Path]:
    """Outputs of the small mixture by view, where many rows are cut; one of them has MDS rows."""
    folder = tmp_path_factory.mktemp("viewed")
    formats = {"stored": "parquet", "encoder": "parquet", "decoder": "mds"}
    return {
        view: build_here(
            small,
            folder / view,
            "order.max_seq_len=100",
            f"order.view={view}",
            f"order.format={form}",
        )
        for view, form in formats.items()
    }


def digested(where: Path, path: Path) -> str:
    """Write the manifest of an order and return its path."""
    write_order_manifest(digest_order(str(where), quiet), path)
    return str(path)


def verdicts(report: Report) -> list[tuple[bool, bool | None, int, int | None]]:
    return [
        (one.equal, one.same_multiset, one.num_differing, one.first_difference)
        for one in report.comparison.windows
    ]


EQUAL = (True, True, 0, None)


# ---- what is the same


@pytest.mark.parametrize("what", ["", "manifest.json", "order", "train"])
def test_an_output_is_equal_to_itself_in_every_form(finished: Path, what: str) -> None:
    report = verify_against(finished, str(finished / what))
    assert report.equal
    assert report.findings == ()
    assert lines(report)[-1] == "equal"
    assert all(verdict == EQUAL for verdict in verdicts(report))
    assert len(report.comparison.windows) == (9 if what == "train" else 4)
    assert report.comparison.of == ("pool" if what == "train" else "order")
    assert as_json(report)["equal"] is True


@pytest.mark.parametrize("what", ["own manifest", "order", "digest", "output"])
@pytest.mark.parametrize(
    ("part", "bounds"),
    [
        ({"rows": (1030, 1040)}, (1030, 1040)),
        ({"steps": (2, 4)}, (16, 48)),
        ({"steps": (168, 169)}, (2672, 2688)),
        ({"window": 3}, (1696, 2560)),
    ],
)
def test_a_part_is_compared_alone(
    finished: Path, tmp_path: Path, what: str, part: dict[str, Any], bounds: tuple[int, int]
) -> None:
    where = {
        "own manifest": str(finished / "manifest.json"),
        "order": str(finished / "order"),
        "output": str(finished),
    }.get(what) or digested(finished / "order", tmp_path / "order.json")
    report = verify_against(finished, where, **part)
    compared = report.comparison
    assert report.equal
    if what in ("order", "output"):
        assert (compared.start, compared.stop) == bounds
        assert report.comparison.notes == ()
    else:
        assert compared.start == bounds[0] // 1024 * 1024
        assert compared.stop == min(-(-bounds[1] // 1024) * 1024, NUM_ROWS)
        assert "a manifest keeps one digest for every 1,024 rows" in report.comparison.notes[0]
    assert min(one.start for one in compared.windows) == compared.start
    assert max(one.stop for one in compared.windows) == compared.stop


def test_a_window_is_found_by_its_number_though_earlier_ones_are_longer(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    longer = write_order(tmp_path / "order", [[1, 2]] * 16 + rows, [16 + 848, *WINDOWS[1:]])
    assert verify_against(finished, str(longer), window=2).equal
    assert not verify_against(finished, str(longer), rows=(848, 1696)).equal


def test_a_window_by_itself_is_laid_beside_that_of_its_number(
    finished: Path, tmp_path: Path
) -> None:
    lone = shutil.copytree(finished / "order" / "checkpoint_000003", tmp_path / "checkpoint_000003")
    for part in ({}, {"window": 3}, {"rows": (1700, 1710)}, {"steps": (107, 161)}):
        assert verify_against(finished, str(lone), **part).equal
    with pytest.raises(NotFoundError):
        verify_against(finished, str(lone), rows=(1690, 1710))
    with pytest.raises(NotFoundError):
        verify_against(finished, str(lone), window=2)
    beyond = lone.rename(tmp_path / "checkpoint_000005")
    with pytest.raises(NotFoundError, match="windows 1 to 4"):
        verify_against(finished, str(beyond))


@pytest.mark.parametrize("more", [-3, 2])
def test_windows_of_other_lengths_are_not_equal(
    finished: Path, rows: list[Row], tmp_path: Path, more: int
) -> None:
    second = [*rows[848:1696], [1], [2]][: 848 + more]
    order = write_order(tmp_path / "order", [*rows[:848], *second], [848, 848 + more])
    report = verify_against(finished, str(order), window=2)
    assert not report.equal
    assert (report.comparison.num_differing, report.comparison.num_missing) == (0, abs(more))
    assert f"number of rows: 848 here, {848 + more:,} there ({more:+,})" in lines(report)


@pytest.mark.parametrize("view", ["stored", "encoder", "decoder"])
@pytest.mark.parametrize("own_view", ["stored", "encoder", "decoder"])
def test_the_view_of_the_other_side_is_found_out(
    viewed: dict[str, Path], tmp_path: Path, view: str, own_view: str
) -> None:
    out, order = viewed[own_view], viewed[view] / "order"
    for what in (str(order), digested(order, tmp_path / "order.json"), str(viewed[view])):
        report = verify_against(out, what)
        assert report.equal
        assert report.comparison.view == view


def test_a_view_that_is_asked_for_is_not_doubted(viewed: dict[str, Path]) -> None:
    order = str(viewed["decoder"] / "order")
    assert verify_against(viewed["stored"], order, view="decoder").equal
    report = verify_against(viewed["stored"], order, rows=(0, 100), view="encoder")
    assert not report.equal
    assert report.comparison.view == "encoder"


def test_a_view_that_only_later_rows_tell_from_another_is_found_out(
    viewed: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "_SAMPLE_ROWS", 1)
    lengths = [len(row) for row in read_rows(viewed["stored"] / "order")]
    short = next(row for row, length in enumerate(lengths) if length <= 100)
    order = str(viewed["decoder"] / "order")
    report = verify_against(viewed["stored"], order, rows=(short, short + 100))
    assert report.equal
    assert report.comparison.view == "decoder"
    assert report.comparison.why_view.startswith("1 of 1 rows from row")


# ---- what is not


def test_a_changed_id_is_named_by_its_row_and_step(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    changed = [*rows]
    changed[1700] = [*rows[1700][:-2], 7, rows[1700][-1]]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    report = verify_against(finished, str(order))
    assert verdicts(report) == [EQUAL, EQUAL, (False, False, 1, 1700), EQUAL]
    assert report.comparison.differing.tolist() == [1700]
    text = lines(report)
    assert text[3] == "checkpoint_000003: rows 1,696:2,560: 1 differs, first at row 1,700, step 107"
    assert "rows that differ: 1,700" in text
    assert text[-1] == "not equal"
    told = as_json(report)
    assert told["first_difference"] == 1700
    assert told["differing"] == [1700]
    json.dumps(told)


def test_rows_in_another_order_are_said_to_be_the_same_set(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    swapped = [*rows]
    swapped[10], swapped[20] = rows[20], rows[10]
    swapped[900], swapped[2000] = rows[2000], rows[900]
    report = verify_against(finished, str(write_order(tmp_path / "order", swapped, WINDOWS)))
    assert verdicts(report) == [
        (False, True, 2, 10),
        (False, False, 1, 900),
        (False, False, 1, 2000),
        EQUAL,
    ]
    assert report.comparison.same_multiset
    text = "\n".join(lines(report))
    assert "rows 0:848 are the same in another order, first at row 10, step 1" in text
    assert "all rows together are the same, in another order" in text


@pytest.mark.parametrize("missing", [1, 100, 128, 1700])
def test_where_one_side_ends_first_the_rest_is_compared_and_the_numbers_are_said(
    finished: Path, rows: list[Row], tmp_path: Path, missing: int
) -> None:
    kept = NUM_ROWS - missing
    windows = [kept] if kept < 2560 else [*WINDOWS[:3], kept - 2560]
    order = write_order(tmp_path / "order", rows[:kept], [n for n in windows if n])
    for what in (str(order), digested(order, tmp_path / "order.json")):
        report = verify_against(finished, what)
        assert not report.equal
        assert report.comparison.num_differing == 0
        assert report.comparison.stop == kept
        assert report.comparison.num_missing == missing
        said = f"number of rows: {NUM_ROWS:,} here, {kept:,} there ({-missing:+,})"
        assert said in lines(report)


def test_rows_beyond_ours_are_counted(finished: Path, rows: list[Row], tmp_path: Path) -> None:
    order = write_order(tmp_path / "order", [*rows, [5, 6], [7]], [*WINDOWS[:3], 130])
    report = verify_against(finished, str(order))
    assert (report.comparison.num_differing, report.comparison.num_missing) == (0, 2)
    report = verify_against(finished, digested(order, tmp_path / "order.json"))
    assert not report.equal
    assert report.comparison.num_differing == 0
    # Its last node holds the two rows, so those before them cannot be told from others.
    assert report.comparison.stop == 2048
    assert report.comparison.notes[0].startswith("rows 2,048:2,688 were not compared")


def test_a_manifest_tells_the_node_that_differs(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    changed = [*rows]
    changed[1700] = [1, 2, 3]
    changed[2600], changed[2601] = rows[2601], rows[2600]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    report = verify_against(finished, digested(order, tmp_path / "order.json"))
    assert report.comparison.rows_per_unit == 1024
    assert report.comparison.differing.tolist() == [1024, 2048]
    assert report.comparison.num_differing == 1024 + 640
    # Of each window the manifest also tells the set of rows.
    assert verdicts(report) == [
        EQUAL,
        (False, True, 1696 - 1024, 1024),
        (False, False, 864, 1696),
        (False, True, 128, 2560),
    ]
    assert "up to 864 differ, first at row 1,696, step 107" in lines(report)[3]


def test_another_row_of_a_pool_is_named_with_its_partition(finished: Path, tmp_path: Path) -> None:
    pool = shutil.copytree(finished / "train", tmp_path / "pool")
    shard = sorted(pool.glob("prose/prose_1-*/shard.00000.mds"))[0]
    data = bytearray(shard.read_bytes())
    data[-4] ^= 1  # The last id of the last row.
    shard.write_bytes(data)
    report = verify_against(finished, str(pool))
    assert report.comparison.of == "pool"
    bad = [one for one in report.comparison.windows if not one.equal]
    assert [one.name.split("/")[-1].split("-")[0] for one in bad] == ["prose_1"]
    assert [(one.num_differing, one.first_difference) for one in bad] == [(1, bad[0].stop - 1)]


def test_more_differences_than_are_kept_are_counted(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_EVIDENCE", 100)
    changed = [*rows[:500], *([*row, 1] for row in rows[500:1000]), *rows[1000:]]
    report = verify_against(finished, str(write_order(tmp_path / "order", changed, WINDOWS)))
    compared = report.comparison
    assert compared.num_differing == 500
    assert compared.differing.tolist() == list(range(500, 600))
    assert len(compared.our_digests) == len(compared.their_digests) == 100
    assert len(as_json(report)["differing"]) == 20
    assert any("and 480 more" in line for line in lines(report))


def test_ids_in_a_type_that_is_too_narrow_are_compared_and_named(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    narrow = [[one - 65536 if one > 32767 else one for one in row] for row in rows]
    order = write_order(tmp_path / "order", narrow, WINDOWS, kind=pa.int16())
    for part in ({}, {"window": 2}):
        report = verify_against(finished, str(order), **part)  # type: ignore[arg-type]
        assert report.equal
        assert [finding.kind for finding in report.findings] == ["dtype"]
        assert "negative in int16" in lines(report)[-2]
    made = digest_order(str(order), quiet)
    assert made.num_wrapped > 2 * NUM_ROWS
    assert made.ledger == digest_order(str(finished), quiet).ledger


def test_a_row_a_batch_is_compared_by_its_rows(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint_000001"
    folder.mkdir()
    batches = [rows[start : start + BATCH] for start in range(0, NUM_ROWS, BATCH)]
    table = pa.table(
        {
            "input_ids": pa.array(batches, pa.list_(pa.list_(pa.uint32()))),
            "step": pa.array(range(1, 169)),
        }
    )
    pq.write_table(table, folder / "steps_000001_to_000168.parquet", row_group_size=50)
    assert verify_against(finished, str(tmp_path)).equal
    assert verify_against(finished, str(tmp_path), rows=(1000, 1003)).equal


# ---- what was declared


def test_declared_differences_are_found_without_a_guess(
    finished: Path, small: Path, tmp_path: Path, build_here: Build
) -> None:
    inputs = shutil.copytree(small.parent, tmp_path / "inputs")
    long = inputs / "in" / "long" / "long-0.jsonl"
    long.write_bytes(b"".join(long.read_bytes().splitlines(keepends=True)[:-1]))
    other = build_here(inputs / small.name, tmp_path / "out", "order.seed=22")
    for what in (str(other), str(other / "manifest.json")):
        report = verify_against(finished, what)
        assert not report.equal
        found: dict[str, Finding] = {}
        for finding in report.findings:
            found.setdefault(finding.kind, finding)  # What was declared comes first.
        assert found["seed"].text == "order.seed is 21 here, 22 there"
        count = json.loads((other / "manifest.json").read_bytes())["order"]["num_samples"]
        assert found["row count"].evidence == {"ours": 2699, "theirs": count}
        assert f"({count - 2699:+,}): train/long/long_0-" in found["row count"].text
        declared = [f for f in report.findings if f.kind == "partition" and "folder" in f.evidence]
        assert declared[0].evidence["what"] == "other input"
        assert "long_0-" in declared[0].text


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Finding]:
    return declared_differences(read_content(ours), read_content(theirs))


@pytest.mark.parametrize(
    ("path", "value", "kind", "text"),
    [
        ("tokenizer.sha256", "00", "tokenizer", None),
        ("declaration.tokenizer.add_prefix_space", False, "prefix space", "true here, false there"),
        ("declaration.chunk.size", 256, "chunk algorithm", "chunk.size is 128 here, 256 there"),
        ("declaration.chunk.algorithm", "whole-v1", "chunk algorithm", None),
        ("declaration.shards.dtype", "uint16", "dtype", "uint32 here, uint16 there"),
        ("declaration.order.seed", 22, "seed", None),
        ("declaration.order.epoch", 3, "epoch", None),
        ("declaration.order.view", "stored", "view", None),
        ("declaration.order.algorithm", "feistel-v1", "order algorithm", None),
        ("declaration.sources.prose.tokens", 10_000, "mixture", "9,000 here, 10,000 there"),
        ("declaration.sources.prose", None, "mixture", "declared here, nothing there"),
        ("declaration.sources.prose.category", "poems", None, None),
        ("declaration.name", "large", None, None),
        ("declaration.order.window_tokens", 7, None, None),
    ],
)
def test_each_declaration_has_its_kind_of_finding(
    finished: Path, path: str, value: object, kind: str | None, text: str | None
) -> None:
    ours = json.loads((finished / "manifest.json").read_bytes())
    theirs = json.loads((finished / "manifest.json").read_bytes())
    *keys, last = path.split(".")
    holder = theirs["mixture"] if keys[0] == "declaration" else theirs
    for key in keys:
        holder = holder[key]
    assert holder[last] != value
    holder[last] = value
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ([] if kind is None else [kind])
    assert text is None or text in found[0].text


def test_of_partitions_made_otherwise_none_is_named_where_the_chunks_are_other(
    finished: Path,
) -> None:
    ours = json.loads((finished / "manifest.json").read_bytes())
    theirs = json.loads((finished / "manifest.json").read_bytes())
    for path, about in theirs["files"].items():
        if path.endswith(".mds"):
            about["sha256"] = "00"
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ["partition"] * 9
    assert "made differently from the same bytes" in found[0].text
    theirs["mixture"]["declaration"]["chunk"]["size"] = 256
    assert [finding.kind for finding in _differences(ours, theirs)] == ["chunk algorithm"]
    theirs["sources"]["long"]["partitions"][0]["input"]["sha256"] = "00"
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ["chunk algorithm", "partition"]
    assert found[1].evidence["what"] == "other input"


def test_what_does_not_change_rows_is_no_finding(viewed: dict[str, Path]) -> None:
    report = verify_against(viewed["stored"], str(viewed["decoder"] / "manifest.json"))
    assert report.equal
    assert [finding.kind for finding in report.findings] == ["view"]


# ---- an output without a pool

AS_FINISHED = ("global_batch_size=16", "max_seq_len=128", "window_tokens=100k")


@pytest.fixture(scope="session")
def replayed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pool of `finished` in its own order, in another, and as stored; without the pool."""
    folder = tmp_path_factory.mktemp("replayed")
    made = {"same": ["view=encoder"], "other": ["view=encoder", "seed=22"], "stored": []}
    for name, settings in made.items():
        flags = [part for one in (*AS_FINISHED, *settings) for part in ("--set", f"order.{one}")]
        where = folder / name
        builds.run_well("order", finished / "train", "--out", where, *flags, "--workers", "1")
        assert not (where / "train").exists()
    return {name: folder / name for name in made}


def test_without_a_pool_equal_rows_are_equal(
    finished: Path, replayed: dict[str, Path], tmp_path: Path
) -> None:
    for ours in (replayed["same"], replayed["stored"]):
        for what in ("", "manifest.json", "order"):
            report = verify_against(ours, str(finished / what))
            assert report.equal, lines(report)
            assert (report.comparison.of, report.comparison.view) == ("order", "encoder")
            assert all(verdict == EQUAL for verdict in verdicts(report))
        assert verify_against(ours, digested(finished / "order", tmp_path / "order.json")).equal
    assert verify_against(finished, str(replayed["stored"])).equal


@pytest.mark.parametrize("form", ["output", "manifest", "digest", "order", "pool"])
@pytest.mark.parametrize("own", ["same", "stored"])
def test_without_a_pool_rows_that_differ_are_told_and_why_they_do_is_not_guessed(
    finished: Path, replayed: dict[str, Path], tmp_path: Path, own: str, form: str
) -> None:
    other = replayed["other"]
    what = {
        "output": str(other),
        "manifest": str(other / "manifest.json"),
        "order": str(other / "order"),
        "pool": str(finished / "train"),
    }.get(form) or digested(other / "order", tmp_path / "order.json")
    report = verify_against(replayed[own], what)
    assert not report.equal
    assert report.comparison.num_differing > 2600
    windows = report.comparison.windows
    assert len(windows) == 4
    assert (windows[0].start, windows[-1].stop) == (0, NUM_ROWS)
    is_unlabelled = form in ("digest", "order", "pool") and own == "stored"
    assert report.comparison.view == ("stored" if is_unlabelled else "encoder")
    [finding] = [one for one in report.findings if one.kind == "unknown"]
    assert "the output has no pool of its own" in finding.text
    assert ("under the encoder view only" in finding.text) == (own == "same")
    kinds = {one.kind for one in report.findings} - {"unknown", "view"}
    assert kinds == ({"seed"} if form in ("output", "manifest") else set())


def test_without_a_pool_the_same_rows_in_another_order_are_known_as_such(
    replayed: dict[str, Path], rows: list[Row], tmp_path: Path
) -> None:
    swapped = [*rows]
    swapped[10], swapped[20] = rows[20], rows[10]
    order = write_order(tmp_path / "order", swapped, WINDOWS)
    report = verify_against(replayed["same"], str(order))
    assert verdicts(report) == [(False, True, 2, 10), EQUAL, EQUAL, EQUAL]
    narrow = [[one - 65536 if one > 32767 else one for one in row] for row in swapped]
    order = write_order(tmp_path / "narrow", narrow, WINDOWS, kind=pa.int16())
    report = verify_against(replayed["same"], str(order))
    assert report.comparison.differing.tolist() == [10, 20]
    assert [one.kind for one in report.findings] == ["dtype", "unknown"]


def test_without_a_pool_another_view_is_compared_as_rows_are_or_refused(
    replayed: dict[str, Path], viewed: dict[str, Path], tmp_path: Path
) -> None:
    ours = replayed["same"]
    manifest = str(viewed["decoder"] / "manifest.json")
    report = verify_against(ours, manifest)
    assert not report.equal
    assert report.comparison.view == "encoder"
    assert "no pool to make the decoder view of" in report.comparison.why_view
    # Theirs can be made encoder rows, ours cannot be made decoder rows.
    assert verify_against(ours, str(viewed["stored"])).comparison.view == "encoder"
    report = verify_against(ours, str(replayed["stored"]))
    assert report.equal
    report = verify_against(viewed["stored"], str(ours), rows=(0, 100))
    assert report.comparison.view == "encoder"
    for one, other in ((ours, replayed["other"]), (viewed["decoder"], ours)):
        with pytest.raises(
            InputError, match=r"--view decoder: the rows of .* are the encoder view"
        ):
            verify_against(one, str(other), view="decoder")


def test_two_outputs_without_pools_of_two_views_differ(
    finished: Path, replayed: dict[str, Path], tmp_path: Path
) -> None:
    flags = [part for one in (*AS_FINISHED, "view=decoder") for part in ("--set", f"order.{one}")]
    decoder = tmp_path / "decoder"
    builds.run_well("order", finished / "train", "--out", decoder, *flags, "--workers", "1")
    report = verify_against(replayed["same"], str(decoder))
    assert not report.equal
    assert [one.kind for one in report.findings] == ["view", "unknown"]


def test_a_pool_that_was_put_beside_its_order_is_searched(
    finished: Path, replayed: dict[str, Path], rows: list[Row], tmp_path: Path
) -> None:
    out = shutil.copytree(replayed["same"], tmp_path / "out")
    shutil.copytree(finished / "train", out / "train")
    assert verify_against(out, str(finished / "train")).comparison.of == "pool"
    report = verify_against(out, str(replayed["other"] / "order"))
    assert [one.kind for one in report.findings] == ["seed or epoch"]
    changed = [*rows[:7], *([one, 1, 2] for one in range(20)), *rows[27:]]
    report = verify_against(out, str(write_order(tmp_path / "order", changed, WINDOWS)))
    assert report.comparison.num_differing == 20
    assert [one.kind for one in report.findings] == ["rows"]


def test_a_pool_of_too_many_rows_is_not_searched(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_samples = json.loads((finished / "manifest.json").read_bytes())["order"]["num_samples"]
    order = str(write_order(tmp_path / "order", [*rows[:7], [1, 2], *rows[8:]], WINDOWS))
    monkeypatch.setattr("pipeline.audit.verify.explain.causes.MOST_POOL_ROWS", num_samples)
    assert [one.kind for one in verify_against(finished, order).findings] == ["rows"]
    monkeypatch.setattr("pipeline.audit.verify.explain.causes.MOST_POOL_ROWS", num_samples - 1)
    report = verify_against(finished, order)
    [finding] = report.findings
    assert (finding.kind, finding.evidence["num_pool_rows"]) == ("unknown", num_samples)
    assert f"the output's pool has {num_samples:,} rows" in finding.text
    assert report.comparison.differing.tolist() == [7]


# ---- a manifest that lies beside rows


def test_an_order_with_its_manifest_beside_it_is_an_order(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    order = write_order(tmp_path / "order", rows, WINDOWS)
    digested(order, order / "manifest.json")
    report = verify_against(finished, str(order))
    assert report.equal
    assert report.comparison.target.kind == "published order"
    (order / "manifest.json").write_text("{}")
    assert verify_against(finished, str(order)).equal


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"format": "ettin-manifest-v0"}'])
def test_an_output_whose_manifest_is_damaged_is_no_order(
    finished: Path, tmp_path: Path, data: bytes
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "order", out / "order")
    (out / "manifest.json").write_bytes(data)
    with pytest.raises(InputError, match=r"not as it was written|of format '.*-v0', expected"):
        verify_against(finished, str(out))


# ---- bad input


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"rows": (0, 2689)}, "rows 0 to 2,687"),
        ({"rows": (-1, 5)}, "rows 0 to 2,687"),
        ({"rows": (7, 7)}, "rows 0 to 2,687"),
        ({"steps": (0, 4)}, "steps 1 to 168"),
        ({"steps": (168, 170)}, "steps 1 to 168"),
        ({"window": 0}, "windows 1 to 4"),
        ({"window": 5}, "windows 1 to 4"),
    ],
)
@pytest.mark.parametrize("what", ["order", "manifest.json"])
def test_a_part_that_is_not_there_is_refused(
    finished: Path, part: dict[str, Any], message: str, what: str
) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        verify_against(finished, str(finished / what), **part)
    assert caught.value.exit_code == 1


def test_a_part_that_the_other_side_does_not_have_is_refused(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    order = write_order(tmp_path / "order", rows[:2000], [848, 848, 304])
    with pytest.raises(NotFoundError):
        verify_against(finished, str(order), rows=(1990, 2010))
    with pytest.raises(NotFoundError):
        verify_against(finished, str(order), window=4)
    with pytest.raises(NotFoundError, match="rows 2,000:2,010 cannot be compared"):
        verify_against(finished, digested(order, tmp_path / "order.json"), rows=(1990, 2010))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"rows": (2, 40)}, "--rows 2:40: the order of"),
        ({"steps": (2, 4)}, "--steps 2:4, rows 16:48: the order of"),
        ({"window": 2}, "window 2, rows 848:1,696: the order of"),
    ],
)
def test_rows_that_are_not_there_are_told_as_they_were_asked_for(
    finished: Path, part: dict[str, Any], said: str
) -> None:
    asked = {"rows": None, "steps": None, "window": None, **part}
    target = open_target(str(finished), "checkpoint")
    scope = Scope.of(Output.open(finished), target, **asked, show=quiet)
    with pytest.raises(NotFoundError, match=f"^{said} .* has rows 0 to 19\n"):
        scope.bounds("order", 20)


def test_two_parts_at_once_are_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="at most one"):
        verify_against(finished, str(finished), rows=(0, 1), window=1)


Spoil = Callable[[dict[str, Any]], None]


def _spoiled(spoil: Spoil) -> Callable[[Path, Path], None]:
    def write(finished: Path, path: Path) -> None:
        manifest = json.loads((finished / "manifest.json").read_bytes())
        spoil(manifest)
        path.write_bytes(seal(manifest))

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda out, path: None, "nothing known"),
        (lambda out, path: path.write_text("{}"), "no manifest"),
        (lambda out, path: path.write_text("[1]"), "no manifest"),
        (lambda out, path: path.write_bytes(b"\xff\x00"), "no manifest"),
        (
            lambda out, path: path.write_bytes((out / "manifest.json").read_bytes() + b" "),
            "not as it was written",
        ),
        (_spoiled(lambda m: m.update(format="ettin-manifest-v0")), "format 'ettin-manifest-v0'"),
        (_spoiled(lambda m: m["order"].pop("ledger")), "order.ledger: got nothing"),
        (_spoiled(lambda m: m["order"]["ledger"].update(num_rows=7)), "ledger: got 96 bytes"),
        (_spoiled(lambda m: m["order"]["windows"].pop()), "windows: got other rows than the"),
        (_spoiled(lambda m: m["order"]["windows"][0].pop("num_rows")), "num_rows: got nothing"),
    ],
)
def test_a_file_that_is_no_manifest_of_ours_is_refused(
    finished: Path, tmp_path: Path, write: Callable[[Path, Path], None], message: str
) -> None:
    path = tmp_path / "manifest.json"
    write(finished, path)
    with pytest.raises(InputError, match=message):
        verify_against(finished, str(path))


@pytest.mark.parametrize("what", ["nothing", "empty", "unfinished", "ftp://somewhere"])
def test_what_is_nothing_known_is_refused(finished: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / ".ettin").mkdir(parents=True)
    with pytest.raises(InputError):
        verify_against(finished, what if ":" in what else str(tmp_path / what))


def test_a_folder_without_a_manifest_is_no_output(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        verify_against(tmp_path, str(finished))


# ---- over the network


WHOLE = {"status": 429, "kind": "status", "headers": {"Retry-After": "0"}}
FAULTS = [
    [],
    [{**WHOLE, "times": 3}],
    [{**WHOLE, "status": 503, "times": 2}],
    [{"kind": "cut", "bytes": 1000}],
    [{"kind": "drip", "bytes": 20_000, "seconds": 0.001, "times": -1}],
    [{"kind": "stall", "seconds": 0.3}],
]


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: faults[0]["kind"] if faults else "")
def test_a_remote_order_is_verified_whole_and_in_part_whatever_befalls_the_network(
    finished: Path, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, Any]]
) -> None:
    with serve(finished / "order") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        server.set_faults(faults)
        report = verify_against(finished, server.where())
        assert report.equal
        assert [one.name for one in report.comparison.windows] == [
            f"checkpoint_{n:06d}" for n in (1, 2, 3, 4)
        ]
        server.set_faults(faults)
        assert verify_against(finished, server.where(), steps=(100, 120)).equal


def test_of_a_remote_order_only_the_window_asked_for_is_read(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(finished / "order") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        assert verify_against(finished, server.where(), window=3).equal
        log = [line for line in server.counters()["log"] if ".parquet" in line]
        assert log
        assert all("checkpoint_000003" in line for line in log)


def test_no_byte_of_a_remote_order_is_fetched_twice(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Row groups of 200 rows, and windows that end within one.
    order = write_order(tmp_path / "order", rows, [NUM_ROWS])
    with serve(order) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        for start, stop in ((0, NUM_ROWS), (430, 2290)):
            server.reset()
            assert sum(map(len, open_rows(server.where()).read(start, stop))) == stop - start
            needed = server.counters()["bytes"]
            server.reset()
            assert verify_against(finished, server.where(), rows=(start, stop)).equal
            assert server.counters()["bytes"] == needed


def test_a_remote_order_that_differs_is_found_to(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = [*rows]
    changed[5] = [1, 2]
    with serve(write_order(tmp_path / "order", changed, WINDOWS)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        report = verify_against(finished, server.where())
        assert report.comparison.differing.tolist() == [5]


def test_a_remote_order_that_stays_away_is_an_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(finished / "order", gated=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        with pytest.raises(PipelineError) as caught:
            verify_against(finished, server.where())
        assert caught.value.hint


# ---- the published layout, from the reference chain


@dataclass(frozen=True)
class Reference:
    """An output of the reference chain and ours of the same mixture."""

    folder: Path
    out: Path


@pytest.fixture(scope="session", params=["reencode-1024", "reencode-edge", "slice-edge"])
def reference(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build_here: Build,
) -> Reference:
    folder = GOLDEN / request.param
    if not folder.is_dir():
        pytest.skip(f"the reference chain's outputs do not lie at {GOLDEN}")
    out = build_here(folder / "mixture.yaml", tmp_path_factory.mktemp(request.param) / "out")
    return Reference(folder, out)


@pytest.mark.parametrize("view", ["encoder", "decoder"])
def test_the_orders_of_the_reference_chain_are_verified(reference: Reference, view: str) -> None:
    order = reference.folder / "order" / view
    for part in ({}, {"window": 1}, {"rows": (100, 200)}, {"steps": (3, 9)}):
        assert verify_against(reference.out, str(order), **part).equal


def test_the_pools_of_the_reference_chain_are_verified(reference: Reference) -> None:
    report = verify_against(reference.out, str(reference.folder / "train"))
    assert report.equal
    assert report.comparison.of == "pool"


# ---- properties


@dataclass(frozen=True)
class Listed:
    """Rows in blocks of given sizes; a `RowSource`."""

    rows: list[Row]
    sizes: list[int]

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        number = 0
        while start < stop:
            size = min(self.sizes[number % len(self.sizes)], stop - start)
            yield packed(self.rows[start : start + size])
            start, number = start + size, number + 1


def packed(rows: list[Row]) -> Rows:
    return Rows(
        values=np.array([one for row in rows for one in row], np.uint32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
    )


few_rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2), max_size=12)
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@given(st.data(), few_rows, sizes, sizes)
@QUICK
def test_a_comparison_says_what_a_naive_one_does(
    data: st.DataObject, ours: list[Row], our_sizes: list[int], their_sizes: list[int]
) -> None:
    theirs = data.draw(
        st.one_of(
            st.permutations(ours),
            st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2),
                     min_size=len(ours), max_size=len(ours)),
        )
    )  # fmt: skip
    cut = data.draw(st.integers(0, len(ours)))
    parts = [("one", 0, cut), ("two", cut, len(ours))]
    tally = compare_rows(Listed(ours, our_sizes), Listed(theirs, their_sizes), parts, quiet)
    bad = [i for i in range(len(ours)) if ours[i] != theirs[i]]
    assert np.concatenate(tally.differing).tolist() == bad
    assert tally.num_differing == len(bad)
    assert (tally.excess % 2**256 == 0) == (sorted(ours) == sorted(theirs))
    for window, (_, start, stop) in zip(tally.windows, parts, strict=True):
        inside = [i for i in bad if start <= i < stop]
        assert window.num_differing == len(inside)
        assert window.first_difference == (inside[0] if inside else None)
        same = sorted(ours[start:stop]) == sorted(theirs[start:stop])
        assert window.same_multiset == same
    digests = np.concatenate(tally.theirs)
    if bad:
        expected = packed(theirs[bad[0] :])
        assert tally.digests_start == bad[0]
        assert np.array_equal(digests, row_digests(expected.values, expected.offsets))
    else:
        assert len(digests) == 0


@given(st.data(), few_rows, sizes)
@QUICK
def test_rows_that_are_looked_at_first_are_read_all_the_same(
    data: st.DataObject, rows: list[Row], sizes: list[int]
) -> None:
    reader = ForwardReader(rows=Listed(rows, sizes), stop=len(rows))
    places = st.integers(0, len(rows))
    start = 0
    for _ in range(4):
        first, last = sorted((data.draw(places), data.draw(places)))
        assert joined(reader.peek(first, last)) == rows[first:last]
        # Where the last reading ended, or anywhere else.
        start = data.draw(st.sampled_from([start, first, last, 0]))
        stop = data.draw(st.integers(start, len(rows)))
        assert joined(reader.read(start, stop)) == rows[start:stop]
        start = stop


def joined(blocks: Iterable[Rows]) -> list[Row]:
    return [
        block.values[start:stop].tolist()
        for block in blocks
        for start, stop in pairwise(block.offsets.tolist())
    ]


@given(few_rows, sizes, st.integers(0, 12), st.integers(0, 12))
@QUICK
def test_nodes_and_sums_do_not_depend_on_blocks(
    rows: list[Row], sizes: list[int], one: int, other: int
) -> None:
    start, stop = sorted((min(one, len(rows)), min(other, len(rows))))
    made = digest_rows(Listed(rows, sizes), 0, len(rows), [("part", start, stop)], quiet)
    block = packed(rows)
    digests = row_digests(block.values, block.offsets)
    span = LedgerSpan(start_row=0)
    span.add(digests)
    assert made.ledger.describe() == join([span]).describe()
    assert made.multiset_roots == (root_of_multiset(multiset_of(digests[start:stop])),)


# ---- the command


def test_the_command_says_equal_or_not_by_its_exit_code(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    manifest = tmp_path / "order.json"
    told = builds.run_well("digest", finished / "order", "--out", manifest)
    assert told.startswith(f"{manifest}: 2,688 rows, 316,099 tokens, sequence ")
    told = builds.run_well("verify", finished, "--against", manifest, "--steps", "1:65")
    assert told.endswith("rows 848:1,024 are equal\nequal\n")
    assert builds.run_well("diff", finished, manifest).endswith(": nothing differs\n")

    changed = [*rows[:2000], [1, 2, 3], *rows[2001:]]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    done = builds.run("verify", finished, "--against", order, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["equal"], report["differing"]) == (False, [2000])
    done = builds.run("diff", finished, order)
    assert done.returncode == 1
    assert "the first difference is among rows 1,024:2,048" in done.stdout


def test_the_command_says_what_is_not_there_and_what_is_bad(finished: Path, tmp_path: Path) -> None:
    done = builds.run("verify", finished, "--against", finished, "--rows", "5:9000")
    assert done.returncode == 1
    assert "rows 0 to 2,687" in done.stderr
    done = builds.run("verify", finished, "--against", tmp_path / "nothing")
    assert done.returncode == 2
    assert "got nothing known" in done.stderr
    done = builds.run("digest", tmp_path, "--out", tmp_path / "order.json")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_command_verifies_a_remote_order_through_faults(finished: Path, tmp_path: Path) -> None:
    status = {"kind": "status", "headers": {"Retry-After": "0"}}
    faults = [{**status, "status": 429}, {**status, "status": 503, "skip": 2}]
    with serve(finished / "order", faults=faults) as server:
        endpoint = server.endpoint
        told = builds.run_well(
            "verify", finished, "--against", server.where(), HF_ENDPOINT=endpoint
        )
        assert told.endswith("equal\n")
        manifest = tmp_path / "order.json"
        builds.run_well("digest", server.where(), "--out", manifest, HF_ENDPOINT=endpoint)
    assert builds.run_well("verify", finished, "--against", manifest).endswith("equal\n")
