"""Explain: why the rows of another side are not an output's -> findings, each with its numbers.

Enters: an output, the other side and their comparison. Leaves: every cause that fits what was read,
the most basic first: how rows are read (view, dtype), the order (seed, epoch, row order), the pool
(shard order, row count, partition, rows), and how its rows were made (prefix space, chunk
algorithm, chunk size, tokenizer). Nothing is guessed: a cause is named when it makes rows fit that
do not fit without it; where none does, what was tried is said.

Time is that of digesting our pool once for each way of reading it, and some thousand rows of
theirs. Memory is up to 120 bytes a row of our pool, 16 GB at 2^27 rows; a larger pool is not
searched, which a finding says. An output without a pool gets one that says so, too.
"""

from dataclasses import replace

import numpy as np

from pipeline.audit.verify.comparison import Comparison, Finding, Output
from pipeline.audit.verify.explain.displaced import explain_positions
from pipeline.audit.verify.explain.known_rows import UNKNOWN, OurRows, Reading, TheirRows
from pipeline.audit.verify.explain.order_search import OrderSearch, explain_draw, find_order, place
from pipeline.audit.verify.explain.pool_edits import Changes, explain_arrangement
from pipeline.audit.verify.explain.pool_parts import arrange, find_edits
from pipeline.audit.verify.explain.refine import look_closer
from pipeline.audit.verify.explain.texts import explain_text
from pipeline.audit.verify.explain.variants import find_making
from pipeline.audit.verify.explain.view_search import explain_reading, find_reading
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.dataset import RowSource
from pipeline.dataset.mds import MdsRows

# One row or two that are not ours were altered; more may have been made in another way.
_FEWEST_MADE = 3
# Where more of their rows are not ours, it is not partitions that were made again, but all.
_MOSTLY = 0.8
_SURELY = 0.5
MOST_POOL_ROWS = 1 << 27
"""Of a pool of more rows nothing is kept in memory, and so no cause is searched for."""


def explain(output: Output, theirs: RowSource, comparison: Comparison) -> list[Finding]:
    """Return what explains that a comparison found rows that are not the same.

    `theirs` has the rows that were compared at the positions of the comparison.
    """
    if comparison.equal:
        return []
    if not comparison.num_differing:
        return [_other_number(comparison)]
    unsearchable = explain_no_pool(output) or _too_many_rows(output)
    if unsearchable:
        return unsearchable
    problem = _tokenizer_problem(output)
    ours, read = find_reading(output, theirs, comparison, is_fixed=problem is not None)
    classes = ours.find(read.keys)
    is_mds = isinstance(theirs, MdsRows)
    search = find_order(output, comparison, read.positions, classes, is_mds=is_mds)
    findings = explain_draw(output, search)
    if search.is_pool and comparison.of == "order" and not is_mds:
        text = "their rows are in the order of the pool, as if they had not been put in order"
        findings.append(Finding(kind="row order", text=text, evidence={"fits": search.score}))
    if problem is not None and (classes == UNKNOWN).any():
        text = f"other views and other ways of making rows could not be tried: {problem}"
        findings.append(Finding(kind="unknown", text=text))
    # Of a pool that was put beside the order of it nothing says what it was made of.
    may_make = problem is None and bool(output.manifest.sources)
    reading, found = _explain_rows(
        output, theirs, comparison, ours, read, search, may_make=may_make
    )
    findings = explain_reading(output, comparison.view, reading, search) + findings + found
    return findings or [_unknown(read, classes, search)]


def explain_no_pool(output: Output) -> list[Finding]:
    """Say of an output without a pool what could not be tried, and what to do; else nothing."""
    if output.has_pool:
        return []
    is_alone = len(output.views) == 1
    text = (
        "the output has no pool of its own, so only its rows in order were compared"
        f"{f', as the {output.view} view that they are' if is_alone else ''}, and why rows differ "
        "could not be searched for; build the mixture and verify that output, or verify the build "
        "that made the pool"
    )
    return [Finding(kind="unknown", text=text, evidence={"views": list(output.views)})]


def _too_many_rows(output: Output) -> list[Finding]:
    num_rows = output.key.num_samples
    if num_rows <= MOST_POOL_ROWS:
        return []
    text = (
        f"our pool has {num_rows:,} rows; more than {MOST_POOL_ROWS:,} are not kept in memory, so "
        "why rows differ was not searched for"
    )
    evidence = {"num_pool_rows": num_rows, "most_pool_rows": MOST_POOL_ROWS}
    return [Finding(kind="unknown", text=text, evidence=evidence)]


def _tokenizer_problem(output: Output) -> str | None:
    """Return why the output's tokenizer cannot be had, if it cannot."""
    try:
        output.tokenizer  # noqa: B018
    except InputError as error:
        return error.message
    return None


def _other_number(comparison: Comparison) -> Finding:
    ours, theirs = comparison.num_rows, comparison.their_num_rows
    text = f"what both have is the same, but theirs has {theirs:,} ordered rows, ours {ours:,}"
    return Finding(
        kind="row count", text=text, evidence={"our_num_rows": ours, "their_num_rows": theirs}
    )


def explain_dtype(theirs: RowSource) -> list[Finding]:
    """Say whether ids of theirs were negative, though rows may be equal once that is undone."""
    num_wrapped = getattr(theirs, "num_wrapped", 0)
    if not num_wrapped:
        return []
    dtype = str(getattr(theirs, "dtype", "a signed type"))
    text = (
        f"{num_wrapped:,} of their ids that were read are negative in {dtype}, which is too narrow "
        "for them; they were taken modulo its width"
    )
    evidence = {"num_negative": num_wrapped, "their_dtype": dtype}
    return [Finding(kind="dtype", text=text, evidence=evidence)]


def _explain_rows(
    output: Output,
    theirs: RowSource,
    comparison: Comparison,
    ours: OurRows,
    read: TheirRows,
    search: OrderSearch,
    *,
    may_make: bool,
) -> tuple[Reading, list[Finding]]:
    """Return the reading of theirs by all that is known, and what else there is to say of it."""
    reading = ours.reading
    classes = ours.find(read.keys)
    changes = None
    findings: list[Finding] = []
    if search.placed is not None:
        arrangement = arrange(output, search.placed, ours)
        findings = explain_arrangement(arrangement)
        edits, _ = find_edits(search.placed, ours, arrangement)
        read = look_closer(theirs, comparison, reading, read, search.placed, edits)
        classes = ours.find(read.keys)
        placed = place(search.placed.key, read.positions, classes, search.placed.num_samples)
        changes = Changes(output, arrangement, *find_edits(placed, ours, arrangement))
    making = None
    unknown = read.keys[classes == UNKNOWN]
    touched = changes.touched if changes else set()
    # Rows that are not ours in one partition of several say that it alone was made again.
    part = next(iter(touched)) if changes and len(touched) == 1 < changes.num_partitions else None
    if may_make and len(unknown) >= _FEWEST_MADE:
        making = find_making(output, reading, read, unknown, part)
    if making is not None and part is None:
        # Where most rows are others, those that are the same may follow one another by chance.
        findings = findings if search.score >= _SURELY else []
        return replace(reading, view=making.view), findings + making.findings()
    if part is None and len(unknown) > _MOSTLY * len(classes):
        return reading, explain_text(output, reading, read, unknown) if may_make else []
    if changes is not None and search.placed is not None:
        remade_as = f"; it fits {making.words}" if making else ""
        findings += changes.findings(search.placed.num_samples, remade_as)
        is_ours = search.placed.key in (None, output.key) and not findings
        if not (is_ours and len(changes.moved)):
            return reading, findings + changes.explain_moved()
    findings += explain_positions(output, comparison, read.positions, classes, ours, search)
    return reading, findings


def _unknown(read: TheirRows, classes: Int64Array, search: OrderSearch) -> Finding:
    num_known = int(np.count_nonzero(classes != UNKNOWN))
    text = (
        f"{num_known:,} of {len(classes):,} rows read are in our pool, and none of "
        f"{search.num_tried:,} orders near ours fits them (the best to {search.score:.0%})"
    )
    evidence = {
        "num_known": num_known,
        "num_read": len(classes),
        "num_orders_tried": search.num_tried,
        "best_fit": round(search.score, 4),
    }
    return Finding(kind="unknown", text=text, evidence=evidence)
