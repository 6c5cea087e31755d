"""Inspect files: a group of files -> what is in them, as far as they were read.

Files of at most 256 MiB a source are read whole, so that ids that repeat and documents that cannot
be read are found now and not by a build. Of more, some of each of a few files is read; of a store,
their beginnings. Tokens are those of a sample of the texts, in proportion.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import Any, Final

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.compiled import little_work
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.runner.setup.file_groups import FileGroup
from pipeline.runner.setup.remote_heads import ReadFile, read_heads
from pipeline.runner.setup.table_headers import check_header
from pipeline.runner.setup.text_fields import Fields, choose_fields
from pipeline.runner.setup.unicode_scripts import script_shares
from pipeline.sources import FileReader, read_fields
from pipeline.stages.text_digest import text_digests
from pipeline.stages.tokenizer import Tokenizer

WHOLE_BYTES: Final = 256 << 20
_MOST_FILES: Final = 64
_FIELDS_NAMED: Final = 20
_FIRST_FILES, _FIRST_RECORDS = 16, 100
# The tokenizer's library takes about half a second for them, and compiles nothing.
_SAMPLE_CHARS: Final = 256 << 10
_LONGEST_CHARS: Final = 32 << 10
_NOT_UNREADABLE: Final = ("empty_text",)
# As many bad documents of a file, a build takes whatever share they are.
_FEW_BAD: Final = 20
# Of more, another field is likelier meant than so many to be dropped.
_MOST_BAD: Final = Fraction(1, 10)
# Text has no zero bytes. Git looks at as many bytes to tell it from binary files.
_BINARY_CHARS: Final = 8000


@dataclass(kw_only=True, slots=True)
class SourceFacts:
    """What was found in the files of a source."""

    group: FileGroup
    fields: Fields
    is_whole: bool = True
    """Whether all documents were read."""
    part: float = 1.0
    """Of the stored bytes, how much was read."""
    num_documents: int = 0
    """Documents read that have a text."""
    bad: Counter[str] = field(default_factory=Counter)
    """Documents read that have none or cannot be read, by reason."""
    first_bad: str = ""
    worst_file: Fraction = Fraction(0)
    """Largest share of a file's documents that cannot be read, where there are more than 20."""
    shortest_chars: int = 0
    """Of the documents read, as the filter `length` counts."""
    longest_chars: int = 0
    num_blank: int = 0
    """Documents read whose text is white space alone."""
    num_copies: int = 0
    """Documents read whose text is that of an earlier one."""
    num_tokens: int = 0
    """Expected in all rows of the source."""
    num_rows: int = 0
    median_tokens: int = 0
    longest_tokens: int = 0
    is_counted: bool = False
    """Whether `num_tokens` is a count and no estimate."""
    scripts: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def where(self) -> str:
        """The file, or the source where it has several, for messages."""
        return self.group.files[0].declared if len(self.group.files) == 1 else self.name

    @property
    def bad_in_words(self) -> str:
        """How many documents cannot be used and why; nothing where all can."""
        if not self.bad:
            return ""
        num_bad = self.bad.total()
        number = num_bad + self.num_documents + self.num_blank
        listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.bad.items()))
        return (
            f"{num_bad:,} of {number:,} documents{'' if self.is_whole else ' read'} cannot be used"
            f" ({listed}); the first: {self.first_bad}"
        )


@dataclass(slots=True)
class _Texts:
    """Sizes and digests of all texts that were read, and an even sample of them."""

    sizes: list[int] = field(default_factory=list)
    """In bytes."""
    shortest_chars: int = sys.maxsize
    longest_chars: int = 0
    digests: set[bytes] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    sample: list[str] = field(default_factory=list)
    num_repeated: int = 0
    num_blank: int = 0
    _every: int = 1
    _num_chars: int = 0

    @property
    def num_read(self) -> int:
        return len(self.sizes) + self.num_blank

    def add(self, documents: Sequence[Document]) -> None:
        for one in documents:
            self.num_repeated += one.id in self.ids
            self.ids.add(one.id)
        filled = [one for one in documents if not one.text.isspace()]
        self.num_blank += len(documents) - len(filled)
        self.digests.update(map(bytes, text_digests([one.text for one in filled])))
        for one in filled:
            self.shortest_chars = min(self.shortest_chars, len(one.text))
            self.longest_chars = max(self.longest_chars, len(one.text))
            if len(self.sizes) % self._every == 0:
                self.sample.append(one.text)
                self._num_chars += min(len(one.text), _LONGEST_CHARS)
            self.sizes.append(len(one.text.encode()))
            while self._num_chars > 2 * _SAMPLE_CHARS and len(self.sample) > 1:
                self.sample = self.sample[::2]
                self._every *= 2
                self._num_chars = sum(min(len(text), _LONGEST_CHARS) for text in self.sample)


def inspect_group(
    group: FileGroup, tokenizer: Tokenizer, chunk_size: int, whole_bytes: int = WHOLE_BYTES
) -> SourceFacts:
    """Return what is in the files of a group.

    Raises: InputError for files that are damaged, hold no text or are of another kind than their
    names say.
    """
    with _read_files(group, whole_bytes) as files:
        warnings = dict.fromkeys(check_header(one.file) for one in _first(files))
        fields = Fields(text="text", id="id") if group.is_text else _fields(group, files)
        facts, texts = _read_with_id(group, files, fields, whole_bytes)
    facts.warnings = tuple(filter(None, warnings))
    if not texts.sizes:
        hint = f"the first: {facts.first_bad}" if facts.first_bad else None
        where = group.files[0].declared
        raise InputError(f"{where}: got no document with a text, expected some", hint)
    facts.num_documents = len(texts.sizes)
    facts.num_blank = texts.num_blank
    facts.num_copies = len(texts.sizes) - len(texts.digests)
    facts.shortest_chars, facts.longest_chars = texts.shortest_chars, texts.longest_chars
    facts.scripts = script_shares(texts.sample)
    _count_tokens(facts, texts, tokenizer, chunk_size)
    return facts


class _NoIdError(Exception):
    """A document has no id or one of another, so another field, or none, must name documents."""


def _read_with_id(
    group: FileGroup, files: Sequence[ReadFile], fields: Fields, whole_bytes: int
) -> tuple[SourceFacts, _Texts]:
    """Read files with the likeliest field for the id that names each document. Raises: InputError.

    One that repeats or is missing later than in the first records makes way for the next.
    """
    while True:
        try:
            return _read_all(group, files, fields, whole_bytes)
        except _NoIdError as error:
            following = iter(fields.other_ids)
            fields = replace(
                fields,
                id=next(following, None),
                other_ids=tuple(following),
                id_reason="; ".join(filter(None, (fields.id_reason, str(error)))),
            )


def _read_all(
    group: FileGroup, files: Sequence[ReadFile], fields: Fields, whole_bytes: int
) -> tuple[SourceFacts, _Texts]:
    """Read files, or a part of each where all would be too much. Raises: InputError; _NoIdError."""
    facts, texts = SourceFacts(group=group, fields=fields), _Texts()
    is_here = group.store is None
    most = whole_bytes / len(files) if is_here and group.num_bytes > whole_bytes else None
    facts.is_whole = len(files) == sum(1 for file in group.files if file.num_bytes)
    read = sum(_read(file, facts, texts, most) for file in files)
    if group.is_text:
        # To a build, all texts of a source are one file here.
        num_bad = facts.bad.total() - sum(facts.bad[reason] for reason in _NOT_UNREADABLE)
        _measure_bad(facts, group.name, num_bad, facts.bad.total() + texts.num_read)
    if texts.num_repeated and fields.id is not None:
        num_repeated, number = texts.num_repeated, len(texts.sizes)
        raise _NoIdError(f"`{fields.id}` repeats in {num_repeated:,} of {number:,}")
    if not facts.is_whole:
        facts.part = min(read / max(group.num_bytes, 1), 1.0) or 1.0
    return facts, texts


@contextmanager
def _read_files(group: FileGroup, whole_bytes: int) -> Iterator[list[ReadFile]]:
    """Yield the files of a group that are to be read: all, or some at even distances."""
    if group.store is not None:
        with read_heads(group) as heads:
            yield heads
        return
    filled = [file for file in group.files if file.num_bytes]
    number = len(filled) if group.num_bytes <= whole_bytes else min(len(filled), _MOST_FILES)
    yield [ReadFile(file=filled[index * len(filled) // number]) for index in range(number)]


def _first(files: Sequence[ReadFile]) -> Sequence[ReadFile]:
    """Return some files at even distances."""
    return files[:: max(len(files) // _FIRST_FILES, 1)][:_FIRST_FILES]


def _fields(group: FileGroup, files: Sequence[ReadFile]) -> Fields:
    records: list[dict[str, Any]] = []
    bad: DocumentError | None = None
    for one in _first(files):
        with closing(read_fields(one.file)) as read:
            try:
                for record, _ in islice(read, _FIRST_RECORDS):
                    if isinstance(record, dict):
                        records.append(record)
                    else:
                        bad = bad or record
            except InputError:
                if not one.is_cut:
                    raise
    where = group.files[0].declared
    if not records:
        if bad is not None:
            raise InputError(f"{where}: got no document that can be read", bad.message)
        raise InputError(
            f"{where}: got no whole document"
            + (" in its first MiB" if group.store else "")
            + ", expected some",
            "look at the file, or name others",
        )
    return choose_fields(where, records)


def _read(one: ReadFile, facts: SourceFacts, texts: _Texts, most_bytes: float | None) -> float:
    """Read a file into what is known of its source; return how many of its bytes were read."""
    fields = facts.fields
    bad: list[DocumentError] = []
    # A file that is cut loses the block that it ends in, so blocks are small.
    reader = FileReader(
        one.file,
        text_field=fields.text,
        id_field=fields.id,
        block_bytes=1 if one.is_cut else None,
    )
    num_before = texts.num_read
    try:
        for block in reader.blocks(bad.append):
            _refuse_binary(one, block)
            texts.add(block)
            if most_bytes is not None and reader.stored_bytes >= most_bytes:
                break
    except InputError:
        if not one.is_cut:
            raise
    if one.is_cut:
        # The document in which the file was cut.
        bad = [error for error in bad if f"document {reader.num_rows}:" not in error.message]
    if any(error.reason == "no_id" for error in bad):
        raise _NoIdError(f"`{fields.id}` is missing in some documents")
    _count_bad(one, facts, bad, texts.num_read - num_before)
    is_all = bool(reader.sha256) and not one.is_cut and one.stored_per_byte == 1.0
    facts.is_whole &= is_all
    return reader.stored_bytes * one.stored_per_byte


def _count_bad(
    one: ReadFile, facts: SourceFacts, bad: Sequence[DocumentError], num_good: int
) -> None:
    facts.bad.update(error.reason for error in bad)
    facts.first_bad = facts.first_bad or (bad[0].message if bad else "")
    unreadable = [error for error in bad if error.reason not in _NOT_UNREADABLE]
    if unreadable and not num_good and not one.is_cut and not one.file.is_one_document:
        raise InputError(
            f"{one.file.declared}: got no document that can be read: {unreadable[0].message}",
            "leave the file out, or mend it: a build skips bad documents, but no file of them",
        )
    if not one.file.is_one_document:
        _measure_bad(facts, one.file.declared, len(unreadable), len(bad) + num_good)


def _measure_bad(facts: SourceFacts, where: str, num_bad: int, number: int) -> None:
    """Take note of the share of bad documents; refuse what is too many. Raises: InputError."""
    if num_bad <= _FEW_BAD:
        return
    share = Fraction(num_bad, number)
    if share > _MOST_BAD:
        names = ", ".join(facts.fields.names[:_FIELDS_NAMED])
        raise InputError(
            f"{where}: got {num_bad:,} of {number:,} documents that cannot be used, expected at"
            f" most {float(_MOST_BAD):.0%}; the first: {facts.first_bad}"
            + (f"; fields of the first documents: {names}" if names else ""),
            "split the files by the field that holds the text, or write a mixture that names"
            " another with from.text, or one that drops these with `on_error: skip` and `max_bad`",
        )
    facts.worst_file = max(facts.worst_file, share)


def _refuse_binary(one: ReadFile, block: Sequence[Document]) -> None:
    if one.file.is_one_document and any("\0" in text.text[:_BINARY_CHARS] for text in block):
        raise InputError(
            f"{one.file.declared}: got a binary file, expected text",
            "convert it, or leave it out",
        )


def _count_tokens(facts: SourceFacts, texts: _Texts, tokenizer: Tokenizer, chunk_size: int) -> None:
    """Estimate tokens and rows by the tokens of a sample, or count them if it is all."""
    starts = [text[:_LONGEST_CHARS] for text in texts.sample]
    with little_work():
        encoded = tokenizer.encode(starts)
    lengths = encoded.lengths() - 2
    sampled_bytes = sum(len(text.encode()) for text in starts)
    per_byte = float(lengths.sum()) / max(sampled_bytes, 1)
    sizes: Int64Array = np.array(texts.sizes, np.int64)
    is_all = len(starts) == len(sizes) and max(map(len, texts.sample)) <= _LONGEST_CHARS
    expected = lengths if is_all else sizes * per_byte
    rows = np.maximum(np.ceil(expected / (chunk_size - 2)), 1)
    facts.is_counted = is_all and facts.is_whole
    facts.num_rows = ceil(float(rows.sum()) / facts.part)
    facts.num_tokens = round(float(expected.sum() + 2 * rows.sum()) / facts.part)
    facts.median_tokens = int(np.median(expected))
    facts.longest_tokens = int(np.max(expected))
