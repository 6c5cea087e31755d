"""Steps: the tokens of each step -> which steps each window and file holds.

Enters: the number of tokens of each full step. Leaves: ranges of steps. A window ends with
the first step at which the tokens so far pass a multiple of `window_tokens`, as checkpoints do.

Source of the windows: Composer 0.24.1, `create_interval_scheduler`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.dataset.paths import STEPS_PER_FILE, OrderFormat, steps_file, window_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFile:
    """A file of consecutive steps of one window."""

    path: str
    """Relative to the output folder."""
    window: str
    """The folder of its window, relative to the output folder."""
    first_step: int
    """Its first step, from 0 over the whole phase."""
    num_steps: int
    """How many steps it holds."""
    first_label: int
    """What the file calls its first step: numbered from 1 within the window."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWindow:
    """The steps between two checkpoints."""

    folder: str
    """Relative to the output folder."""
    first_step: int
    """Its first step, from 0 over the whole phase."""
    num_steps: int
    """How many steps it holds."""
    num_tokens: int
    """Tokens of its rows."""


def split_windows(tokens: Int64Array, window_tokens: int, phase: str) -> list[StepWindow]:
    """Split steps into windows; tokens: int64 [num_steps]."""
    # A step belongs with those before which equally many multiples were passed.
    passed = (np.cumsum(tokens) - tokens) // window_tokens
    firsts = np.flatnonzero(np.diff(passed, prepend=-1))
    bounds = [*firsts.tolist(), len(tokens)]
    return [
        StepWindow(
            folder=window_folder(phase, number),
            first_step=start,
            num_steps=stop - start,
            num_tokens=int(tokens[start:stop].sum()),
        )
        for number, (start, stop) in enumerate(pairwise(bounds))
    ]


def split_files(window: StepWindow, format_: OrderFormat) -> list[StepFile]:
    """Split a window into files of at most 100 steps."""
    files = []
    for start in range(0, window.num_steps, STEPS_PER_FILE):
        stop = min(start + STEPS_PER_FILE, window.num_steps)
        files.append(
            StepFile(
                path=f"{window.folder}/{steps_file(start + 1, stop, format_)}",
                window=window.folder,
                first_step=window.first_step + start,
                num_steps=stop - start,
                first_label=start + 1,
            )
        )
    return files
