"""Judge: blocks of documents -> those that go on, and those dropped with their reasons.

Filters see a document one after another, so that texts split into words by one are not split again
by the next, and order is kept. What goes in comes out, as kept or as dropped.
"""

import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pipeline.config import Filter
from pipeline.core.document import Document
from pipeline.stages.filters.basic import judge_length, judge_regex
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.language import judge_language
from pipeline.stages.filters.quality import judge_pii, judge_quality
from pipeline.stages.filters.url import judge_url
from pipeline.stages.filters.verdict import Drop, Dropped, Judge

_OF_OPTIONS: Final[dict[str, Callable[[Any], Judge]]] = {
    "length": judge_length,
    "regex": judge_regex,
    "gopher_quality": judge_quality,
    "gopher_repetition": judge_quality,
    "c4_quality": judge_quality,
    "fineweb_quality": judge_quality,
    "pii": judge_pii,
}
_OF_FILES: Final[dict[str, Callable[[Any, Path], Judge]]] = {
    "language": judge_language,
    "url": judge_url,
}


class FilterChain:
    """The filters of a source, ready to judge any number of blocks."""

    def __init__(self, judges: Iterable[tuple[str, Judge]]) -> None:
        self._judges = tuple(judges)

    def judge(self, documents: list[Document]) -> tuple[list[Document], list[Dropped]]:
        """Return the documents that pass, with the texts they now have, and the others. Pure."""
        kept: list[Document] = []
        dropped: list[Dropped] = []
        with warnings.catch_warnings():
            # datatrove takes the mean of no words, and a name that tldextract has renamed.
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            for document in documents:
                verdict = self._judge(document)
                if isinstance(verdict, Dropped):
                    dropped.append(verdict)
                else:
                    kept.append(verdict)
        return kept, dropped

    def _judge(self, document: Document) -> Document | Dropped:
        for name, judge in self._judges:
            verdict = _ask(name, judge, document)
            if isinstance(verdict, Drop):
                reason = f"{name}/{verdict.reason}"
                return Dropped(document=document, reason=reason, fault=verdict.fault)
            if not verdict.text:
                return Dropped(document=document, reason=f"{name}/emptied")
            document = verdict
        return document


def make_filters(specs: tuple[Filter, ...], folder: Path) -> FilterChain:
    """Return the filters that a source declares; their files are read against `folder`.

    Kept in the process, since lists and models take seconds to read, for as long as what `identify`
    names stays the same.
    Raises: ConfigError when a package or file is missing or cannot be used.
    """
    return _made(specs, folder, tuple(identify(specs, folder).items()))


# The lists of datatrove take about a gigabyte, so no more are kept than sources are likely to have.
@lru_cache(maxsize=8)
def _made(
    specs: tuple[Filter, ...], folder: Path, identity: tuple[tuple[str, str], ...]
) -> FilterChain:
    return FilterChain((spec.name, _make(spec, folder)) for spec in specs)


def _make(spec: Filter, folder: Path) -> Judge:
    if spec.name in _OF_FILES:
        return _OF_FILES[spec.name](spec.options, folder)
    return _OF_OPTIONS[spec.name](spec.options)


def _ask(name: str, judge: Judge, document: Document) -> Document | Drop:
    try:
        return judge(document)
    except (ArithmeticError, LookupError, ValueError) as error:
        # Some of datatrove's rules divide by the number of words, which may be none.
        told = f"{type(error).__name__}: {error}"
        return Drop("failed", f"cannot be judged by {name} ({told})")
