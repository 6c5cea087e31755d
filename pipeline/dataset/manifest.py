"""Manifests: `Manifest` of a build, `OrderManifest` of a published order, pinned to bytes.

The same inputs give the same manifest, to the byte. It has its own digest and one spelling, so a
change of any byte is detected. `docs/spec/manifest.md` describes the keys.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.html_table import html_table
from pipeline.core.json_record import (
    ABSENT,
    Absent,
    key,
    parse_json,
    stored_fields,
    to_json,
)
from pipeline.core.regular_file import read_file
from pipeline.dataset.ledger import LedgerRecord
from pipeline.dataset.partition_counts import (
    ChunkCounts,
    DocumentCounts,
    PartitionRecord,
    TokenCounts,
)
from pipeline.dataset.paths import ORDER, PARTIAL, STATE, TRAIN
from pipeline.dataset.sealed_json import MIXTURE_SUFFIXES, parse_sealed, sealed_pieces
from pipeline.dataset.steps import OrderFormat, StepWindow
from pipeline.order import PermutationKey, View

FORMAT: Final = "ettin-manifest-v1"
ORDER_FORMAT: Final = "ettin-order-v1"
# The line of a build's manifest, which may be large, so that it need not be parsed twice.
_NAMED: Final = f'\n "format": "{FORMAT}"'.encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureRecord:
    """The mixture of a build."""

    name: str
    fingerprint: str
    declaration: Mapping[str, Any]
    """With defaults filled in."""
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerRecord:
    """The tokenizer of a build; an id is -1 where its template adds no such token."""

    name: str
    sha256: str
    cls_id: int
    sep_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRecord:
    """The token budget of a source."""

    expected: int | None
    asked: int
    available: int
    drawn: int
    num_repetitions: int
    overshoot: int
    repeated: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRecord:
    """A source: the sums over its partitions."""

    num_left_out: int = 0
    """What its patterns reach and is no readable file, where `on_missing` skips it."""
    num_unread: int = 0
    """Its files that the budget does not reach, of which nothing is counted."""
    filters: Mapping[str, str]
    documents: DocumentCounts
    tokens: TokenCounts
    chunks: ChunkCounts
    budget: BudgetRecord
    partitions: tuple[PartitionRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationCounts:
    """Evaluation texts that the sources were decontaminated from."""

    num_texts: int
    num_short: int
    num_wordless: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderedWindow(StepWindow):
    """The steps and rows between two checkpoints."""

    first_row: int
    num_rows: int
    multiset_root: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolRecord:
    """The pool that the rows of an order are read from."""

    folder: str | None
    """Below the output; None for a foreign pool, of which `order/pool.txt` says where it lies."""
    index_sha256: str
    num_bytes: int = key("bytes")
    """Of all its shards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderRecord:
    """The ordered rows of a build."""

    key: str
    algorithm: str
    seed: int
    epoch: int
    view: View
    format: OrderFormat
    num_samples: int
    num_steps: int
    num_rows: int
    num_rows_dropped: int
    num_tokens: int
    num_tokens_dropped: int
    num_tokens_cut: int
    num_tokens_beyond: int = 0
    """Ids of stored rows beyond `max_seq_len`: in the rows, but cut by every trainer of it."""
    num_tokens_added: int
    windows: tuple[OrderedWindow, ...]
    ledger: LedgerRecord
    root_sha256: str
    pool: PoolRecord | Absent = ABSENT
    """Where rows are not written; absent where they are."""

    @property
    def permutation_key(self) -> PermutationKey:
        return PermutationKey(
            algorithm=self.algorithm,
            num_samples=self.num_samples,
            seed=self.seed,
            epoch=self.epoch,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The manifest of a build."""

    FORMAT: ClassVar = FORMAT
    code: str
    mixture: MixtureRecord
    lock: str | None
    tokenizer: TokenizerRecord
    sources: Mapping[str, SourceRecord]
    evaluation: EvaluationCounts | Absent | None = ABSENT
    order: OrderRecord
    files: Mapping[str, FileDigest]

    @property
    def num_rows_per_step(self) -> int:
        """Rows of each step; in a miniature, fewer rows than a step has are one step."""
        declared = self.mixture.declaration
        batch: int = declared["order"]["global_batch_size"]
        is_miniature = Fraction(declared.get("scale", 1)) < 1
        return min(batch, max(self.order.num_samples, 1)) if is_miniature else batch

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        order, rows = self.order, []
        for name, one in self.sources.items():
            documents, budget = one.documents, one.budget
            dropped = documents.num_in - documents.kept
            numbers = (documents.kept, dropped, one.tokens.num_in, budget.asked, budget.drawn)
            rows.append([name, *map("{:,}".format, (*numbers, budget.repeated))])
        notes = [
            f"{order.num_steps:,} steps of {order.num_rows:,} rows, {order.num_tokens:,} tokens",
            f"{order.algorithm}, seed {order.seed}, view {order.view}",
            f"order {order.ledger.sequence_root}",
            f"fingerprint {self.mixture.fingerprint}",
        ]
        headings = ("documents", "dropped", "tokens", "asked", "sampled", "repeated")
        return html_table(f"manifest of {self.mixture.name}", notes, ("source",), headings, rows)

    def paths(self) -> Iterable[str]:
        """Yield every path that it names."""
        yield from self.files
        yield from (window.folder for window in self.order.windows)
        for source in self.sources.values():
            for partition in source.partitions:
                yield from (partition.task, partition.folder, *partition.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedWindow:
    """The rows of one folder of a published order."""

    folder: str
    first_row: int
    num_rows: int
    num_tokens: int
    multiset_root: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSize:
    """The size of a file that is not hashed."""

    num_bytes: int = key("bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderManifest:
    """The manifest of a published order."""

    FORMAT: ClassVar = ORDER_FORMAT
    where: str
    view: View | None
    num_rows: int
    num_tokens: int
    ledger: LedgerRecord
    windows: tuple[PublishedWindow, ...]
    commit: str | None
    dtype: str
    num_wrapped: int
    """Negative ids of a type too narrow for them, which were read modulo its width."""
    granularity: str
    files: Mapping[str, FileSize]

    @property
    def order(self) -> "OrderManifest":
        """Itself, so that both kinds have `order.num_rows`, `order.ledger` and `order.windows`."""
        return self

    def paths(self) -> Iterable[str]:
        """Yield nothing: none of its paths is read."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestWindow:
    """The rows `start` to `stop`, which are those of one folder."""

    name: str
    start: int
    stop: int
    multiset_root: str | None
    """The sum of their digests, as hex, if known."""


def windows_of(counted: Iterable[tuple[str, int, str | None]]) -> tuple[ManifestWindow, ...]:
    """Return consecutive windows, from names, numbers of rows, and roots."""
    windows = []
    row = 0
    for name, num_rows, root in counted:
        windows.append(
            ManifestWindow(name=name, start=row, stop=row + num_rows, multiset_root=root)
        )
        row += num_rows
    return tuple(windows)


def manifest_windows(manifest: Manifest | OrderManifest) -> tuple[ManifestWindow, ...]:
    return windows_of(
        (
            PurePosixPath(one.folder).as_posix().removeprefix(f"{ORDER}/"),
            one.num_rows,
            one.multiset_root,
        )
        for one in manifest.order.windows
    )


def content_of(manifest: Manifest | OrderManifest) -> dict[str, Any]:
    """Return a manifest as JSON values, without its digest."""
    return {"format": manifest.FORMAT, **to_json(manifest)}


def manifest_bytes(manifest: Manifest | OrderManifest) -> bytes:
    return b"".join(manifest_pieces(manifest))


def manifest_pieces(manifest: Manifest | OrderManifest) -> Iterator[bytes]:
    """Yield the bytes of a manifest, of which 70,000 partitions make 140 MB, in pieces."""
    return sealed_pieces({"format": manifest.FORMAT, **stored_fields(manifest)})


def format_of(data: bytes) -> str | None:
    """Return the format that JSON names, damaged or not; None if it names none."""
    if _NAMED in data:
        return FORMAT
    try:
        written = parse_json(data)["format"]
    except (ValueError, TypeError, KeyError):
        return None
    return written if isinstance(written, str) else None


def is_build(data: bytes, *, has_order: bool) -> bool:
    """Return whether this is the manifest of a build, damaged or not.

    has_order: whether `order/` lies beside it; then all but the manifest of a published order are,
    since a damaged one must not be ignored.
    """
    written = format_of(data)
    return written == FORMAT or (has_order and written != ORDER_FORMAT)


def parse_manifest(data: bytes, where: str) -> Manifest | OrderManifest:
    """Return a manifest of either kind. Raises: MismatchError unless it is whole and valid."""
    kinds: dict[str, type[Manifest | OrderManifest]] = {
        FORMAT: Manifest,
        ORDER_FORMAT: OrderManifest,
    }
    return parse_sealed(data, where, kinds, _check)


def _check(manifest: Manifest | OrderManifest) -> None:
    num_rows = manifest.order.ledger.load().num_rows
    if num_rows != sum(window.num_rows for window in manifest.order.windows):
        raise ValueError(f"order.windows: got other rows than the {num_rows} of the ledger")
    if isinstance(manifest, Manifest):
        sources = manifest.sources.values()
        named = {path for source in sources for one in source.partitions for path in one.files}
        if missing := sorted(named - manifest.files.keys()):
            raise ValueError(f"files: got no {missing[0]}, which a partition names")


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a build. Raises: MismatchError as `parse_manifest`."""
    try:
        data = read_file(path)
    except OSError as error:
        if path.with_name(PARTIAL).is_file():
            raise MismatchError(*without_order(str(path.parent))) from error
        if (path.parent / STATE).is_dir():
            raise MismatchError(
                f"{path}: is missing, since the build here is not finished",
                "run it again; after an --update that was refused, also with the mixture of before",
            ) from error
        if path.parent.is_file():
            got = "a mixture file" if path.parent.suffix in MIXTURE_SUFFIXES else "a file"
            raise MismatchError(
                f"{path.parent}: is {got}, expected the output of a build",
                "name the folder that `build` wrote",
            ) from error
        raise MismatchError(
            f"{path}: cannot be read: {error.strerror}", "build again to write it"
        ) from error
    manifest = parse_manifest(data, str(path))
    if not isinstance(manifest, Manifest):
        raise MismatchError(f"{path}: got the manifest of an order, expected that of a build")
    return manifest


def without_order(where: str) -> tuple[str, str]:
    """Return message and hint for an output of partitions that were built alone."""
    return (
        f"{where}: got partitions that were built alone ({PARTIAL}), expected a whole build",
        f"name the shards of one, {where}/{TRAIN}/SOURCE/PARTITION, or build the whole mixture into"
        " another folder",
    )


def read_either(path: Path) -> Manifest | OrderManifest:
    """Read a manifest of either kind. Raises: InputError as `parse_manifest`."""
    try:
        return parse_manifest(read_file(path), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except MismatchError as error:
        raise InputError(error.message, error.hint) from error
