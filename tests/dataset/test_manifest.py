"""A manifest is believed only where it is whole and leads nowhere outside the output."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.bundled import manifest_path
from pipeline.core.errors import MismatchError
from pipeline.dataset.manifest import manifest_bytes, read_manifest
from pipeline.dataset.sealed_json import seal

Json = dict[str, Any]
SAMPLE: Json = json.loads(manifest_path("sample").read_bytes())


def _first_partition(manifest: Json) -> Json:
    partition: Json = manifest["sources"]["code"]["partitions"][0]
    return partition


FORGED: dict[str, tuple[Callable[[Json], object], str]] = {
    "a task outside": (
        lambda m: _first_partition(m).update(task="../../out"),
        "got the path '../../out', expected one inside the output",
    ),
    "a folder outside": (
        lambda m: _first_partition(m).update(folder="/etc"),
        "got the path '/etc'",
    ),
    "a file outside": (
        lambda m: m["files"].update({"../x": {"bytes": 1, "sha256": "0"}}),
        "got the path '../x'",
    ),
    "a window outside": (
        lambda m: m["order"]["windows"][0].update(folder="order/../../x"),
        "got the path 'order/../../x'",
    ),
    "a partition of files that it does not list": (
        lambda m: m["files"].pop(_first_partition(m)["files"][0]),
        "files: got no provenance/.*, which a partition names",
    ),
    "inputs of more chunks than their partition": (
        lambda m: _first_partition(m).update(more_inputs=[_first_partition(m)["input"]]),
        "code_0000: got inputs of other chunks than its ",
    ),
    "no files": (lambda m: m.pop("files"), "files: got nothing, expected an object"),
    "no mixture": (lambda m: m.pop("mixture"), "mixture: got nothing, expected an object"),
    "no order key": (lambda m: m["order"].pop("key"), "order.key: got nothing, expected text"),
    "no ledger": (lambda m: m["order"].pop("ledger"), "order.ledger: got nothing"),
    "no rows of a window": (
        lambda m: m["order"]["windows"][1].pop("num_rows"),
        r"order.windows\[1\].num_rows: got nothing, expected an integer",
    ),
    "other rows of a window": (
        lambda m: m["order"]["windows"][1].update(num_rows=7),
        "order.windows: got other rows than the 368 of the ledger",
    ),
    "no id that starts a sequence": (
        lambda m: m["tokenizer"].pop("cls_id"),
        "tokenizer.cls_id: got nothing, expected an integer",
    ),
    "sizes that are none": (
        lambda m: m["files"]["train/index.json"].update(bytes="1"),
        'files.train/index.json.bytes: got "1", expected an integer',
    ),
    "a flag for a number": (
        lambda m: m["order"].update(epoch=False),
        "order.epoch: got false, expected an integer",
    ),
    "sources that are none": (lambda m: m.update(sources=[]), r"sources: got \[\], expected"),
    "no such view": (
        lambda m: m["order"].update(view="odd"),
        'order.view: got "odd", expected "stored" or "encoder" or "decoder"',
    ),
    "an unknown key": (
        lambda m: _first_partition(m).update(more=1),
        r"sources.code.partitions\[0\].more: got an unknown key, expected task or key or folder",
    ),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_manifest_that_is_well_signed_and_wrong_is_refused(what: str, tmp_path: Path) -> None:
    forged = copy.deepcopy(SAMPLE)
    change, said = FORGED[what]
    change(forged)
    path = tmp_path / "manifest.json"
    path.write_bytes(seal(forged))
    with pytest.raises(MismatchError, match=rf"manifest\.json: {said}") as caught:
        read_manifest(path)
    assert re.match(r"it was written by ettin-data \S+: make it again", caught.value.hint or "")


def test_the_same_manifest_unforged_is_read_and_written_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(seal(SAMPLE))
    assert manifest_bytes(read_manifest(path)) == manifest_path("sample").read_bytes()


def test_a_step_of_a_miniature_has_no_more_rows_than_there_are() -> None:
    manifest = read_manifest(manifest_path("sample"))
    rows = manifest.order.num_samples
    for scale, batch, expected in (("1/1", 10**6, 10**6), ("1/9", 10**6, rows), ("1/9", 2, 2)):
        declared = {**manifest.mixture.declaration, "scale": scale}
        declared["order"] = {**declared["order"], "global_batch_size": batch}
        mixture = replace(manifest.mixture, declaration=declared)
        assert replace(manifest, mixture=mixture).num_rows_per_step == expected


def test_what_is_no_manifest_is_said_by_name(tmp_path: Path) -> None:
    mixture, other, record = tmp_path / "m.yaml", tmp_path / "m.txt", tmp_path / "record.json"
    for path in (mixture, other):
        path.write_text("name: m\n")
    record.write_text("[]")
    for path, message in (
        (mixture, "m.yaml: is a mixture file, expected a manifest"),
        (mixture / "manifest.json", "m.yaml: is a mixture file, expected the output of a build"),
        (other / "manifest.json", "m.txt: is a file, expected the output of a build"),
        (record, "record.json: got JSON without a format, expected ettin-manifest-v1 or "),
    ):
        with pytest.raises(MismatchError) as raised:
            read_manifest(path)
        assert message in raised.value.message
