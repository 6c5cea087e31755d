"""Raw tokens: documents in a row of a raw file -> the rows that each way makes of them.

Documents are tokenized once for each prefix space. Of those before the first that is asked for only
their lengths are kept, on which the random numbers of a partition depend.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import islice

import numpy as np

from pipeline.audit.attest.raw_head import RawHead
from pipeline.audit.attest.variants import Making
from pipeline.core.arrays import Int64Array
from pipeline.core.progress import ReportProgress, Work
from pipeline.core.ragged import Rows
from pipeline.stages.chunking import Cutter
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

# Ids on which ways are compared before those that agree make all rows.
_DOCUMENTS = Work(unit="documents")
SAMPLE_IDS = 1 << 18
_BLOCK_CHARACTERS = 4 << 20


def suite_tokenizer(add_prefix_space: bool) -> Tokenizer:
    """Return the suite's tokenizer."""
    return load_tokenizer("modernbert", add_prefix_space=add_prefix_space)


class RawTokens:
    """Documents, and the rows that are made of them."""

    def __init__(
        self,
        head: RawHead,
        most_ids: int,
        report_progress: ReportProgress,
        span: tuple[int, int | None] = (0, None),
    ) -> None:
        """Read the documents of a span, first to last, until they have `most_ids` or RAW ends.

        Raises: InputError as `RawHead.documents`.
        """
        self.ids: list[str] = []
        """Of documents, as RAW has them."""
        self._texts: list[str] = []
        first, last = span
        documents = head.documents()
        skipped: dict[bool, list[Int64Array]] = {False: [], True: []}
        num_skipped = 0
        for block in _blocks(islice(documents, first)):
            for prefix, lengths in skipped.items():
                texts = [text for _, text in block]
                lengths.append(suite_tokenizer(prefix).encode(texts).lengths())
            num_skipped += len(block)
            report_progress("documents before the shard's", num_skipped, first, _DOCUMENTS)
        self._skipped = {
            prefix: np.concatenate([np.empty(0, np.int64), *lengths])
            for prefix, lengths in skipped.items()
        }
        parts = []
        for block in _blocks(islice(documents, None if last is None else last + 1 - first)):
            self.ids += [id_ for id_, _ in block]
            self._texts += [text for _, text in block]
            parts.append(suite_tokenizer(False).encode(self._texts[-len(block) :]))
            most_ids -= len(parts[-1].values)
            if most_ids <= 0:
                break
        self.is_rest = most_ids > 0 and last is None and not head.end
        """Whether these are all documents from the first on, of a whole file."""
        self._encoded: dict[tuple[bool, int | None], Rows] = {(False, None): Rows.concat(parts)}
        self._cutters: dict[tuple[bool, int, bool], Cutter] = {}

    @property
    def num_sampled(self) -> int:
        """How many documents tell ways apart: the first, and more of 262,144 ids."""
        offsets = self._encoded[False, None].offsets
        return int(np.searchsorted(offsets[:-1], offsets[1] + SAMPLE_IDS))

    def make(self, making: Making, num_documents: int | None = None) -> tuple[Rows, Int64Array]:
        """Return the rows of documents, all or the first, and the document of each."""
        prefix = making.add_prefix_space
        which = prefix, num_documents
        if which not in self._encoded:
            self._encoded[which] = suite_tokenizer(prefix).encode(self._texts[:num_documents])
        key = prefix, making.cut, making.rewrite == "bare"
        if key not in self._cutters:
            self._cutters[key] = making.cutter(self._skipped[prefix])
        cutter = deepcopy(self._cutters[key])
        return making.make(suite_tokenizer(prefix), self._encoded[which], cutter)


def _blocks(documents: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    block: list[tuple[str, str]] = []
    num_characters = 0
    for document in documents:
        block.append(document)
        num_characters += len(document[1])
        if num_characters >= _BLOCK_CHARACTERS:
            yield block
            block, num_characters = [], 0
    if block:
        yield block
