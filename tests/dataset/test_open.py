"""Orders opened to be fed: the same rows and the same digest wherever they lie."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.clusters import Build
from support.orders import open_rows, read_rows
from support.parquet import CLS, as_lists, made, read, write_phase
from support.parquet import write as write_parquet
from support.places import PLACES, REPO, lying, output, serving, shards
from support.source_server import COMMIT
from support.store_server import serve_store

from pipeline import dataset
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import (
    ConfigError,
    InputError,
    MismatchError,
    NotFoundError,
    PipelineError,
)
from pipeline.dataset import manifest
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.manifest import manifest_bytes
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.rows import CheckedRows, take_with_digests
from pipeline.dataset.sealed_json import seal
from pipeline.feed.factory import make_feed
from pipeline.order import PermutationKey, load_permutation


@pytest.fixture(scope="module")
def as_mds(small: Path, build_here: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the small mixture, its order in shards; not to be changed."""
    return build_here(small, tmp_path_factory.mktemp("mds") / "out", "order.format=mds")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store with an empty bucket `pool`, which the environment names."""
    for name in ("moto", "s3fs"):
        pytest.importorskip(name, reason="a store of that kind is not installed")
    with serve_store(tmp_path_factory.mktemp("store"), "pool"):
        yield


CASES = [
    (kind, place)
    for kind in ("output", "output of shards", "parquet", "window", "file", "shards")
    for place in PLACES
    # At a web host nothing can be listed.
    if not (kind in ("parquet", "window") and place == "web")
    and not (kind in ("window", "file") and place == "s3")
]


@pytest.mark.parametrize(("kind", "place"), CASES)
def test_an_order_is_the_same_wherever_it_lies(
    kind: str,
    place: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "elsewhere" / "order"
    below = ""
    if place == "s3":
        request.getfixturevalue("bucket")
    if kind.startswith("output"):
        finished: Path = request.getfixturevalue("finished")
        built = finished if kind == "output" else request.getfixturevalue("as_mds")
        output(built, folder)
        expected = read_rows(finished / "order")
    elif kind == "shards":
        expected = shards(folder, made(60))
    else:
        expected = write_phase(folder, 2)
        below = {"parquet": "", "window": "/checkpoint_000001"}.get(
            kind, "/checkpoint_000001/steps_000005_to_000008.parquet"
        )
        expected = {"parquet": expected, "window": expected[:36]}.get(kind, expected[12:24])
    here = dataset.open(Path(f"{folder}{below}"))
    with lying(place, folder, monkeypatch) as where:
        order = dataset.open(f"{where}{below}")
        assert order.rows.num_rows == len(expected) > 10
        for asked in (np.arange(0, len(expected), 7), np.arange(5), np.arange(len(expected))):
            assert as_lists(order.rows.take(asked)) == [expected[row] for row in asked.tolist()]
        assert order.digest == here.digest
        assert re.fullmatch("[0-9a-f]{64}", order.digest)
        assert (order.view, order.phase) == (here.view, here.phase)
        assert isinstance(order.rows, CheckedRows) == kind.startswith("output")
        if place == "hub":
            assert COMMIT in order.where
        again = pickle.loads(pickle.dumps(order))
        assert again.digest == order.digest
        assert as_lists(again.rows.take(_numbers([3]))) == [expected[3]]


def test_what_a_manifest_says_is_known_of_an_order(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_bytes())
    order = dataset.open(finished)
    assert order.manifest is not None
    assert json.loads(manifest_bytes(order.manifest)) == manifest
    assert order.digest == manifest["order"]["ledger"]["sequence_root"]
    assert (order.view, order.phase) == ("encoder", "checkpoint")
    assert (order.num_rows_per_step, order.max_seq_len) == (16, 128)
    assert order.tokenizer_digest == manifest["tokenizer"]["sha256"]
    assert order.where == str(finished)
    asked = np.arange(0, order.rows.num_rows, 5)
    plain = dataset.open(finished, checks=False)
    assert not isinstance(plain.rows, CheckedRows)
    for one in (order, plain):
        taken, digests = take_with_digests(one.rows, asked)
        assert np.array_equal(digests, row_digests(taken.values, taken.offsets))


def test_what_was_set_aside_is_an_order_too(small: Path, build_here: Build, tmp_path: Path) -> None:
    out = build_here(small, tmp_path / "out", "validation={fraction: 1/10, seed: 1}")
    order = dataset.open(out / "validation")
    assert order.rows.num_rows > 0
    assert order.manifest is not None
    assert len(order.rows.take(np.arange(order.rows.num_rows))) == order.rows.num_rows


def test_digests_tell_orders_apart(tmp_path: Path) -> None:
    write_phase(tmp_path / "one", 1)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shards(tmp_path / "three", made(40))
    shards(tmp_path / "four", made(41))
    digests = {
        name: dataset.open(tmp_path / name).digest for name in ("one", "two", "three", "four")
    }
    assert digests["one"] == digests["two"]
    assert len(set(digests.values())) == 3
    path = tmp_path / "two" / "checkpoint_000001" / "steps_000009_to_000012.parquet"
    write_parquet(path, made(13), [9, 10, 11, *[12] * 10])
    assert dataset.open(tmp_path / "two").digest != digests["one"]
    # What is lost of a pool changes nothing: a position in it stays one.
    (tmp_path / "three" / "shard.00001.mds").unlink()
    assert dataset.open(tmp_path / "three").digest == digests["three"]


def tampered(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        manifest = json.loads(data)
        change(manifest)
        return seal(manifest)

    return changed


MANIFESTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a letter": (lambda data: data.replace(b"encoder", b"decoder", 1), "is damaged"),
    "cut": (lambda data: data[:-9], "is damaged"),
    "no ledger": (
        tampered(lambda one: one["order"].pop("ledger")),
        "order.ledger: got nothing",
    ),
    "no text": (
        tampered(lambda one: one.update(mixture="x")),
        r'mixture: got "x"',
    ),
    "a file of nothing": (
        tampered(lambda one: one["files"].update({"order/x.parquet": 7})),
        "files.order/x.parquet: got 7, expected an object",
    ),
    "a digest of no letters": (
        tampered(lambda one: one["files"]["order/steps.parquet"].update(sha256=None)),
        "files.order/steps.parquet.sha256: got null, expected text",
    ),
    "files in a list": (
        tampered(lambda one: one.update(files=[])),
        r"files: got \[\], expected an object",
    ),
    "other nodes": (
        tampered(lambda one: one["order"]["ledger"].update(nodes="")),
        "ledger: got 0 bytes of nodes",
    ),
}


def test_a_manifest_is_not_parsed_to_know_whose_it_is(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(manifest, "parse_json")
    assert dataset.open(finished).manifest == manifest.read_manifest(finished / "manifest.json")


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_is_damaged_is_told(finished: Path, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "order"
    output(finished, folder)
    change, said = MANIFESTS[case]
    path = folder / "manifest.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(MismatchError, match=rf"{path}: .*{said}"):
        dataset.open(folder)


@pytest.mark.parametrize("case", [*MANIFESTS, "a format alone"])
def test_a_manifest_far_away_that_is_damaged_is_told_as_on_disk(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    folder = tmp_path / "order"
    output(finished, folder)
    alone = (lambda _: b'{"format": "ettin-manifest-v1"}', "is damaged")
    change, said = (MANIFESTS | {"a format alone": alone})[case]
    path = folder / "manifest.json"
    path.write_bytes(change(path.read_bytes()))
    with lying("memory", folder, monkeypatch) as where, pytest.raises(MismatchError) as caught:
        dataset.open(where)
    assert re.match(rf"memory://pool/order/manifest\.json: .*{said}", caught.value.message)


def a_window_is_gone(path: Path) -> None:
    shutil.rmtree(path.parent)


def it_lacks_a_row(path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def it_is_something_else(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"other": [1]}), path)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda path: os.truncate(path, 200), "cannot be read as parquet"),
    "empty": (lambda path: os.truncate(path, 0), "cannot be read as parquet"),
    "gone": (Path.unlink, "is missing"),
    "the window is gone": (a_window_is_gone, "is missing"),
    "fewer rows": (it_lacks_a_row, "rows, expected .* by the manifest"),
    "no order": (it_is_something_else, "got columns other"),
}


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("case", FILES)
def test_a_file_of_a_build_that_is_damaged_when_it_is_opened_costs_its_own_rows(
    finished: Path, tmp_path: Path, case: str, which: int
) -> None:
    folder = tmp_path / "order"
    expected = output(finished, folder)
    whole = dataset.open(folder)
    path = sorted(folder.glob("order/*/steps_*.parquet"))[which]
    lost = {row for row in range(len(expected)) if whole.file_of(row) == str(path)}
    damage, said = FILES[case]
    damage(path)
    if case == "the window is gone":
        lost = {row for row in range(len(expected)) if path.parent.name in whole.file_of(row)}
    order = dataset.open(folder, checks=False)
    assert (order.rows.num_rows, order.digest) == (len(expected), whole.digest)
    sound = [row for row in range(len(expected)) if row not in lost]
    assert len(sound) > 10 < len(lost)
    for _ in range(2):
        assert as_lists(order.rows.take(_numbers(sound))) == [expected[row] for row in sound]
        for row in (min(lost), max(lost)):
            with pytest.raises(PipelineError, match=f"{path.parent}/.*{said}"):
                order.rows.take(_numbers([row]))
    assert order.file_of(min(lost)).startswith(str(path.parent))
    # A node of the ledger is lost as a whole, and is stood in for.
    with pytest.raises(PipelineError, match=f"{path.parent}/.*{said}"):
        list(make_feed(dataset.open(folder), objective=None, micro_batch_rows=16))
    feed = make_feed(
        dataset.open(folder), objective=None, micro_batch_rows=16, on_damage="tombstone"
    )
    found = {row for batch in feed for row in batch.tombstones.tolist()}
    nodes = {row // 1024 for row in lost}
    assert found == {row for row in range(len(expected)) if row // 1024 in nodes}
    assert len(found) < len(expected)
    assert str(path.parent) in feed.damages[0].why


def test_a_file_far_away_that_the_manifest_names_and_that_is_missing_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "order"
    output(finished, folder)
    path = sorted(folder.glob("order/*/steps_*.parquet"))[-1]
    path.unlink()
    with lying("memory", folder, monkeypatch) as where:
        name = path.relative_to(folder).as_posix()
        with pytest.raises(MismatchError, match=f"by its manifest; missing: {name}"):
            dataset.open(where)


def test_an_order_is_shown_in_a_few_words(finished: Path) -> None:
    order = dataset.open(finished)
    assert len(repr(order)) < 1000 > len(repr(make_feed(order, objective=None, micro_batch_rows=4)))


def test_rows_that_are_not_those_of_the_manifest_are_told(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "order"
    rows = output(finished, folder)
    path = sorted(folder.glob("order/*/steps_*.parquet"))[-1]
    whole = path.read_bytes()
    num_rows = len(read_rows(folder / "order")) - len(rows) + _rows_in(path)
    steps = [1] * num_rows
    last = rows[-num_rows:]
    write_parquet(path, [*last[:-1], [CLS, *last[-1]]], steps)
    checked = dataset.open(folder).rows
    with pytest.raises(MismatchError, match=f"{path}: rows .* are not those of the ledger"):
        checked.take(_numbers([len(rows) - 1]))
    assert as_lists(dataset.open(folder, checks=False).rows.take(_numbers([0]))) == rows[:1]
    write_parquet(path, last[:-1], steps[:-1])
    said = f"{path}: got {num_rows - 1:,} rows, expected {num_rows:,} by the manifest"
    with pytest.raises(MismatchError, match=said):
        dataset.open(folder).rows.take(_numbers([len(rows) - 1]))
    path.write_bytes(whole)
    assert as_lists(dataset.open(folder).rows.take(_numbers([len(rows) - 1]))) == rows[-1:]


def _rows_in(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def test_one_phase_is_fed_of_an_order_that_has_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = write_phase(tmp_path, 1)
    decay = write_phase(tmp_path, 2, phase="decay")
    with serving(tmp_path, monkeypatch):
        for where in (str(tmp_path), f"hf://datasets/{REPO}"):
            with pytest.raises(InputError, match=r"several phases \(checkpoint, decay\), expected"):
                dataset.open(where)
            for phase, expected in (("checkpoint", main), ("decay", decay)):
                order = dataset.open(where, phase=phase)
                assert order.phase == phase
                asked = np.arange(len(expected))
                assert as_lists(order.rows.take(asked)) == expected
            with pytest.raises(NotFoundError, match="got phase 'ext', expected"):
                dataset.open(where, phase="ext")


def test_negative_ids_of_a_published_order_are_those_of_its_type(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "checkpoint_000001" / "steps_000001_to_000100.parquet"
    stored = np.array([CLS, 7, 50_000], np.uint16).view(np.int16).tolist()
    write_parquet(path, [stored] * 3, [1, 1, 2], kind=pa.list_(pa.int16()))
    assert as_lists(dataset.open(tmp_path).rows.take(_numbers([1]))) == [[CLS, 7, 50_000]]


NOWHERE = [
    ("{tmp}/none", InputError, "not found, expected an order"),
    ("{tmp}", InputError, "expected an order: files like"),
    ("nope://bucket/order", ConfigError, "nope://bucket/order: got an address, expected one that"),
    ("memory://nothing/here", InputError, "not found, expected an order or a pool"),
    ("{web}/none", InputError, "got neither manifest.json nor index.json, expected one: web hosts"),
    ("{web}/none.parquet", InputError, "got 404: not found"),
    ("hf://datasets/org/none", InputError, "got 401"),
    ("hf://datasets/org/order/none", InputError, "got 404"),
]


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="s3://nobucket/here: got "):
        dataset.open("s3://nobucket/here")


@pytest.mark.parametrize(("where", "kind", "said"), NOWHERE)
def test_where_there_is_no_order_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    kind: type[PipelineError],
    said: str,
) -> None:
    with serving(tmp_path, monkeypatch) as server:
        where = where.format(tmp=tmp_path, web=server.url("order", "")[:-1])
        with pytest.raises(kind, match=re.escape(said)):
            dataset.open(where)


@pytest.mark.parametrize("algorithm", ["feistel-v1", "ettin-pcg64dxsm-v1"])
def test_a_pool_is_fed_in_an_order_of_its_own(tmp_path: Path, algorithm: str) -> None:
    folder, scratch = tmp_path / "pool", tmp_path / "scratch"
    expected = shards(folder, made(60))
    key = PermutationKey(algorithm=algorithm, num_samples=60, seed=5, epoch=2)
    order = dataset.open_pool(folder, key, scratch)
    assert isinstance(order.rows, MdsRows)
    samples = load_permutation(key, scratch).samples(0, 60).tolist()
    assert as_lists(order.rows.take(np.arange(60))) == [expected[sample] for sample in samples]
    again = pickle.loads(pickle.dumps(order))
    assert as_lists(again.rows.take(_numbers([9]))) == [expected[samples[9]]]
    other = PermutationKey(algorithm=algorithm, num_samples=60, seed=6, epoch=2)
    digests = {dataset.open_pool(folder, one, scratch).digest for one in (key, key, other)}
    assert len(digests | {dataset.open(folder).digest}) == 3
    with pytest.raises(InputError, match="got 60 rows, expected 61 by the key of the order"):
        dataset.open_pool(
            folder, PermutationKey(algorithm=algorithm, num_samples=61, seed=5, epoch=2), scratch
        )


def test_an_order_that_was_changed_is_not_opened_again_elsewhere(tmp_path: Path) -> None:
    shards(tmp_path, made(60))
    sent = pickle.dumps(dataset.open(tmp_path))
    shards(tmp_path, made(61))
    with pytest.raises(MismatchError, match="as in the process that opened it first"):
        pickle.loads(sent)


def _numbers(rows: Sequence[int]) -> Int64Array:
    return np.array(rows, np.int64)


def test_an_output_is_opened_at_its_order(tmp_path: Path) -> None:
    rows = write_phase(tmp_path / "order", 1)
    write_parquet(tmp_path / "order/steps.parquet", made(1), [1])
    assert read(open_rows(tmp_path)) == rows
    assert read(open_rows(str(tmp_path))) == rows


def test_an_order_without_a_step_has_no_rows(tmp_path: Path) -> None:
    write_parquet(tmp_path / "order/steps.parquet", [], [])
    for where in (tmp_path, tmp_path / "order"):
        order = open_rows(where)
        assert isinstance(order, PublishedOrder)
        assert (order.num_rows, order.windows, order.phases, order.files) == (0, (), (), ())
        assert (order.granularity, order.dtype) == ("sequence", "uint32")
        assert read(order) == []
        with pytest.raises(NotFoundError, match="got rows 0 to 1, expected a range within 0 to 0"):
            read(order, 0, 1)
        with pytest.raises(NotFoundError, match="got window 1, an order without any"):
            order.window(1)
        with pytest.raises(NotFoundError, match="got phase 'ext', an order without any"):
            order.phase("ext")


def test_an_order_whose_files_are_gone_is_not_taken_for_one_without_a_step(tmp_path: Path) -> None:
    write_parquet(tmp_path / "order/steps.parquet", made(1), [1])
    with pytest.raises(InputError, match=r"got steps\.parquet, expected an order"):
        open_rows(tmp_path)
    (tmp_path / "order/steps.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"got steps\.parquet, expected an order"):
        open_rows(tmp_path)
