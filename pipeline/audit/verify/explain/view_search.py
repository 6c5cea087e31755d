"""How theirs is read: the view, the longest row and the width of ids that make most of it ours.

Enters: an output, the other side and what was compared. Leaves: both sides under one reading, and
what there is to say of it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.audit.verify.comparison import VIEWS, Comparison, Finding, Output
from pipeline.audit.verify.explain.known_rows import (
    UNKNOWN,
    OurRows,
    Reading,
    TheirRows,
    read_theirs,
)
from pipeline.audit.verify.explain.order_search import OrderSearch
from pipeline.dataset import RowSource
from pipeline.order import View

_LARGEST_NARROW = 0xFFFF
# Another reading is taken for so much of what is not known under the one that was compared.
_CLEARLY = 0.25


def find_reading(
    output: Output, theirs: RowSource, comparison: Comparison, *, is_fixed: bool
) -> tuple[OurRows, TheirRows]:
    """Return both sides under the reading that finds most of their rows among ours.

    The one that was compared is kept unless another finds clearly more, or it `is_fixed`.
    """
    given = Reading(view=comparison.view, max_seq_len=output.max_seq_len)
    best = OurRows(output, given), read_theirs(theirs, comparison, given)
    least = share = _share_known(*best)
    for reading in () if is_fixed else _other_readings(given, best[1]):
        if share == 1:
            break
        read = read_theirs(theirs, comparison, reading) if reading.is_narrow else best[1]
        tried = OurRows(output, reading), read
        known = _share_known(*tried)
        # A few rows are the same under another reading by chance, as short ones often are.
        if known > share and known - least >= _CLEARLY * (1 - least):
            best, share = tried, known
    return best


def _share_known(ours: OurRows, read: TheirRows) -> float:
    return float(np.count_nonzero(ours.find(read.keys) != UNKNOWN) / max(len(read.keys), 1))


def _other_readings(given: Reading, read: TheirRows) -> Iterator[Reading]:
    views = sorted(VIEWS, key=lambda view: view != given.view)
    yield from (replace(given, view=view) for view in views[1:])
    if read.longest != given.max_seq_len:
        changed = [view for view in views if view != "stored"]
        yield from (replace(given, view=view, max_seq_len=read.longest) for view in changed)
    if read.largest_id > _LARGEST_NARROW:
        yield from (replace(given, view=view, is_narrow=True) for view in views)


def explain_reading(
    output: Output, compared: View, reading: Reading, search: OrderSearch
) -> list[Finding]:
    """Say under which view theirs is, or that its ids were kept in too few bits.

    `compared`: the view under which the rows were compared.
    """
    findings = []
    is_cut = reading.max_seq_len != output.max_seq_len
    # A pool is stored rows, whatever view they are to be put in order under.
    is_stored_pool = search.is_pool and reading.view == "stored"
    if is_cut or not (is_stored_pool or reading.view == compared == output.view):
        cut = f", cut to {reading.max_seq_len}" if is_cut else ""
        text = f"their rows are the {reading.view} view{cut}, the output's are {output.view}"
        if compared not in (reading.view, output.view):
            text += f", and both were compared as {compared}"
        evidence: dict[str, Any] = {
            "theirs": reading.view,
            "ours": output.view,
            "compared": compared,
            "their_max_seq_len": reading.max_seq_len,
            "our_max_seq_len": output.max_seq_len,
        }
        findings.append(Finding(kind="view", text=text, evidence=evidence))
    if reading.is_narrow:
        text = (
            "their ids are ours in the low 16 bits alone: they were kept in 16 bits, where ids "
            "from 32,768 on are negative, and then in more"
        )
        findings.append(Finding(kind="dtype", text=text, evidence={"modulo": 1 << 16}))
    return findings
