"""Partition: everything that one input file is made into a folder of shards from, and its key."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pipeline.config import ChunkSpec, ShardSpec, TokenizerSpec, to_plain
from pipeline.core.digest import fingerprint
from pipeline.runner.tasks.read_documents import Input
from pipeline.version import VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionTask:
    """Everything that one partition is made from."""

    out: Path
    """The output folder, absolute."""
    folder: str
    """Where the shards go, relative to `out`."""
    input: Input
    """The input file, and what its documents must pass."""
    tokenizer: TokenizerSpec
    """As declared."""
    tokenizer_digest: str
    """sha256 of its `tokenizer.json`."""
    mixture_folder: Path
    """Against which a tokenizer's path is read, absolute."""
    chunk: ChunkSpec
    """As declared."""
    shards: ShardSpec
    """As declared."""
    skips_bad: bool
    """Whether bad documents are counted instead of stopping the build."""
    keep_dropped: Fraction | None
    """The part of the dropped documents that is kept aside."""
    saves_digests: bool
    """Whether the digests of texts are saved, by which documents are chosen for validation."""
    repeated_ids: frozenset[str] = frozenset()
    """Ids that the source has more than once; of each the first document counts."""
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
        """Fingerprint of all that decides the bytes, but for the bytes of the input."""
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
