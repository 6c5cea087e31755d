"""The pull: locked files -> the same bytes on disk, whole or not at all.

`ahead` says what is missing and whether there is room; `many` pulls that; `fetch` one file of it.
"""

from pipeline.pull.ahead import Ahead, Wanted, look_ahead
from pipeline.pull.fetch import fetch
from pipeline.pull.many import Pulled, pull, pull_missing

__all__ = ["Ahead", "Pulled", "Wanted", "fetch", "look_ahead", "pull", "pull_missing"]
