"""The build: carries a plan out, as tasks from files to files on a cluster.

`build` composes everything; `partition`, `drawing` and `ordering` are its three kinds of tasks;
`claim` keeps the folder and its state, `engine` runs tasks.
"""

from pipeline.build.run import build

__all__ = ["build"]
