"""Build the character classes that the package ships: `python -m tests.support.character_classes`.

Enters: the installed `tokenizers` and Python's own Unicode database. Leaves: the text of
`classes.txt` on stdout.
"""

import sys
import unicodedata
from itertools import groupby

from pipeline.stages.tokenizer.char_classes import MAYBE, NUM_CODE_POINTS, probe

UNICODE_VERSION = "14.0.0"


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
    made_by = "Made by tests.support.character_classes."
    lines = [f"# Unicode {UNICODE_VERSION}: first, last, class, order. {made_by}"]
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
