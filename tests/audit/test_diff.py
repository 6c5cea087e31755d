"""Diff: what differs between mixtures, manifests, outputs and orders is said and counted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build
from support.orders import read_rows, write_order
from support.paths import REPOSITORY

from pipeline.audit.diff.difference import diff
from pipeline.audit.diff.report import as_json, lines
from pipeline.core.errors import ConfigError, InputError
from pipeline.dataset.mds.writer import index_bytes, merge_indexes
from pipeline.dataset.order_manifest import digest_order, write_order_manifest


@pytest.fixture(scope="session")
def other(small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> Path:
    """An output of another seed, with one document less, and another partition."""
    inputs = shutil.copytree(small.parent, tmp_path_factory.mktemp("other") / "inputs")
    long = inputs / "in" / "long" / "long-0.jsonl"
    long.write_bytes(b"".join(long.read_bytes().splitlines(keepends=True)[:-1]))
    (inputs / "in" / "plain" / "two.txt").rename(inputs / "in" / "plain" / "three.txt")
    return build_here(inputs / small.name, inputs.parent / "out", "order.seed=22")


def test_two_mixtures_differ_by_their_keys(tmp_path: Path) -> None:
    one = builds.write_mixture(tmp_path, builds.MIXTURE, "one.yaml")
    changed = builds.MIXTURE.replace("size: 128", "size: 256").replace(
        "tokens: 9000", "tokens: all"
    )
    changed = changed.replace("  plain:\n    from: {path: in/plain/*.txt}\n", "")
    two = builds.write_mixture(tmp_path, "# A comment.\n" + changed, "two.yaml")
    found = diff(str(one), str(two))
    assert not found.equal
    assert lines(found) == [
        "declaration: chunk.size: 128 -> 256 (+128)",
        "declaration: sources.plain: declared -> nothing",
        "declaration: sources.prose.tokens: 9,000 -> all",
    ]
    assert (found.sources, found.order, found.files) == (None, None, None)
    same = diff(str(one), str(one))
    assert same.equal
    assert lines(same) == [f"{one}, {one}: nothing differs"]


def test_shipped_names_are_known() -> None:
    assert diff("sample", "sample").equal
    manifest = REPOSITORY / "manifests" / "sample.json"
    assert diff("sample", "sample").declaration == ()
    assert manifest.is_file()


def test_a_mixture_is_compared_with_what_was_made_of_it(small: Path, finished: Path) -> None:
    found = diff(str(small), str(finished))
    assert found.equal
    assert found.declaration == ()
    assert found.order is None


@pytest.mark.parametrize("name", ["", "manifest.json"])
def test_two_outputs_differ_in_sources_order_and_files(
    finished: Path, other: Path, name: str
) -> None:
    found = diff(str(finished / name), str(other / name))
    assert not found.equal
    assert found.declaration is not None
    assert [change.key for change in found.declaration] == ["order.seed"]
    assert found.sources is not None
    by_name = {source.name: source for source in found.sources}
    assert set(by_name) == {"long", "plain"}
    changed = {(part.what, part.folder.split("/")[-1].split("-")[0]) for part in
               by_name["plain"].partitions}  # fmt: skip
    assert changed == {("added", "three"), ("removed", "two")}
    counts = {change.key: (change.old, change.new) for change in by_name["long"].counts}
    assert counts["documents.kept"] == (120, 119)
    assert [part.what for part in by_name["long"].partitions] == ["other input"]
    order = found.order
    assert order is not None
    assert (order.same_sequence, order.same_multiset) == (False, False)
    assert order.first_rows == (0, 1024)
    assert order.num_same_windows == 0
    files = found.files
    assert files is not None
    assert files.same > 0
    assert files.changed > 0
    assert files.added == files.removed > 0
    text = lines(found)
    assert "declaration: order.seed: 21 -> 22 (+1)" in text
    assert "source long: documents.kept: 120 -> 119 (-1)" in text
    assert any(line.startswith("source plain: train/plain/three-") for line in text)
    assert any("other rows; the first difference is among rows 0:1,024" in line for line in text)
    json.dumps(as_json(found))


def test_an_output_is_no_different_from_itself(finished: Path) -> None:
    assert diff(str(finished), str(finished / "manifest.json")).equal
    assert diff(str(finished), str(finished / "order")).equal
    window = finished / "order" / "checkpoint_000002"
    [file] = window.iterdir()
    assert diff(str(window), str(file)).equal


def test_two_orders_differ_by_node_and_window(finished: Path, tmp_path: Path) -> None:
    rows = read_rows(finished / "order")
    swapped = [*rows]
    swapped[1500], swapped[1600] = rows[1600], rows[1500]
    order = write_order(tmp_path / "swapped", swapped, [848, 848, 864, 128])
    manifest = tmp_path / "swapped.json"
    write_order_manifest(digest_order(str(order), lambda *one: None), manifest)
    for what in (order, manifest):
        found = diff(str(finished), str(what))
        assert found.order is not None
        assert (found.order.same_sequence, found.order.same_multiset) == (False, True)
        assert found.order.first_rows == (1024, 2048)
        assert found.order.num_same_windows == 4
        assert found.order.other_windows == ()
        assert found.order.counts == ()
        assert lines(found) == [
            "order: the same rows in another order; the first difference is among rows 1,024:2,048"
        ]
    shorter = write_order(tmp_path / "shorter", rows[:2687], [848, 848, 864, 127])
    found = diff(str(finished), str(shorter))
    assert found.order is not None
    assert found.order.first_rows == (2048, 2688)
    assert (found.order.num_same_windows, found.order.other_windows) == (3, ("checkpoint_000004",))
    assert "order: num_rows: 2,688 -> 2,687 (-1)" in lines(found)


def test_folders_of_one_name_in_two_pools_are_told_apart(finished: Path, tmp_path: Path) -> None:
    shards = sorted((finished / "train").glob("long/*/"))[0]
    changed = sorted((finished / "train").glob("notes/*/"))[0]

    def pool(name: str, folders: dict[str, Path]) -> str:
        parts = []
        for folder, origin in folders.items():
            shutil.copytree(origin, tmp_path / name / folder)
            parts.append((folder, json.loads((origin / "index.json").read_bytes())))
        merged = index_bytes(merge_indexes(parts), merged=True)
        (tmp_path / name / "index.json").write_bytes(merged)
        return str(tmp_path / name)

    old = pool("old", {"a/x": shards, "b/x": shards})
    new = pool("new", {"a/x": changed, "b/x": shards})
    order = diff(old, new).order
    assert order is not None
    assert (order.num_same_windows, order.other_windows) == (1, ("a/x",))


def test_windows_of_one_name_are_compared_one_by_one(finished: Path, tmp_path: Path) -> None:
    made = digest_order(str(finished / "order"), lambda *one: None)
    windows = [replace(window, folder="same") for window in made.windows]
    paths = [tmp_path / "one.json", tmp_path / "other.json"]
    write_order_manifest(replace(made, windows=tuple(windows)), paths[0])
    windows[1] = replace(windows[1], multiset_root="00" * 32)
    write_order_manifest(replace(made, windows=tuple(windows)), paths[1])
    order = diff(str(paths[0]), str(paths[1])).order
    assert order is not None
    assert (order.num_same_windows, order.other_windows) == (3, ("same",))


def test_what_tells_nothing_in_common_is_refused(small: Path, finished: Path) -> None:
    with pytest.raises(InputError, match="nothing in common"):
        diff(str(small), str(finished / "order"))


@pytest.mark.parametrize("what", ["nothing", "nothing.json", "nothing.yaml"])
def test_what_is_nothing_known_is_refused(finished: Path, what: str) -> None:
    with pytest.raises((InputError, ConfigError), match="nothing"):
        diff(str(finished), what)
