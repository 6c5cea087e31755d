"""The verifier written from the specification agrees with `verify` on good and damaged outputs."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds
from support.clusters import Build
from support.paths import REPOSITORY

from pipeline.audit.verify.check_output import verify
from pipeline.dataset.manifest import seal

MIXTURE = """\
name: proofs
tokenizer: {name: modernbert}
chunk: {algorithm: whole-v1, size: 64}
sources: {a: {from: {path: "d/*.jsonl"}}}
validation: {fraction: 1/10}
order: {seed: 1, global_batch_size: 4, max_seq_len: 64, window_tokens: 2k}
"""
STEPS = "order/steps.parquet"

_spec = importlib.util.spec_from_file_location(
    "verify_ledger", REPOSITORY / "tools" / "verify_ledger.py"
)
assert _spec is not None
assert _spec.loader is not None
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> dict[str, Path]:
    """Outputs of several kinds; not to be changed."""
    folder = tmp_path_factory.mktemp("proofs")
    (folder / "d").mkdir()
    for part in "xy":
        lines = builds.json_lines(builds.documents(part, 40, 90))
        (folder / "d" / f"{part}.jsonl").write_bytes(lines)
    mixture = builds.write_mixture(folder, MIXTURE)
    made = {
        "parquet": build_here(mixture, folder / "parquet"),
        "mds": build_here(mixture, folder / "mds", "order.format=mds", "shards.dtype=uint16"),
        "decoder": build_here(mixture, folder / "decoder", "order.view=decoder"),
    }
    pool = made["parquet"] / "train"
    settings = ("--set", "order.global_batch_size=4", "--set", "order.max_seq_len=64")
    builds.run_well("order", pool, "--out", folder / "order", *settings, "--workers", "1")
    return {**made, "order": folder / "order"}


@pytest.mark.parametrize("kind", ["parquet", "mds", "decoder", "order"])
def test_both_find_a_good_output_good(
    kind: str, good: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(good[kind]) == []
    assert tool.verify(good[kind])
    lines = capsys.readouterr().out.splitlines()
    checks = ["manifest", "files", "counts", "ledger", "steps", "rows"]
    assert [line.split()[-1] for line in lines][:6] == checks
    assert len(lines) == (6 if kind == "order" else 12)


def _byte(name: str, place: float = 0.5) -> Callable[[Path], None]:
    def damage(out: Path) -> None:
        path = sorted(out.glob(name))[0]
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 1
        path.write_bytes(data)

    return damage


def _cut(name: str, left: float) -> Callable[[Path], None]:
    def damage(out: Path) -> None:
        path = sorted(out.glob(name))[0]
        data = path.read_bytes()
        path.write_bytes(data[: int(left * len(data))])

    return damage


def _remove(name: str) -> Callable[[Path], None]:
    return lambda out: sorted(out.glob(name))[0].unlink()


def _add(name: str) -> Callable[[Path], None]:
    return lambda out: (out / name).write_bytes(b"") and None


def _rows(name: str, change: Callable[[list[Any]], object]) -> Callable[[Path], None]:
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


def _value(*path: Any, value: Any) -> Callable[[Path], None]:
    """Change a value of the manifest, and seal it again: only the proofs are wrong."""

    def damage(out: Path) -> None:
        content = json.loads((out / "manifest.json").read_bytes())
        *most, last = path
        place = content
        for key in most:
            place = place[key]
        place[last] = value
        _write(out, content)

    return damage


def _write(out: Path, content: dict[str, Any]) -> None:
    content.pop("digest", None)
    (out / "manifest.json").write_bytes(seal(content))


FIRST = "order/checkpoint_000001/*.parquet"
DAMAGE = {
    "a byte in a shard": _byte("train/*/*/*.mds"),
    "a byte in rows": _byte(FIRST),
    "a byte in steps": _byte(STEPS),
    "a byte in the first of the manifest": _byte("manifest.json", 0),
    "a byte in the manifest": _byte("manifest.json"),
    "a byte in the holdout": _byte("validation/train/*/*/*.mds"),
    "a byte in the manifest of the holdout": _byte("validation/manifest.json"),
    "a byte in provenance": _byte("provenance/checkpoint_000001/*.parquet"),
    "a byte in an index": _byte("train/index.json"),
    "a shard cut": _cut("train/*/*/*.mds", 0.5),
    "rows cut": _cut(FIRST, 0.5),
    "steps cut": _cut(STEPS, 0.9),
    "an empty manifest": _cut("manifest.json", 0),
    "half a manifest": _cut("manifest.json", 0.5),
    "an empty shard": _cut("train/*/*/*.mds", 0),
    "a link": lambda out: (out / "train/link").symlink_to(out / "order"),
    "no steps": _remove(STEPS),
    "no rows": _remove(FIRST),
    "no manifest": _remove("manifest.json"),
    "no index": _remove("train/index.json"),
    "an extra file": _add("order/extra"),
    "an extra file at the top": _add("extra"),
    "an extra hidden file below": _add("train/.hidden"),
    "an extra hidden file at the top": _add(".hidden"),
    "an extra window": _add("order/checkpoint_000001/steps_000900_to_000901.parquet"),
    "a step missing": _rows(STEPS, lambda rows: rows.pop(1)),
    "a step doubled": _rows(STEPS, lambda rows: rows.insert(1, rows[1])),
    "steps swapped": _rows(STEPS, _swap(0, 1)),
    "rows swapped in a step": _rows(FIRST, _swap(0, 1)),
    "rows swapped across steps": _rows(FIRST, _swap(3, 4)),
    "a row missing": _rows(FIRST, lambda rows: rows.pop()),
    "a row more": _rows(FIRST, lambda rows: rows.append(rows[-1])),
    "a step number": _rows(FIRST, lambda rows: rows[0].update(step=2)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_both_say_the_same_of_damage(what: str, good: dict[str, Path], tmp_path: Path) -> None:
    out = shutil.copytree(good["parquet"], tmp_path / "out")
    DAMAGE[what](out)
    assert bool(verify(out)) is not tool.verify(out)


SEALED = {
    "steps swapped": (DAMAGE["steps swapped"], "steps"),
    "a step missing": (DAMAGE["a step missing"], "steps"),
    "a step doubled": (DAMAGE["a step doubled"], "steps"),
    "rows swapped in a step": (DAMAGE["rows swapped in a step"], "rows"),
    "rows swapped across steps": (DAMAGE["rows swapped across steps"], "rows"),
    "a row missing": (DAMAGE["a row missing"], "rows"),
    "a row more": (DAMAGE["a row more"], "rows"),
    "a step number": (DAMAGE["a step number"], "rows"),
    "sequence root": (_value("order", "ledger", "sequence_root", value="0" * 64), "ledger"),
    "multiset root": (_value("order", "ledger", "multiset_root", value="0" * 64), "rows"),
    "nodes": (_value("order", "ledger", "nodes", value="A" * 43 + "="), "ledger"),
    "root of steps": (_value("order", "root_sha256", value="0" * 64), "steps"),
    "root of a window": (_value("order", "windows", 0, "multiset_root", value="0" * 64), "rows"),
    "documents": (_value("sources", "a", "documents", "in", value=1), "counts"),
}


@pytest.mark.parametrize("what", SEALED)
def test_a_wrong_proof_is_found_where_all_files_are_as_listed(
    what: str, good: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(good["parquet"], tmp_path / "out")
    damage, check = SEALED[what]
    damage(out)
    content = json.loads((out / "manifest.json").read_bytes())
    digests = builds.digests(out)
    for name, of in content["files"].items():
        of.update(bytes=(out / name).stat().st_size, sha256=digests[name])
    _write(out, content)
    assert not tool.verify(out)
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert [line.split(":")[0] for line in wrong] == [f"WRONG {check}"]


@pytest.mark.parametrize("data", [b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"format": 1}'])
def test_a_foreign_manifest_is_one_line(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    assert not tool.verify(tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("WRONG manifest: ")
