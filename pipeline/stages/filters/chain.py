"""The chain of a source's filters: documents -> those kept, and those dropped with their reasons.

Each document passes all filters before the next, so that datatrove splits its words once; order is
kept. Every document comes out, as kept or as dropped.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pipeline.config import Filter, Length, Regex
from pipeline.core.document import Document
from pipeline.stages.filters.datatrove_filters import judge_language, judge_pii, judge_quality
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.url import judge_url
from pipeline.stages.filters.verdict import Drop, Dropped, Judge


def judge_length(options: Length) -> Judge:
    """Return the filter of texts by their number of characters, as Unicode counts them."""
    least, most = options.min_chars, options.max_chars

    def judge(document: Document) -> Document | Drop:
        if len(document.text) < least:
            return Drop("too_short")
        if most is not None and len(document.text) > most:
            return Drop("too_long")
        return document

    return judge


def judge_regex(options: Regex) -> Judge:
    """Return the filter of texts by whether an expression is found anywhere in them."""
    search = re.compile(options.pattern).search
    drops_found, reason = options.drop_if == "found", options.drop_if

    def judge(document: Document) -> Document | Drop:
        return Drop(reason) if (search(document.text) is not None) == drops_found else document

    return judge


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
        return Drop("failed", f"cannot be judged by {name} ({type(error).__name__}: {error})")
