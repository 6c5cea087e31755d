"""Permutations: the order of a phase's samples, by a named and frozen algorithm.

Enters: the number of samples, a seed and an epoch. Leaves: which sample is at a position, and at
which position a sample is. Nothing here knows of ranks or steps, so world size never changes it.

The algorithms are written down in `docs/spec/orders.md`.
"""

from pathlib import Path

from pipeline.order.permutation import feistel, pcg64dxsm
from pipeline.order.permutation.key import Permutation, PermutationKey

ALGORITHMS = {feistel.ALGORITHM: feistel, pcg64dxsm.ALGORITHM: pcg64dxsm}
"""By name, the module that makes the order: `save(key, folder, scratch)` once, then `load`."""


def save_permutation(key: PermutationKey, folder: Path, scratch: Path) -> None:
    """Make what an order needs to be loaded, and publish it in a folder, unless it is there.

    Raises: ConfigError when the algorithm cannot order as many samples.
    """
    ALGORITHMS[key.algorithm].save(key, folder, scratch)


def load_permutation(key: PermutationKey, folder: Path) -> Permutation:
    """Return an order whose files, if it has any, were saved in a folder."""
    order: Permutation = ALGORITHMS[key.algorithm].load(key, folder)
    return order
