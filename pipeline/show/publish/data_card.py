"""The data card: what the Hub shows of a data set, `README.md` with a front matter in YAML.

Source: https://huggingface.co/docs/hub/datasets-cards, and `DatasetCardData` of `huggingface_hub`.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from pipeline.core.units import format_tokens
from pipeline.dataset import ORDER
from pipeline.show.publish.markdown import inline, paragraphs, table
from pipeline.show.publish.published_facts import NOT_KNOWN, Facts, SourceFacts
from pipeline.version import VERSION

# Source: huggingface/hub-docs, `datasetcard.md`: categories of numbers of rows.
_SIZES: Final = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)
_LARGEST: Final = "n>1T"
_TASKS: Final = {"encoder": ["fill-mask"], "decoder": ["text-generation"]}
"""By the view of the order; rows as `stored` are for both."""
_TAGS: Final = ("ettin-data", "croissant", "pretraining", "tokenized")


def data_card(facts: Facts) -> str:
    """Return the card. Pure."""
    front = yaml.safe_dump(_front_matter(facts), sort_keys=False, width=10**6, allow_unicode=True)
    body = "\n\n".join(_sections(facts))
    return f"---\n{front}---\n\n{body}\n"


def _front_matter(facts: Facts) -> dict[str, Any]:
    about = facts.about
    rows = facts.manifest.order.num_rows
    front: dict[str, Any] = {
        "pretty_name": _line(facts.title),
        **_licence(facts),
        "size_categories": [next((name for most, name in _SIZES if rows < most), _LARGEST)],
        "task_categories": list(about.tasks or _tasks(facts.manifest.order.view)),
        "tags": sorted({*_TAGS, *map(_line, about.tags or ())}),
    }
    if about.language is not None:
        front["language"] = list(about.language)
    if facts.has_rows and facts.is_parquet:
        files = [{"split": "train", "path": f"{ORDER}/*/*.parquet"}]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    return front


def _licence(facts: Facts) -> dict[str, str]:
    licence = facts.licence
    if licence is not None and licence.hub_name is not None:
        return {"license": licence.hub_name}
    if licence is None and all(one.licence is None for one in facts.sources):
        return {"license": "unknown"}
    name = "several" if licence is None else licence.name
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "other"
    return {"license": "other", "license_name": slug, "license_link": "LICENSE.md"}


def _tasks(view: str) -> list[str]:
    return _TASKS.get(view, ["fill-mask", "text-generation"])


def _line(text: str) -> str:
    return " ".join(text.split())


def _sections(facts: Facts) -> Iterator[str]:
    about, manifest = facts.about, facts.manifest
    order = manifest.order
    yield f"# {inline(facts.title)}"
    yield paragraphs(about.description or "") or f"Description: {NOT_KNOWN}."
    yield (
        f"{order.num_rows:,} rows of token ids in training order, {format_tokens(order.num_tokens)}"
        f" tokens, in {order.num_steps:,} steps. Tokenizer:"
        f" {inline(manifest.tokenizer.name)} (sha256 `{manifest.tokenizer.sha256}`)."
    )
    yield "## Rows"
    yield _rows(facts)
    yield "## Sources"
    head = ("source", "category", "licence", "documents", "tokens", "share", "from", "revision")
    yield table(head, (_row(facts, one) for one in facts.sources))
    yield "Licences, and where each is stated: [LICENSE.md](LICENSE.md)."
    yield "## How it was made"
    yield (
        f"By {inline(manifest.code)}, from [mixture.yaml](mixture.yaml)"
        + (" and [lock.json](lock.json)" if facts.lock is not None else "")
        + f". Fingerprint of the mixture: `{manifest.mixture.fingerprint}`. Digest of the"
        f" [manifest](manifest.json): `{facts.digest}`. [report.html](report.html) shows the order,"
        " rows and digests."
    )
    yield "## What else there is"
    yield (
        "[croissant.json](croissant.json): files with checksums, columns, origins."
        " [training-summary.md](training-summary.md): the public summary of training content."
        " [ledger.json](ledger.json): digests of all rows in order. [CITATION.cff](CITATION.cff):"
        " how to cite. `ettin-data bundle --check FOLDER` checks all of it; this card was written"
        f" by ettin-data {VERSION}."
    )


def _rows(facts: Facts) -> str:
    if not facts.ordered_files:
        return "The rows are not in files of their own; they are read from a pool by the order."
    if facts.has_rows:
        return f"The files below `{ORDER}/`, in the order of their names, are the rows in order."
    return (
        f"The rows are not here. [croissant.json](croissant.json) names their"
        f" {len(facts.ordered_files):,} files by sha256."
    )


def _row(facts: Facts, source: SourceFacts) -> list[str]:
    share = facts.share(source)
    origin = inline(source.origin)
    return [
        inline(source.name),
        inline(source.category or NOT_KNOWN),
        NOT_KNOWN if source.licence is None else inline(source.licence.name),
        _number(source.num_documents),
        _number(source.num_tokens),
        "" if share is None else f"{float(share):.1%}",
        origin if source.url is None else f"{origin}, <{source.url}>",
        "" if source.revision is None else f"`{inline(source.revision)}`",
    ]


def _number(value: int | None) -> str:
    return NOT_KNOWN if value is None else f"{value:,}"
