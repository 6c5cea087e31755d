"""Text fields: the first records of a source -> which field is the text, and which the id. Pure.

Names that data sets commonly use come first; otherwise the text is what has most characters. A
field inside others has a dotted name, as in a mixture.
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
    id_reason: str = ""
    """Why there is no id."""


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
    id_, reason = _choose_id(plain, [name for name in names if name != texts[0]])
    others = tuple(texts[1 : 1 + _MOST_NAMED])
    return Fields(text=texts[0], other_texts=others, id=id_, id_reason=reason)


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
        *sorted(others, key=lambda name: -seen[name].num_chars),
    ]


def _choose_id(records: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[str | None, str]:
    """Return the field that names each record by a value of its own, or None and the reason."""
    candidates = [name for name in names if _last(name) in _IDS]
    candidates.sort(key=lambda name: (_IDS.index(_last(name)), name.count(".")))
    reasons = []
    for name in candidates:
        values = [field_of(record, name) for record in records]
        usable = [str(value) for value in values if is_id(value)]
        if len(usable) < len(values):
            reasons.append(
                f"`{name}` is missing in {len(values) - len(usable):,} of {len(values):,}"
            )
        elif len(set(usable)) < len(usable):
            repeated = len(usable) - len(set(usable))
            reasons.append(f"`{name}` repeats in {repeated:,} of {len(usable):,}")
        else:
            return name, ""
    return None, "; ".join(reasons[:2]) or "no field is called id"


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
