"""`ettin-retokenize-v1`: slices of a document, each decoded and tokenized again.

The best reading of the released pre-training rows: documents are cut as by `ettin-slice-v2`, each
slice is decoded with its spaces cleaned up, and the text is tokenized like a document, with CLS and
SEP, however long it is. So a full slice gains one or two ids, and loses one for each space removed
before a mark; a slice that is cut inside a character begins or ends with U+FFFD. A slice of special
tokens alone becomes CLS and SEP. Frozen; golden vectors in the tests.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing`, `decode_all.py` and
`tokenize_mds.py` (2025-08-06), and the token counts published beside the rows; decoding is that of
`decoding`.
"""

import numpy as np

from pipeline.core.ragged import Rows
from pipeline.stages.chunking.chunker import Chunks
from pipeline.stages.chunking.decoding import decode_valid, spelling_of
from pipeline.stages.chunking.slice import Cutter, lend
from pipeline.stages.tokenizer import Tokenizer


class RetokenizeChunker:
    def __init__(
        self,
        tokenizer: Tokenizer,
        cutter: Cutter,
        *,
        cleans_up: bool = True,
        keeps_specials: bool = False,
    ) -> None:
        """Prepare to chunk one partition; as the algorithm has it, unless told otherwise.

        cleans_up: whether spaces are; keeps_specials: whether special tokens stay in the text.
        """
        self._tokenizer = tokenizer
        self._cutter = cutter
        self._cleans_up = cleans_up
        self._spelling = spelling_of(tokenizer, keeps_specials=keeps_specials)

    def chunk(self, documents: Rows) -> Chunks:
        pieces = self._cutter.cut(documents)
        starts, stops = lend(pieces)
        text = decode_valid(
            documents.values, starts, stops, self._spelling, cleans_up=self._cleans_up
        )
        rows = self._tokenizer.encode_utf8(text)
        num_discarded = int(pieces.discarded.sum())
        return Chunks(
            rows=rows,
            documents=pieces.documents,
            failed=np.empty(0, np.int64),
            num_discarded=num_discarded,
            num_added=len(rows.values) + num_discarded - len(documents.values),
        )
