"""Infer: raw documents and a published shard, or its digest -> how its rows were made.

With a shard, RAW is read up to the last document of the shard, and those before its first are
tokenized for their lengths alone, on which random numbers depend. Every way of `variants` makes the
rows of its first 262,144 ids; those that give the shard's make all of them. With a digest alone,
each makes a whole shard, which is hashed in every form until one has the digest.

A shard of 64 MiB takes a quarter of a minute on one core, its digest 7 seconds if the likeliest
ways have it, 3 minutes if none of 60 has; memory stays below 2 GB. Half of the time of a digest
goes into hashing 16 forms of each way, the rest into tokenizing pieces again.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audit.attest.facts import Fact
from pipeline.audit.attest.raw_head import RawHead
from pipeline.audit.attest.raw_tokens import SAMPLE_IDS, RawTokens, suite_tokenizer
from pipeline.audit.attest.shard_head import ShardHead, read_head
from pipeline.audit.attest.variants import ID_FORMS, Form, Making, Tails, forms, makings
from pipeline.config import PUBLISHED_SIZES
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress, Work, no_progress
from pipeline.core.ragged import Rows
from pipeline.core.regular_file import read_file
from pipeline.dataset.mds import first_shard_digest

SIZE_LIMIT = 64 << 20
# Of a shard. An eighth more than it holds may have been dropped, with short last pieces.
_MORE_IDS = 1.25
# Ids of pieces that are believed: some between CLS and SEP, and no more than models take.
_SHORTEST, _LONGEST = 8, 1 << 20
# Rows of which a way must give all to be believed, unless the shard has fewer.
_FEWEST_ROWS = 100
_WAYS = Work(unit="ways")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A published shard on this machine."""

    path: Path
    head: ShardHead
    """All of it."""

    @property
    def rows(self) -> Rows:
        return self.head.rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How well a way of making rows gives those of the target."""

    making: Making
    form: Form | None
    """How they are stored, where it is known."""
    num_compared: int
    """Rows of the target that were compared with it, or -1 where only a digest is known."""
    num_rows: int
    """Those of them that it makes, in any order, or -1."""
    num_ids: int
    """Ids in these."""
    is_exact: bool
    """Whether it gives the target, or at least 100 rows of it as far as RAW goes."""
    difference: str = ""
    """What it does not give: the first row that differs, as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """What was found, the best fit first."""

    target: str
    num_rows: int
    """Rows of the target, or -1."""
    fits: tuple[Fit, ...]
    num_tried: int
    """Ways, with a digest also forms."""
    notes: tuple[str, ...]


def open_shard(path: Path) -> Shard:
    """Read a shard by its own header, without an index.

    Raises: InputError when it cannot be read, or is cut off.
    """
    try:
        head = read_head(read_file(path), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    if not head.is_whole:
        raise InputError(
            f"{path}: got {len(head.ids):,} of {len(head.row_bytes):,} rows, expected all of them",
            "fetch it whole",
        )
    return Shard(path=path, head=head)


def infer(
    raw: Path,
    against: str,
    facts: Mapping[str, tuple[Fact, ...]],
    report_progress: ReportProgress = no_progress,
) -> Inference:
    """Try every way of making rows of raw documents on a shard, a path, or a digest, in hex.

    Raises: InputError for raw documents or a shard that cannot be read, or a digest of no form.
    """
    if digest := digest_of(against):
        return _infer_digest(RawHead(raw), digest, facts, report_progress)
    if not Path(against).is_file():
        raise InputError(
            f"{against}: got neither a file nor a digest, expected a raw shard, or 64 hex digits",
            "check the path",
        )
    return _infer_shard(RawHead(raw), open_shard(Path(against)), report_progress)


def digest_of(against: str) -> str | None:
    """Return a sha256 in lower-case hex, without the `sha256:` of a lock; None if it is none."""
    digest = against.lower().removeprefix("sha256:")
    return digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None


def ways_of(name: str, lengths: Int64Array | None) -> list[Making]:
    """Return the ways to try, by the name of a folder, else the published sizes and rows' lengths.

    lengths: of a shard's rows. Rows that are tokenized again may be longer than what they were cut
    from, and so the commonest length tells more than the longest.
    """
    found = re.search(r"chunked-(\d+)-(\d+)-(\d+)", name)
    size, min_size, skip_below = map(int, found.groups()) if found else (0, 0, 0)
    if 1 <= skip_below <= min_size <= size and _SHORTEST + 2 <= size <= _LONGEST:
        return makings((size, size - 2, size + 2), Tails(min_size=min_size, skip_below=skip_below))
    cuts = [size + more for size in PUBLISHED_SIZES for more in (0, -2, 2)]
    if lengths is not None and len(lengths):
        for size in (int(np.bincount(lengths).argmax()), int(lengths.max())):
            cuts += [size + more for more in (0, -1, -2, 1, 2)]
    return makings(dict.fromkeys(cut for cut in cuts if cut >= _SHORTEST))


def _infer_shard(head: RawHead, shard: Shard, report: ReportProgress) -> Inference:
    """Compare with a shard the rows that its documents make, which are found by their ids."""
    if not len(shard.rows):
        raise InputError(f"{shard.path}: got no rows, expected some", "give another shard")
    span = _find(head, shard.head.ids)
    most_ids = int(_MORE_IDS * len(shard.rows.values)) + SAMPLE_IDS
    tokens = RawTokens(head, most_ids, report, span or (0, None))
    ways = ways_of(shard.path.parent.name, shard.rows.lengths())
    keys = [row.tobytes() for row in shard.rows]
    fits = []
    for number, making in enumerate(ways):
        fits.append(_compare(shard, keys, making, tokens, tokens.num_sampled))
        report("ways tried on the first rows", number + 1, len(ways), _WAYS)
    fits.sort(key=_rank)
    agree = [fit for fit in fits if fit.num_rows == fit.num_compared > 0] or fits[:1]
    for number, fit in enumerate(agree):
        fits[fits.index(fit)] = _compare(shard, keys, fit.making, tokens)
        report("ways that agree, tried on all rows", number + 1, len(agree), _WAYS)
    notes = _notes(head, tokens)
    if span is None:
        notes = (*notes, "none has an id of the shard, which is taken to begin with the first")
    elif span[0]:
        notes = (*notes, f"the shard begins with document {span[0] + 1:,}")
    return Inference(
        target=str(shard.path),
        num_rows=len(shard.rows),
        fits=tuple(sorted(fits, key=_rank)),
        num_tried=len(fits),
        notes=notes,
    )


def _rank(fit: Fit) -> tuple[bool, float, int]:
    return not fit.is_exact, -fit.num_rows / max(fit.num_compared, 1), -fit.num_compared


def _find(head: RawHead, ids: Sequence[str]) -> tuple[int, int] | None:
    """Return the first and the last document of RAW that has one of these ids, in some form."""
    wanted, last = set(ids) - {""}, ids[-1]
    found: list[int] = []
    for number, (id_, _) in enumerate(head.documents()):
        spelled = {spell(id_) for spell in ID_FORMS.values()}
        if not spelled.isdisjoint(wanted):
            found = [*found[:1], number]
            if last in spelled:
                break
    return (found[0], found[-1]) if found else None


def _notes(head: RawHead, tokens: RawTokens) -> tuple[str, ...]:
    end = f"; it ends early: {head.end}" if head.end else ""
    return (f"{len(tokens.ids):,} documents were tokenized{end}",)


def _compare(
    shard: Shard,
    keys: Sequence[bytes],
    making: Making,
    tokens: RawTokens,
    num_documents: int | None = None,
) -> Fit:
    """Compare the rows of documents with a shard's, from where most of its rows lie among them.

    keys: the bytes of the shard's rows.
    """
    rows, owners = tokens.make(making, num_documents)
    places: dict[bytes, int] = {}
    for place in range(len(rows) - 1, -1, -1):
        places[rows[place].tobytes()] = place
    found = np.array([places.get(key, -1) for key in keys], np.int64)
    known = np.flatnonzero(found >= 0)
    # A row may occur twice, and then its first place is not that of each.
    shifts = Counter((found[known] - known).tolist())
    start = shifts.most_common(1)[0][0] if shifts else 0
    num_compared = min(len(keys), len(rows) - start)
    known = known[known < num_compared]
    first = _first_difference(shard.rows, rows, start, num_compared)
    form, difference = None, ""
    if first is not None:
        difference = _difference(shard, rows, start, first)
    else:
        ids = [tokens.ids[one] for one in owners[start : start + num_compared]]
        form = _form_of(shard, ids)
        if form is None:
            difference = f"no form of ids such as {ids[0]!r} gives {shard.head.ids[0]!r}"
        elif num_compared < min(len(keys), _FEWEST_ROWS):
            difference = f"too few rows to tell, expected all, or {_FEWEST_ROWS}: give more of RAW"
    return Fit(
        making=making,
        form=form,
        num_compared=num_compared,
        num_rows=len(known),
        num_ids=int(shard.rows.lengths()[known].sum()),
        is_exact=not difference,
        difference=difference,
    )


def _first_difference(theirs: Rows, ours: Rows, start: int, num_rows: int) -> int | None:
    """Return the first row of the shard that differs from the row made for it, if any does."""
    for row in range(num_rows):
        if start + row < 0 or not np.array_equal(theirs[row], ours[start + row]):
            return row
    return None


def _form_of(shard: Shard, ids: list[str]) -> Form | None:
    """Return how a shard stores rows of documents of these ids; None for other ids."""
    names = [*shard.head.ids[: len(ids)]]
    for form, spell in ID_FORMS.items():
        if [spell(id_) for id_ in ids] == names:
            return Form(
                dtype="uint16" if shard.head.dtype == "uint16" else "uint32",
                header="zstd" if shard.head.config.get("compression") == "zstd" else None,
                ids=form,
            )
    return None


def _difference(shard: Shard, rows: Rows, start: int, row: int) -> str:
    tokenizer = suite_tokenizer(False)
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


def _infer_digest(
    head: RawHead, digest: str, facts: Mapping[str, tuple[Fact, ...]], report: ReportProgress
) -> Inference:
    known = [one for own in facts.values() for one in own if one.value.get("sha256") == digest]
    name = known[0].name if known else ""
    if known and not name.endswith("shard.00000.mds"):
        raise InputError(
            f"{digest}: is {name}, expected the first shard of a folder",
            "give the shard itself, or the digest of the folder's shard.00000.mds",
        )
    if known and "-chunked-" not in name:
        raise InputError(
            f"{digest}: is {name}, where rows were taken longest first, expected file order",
            "give a digest of a folder whose name says how it was chunked",
        )
    tokens = RawTokens(head, int(_MORE_IDS * SIZE_LIMIT / 2), report)
    ways = ways_of(name, None)
    fits: tuple[Fit, ...] = ()
    num_tried = 0
    for number, making in enumerate(ways):
        rows, owners = tokens.make(making)
        for form in forms():
            num_tried += 1
            names = [ID_FORMS[form.ids](id_).encode() for id_ in tokens.ids]
            made, is_full = first_shard_digest(form.shards(SIZE_LIMIT), names, owners, rows)
            if not (is_full or tokens.is_rest):
                raise InputError(
                    f"{digest}: got {len(tokens.ids):,} documents, which fill no shard of"
                    f" {SIZE_LIMIT:,} bytes, expected more: a digest is that of a whole shard",
                    "give more of the file, or the shard itself",
                )
            if made == digest:
                fits = (
                    Fit(
                        making=making,
                        form=form,
                        num_compared=-1,
                        num_rows=-1,
                        num_ids=-1,
                        is_exact=True,
                    ),
                )
                break
        report("ways tried", number + 1, len(ways), _WAYS)
        if fits:
            break
    return Inference(
        target=name or digest,
        num_rows=-1,
        fits=fits,
        num_tried=num_tried,
        notes=_notes(head, tokens),
    )
