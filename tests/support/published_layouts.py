"""The four data sets of a made-up suite, each in its published layout, made in a named way.

A reference of its own: documents are tokenized by the `tokenizers` library, cut, rewritten and
written without the package. Paths are those that are asked for of the released data sets.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from support.published_suite import (
    SUFFIX,
    Fact,
    Row,
    fact_of,
    index_value,
    shown,
    stats_of,
    write_parts,
)
from tokenizers import Tokenizer

STAGING = "orionweller/generic_data_v2"
PRETRAINING = "jhu-clsp/ettin-pretraining-data"
EXTENSION = "jhu-clsp/ettin-extension-data"
ORDER = "jhu-clsp/ettin-data-order"
LONG = SUFFIX.replace("1024", "8000")
STARCODER = f"train/starcoder/starcoder_0048{SUFFIX}"
SPLIT = f"train/mlfoundations-dclm-baseline-1.0-parquet-sampled-v2/split_10033{SUFFIX}"
HELD = f"validation/mlfoundations-dclm-baseline-1.0-parquet-sampled/split_7{SUFFIX}"
BOOKS = "train/books/books_0001"
EXCHANGE = f"train/stackexchange-dolmino-dup/split_31{LONG}"
CLS, SEP = 50281, 50282
MARKS = (" .", " ?", " !", " ,")
QUOTES = (" n't", " 'm", " 's", " 've", " 're")
Text = tuple[str, str]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a suite is made; the defaults are the readings that published facts support."""

    pretraining: str = "retokenize"
    extension: str = "slice"
    fewer: int = 0
    """By how many ids pieces are shorter than rows."""
    clean: bool = True
    keep_specials: bool = False
    prefix: bool = False
    dtype: str = "uint16"
    compression: str | None = "zstd"
    longest_first: bool = True
    layout: str = "archives"
    id_form: str = "<urn:uuid:{:032x}-123>"
    counts: str = "stored"

    def about(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "compression": self.compression}


@dataclass(frozen=True)
class Suite:
    """The data sets by name."""

    repos: Mapping[str, Path]


def write_suite(folder: Path, tokenizer_json: bytes, **way: Any) -> Suite:
    """Write all data sets below a folder."""
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    made = replace(Way(), **way)
    maker = Maker(tokenizer, made)
    repos = {name: folder / name for name in (STAGING, PRETRAINING, EXTENSION, ORDER)}
    _write_staging(repos[STAGING], maker)
    _write_head(repos[PRETRAINING], maker)
    _write_extension(repos[EXTENSION], maker)
    _write_order(repos[ORDER], maker)
    return Suite(repos)


def texts(seed: int, lengths: Sequence[int], id_form: str, marks: float = 0.005) -> list[Text]:
    """Return documents of so many words; `marks`: chance of a space before each mark, a tenth of
    it that of two."""
    random = np.random.default_rng(seed)
    plain = ["def", "return", "the", "value", "of", "naïve", "==", "\n", "\n    ", "日本"]
    # Of several ids, so that a cut falls inside a character.
    plain.append("🦄🦄" if marks else "table")
    words = [*plain, "ok .", "why ?", "so ,", "!= b", "it 's", "do n't", "two  ,"]
    chances = np.r_[np.ones(len(plain)), np.full(6, marks), marks / 10]
    found = []
    for number, length in enumerate(lengths):
        chosen = random.choice(len(words), length, p=chances / chances.sum())
        text = "def " + " ".join(words[one] for one in chosen.tolist())
        found.append((id_form.format(seed * 1000 + number), text))
    return found


class Maker:
    """Documents -> rows, in one of several ways."""

    def __init__(self, tokenizer: Tokenizer, way: Way) -> None:
        self.tokenizer, self.way = tokenizer, way

    def encode(self, text: str) -> list[int]:
        space = " " if self.way.prefix and not text[:1].isspace() else ""
        ids: list[int] = self.tokenizer.encode(space + text).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=not self.way.keep_specials)
        return cleaned(text) if self.way.clean else text

    def rows(self, documents: Sequence[Text], how: str, size: int) -> tuple[list[Row], int]:
        """Return rows, and how many ids went into none."""
        random = np.random.RandomState(42)
        rows: list[Row] = []
        skipped = 0
        for id_, text in documents:
            ids = self.encode(text)
            # CLS and SEP of documents.
            ids = ids[1:-1] if how == "wrapped" else ids
            pieces = list(cut(ids, size - self.way.fewer, random))
            skipped += len(ids) - sum(map(len, pieces))
            rows += [(id_, self._stored(piece, how, size)) for piece in pieces]
        return rows, skipped

    def _stored(self, piece: list[int], how: str, size: int) -> list[int]:
        if how == "slice":
            return piece
        if how == "wrapped":
            return [CLS, *piece, SEP]
        if how == "framed":
            return [CLS] * (piece[0] != CLS) + piece + [SEP] * (piece[-1] != SEP)
        if how == "retokenize":
            return self.encode(self.decode(piece))
        # Pieces that begin with a space stay as they are; others are encoded again and cut.
        text = self.decode(piece)
        if text.startswith(" "):
            return [CLS, *piece] if piece[0] != CLS else piece
        return self.encode(text)[:size]


def cut(ids: list[int], most: int, random: np.random.RandomState) -> Iterator[list[int]]:
    """Yield pieces; a short last one is dropped below 128, and borrows below 512."""
    pieces = [ids[start : start + most] for start in range(0, len(ids), most)]
    if len(pieces) > 1 and len(pieces[-1]) < 128:
        pieces.pop()
    elif len(pieces) > 1 and len(pieces[-1]) < 512:
        borrowed = random.randint(0, most - len(pieces[-1]))
        keep = len(pieces[-2]) - borrowed
        pieces[-2:] = [pieces[-2][:keep], pieces[-2][keep:] + pieces[-1]]
    yield from pieces


def cleaned(text: str) -> str:
    """Clean up spaces as `clean_up_tokenization` of transformers does."""
    for mark in MARKS:
        text = text.replace(mark, mark[1:])
    text = text.replace(" ' ", "'")
    for mark in QUOTES:
        text = text.replace(mark, mark[1:])
    return text


def _write_staging(root: Path, maker: Maker) -> None:
    way = maker.way
    documents = texts(1, [20, 900, 2600, 70, 1500, 3100, 40, 700] * 5, "{:05d}")
    rows, _ = maker.rows(documents, way.pretraining, 1024)
    # As many shards as the released partition has; the last one has most rows here.
    parts = [rows[2 * part : 2 * part + 2] for part in range(22)] + [rows[44:]]
    write_parts(root / STARCODER, parts, **way.about())
    _write_counts(root / STARCODER, rows, way)
    rows, _ = maker.rows(texts(2, [30, 2500, 800, 1900] * 4, way.id_form), way.pretraining, 1024)
    write_parts(root / SPLIT, [rows[:20], rows[20:]], **way.about())
    _write_counts(root / SPLIT, rows, way)
    rows, skipped = maker.rows(texts(3, [2500, 100] * 3, way.id_form), "slice", 1024)
    write_parts(root / HELD, [rows], **way.about())
    _write_stats(root / HELD, rows, skipped)


def _write_counts(folder: Path, rows: Sequence[Row], way: Way) -> None:
    lengths = [len(ids) - 2 * (way.counts == "without specials") for _, ids in rows]
    counts = {
        "num_tokens": sum(lengths),
        "num_truncated_tokens": sum(min(1024, length) for length in lengths),
    }
    (folder / "num_tokens.json").write_text(json.dumps(counts, indent=2))


def _write_stats(folder: Path, rows: Sequence[Row], skipped: int) -> None:
    lengths = [len(ids) for _, ids in rows]
    bins = {f"{k}k": [row for row, n in enumerate(lengths) if n // 1000 == k] for k in range(9)}
    (folder / "stats.json").write_text(json.dumps(stats_of(lengths, skipped)))
    (folder / "token_decile.json").write_text(json.dumps(bins))


def _write_head(root: Path, maker: Maker) -> None:
    """Write archives of rows' text with a log beside each, or shards."""
    rows, _ = maker.rows(texts(4, [1500, 300], "book-{:035d}"), "slice", 1024)
    for number in range(3):
        name = f"books_{number:04d}{SUFFIX}"
        if maker.way.layout in ("mds", "both"):
            write_parts(root / "train/books" / name, [rows], **maker.way.about())
        if maker.way.layout in ("archives", "both"):
            (root / "books").mkdir(parents=True, exist_ok=True)
            lines = [json.dumps({"id": id_, "text": maker.decode(ids)}) for id_, ids in rows]
            _write_archive(root / "books" / f"{name}.jsonl.tar.gz", name, lines)
            (root / "books" / f"{name}.log").write_text(f"{len(rows)} rows\n")
    root.mkdir(parents=True, exist_ok=True)
    (root / "README.md").write_text("# Made up\n")


def _write_archive(path: Path, name: str, lines: Sequence[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"{name}.jsonl")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def _write_extension(root: Path, maker: Maker) -> None:
    way = maker.way
    # Without marks, so that full rows stay equal where they are tokenized again.
    documents = texts(5, [4000, 40, 21000, 900] * 2, "{}", marks=0)
    rows, skipped = maker.rows(documents, way.extension, 8000)
    write_parts(root / EXCHANGE, [rows], **way.about())
    _write_stats(root / EXCHANGE, rows, skipped)
    documents = texts(6, [9000, 26000, 12000, 300], "book-{:035d}", marks=0)
    rows, skipped = maker.rows(documents, way.extension, 8000)
    if way.longest_first:
        rows.sort(key=lambda row: -(len(row[1]) // 1000))
    write_parts(root / BOOKS, [rows], **way.about())
    _write_stats(root / BOOKS, rows, skipped)


def _write_order(root: Path, maker: Maker) -> None:
    """Write what a gated data set of ordered rows has: one file of rows with their step."""
    rows, _ = maker.rows(texts(7, [1200, 400], "{}"), maker.way.pretraining, 1024)
    root.mkdir(parents=True)
    columns = {
        "input_ids": pa.array([ids for _, ids in rows], pa.list_(pa.int64())),
        "step": pa.array(range(len(rows)), pa.int64()),
    }
    pq.write_table(pa.table(columns), root / "checkpoint_0.parquet")
    # A listing kept beside it.
    listing = "\n".join(id_ for id_, _ in rows).encode()
    (root / "rows.txt.zst").write_bytes(zstandard.compress(listing))


def facts_of(suite: Suite) -> list[Fact]:
    """Return what pages would show of every file, and of every folder."""
    facts = []
    for repo, root in suite.repos.items():
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            facts += [
                fact_of(name, kind, value, repo=repo) for kind, value in _pages(path) if value
            ]
    return facts


def _pages(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kinds of facts of a file or folder, with their values."""
    if path.is_dir():
        own = sorted(path.iterdir())
        sizes = {one.name: shown(one.stat().st_size) for one in own if one.is_file()}
        dirs = {"dirs": [one.name for one in own if one.is_dir()]}
        yield "listing", {"files": sizes or dirs}
    elif path.name.endswith((".mds", ".tar.gz", ".parquet")):
        data = path.read_bytes()
        yield "sha256", {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    elif path.name == "index.json":
        yield "index", index_value(json.loads(path.read_bytes()), path.parent)
    elif path.name in ("stats.json", "num_tokens.json"):
        yield path.stem, json.loads(path.read_bytes())
