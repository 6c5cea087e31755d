"""Split the steps of a phase into windows, one for each checkpoint, and these into files.

A window ends with the first step at which the tokens so far pass a multiple of `window_tokens`.

Source of the windows: Composer 0.24.1, `create_interval_scheduler`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.dataset.paths import ORDER

OrderFormat = Literal["parquet", "mds"]
STEPS_PER_FILE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFile:
    """A file of consecutive steps of one window; of MDS, a folder of shards."""

    path: str
    """Relative to the output folder."""
    window: str
    """The folder of its window, relative to the output folder."""
    first_step: int
    """Its first step, from 0 over the whole phase."""
    num_steps: int
    first_label: int
    """Its first step as the file numbers it, from 1 within the window."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWindow:
    """The steps between two checkpoints."""

    folder: str
    """Relative to the output folder."""
    first_step: int
    """Its first step, from 0 over the whole phase."""
    num_steps: int
    num_tokens: int
    """Tokens of its rows."""


def split_windows(tokens: Int64Array, window_tokens: int, phase: str) -> list[StepWindow]:
    """Split steps into windows; tokens: int64 [num_steps]."""
    # Steps of one window passed equally many multiples before they started.
    passed = (np.cumsum(tokens) - tokens) // window_tokens
    bounds = [*np.flatnonzero(np.diff(passed, prepend=-1)).tolist(), len(tokens)]
    return [
        StepWindow(
            folder=f"{ORDER}/{phase}_{number:06d}",
            first_step=start,
            num_steps=stop - start,
            num_tokens=int(tokens[start:stop].sum()),
        )
        for number, (start, stop) in enumerate(pairwise(bounds), 1)
    ]


def split_files(window: StepWindow, format_: OrderFormat) -> list[StepFile]:
    """Split a window into files of at most 100 steps."""
    suffix = ".parquet" if format_ == "parquet" else ""
    files = []
    for start in range(0, window.num_steps, STEPS_PER_FILE):
        stop = min(start + STEPS_PER_FILE, window.num_steps)
        files.append(
            StepFile(
                path=f"{window.folder}/steps_{start + 1:06d}_to_{stop:06d}{suffix}",
                window=window.folder,
                first_step=window.first_step + start,
                num_steps=stop - start,
                first_label=start + 1,
            )
        )
    return files
