"""Files as people have them, of every kind that is read: real text where it lies beside a checkout.

Otherwise the text is made here; nothing depends on which it is.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from support import archives, mds_shards
from support.paths import SHARED

NUM_DOCUMENTS = 12


@cache
def texts() -> tuple[str, ...]:
    """Return some texts, each unlike the others."""
    real = sorted((SHARED / "data" / "peps").glob("*.json.gz"))
    if not real:
        return tuple(f"Letter {n}: the boat left before the fog did. " * 3 for n in range(12))
    with gzip.open(real[0], "rt", encoding="utf-8") as lines:
        return tuple(json.loads(next(lines))["text"][:600] for _ in range(NUM_DOCUMENTS))


def records(text: str = "text", id_: str | None = "id") -> list[dict[str, Any]]:
    """Return the documents with these names of fields; a dotted one is inside another."""
    made = []
    for number, content in enumerate(texts()):
        record: dict[str, Any] = {"lang": "en", "n": number}
        named = [(text, content)] if id_ is None else [(id_, f"doc-{number}"), (text, content)]
        for name, value in named:
            outer, dot, last = name.rpartition(".")
            (record.setdefault(outer, {}) if dot else record)[last] = value
        made.append(record)
    return made


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def table(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> bytes:
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def _jsonl(folder: Path) -> None:
    (folder / "part-0000.jsonl").write_bytes(json_lines(records()[:6]))
    (folder / "part-0001.jsonl").write_bytes(json_lines(records()[6:]))


def _json_gz(folder: Path) -> None:
    (folder / "dolma-0000.json.gz").write_bytes(gzip.compress(json_lines(records())))


def _jsonl_zst(folder: Path) -> None:
    packed = zstandard.compress(json_lines(records(text="content", id_="doc_id")))
    (folder / "pile.jsonl.zst").write_bytes(packed)


def _nested(folder: Path) -> None:
    rows = json_lines(records(text="doc.text", id_="meta.id"))
    (folder / "nested.jsonl.xz").write_bytes(lzma.compress(rows))


def _array(folder: Path) -> None:
    (folder / "export.json").write_text(json.dumps(records(id_=None), indent=1))


def _parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(records(id_="meta.id")), folder / "train.parquet")


def _csv(folder: Path) -> None:
    (folder / "sheet.csv").write_bytes(table(records(text="body", id_="key")))


def _tsv(folder: Path) -> None:
    (folder / "sheet.tsv.bz2").write_bytes(bz2.compress(table(records(), "\t")))


def _txt(folder: Path) -> None:
    for number, content in enumerate(texts()):
        below = folder / f"year-{number % 2}"
        below.mkdir(exist_ok=True)
        (below / f"note {number}.txt").write_text(content, encoding="utf-8")


def _markdown(folder: Path) -> None:
    # Of one name in each folder, as documentation has them.
    for number, content in enumerate(texts()[:4]):
        (folder / f"page-{number}").mkdir()
        (folder / f"page-{number}" / "index.md").write_text(content, encoding="utf-8")


def _arrow(folder: Path) -> None:
    rows = pa.Table.from_pylist(records(text="article"))
    path = folder / "data-00000-of-00001.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as out:
        out.write_table(rows)
    # As `datasets.save_to_disk` leaves them beside.
    (folder / "state.json").write_text("{}")
    (folder / "dataset_info.json").write_text("{}")


def _mds(folder: Path) -> None:
    documents = [(f"doc-{number}", content) for number, content in enumerate(texts())]
    (folder / "shard.00000.mds").write_bytes(mds_shards.text_shard(documents))
    (folder / "index.json").write_text("{}")


def _tar(folder: Path) -> None:
    members = [archives.member("a.jsonl", json_lines(records()[:6]))]
    members.append(archives.member("b.jsonl", json_lines(records()[6:])))
    (folder / "pool.jsonl.tar.gz").write_bytes(gzip.compress(archives.tar(members)))


KINDS: dict[str, Callable[[Path], None]] = {
    "jsonl": _jsonl,
    "json.gz": _json_gz,
    "jsonl.zst": _jsonl_zst,
    "nested jsonl.xz": _nested,
    "JSON array": _array,
    "parquet": _parquet,
    "csv": _csv,
    "tsv.bz2": _tsv,
    "txt": _txt,
    "markdown": _markdown,
    "arrow": _arrow,
    "mds": _mds,
    "jsonl.tar.gz": _tar,
}
"""Each writes files of a kind into an empty folder."""


def write(kind: str, folder: Path) -> Path:
    """Write files of a kind into a new folder, and return it."""
    folder.mkdir(parents=True)
    KINDS[kind](folder)
    return folder
