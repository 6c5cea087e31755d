"""Outputs in stores and on the Hub are no input, but for chunks that are named so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.locks import file, quiet
from support.source_server import serve

from pipeline.config.load import load_config
from pipeline.core.errors import InputError
from pipeline.dataset import paths
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.remote_output import FOLDERS, SIGNS, refuse_remote_output

MIXTURE = """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  s: {from: {FROM, partition: path}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""
FILES = (
    "a.jsonl", "out/manifest.json", "out/dropped/s/a.jsonl.zst", "out/train/s/c/shard.mds",
    "other/manifest.json", "other/train/a.jsonl", "half/.ettin/mixture.json",
    "half/train/s/shard.mds",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data set on the Hub, and in a folder that is read as a store is."""
    for name in FILES:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"{}\n")
    with serve({"org/data": tmp_path / "data"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        yield tmp_path / "data"


def _lock(data: Path, kind: str, pattern: str) -> list[str]:
    origin = f'hub: org/data, files: "{pattern}"'
    if kind == "store":
        origin = f'url: "file://{data}/{pattern}"'
    mixture = load_config(data / "m.yaml", text=MIXTURE.replace("FROM", origin).encode())
    files = make_lock(mixture, quiet).sources["s"].files
    return [file.path.removeprefix(f"file://{data}/") for file in files]


@pytest.mark.parametrize("kind", ["hub", "store"])
@pytest.mark.parametrize(
    ("pattern", "output"),
    [("**/*.zst", "out"), ("out/dropped/**/*.zst", "out"), ("out/**/*.mds", "out"),
     ("half/*/*/*.mds", "half")],
)  # fmt: skip
def test_a_pattern_that_enters_an_output_is_refused(
    data: Path, kind: str, pattern: str, output: str
) -> None:
    with pytest.raises(InputError, match=rf"is part of \S*{output}/, the output of a build\nhint"):
        _lock(data, kind, pattern)


@pytest.mark.parametrize("kind", ["hub", "store"])
@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        ("out/train/**/*.mds", ["out/train/s/c/shard.mds"]),
        ("half/train/s/shard.mds", ["half/train/s/shard.mds"]),
        ("**/*.jsonl", ["a.jsonl", "other/train/a.jsonl"]),
    ],
)
def test_named_chunks_and_folders_of_others_are_read(
    data: Path, kind: str, pattern: str, read: list[str]
) -> None:
    assert _lock(data, kind, pattern) == read


def test_braces_name_chunks_too(data: Path) -> None:
    assert _lock(data, "store", "{out,half}/train/s/**/*.mds") == [
        "half/train/s/shard.mds", "out/train/s/c/shard.mds",
    ]  # fmt: skip


def test_a_bucket_may_be_named_as_a_folder_is() -> None:
    asked: list[str] = []

    def has(path: str) -> bool:
        return asked.append(path) is not None

    files = [file("s3://train/a.mds"), file("s3://order/train/a.mds")]
    refuse_remote_output("sources.s", ["s3://*/**"], files, has)
    assert asked == [f"s3://order/{sign}" for sign in SIGNS]


def test_the_names_are_those_of_an_output() -> None:
    folders = (paths.DROPPED, paths.ORDER, paths.PROVENANCE, paths.TRAIN, paths.STATE)
    state = paths.State(out=Path())
    assert tuple(FOLDERS) == folders
    assert (paths.MANIFEST, state.owner.as_posix(), paths.PARTIAL) == SIGNS
