"""What the kernel must know about each code point: its class, and whether NFC may touch it.

Enters: `classes.txt`, ranges made by `python -m pipeline.stages.tokenizer.char_classes`. Leaves:
one byte per code point, `class | order << 2`. Classes are those of the GPT-2 pattern as the
reference library sees them (other, letter, number, white space). Orders are ranks of canonical
combining classes (0 for starters that NFC never changes); REFERENCE and MAYBE stand above them.
Invariant: a code point unassigned in the Unicode version of the file is REFERENCE, so a library
with newer tables cannot disagree with us: such documents are handed to it.
"""

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
# Orders fill six bits; Unicode 14 has 56 combining classes, so 62 and 63 are free.
REFERENCE, MAYBE = 62, 63
NUM_CODE_POINTS = 0x110000
UNICODE_VERSION = "14.0.0"

_FILE = Path(__file__).with_name("classes.txt")
# One call per this many code points: 20 times faster than one call each, same answer.
_PROBED_TOGETHER = 2000


def read_table() -> npt.NDArray[np.uint8]:
    """Read `classes.txt` into uint8 [2 ** 21]; what no line names is REFERENCE.

    2 ** 21 entries, because a broken four-byte sequence can spell that much and no more.
    """
    table = np.full(1 << 21, REFERENCE << 2, np.uint8)
    for start, stop, entry in ranges():
        table[start:stop] = entry
    return table


def ranges() -> Iterator[tuple[int, int, int]]:
    """Yield `(start, stop, entry)` for each line of the file, in increasing order."""
    for line in _FILE.read_text("ascii").splitlines():
        if not line.startswith("#"):
            first, last, kind, order = line.split()
            yield int(first, 16), int(last, 16) + 1, "OLNS".index(kind) | int(order) << 2


def probe(code_points: list[int]) -> list[int]:
    """Return the class of each code point as the installed `tokenizers` sees it.

    Surrogates cannot be probed. A character is of the class of "a", "1" or "!" exactly if the
    pattern does not cut between the two; of none of them means white space.
    """
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    classes = []
    for start in range(0, len(code_points), _PROBED_TOGETHER):
        part = code_points[start : start + _PROBED_TOGETHER]
        text = "".join(f"!{c}\na{c}\n1{c}\n" for c in map(chr, part))
        cuts = {first for _, (first, _) in splitter.pre_tokenize_str(text)}
        for index in range(len(part)):
            joined = [9 * index + 3 * kind + 1 not in cuts for kind in (OTHER, LETTER, NUMBER)]
            classes.append(joined.index(True) if True in joined else SPACE)
    return classes


@cache
def classes_agree() -> bool:
    """Whether the installed library has our class at both ends of each range of one class."""
    ends = list(_ends())
    return probe([point for point, _ in ends]) == [kind for _, kind in ends]


def _ends() -> Iterator[tuple[int, int]]:
    """Yield first and last code points of maximal ranges of one class, with the class."""
    before, kind_before = -1, -1
    for start, stop, entry in ranges():
        kind = entry & 3
        if start != before or kind != kind_before:
            if before >= 0:
                yield before - 1, kind_before
            yield start, kind
        before, kind_before = stop, kind
    yield before - 1, kind_before


def build_tables() -> str:
    """Make the text of `classes.txt` from the installed `tokenizers` and Python's own database.

    Raises: RuntimeError unless Python's database is UNICODE_VERSION (Python 3.11 has it).
    """
    if unicodedata.unidata_version != UNICODE_VERSION:
        raise RuntimeError(
            f"unicodedata: got {unicodedata.unidata_version}, expected {UNICODE_VERSION}"
        )
    assigned = [
        c for c in range(NUM_CODE_POINTS) if unicodedata.category(chr(c)) not in ("Cn", "Cs")
    ]
    orders = _orders(assigned)
    entries = {
        c: (kind, order) for c, kind, order in zip(assigned, probe(assigned), orders, strict=True)
    }
    lines = [f"# Unicode {UNICODE_VERSION}: first, last, class, order. Made by {__spec__.name}."]
    runs = groupby(enumerate(assigned), key=lambda pair: (pair[1] - pair[0], entries[pair[1]]))
    for (_, (kind, order)), run in runs:
        members = [c for _, c in run]
        lines.append(f"{members[0]:04X} {members[-1]:04X} {'OLNS'[kind]} {order}")
    return "\n".join(lines) + "\n"


def _orders(code_points: list[int]) -> list[int]:
    """Rank combining classes; MAYBE for what NFC may change or join to a character before it.

    Source: Unicode Standard Annex 15, quick check: NFC_QC is No or Maybe.
    """
    characters = [chr(c) for c in code_points]
    changed = {c for c in characters if unicodedata.normalize("NFC", c) != c}
    second = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul jamo
    for character in characters:
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<") and character not in changed:
            second.add(chr(int(parts[1], 16)))
    ranks = {c: r for r, c in enumerate(sorted({unicodedata.combining(c) for c in characters}))}
    return [
        MAYBE if c in changed or c in second else ranks[unicodedata.combining(c)]
        for c in characters
    ]


if __name__ == "__main__":
    sys.stdout.write(build_tables())
