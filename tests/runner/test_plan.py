"""The plan: which files a build reads."""

import gzip
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.planned import MIXTURE, lock, mixture

from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError, InputError
from pipeline.runner import plan as planning
from pipeline.runner.plan import make_plan


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


def test_the_fields_of_the_first_documents_of_a_local_source_are_checked(tmp_path: Path) -> None:
    declared = mixture(tmp_path)
    (tmp_path / "near" / "a.jsonl").write_text('{"key": 1}\n{\n{"id": 1, "body": "a"}\n')
    with pytest.raises(
        InputError, match=r'^near/a\.jsonl: got fields key, id, body, expected "text"'
    ):
        make_plan(declared, None, tmp_path / "raw")
    # One document that has the field is enough: the others may be bad.
    with (tmp_path / "near" / "a.jsonl").open("a") as file:
        file.write('{"id": 2, "text": "a"}\n')
    make_plan(declared, None, tmp_path / "raw")


def test_a_local_file_of_another_kind_is_refused_before_any_work(tmp_path: Path) -> None:
    declared = mixture(tmp_path)
    (tmp_path / "near" / "a.jsonl").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(InputError, match=r"^near/a\.jsonl: got gzip, expected JSON lines"):
        make_plan(declared, None, tmp_path / "raw")


def test_what_is_no_readable_file_stops_a_plan_or_is_listed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = mixture(tmp_path)
    (tmp_path / "near" / "b.jsonl").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"near/b\.jsonl is a link to nowhere"):
        make_plan(planned, None, tmp_path / "raw")
    text = MIXTURE.replace("path: near/*.jsonl", "path: near/*.jsonl, on_missing: skip")
    skipping = load_mixture(tmp_path / "m.yaml", text=text.encode())
    monkeypatch.setattr(planning, "match_files", once := Mock(wraps=planning.match_files))
    assert make_plan(skipping, None, tmp_path / "raw").skipped == [
        "sources.near: left out 1 that are no readable files: near/b.jsonl is a link to nowhere: No"
        " such file or directory"
    ]
    assert once.call_count == 1, "folders may be large"
    assert "on_missing" not in planned.declaration()["sources"]["near"]["from"]
    assert skipping.fingerprint != planned.fingerprint


def test_no_file_of_an_output_is_planned(tmp_path: Path) -> None:
    planned = mixture(tmp_path)
    (tmp_path / "near" / ".ettin").mkdir()
    with pytest.raises(InputError, match=r"sources\.near: near/a\.jsonl is part of .*near"):
        make_plan(planned, None, tmp_path / "raw")
