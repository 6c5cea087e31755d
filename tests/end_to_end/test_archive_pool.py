"""A pool that lies as archives of text is made and replayed to the rows of its MDS twin."""

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import builds
from support.archives import member, packed
from support.chunks import Case, clean_up, slices
from support.source_server import Server, serve
from tokenizers import Tokenizer

from pipeline.core.arrays import Uint32Array
from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer import load_tokenizer

CUT = Case(64, 32, 8)
FOLDER = "{}-tokenized-chunked-64-32-8-backfill-nodups"
INPUTS = {"pes2o": ("pes2o_0024", "pes2o_0001"), "a-books.v2": ("books_0002",), "dclm": ("x_1",)}
# As a directory lists them: no rule gives this order.
ORDER = ["pes2o/pes2o_0024", "dclm/x_1", "pes2o/pes2o_0001", "a-books.v2/books_0002"]
LISTED = [FOLDER.format(one) for one in ORDER]
SETTINGS = """\
order: {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 8, max_seq_len: 64%s}
shards: {dtype: uint16, size_limit: 8KiB}
"""
BUILD = ("--out", "out")


def lines_of(documents: Sequence[dict[str, str]], library: Tokenizer) -> bytes:
    """Return the cleaned-up text of each slice of documents, by the library and plain Python."""
    encoded = Rows.pack([encoded_row(library, one["text"]) for one in documents])
    found = [
        {"id": documents[document]["id"], "text": clean_up(library.decode(ids)), "domain": "x"}
        for document, ids in slices(encoded, CUT)[0]
    ]
    return builds.json_lines(found)


def encoded_row(library: Tokenizer, text: str) -> Uint32Array:
    return np.array(library.encode(text).ids, np.uint32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs; `twin`, a build of them in a listed order; and `archives`, with its index."""
    folder = tmp_path_factory.mktemp("made")
    library = Tokenizer.from_str(load_tokenizer("modernbert", add_prefix_space=False).data.decode())
    sources = []
    for source, partitions in INPUTS.items():
        sources.append(f'  {source}: {{from: {{path: "in/{source}/*.jsonl"}}}}\n')
        for name in partitions:
            documents = builds.documents(name, 30, 400)
            path = folder / "in" / source / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(builds.json_lines(documents))
            lines = lines_of(documents, library)
            # One file or two; the first need not end with a line break.
            cut = lines.index(b"\n", len(lines) // 2)
            parts = [lines[:cut], lines[cut + 1 :]] if name == "x_1" else [lines]
            members = [member(f"{name}.{i}.jsonl", part) for i, part in enumerate(parts)]
            archive = folder / "archives" / source / f"{FOLDER.format(name)}.jsonl.tar.gz"
            archive.parent.mkdir(parents=True, exist_ok=True)
            archive.write_bytes(packed(*members))
            archive.with_name(f"{FOLDER.format(name)}.log").write_text("done")
    (folder / "list.txt").write_text("\n".join(LISTED))
    chunk = "{algorithm: ettin-retokenize-v1, size: 64, min_size: 32, skip_below: 8, seed: 42}"
    text = f"name: twin\nchunk: {chunk}\nsources:\n{''.join(sources)}"
    listed = SETTINGS % ", partitions: listed, listing: list.txt"
    builds.write_mixture(folder, text + listed, "twin.yaml")
    builds.run_well("build", "twin.yaml", "--out", "twin", "--workers", "1", cwd=folder)
    shutil.copy(folder / "twin/train/index.json", folder / "archives/index.json")
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the archives, and a replay of them."""
    shutil.copytree(made / "archives", tmp_path / "archives")
    write_replay(tmp_path, "{path: archives}")
    return tmp_path


def write_replay(folder: Path, pool: str, more: str = "") -> None:
    builds.write_mixture(folder, f"name: replayed\npool: {pool}\n{SETTINGS % more}", "replay.yaml")


def order_of(out: Path) -> dict[str, Any]:
    order: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())["order"]
    return order


def provenance_of(out: Path) -> list[dict[str, Any]]:
    [folder] = (out / "provenance").glob("checkpoint_*")
    names = ["source", "document", "chunk", "num_chunks"]
    rows: list[dict[str, Any]] = pq.read_table(folder).select(names).to_pylist()
    return rows


def check_twin(out: Path, twin: Path) -> None:
    """Compare shards, rows in order, ledger, steps and documents with those of the twin."""
    assert builds.digests(out / "train") == builds.digests(twin / "train")
    ours, theirs = (builds.digests(one / "order") for one in (out, twin))
    assert builds.differences(ours, theirs) == ["steps.parquet"], "which names its owner"
    steps = [pq.read_table(one / "order/steps.parquet").to_pylist() for one in (out, twin)]
    assert steps[0] == steps[1]
    for about in ("ledger", "root_sha256", "windows", "num_rows", "num_tokens"):
        assert order_of(out)[about] == order_of(twin)[about]
    assert provenance_of(out) == provenance_of(twin)


def test_archives_replay_to_the_shards_and_the_order_of_their_twin(made: Path, work: Path) -> None:
    told = builds.run_well("lock", "replay.yaml", cwd=work)
    assert "pool: 4 archives of text with an index, whose partitions are made and put in" in told
    told = builds.run_well("plan", "replay.yaml", cwd=work)
    assert "the rows of archives in the order of its own index under" in told
    assert "4 archives of text with an index" in told
    done = builds.run("build", "replay.yaml", *BUILD, "--workers", "1", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "warning: pool" not in done.stderr
    check_twin(work / "out", made / "twin")
    index = json.loads((work / "out/train/index.json").read_bytes())["shards"]
    folders = [one["raw_data"]["basename"].rpartition("/")[0] for one in index]
    assert list(dict.fromkeys(folders)) == LISTED
    for folder in LISTED:
        names = {path.name for path in (work / "out/train" / folder).glob("*.json")}
        assert names == {"index.json", "num_tokens.json"}
    assert len(provenance_of(work / "out")) > 100
    assert any(one["num_chunks"] > 3 for one in provenance_of(work / "out"))
    assert builds.run_well("verify", "out", cwd=work).endswith("every file matches the manifest\n")
    against = builds.run_well("verify", "out", "--against", made / "twin", cwd=work)
    assert against.endswith("equal\n")
    # Rows are traced to archives, and found by their text.
    told = builds.run_well("trace", "out", "--step", "1", cwd=work)
    assert ".jsonl.tar.gz" in told
    row = provenance_of(work / "out")[0]["document"]
    found = json.loads(builds.run_well("trace", "out", "--document", row, "--json", cwd=work))
    assert row in json.dumps(found)
    # What is made is kept.
    before = builds.digests(work / "out")
    builds.run_well("build", "replay.yaml", *BUILD, cwd=work)
    assert builds.digests(work / "out") == before


def test_some_archives_are_made_alone_to_the_shards_of_the_whole(made: Path, work: Path) -> None:
    alone = ("--partitions", f"{LISTED[0]},{LISTED[3]}")
    done = builds.run("build", "replay.yaml", *BUILD, *alone, cwd=work)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        [
            "error: pool: is not locked",
            "hint: lock it first: ettin-data lock MIXTURE",
            "guide: docs/guide/custom-mixture.md#write-a-mixture",
        ],
    )
    builds.run_well("lock", "replay.yaml", cwd=work)
    # The others are not read.
    for name in LISTED[1:3]:
        (work / f"archives/{name}.jsonl.tar.gz").write_bytes(b"no archive")
    told = builds.run_well("build", "replay.yaml", *BUILD, *alone, cwd=work)
    assert "2 partitions alone, without an order" in told
    found = builds.digests(work / "out/train")
    twin = builds.digests(made / "twin/train")
    assert {path.rpartition("/")[0] for path in found} == {LISTED[0], LISTED[3]}
    assert found == {path: twin[path] for path in found}
    assert json.loads((work / "out/partial.json").read_bytes())["differences"] == []
    done = builds.run("build", "replay.yaml", *BUILD, "--partitions", ORDER[0], cwd=work)
    assert done.returncode == 2
    assert f'; did you mean "{LISTED[0].partition("/")[2]}"?' in done.stderr


def test_so_does_the_twin_itself(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "twin/train", tmp_path / "pool")
    # Where there are shards, archives beside them are left alone.
    shutil.copytree(made / "archives/dclm", tmp_path / "pool/dclm", dirs_exist_ok=True)
    write_replay(tmp_path, "{path: pool}")
    told = builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    assert "pool: MDS shards with an index" in told
    builds.run_well("build", "replay.yaml", *BUILD, cwd=tmp_path)
    for about in ("ledger", "root_sha256", "windows"):
        assert order_of(tmp_path / "out")[about] == order_of(made / "twin")[about]
    write_replay(tmp_path, "{path: pool}", ", partitions: listed, listing: pool/index.json")
    done = builds.run("build", "replay.yaml", *BUILD, cwd=tmp_path)
    assert "order.partitions: got listed with a pool of MDS shards" in done.stderr
    done = builds.run("build", "replay.yaml", *BUILD, "--partitions", ORDER[0], cwd=tmp_path)
    assert done.stderr.startswith("error: --partitions: got replayed, a pool of MDS shards, expect")
    assert done.returncode == 2


@pytest.fixture
def hub(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub that serves the archives at the head of one data set, the shards in `train` of one."""
    shutil.copytree(made / "archives", tmp_path / "head")
    shutil.copytree(made / "twin/train", tmp_path / "staged/train")
    shutil.copytree(made / "archives/pes2o", tmp_path / "staged/pes2o")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with serve({"org/head": tmp_path / "head", "org/staged": tmp_path / "staged"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.mark.parametrize("flags", [(), ("--no-keep-raw",)], ids=["kept", "not kept"])
def test_one_file_replays_whatever_the_hub_holds(
    made: Path, tmp_path: Path, hub: Server, flags: tuple[str, ...]
) -> None:
    write_replay(tmp_path, "{hub: org/head}")
    told = json.loads(builds.run_well("lock", "replay.yaml", "--json", cwd=tmp_path))
    assert told["layout"].startswith("4 archives of text with an index")
    assert told["sources"]["pool"]["num_files"] == 5, "no logs"
    builds.run_well("build", "replay.yaml", *BUILD, *flags, cwd=tmp_path)
    check_twin(tmp_path / "out", made / "twin")
    archives = list((tmp_path / "raw").rglob("*.tar.gz"))
    assert len(archives) == (0 if flags else 4)
    if not flags:
        hub.reset()
        builds.run_well("build", "replay.yaml", *BUILD, cwd=tmp_path)
        assert hub.counters()["requests"] == 0
        assert "nothing has changed" in builds.run_well(
            "lock", "replay.yaml", "--check", cwd=tmp_path
        )


def test_shards_on_the_hub_come_before_archives(made: Path, tmp_path: Path, hub: Server) -> None:
    write_replay(tmp_path, "{hub: org/staged}")
    assert "pool: MDS shards with" in builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    builds.run_well("build", "replay.yaml", *BUILD, cwd=tmp_path)
    assert order_of(tmp_path / "out")["ledger"] == order_of(made / "twin")["ledger"]


def test_without_an_index_the_partitions_are_made_and_one_line_says_what_is_lost(
    made: Path, work: Path
) -> None:
    (work / "archives/index.json").unlink()
    expected = (
        "4 archives of text without an index: the order cannot be replayed, and partitions are"
        " sorted by name; compare the rows as a multiset (verify --against), or partitions with"
        " facts (attest), or name a listing (order.partitions, order.listing)"
    )
    assert expected in builds.run_well("lock", "replay.yaml", cwd=work)
    told = builds.run_well("plan", "replay.yaml", cwd=work)
    assert "the rows of archives in the order of its partitions by name under" in told
    assert expected in told
    done = builds.run("build", "replay.yaml", *BUILD, cwd=work)
    assert done.returncode == 0
    assert f"warning: pool: {expected}\n" in done.stderr
    ours, theirs = (builds.digests(one / "train") for one in (work / "out", made / "twin"))
    assert builds.differences(ours, theirs) == ["index.json", "pes2o/index.json"]
    assert order_of(work / "out")["root_sha256"] != order_of(made / "twin")["root_sha256"]
    # The pools have the same rows: as a set, they are compared in any order.
    told = builds.run("verify", "out", "--against", made / "twin/train", cwd=work)
    assert "all rows together are the same, in another order" in told.stdout
    assert f"has the pool's parts in another order: from part 1 on {LISTED[0]}" in told.stdout

    # A listing gives back the order.
    (work / "list.txt").write_text("\n".join(LISTED))
    write_replay(work, "{path: archives}", ", partitions: listed, listing: list.txt")
    done = builds.run("build", "replay.yaml", "--out", "again", cwd=work)
    assert done.returncode == 0
    assert "warning: pool" not in done.stderr
    check_twin(work / "again", made / "twin")


def test_an_index_of_other_rows_is_named(work: Path) -> None:
    path = work / "archives/index.json"
    index = json.loads(path.read_bytes())
    index["shards"][0]["samples"] += 1
    path.write_text(json.dumps(index))
    builds.run_well("lock", "replay.yaml", cwd=work)
    done = builds.run("build", "replay.yaml", *BUILD, cwd=work)
    assert done.returncode == 0
    assert (
        "warning: pool: the archives are not the partitions that index.json was written for, so"
        f" this is not the published order: {LISTED[0]} has " in done.stderr
    )
    assert LISTED[1] not in done.stderr


def test_every_line_is_a_row_whatever_it_says(tmp_path: Path) -> None:
    lines = [("a", "one"), ("a", ""), ("b", "[CLS][SEP]"), ("a", "two"), ("a", "two")]
    data = builds.json_lines({"id": id_, "text": text} for id_, text in lines)
    (tmp_path / "pool/s").mkdir(parents=True)
    for name in ("x", "y"):  # ids recur across archives, too
        (tmp_path / f"pool/s/{name}.jsonl.tar.gz").write_bytes(packed(member("l.jsonl", data)))
    write_replay(tmp_path, "{path: pool}", ", view: stored")
    builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    builds.run_well(
        "build", "replay.yaml", *BUILD, "--set", "order.global_batch_size=10", cwd=tmp_path
    )
    library = Tokenizer.from_str(load_tokenizer("modernbert", add_prefix_space=False).data.decode())
    [folder] = (tmp_path / "out/order").glob("checkpoint_*")
    rows = pq.read_table(folder)["input_ids"].to_pylist()
    expected = [library.encode(text).ids for _, text in lines]
    assert sorted(rows) == sorted(expected * 2)
    assert sorted({len(ids) for ids in expected if ids[1] in (50281, 50282)}) == [2, 4]
    chunks = sorted(
        (one["document"], one["chunk"], one["num_chunks"])
        for one in provenance_of(tmp_path / "out")
    )
    # Neighbours of one id are the chunks of one document.
    assert chunks == sorted([("a", 0, 2), ("a", 1, 2), ("b", 0, 1), ("a", 0, 2), ("a", 1, 2)] * 2)


def _drop_archive(work: Path) -> str:
    (work / f"archives/{LISTED[1]}.jsonl.tar.gz").unlink()
    return f"got {LISTED[1]}, which the mixture does not make"


def _add_archive(work: Path) -> str:
    shutil.copy(
        work / f"archives/{LISTED[1]}.jsonl.tar.gz", work / "archives/dclm/more.jsonl.tar.gz"
    )
    return "got no dclm/more; expected each partition once"


def _cut(work: Path) -> str:
    path = work / f"archives/{LISTED[1]}.jsonl.tar.gz"
    path.write_bytes(path.read_bytes()[:-100])
    return f"{LISTED[1]}.jsonl.tar.gz: broken compressed data"


def _no_text(work: Path) -> str:
    path = work / f"archives/{LISTED[1]}.jsonl.tar.gz"
    path.write_bytes(packed(member("a.jsonl", b'{"id": "a", "text": "b"}\n{"id": "a"}\n')))
    return f'{LISTED[1]}.jsonl.tar.gz: document 2: field "text" is missing among id, expected text'


def _outside(work: Path) -> str:
    path = work / f"archives/{LISTED[1]}.jsonl.tar.gz"
    path.write_bytes(packed(member("../../a.jsonl", b'{"id": "a", "text": "b"}\n')))
    return 'got the member "../../a.jsonl", a name outside the archive\'s folder'


def _deeper(work: Path) -> str:
    (work / "archives/other").mkdir()
    (work / "archives/dclm").rename(work / "archives/other/dclm")
    return "expected all archives as source/name.jsonl.tar.gz in one folder"


def _none(work: Path) -> str:
    for path in (work / "archives").rglob("*.tar.gz"):
        path.unlink()
    return "nor has it archives of text (.jsonl.tar.gz)"


@pytest.mark.parametrize(
    "harm", [_drop_archive, _add_archive, _cut, _no_text, _outside, _deeper, _none]
)
def test_a_pool_that_cannot_be_made_is_one_line(work: Path, harm: Any) -> None:
    expected = harm(work)
    done = builds.run("lock", "replay.yaml", cwd=work)
    if done.returncode == 0:
        done = builds.run("build", "replay.yaml", *BUILD, cwd=work)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (work / "out/manifest.json").exists()
    assert not list(work.rglob("a.jsonl")), "nothing is unpacked"


def test_an_archive_that_changed_after_the_lock_is_refused(work: Path) -> None:
    builds.run_well("lock", "replay.yaml", cwd=work)
    path = work / f"archives/{LISTED[1]}.jsonl.tar.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=0))
    done = builds.run("build", "replay.yaml", *BUILD, cwd=work)
    assert done.returncode == 1
    assert path.name in done.stderr


def test_an_index_that_changed_after_the_lock_is_refused(work: Path) -> None:
    builds.run_well("lock", "replay.yaml", cwd=work)
    path = work / "archives/index.json"
    path.write_bytes(path.read_bytes().replace(b'"version"', b'"virsion"', 1))
    done = builds.run("build", "replay.yaml", *BUILD, cwd=work)
    assert done.returncode == 1
    assert "archives/index.json" in done.stderr
    assert not (work / "out").exists()
