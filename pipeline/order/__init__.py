"""Order: in which sequence a phase's samples come, and which of them a step takes.

Enters: the number of samples, a seed and an epoch; then a step, a rank and a world size. Leaves:
the sample at a position and the position of a sample (`permutation/`), the rows of a step and of a
rank's part of it (`schedule`), and a row as the trainer edits it on load (`view`).
"""

from pipeline.order.permutation import ALGORITHMS, load_permutation, save_permutation
from pipeline.order.permutation.key import Permutation, PermutationKey
from pipeline.order.permutation.pcg64dxsm import pcg64dxsm_permutation
from pipeline.order.schedule import (
    ConstantSchedule,
    Schedule,
    num_rows_dropped,
    slice_of,
    steps_from,
)
from pipeline.order.view import View, apply_view, view_edits, view_lengths

__all__ = [
    "ALGORITHMS",
    "ConstantSchedule",
    "Permutation",
    "PermutationKey",
    "Schedule",
    "View",
    "apply_view",
    "load_permutation",
    "num_rows_dropped",
    "pcg64dxsm_permutation",
    "save_permutation",
    "slice_of",
    "steps_from",
    "view_edits",
    "view_lengths",
]
