"""Array types: one alias for each dtype that the pipeline passes between functions."""

import numpy as np
from numpy.typing import NDArray

Uint8Array = NDArray[np.uint8]
Uint32Array = NDArray[np.uint32]
Uint64Array = NDArray[np.uint64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
