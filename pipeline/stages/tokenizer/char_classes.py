"""What the kernel must know about each code point: its class, and whether NFC may touch it.

Enters: `classes.txt`, ranges made by `tests/support/character_classes.py`. Leaves: one byte per
code point, `class | order << 2`. Classes are those of the GPT-2 pattern as the library sees them
(other, letter, number, white space). Orders are ranks of canonical combining classes (0 for
starters that NFC never changes); REFERENCE and MAYBE are above them. A code point unassigned in the
Unicode version of the file is REFERENCE: its documents go to the library, so a newer one cannot
disagree with us.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
# Orders fill six bits; Unicode 14 has 56 combining classes, so 62 and 63 are free.
REFERENCE, MAYBE = 62, 63
NUM_CODE_POINTS = 0x110000

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
