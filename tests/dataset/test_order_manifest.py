"""The manifest of a published order: what a build's manifest says, made from the rows alone."""

import os
import shutil
from pathlib import Path

import pytest
from support.clusters import Build
from support.order_server import serve
from support.orders import read_rows, write_order

from pipeline.audit.verify.against import verify_against
from pipeline.core.errors import InputError, NotFoundError, OutputError
from pipeline.core.progress import TASKS, Work
from pipeline.dataset.manifest import (
    FileSize,
    Manifest,
    OrderManifest,
    content_of,
    manifest_bytes,
    manifest_windows,
    read_either,
    read_manifest,
)
from pipeline.dataset.order_manifest import (
    digest_order,
    write_order_manifest,
)
from pipeline.dataset.sealed_json import seal


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


def digest(where: Path | str) -> OrderManifest:
    return digest_order(str(where), quiet)


def read_order(path: Path) -> OrderManifest:
    manifest = read_either(path)
    assert isinstance(manifest, OrderManifest)
    return manifest


@pytest.fixture(scope="session")
def built(finished: Path) -> Manifest:
    """The manifest of `finished`."""
    return read_manifest(finished / "manifest.json")


@pytest.fixture(scope="session")
def as_mds(small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> Path:
    """The small mixture with its ordered rows as MDS."""
    return build_here(small, tmp_path_factory.mktemp("mds") / "out", "order.format=mds")


def test_it_says_of_the_rows_what_the_build_said(finished: Path, built: Manifest) -> None:
    order = built.order
    made = digest(finished / "order")
    assert made.ledger == order.ledger
    assert (made.num_rows, made.num_tokens) == (order.num_rows, order.num_tokens)
    assert manifest_windows(made) == manifest_windows(built)
    assert [one.num_tokens for one in made.windows] == [one.num_tokens for one in order.windows]
    assert len(made.windows) == 4
    assert (made.dtype, made.granularity) == ("uint32", "sequence")
    assert (made.commit, made.view) == (None, None)
    paths = sorted((finished / "order").glob("*/*.parquet"))
    assert made.files == {
        f"{path.parent.name}/{path.name}": FileSize(num_bytes=path.stat().st_size) for path in paths
    }


def test_it_does_not_depend_on_row_groups(finished: Path, built: Manifest, tmp_path: Path) -> None:
    # Of 200 rows, so that there are several to a window.
    rows = read_rows(finished / "order")
    made = digest(write_order(tmp_path / "order", rows, [848, 848, 864, 128]))
    assert made.ledger == built.order.ledger
    assert manifest_windows(made) == manifest_windows(built)


def test_of_an_output_it_knows_the_view(finished: Path, built: Manifest) -> None:
    made = digest(finished)
    assert made.view == "encoder"
    assert made.ledger == built.order.ledger


def test_ordered_mds_has_the_ledger_of_the_parquet(as_mds: Path, built: Manifest) -> None:
    for where in (as_mds, as_mds / "order"):
        assert digest(where).ledger == built.order.ledger


def test_the_folders_of_a_pool_are_its_windows(finished: Path, built: Manifest) -> None:
    made = digest(finished / "train")
    assert made.num_rows == built.order.num_samples
    partitions = [one for source in built.sources.values() for one in source.partitions]
    assert {one.folder: one.num_rows for one in made.windows} == {
        one.folder.removeprefix("train/"): one.chunks.drawn for one in partitions
    }


def test_it_is_written_whole_and_read_back(finished: Path, tmp_path: Path) -> None:
    made = digest(finished / "order")
    path = tmp_path / "new" / "order.json"
    write_order_manifest(made, path)
    assert [one.name for one in path.parent.iterdir()] == ["order.json"]
    assert read_either(path) == made
    data = path.read_bytes()
    write_order_manifest(digest(finished / "order"), path)
    assert path.read_bytes() == data


def test_any_changed_byte_is_seen(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    data = manifest_bytes(digest(finished / "order"))
    for place in range(0, len(data), 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(InputError):
            read_either(path)


@pytest.mark.parametrize("key", ["ledger", "windows"])
def test_a_manifest_of_another_version_is_told_by_what_it_lacks(
    finished: Path, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "order.json"
    content = content_of(digest(finished / "order"))
    del content[key]
    path.write_bytes(seal(content))
    with pytest.raises(InputError, match=f"order.json: {key}: got nothing, expected a"):
        read_either(path)


def test_a_folder_is_not_written_over(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(OutputError, match="got a folder"):
        write_order_manifest(digest(finished / "order"), tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("name", ["manifest.json", "shard.00000.mds", "empty"])
def test_what_is_no_manifest_of_an_order_is_not_written_over(
    finished: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "manifest.json":
        shutil.copyfile(finished / name, path)
    elif name != "empty":
        shutil.copyfile(next((finished / "train").rglob(name)), path)
    else:
        path.write_bytes(b"")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is not the manifest of a published order") as caught:
        write_order_manifest(digest(finished / "order"), path)
    assert caught.value.hint
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_what_is_no_file_is_not_written_over(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="is not the manifest of a published order"):
        write_order_manifest(digest(finished / "order"), path)
    assert path.is_fifo()


def test_an_order_is_digested_again_beside_its_manifest(
    finished: Path, built: Manifest, tmp_path: Path
) -> None:
    order = shutil.copytree(finished / "order", tmp_path / "order")
    path = order / "manifest.json"
    write_order_manifest(digest(order), path)
    made = digest(order)
    assert (made.ledger, made.view) == (built.order.ledger, None)
    write_order_manifest(made, path)
    assert read_order(path).ledger == built.order.ledger


def test_progress_is_told(finished: Path) -> None:
    told: list[tuple[int, int]] = []

    def note(stage: str, done: int, total: int, work: Work = TASKS, /) -> None:
        assert (stage, total, work.unit) == ("digest", 2688, "rows")
        told.append((done, work.num_tokens))

    made = digest_order(str(finished / "order"), note)
    assert told[-1] == (2688, made.num_tokens)
    assert told == sorted(told)


def test_a_remote_order_is_pinned_to_its_commit(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(finished / "order") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        status = {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}}
        server.set_faults([status, {"kind": "cut", "bytes": 5000, "skip": 3}])
        made = digest(server.where())
        assert made.commit == server.commit
        assert made.where == server.where()
    local = digest(finished / "order")
    for key in ("ledger", "windows", "files", "num_tokens", "dtype"):
        assert getattr(made, key) == getattr(local, key)


@pytest.mark.parametrize("what", ["nothing", "empty", "text.txt"])
def test_what_has_no_rows_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises((InputError, NotFoundError)):
        digest(tmp_path / what)


def test_an_order_of_several_phases_is_digested_a_phase_at_a_time(
    finished: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(finished / "order", both, ignore=shutil.ignore_patterns("steps.parquet"))
    for folder in sorted((finished / "order").glob("checkpoint_*"))[:2]:
        name = folder.name.replace("checkpoint", "ext")
        shutil.copytree(folder, both / name)
    with pytest.raises(InputError, match=r"several phases \(checkpoint, ext\), expected one"):
        digest_order(str(both), quiet)
    manifest = digest_order(str(both), quiet, phase="checkpoint")
    write_order_manifest(manifest, tmp_path / "checkpoint.json")
    assert verify_against(finished, str(tmp_path / "checkpoint.json")).equal
    with pytest.raises(InputError, match="begins with window 2, expected one from window 1"):
        digest_order(str(finished / "order" / "checkpoint_000002"), quiet)
