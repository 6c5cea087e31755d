"""Attest: every published layout agrees with facts made for it, on the Hub and on disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import published_layouts as layouts
from support import published_suite
from support.commands import call
from support.source_server import serve

from pipeline.audit.attest import Verdict, attest, gather, load_facts
from pipeline.stages.tokenizer import read_json

REPOS = (layouts.STAGING, layouts.PRETRAINING, layouts.EXTENSION)
ARCHIVE = f"books/books_0001{layouts.SUFFIX}.jsonl.tar.gz"
SHARD = f"{layouts.BOOKS}/shard.00000.mds"
Plant = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[layouts.Suite, dict[str, tuple[layouts.Fact, ...]]]:
    folder = tmp_path_factory.mktemp("layouts")
    suite = layouts.write_suite(folder / "suite", read_json("modernbert"))
    facts = published_suite.write_facts(folder / "facts", layouts.facts_of(suite))
    return suite, load_facts(facts)


Made = tuple[layouts.Suite, dict[str, tuple[layouts.Fact, ...]]]


def verdicts(where: str | Path, made: Made, repo: str | None = None) -> list[Verdict]:
    [evidence] = gather(str(where), made[1], repo)
    return list(attest(evidence, made[1]))


@pytest.mark.parametrize("repo", REPOS)
def test_a_layout_agrees_on_the_hub_and_on_disk(
    repo: str, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made[0].repos[repo]
    kinds = {one.kind for one in made[1][repo]}
    with serve({repo: folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        afar = verdicts(f"hf://datasets/{repo}", made)
        assert not server.log(".mds")
        assert not server.log(".tar.gz")
    here = verdicts(folder, made)
    assert [one for one in (*afar, *here) if not one.agrees] == []
    assert {one.fact.kind for one in here} == kinds
    assert {one.fact.kind for one in afar} == kinds
    assert {one.what for one in afar} >= {"digest", "bytes"}


def edit(path: str, change: Callable[[bytes], bytes]) -> Plant:
    return lambda root: (root / path).write_bytes(change((root / path).read_bytes())) and None


def totals(data: bytes) -> bytes:
    stats = json.loads(data)
    return json.dumps(stats | {"total_tokens_written": 7}).encode()


def truncated(data: bytes) -> bytes:
    counts = json.loads(data)
    return json.dumps(counts | {"num_truncated_tokens": counts["num_tokens"]}).encode()


def more_shards(data: bytes) -> bytes:
    index = json.loads(data)
    return json.dumps(index | {"shards": index["shards"] * 2}).encode()


def other_rows(**way: object) -> Plant:
    """Make the extension again in another way, under the facts of the right one."""

    def plant(root: Path) -> None:
        suite = layouts.write_suite(root.parent / "other", read_json("modernbert"), **way)
        shutil.rmtree(root)
        shutil.move(suite.repos[layouts.EXTENSION], root)

    return plant


EXTENSION, STAGING, HEAD = layouts.EXTENSION, layouts.STAGING, layouts.PRETRAINING
PLANTED: dict[str, tuple[str, Plant, str, str]] = {
    "a byte of an archive": (
        HEAD, edit(ARCHIVE, lambda data: data[:-1] + b"?"), ARCHIVE, "digest"
    ),
    "an archive cut off": (HEAD, edit(ARCHIVE, lambda data: data[:-9]), ARCHIVE, "bytes"),
    "the size of a log": (
        HEAD, edit(ARCHIVE.replace("jsonl.tar.gz", "log"), lambda data: data * 9), "books",
        f"bytes of books_0001{layouts.SUFFIX}.log",
    ),
    "a shard of the extension missing": (
        EXTENSION, lambda root: (root / SHARD).unlink(), SHARD, "shard"
    ),
    "totals": (
        EXTENSION, edit(f"{layouts.EXCHANGE}/stats.json", totals),
        f"{layouts.EXCHANGE}/stats.json", "total_tokens_written",
    ),
    "a shard more": (
        EXTENSION, edit(f"{layouts.BOOKS}/index.json", more_shards),
        f"{layouts.BOOKS}/index.json", "shards",
    ),
    "truncated ids": (
        STAGING, edit(f"{layouts.SPLIT}/num_tokens.json", truncated),
        f"{layouts.SPLIT}/num_tokens.json", "num_tokens.json",
    ),
    "rows of wide ids": (
        EXTENSION, other_rows(dtype="uint32"), f"{layouts.BOOKS}/index.json", "column_encodings"
    ),
    "a header that says nothing": (EXTENSION, other_rows(compression=None), SHARD, "digest"),
    "rows in file order": (EXTENSION, other_rows(longest_first=False), SHARD, "digest"),
    "pieces of 7,998": (
        EXTENSION, other_rows(extension="slice-1"), f"{layouts.EXCHANGE}/stats.json",
        "percentiles",
    ),
    "rows tokenized again": (
        EXTENSION, other_rows(extension="retokenize"), f"{layouts.EXCHANGE}/stats.json",
        "percentiles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_contradiction_in_another_layout_is_named_by_its_fact(
    name: str, made: Made, tmp_path: Path
) -> None:
    repo, plant, path, what = PLANTED[name]
    folder = tmp_path / repo
    shutil.copytree(made[0].repos[repo], folder)
    plant(folder)
    wrong = [one for one in verdicts(folder, made, repo) if not one.agrees]
    assert (path, what) in [(one.fact.path, one.what) for one in wrong]
    others = [one for one in made[1][repo] if one not in [verdict.fact for verdict in wrong]]
    assert others
    assert all(one.fact.revision == "main" for one in wrong)


def test_a_gated_data_set_takes_one_line(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(made[0].repos, gated=[layouts.ORDER], private=[EXTENSION]) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.setenv("HF_HOME", "/nowhere")
        code, out, err = call(capsys, "attest", f"hf://datasets/{EXTENSION}")
        assert (code, out) == (2, "")
        assert f"error: hf://datasets/{EXTENSION}@main: got 401 (Invalid username" in err
        # Sizes and digests of a gated data set are listed to all.
        found = verdicts(f"hf://datasets/{layouts.ORDER}", made)
        assert {one.what for one in found if one.agrees} == {"bytes", "digest"}
