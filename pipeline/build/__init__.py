"""The build: carries a plan out, as tasks from files to files on a cluster.

`run` composes everything. `prepare` and `reading` say how each input is read, `surveying` what goes
because of what else there is; `making` cuts the documents, `setting_aside` and `drawing` choose
among the chunks, `order` and `validation` put them in order, `balance` sums up.
"""

from pipeline.build.run import build

__all__ = ["build"]
