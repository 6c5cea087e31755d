"""By rows: two sides that can both be read -> which rows differ."""

import numpy as np

from pipeline.audit.verify.alignment import Alignment
from pipeline.audit.verify.compare import compare_rows
from pipeline.audit.verify.comparison import Comparison
from pipeline.audit.verify.scope import Scope, parts_of


def compare_by_rows(scope: Scope, choice: Alignment) -> Comparison:
    """Compare the rows of two sides. Raises: NotFoundError when one of them does not have them."""
    ours = choice.ours(scope.output)
    theirs = scope.onward or scope.theirs(choice.view)
    start, stop = scope.bounds(choice.of, ours.num_rows)
    is_whole = scope.is_whole
    # Of a part, the other side says itself where it does not have it: to count all of its rows may
    # take a request a file.
    common = min(stop, theirs.num_rows) if is_whole else stop
    parts = parts_of(scope.windows(choice.of), start, common)
    tally = compare_rows(ours, theirs, parts, scope.report)
    their_num_rows = theirs.num_rows if is_whole or tally.num_differing else stop
    return Comparison(
        of=choice.of,
        view=choice.view,
        why_view=choice.why,
        start=start,
        stop=common,
        num_rows=stop if is_whole else ours.num_rows,
        their_num_rows=their_num_rows,
        is_whole=is_whole,
        num_missing=max(their_num_rows, stop) - common if is_whole else 0,
        same_multiset=tally.same_multiset,
        windows=tuple(tally.windows),
        rows_per_unit=1,
        num_differing=tally.num_differing,
        differing=np.concatenate(tally.differing),
        digests_start=tally.digests_start,
        our_digests=np.concatenate(tally.ours),
        their_digests=np.concatenate(tally.theirs),
    )
