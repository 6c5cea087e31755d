"""Chunk variants: other ways of making rows of documents, tried on documents of the output's pool.

Documents are decoded, tokenized with and without a prefix space, and chunked by every algorithm at
the sizes that the target's rows suggest. The variant that makes most of the target's rows is named
if the output's own way makes clearly fewer. Even the right one does not make all of them, since
random borrowing of ids differs at the ends of documents.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Comparison, Finding, shared
from pipeline.audit.verify.explain.pool_edits import closer_rows, pool_edits
from pipeline.audit.verify.explain.pool_index import Keys, Reading, known_rows
from pipeline.audit.verify.explain.texts import sample_documents
from pipeline.config import LARGEST_ETTIN_CHUNK, PUBLISHED_SIZES, ChunkSpec
from pipeline.core.ragged import Rows
from pipeline.order import View
from pipeline.stages.chunking import make_chunker
from pipeline.stages.tokenizer import Tokenizer, make_tokenizer, without_content

# min_size and skip_below of the published chunks, and of those of the successor.
_TAILS = ((512, 128), (512, 32))
_SEED = 42
# They cut as `ettin-reencode-v1` does, the last two at the size itself.
_CUT_ALIKE: tuple[Literal["ettin-slice-v1", "ettin-slice-v2", "ettin-retokenize-v1"], ...] = (
    "ettin-slice-v1",
    "ettin-slice-v2",
    "ettin-retokenize-v1",
)
# They differ in nothing but the cut.
_SLICES = {"ettin-slice-v1", "ettin-slice-v2"}
_REWRITES = ("ettin-reencode-v1", "ettin-retokenize-v1")
# A variant is named when it makes so many times the rows that the output's own way does.
_CLEARLY = 1.25
# One row or two that are not in the pool were altered; more may have been made in another way.
_FEWEST_UNKNOWN = 3
# Where more rows are unknown, it is not some partitions that were made again, but all.
_MOSTLY = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A way of making rows of documents."""

    add_prefix_space: bool
    chunk: ChunkSpec
    cleans_up: bool = True
    """Whether texts that are encoded again are cleaned up, as every algorithm does."""

    @property
    def words(self) -> str:
        spec = self.chunk
        tails = "" if spec.min_size is None else f"-{spec.min_size}-{spec.skip_below}"
        prefix = "on" if self.add_prefix_space else "off"
        clean = "" if self.cleans_up else ", without clean-up"
        return f"prefix space {prefix}, {spec.algorithm} at {spec.size}{tails}{clean}"

    def num_changes(self, ours: "Variant") -> int:
        """Return in how many things it differs from the output's own way."""

        def traits(variant: Variant) -> tuple[object, ...]:
            spec = variant.chunk
            tails = (spec.min_size, spec.skip_below, spec.seed)
            return (variant.add_prefix_space, spec.algorithm, spec.size, tails, variant.cleans_up)

        return sum(one != other for one, other in zip(traits(self), traits(ours), strict=True))


class VariantFit(NamedTuple):
    """The variant that fits, and how well."""

    view: View
    words: str
    findings: list[Finding]
    """One for each difference from the output's own way."""


@shared
def find_variant(comparison: Comparison) -> VariantFit | None:
    """Try variants on documents of the output's pool and return the one that fits, if any does."""
    output, rows = comparison.output, closer_rows(comparison)
    unknown = rows.unknown
    if not can_make(output) or len(unknown) < _FEWEST_UNKNOWN:
        return None
    reading = known_rows(comparison)[0].reading
    declared = output.declaration
    ours = Variant(
        add_prefix_space=declared["tokenizer"]["add_prefix_space"],
        chunk=ChunkSpec(**declared["chunk"]),
    )
    longest = max(map(len, rows.unknown_sample(reading)), default=rows.longest)
    # Where rows are cut, the target may cut them later than the output.
    reading = replace(reading, max_seq_len=max(reading.max_seq_len, rows.longest))
    documents = _EncodedDocuments(output, _edited_partition(comparison))
    made_by_ours: dict[View, Keys] = {}
    found: dict[tuple[View, Variant], Keys] = {}
    num_made: dict[tuple[View, Variant], int] = {}
    for variant in _variants(ours, longest, output.tokenizer):
        chunks = documents.chunk(variant)
        for view in output.known_views:
            made = _keys(output, replace(reading, view=view), chunks)
            if variant == ours:
                made_by_ours[view] = made
            else:
                made = np.setdiff1d(made, made_by_ours[view])
            found[view, variant], num_made[view, variant] = made[np.isin(made, unknown)], len(made)
    view, best = _choose(found, reading.view, ours)
    num_found, num_ours_found = len(found[view, best]), len(found[view, ours])
    if best == ours or num_found <= _CLEARLY * num_ours_found:
        return None
    words = (
        f"{best.words}: {num_found:,} of {num_made[view, best]:,} rows that it makes of the "
        f"output's documents are the other side's; the output's own way makes {num_ours_found:,}"
    )
    evidence = {
        "fits": best.words,
        "ours": ours.words,
        "num_found": num_found,
        "num_made": num_made[view, best],
        "num_found_by_ours": num_ours_found,
        "num_tried": len(found),
    }
    findings = [
        Finding(kind=kind, text=f"the other side {text}; it fits {words}", evidence=evidence)
        for kind, text in _differences(ours, best)
    ]
    return VariantFit(view, words, findings)


def _choose(
    found: Mapping[tuple[View, Variant], Keys], known_view: View, ours: Variant
) -> tuple[View, Variant]:
    """Return what makes most of the target's rows, or else what does hardly worse by fewer changes.

    Hardly: the rows that only one of the two makes are as good as evenly divided between them.
    """

    def merit(one: tuple[View, Variant]) -> tuple[int, bool, int]:
        return len(found[one]), one[0] == known_view, -one[1].num_changes(ours)

    best = max(found, key=merit)
    simpler = [
        one
        for one in found
        if 0 < one[1].num_changes(ours) < best[1].num_changes(ours)
        and len(found[one]) > _CLEARLY * len(found[one[0], ours])
    ]
    for one in sorted(
        simpler,
        key=lambda one: (one[1].num_changes(ours), -len(found[one]), one[0] != known_view),
    ):
        num_common = len(np.intersect1d(found[best], found[one]))
        num_more, num_less = len(found[best]) - num_common, len(found[one]) - num_common
        # Twice the deviation of a fair coin's heads less tails.
        if num_more - num_less <= 2 * sqrt(num_more + num_less):
            return one
    return best


def _differences(ours: Variant, theirs: Variant) -> list[tuple[str, str]]:
    found = []
    if theirs.add_prefix_space != ours.add_prefix_space:
        state = "with" if theirs.add_prefix_space else "without"
        found.append(("prefix space", f"was tokenized {state} a prefix space"))
    names = {ours.chunk.algorithm, theirs.chunk.algorithm}
    sizes = ours.chunk.piece_size, theirs.chunk.piece_size
    if names <= _SLICES and len(names) > 1 and sizes[0] != sizes[1]:
        text = f"was cut into pieces of {sizes[1]:,} ids, the output into {sizes[0]:,}"
        return [*found, ("cut", text)]
    if theirs.chunk.algorithm != ours.chunk.algorithm:
        text = f"was chunked by {theirs.chunk.algorithm}, the output by {ours.chunk.algorithm}"
        found.append(("chunk algorithm", text))
    if theirs.chunk.size != ours.chunk.size:
        text = f"has chunks of at most {theirs.chunk.size:,} ids, the output {ours.chunk.size:,}"
        found.append(("chunk size", text))
    if not theirs.cleans_up:
        found.append(("clean-up", "was rewritten without a clean-up of spaces"))
    return found or [("chunk tails", "treats short tails in another way")]


def can_make(output: Output) -> bool:
    """Tell whether rows can be made: not of lines, or of a pool whose sources are unknown."""
    if not output.manifest.sources:
        return False
    has_lines = output.declaration["chunk"]["algorithm"] == "ettin-line-v1"
    return output.tokenizer_problem is None and not has_lines


def are_all_remade(comparison: Comparison) -> bool:
    """Tell whether all rows were made in another way, not those of one partition."""
    return find_variant(comparison) is not None and _edited_partition(comparison) is None


def are_all_other(comparison: Comparison) -> bool:
    """Tell whether nearly all rows are unknown, and no variant makes them."""
    rows = closer_rows(comparison)
    mostly = len(rows.unknown) > _MOSTLY * len(rows.classes)
    return mostly and _edited_partition(comparison) is None and not are_all_remade(comparison)


def _edited_partition(comparison: Comparison) -> int | None:
    """Return the partition that alone, of several, has all the unknown rows."""
    edits = pool_edits(comparison)
    return None if edits is None else edits.only_partition()


def _variants(ours: Variant, longest: int, tokenizer: Tokenizer) -> Iterator[Variant]:
    """Yield the output's own way and others, with the sizes that the longest row suggests."""
    # CLS and SEP may have been added to chunks, or removed.
    sizes = dict.fromkeys([ours.chunk.size, *range(longest - 2, longest + 3)])
    # Where trainers cut rows, the longest says little, so that a published size is tried.
    sizes |= dict.fromkeys(size for size in PUBLISHED_SIZES if longest < size < 1.25 * longest)
    specs = [ours.chunk, *(spec for size in sizes for spec in _specs(ours.chunk, size))]
    if not tokenizer.is_framed:
        specs = [spec for spec in specs if spec.algorithm == "whole-v1"]
    prefixes = [ours.add_prefix_space]
    if tokenizer.takes_prefix_space:
        prefixes.append(not ours.add_prefix_space)
    yield from dict.fromkeys(
        Variant(add_prefix_space=prefix, chunk=spec, cleans_up=cleans_up)
        for prefix in prefixes
        for spec in specs
        for cleans_up in ((True, False) if spec.algorithm in _REWRITES else (True,))
    )


def _specs(ours: ChunkSpec, size: int) -> Iterator[ChunkSpec]:
    if size < 4:
        return
    yield ChunkSpec(algorithm="whole-v1", size=size)
    if size > LARGEST_ETTIN_CHUNK:
        return
    given = [] if ours.min_size is None else [(ours.min_size, ours.skip_below)]
    for min_size, skip_below in dict.fromkeys([*given, *_TAILS, (size // 2, size // 8)]):
        reencode = ChunkSpec(
            algorithm="ettin-reencode-v1",
            size=size,
            min_size=min(min_size, size - 2),
            skip_below=skip_below,
            add_eos=ours.add_eos,
            seed=_SEED if ours.seed is None else ours.seed,
        )
        yield from (reencode, *(replace(reencode, algorithm=name) for name in _CUT_ALIKE))


class _EncodedDocuments:
    """Documents of the pool, under its tokenizer with and without a prefix space."""

    def __init__(self, output: Output, partition: int | None) -> None:
        self._output = output
        self._texts = sample_documents(output, partition)
        self._encoded: dict[bool, tuple[Tokenizer, list[Rows]]] = {}

    def chunk(self, variant: Variant) -> list[Rows]:
        """Return the stored rows that a variant makes of documents, by partition."""
        prefix = variant.add_prefix_space
        if prefix not in self._encoded:
            self._encoded[prefix] = self._encode(prefix)
        tokenizer, partitions = self._encoded[prefix]
        # A chunker's random numbers begin anew in each partition.
        return [
            make_chunker(variant.chunk, tokenizer, cleans_up=variant.cleans_up).chunk(part).rows
            for part in partitions
        ]

    def _encode(self, add_prefix_space: bool) -> tuple[Tokenizer, list[Rows]]:
        tokenizer = self._output.tokenizer
        if add_prefix_space != tokenizer.add_prefix_space:
            tokenizer = make_tokenizer(tokenizer.name, tokenizer.data, add_prefix_space)
        return tokenizer, [_with_content(tokenizer, tokenizer.encode(part)) for part in self._texts]


def _with_content(tokenizer: Tokenizer, encoded: Rows) -> Rows:
    kept = np.ones(len(encoded), np.bool_)
    kept[without_content(tokenizer, encoded)] = False
    return encoded if kept.all() else encoded.take(kept)


def _keys(output: Output, reading: Reading, stored: list[Rows]) -> Keys:
    """Return the keys of stored rows under a reading, each once."""
    keys = [reading.keys(output, rows) for rows in stored if len(rows)]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *keys]))
