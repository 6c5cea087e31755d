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
from pipeline.audit.attest.raw_head import RawHead, read_documents
from pipeline.audit.attest.shard_head import ShardHead, read_head
from pipeline.audit.attest.variants import ID_FORMS, Form, Making, Tails, forms, makings
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds import MdsWriter
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

SIZE_LIMIT = 64 << 20
_PUBLISHED_SIZES = (1024, 8000, 8192)
# Text that fills a shard: 33.5 million ids of uint16, of up to five bytes of text.
_MOST_TEXT = 5 * SIZE_LIMIT // 2
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A published shard on this machine."""

    path: Path
    head: ShardHead
    """All of it."""

    @property
    def rows(self) -> Rows:
        return self.head.rows

    @property
    def number(self) -> int:
        found = re.search(r"shard\.(\d+)\.mds", self.path.name)
        return int(found[1]) if found else 0


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
    """Read a shard by its own header, without an index.

    Raises: InputError when it cannot be read, or is cut off.
    """
    try:
        head = read_head(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    if not head.is_whole:
        raise InputError(
            f"{path}: got {len(head.ids):,} of {len(head.row_bytes):,} rows, expected all of them",
            "fetch it whole",
        )
    return Shard(path=path, head=head)


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
    head = read_documents(raw, min(_MOST_TEXT * (shard.number + 1), 8 * num_needed))
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
    names = [*shard.head.ids[: len(ids)]]
    for form, spell in ID_FORMS.items():
        if [spell(id_) for id_ in ids] == names or (form == "none" and set(names) == {""}):
            return Form(
                dtype="uint16" if shard.head.dtype == "uint16" else "uint32",
                header="zstd" if shard.head.config.get("compression") == "zstd" else None,
                ids=form,
            )
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
    head = read_documents(raw, _MOST_TEXT)
    made = list(dict.fromkeys(one for size in sizes for one in makings(size)))
    num_tried = 0
    for making, rows, owners in _make_all(head, made, tails):
        for form in forms():
            num_tried += 1
            spell = ID_FORMS[form.ids]
            ids = [spell(head.ids[one]) for one in owners]
            made_digest, is_full = _first_shard(rows, ids, form)
            if not (is_full or head.is_whole):
                raise InputError(
                    f"{raw}: got {len(head.texts):,} documents, which fill no shard of"
                    f" {SIZE_LIMIT:,} bytes, expected more: a digest is that of a whole shard",
                    "give more of the file, or the shard itself",
                )
            if made_digest == digest:
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


def _first_shard(rows: Rows, ids: list[str], form: Form) -> tuple[str, bool]:
    """Return the sha256 of the first shard of rows, and whether it is full."""
    with TemporaryDirectory(prefix="ettin-shard-") as scratch:
        folder = Path(scratch)
        writer = MdsWriter.of(folder, form.shards(SIZE_LIMIT))
        shard = folder / "shard.00000.mds"
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows.slice(start, min(start + _ROWS_AT_ONCE, len(rows)))
            names = [id_.encode() for id_ in ids[start : start + len(part)]]
            writer.write(names, np.arange(len(part)), part.values, part.offsets)
            if shard.exists():
                return sha256_file(shard), True
        writer.finish()
        return sha256_file(shard), False
