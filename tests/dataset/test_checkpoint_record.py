"""The record of a checkpoint: what is written is read back, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset.checkpoint_record import (
    RECORD,
    CheckpointRecord,
    Clock,
    RecipeRecord,
    Seen,
    check_files,
    read_record,
    write_record,
)

RECORD_OF_TEST = CheckpointRecord(
    name="step12",
    recipe=RecipeRecord(name="small", fingerprint="f" * 64, declaration={"tokens": 12}),
    clock=Clock(num_steps=12, next_row=192, num_tokens=50_000),
    feed={"format": "ettin-feed-v1", "row": 192, "num_rows": 368, "order": "0" * 64},
    seen=Seen(order="0" * 64, since_row=96, multiset_root="1" * 64, tombstones=((0, 3), (7, 9))),
    begun_from=None,
    code={"ettin-data": "1", "torch": "2"},
    files={},
)


def written(folder: Path) -> CheckpointRecord:
    """Write a checkpoint of a single file of weights."""
    (folder / "model.safetensors").write_bytes(b"weights")
    files = {"model.safetensors": FileDigest.of(folder / "model.safetensors")}
    record = replace(RECORD_OF_TEST, files=files)
    write_record(folder, record)
    return record


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    record = written(tmp_path)
    assert read_record(tmp_path) == record
    check_files(tmp_path, record)


def test_a_digest_follows_from_all_that_a_record_says(tmp_path: Path) -> None:
    record = written(tmp_path)
    clock = replace(record.clock, next_row=193)
    others = [
        replace(record, name="step13"),
        replace(record, clock=clock),
        replace(record, seen=replace(record.seen, tombstones=())),
        replace(record, begun_from="2" * 64),
    ]
    assert len({record.digest, *(one.digest for one in others)}) == 5


def test_a_change_of_any_word_is_seen(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / RECORD
    text = path.read_text()
    for old, new in (("192", "193"), ("step12", "step13"), ("null", '"x"'), ("50000", "50001")):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(MismatchError, match=r"checkpoint\.json: is damaged"):
            read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": 1, "format": "ettin-checkpoint-v1"}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(MismatchError, match="is damaged"):
        read_record(tmp_path)


def test_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps({"digest": "x", "format": "ettin-checkpoint-v9"}))
    with pytest.raises(InputError, match="got the format 'ettin-checkpoint-v9', expected") as found:
        read_record(tmp_path)
    assert found.value.hint == "remove it to resume from the checkpoint before, or use another one"


def test_a_folder_without_a_record_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got no checkpoint.json \(No such file"):
        read_record(tmp_path)


def test_a_file_that_is_missing_cut_or_changed_is_named(tmp_path: Path) -> None:
    record = written(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weighty")
    read_record(tmp_path)
    with pytest.raises(MismatchError, match=r"model.safetensors: sha256 is .*checkpoint.json says"):
        check_files(tmp_path, record)
    path.write_bytes(b"weigh")
    with pytest.raises(MismatchError, match=r"got 5 bytes, checkpoint.json says 7 bytes"):
        read_record(tmp_path)
    path.unlink()
    with pytest.raises(MismatchError, match=r"got nothing, checkpoint.json says 7 bytes"):
        read_record(tmp_path)


@pytest.mark.parametrize("key", ["name", "fingerprint", "declaration"])
def test_a_record_without_a_key_of_the_recipe_is_refused(tmp_path: Path, key: str) -> None:
    written(tmp_path)
    content = json.loads((tmp_path / "checkpoint.json").read_bytes())
    del content["recipe"][key]
    (tmp_path / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(MismatchError, match=f"is damaged: .*recipe.*{key}"):
        read_record(tmp_path)
