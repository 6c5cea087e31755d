"""Partition task: everything that a folder of shards is made from one input file with."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.config import ChunkSpec, ShardSpec, TokenizerSpec, to_plain
from pipeline.core.digest import fingerprint
from pipeline.runner.tasks.read_documents import Input
from pipeline.version import VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionTask:
    """Everything that one partition is made from, as declared in the mixture."""

    out: Path
    folder: str
    """Where the shards go, relative to `out`."""
    input: Input
    tokenizer: TokenizerSpec
    tokenizer_digest: str
    """sha256 of its `tokenizer.json`."""
    chunk: ChunkSpec
    shards: ShardSpec
    skips_bad: bool
    """Whether bad documents are dropped and counted instead of stopping the build."""
    keep_dropped: Fraction | None
    """The share of the dropped documents that is kept in files."""
    saves_digests: bool
    """Whether to save the digests of texts, by which the holdout is chosen."""
    repeated_ids: frozenset[str] = frozenset()
    """Ids that the source has more than once; only the first document of each is kept."""
    taken_ids: frozenset[str] = frozenset()
    """Those of `repeated_ids` whose first document is in an earlier partition."""

    @property
    def source(self) -> str:
        """The source that the file belongs to."""
        return self.input.source

    @property
    def name(self) -> str:
        """The task's name, unique in a build."""
        return f"partitions/{self.source}/{self.input.file.partition}"

    @property
    def key(self) -> str:
        """Fingerprint of all that decides the bytes except the bytes of the input."""
        return fingerprint(
            {
                "version": VERSION,
                "folder": self.folder,
                "input": self.input.declaration(),
                "tokenizer": [self.tokenizer_digest, self.tokenizer.add_prefix_space],
                "chunk": to_plain(self.chunk),
                "shards": to_plain(self.shards),
                "skips_bad": self.skips_bad,
                "keep_dropped": to_plain(self.keep_dropped),
                "saves_digests": self.saves_digests,
                "repeated_ids": sorted(self.repeated_ids),
                "taken_ids": sorted(self.taken_ids),
            }
        )
