"""Outputs without a pool, or with one too large: equal rows are equal, no cause is guessed."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from support import builds
from support.orders import Row, write_order
from support.verified import AS_FINISHED, EQUAL, NUM_ROWS, WINDOWS, digested, verdicts

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.report import lines
from pipeline.core.errors import InputError
from pipeline.dataset.sealed_json import seal


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
    builds.run_well("order", finished / "train", "--out", decoder, *flags)
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


@pytest.mark.parametrize("name", ["phase", "order"])
def test_a_manifest_that_lacks_what_is_read_is_refused(
    name: str, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    content = json.loads((out / "manifest.json").read_bytes())
    del content["mixture"]["declaration"][name]
    (out / "manifest.json").write_bytes(seal(content))
    with pytest.raises(InputError, match=f"lacks what this version reads: '{name}'"):
        verify_against(out, str(finished))
