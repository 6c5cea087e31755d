"""Infer: raw documents and a published shard, or its digest -> how its rows were made.

Documents are tokenized once for each prefix space and made into rows in every way of `variants`.
With a shard, rows are compared, and what its bytes say is read from it. With a digest alone, every
way is written in every form until one has the digest, which takes seconds a way at 64 MiB a shard.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.audit.attest.facts import Fact
from pipeline.audit.attest.raw_head import RawHead, read_head
from pipeline.audit.attest.variants import ID_FORMS, Form, Making, Tails, forms, makings
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds import MdsWriter, Pool
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

SIZE_LIMIT = 64 << 20
_PUBLISHED_SIZES = (1024, 8000, 8192)
# Text that fills a shard: 33.5 million ids of uint16, of up to five bytes of text.
_MOST_TEXT = 5 * SIZE_LIMIT // 2
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A published shard on this machine."""

    path: Path
    rows: Rows
    names: list[str]
    """The id of each row's document."""
    config: Mapping[str, object]
    """What its header says."""

    @property
    def number(self) -> int:
        found = re.search(r"shard\.(\d+)\.mds", self.path.name)
        return int(found[1]) if found else 0

    @property
    def size_limit(self) -> int:
        limit = self.config.get("size_limit")
        return limit if isinstance(limit, int) else SIZE_LIMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How well a way of making rows gives those of the target."""

    making: Making
    form: Form | None
    """How they are stored, where it is known."""
    num_rows: int
    """Rows of the target that it makes, or -1 where only a digest is known."""
    num_ids: int
    """Ids in them."""
    is_exact: bool
    """Whether it gives the target; with a head of too few documents, as far as that goes."""
    difference: str = ""
    """The first row that differs, as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """What was found, the best fit first."""

    target: str
    num_rows: int
    """Rows compared, or -1."""
    fits: tuple[Fit, ...]
    num_tried: int
    notes: tuple[str, ...]


def open_shard(path: Path) -> Shard:
    """Read a shard by its own header, without an index. Raises: InputError."""
    try:
        with path.open("rb") as file:
            [num_rows] = np.frombuffer(file.read(4), "<u4").tolist()
            offsets = np.frombuffer(file.read(4 * (num_rows + 1)), "<u4")
            header = file.read(int(offsets[0]) - 4 - 4 * (num_rows + 1))
        config = json.loads(header)
        entry = {**config, "raw_data": {"basename": path.name, "bytes": int(offsets[-1])}}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{path}: got no MDS shard ({error})", "fetch it whole, and raw"
        ) from error
    pool = Pool.of(path.parent, [{**entry, "samples": num_rows}])
    every = np.arange(num_rows)
    lengths = pool.lengths()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    rows = Rows(pool.gather(every, lengths), offsets)
    names = pool.document_ids(every) if "id" in config["column_names"] else [""] * num_rows
    return Shard(path=path, rows=rows, names=names, config=config)


def infer(raw: Path, against: str, facts: Mapping[str, tuple[Fact, ...]]) -> Inference:
    """Try every way of making rows of raw documents on a shard, a path, or a digest, in hex.

    Raises: InputError for raw documents or a shard that cannot be read, or a digest of no form.
    """
    if re.fullmatch(r"[0-9a-f]{64}", against):
        return _infer_digest(raw, against, facts)
    if not Path(against).is_file():
        raise InputError(
            f"{against}: got neither a file nor a digest, expected a raw shard, or 64 hex digits",
            "check the path",
        )
    return _infer_shard(raw, open_shard(Path(against)))


@lru_cache
def _tokenizer(prefix: bool) -> Tokenizer:
    """Load the suite's tokenizer once: its tables take a third of a second to make."""
    return load_tokenizer("modernbert", add_prefix_space=prefix)


def _sizes_and_tails(name: str) -> tuple[tuple[int, ...], Tails]:
    """Return the sizes to try, and what is done with tails, by the name of a folder."""
    found = re.search(r"chunked-(\d+)-(\d+)-(\d+)", name)
    if found is None:
        return _PUBLISHED_SIZES, Tails()
    size, min_size, skip_below = map(int, found.groups())
    return (size,), Tails(min_size=min_size, skip_below=skip_below)


def _infer_shard(raw: Path, shard: Shard) -> Inference:
    sizes, tails = _sizes_and_tails(shard.path.parent.name)
    if len(sizes) > 1:
        longest = int(shard.rows.lengths().max())
        sizes = tuple(range(max(longest - 2, 8), longest + 3))
    num_needed = len(shard.rows.values) * (shard.number + 2)
    head = read_head(raw, min(_MOST_TEXT * (shard.number + 1), 8 * num_needed))
    made = dict.fromkeys(one for size in sizes for one in makings(size))
    fits = []
    for making, documents, owners in _make_all(head, list(made), tails):
        fits.append(_compare(shard, making, documents, [head.ids[one] for one in owners]))
    fits.sort(key=lambda fit: (not fit.is_exact, -fit.num_rows))
    return Inference(
        target=str(shard.path),
        num_rows=len(shard.rows),
        fits=tuple(fits),
        num_tried=len(fits),
        notes=_notes(head),
    )


def _notes(head: RawHead) -> tuple[str, ...]:
    cut = "" if head.is_whole else ", of a file that goes on"
    return (f"{len(head.texts):,} documents were read{cut}",)


def _make_all(
    head: RawHead, made: list[Making], tails: Tails
) -> Iterator[tuple[Making, Rows, Int64Array]]:
    """Yield each way's rows and their documents; documents are tokenized once for each prefix."""
    for prefix in dict.fromkeys(one.add_prefix_space for one in made):
        tokenizer = _tokenizer(prefix)
        encoded = tokenizer.encode(head.texts)
        for making in made:
            if making.add_prefix_space == prefix:
                yield making, *making.make(tokenizer, encoded, tails)


def _compare(shard: Shard, making: Making, rows: Rows, ids: list[str]) -> Fit:
    """Compare rows with a shard's, from the place where its first row that is found lies."""
    places: dict[bytes, int] = {}
    for place in range(len(rows) - 1, -1, -1):
        places[rows[place].tobytes()] = place
    found = [places.get(row.tobytes(), -1) for row in shard.rows]
    known = [row for row, place in enumerate(found) if place >= 0]
    num_ids = sum(len(shard.rows[row]) for row in known)
    start = found[known[0]] - known[0] if known else 0
    num_there = min(len(shard.rows), len(rows) - start)
    first = next(
        (
            row
            for row in range(num_there)
            if start + row < 0 or not np.array_equal(shard.rows[row], rows[start + row])
        ),
        None,
    )
    form = _form_of(shard, ids[start : start + num_there]) if first is None and known else None
    return Fit(
        making=making,
        form=form,
        num_rows=len(known),
        num_ids=num_ids,
        # The last chunks of a head depend on what follows.
        is_exact=first is None and num_there > 0 and form is not None,
        difference="" if first is None else _difference(shard, rows, start, first),
    )


def _form_of(shard: Shard, ids: list[str]) -> Form | None:
    """Return how a shard stores rows of documents of these ids; None for other ids."""
    dtype = next(one for one in ("uint16", "uint32") if f"ndarray:{one}" in str(shard.config))
    names = shard.names[: len(ids)]
    for form, spell in ID_FORMS.items():
        if [spell(id_) for id_ in ids] == names or (form == "none" and set(names) == {""}):
            header = "zstd" if shard.config.get("compression") == "zstd" else None
            return Form(dtype=dtype, header=header, ids=form)  # type: ignore[arg-type]
    return None


def _difference(shard: Shard, rows: Rows, start: int, row: int) -> str:
    tokenizer = _tokenizer(False)
    theirs = shard.rows[row]
    ours = rows[start + row] if 0 <= start + row < len(rows) else rows[0][:0]
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    spelled = [
        json.dumps(tokenizer.decode_reference(one[max(same - 4, 0) : same + 8]), ensure_ascii=False)
        for one in (theirs, ours)
    ]
    return (
        f"row {row:,}: {len(theirs):,} ids, made {len(ours):,}; from id {same:,} on it has "
        f"{spelled[0]}, made {spelled[1]}"
    )


def _infer_digest(raw: Path, digest: str, facts: Mapping[str, tuple[Fact, ...]]) -> Inference:
    known = [one for own in facts.values() for one in own if one.value.get("sha256") == digest]
    name = known[0].name if known else ""
    sizes, tails = _sizes_and_tails(name)
    if known and not name.endswith("shard.00000.mds"):
        raise InputError(
            f"{digest}: is {name}, expected the first shard of a folder",
            "give the shard itself, or the digest of the folder's shard.00000.mds",
        )
    head = read_head(raw, _MOST_TEXT)
    made = list(dict.fromkeys(one for size in sizes for one in makings(size)))
    num_tried = 0
    for making, rows, owners in _make_all(head, made, tails):
        for form in forms():
            num_tried += 1
            spell = ID_FORMS[form.ids]
            ids = [spell(head.ids[one]) for one in owners]
            if _first_shard(rows, ids, form) == digest:
                fit = Fit(making=making, form=form, num_rows=-1, num_ids=-1, is_exact=True)
                return Inference(
                    target=name or digest,
                    num_rows=-1,
                    fits=(fit,),
                    num_tried=num_tried,
                    notes=_notes(head),
                )
    return Inference(
        target=name or digest, num_rows=-1, fits=(), num_tried=num_tried, notes=_notes(head)
    )


def _first_shard(rows: Rows, ids: list[str], form: Form) -> str:
    """Return the sha256 of the first shard of rows; of all of them if they fill none."""
    with TemporaryDirectory(prefix="ettin-shard-") as scratch:
        folder = Path(scratch)
        writer = MdsWriter.of(folder, form.shards(SIZE_LIMIT))
        shard = folder / "shard.00000.mds"
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows.slice(start, min(start + _ROWS_AT_ONCE, len(rows)))
            names = [id_.encode() for id_ in ids[start : start + len(part)]]
            writer.write(names, np.arange(len(part)), part.values, part.offsets)
            if shard.exists():
                return sha256_file(shard)
        writer.finish()
        return sha256_file(shard)


def read_signs(shard: Shard) -> list[str]:
    """Return what a shard alone tells of how its rows were made, and what stays undecided."""
    tokenizer = _tokenizer(False)
    return [*_storage_signs(shard), *_row_signs(shard, tokenizer)]


def _storage_signs(shard: Shard) -> Iterator[str]:
    encodings = shard.config["column_encodings"]
    assert isinstance(encodings, list)
    yield f"ids of tokens: {encodings[-1]}; header: compression {shard.config.get('compression')}"
    lengths = sorted({len(name) for name in shard.names})
    shown = shard.names[0] if shard.names else ""
    of = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    yield f"ids of documents: {of} characters, such as {shown!r}"


def _row_signs(shard: Shard, tokenizer: Tokenizer) -> Iterator[str]:
    rows = shard.rows
    lengths = rows.lengths()
    longest = int(lengths.max())
    firsts = rows.values[rows.offsets[:-1]] == tokenizer.cls_id
    lasts = rows.values[rows.offsets[1:] - 1] == tokenizer.sep_id
    texts = [tokenizer.decode_reference(row) for row in rows]
    again = tokenizer.encode(texts)
    num_fixed = sum(np.array_equal(one, other) for one, other in zip(rows, again, strict=True))
    num_marks = sum(text.count(" .") + text.count(" ,") + text.count(" n't") for text in texts)
    num_edges = sum(text[:1] == "\ufffd" or text[-1:] == "\ufffd" for text in texts)
    framed = bool(firsts.all() and lasts.all())
    yield (
        f"rows: {len(rows):,}, the longest of {longest:,} ids, {np.mean(lengths == longest):.0%} "
        f"of that length; {firsts.mean():.0%} begin with [CLS], {lasts.mean():.0%} end with [SEP]"
    )
    yield f"{num_fixed / len(rows):.1%} of rows are what their text is tokenized to"
    yield f"spaces before marks: {num_marks:,}; rows with U+FFFD at an edge: {num_edges:,}"
    if framed and num_fixed == len(rows):
        cut = longest - 2
        yield f"so pieces of {cut:,} ids were decoded and tokenized again with both special tokens"
        yield f"so spaces were {'not ' if num_marks else ''}cleaned up"
    elif framed:
        yield f"so pieces of {longest - 2:,} ids were given the special tokens that they lack"
    else:
        yield f"so rows are plain slices of {longest:,} ids"
        yield "undecided: clean-up, which slices do not go through"
    yield "undecided: prefix space; give raw documents to try both"
