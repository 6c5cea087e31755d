"""Attest: a made-up suite agrees with its facts, and every planted contradiction is named."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import published_suite as suite
from support.commands import call
from support.source_server import serve

from pipeline.audit.attest import Verdict, attest, gather, load_facts
from pipeline.audit.attest.facts import rounded_size
from pipeline.stages.tokenizer import read_json

BOOKS = f"train/books/books_0001{suite.SUFFIX}"
OTHER = f"train/books/books_0000{suite.SUFFIX}"
HELD = f"validation/dclm/split_7{suite.SUFFIX}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[suite.Fact]]:
    folder = tmp_path_factory.mktemp("made") / "suite"
    return folder, suite.write_suite(folder)


def verdicts(
    where: Path | str, facts: list[suite.Fact], scratch: Path, **more: Any
) -> list[Verdict]:
    known = load_facts(suite.write_facts(scratch / "facts", facts))
    [evidence] = gather(str(where), known, more.get("repo"))
    return list(attest(evidence, known))


def test_a_suite_agrees_with_its_facts_by_every_kind(
    made: tuple[Path, list[suite.Fact]], tmp_path: Path
) -> None:
    folder, facts = made
    found = verdicts(folder, facts, tmp_path)
    assert [one for one in found if not one.agrees] == []
    assert {one.fact.kind for one in found} == {one["kind"] for one in facts}
    assert {"digest", "ids", "ids up to 1,024 a row", "percentiles", "shards"} <= {
        one.what for one in found
    }
    assert {one.fact.path for one in found} >= {
        one["path"] for one in facts if one["path"] != "train/books"
    }


@pytest.mark.parametrize("below", ["train", BOOKS, "train/books"])
def test_a_part_of_it_is_found_in_its_place(
    made: tuple[Path, list[suite.Fact]], tmp_path: Path, below: str
) -> None:
    folder, facts = made
    found = verdicts(folder / below, facts, tmp_path)
    assert found
    assert all(one.agrees for one in found)
    assert any(one.partition == BOOKS and one.what == "digest" for one in found)


def edit_json(path: str, change: Callable[[Any], None]) -> Callable[[Path, list[suite.Fact]], None]:
    def apply(folder: Path, facts: list[suite.Fact]) -> None:
        content = json.loads((folder / path).read_text())
        change(content)
        (folder / path).write_text(json.dumps(content))

    return apply


def edit_fact(
    path: str, kind: str, change: Callable[[Any], None]
) -> Callable[[Path, list[suite.Fact]], None]:
    def apply(folder: Path, facts: list[suite.Fact]) -> None:
        [fact] = [one for one in facts if (one["path"], one["kind"]) == (path, kind)]
        change(fact["value"])

    return apply


def flip(folder: Path, facts: list[suite.Fact]) -> None:
    path = folder / BOOKS / "shard.00000.mds"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def rewrite(**about: Any) -> Callable[[Path, list[suite.Fact]], None]:
    def apply(folder: Path, facts: list[suite.Fact]) -> None:
        shutil.rmtree(folder / BOOKS)
        rows = suite.rows_of(
            seed=6, num_rows=about.pop("num_rows", 90), id_form=suite.ID_FORMS["books"]
        )
        if about.pop("cut", False):
            rows = [(id_, ids[:1024]) for id_, ids in rows]
        if about.pop("short", False):
            rows = [(id_[:20], ids) for id_, ids in rows]
        suite.write_shards(folder / BOOKS, rows, **about)

    return apply


def remove(path: str) -> Callable[[Path, list[suite.Fact]], None]:
    return lambda folder, facts: (folder / path).unlink()


def swap(index: Any) -> None:
    index["shards"] = index["shards"][-2:] + index["shards"][:-2]


PLANTED = {
    "a byte": (flip, f"{BOOKS}/shard.00000.mds", "digest"),
    "a header that says nothing": (rewrite(compression=None), f"{BOOKS}/shard.00000.mds", "digest"),
    "the compression": (rewrite(compression=None), f"{BOOKS}/index.json", "compression"),
    "rows that are not tokenized again": (
        rewrite(cut=True), f"{BOOKS}/num_tokens.json", "ids"
    ),
    "ids of documents": (rewrite(short=True), f"{BOOKS}/shard.00000.mds", "bytes"),
    "a row less": (rewrite(num_rows=89), f"{BOOKS}/index.json", "rows of shard.00002.mds"),
    "shards less": (rewrite(num_rows=40), f"{BOOKS}/index.json", "shards"),
    "a shard missing": (remove(f"{BOOKS}/shard.00001.mds"), f"{BOOKS}/shard.00001.mds", "shard"),
    "the type of ids": (
        edit_json(f"{BOOKS}/index.json", lambda index: index["shards"][0].update(
            column_encodings=["str", "ndarray:uint32"])),
        f"{BOOKS}/index.json", "column_encodings",
    ),
    "the limit of shards": (
        edit_json(f"{BOOKS}/index.json", lambda index: index["shards"][0].update(size_limit=1)),
        f"{BOOKS}/index.json", "size_limit",
    ),
    "the file of counts": (
        edit_json(f"{BOOKS}/num_tokens.json", lambda told: told.update(num_tokens=5)),
        f"{BOOKS}/num_tokens.json", "num_tokens.json",
    ),
    "counted ids": (
        edit_fact(f"{BOOKS}/num_tokens.json", "num_tokens",
                  lambda v: v.update(num_tokens=v["num_tokens"] + 1)),
        f"{BOOKS}/num_tokens.json", "ids",
    ),
    "counts of the chunker beside those of the tokenizer": (
        lambda folder, facts: shutil.copy(folder / HELD / "stats.json", folder / BOOKS) and None,
        f"{BOOKS}/num_tokens.json", "layout",
    ),
    "counts of the tokenizer beside those of the chunker": (
        lambda folder, facts: shutil.copy(folder / BOOKS / "num_tokens.json", folder / HELD)
        and None,
        f"{HELD}/stats.json", "layout",
    ),
    "counted ids up to 1,024": (
        edit_fact(f"{BOOKS}/num_tokens.json", "num_tokens",
                  lambda v: v.update(num_truncated_tokens=1)),
        f"{BOOKS}/num_tokens.json", "ids up to 1,024 a row",
    ),
    "the order of partitions": (
        edit_json("train/books/index.json", swap), "train/books/index.json", "order of shards"
    ),
    "percentiles": (
        edit_json(f"{HELD}/stats.json", lambda told: told["percentiles"].update({"100th": 1026})),
        f"{HELD}/stats.json", "percentiles",
    ),
    "discarded ids": (
        edit_json(f"{HELD}/stats.json", lambda told: told.update(total_tokens_skipped=0)),
        f"{HELD}/stats.json", "total_tokens_skipped",
    ),
    "rows of the first shards": (
        edit_fact(HELD, "index", lambda value: value.update(samples_total=3)),
        HELD, "rows of the first 1 shards",
    ),
    "a rounded size": (
        lambda folder, facts: (folder / BOOKS / "index.json").write_text(
            (folder / BOOKS / "index.json").read_text() + " " * 99) and None,
        BOOKS, "bytes of index.json",
    ),
    "a listed shard": (
        edit_fact(BOOKS, "listing", lambda value: value["files"].update(
            {"shard.00009.mds": "1.2 kB"})),
        BOOKS, "shard shard.00009.mds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_contradiction_is_named_by_its_fact(
    name: str, made: tuple[Path, list[suite.Fact]], tmp_path: Path
) -> None:
    folder = tmp_path / "suite"
    shutil.copytree(made[0], folder)
    facts = copy.deepcopy(made[1])
    plant, path, what = PLANTED[name]
    plant(folder, facts)
    wrong = [one for one in verdicts(folder, facts, tmp_path) if not one.agrees]
    assert (path, what) in [(one.fact.path, one.what) for one in wrong]
    assert {one.partition for one in wrong} <= {BOOKS, HELD, "train/books"}


def test_a_data_set_on_the_hub_is_compared_by_lists_and_small_files(
    made: tuple[Path, list[suite.Fact]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, facts = made
    with serve({suite.REPO: folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        address = f"hf://datasets/{suite.REPO}"
        found = verdicts(address, facts, tmp_path)
        assert all(one.agrees for one in found)
        assert {one.what for one in found} >= {"digest", "num_tokens.json", "percentiles"}
        assert {one.what for one in found} >= {"bytes of so many ids"}
        below = verdicts(f"{address}/train/books", facts, tmp_path)
        assert {one.partition for one in below} == {BOOKS, OTHER, "train/books"}
        assert all(one.agrees for one in below)
        renamed = [one | {"path": one["path"].replace("books_0000", "books_0007")} for one in facts]
        for fact in renamed:
            if fact["path"] == "train/books" and fact["kind"] == "listing":
                fact["value"] = {"files": {"dirs": ["books_0000", "books_0099"]}}
        wrong = [one for one in verdicts(address, renamed, tmp_path) if not one.agrees]
        assert ("train/books", "folder", "books_0099") in [
            (one.fact.path, one.what, one.expected) for one in wrong
        ]


def test_a_lock_is_compared_without_any_data(
    made: tuple[Path, list[suite.Fact]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, facts = made
    with serve({suite.REPO: folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.chdir(tmp_path)
        mixture = tmp_path / "m.yaml"
        mixture.write_text(
            "name: m\nchunk: {size: 64}\n"
            f"sources: {{books: {{from: {{hub: {suite.REPO}, files: 'train/**/*.mds'"
            ", text: input_ids, id: null, partition: path, decode: {tokenizer: t.json}}}}\n"
            "order: {seed: 1, global_batch_size: 8, max_seq_len: 64}\n"
        )
        (tmp_path / "t.json").write_bytes(read_json("modernbert"))
        assert call(capsys, "lock", mixture)[0] == 0
    lock = tmp_path / "manifests" / "m.lock.json"
    found = verdicts(lock, facts, tmp_path)
    assert {one.what for one in found} >= {"digest", "bytes"}
    assert all(one.agrees for one in found)


def test_sizes_of_pages_agree_within_their_last_digit() -> None:
    assert rounded_size("16.3 kB") == (16_200, 16_400)
    assert rounded_size("67.1 MB") == (67_000_000, 67_200_000)
    assert rounded_size("413 Bytes") == (413, 413)
    assert rounded_size("66 or 68 Bytes") is None


def test_the_command_prints_a_table_and_exits_1_on_a_contradiction(
    made: tuple[Path, list[suite.Fact]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, facts = made
    known = load_facts(suite.write_facts(tmp_path / "facts", facts))
    monkeypatch.setattr("pipeline.audit.attest.load_facts", lambda: known)
    code, out, err = call(capsys, "attest", folder)
    assert (code, err) == (0, "")
    assert f"as {suite.REPO}: " in out
    assert " 0 contradict; of 0 of 4 partitions nothing is known" in out
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    flip(broken, [])
    code, out, _ = call(capsys, "attest", broken)
    assert code == 1
    assert f"contradicts: {suite.REPO}/{BOOKS}/shard.00000.mds: digest: got " in out
    code, out, _ = call(capsys, "attest", broken, "--json")
    [told] = json.loads(out)
    assert not told["agrees"]
    assert [one["what"] for one in told["verdicts"] if not one["agrees"]] == ["digest"]
    for where, message in (("nowhere", "not found"), (tmp_path / "facts", "neither shards nor")):
        code, _, err = call(capsys, "attest", where)
        assert code == 2
        assert message in err
