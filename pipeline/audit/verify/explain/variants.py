"""Neighbours of how our rows were made, tried for real: which of them makes rows that theirs has.

Enters: our pool, and keys of rows of theirs that are not in it. Documents of our pool are decoded,
tokenised with and without a prefix space, and cut by every algorithm at the sizes that theirs
suggest. Leaves: the neighbour that makes most of their rows, where ours makes fewer.

One row suffices to tell, since no row of theirs that is looked for is one of ours; where documents
end, chance borrows ids otherwise, so not all are found even by the right neighbour.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.verify.comparison import VIEWS, Finding, Output
from pipeline.audit.verify.explain.documents import sample_documents
from pipeline.audit.verify.explain.known_rows import Reading, TheirRows, keys_of_rows
from pipeline.config import LARGEST_ETTIN_CHUNK, ChunkSpec
from pipeline.core.ragged import Rows
from pipeline.order import View
from pipeline.stages.chunking import make_chunker
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer, without_content

_CUTTING: tuple[Literal["ettin-reencode-v1", "ettin-slice-v1"], ...] = (
    "ettin-reencode-v1",
    "ettin-slice-v1",
)
# min_size and skip_below of the published chunks, and of those of the successor.
_TAILS = ((512, 128), (512, 32))
_SEED = 42
_PUBLISHED_SIZES = (1024, 8000, 8192)
# A neighbour is named when it makes so many more of their rows than ours does.
_CLEARLY = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """A way of making rows of documents, beside ours."""

    ours: "Way"
    """Ours."""
    way: "Way"
    """The one that fits."""
    view: View
    """The view under which it does."""
    num_found: int
    """How many of the rows that it makes are among theirs that are not ours."""
    num_made: int
    """How many rows it makes of the sampled documents, less those that ours makes, too."""
    num_ours_found: int
    """How many of the rows that our way makes are."""
    num_tried: int
    """How many ways were tried."""

    @property
    def words(self) -> str:
        """The way, and how well it fits, in words."""
        return (
            f"{self.way.words}: {self.num_found:,} of {self.num_made:,} rows that it makes of our "
            f"documents are theirs; ours makes {self.num_ours_found:,}"
        )

    def findings(self) -> list[Finding]:
        """Return a finding for each thing in which the way is not ours."""
        evidence = {
            "fits": self.way.words,
            "ours": self.ours.words,
            "num_found": self.num_found,
            "num_made": self.num_made,
            "num_found_by_ours": self.num_ours_found,
            "num_tried": self.num_tried,
        }
        ours, theirs = self.ours.chunk, self.way.chunk
        found = []
        if self.way.add_prefix_space != self.ours.add_prefix_space:
            state = "with" if self.way.add_prefix_space else "without"
            found.append(("prefix space", f"their documents were tokenised {state} a prefix space"))
        if theirs.algorithm != ours.algorithm:
            text = f"their chunks were cut by {theirs.algorithm}, ours by {ours.algorithm}"
            found.append(("chunk algorithm", text))
        if theirs.size != ours.size:
            text = f"their chunks are of at most {theirs.size:,} ids, ours of {ours.size:,}"
            found.append(("chunk size", text))
        if not found:
            found.append(("chunk tails", "their short last pieces were treated otherwise"))
        return [
            Finding(kind=kind, text=f"{text}; it fits {self.words}", evidence=evidence)
            for kind, text in found
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How documents become rows."""

    add_prefix_space: bool
    """Whether a space is put before every segment that does not begin with one."""
    chunk: ChunkSpec
    """How documents are cut."""

    @property
    def words(self) -> str:
        """The way in words."""
        spec = self.chunk
        tails = "" if spec.min_size is None else f"-{spec.min_size}-{spec.skip_below}"
        prefix = "on" if self.add_prefix_space else "off"
        return f"prefix space {prefix}, {spec.algorithm} at {spec.size}{tails}"

    def num_changes(self, ours: "Way") -> int:
        """Return in how many things it is not ours."""
        mine, other = self.chunk, ours.chunk
        tails = [(one.min_size, one.skip_below, one.seed) for one in (mine, other)]
        return (
            (self.add_prefix_space != ours.add_prefix_space)
            + (mine.algorithm != other.algorithm)
            + (mine.size != other.size)
            + (tails[0] != tails[1])
        )


def our_way(output: Output) -> Way:
    """Return how our rows were made."""
    declared = output.declaration
    return Way(
        add_prefix_space=declared["tokenizer"]["add_prefix_space"],
        chunk=ChunkSpec(**declared["chunk"]),
    )


def find_making(
    output: Output,
    reading: Reading,
    read: TheirRows,
    unknown: NDArray[np.uint64],
    part: int | None,
) -> Making | None:
    """Try neighbours on documents of our pool and return the one that fits, if any does.

    unknown: uint64 [num_unknown], keys of rows of theirs that are not ours. `part`: the
    partition of our pool whose documents are to be taken; None for some of all.
    """
    ours = our_way(output)
    # Theirs may be cut later than ours, where they are cut.
    reading = replace(reading, max_seq_len=max(reading.max_seq_len, read.longest))
    longest = max(map(len, read.sampled(reading, unknown)), default=read.longest)
    documents = _Encoded(output, sample_documents(output, part))
    made_by_ours: dict[View, NDArray[np.uint64]] = {}
    found: dict[tuple[View, Way], tuple[int, int]] = {}
    for way in _ways(ours, longest):
        chunks = _chunk(documents, way)
        for view in VIEWS:
            made = _keys(output, replace(reading, view=view), chunks)
            if way == ours:
                made_by_ours[view] = made
            else:
                made = np.setdiff1d(made, made_by_ours[view])
            found[view, way] = int(np.isin(made, unknown).sum()), len(made)
    view, best = max(
        found,
        key=lambda one: (found[one][0], one[0] == reading.view, -one[1].num_changes(ours)),
    )
    by_ours = found[view, ours][0]
    if best == ours or found[view, best][0] <= _CLEARLY * by_ours:
        return None
    return Making(
        ours=ours,
        way=best,
        view=view,
        num_found=found[view, best][0],
        num_made=found[view, best][1],
        num_ours_found=by_ours,
        num_tried=len(found),
    )


def _ways(ours: Way, longest: int) -> Iterator[Way]:
    """Yield ours and its neighbours, with the sizes that their longest row suggests."""
    # CLS and SEP may have come to chunks, or left them.
    sizes = dict.fromkeys([ours.chunk.size, *range(longest - 2, longest + 3)])
    # Where trainers cut rows, the longest says little, so that a published size is tried.
    sizes |= dict.fromkeys(size for size in _PUBLISHED_SIZES if longest < size < 1.25 * longest)
    seen = set()
    for prefix in (ours.add_prefix_space, not ours.add_prefix_space):
        for spec in (ours.chunk, *(s for size in sizes for s in _cuts(ours.chunk, size))):
            way = Way(add_prefix_space=prefix, chunk=spec)
            if way not in seen:
                seen.add(way)
                yield way


def _cuts(ours: ChunkSpec, size: int) -> Iterator[ChunkSpec]:
    if size < 4:
        return
    yield ChunkSpec(algorithm="whole-v1", size=size)
    if size > LARGEST_ETTIN_CHUNK:
        return
    given = [] if ours.min_size is None else [(ours.min_size, ours.skip_below)]
    for min_size, skip_below in dict.fromkeys([*given, *_TAILS, (size // 2, size // 8)]):
        for algorithm in _CUTTING:
            yield ChunkSpec(
                algorithm=algorithm,
                size=size,
                min_size=min(min_size, size - 2),
                skip_below=skip_below,
                add_eos=ours.add_eos,
                seed=_SEED if ours.seed is None else ours.seed,
            )


class _Encoded:
    """Documents under our tokenizer, with and without a prefix space."""

    def __init__(self, output: Output, texts: list[list[str]]) -> None:
        self._output = output
        self._texts = texts
        self._made: dict[bool, tuple[Tokenizer, list[Rows]]] = {}

    def under(self, add_prefix_space: bool) -> tuple[Tokenizer, list[Rows]]:
        """Return the tokenizer and what it makes of the documents of each partition."""
        if add_prefix_space not in self._made:
            tokenizer = self._load(add_prefix_space)
            encoded = [_with_content(tokenizer, tokenizer.encode(part)) for part in self._texts]
            self._made[add_prefix_space] = tokenizer, encoded
        return self._made[add_prefix_space]

    def _load(self, add_prefix_space: bool) -> Tokenizer:
        ours = self._output.tokenizer
        if add_prefix_space == ours.add_prefix_space:
            return ours
        declared = self._output.declaration["tokenizer"]
        return load_tokenizer(
            declared["name"], add_prefix_space=add_prefix_space, revision=declared["revision"]
        )


def _with_content(tokenizer: Tokenizer, encoded: Rows) -> Rows:
    kept = np.ones(len(encoded.offsets) - 1, np.bool_)
    kept[without_content(tokenizer, encoded)] = False
    return encoded if kept.all() else encoded.take(kept)


def _chunk(documents: _Encoded, way: Way) -> list[Rows]:
    """Return the stored rows that a way makes of documents, by partition."""
    tokenizer, parts = documents.under(way.add_prefix_space)
    made = []
    for encoded in parts:
        chunks = make_chunker(way.chunk, tokenizer).chunk(encoded)
        made.append(chunks.rows)
    return made


def _keys(output: Output, reading: Reading, stored: list[Rows]) -> NDArray[np.uint64]:
    """Return what stands for rows under a reading, each once."""
    blocks = (block for rows in stored for block in reading.read(output, Held(rows)))
    return np.unique(np.concatenate([np.empty(0, np.uint64), *map(keys_of_rows, blocks)]))


@dataclass(frozen=True, slots=True)
class Held:
    """Rows in memory, as a source of rows."""

    rows: Rows
    """All of them."""

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return len(self.rows)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` as one block, if there are any."""
        if start < stop:
            offsets = self.rows.offsets[start : stop + 1]
            ids = self.rows.values[offsets[0] : offsets[-1]]
            yield Rows(values=ids, offsets=offsets - offsets[0])
