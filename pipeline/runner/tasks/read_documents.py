"""Read documents: one input file -> the documents that pass the mixture's filters, in blocks.

A file that is not kept on disk is fetched while it is read; bytes must be the locked ones.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from pipeline.config import MAX_BAD, MAX_DOCUMENT_BYTES, Filter, Origin, to_plain
from pipeline.core.digest import sha256_file
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError, MismatchError
from pipeline.core.files import load_array
from pipeline.core.mirrored import only_here_to_read
from pipeline.dataset import InputRecord, State, UnreadInput
from pipeline.runner.task_cache import PartitionOutput, ScannedInput, ScanRecord, load_cached
from pipeline.sources import (
    NAME_FIELD,
    SKIP_HINT,
    Decoding,
    FileReader,
    InputFile,
    OnBad,
    check_file,
    fetch,
    scratch_folder,
)
from pipeline.stages.filters import Dropped, identify, make_filters
from pipeline.storage import StoredFile

OfInputs = TypeVar("OfInputs", PartitionOutput, ScanRecord)
DROP_DTYPE = np.dtype([("row", "<u4"), ("reason", "<u2")])
"""A document to drop: its row in the file, and the number of the reason."""
# Filters have some dozens. A function that puts a measure into its reason has one a document.
_MOST_REASONS = 1000
# A few bad documents in a small file are no sign of a file that is wrong as a whole.
_ALWAYS_SKIPPED = 20
# The thousands of files that a partition may have are of one origin.
_plain_origin = lru_cache(maxsize=64)(to_plain)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedInput:
    """A file as it was locked."""

    file: StoredFile
    revision: str | None
    """The commit, of a file on the Hub."""
    is_kept: bool
    """Whether it stays on disk; else it is fetched only while it is read."""
    raw: Path | None = None
    """The folder of pulled files, where it is pulled when it is read; None where it was before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DropList:
    """The documents of a file that the scan of the corpus has decided to drop."""

    path: Path
    """An array of `DROP_DTYPE`, sorted by row."""
    digest: str
    reasons: tuple[str, ...]

    def load(self) -> dict[int, str]:
        drops = load_array(self.path)
        return {row: self.reasons[reason] for row, reason in drops.tolist()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input file, and what its documents must pass."""

    source: str
    file: InputFile
    origin: Origin
    filters: tuple[Filter, ...]
    folder: Path
    """The mixture's, absolute, which paths of filters are relative to."""
    filters_made_of: Mapping[str, str] = field(default_factory=dict)
    """What `identify` says of the filters where the build was started."""
    allows_code: bool = False
    """Whether filters may run code that the mixture names."""
    decoding: Decoding | None = None
    """How rows of ids become text, by a tokenizer in a file that is named by its sha256."""
    max_bad: Fraction = MAX_BAD
    """Largest fraction of the documents that may be skipped because they cannot be read."""
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    """Larger documents are bad."""
    takes_empty: bool = False
    """Whether an empty text is a document: of lines, each is a row."""
    locked: LockedInput | None = None
    drops: DropList | None = None
    """What to drop instead of what the filters would."""
    read_before: str | None = None
    """sha256 of the file as an earlier pass of this build read it. What that pass decided by row
    holds for these bytes only."""

    @property
    def locked_digest(self) -> str | None:
        return None if self.locked is None else self.locked.file.digest

    def declaration(self) -> dict[str, object]:
        """Return all that decides the documents except the bytes of the file, JSON-able."""
        is_usual = self.max_document_bytes == MAX_DOCUMENT_BYTES
        return {
            **({} if is_usual else {"max_document_bytes": self.max_document_bytes}),
            "input": self.file.declared,
            "locked": self.locked_digest,
            "origin": _plain_origin(self.origin),
            "decoder": self.decoding and self.decoding.tokenizer.stem,
            "filters": [to_plain(one) for one in self.filters],
            "filters_made_of": dict(self.filters_made_of),
            "drops": self.drops and [self.drops.digest, list(self.drops.reasons)],
        }


def declare_inputs(inputs: Sequence[Input]) -> object:
    """Return all that decides the documents of a partition's files except the bytes, JSON-able."""
    declared = [one.declaration() for one in inputs]
    # As it was when each partition was one file, so that what was built then still counts.
    return declared if len(declared) > 1 else declared[0]


def stop_at_bad(error: DocumentError) -> None:
    raise error


def bad_document(where: str, document: Document, reason: str, what: str) -> DocumentError:
    """Return the error for a document of the file `where`, of which `what` is wrong."""
    named = json.dumps(document.id, ensure_ascii=False)  # on one line, whatever is in it
    return DocumentError(
        f"{where}: document {document.row + 1}: id {named} {what}", SKIP_HINT, reason
    )


def load_cached_for(
    inputs: Sequence[Input],
    state: State,
    name: str,
    key: str,
    kind: type[OfInputs],
    *,
    hashes_all: bool,
) -> OfInputs | None:
    """Return a task's cached record, if its input files are still the same.

    They are hashed, but for those that are not kept: of these it has an `UnreadInput`.
    """
    record = load_cached(state, name, key, kind, hashes_all=hashes_all)
    if record is None or len(record.inputs) != len(inputs):
        return None
    if not all(map(_is_unchanged, inputs, record.inputs)):
        return None
    if isinstance(record, PartitionOutput):
        first, *more = map(mark_unread, inputs, record.inputs)
        return replace(record, input=first, more_inputs=tuple(more))
    return record


def _is_unchanged(input_: Input, read: InputRecord | ScannedInput) -> bool:
    locked, path = input_.locked, input_.file.path
    if locked is not None and not locked.is_kept:
        known = locked.file.sha256 or read.sha256
        return (locked.file.digest, known) == (read.locked, read.sha256)
    # If the file is gone, the reader says so.
    with only_here_to_read(path):
        return path.is_file() and sha256_file(path) == read.sha256


def mark_unread(input_: Input, read: InputRecord) -> InputRecord:
    """Return the record of a file as one that this run has not read, if it is not kept."""
    if input_.locked is None or input_.locked.is_kept:
        return read
    return UnreadInput(**{one.name: getattr(read, one.name) for one in fields(read)})


class DocumentReader:
    """Reads one file once; afterwards `sha256`, `num_bytes` and `num_rows` describe it."""

    def __init__(self, input_: Input, on_bad: OnBad) -> None:
        self._input = input_
        self._unreadable = _Unreadable(input_, on_bad)
        self._reasons: set[str] = set()
        self.sha256 = ""
        self.num_bytes = 0
        self.num_rows = 0

    def blocks(self, state: State) -> Iterator[tuple[list[Document], list[Dropped]]]:
        """Yield the documents that pass and those that do not, in file order.

        Raises: DocumentError or InputError for bad input; MismatchError when the file is not the
        one that was locked, or that an earlier pass has read.
        """
        input_, locked = self._input, self._input.locked
        split, is_local = _make_split(input_), input_.origin.kind == "path"
        with _local_file(input_, state) as path:
            reader = FileReader(
                replace(input_.file, path=path),
                text_field=input_.origin.text,
                id_field=input_.origin.id,
                decoding=input_.decoding,
                max_document_bytes=input_.max_document_bytes,
                takes_empty=input_.takes_empty,
            )
            try:
                for block in reader.blocks(self.drop):
                    kept, dropped = split(block)
                    self._reasons.update(one.reason for one in dropped)
                    _check_reasons(input_, self._reasons)
                    yield kept, dropped
                self._unreadable.check(reader.num_rows)
            except InputError:
                # It may be broken because it is another file, which is the better message.
                if locked is not None:
                    check_file(path, locked.file, is_local=is_local)
                if input_.read_before is not None:
                    _check_unchanged(input_, sha256_file(path))
                raise
            self.sha256, self.num_bytes = reader.sha256, path.stat().st_size
            self.num_rows = reader.num_rows
            if locked is not None and locked.file.digest != f"sha256:{self.sha256}":
                check_file(path, locked.file, is_local=is_local)
            _check_unchanged(input_, self.sha256)

    def drop(self, error: DocumentError) -> None:
        """Drop a document that cannot be used, one of the last block or by reading it.

        Raises: the error, where bad documents stop the build.
        """
        self._unreadable.note(error)


class _Unreadable:
    """The documents of a file that were skipped because they cannot be read.

    Many of them are the sign of a file or a declaration that is wrong. An empty text is none: the
    document is as declared.
    """

    def __init__(self, input_: Input, on_bad: OnBad) -> None:
        self._input = input_
        self._on_bad = on_bad
        self._by_reason: Counter[str] = Counter()
        self._first: dict[str, DocumentError] = {}

    def note(self, error: DocumentError) -> None:
        """Count a bad document. Raises: the error, where bad documents stop the build."""
        self._on_bad(error)
        if error.reason != "empty_text":
            self._by_reason[error.reason] += 1
            self._first.setdefault(error.reason, error)

    def check(self, num_rows: int) -> None:
        """Refuse a file of which too many are bad. Raises: InputError."""
        file = self._input.file
        # One bad file of text is one bad document; `check_files_of_text` judges all of them.
        if not self._by_reason or file.is_one_document:
            return
        first = self._first[self._by_reason.most_common(1)[0][0]]
        check_unreadable(
            file.declared,
            self._by_reason,
            num_rows,
            self._input.max_bad,
            first="; first: " + first.message.removeprefix(f"{file.declared}: "),
            hint=NAME_FIELD.get(first.reason, "look at the file: it may be of another kind"),
        )


def check_unreadable(
    where: str,
    by_reason: Mapping[str, int],
    num_documents: int,
    max_bad: Fraction,
    *,
    hint: str,
    first: str = "",
    spares_few: bool = False,
) -> None:
    """Refuse so many documents that cannot be read; a few are always skipped.

    by_reason: how many. first: what the error says of the first. spares_few: whether these are
    skipped even where they are all that there are.

    Raises: InputError.
    """
    num_bad = sum(by_reason.values())
    is_many = num_bad > _ALWAYS_SKIPPED
    are_all = num_bad == num_documents and (is_many or not spares_few)
    if are_all or (is_many and num_bad > max_bad * num_documents):
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(by_reason.items()))
        share = f"at most a share of {float(max_bad):g} (max_bad)"
        raise InputError(
            f"{where}: {num_bad:,} of {num_documents:,} documents cannot be read ({reasons}), "
            f"expected {'one that can' if are_all else share}{first}",
            hint if are_all else f"{hint}, or accept more such documents with max_bad",
        )


def _check_reasons(input_: Input, reasons: set[str]) -> None:
    """Refuse reasons without end, of which a manifest has a count for each. Raises: InputError."""
    if len(reasons) > _MOST_REASONS:
        raise InputError(
            f"{input_.file.declared}: got more than {_MOST_REASONS:,} different reasons from its"
            f" filters, such as {min(reasons)} and {max(reasons)}, expected a few",
            "return a word for each rule, without what was measured",
        )


def _check_unchanged(input_: Input, sha256: str) -> None:
    if input_.read_before not in (None, sha256):
        raise MismatchError(
            f"{input_.file.declared}: changed during the build: got sha256 {sha256}, expected "
            f"{input_.read_before}, which the pass before has read",
            "run the same command again once nothing writes to the file",
        )


@contextmanager
def _local_file(input_: Input, state: State) -> Iterator[Path]:
    """Yield the path of the file; one that is not kept is there only while it is read."""
    locked = input_.locked
    path = input_.file.path
    if locked is None or locked.is_kept:
        if locked is not None and locked.raw is not None:
            scratch = scratch_folder(locked.raw)
            fetch(input_.origin, input_.folder, locked.revision, locked.file, path, scratch)
        with only_here_to_read(path):
            yield path
        return
    state.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=state.scratch) as folder:
        path = Path(folder) / f"{input_.file.partition}{input_.file.kind}"
        fetch(input_.origin, input_.folder, locked.revision, locked.file, path, Path(folder))
        yield path


def _make_split(input_: Input) -> Callable[[list[Document]], tuple[list[Document], list[Dropped]]]:
    """Return what splits a block into the documents that pass and those that do not."""
    found = identify(input_.filters, input_.folder)
    if found != input_.filters_made_of:
        raise _other_filters(input_, found)
    allows = input_.allows_code
    if input_.drops is None:
        return make_filters(input_.filters, input_.folder, allows_code=allows).judge
    reasons = input_.drops.load()
    # The scan has asked the filters that drop; those that rewrite text must run again.
    formatters = make_filters(
        tuple(one for one in input_.filters if one.may_rewrite), input_.folder, allows_code=allows
    )

    def split(block: list[Document]) -> tuple[list[Document], list[Dropped]]:
        written, dropped = formatters.judge(block)
        passed = [document for document in written if document.row not in reasons]
        dropped += [Dropped(document=one, reason="") for one in written if one.row in reasons]
        # Without the filters that only drop, another one may drop first; the scan's reason counts.
        dropped = [_as_scanned(input_, one, reasons) for one in dropped]
        return passed, sorted(dropped, key=lambda one: one.document.row)

    return split


def _as_scanned(input_: Input, dropped: Dropped, reasons: Mapping[int, str]) -> Dropped:
    """Return what is dropped with the reason of the scan, which has stopped at faults if it must.

    Raises: InputError where the scan has kept it.
    """
    document = dropped.document
    if (reason := reasons.get(document.row)) is None:
        raise InputError(
            f"{input_.file.declared}: document {document.row + 1}: {dropped.reason} drops it, and"
            " kept it in the scan before, expected one verdict on each document",
            "let filters depend on text and metadata alone",
        )
    return replace(dropped, reason=reason, fault=None)


def _other_filters(input_: Input, found: Mapping[str, str]) -> InputError:
    """Return the error for code, lists, models or packages that are not those of the build."""
    expected = input_.filters_made_of
    names = sorted({**expected, **found})
    name = next(one for one in names if found.get(one) != expected.get(one))
    return InputError(
        f"sources.{input_.source}.filters: this worker finds {name} as {found.get(name, 'none')},"
        f" the build was started with {expected.get(name, 'none')}",
        "let all workers see the same files and packages, and do not change them during a build",
    )
