"""Search: a text -> the rows that have it, and how often over training, by an index or a scan.

An index beside the order answers at once. A scan runs in a thread with readers of its own. Its
answer is what was found so far; whoever asks again gets more, and a scan that nobody asks for ends.
Rows and records that cannot be read are problems of an answer, which has the others.
"""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from secrets import token_hex
from typing import Any, TypeVar

import numpy as np

from pipeline import dataset
from pipeline.audit.search import SearchIndex
from pipeline.audit.trace import Trace, find
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import ConfigError, NotFoundError, PipelineError
from pipeline.core.ragged import Rows
from pipeline.dataset import ROWS_PER_NODE, RowSource
from pipeline.dataset.provenance import RowProvenance
from pipeline.show.commands import same_trace
from pipeline.show.shown_order import Shown

_MOST_ROWS = 1000
_MOST_CHARACTERS = 10_000
_AROUND = 24
"""Tokens shown on either side of a place."""
_COLUMNS = 200
_WAIT_SECONDS = 0.1
_IDLE_SECONDS = 60.0
_MOST_JOBS = 8
_MOST_PROBLEMS = 20

Read = TypeVar("Read")


def search_view(shown: Shown, text: str, first: int = 50, job: str | None = None) -> dict[str, Any]:
    """Return the rows that have a text, all or so far; with `job`, of a scan that has begun.

    first: how many places are listed; all are counted.

    Raises: ConfigError for a text without tokens; NotFoundError without provenance, or for a job
    that has ended; MismatchError for an index that is damaged or of another order.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(
            f"text: got {len(text):,} characters, expected at most {_MOST_CHARACTERS:,}",
            "search for a sentence of it",
        )
    key = (text, min(max(first, 1), _MOST_ROWS))
    # In one word, since a text may begin with a hyphen.
    same = same_trace(shown, "search", {"text": text, "first": first}, [f"--find={text}"])
    if job is None:
        with shown.lock:
            shown.need_trace()
            if (index := shown.search_index()) is not None:
                return {**_indexed(shown, index, *key), **same}
            found = Scan(shown, *key)
            _keep(shown.jobs, found)
    else:
        known = shown.jobs.get(job)
        if not isinstance(known, Scan) or known.key != key:
            raise NotFoundError(f"job {job!r}: has ended, or is of another search", "search again")
        found = known
    found.wait(_WAIT_SECONDS if shown.is_served else None)
    return {**found.so_far(), **same}


def _indexed(shown: Shown, index: SearchIndex, text: str, first: int) -> dict[str, Any]:
    """Return what an index finds."""
    began = time.monotonic()
    trace, problems = shown.need_trace(), Problems()
    patterns, bounds = trace.patterns(text), _columns(shown)
    found = index.find(patterns, first)
    counts = index.count_between(patterns, trace.positions.first_rows[bounds])
    seconds = time.monotonic() - began
    rows, places = np.unique(found.rows, return_inverse=True)
    ids = _ids_of(shown, rows, problems)
    origins = [_origin(trace, row, problems) for row in rows.tolist()]
    return {
        "text": text,
        "count": found.count,
        "is_exact": True,
        "seconds": seconds,
        "method": "index",
        "done": 1.0,
        "rows": [
            {
                **_where(shown, int(rows[place]), origins[place]),
                **_place(shown, text, patterns, ids[place], offset),
            }
            for place, offset in zip(places.tolist(), found.offsets.tolist(), strict=True)
        ],
        "problems": problems.lines(),
        "over_time": _over_time(shown, bounds, counts),
    }


def _columns(shown: Shown) -> Int64Array:
    """Return the steps at which columns of the count over training begin: from 0, and the end."""
    num_steps = len(shown.step_tokens)
    columns = min(_COLUMNS, num_steps)
    return np.arange(columns + 1) * num_steps // max(columns, 1)


def _over_time(shown: Shown, bounds: Int64Array, counts: Int64Array) -> list[dict[str, Any]]:
    tokens = np.add.reduceat(shown.step_tokens, bounds[:-1]) if len(counts) else counts
    return [
        {"first_step": start + 1, "last_step": stop, "count": count, "num_tokens": num_tokens}
        for (start, stop), count, num_tokens in zip(
            pairwise(bounds.tolist()), counts.tolist(), tokens.tolist(), strict=True
        )
    ]


class Problems:
    """What of an order could not be read, each once."""

    def __init__(self) -> None:
        self._messages: dict[str, None] = {}

    def note(self, error: PipelineError) -> None:
        self._messages[error.message] = None

    def or_none(self, read: Callable[..., Read], *given: Any) -> Read | None:
        """Return what a call reads; None, and a problem, where it cannot."""
        try:
            return read(*given)
        except PipelineError as error:
            self.note(error)
            return None

    def lines(self) -> list[str]:
        lines = [*self._messages]
        if len(lines) > _MOST_PROBLEMS:
            lines[_MOST_PROBLEMS:] = [f"and {len(lines) - _MOST_PROBLEMS:,} more"]
        return lines


def _ids_of(shown: Shown, rows: Int64Array, problems: Problems) -> list[Uint32Array | None]:
    """Return the ids of rows; None of one that cannot be read."""
    take = shown.need_order().rows.take
    try:
        return [*take(rows)]
    except PipelineError:
        found = [problems.or_none(take, rows[place : place + 1]) for place in range(len(rows))]
        return [None if one is None else one[0] for one in found]


def _origin(trace: Trace, row: int, problems: Problems) -> RowProvenance | None:
    found = problems.or_none(trace.provenance.rows, row, row + 1)
    return None if found is None else found[0]


def _where(shown: Shown, row: int, origin: RowProvenance | None) -> dict[str, Any]:
    return {
        "row": row,
        "step": shown.step_of(row),
        "source": None if origin is None else origin.source,
        "document": None if origin is None else origin.document,
    }


def _place(
    shown: Shown, asked: str, patterns: list[Uint32Array], ids: Uint32Array | None, offset: int
) -> dict[str, Any]:
    """Return a place where the text is, with what is before and after it if the row is known."""
    if ids is None:
        return {"offset": offset} | dict.fromkeys(["stop", "before", "match", "after"])
    fits = [len(one) for one in patterns if np.array_equal(ids[offset : offset + len(one)], one)]
    stop = offset + max(fits, default=1)
    text = shown.token_text
    before, match = text.plain(ids[max(offset - _AROUND, 0) : offset]), text.plain(ids[offset:stop])
    if match.startswith(" ") and not asked.startswith(" "):
        # The first token has it, and nobody asked for it.
        before, match = f"{before} ", match[1:]
    after = text.plain(ids[stop : stop + _AROUND])
    return {"offset": offset, "stop": stop, "before": before, "match": match, "after": after}


def _keep(jobs: dict[str, Any], added: "Scan") -> None:
    """Keep a scan, and end the oldest of too many."""
    jobs[added.job] = added
    while len(jobs) > _MOST_JOBS:
        jobs.pop(next(iter(jobs))).end()


class Scan:
    """A search of all rows of an order, in a thread."""

    def __init__(self, shown: Shown, text: str, first: int) -> None:
        trace, self._order = shown.need_trace(), shown.need_order()
        self.job, self.key = token_hex(8), (text, first)
        self._shown, self._text, self._first = shown, text, first
        self._patterns = trace.patterns(text)
        self._bounds = _columns(shown)
        self._counts = np.zeros(len(self._bounds) - 1, np.int64)
        self._rows: list[dict[str, Any]] = []
        self._count, self._done, self._seconds = 0, 0.0, 0.0
        self.problems, self.is_whole = Problems(), True
        self._error: PipelineError | None = None
        self._has_ended = threading.Event()
        self._asked = self._began = time.monotonic()
        self._is_given_up = False
        threading.Thread(target=self._run, daemon=True, name="scan").start()

    def wait(self, seconds: float | None) -> None:
        """Wait for the end, some seconds at most; None waits as long as it takes."""
        self._asked = inf if seconds is None else time.monotonic()
        self._has_ended.wait(seconds)

    def end(self) -> None:
        self._is_given_up = True

    def so_far(self) -> dict[str, Any]:
        """Return what was found. Raises: what ended the scan."""
        if self._error is not None:
            raise type(self._error)(self._error.message, self._error.hint)
        is_done = self._has_ended.is_set()
        return {
            "text": self._text,
            "count": self._count,
            "is_exact": is_done and self.is_whole,
            "seconds": self._seconds if is_done else time.monotonic() - self._began,
            "method": "scan",
            "job": self.job,
            "done": 1.0 if is_done else min(self._done, 0.999),
            "rows": [*self._rows],
            "problems": self.problems.lines(),
            "over_time": _over_time(self._shown, self._bounds, self._counts),
        }

    def _run(self) -> None:
        try:
            self._scan()
        except PipelineError as error:
            self._error = error
        except Exception as error:
            self._error = PipelineError(f"unexpected {type(error).__name__}: {error}")
        self._seconds = time.monotonic() - self._began
        self._has_ended.set()

    def _scan(self) -> None:
        shown = self._shown
        assert shown.folder is not None
        trace = Trace.open(shown.folder)
        rows = _Watched(self, dataset.open(shown.where, phase=shown.phase).rows)
        shown.check_is_same()
        first_rows = trace.positions.first_rows[self._bounds]
        for matches in find(self._patterns, rows):
            places = np.array([match.row for match in matches])
            self._counts += np.histogram(places, first_rows)[0]
            self._count += len(matches)
            for match in matches[: self._first - len(self._rows)]:
                origin = _origin(trace, match.row, self.problems)
                ids = rows.row(match.row)
                place = _place(shown, self._text, self._patterns, ids, match.offset)
                self._rows.append({**_where(shown, match.row, origin), **place})

    def progress(self, num_rows: int) -> None:
        """Note how far the scan is; ends it where nobody has asked for a while."""
        self._done = num_rows / max(self._order.rows.num_rows, 1)
        self._is_given_up |= time.monotonic() - self._asked > _IDLE_SECONDS
        if self._is_given_up:
            raise NotFoundError(f"job {self.job!r}: was given up", "search again")


class _Watched:
    """Rows of which the block that was read last is known, and those that cannot be read empty."""

    def __init__(self, scan: Scan, rows: RowSource) -> None:
        self._scan, self._rows = scan, rows
        self._first, self._block = 0, Rows(np.empty(0, np.uint32), np.zeros(1, np.int64))

    @property
    def num_rows(self) -> int:
        return self._rows.num_rows

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        first, blocks = start, self._rows.read(start, stop)
        while first < stop:
            try:
                block = next(blocks)
            except PipelineError as error:
                self._scan.problems.note(error)
                self._scan.is_whole = False
                end = min(first // ROWS_PER_NODE * ROWS_PER_NODE + ROWS_PER_NODE, stop)
                block = Rows(np.empty(0, np.uint32), np.zeros(end - first + 1, np.int64))
                blocks = self._rows.read(end, stop)
            self._first, self._block = first, block
            yield block
            first += len(block)
            self._scan.progress(first)

    def row(self, number: int) -> Uint32Array:
        return self._block[number - self._first]
