"""The manifest of a published order: read the order once, compare with its manifest later."""

from itertools import groupby
from pathlib import Path

from pipeline.core.errors import InputError, OutputError
from pipeline.core.files import publish_beside
from pipeline.core.progress import ReportProgress, Work
from pipeline.core.regular_file import read_file
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.index_order import IndexRows
from pipeline.dataset.ledger import LedgerSpan, join, multiset_of, root_of_multiset
from pipeline.dataset.manifest import (
    ORDER_FORMAT,
    FileSize,
    ManifestWindow,
    OrderManifest,
    PublishedWindow,
    format_of,
    is_build,
    manifest_bytes,
    windows_of,
)
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.open import open
from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.paths import MANIFEST, ORDER, PARTIAL, STATE
from pipeline.dataset.rows import MissingRows
from pipeline.order import View


def is_output(folder: Path) -> bool:
    """Return whether a folder is the output of a build, complete or not, by its manifest."""
    path = folder / MANIFEST
    return path.is_file() and is_build(_read(path), has_order=(folder / ORDER).is_dir())


def is_build_folder(folder: Path) -> bool:
    """Return whether a folder is the output of a build, or a build has begun in it."""
    return (folder / STATE).is_dir() or is_output(folder) or (folder / PARTIAL).is_file()


def _read(path: Path) -> bytes:
    """Return the bytes of a file; none if it is unreadable."""
    try:
        return read_file(path)
    except OSError:
        return b""


def order_windows(rows: PublishedOrder) -> tuple[ManifestWindow, ...]:
    """Return the windows of a published order, from the footers of all its files."""
    # First, since this reads several footers at once.
    num_rows = rows.num_rows
    windows = windows_of(
        (one.folder, rows.phase(one.phase).window(one.number).num_rows, None)
        for one in rows.windows
    )
    assert not windows or windows[-1].stop == num_rows
    return windows


def digest_order(
    where: str, report: ReportProgress, *, phase: str | None = None, is_part: bool = False
) -> OrderManifest:
    """Read a published order, or the output of a build, once; return its manifest.

    phase: the phase to read, if there are several; is_part: whether part of a phase will do.

    Raises: InputError when there are no rows, or not those of one whole phase.
    """
    rows, windows, view = _open(where, phase, is_part=is_part)
    span = LedgerSpan(start_row=0)
    described = []
    all_tokens = 0
    for window in windows:
        multiset = num_tokens = 0
        for block in rows.read(window.start, window.stop):
            digests = row_digests(block.values, block.offsets)
            span.add(digests)
            multiset += multiset_of(digests)
            num_tokens += len(block.values)
            all_tokens += len(block.values)
            work = Work(unit="rows", num_tokens=all_tokens)
            report("digest", span.num_rows, rows.num_rows, work)
        described.append(
            PublishedWindow(
                folder=window.name,
                first_row=window.start,
                num_rows=window.stop - window.start,
                num_tokens=num_tokens,
                multiset_root=root_of_multiset(multiset),
            )
        )
    commit, sizes = _files(rows)
    return OrderManifest(
        where=where,
        commit=commit,
        view=view,
        dtype=rows.dtype,
        num_wrapped=rows.num_wrapped,
        granularity=rows.granularity,
        num_rows=rows.num_rows,
        num_tokens=sum(window.num_tokens for window in described),
        ledger=join([span]).describe(),
        windows=tuple(described),
        files={path: FileSize(num_bytes=size) for path, size in sizes.items()},
    )


def check_order_manifest_path(path: Path) -> None:
    """Check that a path is free, or has a manifest of a published order. Raises: OutputError."""
    if path.is_dir():
        raise OutputError(f"{path}: got a folder, expected the name of a file to write")
    if path.exists() and not (path.is_file() and format_of(_read(path)) == ORDER_FORMAT):
        raise OutputError(
            f"{path}: got a file that is not the manifest of a published order, expected one to "
            "replace, or no file",
            "name a file that is not there yet, or remove this one first",
        )


def write_order_manifest(manifest: OrderManifest, path: Path) -> None:
    """Publish the manifest of a published order. Raises: OutputError, also as the check above."""
    check_order_manifest_path(path)
    with publish_beside(path) as temporary:
        temporary.write_bytes(manifest_bytes(manifest))


def _open(
    where: str, phase: str | None, *, is_part: bool
) -> tuple[PublishedOrder | MdsRows | IndexRows, tuple[ManifestWindow, ...], View | None]:
    order = open(where, checks=False, all_phases=True)
    rows = order.rows
    if isinstance(rows, MissingRows):
        raise rows.error()
    if isinstance(rows, MdsRows):
        return rows, _folders(rows), order.view
    if isinstance(rows, IndexRows):
        return rows, order.windows, order.view
    assert isinstance(rows, PublishedOrder)
    if is_part:
        return rows, order_windows(rows), order.view
    if phase is not None:
        rows = rows.phase(phase)
    elif len(rows.phases) > 1:
        raise InputError(
            f"{where}: got an order of several phases ({', '.join(rows.phases)}), expected one",
            "choose one with --phase, and digest each to a file of its own",
        )
    first = rows.windows[0].number if rows.windows else 1
    if first != 1:
        raise InputError(
            f"{where}: got an order that begins with window {first}, expected one from window 1",
            "digest the whole phase; verify --against takes one window as it is",
        )
    return rows, order_windows(rows), order.view


def _folders(rows: MdsRows) -> tuple[ManifestWindow, ...]:
    """Return the folders of a pool's shards as windows; adjacent shards of one folder are one."""
    root = Path(rows.where)
    counted = zip(rows.pool.shards, rows.pool.num_rows.tolist(), strict=True)
    groups = groupby(counted, key=lambda one: one[0].path.parent)
    return windows_of(
        (
            # Shards outside any folder are named after the pool.
            folder.name if folder == root else folder.relative_to(root).as_posix(),
            sum(num_rows for _, num_rows in group),
            None,
        )
        for folder, group in groups
    )


def _files(rows: PublishedOrder | MdsRows | IndexRows) -> tuple[str | None, dict[str, int]]:
    if isinstance(rows, PublishedOrder):
        folder = rows.folder
        # Files that a manifest names were not listed.
        return folder.commit, {
            one.path: folder.num_bytes.get(one.path) or Path(folder.where, one.path).stat().st_size
            for one in rows.files
        }
    if isinstance(rows, IndexRows):
        return None, {}
    root = Path(rows.where)
    sizes = {one.path.relative_to(root).as_posix(): one.num_bytes for one in rows.pool.shards}
    return rows.commit, sizes
