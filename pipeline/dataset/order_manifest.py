"""The manifest of a published order: made once by reading it all, compared ever after without it.

Enters: where ordered rows are. Leaves: their ledger, what is known of windows and files, and the
commit that they were read at, in one file of kilobytes. As every manifest it carries its own digest
and has one spelling. Both kinds of manifest are read here, so that either can be compared with.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core.errors import InputError, MismatchError, OutputError
from pipeline.core.files import publish
from pipeline.core.progress import ReportProgress
from pipeline.dataset.ledger import (
    Ledger,
    LedgerSpan,
    join,
    multiset_of,
    root_of_multiset,
    row_digests,
)
from pipeline.dataset.manifest import FORMAT as BUILD_FORMAT
from pipeline.dataset.manifest import Manifest, manifest_bytes, read_manifest
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.open import open_rows
from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.paths import MANIFEST, ORDER
from pipeline.storage import is_hub_address, open_hub_folder

FORMAT = "ettin-order-v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestWindow:
    """Consecutive rows with a name."""

    name: str
    """Its folder."""
    start: int
    """Its first row."""
    stop: int
    """One past its last row."""
    multiset_root: str | None
    """The sum of its rows' digests, as hex, where it is known."""


def windows_of(counted: Iterable[tuple[str, int, str | None]]) -> tuple[ManifestWindow, ...]:
    """Return windows that follow one another, from names, numbers of rows, and roots."""
    windows = []
    row = 0
    for name, num_rows, root in counted:
        windows.append(
            ManifestWindow(name=name, start=row, stop=row + num_rows, multiset_root=root)
        )
        row += num_rows
    return tuple(windows)


def manifest_windows(manifest: Manifest) -> tuple[ManifestWindow, ...]:
    """Return the windows that a manifest of either kind tells of.

    Raises: KeyError or TypeError when it tells of none.
    """
    holder = manifest if manifest["format"] == FORMAT else manifest["order"]
    folders = [PurePosixPath(one["folder"]).as_posix() for one in holder["windows"]]
    return windows_of(
        (folder.removeprefix(f"{ORDER}/"), one["num_rows"], one["multiset_root"])
        for folder, one in zip(folders, holder["windows"], strict=True)
    )


def manifest_ledger(manifest: Manifest) -> Ledger:
    """Return the ledger of a manifest of either kind. Raises: as `Ledger.from_description`."""
    holder = manifest if manifest["format"] == FORMAT else manifest["order"]
    return Ledger.from_description(holder["ledger"])


def format_of(path: Path) -> str | None:
    """Return the format that a manifest says it is of, whether it is whole or not.

    None where there is none, or nothing that names a format.
    """
    try:
        written = json.loads(path.read_bytes())["format"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return written if isinstance(written, str) else None


def is_output(folder: Path) -> bool:
    """Tell whether a folder is the output of a build, whole or not, by its manifest.

    Beside a published order may lie a manifest of it, or one that has nothing to do with us.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    written = format_of(path)
    # One that cannot be read any more is a build's where its rows are.
    return written == BUILD_FORMAT or (written != FORMAT and (folder / ORDER).is_dir())


def read_either(path: Path) -> Manifest:
    """Read a manifest of a build or of a published order.

    Raises: InputError when it is none of them, or not as it was written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        content: Manifest = json.loads(data)
        written = content["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: got a file that is no manifest, expected one of a build, or one that "
            "`ettin-data digest` wrote"
        ) from error
    if written not in (BUILD_FORMAT, FORMAT):
        raise InputError(
            f"{path}: got a manifest of format {written!r}, expected {BUILD_FORMAT} or {FORMAT}",
            "use the version of ettin-data that wrote it, or make it again with this one",
        )
    damaged = InputError(
        f"{path}: is not as it was written: its digest does not match its content",
        "get the manifest again",
    )
    try:
        if written == BUILD_FORMAT:
            read_manifest(path)
        elif manifest_bytes(content) != data:
            raise damaged
        ledger = manifest_ledger(content)
        windows = manifest_windows(content)
    except MismatchError as error:
        raise InputError(
            error.message,
            "get the manifest again, or make it again with this version of ettin-data",
        ) from error
    except KeyError as error:
        raise InputError(
            f"{path}: has no {error}, which manifests of this version have",
            "make it again with this version of ettin-data",
        ) from error
    except (ValueError, TypeError) as error:
        raise damaged from error
    if windows and windows[-1].stop != ledger.num_rows:
        raise damaged
    return content


def order_windows(rows: PublishedOrder) -> tuple[ManifestWindow, ...]:
    """Return the windows of a published order; the footers of all its files are read for it."""
    # Asked for first, since that reads several footers at once.
    num_rows = rows.num_rows
    windows = windows_of(
        (one.folder, rows.phase(one.phase).window(one.number).num_rows, None)
        for one in rows.windows
    )
    assert not windows or windows[-1].stop == num_rows
    return windows


def digest_order(
    where: str, report: ReportProgress, *, phase: str | None = None, is_part: bool = False
) -> Manifest:
    """Read a published order, or the output of a build, once; return its manifest.

    `phase`: which one is meant, where an order has several, since rows count anew in each.
    `is_part`: whether it need not be one whole phase, as what is not kept need not be.

    Memory is bounded: of each row its digest is kept, and of 1,024 of those one.
    Raises: InputError when there are no rows to be read, or they are not those of one whole phase.
    """
    rows, windows, view = _open(where, phase, is_part=is_part)
    span = LedgerSpan(start_row=0)
    described = []
    for window in windows:
        multiset = num_tokens = 0
        for block in rows.read(window.start, window.stop):
            digests = row_digests(block.values, block.offsets)
            span.add(digests)
            multiset += multiset_of(digests)
            num_tokens += len(block.values)
            report("digest", span.num_rows, rows.num_rows)
        described.append(
            {
                "folder": window.name,
                "first_row": window.start,
                "num_rows": window.stop - window.start,
                "num_tokens": num_tokens,
                "multiset_root": root_of_multiset(multiset),
            }
        )
    return {
        "format": FORMAT,
        "where": where,
        "view": view,
        "num_rows": rows.num_rows,
        "num_tokens": sum(window["num_tokens"] for window in described),
        "ledger": join([span]).describe(),
        "windows": described,
        **_describe(rows),
    }


def check_order_manifest_path(path: Path) -> None:
    """Check that a manifest of a published order may be written to a path.

    Raises: OutputError when something is there that is no such manifest.
    """
    if path.is_dir():
        raise OutputError(f"{path}: got a folder, expected the name of a file to write")
    if path.exists() and not (path.is_file() and format_of(path) == FORMAT):
        raise OutputError(
            f"{path}: got something that is no manifest of a published order, expected such a one, "
            "or nothing, since it would be replaced",
            "name a file that is not there yet, or remove this one first",
        )


def write_order_manifest(content: Manifest, path: Path) -> None:
    """Publish a manifest of a published order as one file, in place of an older one.

    Raises: OutputError when it cannot be written, or something else is there.
    """
    check_order_manifest_path(path)
    with publish(path, path.absolute().parent) as temporary:
        temporary.write_bytes(manifest_bytes(content))


def _open(
    where: str, phase: str | None, *, is_part: bool
) -> tuple[PublishedOrder | MdsRows, tuple[ManifestWindow, ...], str | None]:
    """Open rows; return them, their windows, and their view if it is known."""
    rows = open_rows(where, wrap=True)
    if isinstance(rows, PublishedOrder) and not is_part:
        rows = _whole_phase(rows, where, phase)
    own = Path(where)
    # What a manifest of a published order that lies beside it says may be of other rows.
    view = read_either(own / MANIFEST)["order"]["view"] if is_output(own) else None
    windows = _folders(rows) if isinstance(rows, MdsRows) else order_windows(rows)
    return rows, windows, view


def _whole_phase(rows: PublishedOrder, where: str, phase: str | None) -> PublishedOrder:
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
    return rows


def _folders(rows: MdsRows) -> tuple[ManifestWindow, ...]:
    """Return the folders of a pool's shards, those of one folder that follow one another as one."""
    root = Path(rows.where)
    counted = zip(rows.pool.shards, rows.pool.num_rows.tolist(), strict=True)
    groups = groupby(counted, key=lambda one: one[0].path.parent)
    return windows_of(
        (
            # Shards that lie in no folder are named by that of the pool.
            folder.name if folder == root else folder.relative_to(root).as_posix(),
            sum(num_rows for _, num_rows in group),
            None,
        )
        for folder, group in groups
    )


def _describe(rows: PublishedOrder | MdsRows) -> dict[str, Any]:
    """Return what identifies the files that rows were read from."""
    if isinstance(rows, MdsRows):
        root = Path(rows.where)
        paths = [shard.path.relative_to(root).as_posix() for shard in rows.pool.shards]
        commit, sizes = None, {path: (root / path).stat().st_size for path in paths}
    elif is_hub_address(rows.where):
        folder = open_hub_folder(rows.where)
        commit, sizes = folder.commit, {one.path: folder.num_bytes[one.path] for one in rows.files}
    else:
        root = Path(rows.where) if Path(rows.where).is_dir() else Path(rows.where).parent
        commit, sizes = None, {one.path: (root / one.path).stat().st_size for one in rows.files}
    return {
        "commit": commit,
        "dtype": rows.dtype,
        # Ids that were negative in a type too narrow for them, and were read modulo its width.
        "num_wrapped": 0 if isinstance(rows, MdsRows) else rows.num_wrapped,
        "granularity": "sequence" if isinstance(rows, MdsRows) else rows.granularity,
        "files": {path: {"bytes": size} for path, size in sizes.items()},
    }
