"""Attest: a part of a repository, damaged small files, compressed shards, and the command line."""

import copy
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import zstandard
from support import published_suite as suite
from support.commands import call
from support.source_server import serve

from pipeline.audit.attest import Evidence, Verdict, attest, gather, lines, load_facts
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError
from pipeline.dataset.mds import parse_index

BOOKS = f"train/books/books_0001{suite.SUFFIX}"
HELD = f"validation/dclm/split_7{suite.SUFFIX}"
Made = tuple[Path, list[suite.Fact]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made") / "suite"
    return folder, suite.write_suite(folder)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "suite"))


def verdicts(
    where: Path | str, facts: list[suite.Fact], scratch: Path, repo: str | None = None
) -> list[Verdict]:
    known = load_facts(suite.write_facts(scratch / "facts", facts))
    return [verdict for one in gather(str(where), known, repo) for verdict in attest(one, known)]


def wrong(found: list[Verdict]) -> list[tuple[str, str]]:
    return [(one.fact.path, one.what) for one in found if not one.agrees]


@pytest.fixture
def hub(copied: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    with serve({suite.REPO: copied, "made-up/copy": copied}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        yield f"hf://datasets/{suite.REPO}"


def test_a_folder_with_a_part_of_a_repository_agrees(
    made: Made, copied: Path, tmp_path: Path
) -> None:
    shutil.rmtree(copied / "train" / "pes2o")
    shutil.rmtree(copied / f"train/books/books_0000{suite.SUFFIX}")
    (copied / BOOKS / "index.json").unlink()
    (copied / BOOKS / "shard.00001.mds").unlink()
    found = verdicts(copied, made[1], tmp_path)
    assert wrong(found) == []
    assert (f"{BOOKS}/shard.00000.mds", "digest") in [(one.fact.path, one.what) for one in found]


def test_a_repository_on_the_hub_lists_all_that_lies_below_an_address(
    hub: str, made: Made, copied: Path, tmp_path: Path
) -> None:
    gone = f"train/books/books_0000{suite.SUFFIX}"
    shutil.rmtree(copied / gone)
    (copied / "validation" / "dclm" / f"split_7{suite.SUFFIX}" / "stats.json").unlink()
    whole = wrong(verdicts(hub, made[1], tmp_path))
    assert {path for path, what in whole if what in ("shard", "file")} >= {
        f"{gone}/shard.00000.mds", f"{gone}/num_tokens.json", f"{HELD}/stats.json"
    }  # fmt: skip
    assert ("train/books", "folder") in whole
    assert wrong(verdicts(f"{hub}/train/pes2o", made[1], tmp_path)) == []
    assert wrong(verdicts(f"{hub}/{BOOKS}", made[1], tmp_path)) == []
    below = wrong(verdicts(f"{hub}/validation", made[1], tmp_path))
    assert below == [(f"{HELD}/stats.json", "file")]
    # A copy may hold a part; a proposal may never have been taken.
    copy_of = "hf://datasets/made-up/copy"
    assert wrong(verdicts(copy_of, made[1], tmp_path, suite.REPO)) == []
    proposed = [one | {"revision": "refs/pr/7"} for one in made[1]]
    assert wrong(verdicts(hub, proposed, tmp_path)) == []


def test_an_archive_that_is_gone_from_the_hub_contradicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, archives = tmp_path / "made-up", []
    for number in range(2):
        path = repo / "books" / f"books_000{number}.jsonl.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
        value = {"bytes": 4, "sha256": sha256_bytes(b"1234")}
        archives.append(suite.fact_of(f"books/{path.name}", "sha256", value))
    path.unlink()
    with serve({suite.REPO: repo}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        found = verdicts(f"hf://datasets/{suite.REPO}", archives, tmp_path)
    assert wrong(found) == [("books/books_0001.jsonl.tar.gz", "file")]
    assert wrong(verdicts(repo, archives, tmp_path)) == []


def test_sizes_of_a_lock_are_held_against_published_rows_and_ids(
    made: Made, tmp_path: Path
) -> None:
    """Without an index: ids of 40 bytes are left by the sizes that the list says."""
    facts = load_facts(suite.write_facts(tmp_path / "facts", made[1]))
    sizes = {
        f"{BOOKS}/{path.name}": path.stat().st_size for path in (made[0] / BOOKS).glob("*.mds")
    }
    told = {}
    for more in (0, 200):
        listed = {path: size + more for path, size in sizes.items()}
        evidence = Evidence(where="a.lock.json", repo=suite.REPO, sizes=listed)
        [told[more]] = [
            one for one in attest(evidence, facts) if one.what == "bytes of so many ids"
        ]
    assert (told[0].got, told[0].agrees) == ("39.8 bytes for the id of a document", True)
    assert (told[200].expected, told[200].agrees) == ("40 to 40", False)
    # Of a part of the shards, nothing follows.
    evidence = Evidence(where="a.lock.json", repo=suite.REPO, sizes=dict(list(sizes.items())[:1]))
    assert "bytes of so many ids" not in [one.what for one in attest(evidence, facts)]


DAMAGED = [
    (f"{BOOKS}/index.json", f"{BOOKS}/index.json", text)
    for text in ("", "[]", '{"shards": [{}]}', '{"shards": 7}', '{"shards": {}}', '{"a": NaN}')
] + [
    (f"{BOOKS}/index.json", f"{BOOKS}/num_tokens.json", '{"shards": [{"samples": 1, "raw_data": '
     '{"basename": "shard.00000.mds", "bytes": "many"}}]}'),
    (f"{BOOKS}/num_tokens.json", f"{BOOKS}/num_tokens.json", "[1]"),
    (f"{BOOKS}/num_tokens.json", f"{BOOKS}/num_tokens.json", "null"),
    (f"{BOOKS}/num_tokens.json", f"{BOOKS}/num_tokens.json", "{"),
    (f"{HELD}/stats.json", f"{HELD}/stats.json", "7"),
]  # fmt: skip


def test_one_partition_is_known_by_its_own_name(made: Made, copied: Path, tmp_path: Path) -> None:
    """Though other folders have an index, too."""
    facts = copy.deepcopy(made[1])
    for path in ("validation/index.json", "index.json"):
        facts.append({**facts[0], "path": path, "kind": "size", "value": {"size": "1 Bytes"}})
    for folder in (copied / BOOKS, copied / HELD):
        found = verdicts(folder, facts, tmp_path)
        assert found
        assert wrong(found) == []


@pytest.mark.parametrize(("file", "fact", "text"), DAMAGED)
def test_a_damaged_small_file_contradicts_what_it_is_read_for(
    file: str, fact: str, text: str, made: Made, copied: Path, hub: str, tmp_path: Path
) -> None:
    (copied / file).write_text(text)
    for where in (copied, hub):
        found = [one for one in verdicts(where, made[1], tmp_path) if not one.agrees]
        assert (fact, "content") in [(one.fact.path, one.what) for one in found]
        told = [(one.fact, one.got) for one in found if one.what == "content"]
        assert all(told.count(one) == 1 and "\n" not in str(one[1]) for one in told)
        assert {one.fact.folder for one in found} == {fact.rpartition("/")[0]}


@pytest.mark.parametrize("size", ["many", -1, 10**400, None, True])
def test_the_sizes_of_shards_in_an_index_are_numbers(size: object) -> None:
    entry = {"samples": 1, "raw_data": {"basename": "a.mds", "bytes": size}}
    with pytest.raises(InputError, match="here: is not an index of MDS shards"):
        parse_index(json.dumps({"shards": [entry]}).encode(), "here")


def test_a_server_that_fails_is_no_contradiction(
    made: Made, hub: str, copied: Path, tmp_path: Path
) -> None:
    known = load_facts(suite.write_facts(tmp_path / "facts", made[1]))
    [evidence] = gather(hub, known, None)
    (copied / BOOKS / "index.json").unlink()
    with pytest.raises(InputError, match="404"):
        list(attest(evidence, known))


def test_compressed_shards_are_shards(made: Made, copied: Path, hub: str, tmp_path: Path) -> None:
    for path in (copied / BOOKS).glob("*.mds"):
        path.with_name(f"{path.name}.zstd").write_bytes(zstandard.compress(path.read_bytes()))
        path.unlink()
    agreed = verdicts(copied, made[1], tmp_path)
    assert wrong(agreed) == []
    assert {one.what for one in agreed if one.partition == BOOKS} >= {"digest", "bytes", "ids"}
    # A list says no size of what is compressed.
    assert wrong(verdicts(hub, made[1], tmp_path)) == []
    known = load_facts(tmp_path / "facts")
    [evidence] = gather(str(copied), known, None)
    assert BOOKS in evidence.partitions()
    packed = copied / BOOKS / "shard.00001.mds.zstd"
    data = bytearray(zstandard.decompress(packed.read_bytes()))
    data[-1] ^= 1
    packed.write_bytes(zstandard.compress(bytes(data)))
    assert wrong(verdicts(copied, made[1], tmp_path)) == [(f"{BOOKS}/shard.00001.mds", "digest")]
    packed.write_bytes(b"broken")
    assert (f"{BOOKS}/shard.00001.mds", "content") in wrong(verdicts(copied, made[1], tmp_path))


def test_what_cannot_be_read_is_not_passed_over(
    made: Made, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # As for a folder of somebody else; root may read all.
        def listdir(path: Path) -> list[str]:
            if Path(path).name == Path(BOOKS).name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return [one.name for one in os.scandir(path)]

        patch.setattr("pipeline.storage.local_glob.os.listdir", listdir)
        with pytest.raises(InputError, match=f"{BOOKS}: cannot be read: Permission denied"):
            verdicts(copied, made[1], tmp_path)
    (copied / BOOKS / "shard.00007.mds").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"shard\.00007\.mds: is a link to .*nowhere"):
        verdicts(copied, made[1], tmp_path)


def test_links_to_files_are_followed_and_hidden_folders_are_not(
    made: Made, copied: Path, tmp_path: Path
) -> None:
    shard = copied / BOOKS / "shard.00000.mds"
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    shutil.copytree(copied / BOOKS, copied / ".ettin" / BOOKS)
    known = load_facts(suite.write_facts(tmp_path / "facts", made[1]))
    [evidence] = gather(str(copied), known, None)
    assert len(evidence.partitions()) == 4
    assert wrong(list(attest(evidence, known))) == []


def test_files_too_large_to_read_are_counted_and_each_is_read_once(
    made: Made, copied: Path, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = load_facts(suite.write_facts(tmp_path / "facts", made[1]))
    [evidence] = gather(hub, known, None)
    read: list[str] = []
    fetch = evidence.fetch
    assert fetch is not None
    object.__setattr__(evidence, "fetch", lambda path: read.append(path) or fetch(path))
    assert not any("not read" in line for line in lines(evidence, list(attest(evidence, known))))
    assert f"{BOOKS}/index.json" in read
    assert len(read) == len(set(read))
    monkeypatch.setattr("pipeline.audit.attest.evidence._MOST_READ", 1000)
    [evidence] = gather(str(copied), known, None)
    told = list(lines(evidence, list(attest(evidence, known))))
    large = [path for path in evidence.sizes if path.endswith(".json")
             and evidence.sizes[path] > 1000]  # fmt: skip
    says = f"{len(large)} files were not read for their size, such as {min(large)}"
    assert f"{copied}: {says}" in told


def test_the_sums_are_of_facts_and_a_contradiction_says_its_revision(
    made: Made, copied: Path, hub: str, tmp_path: Path
) -> None:
    facts = [one | {"revision": "5c9f7bfdb042" * 3} for one in copy.deepcopy(made[1])]
    known = load_facts(suite.write_facts(tmp_path / "facts", facts))
    index = json.loads((copied / BOOKS / "index.json").read_bytes())
    for one in index["shards"]:
        one["size_limit"], one["compression"] = 1, None
    (copied / BOOKS / "index.json").write_text(json.dumps(index))
    [evidence] = gather(hub, known, None)
    *told, sums = lines(evidence, list(attest(evidence, known)))
    # The listing knows the size of the index, and the index what it says: two facts.
    assert f": {len(facts) - 2} facts agree, 2 contradict; " in sums
    assert len(told) == 3
    assert all(line.endswith(", of revision 5c9f7bfdb042)") for line in told)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--probe", "--infer", "raw"), "--probe: got --infer too"),
        (("out", "--probe"), "--probe: got out too, expected --as and --max-bytes alone beside"),
        (("out", "--infer", "raw", "--against", "x"), "--infer: got out too, expected --against"),
        (("--infer", "raw", "--against", "x", "--as", "a/b"), "--infer: got --as too"),
        (("--infer", "raw", "--against", "x", "--max-bytes", "1MB"), "--infer: got --max-bytes"),
        (("out", "--against", "x"), "out: got --against too, expected --as alone beside it"),
        (("out", "--max-bytes", "1MB"), "out: got --max-bytes too"),
        (("--probe", "--against", "x"), "--probe: got --against too"),
        (("--against", "x"), "attest: got no place"),
        (
            ("out", "--as", "orionweller/generic_data_v3"),
            "--as orionweller/generic_data_v3: nothing",
        ),
        ((__file__,), f"{__file__}: got a file that is no lock, or a damaged one"),
    ],
)
def test_an_option_of_another_way_to_ask_is_refused(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "attest", *arguments)
    assert (code, out) == (2, "")
    assert f"error: {says}" in err
