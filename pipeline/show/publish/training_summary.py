"""The public summary of training content that Article 53(1)(d) of Regulation (EU) 2024/1689 asks of
providers of general-purpose AI models, as far as one data set can fill it.

The parts are those of the template that the European Commission published in July 2025, named in
our words and as we know them: whoever publishes a summary checks it against the template in force.
A field is None where nobody knows, and is never left out.

Source: European Commission, "Template for the Public Summary of Training Content for
general-purpose AI models", 24 July 2025.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.config import SourceKind
from pipeline.core.json_record import to_json
from pipeline.core.units import format_tokens
from pipeline.show.publish.markdown import inline, line, paragraphs
from pipeline.show.publish.published_facts import NOT_KNOWN, Facts, SourceFacts

Value = str | tuple[str, ...] | None
NONE: Final = "none"
_NOTE: Final = (
    "The parts follow the template of July 2025 as we know it. Check them against the template in"
    " force, and add what else the model was trained on: this covers one data set."
)
# The ranges of the template, in tokens of text.
_RANGES: Final = (
    (10**9, "less than 1 billion tokens"),
    (10**13, "1 billion to 10 trillion tokens"),
)
_LARGEST: Final = "more than 10 trillion tokens"


@dataclass(frozen=True, kw_only=True)
class Field:
    key: str
    label: str
    value: Value


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the template, `number` being the template's."""

    number: str
    title: str
    fields: tuple[Field, ...] = ()


def training_summary(facts: Facts) -> tuple[Part, ...]:
    """Return every part of the template, in its order. Pure."""
    return (*_general(facts), *_sources(facts), *_processing(facts))


def summary_json(parts: tuple[Part, ...]) -> str:
    content = {"template": "2025-07", "note": _NOTE, "parts": to_json(parts)}
    return json.dumps(content, indent=1) + "\n"


def summary_markdown(parts: tuple[Part, ...], title: str) -> str:
    """Return the summary for people. Pure."""
    lines = [f"# Public summary of training content: {inline(title)}", _NOTE]
    for part in parts:
        depth = "##" if "." not in part.number else "###"
        lines.append(f"{depth} {part.number}. {part.title}")
        lines += [f"**{one.label}.** {_shown(one.value)}" for one in part.fields]
    return "\n\n".join(lines) + "\n"


def _shown(value: Value) -> str:
    if value is None or value == ():
        return NOT_KNOWN
    if isinstance(value, str):
        return paragraphs(value)
    return "\n\n" + "\n".join(f"- {line(one)}" for one in value)


def _part(number: str, title: str, *fields: tuple[str, str, Value]) -> Part:
    """Return a part, of fields as key, label and value."""
    made = (Field(key=key, label=label, value=value) for key, label, value in fields)
    return Part(number=number, title=title, fields=tuple(made))


def _general(facts: Facts) -> Iterator[Part]:
    about, order = facts.about, facts.manifest.order
    size = next((name for most, name in _RANGES if order.num_tokens < most), _LARGEST)
    yield _part("1", "General information")
    yield _part(
        "1.1",
        "Provider",
        ("provider", "Name of the provider", about.provider.name),
        ("contact", "Contact of the provider", about.provider.contact),
        ("representative", "Authorised representative in the Union", about.provider.representative),
    )
    yield _part(
        "1.2",
        "Model",
        ("models", "Names and versions of the models", about.model.names),
        ("based_on", "Models that these modify or are fine-tuned from", about.model.based_on),
        (
            "placed_on_market",
            "Date of placement on the Union market",
            about.model.placed_on_market,
        ),
    )
    yield _part(
        "1.3",
        "Modalities, size and other characteristics",
        ("modalities", "Modalities", "text"),
        (
            "size",
            "Size of the text data",
            f"{size} ({format_tokens(order.num_tokens)} tokens in {order.num_rows:,} rows, by the"
            f" tokenizer {facts.manifest.tokenizer.name})",
        ),
        ("content_types", "Types of content", about.content.types or _categories(facts)),
        ("latest_date", "Latest date of acquisition", about.content.latest_date),
        ("continues", "Training goes on with new data", about.content.continues),
        ("languages", "Languages", about.language),
        ("characteristics", "Other characteristics", about.content.characteristics),
    )


def _categories(facts: Facts) -> Value:
    names = {one.category for one in facts.sources if one.category not in (None, "uncategorised")}
    return tuple(sorted(name for name in names if name)) or None


def _sources(facts: Facts) -> Iterator[Part]:
    yield _part("2", "List of data sources")
    yield _part("2.1", "Publicly available data sets", *_of(facts, "public", "public data sets"))
    yield _part(
        "2.2",
        "Private data sets obtained from third parties",
        *_of(facts, "licensed", "data sets licensed by rightsholders or who represents them"),
        *_of(facts, "private", "other private data sets"),
    )
    yield _part(
        "2.3",
        "Data crawled and scraped from online sources",
        *_of(
            facts,
            "crawled",
            "crawled data",
            ("crawler", "Crawlers and their behaviour"),
            ("collected", "Period of collection"),
            ("domains", "Most relevant domains"),
        ),
    )
    yield _part(
        "2.4",
        "User data",
        *_of(facts, "user", "user data", ("service", "Services or models that users gave it to")),
    )
    yield _part(
        "2.5",
        "Synthetic data",
        *_of(facts, "synthetic", "synthetic data", ("generated_by", "Models that generated it")),
    )
    yield _part(
        "2.6",
        "Other sources of data",
        *_of(facts, "other", "other data"),
        ("of_unknown_kind", "Sources of which the kind is not stated", _unknown(facts)),
    )


def _of(
    facts: Facts, kind: SourceKind, what: str, *more: tuple[str, str]
) -> Iterator[tuple[str, str, Value]]:
    """Yield the fields about the sources of a kind.

    more: keys of the about file that such a source may have, each with a label.
    """
    sources = [one for one in facts.sources if one.kind == kind]
    # A source without a kind may be of any.
    is_known = bool(facts.sources) and all(one.kind is not None for one in facts.sources)
    none = NONE if is_known else None
    yield kind, f"Has {what}", "yes" if sources else ("no" if is_known else None)
    yield f"{kind}.data_sets", "Data sets", tuple(map(_line, sources)) or none
    for key, label in more:
        lines = [f"{one.name}: {said}" for one in sources if (said := _said(one, key))]
        yield f"{kind}.{key}", label, tuple(lines) or (None if sources else none)


def _unknown(facts: Facts) -> Value:
    sources = [one for one in facts.sources if one.kind is None]
    return tuple(map(_line, sources)) or (NONE if facts.sources else None)


def _said(source: SourceFacts, key: str) -> str:
    value: str | tuple[str, ...] | None = getattr(source.about, key)
    return ", ".join(value) if isinstance(value, tuple) else value or ""


def _processing(facts: Facts) -> Iterator[Part]:
    told = facts.about.processing
    yield _part("3", "Data processing")
    yield _part(
        "3.1",
        "Rights reserved from text and data mining",
        ("code_of_practice", "Signatory of the Code of Practice", told.code_of_practice),
        ("reserved_rights", "Measures to respect reserved rights", told.reserved_rights),
    )
    yield _part(
        "3.2",
        "Illegal content",
        ("illegal_content", "Measures to leave illegal content out", told.illegal_content),
    )
    yield _part(
        "3.3",
        "Other information",
        ("other", "Other processing", told.other),
        ("dropped", "Documents that were dropped, by source and reason", _dropped(facts)),
    )


def _line(source: SourceFacts) -> str:
    parts = [
        f"{source.name}: {source.about.description or source.origin}",
        source.url,
        source.revision and f"revision {source.revision}",
        f"licence {source.licence.name if source.licence else NOT_KNOWN}",
        source.num_tokens is not None and f"{source.num_tokens:,} tokens",
    ]
    return "; ".join(part for part in parts if part)


def _dropped(facts: Facts) -> Value:
    lines = [
        f"{one.name}: {', '.join(f'{number:,} by {reason}' for reason, number in counts)}"
        for one in facts.sources
        if (counts := one.dropped.items())
    ]
    if lines:
        return tuple(lines)
    return NONE if facts.manifest.sources else None
