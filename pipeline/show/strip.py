"""The exact strip of an order: counts of base columns, from one pass over its provenance.

The pass runs in a thread, is done once for an order and kept in the user's cache. A column of any
width is the sum of base columns. With more sources there are fewer of these, so that memory is
bounded: 64 MiB of counts.
"""

import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest, sha256_bytes
from pipeline.core.errors import MismatchError, PipelineError
from pipeline.dataset.provenance import ColumnReader, RowColumns

_MOST_COLUMNS = 1 << 16
_MOST_CELLS = 1 << 22
_MOST_CACHED = 64
LENGTHS: Final = np.array(
    [*range(4), *((4 + quarter) << octave for octave in range(31) for quarter in range(4))]
)
"""int64, the least length of each bin of lengths: four to a doubling."""
# Of the time of both passes, that over rows in their order.
_ROWS_SHARE = 0.6
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Strip:
    """Counts of columns of steps."""

    bounds: Int64Array
    """int64 [num_columns + 1], the first step of each column, from 0, and the end."""
    tokens: Int64Array
    """int64 [num_columns, num_sources]."""
    rows: Int64Array
    """int64 [num_columns, num_sources]."""
    squares: Int64Array
    """int64 [num_sources], the sum of the squares of the lengths of all rows."""
    repeated: Int64Array
    """int64 [num_columns], rows of a chunk that an earlier row of the order has."""
    later: Int64Array
    """int64 [num_columns], rows of a chunk that is not the first of its document."""
    shortest: Int64Array
    longest: Int64Array
    lengths: Int64Array
    """int64 [num_sources, len(LENGTHS)], rows by length."""
    has_repeats: bool = False
    """Whether `repeated` was counted."""

    def joined(self, starts: Int64Array) -> "Strip":
        """Return columns that begin at some of these, as indices: int64 [num_joined + 1], rising.

        The last of them is where the last column ends.
        """
        first, end = starts[:-1], int(starts[-1])
        return Strip(
            bounds=self.bounds[starts],
            tokens=np.add.reduceat(self.tokens[:end], first, axis=0),
            rows=np.add.reduceat(self.rows[:end], first, axis=0),
            squares=self.squares,
            repeated=np.add.reduceat(self.repeated[:end], first),
            later=np.add.reduceat(self.later[:end], first),
            shortest=np.minimum.reduceat(self.shortest[:end], first),
            longest=np.maximum.reduceat(self.longest[:end], first),
            lengths=self.lengths,
            has_repeats=self.has_repeats,
        )


def base_bounds(num_steps: int, num_sources: int) -> Int64Array:
    """Return the first step of each base column, from 0, and the end."""
    most = min(_MOST_COLUMNS, max(_MOST_CELLS // max(num_sources, 1), 256))
    columns = min(num_steps, most)
    return np.arange(columns + 1) * num_steps // max(columns, 1)


def add_rows(strip: Strip, group: RowColumns, first_rows: Int64Array) -> None:
    """Count some rows. first_rows: int64 [num_columns + 1], the first row of each base column."""
    numbers = np.arange(group.start, group.start + len(group))
    columns = np.searchsorted(first_rows, numbers, side="right") - 1
    first = int(columns[0])
    part = slice(first, int(columns[-1]) + 1)
    columns -= first
    shape = strip.tokens[part].shape
    cells = columns * shape[1] + group.sources
    lengths = group.num_tokens.astype(np.int64)
    size = shape[0] * shape[1]
    # A sum of float64 is exact to 2^53, and so for any number of rows of a group.
    strip.tokens[part] += np.bincount(cells, lengths, size).astype(np.int64).reshape(shape)
    strip.rows[part] += np.bincount(cells, minlength=size).reshape(shape)
    squares = np.bincount(group.sources, lengths * lengths, shape[1])
    strip.squares[:] += squares.astype(np.int64)
    strip.later[part] += np.bincount(columns[group.chunks > 0], minlength=shape[0])
    bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
    np.add.at(strip.lengths.reshape(-1), group.sources * len(LENGTHS) + bins, 1)
    np.minimum.at(strip.shortest, columns + first, lengths)
    np.maximum.at(strip.longest, columns + first, lengths)


class StripMaker:
    """Makes the strip of an order, at most once."""

    def __init__(
        self,
        *,
        reader: ColumnReader,
        documents: Sequence[Path],
        files: Mapping[Path, FileDigest],
        first_rows: Int64Array,
        num_sources: int,
        key: str,
        views: threading.RLock,
    ) -> None:
        """files: those that are read; first_rows: int64 [num_steps + 1]; key: names the order in
        the cache; views: held while a view is answered."""
        self._reader, self._documents, self._files = reader, documents, files
        self._first_rows, self._num_sources = first_rows, num_sources
        self._path = cache_folder() / f"strip-{key}.npz"
        self._views, self._is_awaited = views, False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.strip: Strip | None = None
        self.done = 0.0
        self.error: PipelineError | None = None

    def start(self) -> None:
        """Begin in a thread, or take what is cached, if that was not done before."""
        with self._lock:
            if self.strip is None and self._thread is None:
                self.strip = load_strip(self._path)
                if self.strip is None:
                    self._thread = threading.Thread(target=self.make, daemon=True, name="strip")
                    self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is made, or cannot be, or some seconds have gone; tell whether it ended."""
        thread = self._thread
        if thread is not None:
            self._is_awaited = True
            thread.join(seconds)
            self._is_awaited = False
        return thread is None or not thread.is_alive()

    def make(self) -> None:
        """Make the strip now; what goes wrong is in `error`."""
        try:
            try:
                strip = self._count()
            finally:
                # Also where counting fails: damage that no reader notices may have any effect.
                self._check_files()
        except PipelineError as error:
            self.error = error
            return
        self.strip, self.done = strip, 1.0
        save_strip(self._path, strip)

    def _check_files(self) -> None:
        """Insist that what was counted is what the manifest names, since the counts are kept."""
        for path, file in self._files.items():
            try:
                is_right = file.matches(path)
            except OSError:
                is_right = False
            if not is_right:
                raise MismatchError(
                    f"{path}: has other bytes than the manifest says", "build again to write it"
                )

    def _count(self) -> Strip:
        bounds = base_bounds(len(self._first_rows) - 1, self._num_sources)
        strip = empty_strip(bounds, self._num_sources)
        first_rows, num_rows = self._first_rows[bounds], int(self._first_rows[-1])
        for group in self._reader.groups(0, num_rows):
            self._give_way()
            add_rows(strip, group, first_rows)
            self.done = _ROWS_SHARE * (group.start + len(group)) / num_rows
        for number, rows in enumerate(self._repeats(), 1):
            self._give_way()
            columns = np.searchsorted(first_rows, rows, side="right") - 1
            strip.repeated[:] += np.bincount(columns, minlength=len(bounds) - 1)
            self.done = _ROWS_SHARE + (1 - _ROWS_SHARE) * number / (len(self._documents) + 1)
        return replace(strip, has_repeats=True)

    def _give_way(self) -> None:
        """Wait while a view is answered, unless that waits for this."""
        while not self._is_awaited:
            if self._views.acquire(timeout=_LOOK_SECONDS):
                self._views.release()
                return

    def _repeats(self) -> Iterator[Int64Array]:
        return map(self._reader.repeated_rows, self._documents)


def empty_strip(bounds: Int64Array, num_sources: int) -> Strip:
    """Return columns of nothing, to count into."""
    columns = len(bounds) - 1
    return Strip(
        bounds=bounds,
        tokens=np.zeros((columns, num_sources), np.int64),
        rows=np.zeros((columns, num_sources), np.int64),
        squares=np.zeros(num_sources, np.int64),
        repeated=np.zeros(columns, np.int64),
        later=np.zeros(columns, np.int64),
        shortest=np.full(columns, np.iinfo(np.int64).max),
        longest=np.zeros(columns, np.int64),
        lengths=np.zeros((num_sources, len(LENGTHS)), np.int64),
    )


def cache_folder() -> Path:
    """Return the user's folder for what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home or Path.home() / ".cache") / "ettin-data" / "show"


def save_strip(path: Path, strip: Strip) -> None:
    """Save a strip with its digest; where it cannot be written, it is made again next time."""
    data = io.BytesIO()
    np.savez(data, **{one.name: getattr(strip, one.name) for one in fields(Strip)})
    content = data.getvalue()
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("strip-*.npz"), key=_age)[:-_MOST_CACHED]:
            old.unlink(missing_ok=True)
        try:
            temporary.write_bytes(sha256_bytes(content).encode() + content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def load_strip(path: Path) -> Strip | None:
    """Return a strip that was saved; None where there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if sha256_bytes(data[64:]).encode() != data[:64]:
        return None
    try:
        with np.load(io.BytesIO(data[64:]), allow_pickle=False) as saved:
            arrays = {one.name: saved[one.name] for one in fields(Strip)}
            return Strip(**{**arrays, "has_repeats": bool(arrays["has_repeats"])})
    except (ValueError, KeyError, OSError):
        return None
