"""Index builder: the rows of an order -> a folder with a search index, section by section.

A section is published whole with its record; what an earlier run made of the same order is kept
where its files are as they were synced. So a killed run goes on, to the same bytes.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.audit.search.index_record import (
    INDEX,
    SECTION,
    IndexRecord,
    SectionRecord,
    array_path,
    damaged_files,
    read_index_record,
    record_bytes,
    section_folder,
)
from pipeline.audit.search.section import ARRAYS, make_section
from pipeline.core.errors import MismatchError, OutputError
from pipeline.core.files import publish, save_array, writing
from pipeline.core.progress import ReportProgress, Work
from pipeline.core.ragged import Rows
from pipeline.core.saved_file import SavedFile
from pipeline.dataset import MANIFEST, MissingRows, Order

# A section takes 12 bytes a token; the rest is for reading rows and for the program.
_BYTES_A_TOKEN: Final = 32
_LEAST_TOKENS: Final = 1 << 12
_LOCK: Final = "lock"
_SCRATCH: Final = "tmp"


def section_tokens_within(memory_bytes: int) -> int:
    """Return the most tokens of a section that is made within some memory: a power of two."""
    tokens = max(memory_bytes // _BYTES_A_TOKEN, _LEAST_TOKENS)
    # Places have 32 bits.
    return min(1 << (int(tokens).bit_length() - 1), 1 << 31)


def build_index(
    order: Order, folder: Path, *, section_tokens: int, report: ReportProgress
) -> IndexRecord:
    """Write the search index of an order to a folder; return what is in it.

    folder: what it holds of an index of another order is replaced. report: is called with rows.

    Raises: InputError when the order is a manifest alone; OutputError when the folder holds
    anything else, is in use or cannot be written; as `RowReader.take`.
    """
    if isinstance(order.rows, MissingRows):
        raise order.rows.error()
    _check_place(folder)
    builder = _Builder(order=order, folder=folder, section_tokens=section_tokens)
    with _hold(folder):
        sections, work = [], Work(unit="rows")
        for section in builder.sections():
            sections.append(section)
            work += Work(num_tokens=section.num_tokens)
            report("index", section.first_row + section.num_rows, order.rows.num_rows, work)
        record = IndexRecord(
            order=order.digest,
            ledger=None if order.ledger is None else order.ledger.sequence_root,
            section_tokens=section_tokens,
            num_rows=order.rows.num_rows,
            num_tokens=sum(one.num_tokens for one in sections),
            sections=tuple(one.listed() for one in sections),
        )
        _finish(folder, record)
    return record


@dataclass(frozen=True, kw_only=True, slots=True)
class _Builder:
    """What makes the sections of an order."""

    order: Order
    folder: Path
    section_tokens: int

    def sections(self) -> Iterator[SectionRecord]:
        """Yield all sections, of which those that are missing or damaged are made."""
        rows = self.order.rows
        first_row = number = 0
        cut = None
        while first_row < rows.num_rows:
            section = self._kept(number, first_row)
            if section is not None:
                cut = None
            else:
                (self.folder / INDEX).unlink(missing_ok=True)
                if cut is None:
                    cut = cut_sections(rows.read(first_row, rows.num_rows), self.section_tokens)
                section = self._make(number, first_row, next(cut))
            yield section
            first_row += section.num_rows
            number += 1

    def _kept(self, number: int, first_row: int) -> SectionRecord | None:
        """Return an intact section of an earlier run; None if it is to be made."""
        path = section_folder(self.folder, number)
        try:
            record = read_index_record(path / SECTION, SectionRecord)
        except MismatchError:
            return None
        expected = (self.order.digest, self.section_tokens, first_row)
        if (record.order, record.section_tokens, record.first_row) != expected:
            return None
        return None if damaged_files(path, record.listed()) else record

    def _make(self, number: int, first_row: int, parts: list[Rows]) -> SectionRecord:
        num_rows = sum(map(len, parts))
        section = make_section(parts)
        with publish(section_folder(self.folder, number), self.folder / _SCRATCH) as temporary:
            temporary.mkdir()
            files = {}
            for name in ARRAYS:
                file = array_path(temporary, name)
                files[name] = SavedFile.of_written(file, save_array(file, getattr(section, name)))
            record = SectionRecord(
                order=self.order.digest,
                section_tokens=self.section_tokens,
                first_row=first_row,
                num_rows=num_rows,
                num_tokens=len(section.places),
                files=files,
            )
            (temporary / SECTION).write_bytes(record_bytes(record))
        return record


def cut_sections(blocks: Iterable[Rows], most_tokens: int) -> Iterator[list[Rows]]:
    """Yield the rows of sections: as many as have so many tokens with one more each, or one row."""
    parts: list[Rows] = []
    room = most_tokens
    for block in blocks:
        rest = block
        while len(rest):
            ends = rest.offsets + np.arange(len(rest) + 1)
            num_fitting = max(int(np.searchsorted(ends, room, side="right")) - 1, int(not parts))
            if num_fitting:
                parts.append(rest.slice(0, num_fitting))
                room -= int(ends[num_fitting])
            rest = rest.slice(num_fitting, len(rest))
            if len(rest):
                yield parts
                parts, room = [], most_tokens
    if parts:
        yield parts


def _finish(folder: Path, record: IndexRecord) -> None:
    """Write `index.json`, and remove sections of an earlier index that had more."""
    path = folder / INDEX
    data = record_bytes(record)
    if not path.is_file() or path.read_bytes() != data:
        with publish(path, folder / _SCRATCH) as temporary:
            temporary.write_bytes(data)
    with writing(folder):
        for other in folder.glob("section-*"):
            if other.name >= section_folder(folder, len(record.sections)).name:
                shutil.rmtree(other)
        shutil.rmtree(folder / _SCRATCH, ignore_errors=True)


def _check_place(folder: Path) -> None:
    for parent in folder.absolute().parents:
        if (parent / MANIFEST).is_file():
            raise OutputError(
                f"{folder}: is inside {parent}, an output, which has files of its manifest alone",
                "name another folder with --out",
            )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        why = "got a file, expected a folder" if is_file else f"cannot be made: {error.strerror}"
        raise OutputError(f"{folder}: {why}", "choose another --out") from error


@contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """Hold a folder for one run, and remove what a killed one was writing. Raises: OutputError."""
    _make(folder)
    with writing(folder):
        ours = (INDEX, _LOCK, _SCRATCH)
        others = [one.name for one in folder.iterdir() if one.name not in ours]
        if not all(name.startswith("section-") for name in others):
            raise OutputError(
                f"{folder}: holds {min(others)!r}, expected a new folder or a search index",
                "choose another --out",
            )
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be locked: {error.strerror}; another run may write it",
                "wait for it, or choose another --out",
            ) from error
        shutil.rmtree(folder / _SCRATCH, ignore_errors=True)
        yield
    finally:
        os.close(lock)
