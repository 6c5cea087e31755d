"""The chain of a source's filters: documents -> those kept, and those dropped with their reasons.

Each document passes all filters before the next one, so that datatrove splits its words once.
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
from pipeline.stages.filters.own_code import refuse_code
from pipeline.stages.filters.own_judges import judge_datatrove, judge_python
from pipeline.stages.filters.url import judge_url
from pipeline.stages.filters.verdict import Drop, Dropped, Judge


def judge_length(options: Length, _folder: Path) -> Judge:
    """Return the filter by number of characters (code points)."""
    least, most = options.min_chars, options.max_chars

    def judge(document: Document) -> Document | Drop:
        if len(document.text) < least:
            return Drop("too_short")
        if most is not None and len(document.text) > most:
            return Drop("too_long")
        return document

    return judge


def judge_regex(options: Regex, _folder: Path) -> Judge:
    """Return the filter by whether an expression matches anywhere in the text."""
    search = re.compile(options.pattern).search
    drops_found, reason = options.drop_if == "found", options.drop_if

    def judge(document: Document) -> Document | Drop:
        return Drop(reason) if (search(document.text) is not None) == drops_found else document

    return judge


_FACTORIES: Final[dict[str, Callable[[Any, Path], Judge]]] = {
    "length": judge_length,
    "regex": judge_regex,
    "gopher_quality": judge_quality,
    "gopher_repetition": judge_quality,
    "c4_quality": judge_quality,
    "fineweb_quality": judge_quality,
    "pii": judge_pii,
    "language": judge_language,
    "url": judge_url,
    "python": judge_python,
    "datatrove": judge_datatrove,
}


class FilterChain:
    def __init__(self, judges: Iterable[tuple[str, Judge]]) -> None:
        self._judges = tuple(judges)

    def judge(self, documents: list[Document]) -> tuple[list[Document], list[Dropped]]:
        """Return the documents that pass, with their edited texts, and the others. Pure."""
        kept: list[Document] = []
        dropped: list[Dropped] = []
        with warnings.catch_warnings():
            # datatrove takes means of no words, and uses a deprecated name of tldextract.
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
            try:
                verdict = judge(document)
            except (ArithmeticError, LookupError, ValueError) as error:
                # Some of datatrove's rules divide by the number of words, which may be none.
                why = f"cannot be judged by {name} ({type(error).__name__}: {error})"
                return Dropped(document=document, reason=f"{name}/failed", fault=why)
            if isinstance(verdict, Drop):
                reason = f"{name}/{verdict.reason}"
                return Dropped(document=document, reason=reason, fault=verdict.fault)
            if not verdict.text:
                return Dropped(document=document, reason=f"{name}/emptied")
            document = verdict
        return document


def make_filters(
    specs: tuple[Filter, ...], folder: Path, *, allows_code: bool = False
) -> FilterChain:
    """Return the filters that a source declares; paths are relative to `folder`.

    allows_code: whether code that the mixture names may run; the only place where it begins to.

    Cached while what `identify` names stays the same, since lists and models take seconds to load.
    Raises: ConfigError when a package or file is missing or unusable, or for code.
    """
    if not allows_code:
        refuse_code(specs)
    return _cached(specs, folder, tuple(identify(specs, folder).items()))


# The lists of datatrove take about a gigabyte, so no more are kept than sources are likely to have.
@lru_cache(maxsize=8)
def _cached(
    specs: tuple[Filter, ...], folder: Path, identity: tuple[tuple[str, str], ...]
) -> FilterChain:
    return FilterChain((spec.label, _FACTORIES[spec.name](spec.options, folder)) for spec in specs)
