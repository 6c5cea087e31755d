"""Open an order: the output of a build, published parquet, MDS shards, or a manifest alone.

It lies at a path or an address: `hf://datasets/ORG/NAME[@REVISION][/PATH]`, `https://`, `s3://`, or
another scheme of fsspec. The digest of an `Order` is the same wherever the same order lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.bundled import manifest_path
from pipeline.core.digest import fingerprint
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.json_record import ABSENT
from pipeline.dataset.index_order import open_index_rows
from pipeline.dataset.ledger import Ledger
from pipeline.dataset.manifest import (
    Manifest,
    ManifestWindow,
    is_build,
    manifest_windows,
    parse_manifest,
    read_either,
    without_order,
)
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.order_folder import Folder, as_path, list_local, list_remote
from pipeline.dataset.parquet.reader import CLS_ID, PublishedOrder
from pipeline.dataset.parquet.windows import arrange
from pipeline.dataset.paths import INDEX_NAME, MANIFEST, ORDER, PARTIAL, TOKENIZER
from pipeline.dataset.rows import CheckedRows, MissingRows, RowReader
from pipeline.dataset.shared_digests import SharedDigests
from pipeline.order import PermutationKey, View, load_permutation, save_permutation
from pipeline.storage import RemoteFolder

_FORMAT = "ettin-feed-order-v1"
_BELOW = f"{ORDER}/"
_CHECK = "check the path"


@dataclass(frozen=True, kw_only=True)
class Order:
    """An open order, pickled as the call that opened it. What is not known of it is None."""

    where: str
    """The path or address, of the Hub with the commit."""
    rows: RowReader = field(repr=False)
    digest: str
    """64 hex digits that identify the order."""
    manifest: Manifest | None = field(default=None, repr=False)
    """The manifest of the build that made it."""
    ledger: Ledger | None = field(default=None, repr=False)
    """Digests of its rows, from a manifest."""
    windows: tuple[ManifestWindow, ...] = field(default=(), repr=False)
    view: View | None = None
    """The view that its rows were written under."""
    num_rows_per_step: int | None = None
    """The global batch size that it was made for."""
    max_seq_len: int | None = None
    tokenizer_digest: str | None = None
    """sha256 of the `tokenizer.json` that made its ids."""
    read_tokenizer: Callable[[], bytes] | None = field(default=None, repr=False)
    """The call that reads it, where the output has a copy."""
    phase: str = ""
    reopens: Callable[[], "Order"] | None = field(default=None, repr=False)
    """The call that opens it in another process."""

    @property
    def has_rows(self) -> bool:
        """Whether its rows can be read; not of a manifest alone."""
        return not isinstance(self.rows, MissingRows)

    def file_of(self, row: int) -> str:
        return self.rows.file_of(row)

    def for_ranks(self) -> "Order":
        """Return the order for one of several ranks; those of a host check each row once."""
        if not isinstance(self.rows, CheckedRows):
            return self
        shared = SharedDigests(ledger=self.rows.ledger)
        reopens = None if self.reopens is None else partial(_reopen_for_ranks, self.reopens)
        return replace(self, rows=replace(self.rows, shared=shared), reopens=reopens)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.reopens is None:
            return super().__reduce__()
        return _reopen, (self.reopens, self.digest)


def open(
    where: str | Path,
    *,
    checks: bool = True,
    phase: str | None = None,
    all_phases: bool = False,
    cls_id: int = CLS_ID,
) -> Order:
    """Open an order.

    checks: compare rows with the ledger of the build, if there is one; phase: the phase to open, if
    there are several; all_phases: open all in turn; cls_id: the id at which to split a row of
    parquet that holds a whole batch in one list.

    Raises: InputError when there is no order, or several phases and none was chosen; MismatchError
    when it differs from its manifest, NotFoundError for a phase that it does not have.
    """
    path = as_path(where)
    if path is not None and not (path.is_dir() or path.suffix == ".parquet"):
        return _open_manifest(str(where), path)
    place, folder, build = _find(str(where), None if path is None else path.absolute())
    rows: RowReader
    about: dict[str, Any] = {}
    if build is not None and build.is_index:
        rows = _index_rows(place, build, isinstance(folder, RemoteFolder))
    elif INDEX_NAME in folder.num_bytes:
        rows = shards = MdsRows.of(folder, {} if build is None else build.digests)
        identity: dict[str, Any] = {"index": shards.index_sha256}
    else:
        num_rows = None if build is None or isinstance(folder, RemoteFolder) else build.num_rows
        order = PublishedOrder.of(folder, num_rows=num_rows, cls_id=cls_id)
        rows = order = order if all_phases else _one_phase(order, phase)
        about["phase"] = order.phases[0] if order.phases else ""
        files = sorted(file.path for file in order.files)
        identity = {"files": [[file, folder.num_bytes.get(file)] for file in files]}
    if build is None:
        about["digest"] = fingerprint({"format": _FORMAT, **identity})
    else:
        about = build.about
        _check_num_rows(place, build, rows)
        if checks and not isinstance(rows, MissingRows):
            rows = CheckedRows(rows=rows, ledger=build.about["ledger"])
    reopens = partial(open, place, checks=checks, phase=phase, all_phases=all_phases, cls_id=cls_id)
    return Order(where=place, rows=rows, reopens=reopens, **about)


def open_pool(folder: Path, key: PermutationKey, scratch: Path) -> Order:
    """Open a pool of MDS shards in the order of a permutation, which may be stored in `scratch`.

    Raises: InputError when there is no pool, or its number of rows is not that of the key;
    ConfigError as `save_permutation`.
    """
    rows = MdsRows.of(list_local(folder, parquet=False), {})
    if rows.num_rows != key.num_samples:
        raise InputError(
            f"{folder}: got {rows.num_rows:,} rows, expected {key.num_samples:,} by the key of the"
            " order"
        )
    save_permutation(key, scratch, scratch)
    identity = {"format": _FORMAT, "index": rows.index_sha256, "order": asdict(key)}
    return Order(
        where=str(folder),
        rows=replace(rows, order=load_permutation(key, scratch)),
        digest=fingerprint(identity),
        reopens=partial(open_pool, folder, key, scratch),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Build:
    """What the manifest of a build says of its order; paths are below the folder of the order."""

    about: dict[str, Any]
    digests: Mapping[str, str]
    """sha256 of each file."""
    num_rows: Mapping[str, int] | None
    """Rows of each parquet file of steps; None if they are not known, or there are shards."""

    @property
    def is_index(self) -> bool:
        """Whether its rows are not written, and lie in a pool alone."""
        return self.about["manifest"].order.pool is not ABSENT


def _find(where: str, path: Path | None) -> tuple[str, Folder, _Build | None]:
    """Return the path or address, of the Hub with the commit; the folder of the rows; the build."""
    folder: Folder
    if path is None:
        folder = list_remote(where)
        where = f"{folder.where}/{next(iter(folder.num_bytes))}" if folder.is_file else folder.where
        has_order = _has_order(folder)
    elif not path.exists():
        raise InputError(f"{path}: not found, expected an order or a pool", _CHECK)
    else:
        folder, where = list_local(path, parquet=False), str(path)
        has_order = (path / ORDER).is_dir()
    build = None
    if PARTIAL in folder.num_bytes and not {MANIFEST, INDEX_NAME} & folder.num_bytes.keys():
        raise InputError(*without_order(where))
    if MANIFEST in folder.num_bytes:
        build = _read_build(folder.read(MANIFEST), where, has_order=has_order)
    if build is not None and TOKENIZER in build.about["manifest"].files:
        build.about["read_tokenizer"] = partial(folder.read, TOKENIZER)
    # Files that a manifest names are looked for only when they are read.
    if path is not None and (build is None or build.num_rows is None):
        folder = list_local(path)
    if build is None and (INDEX_NAME in folder.num_bytes or not _has_order(folder)):
        return where, folder, None
    return where, folder.below(ORDER), build


def _has_order(folder: Folder) -> bool:
    return any(path.startswith(_BELOW) for path in folder.num_bytes)


def _read_build(data: bytes, where: str, *, has_order: bool) -> _Build | None:
    """Read the manifest of a build; None for a manifest of something else."""
    if not is_build(data, has_order=has_order):
        return None
    where = f"{where}/{MANIFEST}"
    manifest = parse_manifest(data, where)
    assert isinstance(manifest, Manifest)
    order, declared = manifest.order, manifest.mixture.declaration
    try:
        num_rows = _rows_of_files(manifest)
        about = {
            "digest": order.ledger.sequence_root,
            "manifest": manifest,
            "ledger": order.ledger.load(),
            "windows": manifest_windows(manifest),
            "view": order.view,
            "num_rows_per_step": manifest.num_rows_per_step,
            "max_seq_len": declared["order"]["max_seq_len"],
            "tokenizer_digest": manifest.tokenizer.sha256,
            "phase": declared["phase"],
        }
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise MismatchError(
            f"{where}: got a manifest that lacks what this version reads: {error}",
            "build again to write it",
        ) from error
    digests = {path.removeprefix(_BELOW): file.sha256 for path, file in manifest.files.items()}
    return _Build(about=about, digests=digests, num_rows=num_rows)


def _index_rows(where: str, build: _Build, is_remote: bool) -> RowReader:
    manifest = build.about["manifest"]
    if not is_remote:
        return open_index_rows(Path(where), manifest)
    return MissingRows(
        where=where,
        num_rows=manifest.order.num_rows,
        got="an order whose rows lie all over a pool, at an address",
        hint="get the folder first, with its pool; or write its rows, by `ettin-data order DIR"
        " --materialise`, before it is put there",
    )


def _rows_of_files(manifest: Manifest) -> dict[str, int] | None:
    """Return the rows of each parquet file of steps; None unless steps of a window are equal."""
    windows = manifest.order.windows
    paths = [path.removeprefix(_BELOW) for path in manifest.files if path.startswith(_BELOW)]
    if INDEX_NAME in paths or any(one.num_rows % max(one.num_steps, 1) for one in windows):
        return None
    names = [path for path in paths if "/" in path and path.endswith(".parquet")]
    per_step = {
        window.folder.removeprefix(_BELOW): window.num_rows // window.num_steps
        for window in windows
        if window.num_steps
    }
    files = arrange(ORDER, names) if names else ()
    return {
        file.path: (file.steps.stop - file.steps.start) * per_step[file.window.folder]
        for file in files
        if file.steps
    }


def _check_num_rows(where: str, build: _Build, rows: RowReader) -> None:
    expected = build.about["ledger"].num_rows
    if expected == rows.num_rows:
        return
    there = {file.path for file in rows.files} if isinstance(rows, PublishedOrder) else set()
    gone = [f"{ORDER}/{path}" for path in build.num_rows or () if path not in there]
    missing = f"; missing: {', '.join(gone)}" if gone else ""
    raise MismatchError(
        f"{where}: got {rows.num_rows:,} rows, expected {expected:,} by its manifest{missing}",
        "build or pull it again",
    )


def _one_phase(order: PublishedOrder, phase: str | None) -> PublishedOrder:
    if phase is not None:
        return order.phase(phase)
    if len(order.phases) > 1:
        raise InputError(
            f"{order.where}: got an order of several phases ({', '.join(order.phases)}), expected"
            " one, since each is a training of its own",
            "choose one with phase (--phase), or name the folder of a window",
        )
    return order


def _open_manifest(where: str, path: Path) -> Order:
    """Open a manifest alone, by its path or shipped name."""
    try:
        path = manifest_path(where)
    except ConfigError as error:
        raise _unknown(where, error.message) from error
    if not path.exists():
        raise _unknown(where, _CHECK)
    manifest = read_either(path)
    return Order(
        where=str(path),
        rows=MissingRows(where=str(path), num_rows=manifest.order.num_rows),
        digest=manifest.order.ledger.sequence_root,
        manifest=manifest if isinstance(manifest, Manifest) else None,
        ledger=manifest.order.ledger.load(),
        windows=manifest_windows(manifest),
        view=manifest.order.view,
        reopens=partial(open, path),
    )


def _unknown(where: str, hint: str) -> InputError:
    return InputError(
        f"{where}: not found, expected an order: a manifest or its shipped name, an output,"
        " a folder or address of ordered parquet, or a folder of MDS shards with index.json",
        hint,
    )


def _reopen(reopens: Callable[[], Order], digest: str) -> Order:
    order = reopens()
    if order.digest != digest:
        raise MismatchError(
            f"{order.where}: got the order {order.digest}, expected {digest} as in the process that"
            " opened it first",
            "run again when nothing changes it any more",
        )
    return order


def _reopen_for_ranks(reopens: Callable[[], Order]) -> Order:
    return reopens().for_ranks()
