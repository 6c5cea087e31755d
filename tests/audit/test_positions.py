"""Positions: a step, a row, a window or a checkpoint means the rows it should."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import QUICK, cuts
from support.traced import rows_of, write_output

from pipeline.audit.trace.lookup import Trace
from pipeline.core.errors import NotFoundError

# Every example publishes files, which waits for the disk.
FEW = settings(QUICK, max_examples=20)


sizes = st.lists(st.integers(1, 4), min_size=1, max_size=9)


@FEW
@given(data=st.data(), steps=sizes, phase=st.sampled_from(["checkpoint", "ext", "decay", "my_2"]))
def test_positions_mean_their_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, steps: list[int], phase: str
) -> None:
    out = tmp_path_factory.mktemp("out")
    bounds = sorted({*data.draw(cuts(len(steps)))})
    windows = [stop - start for start, stop in pairwise(bounds)]
    write_output(out, [("s", "d")] * sum(steps), steps=steps, windows=windows, phase=phase)
    positions = Trace.open(out).positions
    ends = [0, *np.cumsum(steps).tolist()]
    for step in range(1, len(steps) + 1):
        span = positions.step(step)
        assert rows_of(span) == range(ends[step - 1], ends[step])
        assert span.first_step == span.last_step == step
        for row in rows_of(span):
            one = positions.row(row)
            assert (rows_of(one), one.first_step, one.last_step) == (
                range(row, row + 1),
                step,
                step,
            )
    first, last = sorted(data.draw(st.tuples(*[st.integers(1, len(steps))] * 2)))
    span = positions.steps(first, last + 1)
    assert rows_of(span) == range(ends[first - 1], ends[last])
    assert (span.first_step, span.last_step) == (first, last)
    first, last = sorted(data.draw(st.tuples(*[st.integers(1, len(windows))] * 2)))
    span = positions.windows(first, last + 1)
    assert rows_of(span) == range(ends[bounds[first - 1]], ends[bounds[last]])
    prefix = "step" if phase == "checkpoint" else phase
    for number, (start, stop) in enumerate(pairwise(bounds), 1):
        window, checkpoint = positions.window(number), positions.checkpoint(f"{prefix}{stop}")
        assert rows_of(window) == rows_of(checkpoint) == range(ends[start], ends[stop])
        assert (window.first_step, window.last_step) == (start + 1, stop)
    assert positions.checkpoint("latest") == checkpoint


Ask = Callable[[Trace], object]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.positions.step(0), "step 0: is not in the order, which has steps 1 to 4\nhint:"
         " steps count from 1"),
        (lambda t: t.positions.step(5), "step 5: is not in the order, which has steps 1 to 4\nhint:"
         " 5 rows at the end, which fill no step, were dropped"),
        (lambda t: t.positions.steps(0, 3),
         "step 0: is not in the order, which has steps 1 to 4\nhint: steps count from 1"),
        (lambda t: t.positions.steps(3, 9),
         "step 8: is not in the order, which has steps 1 to 4\nhint: 5 rows"),
        (lambda t: t.positions.windows(2, 9), "window 8: is not in the order, which has windows"),
        (lambda t: t.positions.row(-1), "row -1: is not in the order, which has rows 0 to 5\nhint:"
         " rows count from 0"),
        (lambda t: t.positions.row(6), "row 6: is not in the order, which has rows 0 to 5"),
        (lambda t: t.positions.window(0),
         "window 0: is not in the order, which has windows 1 to 2"),
        (lambda t: t.positions.window(3), "window 3: is not in the order"),
        (lambda t: t.positions.checkpoint("step2"),
         "checkpoint step2: got a step at which no window ends, expected step3"),
        (lambda t: t.positions.checkpoint("step03x"), "got no checkpoint of phase 'checkpoint'"),
        (lambda t: t.positions.checkpoint("step"), "expected stepN or latest"),
        (lambda t: t.positions.checkpoint("3"), "expected stepN or latest"),
        (lambda t: t.positions.checkpoint("step9"), "no window ends, expected step4"),
        (lambda t: t.positions.checkpoint("step" + "9" * 5000), "no window ends, expected step4"),
        (lambda t: t.positions.checkpoint("ext3"),
         "checkpoint ext3: got no checkpoint of phase 'checkpoint', expected stepN or latest\n"
         "hint: another phase is in another output"),
        (lambda t: t.document("w"), "document 'w': is in none of the 6 rows of the order\nhint: 5"),
        (lambda t: t.document("z", "b"), "document 'z' of source 'b': is in none of the 6 rows of"
         " the order\nhint: 'a' has a document of this id"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_so(traced: Trace, ask: Ask, message: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        ask(traced)
    assert message in str(raised.value)
    assert raised.value.exit_code == 1


def test_an_order_without_a_step_has_no_positions(tmp_path: Path) -> None:
    write_output(tmp_path, [], windows=[], num_dropped=3)
    trace = Trace.open(tmp_path)
    with pytest.raises(NotFoundError, match=r"step 1: is not in the order, which has no steps"):
        trace.positions.step(1)
    with pytest.raises(NotFoundError, match=r"got an order without a whole step"):
        trace.positions.checkpoint("latest")
    with pytest.raises(NotFoundError, match=r"is in none of the 0 rows"):
        trace.document("d")
