"""The class of each code point and whether NFC may change it: one byte, `class | order << 2`.

`tests/support/character_classes.py` makes the ranges of `classes.txt`. Classes are those of the
GPT-2 pattern (other, letter, number, white space). Orders are ranks of canonical combining classes,
0 for starters that NFC never changes; REFERENCE and MAYBE are above them. Code points unassigned in
the file's Unicode version are REFERENCE: the library encodes their documents, whatever its version.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

OTHER, LETTER, NUMBER, SPACE = 0, 1, 2, 3
# Orders take six bits; Unicode 14 has 56 combining classes, so 62 and 63 are free.
REFERENCE, MAYBE = 62, 63
NUM_CODE_POINTS = 0x110000

_FILE = Path(__file__).with_name("classes.txt")
# Code points per call: 20 times faster than one call each.
_PROBED_TOGETHER = 2000


def read_table() -> npt.NDArray[np.uint8]:
    """Read `classes.txt` into uint8 [2 ** 21], REFERENCE where no line applies.

    A malformed four-byte sequence can encode up to 2 ** 21 values.
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
    """Return the class of each code point, surrogates excluded, in the installed `tokenizers`.

    A character has the class of "a", "1" or "!" if the pattern does not split the two, else it is
    white space.
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
    """Return whether the installed library agrees at both ends of each range of one class."""
    ends = list(_ends())
    return probe([point for point, _ in ends]) == [kind for _, kind in ends]


def _ends() -> Iterator[tuple[int, int]]:
    """Yield the first and last code points of maximal ranges of one class, with the class."""
    before, kind_before = -1, -1
    for start, stop, entry in ranges():
        kind = entry & 3
        if start != before or kind != kind_before:
            if before >= 0:
                yield before - 1, kind_before
            yield start, kind
        before, kind_before = stop, kind
    yield before - 1, kind_before
