"""`scaled-files-v1`: the files that a miniature of a source needs.

Enters: the files of a source with their sizes, and the factor of all budgets. Leaves: which of the
files to read. Every file has a number from (seed, source, path), and files are taken by rising
number, so a larger miniature has all files of a smaller one, and the order of the listing changes
nothing. Frozen; golden vectors in the tests.
"""

from collections.abc import Sequence
from fractions import Fraction

from pipeline.core.seeds import derive_key

# Files differ in how much text they hold for their size, and chunking and filters leave some out.
_MARGIN = 2


def choose_files(
    files: Sequence[tuple[str, int]], scale: Fraction, seed: int, source: str
) -> list[int]:
    """Return the positions of the files to read, rising; `files` are (path, bytes).

    Takes the fewest files, by rising number, that have at least twice their part of all bytes: at
    least one, and all of them from a scale of 1 on. Pure.
    """
    if scale >= 1:
        return list(range(len(files)))
    ranked = sorted(
        (derive_key(seed, "scaled files", source, path), path, position)
        for position, (path, _) in enumerate(files)
    )
    needed = _MARGIN * scale * sum(num_bytes for _, num_bytes in files)
    chosen: list[int] = []
    total = 0
    for _, _, position in ranked:
        if chosen and total >= needed:
            break
        chosen.append(position)
        total += files[position][1]
    return sorted(chosen)
