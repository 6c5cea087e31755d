"""The verifier written from the specification: what it finds, and that it stands alone.

That it agrees with `verify` on outputs damaged by chance is in `simulation/test_second_opinion.py`.
"""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulation import commands
from support import builds
from support.second_opinion import TOOL, tool

from pipeline.audit.verify import verify
from pipeline.core.json_record import to_json
from pipeline.dataset.ledger import LedgerSpan, join

MIXTURE = """\
name: proofs
tokenizer: {name: modernbert}
chunk: {algorithm: whole-v1, size: 64}
sources: {a: {from: {path: "d/*.jsonl"}}}
validation: {fraction: 1/10}
shards: {size_limit: 1KiB}
order: {seed: 1, global_batch_size: 4, max_seq_len: 64, window_tokens: 2k}
"""
CHECKS = ["manifest", "files", "counts", "order"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of several kinds; not to be changed."""
    folder = tmp_path_factory.mktemp("proofs")
    (folder / "d").mkdir()
    for part in "xy":
        lines = builds.json_lines(builds.documents(part, 40, 90))
        (folder / "d" / f"{part}.jsonl").write_bytes(lines)
    mixture = builds.write_mixture(folder, MIXTURE)
    pool = folder / "parquet" / "train"
    how: dict[str, list[str | Path]] = {
        "parquet": ["build", mixture],
        "mds": ["build", mixture, "--set", "order.format=mds", "--set", "shards.dtype=uint16"],
        "order": ["order", pool, "--set", "order.global_batch_size=4"],
        "empty": ["order", pool, "--set", "order.global_batch_size=999"],
        # Fewer rows than a step has are one step of it, as `scale` says.
        "miniature": ["build", mixture, "--scale", "1/9", "--set", "order.global_batch_size=999"],
    }
    for name, words in how.items():
        done = commands.run(*words, "--set", "order.max_seq_len=64", "--out", folder / name)
        assert done.is_good, done.stderr
    return {name: folder / name for name in how}


@pytest.mark.parametrize("kind", ["parquet", "mds", "order", "empty", "miniature"])
def test_a_good_output_is_found_good(
    kind: str, good: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(good[kind]) == []
    assert tool.verify(good[kind])
    has_holdout = kind in ("parquet", "mds", "miniature")
    lines = [f"ok    {check}" for check in CHECKS]
    lines += [f"ok    validation: {check}" for check in CHECKS if has_holdout]
    assert capsys.readouterr().out.splitlines() == lines


Change = Callable[[Path], None]


def _value(*path: Any, value: Any) -> Change:
    """Change a value of the manifest."""

    def change(out: Path) -> None:
        content = json.loads((out / "manifest.json").read_bytes())
        *most, last = path
        place = content
        for key in most:
            place = place[key]
        place[last] = value
        _write(out, content)

    return change


def _write(out: Path, content: dict[str, Any]) -> None:
    """Write a manifest with a digest that is right."""
    content.pop("digest", None)
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    content["digest"] = hashlib.sha256(data).hexdigest()
    (out / "manifest.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _rows(name: str, change: Callable[[list[Any]], object]) -> Change:
    def damage(out: Path) -> None:
        path = sorted(out.glob(name))[0]
        table = pq.ParquetFile(path).read()
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)

    return damage


def _swap(one: int, other: int) -> Callable[[list[Any]], object]:
    def change(rows: list[Any]) -> None:
        for key in rows[0].keys() - {"step"}:
            rows[one][key], rows[other][key] = rows[other][key], rows[one][key]

    return change


def _step_type(kind: pa.DataType) -> Change:
    def change(out: Path) -> None:
        path = min(out.glob(FIRST))
        table = pq.ParquetFile(path).read()
        steps = table["step"].cast(kind)
        pq.write_table(table.set_column(table.column_names.index("step"), "step", steps), path)

    return change


def _steps_type(out: Path) -> None:
    table = pq.ParquetFile(out / STEPS).read()
    pq.write_table(table.set_column(0, "step", table["step"].cast(pa.int32())), out / STEPS)


def _longer(out: Path) -> None:
    """Let bytes follow the last row of a shard, and the index know."""
    path = min(out.glob("order/*/*/*.mds"))
    path.write_bytes(path.read_bytes() + b"more")
    _index(lambda shards: shards[0]["raw_data"].update(bytes=path.stat().st_size))(out)


def _index(change: Callable[[list[Any]], object]) -> Change:
    def damage(out: Path) -> None:
        path = out / "order" / "index.json"
        content = json.loads(path.read_bytes())
        change(content["shards"])
        path.write_text(json.dumps(content))

    return damage


FIRST, STEPS = "order/checkpoint_000001/*.parquet", "order/steps.parquet"
OUTSIDE = {"raw_data": {"basename": "checkpoint_000001/../../train/index.json"}}
IN_PARQUET: dict[str, tuple[Change, str]] = {
    "steps swapped": (_rows(STEPS, _swap(0, 1)), "order: steps: 1: "),
    "a step missing": (_rows(STEPS, lambda rows: rows.pop()), "order: steps: "),
    "rows swapped in a step": (_rows(FIRST, _swap(0, 1)), "order: steps: 1: sha256: "),
    "rows swapped across steps": (_rows(FIRST, _swap(3, 4)), "order: steps: 1: "),
    "a row missing": (_rows(FIRST, lambda rows: rows.pop()), "order: step "),
    "a row more": (_rows(FIRST, lambda rows: rows.append(rows[-1])), "order: step "),
    "a step number": (
        _rows(FIRST, lambda rows: rows[0].update(step=2)),
        "order: step 1: other values",
    ),
    "no step number": (_rows(FIRST, lambda rows: rows[0].update(step=None)), "order: NoneType"),
    "a step number as text": (_step_type(pa.string()), "order: 'str' object"),
    "a step number as a float": (_step_type(pa.float64()), "order: 'float' object"),
    "steps of another type": (_steps_type, "order: rows and types of steps: 2: "),
    "a file in a window": (
        lambda out: (min(out.glob(FIRST)).with_name("notes.txt")).touch(),
        "order: Parquet file size is 0 bytes",
    ),
}
IN_MDS: dict[str, tuple[Change, str]] = {
    "shards swapped": (_index(lambda shards: shards.insert(0, shards.pop())), "order: "),
    "a shard twice": (_index(lambda shards: shards.append(shards[0])), "order: index.json: "),
    "a shard lost": (_index(lambda shards: shards.pop()), "order: index.json: "),
    "rows of a shard": (_index(lambda shards: shards[0].update(samples=1)), "order: index.json: "),
    "bytes of a shard": (_index(lambda shards: shards[0]["raw_data"].update(bytes=1)), "order: 2:"),
    "bytes after the rows": (_longer, "order: index.json: "),
    "columns": (_index(lambda shards: shards[0].update(column_names=["id", "x"])), "order: 4: 2:"),
    "sizes": (_index(lambda shards: shards[0].update(column_sizes=[None, 8])), "order: 5: 2:"),
    "encodings": (
        _index(lambda shards: shards[0].update(column_encodings=["int", "ndarray:uint16"])),
        "order: int ndarray:uint16",
    ),
    "a path outside": (_index(lambda shards: shards[0].update(OUTSIDE)), "order: index.json: "),
}
IN_MANIFEST: dict[str, tuple[Change, str]] = {
    "sequence root": (_value("order", "ledger", "sequence_root", value="0"), "order: ledger: seq"),
    "multiset root": (_value("order", "ledger", "multiset_root", value="0"), "order: ledger: mul"),
    "nodes": (_value("order", "ledger", "nodes", value="A" * 43 + "="), "order: ledger: nodes: "),
    "root of steps": (_value("order", "root_sha256", value="0"), "order: order: root_sha256: "),
    "rows": (_value("order", "num_rows", value=4), "order: order: num_rows: "),
    "a window": (_value("order", "windows", 0, "first_row", value=4), "order: windows: 1: first"),
    "a folder": (_value("order", "windows", 0, "folder", value="/"), "order: windows: 1: folder: "),
    "too many tokens": (_value("order", "num_tokens", value=10**400), "counts: drawn for"),
    "a float": (_value("order", "num_rows_dropped", value=0.0), "manifest: canonical form: "),
    "not a number": (_value("order", "epoch", value=float("nan")), "manifest: canonical form: "),
    "no count": (_value("order", "num_tokens_added", value=False), "order: types: "),
    "documents": (_value("sources", "a", "documents", "in", value=1), "counts: a: documents: "),
    "tokens": (_value("sources", "a", "tokens", "in", value=1), "counts: a: tokens: "),
    "a budget": (_value("sources", "a", "budget", "drawn", value=1), "counts: a: budget: drawn: "),
    "a partition": (
        _value("sources", "a", "partitions", 0, "chunks", "drawn", value=1),
        "counts: a: chunks of its partitions: drawn: ",
    ),
    "a file above": (_value("files", "../x", value={}), "files: files: ../x: "),
    "a file elsewhere": (_value("files", "/etc/hosts", value={}), "files: files: /etc/hosts: "),
    "a key": (_value("more", value=1), "manifest: keys: "),
}
SEALED = {
    (kind, what): change
    for kind, changes in (("parquet", IN_PARQUET), ("mds", IN_MDS | IN_MANIFEST))
    for what, change in changes.items()
}


def _wrong(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is wrong, which the last line says."""
    assert not tool.verify(out)
    *before, last = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok    ") for line in before)
    assert last.startswith("WRONG ")
    return last.removeprefix("WRONG ")


@pytest.mark.parametrize(("kind", "what"), SEALED)
def test_what_is_not_as_its_rows_is_found_where_all_files_are_as_listed(
    kind: str,
    what: str,
    good: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(good[kind], tmp_path / "out")
    change, expected = SEALED[kind, what]
    change(out)
    content = json.loads((out / "manifest.json").read_bytes())
    digests = builds.digests(out)
    for name in digests.keys() - {"manifest.json"}:
        size = (out / name).stat().st_size
        content["files"][name] = {"bytes": size, "sha256": digests[name]}
    _write(out, content)
    check, _, text = expected.partition(": ")
    found, _, told = _wrong(out, capsys).partition(": ")
    assert found == check
    assert text in told


def test_a_holdout_is_checked_as_an_output(
    good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(good["mds"], tmp_path / "out")
    _value("order", "root_sha256", value="0")(out / "validation")
    name = "validation/manifest.json"
    data = (out / name).read_bytes()
    seal = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _value("files", name, value=seal)(out)
    assert _wrong(out, capsys).startswith("validation: order: ")
    (line,) = verify(out)
    assert line.startswith("validation/manifest.json: order.root_sha256: got 0, ")


def _replace(name: str, make: Callable[[Path], object]) -> Change:
    def change(out: Path) -> None:
        (out / name).unlink(missing_ok=True)
        make(out / name)

    return change


NOT_FILES = {
    f"{what} at {name}": (_replace(name, make), name)
    for what, make in {
        "a FIFO": os.mkfifo,
        "a folder": lambda path: path.mkdir() or (path / "x").touch(),
        "a link to a folder": lambda path: path.symlink_to(path.parent),
        "a link to nothing": lambda path: path.symlink_to("nowhere"),
    }.items()
    for name in ("manifest.json", STEPS, "validation/manifest.json", "train/stranger")
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_no_file_is_found_and_not_waited_for(
    what: str, good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(good["parquet"], tmp_path / "out")
    change, name = NOT_FILES[what]
    change(out)
    assert name in _wrong(out, capsys)
    assert verify(out) != []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [STEPS, "train/stranger"])
def test_a_file_of_another_size_is_found_before_it_is_read(
    name: str, good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(good["parquet"], tmp_path / "out")
    (out / name).touch()
    os.truncate(out / name, 1 << 40)
    assert f"{name}: bytes: got {1 << 40}" in _wrong(out, capsys)


def test_a_file_that_cannot_be_read_is_wrong(
    good: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Path, mode: str) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    out = shutil.copytree(good["order"], tmp_path / "out")
    assert "Permission denied" in _wrong(out, capsys)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"a":' * 5_000, b'{"format": 1}'),
        *(b'{"format": NaN}', b'{"format": "ettin-manifest-v1", "format": "ettin-manifest-v1"}'),
        b'{"format": ' + b"1" * 5_000 + b"}",
    ],
)
def test_a_foreign_manifest_is_one_line(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    assert _wrong(tmp_path, capsys).startswith("manifest: ")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (b'"epoch": 0', b'"epoch": 1', 'manifest: ValueError("digest: '),
        (
            b'"lock": null',
            b'"lock": 1,\n "lock": null',
            "manifest: ValueError('canonical form: ",
        ),
    ],
    ids=["another value", "a key twice"],
)
def test_a_manifest_that_was_edited_is_found(
    old: bytes,
    new: bytes,
    line: str,
    good: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(good["order"], tmp_path / "out")
    path = out / "manifest.json"
    path.write_bytes(path.read_bytes().replace(old, new))
    assert _wrong(out, capsys).startswith(line)


def test_partitions_that_were_built_alone_have_no_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "partial.json").write_text("{}\n")
    assert _wrong(tmp_path, capsys).startswith("manifest: ValueError('manifest.json is a file: ")


@pytest.mark.parametrize("num_rows", [0, 1, 1024, 1025, 2049, 5 * 1024, 6 * 1024 + 1])
def test_the_tree_over_nodes_is_that_of_the_package(num_rows: int) -> None:
    digests = np.random.default_rng(0).integers(0, 256, (num_rows, 32)).astype(np.uint8)
    span = LedgerSpan(start_row=0)
    span.add(digests)
    record = to_json(join([span]).describe())
    windows = [{"multiset_root": record["multiset_root"]}]
    order = {"num_rows": num_rows, "ledger": record, "windows": windows}
    tool.check_ledger(iter([row.tobytes() for row in digests]), order)


def test_it_stands_alone_and_is_short() -> None:
    text = TOOL.read_text()
    assert len(text.splitlines()) < 280
    nodes = list(ast.walk(ast.parse(text)))
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    others = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert others == {"pyarrow", "blake3"}


def test_the_exit_code_tells(good: dict[str, Path], tmp_path: Path) -> None:
    def code(*arguments: str | Path) -> int:
        command = [sys.executable, "-I", str(TOOL), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert [code(good["order"]), code(tmp_path), code()] == [0, 1, 2]
