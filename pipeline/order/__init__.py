"""Order: the sequence of a phase's samples, and which of them each step takes.

`permutation/` maps positions to samples and back, by number of samples, seed and epoch; `schedule`
gives the rows of a step, and each rank's slice; `view` edits a row as the trainer does on load.
"""

from pipeline.order.permutation import (
    ALGORITHMS,
    load_permutation,
    permutation_file,
    save_permutation,
)
from pipeline.order.permutation.key import Permutation, PermutationKey
from pipeline.order.permutation.pcg64dxsm import pcg64dxsm_permutation
from pipeline.order.schedule import Schedule, num_rows_dropped, slice_of, steps_from
from pipeline.order.view import View, apply_view, view_edits, view_lengths, view_rows

__all__ = [
    "ALGORITHMS",
    "Permutation",
    "PermutationKey",
    "Schedule",
    "View",
    "apply_view",
    "load_permutation",
    "num_rows_dropped",
    "pcg64dxsm_permutation",
    "permutation_file",
    "save_permutation",
    "slice_of",
    "steps_from",
    "view_edits",
    "view_lengths",
    "view_rows",
]
