"""`Replay`: which published pool of rows is put in order, and how.

The fingerprint depends on what decides the bytes of the rows in order, not on where the pool is:
a pool on the Hub and its copy on disk have the same.
"""

from typing import ClassVar

from pipeline.config.declaration import OrderedData
from pipeline.config.settings import (
    Complaints,
    Given,
    Section,
    check_rule,
    only_one,
    only_with,
    optional,
    setting,
    settings,
)
from pipeline.config.value_types import HUB_ID, LINE, NAME


@settings
class PoolSpec:
    needs: ClassVar[str] = "one of hub, path"

    hub: str | None = optional(
        "A data set on the Hub with MDS shards or archives of text, org/name.", HUB_ID
    )
    revision: str | None = optional(
        "Branch, tag or commit on the Hub, main by default. For hub only.", LINE
    )
    folder: str | None = optional(
        "Folder of the data set that holds index.json and shards, or archives of text as "
        "source/name.jsonl.tar.gz; train by default, where archives may lie at the top, too. "
        "For hub only.",
        LINE,
    )
    path: str | None = optional("Folder on disk that holds the same, relative to this file.", LINE)

    @staticmethod
    def rule(given: Given) -> Complaints:
        expected = "hub (a Hub id org/name) or path (a folder)"
        yield from only_one(given, "hub", "path", expected=expected)
        yield from only_with(given, "hub", "revision", "folder")

    def __post_init__(self) -> None:
        check_rule(self)
        if self.hub is not None and self.folder is None:
            object.__setattr__(self, "folder", "train")


@settings
class Replay(OrderedData):
    composed: ClassVar[tuple[str, ...]] = ("extends", "origins")

    name: str | None = setting(
        "Name of the replay; a file needs one.", NAME, default=None, changes_bytes=False
    )
    pool: PoolSpec | None = setting(
        "The published pool whose rows are put in order; a file that has it is a replay.",
        Section(PoolSpec),
        default=None,
        # Its index decides, wherever it is.
        changes_bytes=False,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        if given.get("pool") is not None and given.get("name", "") is None:
            yield "name", "nothing", NAME.expected
