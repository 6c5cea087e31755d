"""Partition task: what one folder of shards is made from, and with."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.config import ChunkSpec, ShardSpec, TokenizerSpec, to_plain
from pipeline.core.digest import fingerprint
from pipeline.runner.tasks.holdout_chunks import HoldoutChunks
from pipeline.runner.tasks.read_documents import Input, declare_inputs
from pipeline.runner.tasks.unique_ids import RepeatedIds
from pipeline.version import VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionTask:
    """Everything that a folder of shards is made from, and with."""

    out: Path
    folder: str
    """Where the shards go, relative to `out`."""
    partition: str
    inputs: tuple[Input, ...]
    """Its files, in order."""
    tokenizer: TokenizerSpec
    tokenizer_digest: str
    chunk: ChunkSpec
    shards: ShardSpec
    skips_bad: bool
    """Whether bad documents are dropped and counted instead of stopping the build."""
    keep_dropped: Fraction | None
    """The share of the dropped documents that is kept in files."""
    saves_digests: bool
    """Whether to save the digests of texts, by which the holdout is chosen."""
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""
    holdout: HoldoutChunks | None = None
    """How the holdout is chunked, if in another way."""
    repeats: tuple[RepeatedIds, ...] = ()
    """Ids that the source has more than once; only the first document of each is kept."""
    cache: Path | str | None = None
    """A folder of partitions that any build has made, which decides no byte."""

    @property
    def name(self) -> str:
        return f"partitions/{self.source}/{self.partition}"

    @property
    def source(self) -> str:
        return self.inputs[0].source

    @property
    def key(self) -> str:
        """Fingerprint of all that decides the bytes except the bytes of the input."""
        repeated, taken = self.load_repeats()
        return fingerprint(
            {
                **({"holdout": self.holdout.declaration()} if self.holdout else {}),
                "version": VERSION,
                "folder": self.folder,
                "input": declare_inputs(self.inputs),
                "tokenizer": [self.tokenizer_digest, self.tokenizer.add_prefix_space],
                "chunk": to_plain(self.chunk),
                "shards": to_plain(self.shards),
                "skips_bad": self.skips_bad,
                "keep_dropped": to_plain(self.keep_dropped),
                "saves_digests": self.saves_digests,
                "repeated_ids": sorted(repeated),
                "taken_ids": sorted(taken),
            }
        )

    def load_repeats(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of `repeats`, and those that an earlier partition has first."""
        loaded = [one.load() for one in self.repeats]
        repeated, taken = zip(*loaded, strict=True) if loaded else ((), ())
        return frozenset().union(*repeated), frozenset().union(*taken)
