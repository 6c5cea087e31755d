"""A manifest's numbers balance to the unit, and agree with the files that it describes."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import builds

from pipeline.core.digest import fingerprint
from pipeline.dataset.mds.pool import Pool

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifest(finished: Path) -> Manifest:
    """The manifest of the small build."""
    content: Manifest = json.loads((finished / "manifest.json").read_bytes())
    return content


def _parts(manifest: Manifest) -> list[tuple[str, dict[str, Any]]]:
    """Return every source and every partition, which count alike."""
    parts = []
    for name, source in manifest["sources"].items():
        parts.append((name, source))
        parts += [(part["folder"], part) for part in source["partitions"]]
    assert len(parts) == 5 + 9
    return parts


def test_documents_in_are_kept_or_dropped_for_a_reason(manifest: Manifest) -> None:
    for name, part in _parts(manifest):
        documents = part["documents"]
        assert documents["in"] == documents["kept"] + sum(documents["dropped"].values()), name
        assert all(count > 0 for count in documents["dropped"].values()), name


def test_tokens_in_and_added_are_written_or_discarded(manifest: Manifest) -> None:
    for name, part in _parts(manifest):
        tokens = part["tokens"]
        assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"], name


def test_sources_are_the_sums_of_their_partitions(manifest: Manifest) -> None:
    for name, source in manifest["sources"].items():
        for about in ("tokens", "chunks"):
            sums: Counter[str] = Counter()
            for part in source["partitions"]:
                sums.update(part[about])
            assert sums == source[about], name
        dropped: Counter[str] = Counter()
        for part in source["partitions"]:
            dropped.update(part["documents"]["dropped"])
        assert dropped == source["documents"]["dropped"]
        for about in ("in", "kept"):
            total = sum(part["documents"][about] for part in source["partitions"])
            assert total == source["documents"][about]


def test_documents_in_are_those_of_the_inputs(manifest: Manifest) -> None:
    counted = {name: source["documents"]["in"] for name, source in manifest["sources"].items()}
    assert counted == {"prose": 154, "notes": 62, "tables": 50, "plain": 2, "long": 120}


def test_what_was_asked_for_is_what_was_drawn(manifest: Manifest) -> None:
    sources = manifest["sources"]
    for name in ("tables", "plain", "long"):
        assert sources[name]["tokens"]["drawn"] == sources[name]["tokens"]["written"]
    assert 9000 <= sources["prose"]["tokens"]["drawn"] < 9000 + 128
    written = sources["notes"]["tokens"]["written"]
    assert 0 <= sources["notes"]["tokens"]["drawn"] - written * 5 // 2 < 128


def test_the_files_hold_the_chunks_and_tokens_drawn(manifest: Manifest, finished: Path) -> None:
    for _, source in manifest["sources"].items():
        for part in source["partitions"]:
            lengths = Pool.open(finished / part["folder"]).lengths()
            assert len(lengths) == part["chunks"]["drawn"]
            assert lengths.sum() == part["tokens"]["drawn"]
    for name, source in manifest["sources"].items():
        lengths = Pool.open(finished / "train" / name).lengths()
        assert lengths.sum() == source["tokens"]["drawn"]
    order = manifest["order"]
    lengths = Pool.open(finished / "train").lengths()
    assert len(lengths) == order["num_samples"] == order["num_rows"] + order["num_rows_dropped"]


def test_documents_in_the_files_are_those_of_the_input(finished: Path) -> None:
    pool = Pool.open(finished / "train" / "long")
    ids = pool.document_ids(np.arange(len(pool.lengths())))
    given = [document["id"] for document in builds.documents("long", 120, 4000)]
    # In the order of the file; those too short for a chunk have none.
    found = list(dict.fromkeys(ids))
    assert found == [id_ for id_ in given if id_ in set(found)]
    assert len(found) > 100


def test_every_file_is_listed_with_its_size_and_digest(
    manifest: Manifest, finished: Path, expected: dict[str, str]
) -> None:
    listed = {path: about["sha256"] for path, about in manifest["files"].items()}
    assert listed == {path: sha for path, sha in expected.items() if path != "manifest.json"}
    for path, about in manifest["files"].items():
        assert (finished / path).stat().st_size == about["bytes"]
    by_partition = [
        path
        for source in manifest["sources"].values()
        for part in source["partitions"]
        for path in part["files"]
    ]
    others = {
        path
        for path in listed
        if re.fullmatch(
            r"order/.*|provenance/(checkpoint|documents).*|train/([a-z]+/)?index\.json", path
        )
    }
    assert len(by_partition) == len(set(by_partition))
    assert {*by_partition, *others} == set(listed)


def test_every_input_is_listed_with_its_size_and_digest(manifest: Manifest, small: Path) -> None:
    inputs = {
        part["input"]["path"]: part["input"]
        for source in manifest["sources"].values()
        for part in source["partitions"]
    }
    found = builds.digests(small.parent / "in")
    assert {f"in/{path}": digest for path, digest in found.items()} == {
        path: about["sha256"] for path, about in inputs.items()
    }
    for path, about in inputs.items():
        assert (small.parent / path).stat().st_size == about["bytes"]


def test_steps_windows_and_rows_agree(manifest: Manifest, finished: Path) -> None:
    order = manifest["order"]
    steps = pq.read_table(finished / "order" / "steps.parquet").to_pydict()
    assert list(steps) == ["step", "start_row", "num_rows", "num_tokens", "sha256"]
    assert steps["step"] == list(range(1, order["num_steps"] + 1))
    assert steps["start_row"] == list(range(0, order["num_rows"], 16))
    assert set(steps["num_rows"]) == {16}
    assert sum(steps["num_tokens"]) == order["num_tokens"]
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in steps["sha256"]))
    assert root.hexdigest() == order["root_sha256"]
    assert sum(window["num_steps"] for window in order["windows"]) == order["num_steps"]
    assert sum(window["num_tokens"] for window in order["windows"]) == order["num_tokens"]
    found = []
    for window in order["windows"]:
        files = sorted((finished / window["folder"]).iterdir())
        labels = [label for file in files for label in pq.read_table(file)["step"].to_pylist()]
        assert labels == [n for n in range(1, window["num_steps"] + 1) for _ in range(16)]
        found += [row for file in files for row in pq.read_table(file)["input_ids"].to_pylist()]
    assert len(found) == order["num_rows"]
    for step in (0, 57, order["num_steps"] - 1):
        rows = found[step * 16 : step * 16 + 16]
        flat = np.array([n for row in rows for n in (len(row), *row)], "<u4")
        assert hashlib.sha256(flat.tobytes()).hexdigest() == steps["sha256"][step]
        assert sum(map(len, rows)) == steps["num_tokens"][step]


def test_no_place_time_or_host_is_in_a_manifest(
    manifest: Manifest, finished: Path, small: Path
) -> None:
    text = (finished / "manifest.json").read_text()
    for hidden in (str(finished), str(small.parent), str(Path.home()), "/tmp", "localhost"):
        assert f'"{hidden}' not in text
        assert hidden == str(Path.home()) or hidden not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)
    assert "seconds" not in text
    content = {key: value for key, value in manifest.items() if key != "digest"}
    assert manifest["digest"] == fingerprint(content)
    assert manifest["mixture"]["fingerprint"] == fingerprint(manifest["mixture"]["declaration"])
