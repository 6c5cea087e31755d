"""Output as input: what a build has written is no document, except chunks that are named so."""

import json
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.runner.output_as_input import refuse_output
from pipeline.sources import list_files


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a file of documents and the output of a build."""
    folder = tmp_path / "data"
    for name in (
        "a.jsonl",
        "out/dropped/s/a.jsonl",
        "out/train/s/c/shard.mds",
        "out/validation/train/s/c/shard.mds",
        "out/order/0/shard.mds",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for manifest in ("out/manifest.json", "out/validation/manifest.json"):
        (folder / manifest).write_text(json.dumps({"format": "damaged"}))
    (folder / "out/validation/order").mkdir()
    return folder


def _check(folder: Path, pattern: str, out: Path | None = None) -> None:
    files = list_files("s", [pattern], folder, "path")
    refuse_output("sources.s", [pattern], folder, files, out)


@pytest.mark.parametrize(
    "pattern",
    ["**/*.jsonl", "out/dropped/**/*.jsonl", "**/*.mds", "out/**/*.mds", "out/order/**/*.mds"],
)
def test_a_pattern_that_enters_an_output_is_refused(data: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=r"is part of .*/data/out") as raised:
        _check(data, pattern)
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("leave it out with a narrower pattern")


def test_an_unfinished_output_is_one_and_so_is_one_behind_a_link(data: Path) -> None:
    (data / "out" / "manifest.json").unlink()
    (data / "linked").symlink_to("out/dropped")
    _check(data, "linked/**/*.jsonl")
    (data / "out" / ".ettin").mkdir()
    for pattern in ("out/**/a.jsonl", "linked/**/*.jsonl", "out/dropped/s/a.jsonl"):
        with pytest.raises(InputError, match="the output of a build"):
            _check(data, pattern)


def test_a_manifest_of_something_else_makes_no_output(data: Path) -> None:
    (data / "manifest.json").write_text('{"format": "of another tool"}')
    _check(data, "*.jsonl")


def test_chunks_of_another_build_are_read_where_they_are_named_so(data: Path) -> None:
    for pattern in ("out/train/**/*.mds", "out/train/s/c/shard.mds", "out/validation/train/**/*"):
        _check(data, pattern, data / "mine")
    address = f"file://{data}/out/train/**/*.mds"
    files = list_files("s", [f"{data}/out/train/**/*.mds"], Path("/"), "path")
    refuse_output("sources.s", [address], Path("/"), files)


def test_of_its_own_output_nothing_is_read(data: Path) -> None:
    for pattern in ("out/train/**/*.mds", "**/a.jsonl"):
        with pytest.raises(InputError, match=r"is part of --out .*out\n.*folders apart"):
            _check(data, pattern, data / "out")
