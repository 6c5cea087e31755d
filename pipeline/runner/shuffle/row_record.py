"""Row records: what files of the order need to know of each row of a pool."""

import numpy as np
from numpy.typing import NDArray

RECORD_DTYPE = np.dtype(
    [
        ("length", "<u4"),
        ("viewed", "<u4"),
        ("chunk", "<u4"),
        ("num_chunks", "<u4"),
        ("file", "<u4"),
    ]
)
"""A row of a pool: its number of ids as stored and under the view, which chunk of its document it
is and of how many, and the number of its file among those of all folders."""

Records = NDArray[np.void]
"""`RECORD_DTYPE` [num_rows]."""
