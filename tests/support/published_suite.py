"""A made-up suite in the layout of the staged one, with the facts that pages would show of it.

Written without the package: shards by the rules of the format alone, raw under an index that says
zstd, as they were published.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

REPO = "made-up/suite"
SUFFIX = "-tokenized-chunked-1024-512-128-backfill-nodups"
LIMIT = 1 << 16
ID_FORMS = {"books": "{:08x}{:032x}", "pes2o": "{:d}{:07d}"}
Row = tuple[str, list[int]]
Fact = dict[str, Any]


def config(compression: str | None = "zstd", dtype: str = "uint16") -> dict[str, Any]:
    return {
        "column_encodings": ["str", f"ndarray:{dtype}"],
        "column_names": ["id", "input_ids"],
        "column_sizes": [None, None],
        "compression": compression,
        "format": "mds",
        "hashes": [],
        "size_limit": LIMIT,
        "version": 2,
    }


def encode_row(id_: str, ids: Sequence[int], dtype: str = "uint16") -> bytes:
    """Return a row: two sizes, the id, shape and values of the array."""
    shape = struct.pack("<BB", 4, len(ids)) if len(ids) < 256 else struct.pack("<BH", 5, len(ids))
    array = shape + np.array(ids, dtype).tobytes()
    return struct.pack("<II", len(id_.encode()), len(array)) + id_.encode() + array


def write_shards(folder: Path, rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """Write rows as raw shards of at most `LIMIT` bytes under an index; return the index."""
    header = 8 + len(json.dumps(config(**about)))
    parts: list[list[Row]] = [[]]
    size = header
    for row in rows:
        num_bytes = len(encode_row(*row, about.get("dtype", "uint16"))) + 4
        if size + num_bytes > LIMIT:
            parts.append([])
            size = header
        parts[-1].append(row)
        size += num_bytes
    return write_parts(folder, parts, **about)


def write_parts(folder: Path, parts: Sequence[Sequence[Row]], **about: Any) -> dict[str, Any]:
    """Write each part as a raw shard under an index; return the index."""
    folder.mkdir(parents=True)
    header = json.dumps(config(**about), sort_keys=True).encode()
    shards = []
    for number, part in enumerate(parts):
        name = f"shard.{number:05d}.mds"
        rows = [encode_row(*row, about.get("dtype", "uint16")) for row in part]
        ends = np.cumsum([0, *map(len, rows)]) + 8 + 4 * len(rows) + len(header)
        data = struct.pack("<I", len(rows)) + ends.astype("<u4").tobytes() + header + b"".join(rows)
        (folder / name).write_bytes(data)
        raw = {"basename": name, "bytes": len(data), "hashes": {}}
        packed = {"basename": f"{name}.zstd", "bytes": len(data) // 2, "hashes": {}}
        shards.append(
            {**config(**about), "raw_data": raw, "samples": len(rows), "zip_data": packed}
        )
    index = {"shards": shards, "version": 2}
    (folder / "index.json").write_text(json.dumps(index, sort_keys=True))
    return index


def rows_of(
    seed: int, num_rows: int, longest: int = 1026, id_form: str = "<urn:uuid:{:08x}-{:027x}>"
) -> list[Row]:
    """Return made-up rows of documents of up to four chunks."""
    random = np.random.default_rng(seed)
    lengths = random.integers(20, longest + 1, num_rows)
    lengths[::3] = longest
    return [
        (id_form.format(seed, row // 4), random.integers(5, 50_000, length).tolist())
        for row, length in enumerate(lengths.tolist())
    ]


def write_suite(folder: Path) -> list[Fact]:
    """Write the repository into a folder; return what pages show of it."""
    facts: list[Fact] = []
    merged = []
    for source, number in (("books", 1), ("books", 0), ("pes2o", 5)):
        name = f"{source}_{number:04d}{SUFFIX}"
        where = f"train/{source}/{name}"
        rows = rows_of(seed=number + len(source), num_rows=90, id_form=ID_FORMS[source])
        index = write_shards(folder / where, rows)
        lengths = [len(ids) for _, ids in rows]
        counts = {
            "num_tokens": sum(lengths),
            "num_truncated_tokens": sum(min(1024, length) for length in lengths),
        }
        (folder / where / "num_tokens.json").write_text(json.dumps(counts, indent=2))
        facts.append(fact_of(f"{where}/num_tokens.json", "num_tokens", counts))
        facts.append(fact_of(f"{where}/index.json", "index", index_value(index, folder / where)))
        facts += _digests(folder, where)
        facts.append(fact_of(where, "listing", {"files": _sizes(folder / where)}))
        if source == "books":
            merged += [
                {
                    **one,
                    "raw_data": {
                        **one["raw_data"],
                        "basename": f"{name}/{one['raw_data']['basename']}",
                    },
                }
                for one in index["shards"]
            ]
    books = folder / "train" / "books"
    (books / "index.json").write_text(json.dumps({"version": 2, "shards": merged}))
    value = index_value({"shards": merged[:3]}, books) | {"complete": False}
    facts.append(fact_of("train/books/index.json", "index", value, note="truncated after 3 shards"))
    facts.append(fact_of("train/books", "listing", {"files": {"dirs": sorted(
        path.name for path in books.iterdir() if path.is_dir()
    )}}))  # fmt: skip
    where = f"validation/dclm/split_7{SUFFIX}"
    rows = rows_of(seed=7, num_rows=40, longest=1024)
    index = write_shards(folder / where, rows)
    stats = stats_of([len(ids) for _, ids in rows], skipped=321)
    (folder / where / "stats.json").write_text(json.dumps(stats))
    facts.append(fact_of(f"{where}/stats.json", "stats", stats))
    facts.append(
        fact_of(where, "index", {"first_shards": 1, "samples_total": index["shards"][0]["samples"]})
    )
    return facts


def stats_of(lengths: Sequence[int], skipped: int) -> dict[str, Any]:
    at = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
    percentiles = {
        f"{p}th": int(value) for p, value in zip(at, np.percentile(lengths, at), strict=True)
    }
    return {
        "total_duplicated_tokens": 0,
        "total_tokens_written": sum(lengths),
        "total_tokens_skipped": skipped,
        "percentiles": percentiles,
    }


def fact_of(path: str, kind: str, value: dict[str, Any], note: str = "", repo: str = REPO) -> Fact:
    return {
        "repo": repo,
        "path": path,
        "kind": kind,
        "value": value,
        "revision": "main",
        "source": f"https://example.org/{path}",
        "note": note,
    }


def index_value(index: dict[str, Any], folder: Path) -> dict[str, Any]:
    about = config()
    del about["format"]
    shards = [
        {
            "basename": one["raw_data"]["basename"],
            "raw_bytes": one["raw_data"]["bytes"],
            "samples": one["samples"],
            "zip_bytes": one["zip_data"]["bytes"],
        }
        for one in index["shards"]
    ]
    size = (folder / "index.json").stat().st_size
    return {**about, "complete": True, "file_size": shown(size), "shards": shards}


def _digests(folder: Path, where: str) -> list[Fact]:
    found = []
    for path in sorted((folder / where).glob("*.mds")):
        data = path.read_bytes()
        value = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        found.append(fact_of(f"{where}/{path.name}", "sha256", value))
    return found


def _sizes(folder: Path) -> dict[str, str]:
    return {path.name: shown(path.stat().st_size) for path in sorted(folder.iterdir())}


def shown(num_bytes: int) -> str:
    """Return a size as a page shows it: three digits, decimal units."""
    if num_bytes < 1000:
        return f"{num_bytes} Bytes"
    return f"{num_bytes / 1e3:.3g} kB" if num_bytes < 999_500 else f"{num_bytes / 1e6:.3g} MB"


def write_facts(folder: Path, facts: Sequence[Fact]) -> Path:
    """Write facts as they ship, a file for each data set; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for repo in dict.fromkeys(fact["repo"] for fact in facts):
        own = [
            {key: value for key, value in fact.items() if key != "repo"}
            for fact in facts
            if fact["repo"] == repo
        ]
        content = json.dumps({"repo": repo, "facts": own})
        (folder / f"{repo.replace('/', '--')}.json").write_text(content)
    return folder
