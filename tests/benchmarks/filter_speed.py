"""Compare the filters with `datatrove` itself on one core:

    python -m tests.benchmarks.filter_speed FOLDER [--megabytes 200] [--take 3]

Enters: prose of `tests/benchmarks/corpus.py`, made if it is not there. Leaves: MB/s of text and
ratios for each filter and for the quality filters in a row. Method: the same texts, as fresh
documents, through datatrove's own steps (`run`) and through ours (`judge`, in blocks as a build
has them); the two take turns in one process, in processor time, so that neighbours disturb neither;
their counts are compared. Ratios are ours to theirs: 1 is as fast, less is slower.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document as TheirDocument
from datatrove.pipeline import filters as their_filters
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils.text import split_into_parts

from pipeline.config.filters import FILTER_OPTIONS, Filter, Length, Regex, Url
from pipeline.core.document import Document
from pipeline.stages.filters.chain import make_filters
from tests.benchmarks import corpus

_THEIRS = {
    "pii": PIIFormatter,
    "gopher_quality": their_filters.GopherQualityFilter,
    "gopher_repetition": their_filters.GopherRepetitionFilter,
    "c4_quality": their_filters.C4QualityFilter,
    "fineweb_quality": their_filters.FineWebQualityFilter,
}
_BLOCK_DOCUMENTS = 1000


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--take", type=float, default=3, help="megabytes that are filtered")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    corpus.ensure(options.corpus, options.megabytes)
    texts = [
        text for path in corpus.files(options.corpus, "prose")[:1] for text in corpus.read(path)
    ]
    texts = corpus.head(texts, options.take)
    print(f"{len(texts):,} documents, {corpus.megabytes(texts):.1f} MB")
    for names in [*([name] for name in _THEIRS), list(_THEIRS)]:
        _compare(names, texts, options.repetitions)
    _compare_url(texts, options.repetitions)
    for name, given in (("length", Length(min_chars=10)), ("regex", Regex(pattern="lorem ipsum"))):
        seconds, _ = _run_ours((Filter(name=name, options=given),), texts)
        print(f"{name}: {corpus.megabytes(texts) / seconds:,.0f} MB/s, nothing to compare with")


def _compare(names: list[str], texts: list[str], repetitions: int) -> None:
    specs = tuple(Filter(name=name, options=FILTER_OPTIONS[name]()) for name in names)
    _print(" + ".join(names), specs, [_THEIRS[name]() for name in names], texts, repetitions)


def _compare_url(texts: list[str], repetitions: int) -> None:
    theirs = their_filters.URLFilter(use_integrated_lists=False)
    specs = (Filter(name="url", options=Url(use_integrated_lists=False)),)
    _print("url without lists", specs, [theirs], texts, repetitions)


def _print(
    what: str, specs: tuple[Filter, ...], steps: list[Any], texts: list[str], repetitions: int
) -> None:
    size = corpus.megabytes(texts)
    ratios, speeds = [], []
    for repetition in range(repetitions + 1):
        slow, expected = _run_theirs(steps, texts)
        fast, got = _run_ours(specs, texts)
        if got != expected:
            raise SystemExit(f"{what}: ours keeps {got} documents, theirs {expected}")
        # The first turn loads tables and fills caches of both.
        if repetition:
            ratios.append(slow / fast)
            speeds.append((size / fast, size / slow))
    ours, theirs = (statistics.median(side) for side in zip(*speeds, strict=True))
    print(
        f"{what}: ours {ours:.2f} MB/s, theirs {theirs:.2f} MB/s, median "
        f"x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _run_theirs(steps: list[Any], texts: list[str]) -> tuple[float, int]:
    """Return seconds, and how many documents pass."""
    split_into_parts.cache_clear()
    flow: Iterator[TheirDocument] = iter(
        [
            TheirDocument(text=text, id=str(row), metadata={"url": f"http://a{row}.org/b"})
            for row, text in enumerate(texts)
        ]
    )
    start = time.process_time()
    for step in steps:
        flow = step.run(flow)
    kept = list(flow)
    return time.process_time() - start, len(kept)


def _run_ours(specs: tuple[Filter, ...], texts: list[str]) -> tuple[float, int]:
    split_into_parts.cache_clear()
    filters = make_filters(specs, Path())
    documents = [
        Document(id=str(row), text=text, row=row, metadata={"url": f"http://a{row}.org/b"})
        for row, text in enumerate(texts)
    ]
    num_kept = 0
    start = time.process_time()
    for first in range(0, len(documents), _BLOCK_DOCUMENTS):
        kept, _ = filters.judge(documents[first : first + _BLOCK_DOCUMENTS])
        num_kept += len(kept)
    return time.process_time() - start, num_kept


if __name__ == "__main__":
    main()
