"""Text fields: the first records of a source -> the fields of text and id. Pure.

Fields with names that data sets commonly use come first. Otherwise the text is the field with most
characters, and the id one whose name ends as ids do. A field inside others has a dotted name, as in
a mixture.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pipeline.config import LINE
from pipeline.core.errors import InputError
from pipeline.sources import field_of, names_in

_TEXTS: Final = (
    "text", "content", "contents", "raw_content", "body", "document", "article", "passage",
    "story", "message", "markdown", "transcript", "abstract", "description",
)  # fmt: skip
_IDS: Final = (
    "id", "_id", "doc_id", "docid", "document_id", "record_id", "article_id", "uuid", "uid",
    "guid", "key", "url",
)  # fmt: skip
# How names of other ids end, the likeliest first: post_id, userId, row_uuid, cache-key, row_number.
_ID_ENDS: Final = ("uuid", "guid", "uid", "id", "key", "hash", "number")
_TOKEN_IDS: Final = ("input_ids", "token_ids", "tokens", "ids")
# A field with another name is a text if it is as long as a short sentence.
_FEWEST_CHARS: Final = 16
_MOST_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Which fields of a source hold its documents."""

    text: str
    other_texts: tuple[str, ...] = ()
    """Fields that may be meant instead, the likeliest first."""
    id: str | None = None
    """None where no field names each record by a value of its own."""
    other_ids: tuple[str, ...] = ()
    """Fields that name each record as well, the likeliest first."""
    id_reason: str = ""
    """Why there is none, or none that is likelier by its name."""
    names: tuple[str, ...] = ()
    """All fields that were seen."""


@dataclass(slots=True)
class _Seen:
    """What a field has in the records that were looked at."""

    num_texts: int = 0
    num_chars: int = 0

    @property
    def mean_chars(self) -> float:
        return self.num_chars / max(self.num_texts, 1)


def choose_fields(where: str, records: Sequence[Mapping[str, Any]]) -> Fields:
    """Return the fields that hold text and id, by the records of a source.

    Raises: InputError when no field holds text.
    """
    plain = [dict(record) for record in records]
    names = [name for name in dict.fromkeys(_names(plain)) if LINE.matches(name)]
    texts = _texts(plain, names)
    if not texts:
        raise _no_text(where, plain, names)
    ids, reason = _ids(plain, [name for name in names if name != texts[0]])
    return Fields(
        text=texts[0],
        other_texts=tuple(texts[1 : 1 + _MOST_NAMED]),
        id=ids[0] if ids else None,
        other_ids=tuple(ids[1 : 1 + _MOST_NAMED]),
        id_reason=reason,
        names=tuple(names),
    )


def _names(records: Sequence[dict[str, Any]]) -> list[str]:
    return [name for record in records for name in names_in(record)]


def _texts(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the fields that may hold the text, the likeliest first."""
    seen: defaultdict[str, _Seen] = defaultdict(_Seen)
    for record in records:
        for name in names:
            value = field_of(record, name)
            if type(value) in (str, bytes) and value:
                seen[name].num_texts += 1
                seen[name].num_chars += len(value)
    enough = [name for name in names if 2 * seen[name].num_texts >= max(len(records), 1)]
    known = [name for name in enough if _last(name) in _TEXTS]
    others = [
        name
        for name in enough
        if name not in known and _last(name) not in _IDS and seen[name].mean_chars >= _FEWEST_CHARS
    ]
    return [
        *sorted(known, key=lambda name: -seen[name].num_chars),
        # A hash may be longer than a text.
        *sorted(others, key=lambda name: (_id_rank(name) is not None, -seen[name].num_chars)),
    ]


def _ids(records: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[list[str], str]:
    """Return the fields that name each record by a value of their own, and why others do not.

    The likeliest come first: by name as in `_IDS` and then `_ID_ENDS`; of names alike those that
    are inside fewer others, and then those that records have first.
    """
    ranked = [(rank, name) for name in names if (rank := _id_rank(name)) is not None]
    ranked.sort(key=lambda item: (item[0], item[1].count(".")))
    found: list[str] = []
    reasons: list[str] = []
    for _, name in ranked:
        if reason := _why_no_id(name, [field_of(record, name) for record in records]):
            if not found:
                reasons.append(reason)
        else:
            found.append(name)
    if not ranked:
        ends = f"{', '.join(_ID_ENDS[2:-1])} or {_ID_ENDS[-1]}"
        reasons.append(f"no field has a name that ends in {ends}")
    return found, "; ".join(reasons[:2])


def is_usual_name(name: str) -> bool:
    """Return whether a field is commonly called so."""
    return _last(name) in (*_TEXTS, *_IDS)


def _id_rank(name: str) -> int | None:
    """Return how likely a field is an id by its name, the lowest first; None for other names."""
    last = _last(name)
    if last in _IDS:
        return _IDS.index(last)
    return next((len(_IDS) + n for n, end in enumerate(_ID_ENDS) if last.endswith(end)), None)


def _why_no_id(name: str, values: Sequence[object]) -> str:
    """Return what keeps a field from naming each record, or nothing."""
    usable = [str(value) for value in values if is_id(value)]
    if len(usable) < len(values):
        return f"`{name}` is missing in {len(values) - len(usable):,} of {len(values):,}"
    if repeated := len(usable) - len(set(usable)):
        return f"`{name}` repeats in {repeated:,} of {len(usable):,}"
    return ""


def is_id(value: object) -> bool:
    """Return whether a reader takes a value for an id: text, bytes, an integer or a UUID."""
    if isinstance(value, Decimal):
        return value.is_finite() and value == int(value)
    if isinstance(value, bool):
        return False
    return isinstance(value, int | UUID) or (isinstance(value, str | bytes) and bool(value))


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _no_text(where: str, records: Sequence[dict[str, Any]], names: Sequence[str]) -> InputError:
    for name in names:
        values = [field_of(record, name) for record in records]
        if _last(name) in _TOKEN_IDS and any(not isinstance(one, str) for one in values):
            return InputError(
                f'{where}: got token ids in field "{name}", expected text',
                f"write a mixture with `text: {name}` and `decode: {{tokenizer: org/name}}`, the"
                " tokenizer that made them (docs/guide/custom-mixture.md)",
            )
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return InputError(
        f"{where}: got no field with text among {shown or 'none'}, expected one such as text",
        "if one of them holds it, write a mixture that names it with from.text"
        " (docs/guide/custom-mixture.md)",
    )
