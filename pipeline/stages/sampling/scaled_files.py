"""`scaled-files-v1`: the files that a miniature of a source needs.

Every file has a random number from (seed, source, path), and files are taken by rising number, so a
larger miniature contains the smaller one whatever the listing order. Frozen; golden vectors in the
tests.
"""

from collections.abc import Sequence
from fractions import Fraction

from pipeline.core.seeds import derive_key

# Files differ in text for their size, and filters and chunking drop some.
_MARGIN = 2


def choose_files(
    files: Sequence[tuple[str, int]], scale: Fraction, seed: int, source: str
) -> list[int]:
    """Return the positions of the files to read, rising; `files` are (path, bytes). Pure.

    Takes at least one file, until they have twice their share of all bytes; all from scale 1 on.
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
