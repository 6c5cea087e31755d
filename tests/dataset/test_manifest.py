"""A manifest is believed only where it is whole and leads nowhere outside the output."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.bundled import manifest_path
from pipeline.core.errors import MismatchError
from pipeline.dataset.manifest import Manifest, manifest_bytes, read_manifest

SAMPLE: Manifest = json.loads(manifest_path("sample").read_bytes())


def _first_partition(manifest: Manifest) -> Manifest:
    partition: Manifest = manifest["sources"]["code"]["partitions"][0]
    return partition


FORGED: dict[str, Callable[[Manifest], object]] = {
    "a task outside": lambda m: _first_partition(m).update(task="../../out"),
    "a folder outside": lambda m: _first_partition(m).update(folder="/etc"),
    "a file outside": lambda m: m["files"].update({"../x": {"bytes": 1, "sha256": "0"}}),
    "a window outside": lambda m: m["order"]["windows"][0].update(folder="order/../../x"),
    "no files": lambda m: m.pop("files"),
    "no mixture": lambda m: m.pop("mixture"),
    "no order key": lambda m: m["order"].pop("key"),
    "no ledger": lambda m: m["order"].pop("ledger"),
    "no rows of a window": lambda m: m["order"]["windows"][1].pop("num_rows"),
    "no id that starts a sequence": lambda m: m["tokenizer"].pop("cls_id"),
    "sizes that are none": lambda m: m["files"]["train/index.json"].update(bytes="1"),
    "sources that are none": lambda m: m.update(sources=[]),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_manifest_that_is_well_signed_and_wrong_is_refused(what: str, tmp_path: Path) -> None:
    forged = copy.deepcopy(SAMPLE)
    FORGED[what](forged)
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest_bytes(forged))
    with pytest.raises(MismatchError, match=r"got a manifest of ettin-data \S+ that lacks what"):
        read_manifest(path)


def test_the_same_manifest_unforged_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest_bytes(SAMPLE))
    assert read_manifest(path) == SAMPLE
