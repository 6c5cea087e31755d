"""Reading: one input file -> the documents of it that a mixture lets through, block by block.

A file that is not kept on disk is fetched for the time of the reading. What its origin had when the
mixture was locked is insisted on: other bytes are an error, however good they look.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.config import FORMATTERS, Filter, Origin, to_plain
from pipeline.core.digest import sha256_file
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.dataset import State
from pipeline.sources import SKIP_HINT, Decoding, InputFile, OnBad, Reader, check_file, fetch
from pipeline.stages.filters import Dropped, identify, make_filters
from pipeline.storage import StoredFile

DROP_DTYPE = np.dtype([("row", "<u4"), ("reason", "<u2")])
"""A document that is left out: its row in the file, and the number of the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """A file as it was locked."""

    file: StoredFile
    """What its origin had."""
    revision: str | None
    """The commit, where there is such a thing."""
    is_kept: bool
    """Whether it lies on disk; else it is fetched for as long as it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DropList:
    """The documents of a file that a stage before has decided to leave out."""

    path: Path
    """An array of `DROP_DTYPE`, sorted by row."""
    digest: str
    """sha256 of the array."""
    reasons: tuple[str, ...]
    """By number."""

    def load(self) -> dict[int, str]:
        """Return the reason of each row that is left out."""
        drops = np.load(self.path)
        return {row: self.reasons[reason] for row, reason in drops.tolist()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input file, and what its documents must pass."""

    source: str
    """The source that the file belongs to."""
    file: InputFile
    """Where it lies, or would."""
    origin: Origin
    """Which fields hold text and id."""
    filters: tuple[Filter, ...]
    """As declared."""
    folder: Path
    """The mixture's, against which the files of filters are read, absolute."""
    decoding: Decoding | None = None
    """How rows of ids become text."""
    decoder: str | None = None
    """sha256 of the tokenizer by which they do."""
    locked: Locked | None = None
    """What the file must be, where the mixture is locked."""
    drops: DropList | None = None
    """What to leave out in place of what the filters say."""

    def declaration(self) -> dict[str, object]:
        """Return what decides the documents, but for the bytes of the file, as JSON-able values."""
        return {
            "input": self.file.declared,
            "locked": self.locked and self.locked.file.digest,
            "origin": to_plain(self.origin),
            "decoder": self.decoder,
            "filters": [to_plain(one) for one in self.filters],
            "filters_made_of": identify(self.filters, self.folder),
            "drops": self.drops and [self.drops.digest, list(self.drops.reasons)],
        }


def stop_at_bad(error: DocumentError) -> None:
    """Refuse a bad document. Raises: the error."""
    raise error


def bad_document(where: str, document: Document, reason: str, what: str) -> DocumentError:
    """Return the error that says of a document of the file `where` what is wrong with it."""
    named = json.dumps(document.id, ensure_ascii=False)  # on one line, whatever is in it
    return DocumentError(
        f"{where}: document {document.row + 1}: id {named} {what}", SKIP_HINT, reason
    )


def is_same_input(task: Input, recorded: Mapping[str, Any]) -> bool:
    """Tell whether a file is the one that a record was made of.

    It is read to be sure; one that is not kept must have been locked as the same.
    """
    if task.locked is not None and not task.locked.is_kept:
        return bool(task.locked.file.digest == recorded["locked"])
    # Of one that is gone, whoever reads it says so.
    path = task.file.path
    return path.is_file() and bool(sha256_file(path) == recorded["sha256"])


class DocumentReader:
    """Reads one file once; afterwards `sha256`, `num_bytes` and `num_rows` tell what it was."""

    def __init__(self, input_: Input, on_bad: OnBad) -> None:
        self._input = input_
        self._on_bad = on_bad
        self.sha256 = ""
        self.num_bytes = 0
        self.num_rows = 0

    def blocks(self, state: State) -> Iterator[tuple[list[Document], list[Dropped]]]:
        """Yield the documents that pass and those that do not, in file order.

        Raises: DocumentError or InputError for bad input; MismatchError when the file is not the
        one that was locked.
        """
        task = self._input
        keep = _sieve(task)
        with _lying(task, state) as path:
            reader = Reader(
                replace(task.file, path=path),
                text_field=task.origin.text,
                id_field=task.origin.id,
                decoding=task.decoding,
            )
            try:
                for block in reader.blocks(self._on_bad):
                    yield keep(block)
            except InputError:
                # What is broken may be so because it is not what was locked, which says more.
                if task.locked is not None:
                    check_file(path, task.locked.file)
                raise
            self.sha256, self.num_bytes = reader.sha256, path.stat().st_size
            self.num_rows = reader.num_rows
            if task.locked is not None and task.locked.file.digest != f"sha256:{self.sha256}":
                check_file(path, task.locked.file)


@contextmanager
def _lying(task: Input, state: State) -> Iterator[Path]:
    """Yield where the file lies; one that is not kept, only as long as it is read."""
    locked = task.locked
    if locked is None or locked.is_kept:
        yield task.file.path
        return
    state.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=state.scratch) as folder:
        path = Path(folder) / f"{task.file.partition}{task.file.kind}"
        fetch(task.origin, task.folder, locked.revision, locked.file, path, Path(folder))
        yield path


def _sieve(task: Input) -> Callable[[list[Document]], tuple[list[Document], list[Dropped]]]:
    """Return what tells the documents that pass from those that do not."""
    if task.drops is None:
        return make_filters(task.filters, task.folder).judge
    reasons = task.drops.load()
    # What drops was asked before; what rewrites must be done again.
    formatters = make_filters(
        tuple(one for one in task.filters if one.name in FORMATTERS), task.folder
    )

    def keep(block: list[Document]) -> tuple[list[Document], list[Dropped]]:
        written, dropped = formatters.judge(block)
        passed = [document for document in written if document.row not in reasons]
        dropped += [Dropped(document=one, reason="") for one in written if one.row in reasons]
        # What drops first differs where those that only drop are left out; the first time counts.
        told = [replace(one, reason=reasons[one.document.row]) for one in dropped]
        return passed, sorted(told, key=lambda one: one.document.row)

    return keep
