"""Check budgets: which of them cannot be met, by a sample of each source, before the long work.

It reads some documents of those sources alone whose size leaves a doubt, and are not read in no
time anyhow. What is certain is an error once all chunks are counted.
"""

import logging
from contextlib import suppress
from dataclasses import replace

from pipeline.core.errors import PipelineError
from pipeline.runner.estimate import SourceEstimate, estimate_sources
from pipeline.runner.expected_files import tokens_by_size
from pipeline.runner.plan import Plan, PlannedSource, num_bytes

_LOG = logging.getLogger(__name__)
# Of a source that takes seconds to read; and how far filters and other fields than the text may
# leave less than its size allows.
_DOUBTFUL_BYTES, _DOUBTFUL_TIMES = 8 << 20, 8


def check_budgets(plan: Plan, *, allows_code: bool = False) -> None:
    """Warn, in a line each, of all budgets that seem to be more than their sources have."""
    doubtful = tuple(filter(_is_doubtful, plan.sources))
    # What is wrong with an input is said by the build, which may leave it out.
    with suppress(PipelineError, OSError):
        for one in estimate_sources(replace(plan, sources=doubtful), allows_code=allows_code):
            if one.is_short and one.is_measured:
                _LOG.warning("warning: %s", describe_short(one))


def describe_short(one: SourceEstimate) -> str:
    """Say what a source has of what it should have, and where the rest went."""
    counts = one.counts
    reasons = ", ".join(f"{reason} {num:,}" for reason, num in (counts.dropped or {}).items())
    lost = [
        f"drops {counts.num_dropped:,} of {counts.documents:,} documents: {reasons}"
        if reasons
        else "",
        f"chunking discards {counts.discarded:,} tokens" if counts.discarded else "",
        f"the holdout takes {counts.validation:,} tokens" if counts.validation else "",
    ]
    because = "; ".join(filter(None, lost))
    return (
        f"sources.{one.source}: needs {one.drawn_tokens:,} tokens, has about"
        f" {one.reachable_tokens:,}, repetitions included{because and f' ({because})'}"
    )


def _is_doubtful(planned: PlannedSource) -> bool:
    files, ask = planned.files or (), planned.ask
    if ask.tokens is None or sum(map(num_bytes, files)) < _DOUBTFUL_BYTES:
        return False
    return ask.tokens * _DOUBTFUL_TIMES > tokens_by_size(files) * ask.max_repetition
