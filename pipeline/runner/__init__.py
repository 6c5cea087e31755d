"""The build: carries a plan out, as tasks from files to files on a cluster.

`run` composes everything. `prepare` and `reading` say how each input is read, `surveying` what goes
because of what else there is; `making` cuts the documents, `setting_aside` and `drawing` choose
among the chunks, `order` and `validation` put them in order, `balance` sums up.
"""

from pipeline.runner.estimate import BYTES_PER_SECOND, Estimate, make_estimate
from pipeline.runner.plan import make_plan
from pipeline.runner.replay_pool import pool_folder, replay_pool
from pipeline.runner.run import build

__all__ = [
    "BYTES_PER_SECOND",
    "Estimate",
    "build",
    "make_estimate",
    "make_plan",
    "pool_folder",
    "replay_pool",
]
