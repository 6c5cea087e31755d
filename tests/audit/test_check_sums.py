"""A manifest that was wrong when its digest was made is found by `verify`, value by value."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds

from pipeline.audit.verify import verify
from pipeline.dataset import STEPS
from pipeline.dataset.sealed_json import seal


def _sealed(out: Path, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Change a manifest, with the sizes and digests of files as they are; return what is found."""
    content = json.loads((out / "manifest.json").read_bytes())
    change(content)
    del content["digest"]
    digests = builds.digests(out)
    for name, of in content["files"].items():
        of.update(bytes=(out / name).stat().st_size, sha256=digests[name])
    (out / "manifest.json").write_bytes(seal(content))
    return verify(out)


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


VALUES = [
    *("order.num_samples", "order.num_steps", "order.num_rows", "order.num_rows_dropped"),
    *("order.num_tokens", "order.num_tokens_added", "order.num_tokens_cut"),
    *("order.windows.0.first_step", "order.windows.0.num_steps", "order.windows.0.num_tokens"),
    *("order.windows.0.first_row", "order.windows.0.num_rows"),
    *("sources.prose.documents.in", "sources.prose.documents.kept", "sources.prose.tokens.added"),
    *("sources.prose.chunks.drawn", "sources.prose.partitions.0.chunks.written"),
    *("sources.prose.partitions.0.documents.kept", "sources.prose.partitions.0.tokens.drawn"),
    *("sources.prose.budget.asked", "sources.prose.budget.drawn", "sources.prose.budget.available"),
]


def test_a_number_that_does_not_follow_from_the_others_is_found(out: Path) -> None:
    data = (out / "manifest.json").read_bytes()
    for value in VALUES:
        content = group = json.loads(data)
        del content["digest"]
        *names, last = value.split(".")
        for name in names:
            group = group[int(name) if name.isdecimal() else name]
        group[last] += 1
        (out / "manifest.json").write_bytes(seal(content))
        found = verify(out)
        assert found != [], value
        assert all(": got " in line for line in found), value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda order: order.update(root_sha256="0"), "manifest.json: order.root_sha256: got 0, "),
        (
            lambda order: order["ledger"].update(multiset_root="0" * 64),
            "manifest.json: order.ledger.multiset_root: got 0000",
        ),
        (
            lambda order: order["windows"][0].update(multiset_root="x"),
            "manifest.json: cannot be compared with the order: ",
        ),
        (
            lambda order: order["windows"][0].update(folder="order/elsewhere"),
            "manifest.json: order/elsewhere: has files: got False",
        ),
    ],
)
def test_a_root_or_folder_that_is_not_that_of_the_steps_is_found(
    change: Callable[[Any], object], expected: str, out: Path
) -> None:
    found = _sealed(out, lambda content: change(content["order"]))
    assert any(line.startswith(expected) for line in found)


@pytest.mark.parametrize("column", ["step", "start_row", "num_rows", "num_tokens", "sha256"])
def test_a_table_of_steps_that_is_not_that_of_the_manifest_is_found(column: str, out: Path) -> None:
    table = pq.ParquetFile(out / STEPS).read()
    steps = table.to_pylist()
    steps[0][column], steps[1][column] = steps[1][column], steps[0][column] or 1
    if column in ("num_rows", "num_tokens"):
        steps[0][column] += 1
    pq.write_table(pa.Table.from_pylist(steps, table.schema), out / STEPS)
    assert _sealed(out, lambda _: None) != []


def test_a_table_of_steps_without_a_column_or_of_another_kind_is_one_line(out: Path) -> None:
    table = pq.ParquetFile(out / STEPS).read()
    pq.write_table(table.drop_columns(["sha256"]), out / STEPS)
    (line,) = _sealed(out, lambda _: None)
    start = (
        "manifest.json: cannot be compared with the order: order/steps.parquet: got the columns "
    )
    assert line.startswith(f"{start}step: int64, ")
    for name, kind in (("step", pa.int32()), ("num_tokens", pa.float64())):
        place = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, table[name].cast(kind)), out / STEPS)
        (line,) = _sealed(out, lambda _: None)
        assert line.startswith(start)
    (out / STEPS).write_bytes(b"no table")
    (line,) = _sealed(out, lambda _: None)
    assert line.startswith("manifest.json: cannot be compared with the order: Parquet")
    (out / STEPS).unlink()
    (line,) = _sealed(out, lambda content: content["files"].pop(STEPS))
    assert line.startswith("manifest.json: cannot be compared with the order: ")


def test_a_digest_in_another_spelling_is_found(out: Path) -> None:
    table = pq.ParquetFile(out / STEPS).read()
    steps = table.to_pylist()
    for step in steps:
        step["sha256"] = step["sha256"].upper()
    pq.write_table(pa.Table.from_pylist(steps, table.schema), out / STEPS)
    (line,) = _sealed(out, lambda _: None)  # The first alone: there may be millions.
    assert line.startswith("order/steps.parquet: step 1: sha256: got ")


def test_a_table_of_many_more_steps_is_not_read(out: Path) -> None:
    table = pq.ParquetFile(out / STEPS).read()
    pq.write_table(pa.concat_tables([table] * 2), out / STEPS)
    (line,) = _sealed(out, lambda _: None)
    assert f"order/steps.parquet: got {2 * len(table)} rows, expected {len(table)}" in line


def test_rows_of_no_window_are_found(out: Path) -> None:
    path = min((out / "order").glob("*/*.parquet"))
    (out / "order" / "elsewhere").mkdir()
    names = ("order/elsewhere/rows.parquet", "order/index.json", "order/rows.parquet")
    for name in names:
        shutil.copyfile(path, out / name)
    found = _sealed(out, lambda content: content["files"].update({name: {} for name in names}))
    assert found == [f"{name}: is in a window: got False, expected True" for name in names]


@pytest.mark.parametrize("size", [0, 2**64, "16", None])
def test_a_size_of_steps_that_no_build_has_is_found(size: object, out: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["mixture"]["declaration"]["order"]["global_batch_size"] = size

    assert _sealed(out, change) != []


def test_a_step_number_of_rows_is_found(out: Path) -> None:
    path = min((out / "order").glob("*/*.parquet"))
    table = pq.ParquetFile(path).read()
    rows = table.to_pylist()
    rows[-1]["step"] += 1
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    (line,) = _sealed(out, lambda _: None)
    assert ": column step: got " in line
