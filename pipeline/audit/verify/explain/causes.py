"""Causes: everything that may explain why a target's rows are not an output's, in one list.

The most basic come first: how rows are read (view, dtype), the order (seed, epoch, row order), the
pool (shard order, row count, partition, rows), and how its rows were made (prefix space, chunk
algorithm, chunk size, tokenizer). Nothing is guessed: a cause is named when it makes rows fit that
do not fit without it; where none does, the finding says what was tried.

The output's pool is digested once for each reading that is tried. Memory is up to 120 bytes a row
of the pool, 16 GB at 2^27 rows; a larger pool is not searched.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from pipeline.audit.verify.comparison import Comparison, Finding, finding
from pipeline.audit.verify.explain.chunk_variants import (
    are_all_other,
    are_all_remade,
    can_make,
    find_variant,
)
from pipeline.audit.verify.explain.declarations import declared_findings
from pipeline.audit.verify.explain.declared_order import DeclaredOrder
from pipeline.audit.verify.explain.displaced import DisplacedRows, ShardOrder, edit_findings
from pipeline.audit.verify.explain.order_search import PoolOrder, SampleOrder, find_order
from pipeline.audit.verify.explain.pool_index import UNKNOWN, Reading, known_rows
from pipeline.audit.verify.explain.texts import describe_texts

MOST_POOL_ROWS = 1 << 27


class Cause(Protocol):
    """Something that may explain that rows differ."""

    def applies(self, comparison: Comparison) -> bool: ...

    def explain(self, comparison: Comparison) -> list[Finding]:
        """Say what it is, with the numbers behind it. Called only where it applies."""


def explain(comparison: Comparison) -> list[Finding]:
    """Return every cause that fits, and how two builds were declared differently."""
    found = _findings(STATED, comparison)
    if NotSearchable().applies(comparison) or not comparison.num_differing:
        return found
    found += _findings(SEARCHED, comparison) or _unexplained(comparison)
    comparison.shared_values.clear()  # They grow with the pool.
    return found


def _findings(causes: Sequence[Cause], comparison: Comparison) -> list[Finding]:
    fitting = (cause for cause in causes if cause.applies(comparison))
    return [found for cause in fitting for found in cause.explain(comparison)]


class DeclaredDifference:
    """Declarations or inputs that differ, by the manifests of two builds."""

    def applies(self, comparison: Comparison) -> bool:
        return bool(declared_findings(comparison))

    def explain(self, comparison: Comparison) -> list[Finding]:
        return declared_findings(comparison)


class NegativeIds:
    """Ids that were stored in too narrow a signed type; rows may be equal once that is undone."""

    def applies(self, comparison: Comparison) -> bool:
        return getattr(comparison.theirs, "num_wrapped", 0) > 0

    def explain(self, comparison: Comparison) -> list[Finding]:
        num_wrapped = getattr(comparison.theirs, "num_wrapped", 0)
        dtype = str(getattr(comparison.theirs, "dtype", "a signed type"))
        text = (
            f"{num_wrapped:,} ids that were read of the other side are negative in {dtype}, which "
            "is too narrow for them; they were taken modulo its width"
        )
        return finding("dtype", text, num_negative=num_wrapped, their_dtype=dtype)


class RowCount:
    """More rows on one side, and no other difference."""

    def applies(self, comparison: Comparison) -> bool:
        is_count = comparison.num_missing > 0 and not comparison.num_differing
        return is_count and comparison.theirs is not None

    def explain(self, comparison: Comparison) -> list[Finding]:
        ours, theirs = comparison.num_rows, comparison.their_num_rows
        text = (
            "the rows that both have are the same, but the other side has "
            f"{theirs:,} ordered rows, the output {ours:,}"
        )
        return finding("row count", text, our_num_rows=ours, their_num_rows=theirs)


class NotSearchable:
    """Rows on both sides are needed to search for a cause, and memory for those of the pool."""

    def applies(self, comparison: Comparison) -> bool:
        output = comparison.output
        is_small = output.key.num_samples <= MOST_POOL_ROWS
        is_searchable = output.has_pool and comparison.theirs is not None and is_small
        return comparison.num_differing > 0 and not is_searchable

    def explain(self, comparison: Comparison) -> list[Finding]:
        output, num_rows = comparison.output, comparison.output.key.num_samples
        if not output.has_pool:
            under = f", under the {output.view} view only" if len(output.views) == 1 else ""
            text = (
                "the output has no pool of its own, so only its rows in order were compared"
                f"{under}, and no cause was searched for; build the mixture and verify that "
                "output, or verify the build that made the pool"
            )
            return finding("unknown", text, views=list(output.views))
        if comparison.theirs is None:
            text = "a manifest has digests and no rows to search for a cause; compare with rows"
            return [] if declared_findings(comparison) else finding("unknown", text)
        text = (
            f"the output's pool has {num_rows:,} rows; more than {MOST_POOL_ROWS:,} are not kept "
            "in memory, so no cause was searched for"
        )
        return finding("unknown", text, num_pool_rows=num_rows, most_pool_rows=MOST_POOL_ROWS)


def _reading(comparison: Comparison) -> Reading:
    reading, fit = known_rows(comparison)[0].reading, find_variant(comparison)
    if fit is None or not are_all_remade(comparison):
        return reading
    return replace(reading, view=fit.view)


class OtherView:
    """Rows under another view, or cut at another length."""

    def applies(self, comparison: Comparison) -> bool:
        output, reading = comparison.output, _reading(comparison)
        if reading.max_seq_len != output.max_seq_len:
            return True
        # A pool is stored rows, whatever view they are to be shuffled under.
        is_stored_pool = find_order(comparison).is_pool and reading.view == "stored"
        return not is_stored_pool and not reading.view == comparison.view == output.view

    def explain(self, comparison: Comparison) -> list[Finding]:
        output, compared, reading = comparison.output, comparison.view, _reading(comparison)
        is_cut = reading.max_seq_len != output.max_seq_len
        cut = f", cut to {reading.max_seq_len}" if is_cut else ""
        text = f"the other side's rows are the {reading.view} view{cut}, the output's {output.view}"
        if compared not in (reading.view, output.view):
            text += f", and both were compared as {compared}"
        return finding(
            "view",
            text,
            theirs=reading.view,
            ours=output.view,
            compared=compared,
            their_max_seq_len=reading.max_seq_len,
            our_max_seq_len=output.max_seq_len,
        )


class NarrowIds:
    """Ids that went through 16 bits."""

    def applies(self, comparison: Comparison) -> bool:
        return known_rows(comparison)[0].reading.is_narrow

    def explain(self, comparison: Comparison) -> list[Finding]:
        text = (
            "the other side's ids equal the output's in the low 16 bits alone: they were stored in "
            "16 bits, where ids from 32,768 on are negative, and then in more"
        )
        return finding("dtype", text, modulo=1 << 16)


class MissingTokenizer:
    """A tokenizer that is not found, without which some causes cannot be tried."""

    def applies(self, comparison: Comparison) -> bool:
        is_missing = comparison.output.tokenizer_problem is not None
        return is_missing and len(known_rows(comparison)[1].unknown) > 0

    def explain(self, comparison: Comparison) -> list[Finding]:
        problem = comparison.output.tokenizer_problem
        text = f"other views and other ways of making rows could not be tried: {problem}"
        return finding("unknown", text)


class ChunkVariant:
    """All rows tokenized or chunked in another way."""

    def applies(self, comparison: Comparison) -> bool:
        return are_all_remade(comparison)

    def explain(self, comparison: Comparison) -> list[Finding]:
        fit = find_variant(comparison)
        return [] if fit is None else fit.findings


class OtherTexts:
    """Rows of other texts, or of another tokenizer: nearly all, and no variant makes them."""

    def applies(self, comparison: Comparison) -> bool:
        return can_make(comparison.output) and are_all_other(comparison)

    def explain(self, comparison: Comparison) -> list[Finding]:
        return describe_texts(comparison)


class EditedPool:
    """Rows missing, added, made again, or altered."""

    def applies(self, comparison: Comparison) -> bool:
        return bool(edit_findings(comparison))

    def explain(self, comparison: Comparison) -> list[Finding]:
        return edit_findings(comparison)


def _unexplained(comparison: Comparison) -> list[Finding]:
    search, classes = find_order(comparison), known_rows(comparison)[1].classes
    num_known = int(np.count_nonzero(classes != UNKNOWN))
    text = (
        f"{num_known:,} of {len(classes):,} rows read are in the output's pool, and none of the "
        f"{search.num_tried:,} orders that were tried fits them (the best to {search.score:.0%})"
    )
    return finding(
        "unknown",
        text,
        num_known=num_known,
        num_read=len(classes),
        num_orders_tried=search.num_tried,
        best_fit=round(search.score, 4),
    )


# What needs no search.
STATED: tuple[Cause, ...] = (
    DeclaredDifference(),
    DeclaredOrder(),
    NegativeIds(),
    RowCount(),
    NotSearchable(),
)
# What is searched for among the rows of the output's pool, the most basic first.
SEARCHED: tuple[Cause, ...] = (
    OtherView(),
    NarrowIds(),
    SampleOrder(),
    PoolOrder(),
    MissingTokenizer(),
    ShardOrder(),
    ChunkVariant(),
    OtherTexts(),
    EditedPool(),
    DisplacedRows(),
)
