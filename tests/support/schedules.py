"""Schedules that property tests draw."""

import numpy as np
from hypothesis import strategies as st

from pipeline.order.schedule import Schedule, WarmUpRule


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, int]:
    """A schedule, constant or growing, and the rows of an order."""
    num_rows = draw(st.integers(0, 150))
    if draw(st.booleans()):
        return Schedule(num_rows_per_step=draw(st.integers(1, 30))), num_rows
    smallest = draw(st.integers(1, 4))
    rule = WarmUpRule(
        min_rows=smallest,
        max_rows=smallest + draw(st.integers(1, 6)),
        num_tokens=draw(st.integers(0, 600)),
        num_ranks=draw(st.integers(1, 4)),
    )
    lengths = draw(st.lists(st.integers(1, 9), min_size=num_rows, max_size=num_rows))
    return rule.schedule(np.array(lengths, np.int64)), num_rows
