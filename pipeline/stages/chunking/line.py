"""`ettin-line-v1`: each text becomes one row, as it is.

For the lines of published archives, which are the decoded texts of chunks: with CLS and SEP,
however long. A pool that was made from such lines by plain tokenization has these rows. Frozen;
golden vectors in the tests.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`, `tokenize_mds.py`
(2025-08-06).
"""

import numpy as np

from pipeline.core.ragged import Rows
from pipeline.stages.chunking.chunker import Chunks


class LineChunker:
    """Takes each text as a chunk, without state."""

    def chunk(self, documents: Rows) -> Chunks:
        return Chunks(
            rows=documents,
            documents=np.arange(len(documents)),
            failed=np.empty(0, np.int64),
            num_discarded=0,
            num_added=0,
        )
