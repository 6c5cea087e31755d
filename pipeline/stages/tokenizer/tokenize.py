"""Documents -> their token ids, each CLS … SEP, with a check against the `tokenizers` library.

The first document of a partition and about one in 2,000 others, chosen by the CRC-32 of the id, are
encoded both ways (about 2.5 % more work); a difference stops the build.
"""

import json
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.document import Document
from pipeline.core.errors import InternalError
from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer.encode import Tokenizer
from pipeline.stages.tokenizer.library import NO_TOKEN

_CHECK_ONE_IN = 2000
# The start of longer documents: the library takes two seconds and 180 MB for a megabyte.
_CHECK_CHARS = 64 << 10


def tokenize(
    tokenizer: Tokenizer, documents: Sequence[Document], where: str, *, is_first: bool
) -> Rows:
    """Encode documents, including the special tokens of the template.

    where: the file, for the error; is_first: whether no document of the partition was
    checked yet, so that the first of these is.

    Raises: InternalError that names the document when the ids of kernel and library differ.
    """
    encoded = tokenizer.encode([document.text for document in documents])
    if tokenizer.has_loaded:
        chosen = [
            document
            for number, document in enumerate(documents)
            if (is_first and number == 0) or crc32(document.id.encode()) % _CHECK_ONE_IN == 0
        ]
        # Of many files of one document each, nearly all have none.
        if chosen:
            _cross_check(tokenizer, chosen, where)
    return encoded


def _cross_check(tokenizer: Tokenizer, documents: Sequence[Document], where: str) -> None:
    texts = [document.text[:_CHECK_CHARS] for document in documents]
    fast, reference = tokenizer.encode(texts), tokenizer.encode_reference(texts)
    for index, document in enumerate(documents):
        got, expected = fast[index], reference[index]
        if not np.array_equal(got, expected):
            named = json.dumps(document.id, ensure_ascii=False)
            raise InternalError(
                f"{where}: document {document.row + 1} (id {named}): the fast tokenizer's "
                f"{len(got)} ids differ from the reference's {len(expected)}",
                "report this with the document; nothing of this file was written",
            )


def without_content(tokenizer: Tokenizer, encoded: Rows) -> Int64Array:
    """Return the indices of documents that are special tokens alone: int64 [num_found]."""
    is_special = np.zeros(tokenizer.vocab_size, np.bool_)
    is_special[tokenizer.special_ids] = True
    # Nearly all documents have content right after CLS.
    seconds = encoded.offsets[:-1] + int(tokenizer.cls_id != NO_TOKEN)
    is_doubtful = seconds >= encoded.offsets[1:]
    is_doubtful[~is_doubtful] = is_special[encoded.values[seconds[~is_doubtful]]]
    doubtful = np.flatnonzero(is_doubtful)
    found = [index for index in doubtful.tolist() if is_special[encoded[index]].all()]
    return np.array(found, np.int64)
