"""TODO order"""

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
