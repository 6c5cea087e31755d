"""The record of partitions that were built alone: `partial.json`, in place of a manifest.

Such an output has shards and their digests, and neither a whole pool nor an order.
`docs/spec/manifest.md` describes the keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core.digest import FileDigest, fingerprint
from pipeline.core.errors import MismatchError
from pipeline.core.json_record import stored_fields
from pipeline.core.regular_file import read_file
from pipeline.dataset.manifest import MixtureRecord, TokenizerRecord
from pipeline.dataset.partition_counts import PartitionRecord
from pipeline.dataset.paths import PARTIAL
from pipeline.dataset.sealed_json import parse_sealed, seal

_FORMAT: Final = "ettin-partial-v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialManifest:
    """Partitions of a mixture that were built alone."""

    code: str
    mixture: MixtureRecord
    """The whole mixture."""
    lock: str | None
    """The digest of the lock, narrowed to the files that were read."""
    tokenizer: TokenizerRecord
    partitions: tuple[str, ...]
    """`source/partition` of each, sorted."""
    differences: tuple[str, ...]
    """What may be otherwise in the whole build, a line each."""
    sources: Mapping[str, tuple[PartitionRecord, ...]]
    files: Mapping[str, FileDigest]

    @property
    def identity(self) -> str:
        return partial_identity(self.mixture.fingerprint, self.partitions)

    def paths(self) -> Iterable[str]:
        """Yield every path that it names."""
        yield from self.files
        for records in self.sources.values():
            for one in records:
                yield from (one.task, one.folder, *one.files)


def partial_identity(fingerprint_: str, partitions: Sequence[str]) -> str:
    """Return the fingerprint of partitions of the mixture of a fingerprint. Pure."""
    return fingerprint([PARTIAL, fingerprint_, list(partitions)])


def partial_bytes(manifest: PartialManifest) -> bytes:
    return seal({"format": _FORMAT, **stored_fields(manifest)})


def read_partial(path: Path) -> PartialManifest:
    """Read the record of partitions built alone. Raises: MismatchError unless whole and valid."""
    try:
        data = read_file(path)
    except OSError as error:
        raise MismatchError(
            f"{path}: cannot be read: {error.strerror}", "build the partitions again"
        ) from error
    return parse_sealed(data, str(path), {_FORMAT: PartialManifest}, _check)


def _check(manifest: PartialManifest) -> None:
    records = (one for made in manifest.sources.values() for one in made)
    named = {path for one in records for path in one.files}
    if missing := sorted(named - manifest.files.keys()):
        raise ValueError(f"files: got no {missing[0]}, which a partition names")
