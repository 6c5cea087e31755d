"""Many small files in one partition: the same documents and rows, each led back to its own file."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import builds
from support.commands import call
from support.here import Here, run_here
from support.outputs import read_dropped, read_rows
from support.strategies import QUICK

from pipeline.config.load import load_mixture
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import DocumentError, InputError, MismatchError
from pipeline.runner import order_rows, sampled_shards
from pipeline.runner import run as building

MIXTURE = """\
name: t
chunk: {size: 16}
sources: {a: {from: {path: "d/*", id: null, files_per_partition: SIZE}OF_SOURCE}}
order: {seed: 21, global_batch_size: 1, max_seq_len: 16}
shards: {size_limit: 1KiB}
"""
# Every example publishes files, which waits for the disk.
FEW = settings(QUICK, max_examples=8)
WORDS = ["lantern", "harbour", "winter", "SECRET", "almanac"]


def build(
    folder: Path,
    size: int,
    *,
    text: str = "on_error: skip",
    of_source: str = "",
    ids: str = "null",
    out: str = "out",
    between: Callable[[], None] = lambda: None,
) -> Path:
    """Build the files below `d` in partitions of `size`; return the output."""

    declared = MIXTURE.replace("SIZE", str(size)).replace("OF_SOURCE", of_source) + text
    declared = declared.replace("id: null", f"id: {ids}")
    mixture = load_mixture(folder / "m.yaml", (), text=declared.encode())
    runs = order_rows._runs
    with pytest.MonkeyPatch.context() as patched:
        run_here(patched, sampled_shards, Here(between))
        # Each shard of the holdout gets a table of its own.
        patched.setattr(order_rows, "_runs", lambda shards, sizes, _: runs(shards, sizes, 1))
        building.build(mixture, folder / out, workers=1, scheduler=None, report=lambda *_: None)
    return folder / out


def write(folder: Path, files: Mapping[str, Sequence[str] | bytes]) -> None:
    (folder / "d").mkdir(exist_ok=True)
    for name, texts in files.items():
        data = texts
        if not isinstance(data, bytes):
            data = builds.json_lines({"id": text, "text": text} for text in data)
        (folder / "d" / name).write_bytes(data)


def seen(out: Path) -> list[dict[str, Any]]:
    """Return the ordered rows with what their provenance says of them."""
    tables = [
        pq.read_table(path).append_column(
            "input_ids", pq.read_table(out / "order" / path.relative_to(out / "provenance"))[0]
        )
        for path in sorted(out.glob("provenance/*_0*/*.parquet"))
    ]
    return pa.concat_tables(tables).to_pylist() if tables else []


def manifest_of(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    return manifest


def rows(out: Path, *names: str) -> Counter[tuple[Any, ...]]:
    """Return how often there is which row, by some columns and its ids."""
    columns = ("document", "chunk", "num_chunks", *names)
    return Counter((tuple(row["input_ids"]), *map(row.__getitem__, columns)) for row in seen(out))


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join)
files = st.lists(st.lists(texts, max_size=3), min_size=1, max_size=7).filter(any)


@FEW
@given(
    files=files,
    size=st.integers(2, 8),
    of_source=st.sampled_from(["", ", epochs: 2", ", filters: [{regex: {pattern: SECRET$}}]"]),
    text=st.sampled_from(["", "dedup: {}\n", "validation: {fraction: 0.3}\n"]),
)
def test_rows_are_the_same_and_lead_to_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[str]],
    size: int,
    of_source: str,
    text: str,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    write(folder, {f"f{number}.jsonl": texts for number, texts in enumerate(files)})
    text += "on_error: skip\nkeep_dropped: 1\n"
    alone, together = (
        build(folder, one, text=text, of_source=of_source, out=str(one)) for one in (1, size)
    )
    assert rows(together, "file") == rows(alone, "file")
    assert rows(together / "validation") == rows(alone / "validation")
    for row in seen(together) + seen(together / "validation"):
        name, _, number = row["document"].partition("/")
        assert row["file"] == f"d/{name}.jsonl"
        assert int(number) < len(files[int(name[1:])])
    one, other = (manifest_of(out)["sources"]["a"] for out in (alone, together))
    assert len(other["partitions"]) == -(-len(files) // size)
    for counts in ("documents", "tokens", "chunks"):
        assert one[counts] == other[counts]
    dropped = read_dropped(together, "a")
    assert [one.pop("file") for one in dropped] == [
        f"d/{one['id'].partition('/')[0]}.jsonl" for one in dropped
    ]
    assert dropped == read_dropped(alone, "a")


def test_a_bad_document_is_named_by_its_file_and_its_row_there(tmp_path: Path) -> None:
    bad = builds.json_lines([{"text": "one"}]) + b'{"text": \n'
    write(tmp_path, {"a.jsonl": ["x", "y", "z"], "b.jsonl": bad, "c.jsonl": ["u"]})
    with pytest.raises(DocumentError, match=r"^d/b\.jsonl: document 2: got a line"):
        build(tmp_path, 3, text="")
    out = build(tmp_path, 3)
    assert manifest_of(out)["sources"]["a"]["documents"] == {
        "in": 6,
        "kept": 5,
        "dropped": {"invalid_json": 1},
    }


def test_a_document_without_content_is_named_by_its_file_and_its_row_there(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": ["x"], "b.jsonl": ["y", "[CLS][SEP]"], "c.jsonl": ["u"]})
    with pytest.raises(DocumentError, match=r'^d/b\.jsonl: document 2: id "b/1" has only special'):
        build(tmp_path, 3, text="")


def test_a_file_of_which_too_much_is_bad_is_refused_whatever_lies_beside_it(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"a.jsonl": ["good"] * 90, "b.jsonl": b"{\n" * 3})
    with pytest.raises(InputError, match=r"^d/b\.jsonl: 3 of 3 documents cannot be read"):
        build(tmp_path, 2)


def test_ids_that_recur_are_named_with_their_files_and_the_first_is_kept(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": ["x", "y"], "b.jsonl": ["z", "x"], "c.jsonl": ["y", "w"]})
    expected = r': "x" in d/a\.jsonl and d/b\.jsonl; "y" in d/a\.jsonl and d/c\.jsonl'
    for size in (2, 3):
        with pytest.raises(DocumentError, match=expected):
            build(tmp_path, size, text="", ids="id", out=str(size))
    out = build(tmp_path, 3, ids="id", out="skipped")
    kept = {row["document"]: row["file"] for row in seen(out)}
    assert kept == {name: f"d/{file}.jsonl" for name, file in zip("xyzw", "aabc", strict=True)}


@pytest.mark.parametrize("text", ["dedup: {}", "on_error: skip"])
def test_a_file_that_changes_between_two_passes_is_named(text: str, tmp_path: Path) -> None:
    same = ["one", "two"]
    write(tmp_path, {"a.jsonl": same, "b.jsonl": ["three"], "c.jsonl": ["four", *same]})

    def change() -> None:
        write(tmp_path, {"b.jsonl": ["changed", "three"]})

    with pytest.raises(MismatchError, match=r"^d/b\.jsonl: changed during the build"):
        build(tmp_path, 3, text=text, ids="id" if "skip" in text else "null", between=change)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("text", ["", "validation: {fraction: 0.5}"])
def test_a_document_that_moves_to_another_file_is_found_there(text: str, tmp_path: Path) -> None:
    """The shards stay as they are."""
    write(tmp_path, {"a.jsonl": ["x", "y"], "b.jsonl": ["z"]})
    out = build(tmp_path, 2, ids="id", text=text)
    write(tmp_path, {"a.jsonl": ["x"], "b.jsonl": ["y", "z"]})
    build(tmp_path, 2, ids="id", text=text)
    files = {row["document"]: row["file"] for row in seen(out) + seen(out / "validation")}
    assert files == {"x": "d/a.jsonl", "y": "d/b.jsonl", "z": "d/b.jsonl"}


def test_a_thousand_files_make_ten_partitions_of_the_same_bytes_however_they_are_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    for number in range(1000):
        (tmp_path / "d" / f"{number:04d}.txt").write_text(builds.text(f"{number}", 20))
    mixture = builds.write_mixture(
        tmp_path,
        """\
name: t
chunk: {size: 64}
sources: {a: {from: {path: "d/*.txt", files_per_partition: 100}}}
order: {seed: 21, global_batch_size: 8, max_seq_len: 64}
""",
    )
    one, killed = tmp_path / "one", tmp_path / "killed"
    builds.run_well("build", mixture, "--out", one)
    expected = builds.digests(one)
    process = builds.start("build", mixture, "--out", killed, "--workers", "2")
    made = killed / "train" / "a"
    while process.poll() is None and not [*made.glob("files_*/index.json")]:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert not (killed / "manifest.json").exists(), "it was done before it was killed"
    builds.run_well("build", mixture, "--out", killed)
    assert builds.differences(builds.digests(killed), expected) == []

    partitions = manifest_of(one)["sources"]["a"]["partitions"]
    assert len(partitions) == len(list((one / "train" / "a").glob("files_*"))) == 10
    inputs = [file for part in partitions for file in (part["input"], *part["more_inputs"])]
    assert {file["path"]: file["sha256"] for file in inputs} == {
        f"d/{path.name}": sha256_bytes(path.read_bytes()) for path in (tmp_path / "d").iterdir()
    }
    assert sum(file["num_chunks"] for file in inputs) == len(read_rows(one / "train"))
    code, found, _ = call(capsys, "trace", one, "--document", "0777")
    assert code == 0
    assert "d/0777.txt" in found
    assert call(capsys, "verify", one)[0] == 0

    # Of another file, no partition but its own is made again.
    (tmp_path / "d" / "0150.txt").write_text("another text")
    builds.run_well("build", mixture, "--out", killed)
    changed = builds.differences(
        builds.digests(killed / "train" / "a"), builds.digests(one / "train" / "a")
    )
    assert {path[:26] for path in changed} == {"files_00000100_to_00000199", "index.json"}
