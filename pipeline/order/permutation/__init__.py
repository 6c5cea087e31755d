"""Permutations: the order of a phase's samples, by a named and frozen algorithm.

World size never changes the order. `docs/spec/orders.md` specifies the algorithms.
"""

from pathlib import Path

from pipeline.order.permutation import feistel, pcg64dxsm
from pipeline.order.permutation.key import Permutation, PermutationKey

ALGORITHMS = {feistel.ALGORITHM: feistel, pcg64dxsm.ALGORITHM: pcg64dxsm}
"""The module of each algorithm: `save(key, folder, scratch)` once, then `load(key, folder)`, from
the file `file_name(key)`, if any."""


def save_permutation(key: PermutationKey, folder: Path, scratch: Path) -> None:
    """Publish the files of a permutation in a folder, unless they are intact there.

    Raises: ConfigError for more samples than the algorithm can order.
    """
    ALGORITHMS[key.algorithm].save(key, folder, scratch)


def load_permutation(key: PermutationKey, folder: Path) -> Permutation:
    """Load the permutation that `save_permutation` saved in a folder."""
    permutation: Permutation = ALGORITHMS[key.algorithm].load(key, folder)
    return permutation


def permutation_file(key: PermutationKey) -> str | None:
    """Return the name of the file that a permutation is loaded from; None if it is computed."""
    name: str | None = ALGORITHMS[key.algorithm].file_name(key)
    return name
