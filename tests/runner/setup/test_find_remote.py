"""Which sources addresses become, and what of their files is looked at."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from support import own_files
from support.source_server import Server, serve

from pipeline.config import load_mixture
from pipeline.core.errors import ConfigError, InputError, NetworkError
from pipeline.runner.setup.inspect_files import SourceFacts, inspect_group
from pipeline.runner.setup.new_mixture import describe, find_groups
from pipeline.runner.setup.propose_mixture import propose
from pipeline.runner.setup.write_mixture import mixture_text
from pipeline.stages.tokenizer import load_tokenizer
from pipeline.storage.retry import RetryPolicy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Hub with a set of several kinds and a gated one, and a plain host."""
    folder = tmp_path_factory.mktemp("hub")
    for kind in ("parquet", "json.gz", "arrow", "mds", "jsonl.tar.gz", "JSON array", "txt"):
        own_files.write(kind, folder / "set" / kind.replace(" ", "-"))
    (folder / "set" / "README.md").write_text("A card.")
    own_files.write("jsonl", folder / "gated")
    own_files.write("jsonl", folder / "hidden")
    (folder / "large").mkdir()
    rows = [
        {"id": str(n), "text": f"{n} " + "sea fog boat letter " * 200, "meta": {"n": n}}
        for n in range(3000)
    ]
    (folder / "large" / "a.jsonl").write_bytes(own_files.json_lines(rows))
    pa.parquet.write_table(pa.Table.from_pylist(rows), folder / "large" / "a.parquet")
    sets = {f"org/{name}": folder / name for name in ("set", "gated", "hidden", "large")}
    with serve(
        sets, files={"plain": folder / "large"}, gated=["org/gated"], private=["org/hidden"]
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _hub(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def inspected(*addresses: str) -> dict[str, SourceFacts]:
    tokenizer = load_tokenizer("modernbert", add_prefix_space=False)
    groups = find_groups(addresses, Path())[0]
    return {one.name: inspect_group(one, tokenizer, 1024) for one in groups}


def test_each_kind_of_a_set_on_the_hub_is_a_source_and_its_card_is_none() -> None:
    groups, left_out, _ = find_groups(["hf://datasets/org/set"], Path())
    assert {one.name: one.origin.files for one in groups} == {
        "set-arrow": ("arrow/**/*.arrow",),
        "set-jsonl": ("JSON-array/**/*.json", "json.gz/**/*.json.gz"),
        "set-mds": ("mds/**/*.mds",),
        "set-parquet": ("parquet/**/*.parquet",),
        "set-tar": ("jsonl.tar.gz/**/*.jsonl.tar.gz",),
        "set-txt": ("txt/**/*.txt",),
    }
    assert "README.md" in left_out
    facts = inspected("hf://datasets/org/set")
    assert {name: one.num_documents for name, one in facts.items()} == {
        "set-arrow": 12,
        "set-jsonl": 24,
        "set-mds": 12,
        "set-parquet": 12,
        "set-tar": 12,
        "set-txt": 8,
    }
    assert facts["set-parquet"].fields.id == "meta.id"


def test_a_folder_a_glob_and_a_file_of_a_set_are_named() -> None:
    for path, files in (
        ("parquet", ("parquet/**",)),
        ("parquet/*.parquet", ("parquet/*.parquet",)),
        ("parquet/train.parquet", ("parquet/train.parquet",)),
    ):
        (group,) = find_groups([f"hf://datasets/org/set@main/{path}"], Path())[0]
        assert (group.origin.files, group.origin.revision) == (files, "main")
        assert [file.declared for file in group.files] == ["parquet/train.parquet"]


def test_of_large_files_only_the_beginning_is_read(server: Server) -> None:
    server.reset()
    facts = inspected("hf://datasets/org/large")
    assert server.counters()["bytes"] < 4 << 20
    whole = 3000 * 805
    for one in facts.values():
        assert not one.is_whole
        assert 100 < one.num_documents < 3000
        assert 0.9 * whole < one.num_tokens < 1.1 * whole
        assert not one.bad
        assert one.fields.id == "id"


def test_files_at_web_addresses_are_looked_at(server: Server) -> None:
    address = server.url("plain", "a.jsonl") + "?token=hidden"
    (one,) = inspected(address).values()
    assert (one.name, one.fields.text, one.fields.id) == ("a", "text", "id")
    proposal = propose("web", [one])
    # A build needs what is secret in an address; whoever reads what is printed does not.
    mixture = load_mixture(Path("web.yaml"), text=mixture_text(proposal).encode())
    assert mixture.sources[0].origin.url == (address,)
    assert "hidden" not in json.dumps(describe(proposal))


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("hf://datasets/org/gated", InputError, "gated"),
        ("hf://datasets/org/hidden", InputError, "private"),
        ("hf://datasets/org/gone", InputError, "org/gone"),
        ("hf://datasets/org/set/none", InputError, "matches none of"),
        ("hf://datasets/org", InputError, "expected hf://datasets/ORG/NAME"),
        ("hf://datasets/org/set/README.md/x", InputError, "matches none of"),
        ("s3x://bucket/a.jsonl", ConfigError, "s3x"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(
    address: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as raised:
        inspected(address)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value).partition("\nhint: ")[0]


def test_a_hub_that_is_away_is_no_fault_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("pipeline.storage.http.RetryPolicy", partial(RetryPolicy, max_tries=1))
    with pytest.raises(NetworkError, match="org/set"):
        inspected("hf://datasets/org/set")


def test_a_file_that_two_addresses_name_is_refused() -> None:
    whole, part = "hf://datasets/org/set", "hf://datasets/org/set/txt"
    with pytest.raises(InputError) as raised:
        find_groups([whole, part], Path())
    assert raised.value.message.startswith("txt/")
    assert f": got a file that both {whole} and {part} name, expected one" in raised.value.message
