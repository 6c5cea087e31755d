"""Declared order: whether the pool of an output, in the order of a manifest, has its rows.

A manifest has digests and no rows, so no cause can be searched for; but the order that it declares
can be made and digested.
"""

import numpy as np

from pipeline.audit.verify.build_output import ReplayedPool, make_permutation
from pipeline.audit.verify.compare import digest_rows
from pipeline.audit.verify.comparison import Comparison, Finding, finding, shared
from pipeline.core.progress import no_progress
from pipeline.dataset import ROWS_PER_NODE
from pipeline.order import ALGORITHMS, PermutationKey

# Rows of a large pool are read one by one from all over it, so no more than these are.
_MOST_NODES = 1024


@shared
def declared_key(comparison: Comparison) -> PermutationKey | None:
    """Return the order that a manifest without rows declares, if it is another of such a pool."""
    theirs, ours = comparison.target.manifest, comparison.output.key
    if comparison.theirs is not None or theirs is None or not comparison.output.has_pool:
        return None
    key = theirs.order.permutation_key
    can_be_made = key.algorithm in ALGORITHMS and key.num_samples == ours.num_samples
    return key if can_be_made and key != ours and comparison.num_differing else None


class DeclaredOrder:
    """The order that a manifest declares, of the output's own pool."""

    def applies(self, comparison: Comparison) -> bool:
        return comparison.of == "order" and declared_key(comparison) is not None

    def explain(self, comparison: Comparison) -> list[Finding]:
        output, ledger, key = comparison.output, comparison.target.ledger, declared_key(comparison)
        assert ledger is not None
        assert key is not None
        start = comparison.start
        stop = min(comparison.stop, start + _MOST_NODES * ROWS_PER_NODE)
        replayed = ReplayedPool(
            pool=output.pool, order=make_permutation(key), num_rows=comparison.their_num_rows
        )
        rows = output.viewed(replayed, comparison.view)
        made, _ = digest_rows(rows, start, stop, [], no_progress)
        theirs = ledger.nodes[start // ROWS_PER_NODE :][: len(made.nodes)]
        bad = np.flatnonzero((made.nodes != theirs).any(axis=1))
        text = f"the other side declares epoch {key.epoch} of seed {key.seed} of {key.algorithm}"
        gives = f"all rows {start:,}:{stop:,} as they are there"
        if len(bad):
            first = start + int(bad[0]) * ROWS_PER_NODE
            gives = f"others among the {ROWS_PER_NODE:,} rows from row {first:,} on"
        return finding(
            "seed" if key.algorithm == output.key.algorithm else "order algorithm",
            f"{text}; in that order this pool gives {gives}",
            algorithm=key.algorithm,
            seed=key.seed,
            epoch=key.epoch,
            start=start,
            stop=stop,
            num_nodes=len(made.nodes),
            num_nodes_reproduced=len(made.nodes) - len(bad),
        )
