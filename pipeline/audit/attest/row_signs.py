"""Signs of rows: what stored ids tell of how they were made.

Rows that were tokenized again all begin with CLS and end with SEP. Of slices, only the first of a
document begins with CLS, and only its last ends with SEP. Neighbours of one id are of one document,
so what rows that continue a document show holds in any order of documents.

No verdict depends on one row. The figures below are of rows of 1,024 ids that each chunker and its
variants made of 1,400 documents of prose, and of source text in Python, JavaScript and C: 7,400
rows a variant, one million to eleven million characters a kind of text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipeline.audit.attest.shard_head import ShardHead
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.stages.tokenizer import Tokenizer

Specials = Literal[
    "each row", "few rows", "starts of rows", "documents", "no row", "some rows", "mixed", "untold"
]

# Of rows that continue a document, all of those encoded again begin with CLS, and none of slices,
# but for texts that spell special tokens: 0.7 % of a collection of such texts.
_MOST_ODD: Final = 0.02
# Of rows encoded again by ettin-reencode-v1 that a document goes on after, 50 to 71 % end with SEP:
# all of a dozen would by less than a chance of 2 %.
_FEWEST_ENDS: Final = 12
# Spaces are put before all documents, but for 0.4 % of source text that begins with a line break;
# without, before none of those measured.
_LED, _NOT_LED, _FEWEST_DOCUMENTS = 0.95, 0.5, 4
# Where special tokens were kept, the first rows of documents begin with CLS twice, and no others.
_DOUBLED: Final = 0.5
# Of rows tokenized again without prefix space, none is another than its text is tokenized to. Of
# slices that were given CLS and SEP it is 0.11 to 1.1 %: pieces cut inside a character or a merge.
_ODD_ROWS, _ROWS_THAT_TELL = 1 / 2_000, 10_000
# Spaces before marks: kept, one in 870 characters of JavaScript to 7,300 of prose about code, one
# in 21,000 of news, 1.2 million of books. Cleaned up, one in 99,000 of Python, else fewer.
_KEPT: Final = 1 / 20_000
# Of both kinds of marks, 91 to 100 % are closed up where spaces were cleaned up, else under 0.2 %.
_CLOSED, _NOT_CLOSED, _FEWEST_MARKS = 0.7, 0.2, 5
_SPACE_BEFORE_MARK = re.compile(r"(?<=\S) (?=[.?!,])")
# `a != b` and `a ? b : c` as clean-up leaves them; nobody types them so.
_CLOSED_MARK = re.compile(r"(?<=\S)!= |(?<=[\w)\]])\? [^\n?:]{1,60} : ")
# Of rows that a document goes on after, 72 to 93 % have the length of the cut. Those that lend ids
# to a short last piece have any length, and so have rows that clean-up has shortened.
_COMMON, _FEWEST_ALIKE = 0.3, 2
# Full rows are common where most are about as long as the longest.
_FULL: Final = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSigns:
    """What the rows of one shard, or of its beginning, tell."""

    num_rows: int
    longest: int
    commonest: int
    """The most frequent number of ids, the largest of several."""
    middle: int | None
    """That of rows between others of their document, without CLS and SEP at their ends: the cut.
    None where few are alike."""
    first: int | None
    """That of first rows of documents of several rows, with CLS and without SEP."""
    specials: Specials
    """Where CLS and SEP are. `each row`: around each; `few rows`: around each, of too few to tell;
    `starts of rows`: CLS before each, SEP after some; `documents`: around these; `no row`: nowhere;
    `some rows`: where ids do not tell documents; `untold`: each document has one row; `mixed`:
    otherwise."""
    num_doubled: int
    """Rows that begin with CLS twice."""
    num_spaces: int
    """Single spaces before marks."""
    num_closed: int
    """Marks without the space before them that everybody types."""
    num_characters: int
    num_odd: int
    """Rows that are not what their text is tokenized to without prefix space."""
    num_replaced: int
    """Rows cut inside a character, of which they hold U+FFFD instead of its bytes."""
    num_led: int
    """Documents whose first row begins with a space."""
    num_starts: int
    """Documents whose first row is known."""
    num_documents: int
    has_start: bool
    """Whether the first row of a document is surely among them."""

    @property
    def is_cleaned(self) -> bool | None:
        """Whether spaces were cleaned up; None where it cannot be told, as from most prose."""
        num_marks = self.num_spaces + self.num_closed
        if num_marks < _FEWEST_MARKS:
            return None
        if self.num_closed >= _CLOSED * num_marks:
            return True
        is_kept = self.num_spaces > _KEPT * self.num_characters
        return False if is_kept and self.num_closed <= _NOT_CLOSED * num_marks else None

    @property
    def has_prefix(self) -> bool | None:
        """Whether a space was put before texts; None where it cannot be told."""
        if self.num_starts < _FEWEST_DOCUMENTS:
            return None
        share = self.num_led / self.num_starts
        return True if share >= _LED else False if share <= _NOT_LED else None

    @property
    def is_fixed(self) -> bool | None:
        """Whether rows are what their text is tokenized to; None where it cannot be told.

        With a prefix space, which each tokenization adds again before runs of spaces, it cannot.
        """
        if self.has_prefix:
            return None
        few = max(1, int(self.num_rows * _ODD_ROWS))
        if self.num_odd > few:
            return False if self.has_prefix is False else None
        tells = self.num_replaced > few or self.num_rows >= _ROWS_THAT_TELL
        return True if tells else None

    @property
    def is_doubled(self) -> bool | None:
        """Whether special tokens were kept where rows were decoded; None where it is not told."""
        if self.num_doubled >= _DOUBLED * self.num_documents:
            return True
        return False if self.has_start and self.num_doubled <= _MOST_ODD * self.num_rows else None

    def values(self) -> Mapping[str, object]:
        """Return the signs, by the names that candidates use."""
        has_full_rows = self.commonest >= _FULL * self.longest
        told = {
            "middle": self.middle,
            "first": self.first,
            "commonest": self.commonest if self.middle is None and has_full_rows else None,
            "specials": self.specials,
            "is_fixed": self.is_fixed,
            "is_doubled": self.is_doubled,
            "is_cleaned": self.is_cleaned,
            "has_prefix": self.has_prefix,
        }
        return {name: value for name, value in told.items() if value is not None}


def read_signs(head: ShardHead, tokenizer: Tokenizer) -> RowSigns | None:
    """Return what the rows of a shard tell; None where it has none whole, or rows without ids.

    tokenizer: without prefix space.
    """
    rows, lengths = head.rows, head.rows.lengths()
    if not len(rows) or not lengths.all():
        return None
    values, firsts, lasts = rows.values, rows.offsets[:-1], rows.offsets[1:] - 1
    begins, ends = values[firsts] == tokenizer.cls_id, values[lasts] == tokenizer.sep_id
    names = np.array(head.ids, object)
    is_same = (names[1:] == names[:-1]) & (names[1:] != "")
    continues, goes_on = np.append(False, is_same), np.append(is_same, False)
    starts = begins & np.append(head.is_first, ~is_same) & (names != "")
    if head.falls and begins[continues].any():
        # Taken longest first, rows of a document lie apart, and CLS does not tell which is first.
        starts[:] = False
    num_documents = len(set(head.ids))
    seconds = values[np.minimum(firsts + 1, lasts)]
    texts = [tokenizer.decode_reference(row) for row in rows]
    is_odd = ~np.fromiter(map(np.array_equal, rows, tokenizer.encode(texts)), np.bool_, len(rows))
    is_replaced = np.array([text[:1] == "\ufffd" or text[-1:] == "\ufffd" for text in texts])
    content = lengths - ends
    return RowSigns(
        num_rows=len(rows),
        longest=int(lengths.max()),
        commonest=_commonest(lengths),
        middle=_common((content - begins)[continues & goes_on]),
        first=_common(content[starts & goes_on]),
        specials=_specials(begins, ends, continues, goes_on),
        num_doubled=int((begins & (lengths > 1) & (seconds == tokenizer.cls_id)).sum()),
        num_spaces=sum(len(_SPACE_BEFORE_MARK.findall(text)) for text in texts),
        num_closed=sum(len(_CLOSED_MARK.findall(text)) for text in texts),
        num_characters=sum(map(len, texts)),
        num_odd=int(is_odd.sum()),
        num_replaced=int((is_replaced & ~is_odd).sum()),
        num_led=sum(texts[row].startswith(" ") for row in np.flatnonzero(starts).tolist()),
        num_starts=int(starts.sum()),
        num_documents=num_documents,
        has_start=head.is_first or num_documents >= _FEWEST_DOCUMENTS,
    )


def _commonest(lengths: Int64Array) -> int:
    """Return the most frequent length, the largest of several; 0 of none."""
    counts = np.bincount(lengths, minlength=1)
    return len(counts) - 1 - int(np.argmax(counts[::-1]))


def _common(lengths: Int64Array) -> int | None:
    """Return the most frequent length, if enough are of it."""
    length = _commonest(lengths)
    num_alike = int((lengths == length).sum())
    return length if num_alike >= max(_FEWEST_ALIKE, _COMMON * len(lengths)) else None


def _specials(
    begins: BoolArray, ends: BoolArray, continues: BoolArray, goes_on: BoolArray
) -> Specials:
    num_begin, num_end = begins.mean(), ends.mean()
    # Of long documents few rows begin one, and of the first row it is not known.
    starts = begins[1:][~continues[1:]]
    if max(num_begin, num_end) <= _MOST_ODD and not (len(starts) and starts.mean() > _MOST_ODD):
        return "no row"
    if not continues.any():
        return "untold" if min(num_begin, num_end) >= 1 - _MOST_ODD else "some rows"
    begin, end = begins[continues].mean(), ends[goes_on].mean()
    if begin >= 1 - _MOST_ODD:
        if end < 1 - _MOST_ODD:
            return "starts of rows"
        return "each row" if goes_on.sum() >= _FEWEST_ENDS else "few rows"
    return "documents" if max(begin, end) <= _MOST_ODD else "mixed"
