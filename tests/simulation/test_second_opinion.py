"""A second opinion: `tools/verify_ledger.py` and `verify` say the same of many outputs.

A number is an output: which build it is a copy of, and what is done to it, follow from it alone.
"""

import json
import os
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds
from support.second_opinion import tool

from pipeline.audit.verify import verify, verify_against
from pipeline.core.errors import InputError
from pipeline.dataset.sealed_json import seal

from . import commands
from .model import INPUTS, VARIANTS, write_input

Draw = random.Random
Change = Callable[[Draw, Path], None]
Values = Iterator[tuple[dict[str, Any], str]]
"""Values of a manifest: what they are in, and their keys."""

# In CI a few outputs are compared, and in a sweep a thousand.
FEW, MANY = 40, 1000

# Several windows, of which the first has several files; rows of 126 steps and 3.
_WINDOWS = """\
name: windows
chunk: {{algorithm: whole-v1, size: 64}}
sources: {{a: {{from: {{path: in/*.jsonl}}}}}}
{holdout}shards: {{dtype: uint16, size_limit: 1KiB}}
order: {{seed: 1, global_batch_size: 1, max_seq_len: 64, window_tokens: 5k, {more}}}
"""
_BUILDS = {
    **VARIANTS,
    "windows": _WINDOWS.format(holdout="", more="view: decoder"),
    "windows-mds": _WINDOWS.format(
        holdout="validation: {fraction: 1/20}\n", more="view: encoder, format: mds"
    ),
}
_ORDER = ("--set", "order.global_batch_size=4", "--set", "order.max_seq_len=64")


def make_outputs(folder: Path, names: Sequence[str] = (*_BUILDS, "parquet", "mds")) -> list[Path]:
    """Make good outputs of several kinds; the last kinds are orders of the pool of one of them."""
    for name in INPUTS:
        write_input(folder, name, 2)
    made = []
    for name in names:
        made.append(folder / name)
        if name in _BUILDS:
            how = ["build", builds.write_mixture(folder, _BUILDS[name], f"{name}.yaml")]
        else:
            how = ["order", folder / "windows" / "train", "--format", name, *_ORDER]
        done = commands.run(*how, "--out", made[-1])
        assert done.is_good, done.stderr
    return made


# What changes no byte


def _nothing(draw: Draw, out: Path) -> None:
    """Leave it as it is."""


def _touch(draw: Draw, out: Path) -> None:
    os.utime(_file(draw, out), (draw.randrange(10**9),) * 2)


def _new_folder(draw: Draw, out: Path) -> None:
    (_file(draw, out).parent / "empty").mkdir()


def _moved(draw: Draw, out: Path) -> None:
    """Leave a link to the file in its place."""
    path = _file(draw, out)
    path.symlink_to(path.rename(out.with_name("moved")))


HARMLESS: dict[str, Change] = {
    "nothing": _nothing,
    "a file touched": _touch,
    "an empty folder": _new_folder,
    "a link to the same bytes": _moved,
}

# What a digest finds


def _file(draw: Draw, out: Path, pattern: str = "*") -> Path:
    return draw.choice([path for path in sorted(out.rglob(pattern)) if path.is_file()])


def _bytes(change: Callable[[Draw, bytes], bytes]) -> Change:
    def damage(draw: Draw, out: Path) -> None:
        path = _file(draw, out)
        path.write_bytes(change(draw, path.read_bytes()))

    return damage


def _flip(draw: Draw, data: bytes) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _swap_files(draw: Draw, out: Path) -> None:
    one = _file(draw, out)
    data = one.read_bytes()
    other = draw.choice([path for path in sorted(out.rglob("*.*")) if path.read_bytes() != data])
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def _replaced(make: Callable[[Path], object]) -> Change:
    def damage(draw: Draw, out: Path) -> None:
        path = _file(draw, out)
        path.unlink()
        make(path)

    return damage


def _add(draw: Draw, out: Path) -> None:
    near = _file(draw, out)
    near.with_name(draw.choice(["stranger", ".hidden", f"{near.name}.bak"])).write_bytes(b"mine")


def _rename(draw: Draw, out: Path) -> None:
    path = _file(draw, out)
    path.rename(path.with_name("renamed"))


DAMAGE: dict[str, Change] = {
    "a bit": _bytes(_flip),
    "cut": _bytes(lambda draw, data: data[: draw.randrange(len(data))]),
    "emptied": _bytes(lambda _, __: b""),
    "longer": _bytes(lambda _, data: data + b"\n"),
    "removed": lambda draw, out: _file(draw, out).unlink(),
    "renamed": _rename,
    "added": _add,
    "files swapped": _swap_files,
    "a folder in its place": _replaced(Path.mkdir),
    "a FIFO in its place": _replaced(os.mkfifo),
    "a broken link in its place": _replaced(lambda path: path.symlink_to("nowhere")),
}

# What only its content shows, since sizes and digests are made again


def _rows(path: Path) -> list[Any]:
    """Return the rows of a file of an order: lists of ids, or the bytes of rows of MDS."""
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read()["input_ids"].to_pylist()
    data = path.read_bytes()
    (number,) = struct.unpack_from("<I", data)
    ends = struct.unpack_from(f"<{number + 1}I", data, 4)
    return [data[start:stop] for start, stop in pairwise(ends)]


def _ids(row: Any) -> Any:
    """Return what the ledger knows of a row: of MDS, what follows the id."""
    return row[8 + struct.unpack_from("<I", row)[0] :] if isinstance(row, bytes) else row


def _write_rows(out: Path, path: Path, rows: list[Any]) -> None:
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path).read()
        steps = table["step"].to_pylist()
        steps += [steps[-1]] * (len(rows) - len(steps))
        columns = {"input_ids": rows, "step": steps[: len(rows)]}
        pq.write_table(pa.table(columns, schema=table.schema), path)
        return
    data = path.read_bytes()
    (number,) = struct.unpack_from("<I", data)
    (first,) = struct.unpack_from("<I", data, 4)
    config = data[8 + 4 * number : first]
    ends = [8 + 4 * len(rows) + len(config)]
    for row in rows:
        ends.append(ends[-1] + len(row))
    head = struct.pack(f"<{2 + len(rows)}I", len(rows), *ends)
    path.write_bytes(head + config + b"".join(rows))
    index = out / "order" / "index.json"
    content = json.loads(index.read_bytes())
    for shard in content["shards"]:
        if out / "order" / shard["raw_data"]["basename"] == path:
            shard["samples"], shard["raw_data"]["bytes"] = len(rows), ends[-1]
    index.write_text(json.dumps(content))


def _of_rows(change: Callable[[Draw, list[Any]], None]) -> Change:
    def damage(draw: Draw, out: Path) -> None:
        files = [
            path for path in sorted((out / "order").glob("*/**/*.*")) if path.suffix != ".json"
        ]
        path = draw.choice(files)
        rows = _rows(path)
        change(draw, rows)
        _write_rows(out, path, rows)

    return damage


def _swap(draw: Draw, rows: list[Any], most: int) -> None:
    """Swap two rows with other ids, at most so far from each other, or change one."""
    one = draw.randrange(len(rows))
    others = [
        i for i in range(len(rows)) if 0 < abs(i - one) <= most and _ids(rows[i]) != _ids(rows[one])
    ]
    if others:
        other = draw.choice(others)
        rows[one], rows[other] = rows[other], rows[one]
    else:
        _id(draw, rows)


def _id(draw: Draw, rows: list[Any]) -> None:
    number = draw.randrange(len(rows))
    row = rows[number]
    rows[number] = (
        row[:-2] + bytes([row[-2] ^ 1]) + row[-1:]
        if isinstance(row, bytes)
        else [*row[:-1], row[-1] ^ 1]
    )


def _of_steps(change: Callable[[Draw, list[Any]], object]) -> Change:
    def damage(draw: Draw, out: Path) -> None:
        path = out / "order" / "steps.parquet"
        table = pq.ParquetFile(path).read()
        rows = table.to_pylist()
        change(draw, rows)
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)

    return damage


def _other_step(draw: Draw, steps: list[Any]) -> None:
    step = draw.choice(steps)
    key = draw.choice(sorted(step))
    step[key] = _other(draw, step[key])


def _step_column(draw: Draw, out: Path) -> None:
    files = sorted((out / "order").glob("*/*.parquet"))
    if not files:
        return _shards(draw, out)
    path = draw.choice(files)
    table = pq.ParquetFile(path).read()
    rows = table.to_pylist()
    draw.choice(rows)["step"] += 1
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return None


def _shards(draw: Draw, out: Path) -> None:
    """Change the index of an MDS order, or the table of steps."""
    index = out / "order" / "index.json"
    if not index.exists():
        return _of_steps(_other_step)(draw, out)
    content = json.loads(index.read_bytes())
    shards = content["shards"]
    kind = draw.choice(["lost", "twice", "samples", "swapped"])
    if kind == "lost":
        del shards[draw.randrange(len(shards))]
    elif kind == "samples":
        draw.choice(shards)["samples"] -= 1
    elif kind == "twice" or len(shards) == 1:
        shards.append(draw.choice(shards))
    else:
        shards.append(shards.pop(draw.randrange(len(shards) - 1)))
    index.write_text(json.dumps(content))
    return None


def _of_order(content: dict[str, Any]) -> Values:
    order = content["order"]
    unproven = ("num_tokens_added", "num_tokens_cut", "num_tokens_dropped")
    for key in order:
        if key.startswith("num_") and (content["sources"] or key not in unproven):
            yield order, key
    yield order, "root_sha256"


def _of_proofs(content: dict[str, Any]) -> Values:
    for group in (content["order"]["ledger"], *content["order"]["windows"]):
        yield from ((group, key) for key in group)


def _of_sources(content: dict[str, Any]) -> Values:
    for source in content["sources"].values():
        yield from ((source["budget"], key) for key in ("asked", "available", "drawn", "overshoot"))
        for place in (source, *source["partitions"]):
            documents = place["documents"]
            for group in (documents, documents["dropped"], place["tokens"], place["chunks"]):
                yield from ((group, key) for key in group if key != "dropped")


def _other(draw: Draw, value: Any) -> Any:
    """Return another value of the same kind, or one that is not even of that."""
    if isinstance(value, int):
        return draw.choice([value + 1, value - 1, value + draw.randrange(1, 1000)])
    place = draw.randrange(len(value) - 4)
    return value[:place] + ("1" if value[place] == "0" else "0") + value[place + 1 :]


def _other_value(values: Callable[[dict[str, Any]], Values]) -> Change:
    """Change a value of the manifest that its rows, or its other values, must bear out."""

    def damage(draw: Draw, out: Path) -> None:
        content = json.loads((out / "manifest.json").read_bytes())
        # A holdout, and the order of a pool, have no sources.
        group, key = draw.choice(list(values(content)) or list(_of_order(content)))
        group[key] = _other(draw, group[key])
        _write(out, content)

    return damage


def _write(out: Path, content: dict[str, Any]) -> None:
    (out / "manifest.json").write_bytes(
        seal({key: content[key] for key in content if key != "digest"})
    )


def _sealed(change: Change) -> Change:
    """Make sizes and digests anew after a change, of the output and of its holdout."""

    def damage(draw: Draw, out: Path) -> None:
        place = draw.choice([path.parent for path in sorted(out.rglob("manifest.json"))])
        change(draw, place)
        for one in (place, out):
            content = json.loads((one / "manifest.json").read_bytes())
            digests = builds.digests(one)
            for name, of in content["files"].items():
                of.update(bytes=(one / name).stat().st_size, sha256=digests[name])
            _write(one, content)

    return damage


CONSISTENT: dict[str, Change] = {
    name: _sealed(change)
    for name, change in {
        "neighbours swapped": _of_rows(lambda draw, rows: _swap(draw, rows, 1)),
        "rows swapped": _of_rows(lambda draw, rows: _swap(draw, rows, len(rows))),
        "an id": _of_rows(_id),
        "a row lost": _of_rows(lambda draw, rows: rows.pop(draw.randrange(len(rows)))),
        "a row twice": _of_rows(lambda draw, rows: rows.append(draw.choice(rows))),
        "a number of a step in the rows": _step_column,
        "the index": _shards,
        "a value of a step": _of_steps(_other_step),
        "a step lost": _of_steps(lambda draw, steps: steps.pop(draw.randrange(len(steps)))),
        "a step twice": _of_steps(lambda draw, steps: steps.append(draw.choice(steps))),
        "a total of the order": _other_value(_of_order),
        "a value of a window or the ledger": _other_value(_of_proofs),
        "a count or a budget of a source": _other_value(_of_sources),
    }.items()
}


def cases(outputs: list[Path], folder: Path, number: int) -> Iterator[tuple[str, str, Path]]:
    """Yield outputs, one at a time, with what was done to them and to which."""
    for case in range(number):
        draw = Draw(f"second opinion {case}")
        changes = draw.choice([HARMLESS, DAMAGE, DAMAGE, CONSISTENT, CONSISTENT])
        name, good = draw.choice(sorted(changes)), draw.choice(outputs)
        out = shutil.copytree(good, folder / str(case) / good.name)
        changes[name](draw, out)
        yield name, f"{case}: {name} of {good.name}", out
        shutil.rmtree(folder / str(case))


def is_good(out: Path) -> bool:
    """Ask the package: files are as listed, and rows as the manifest says."""
    places = [out, *(path.parent for path in (out / "validation").glob("manifest.json"))]
    try:
        return all(
            verify(place) == [] and verify_against(place, str(place / "manifest.json")).equal
            for place in places
        )
    except InputError:
        return False


def compare(outputs: list[Path], folder: Path, number: int) -> Counter[str]:
    """Return how many outputs were found good, and damaged; fail if the two do not agree."""
    found, different = Counter[str](), []
    for name, what, out in cases(outputs, folder, number):
        ours, other = is_good(out), tool.verify(out)
        found["good" if other else "damaged"] += 1
        if not ours == other == (name in HARMLESS):
            different.append(f"{what}: verify {ours}, tool {other}")
    assert different == [], "\n".join(different)
    return found


def test_a_few_outputs_are_judged_alike(tmp_path: Path) -> None:
    outputs = make_outputs(tmp_path, ["plain", "windows-mds"])
    assert compare(outputs, tmp_path, FEW).keys() == {"good", "damaged"}


@pytest.mark.slow
def test_a_thousand_outputs_are_judged_alike(tmp_path: Path) -> None:
    print(compare(make_outputs(tmp_path), tmp_path, MANY))
