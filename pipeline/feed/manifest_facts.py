"""What the manifest of a build tells a feed of the order beside it.

Enters: the bytes of a manifest. Leaves: its ledger, what the order was made for, and which files
hold how many rows, so that an order can be opened whatever became of its files.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import (
    FORMAT,
    MANIFEST,
    ORDER,
    Ledger,
    Manifest,
    OrderedWindow,
    format_of,
    parse_manifest,
)
from pipeline.dataset.mds import INDEX_NAME
from pipeline.dataset.parquet import arrange


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFacts:
    """What a manifest tells."""

    about: dict[str, Any]
    """Fields of a `FeedOrder`."""
    ledger: Ledger
    """Digests of its rows."""
    digests: dict[str, str]
    """By path below the folder of the order, the sha256 of each file."""
    num_rows: dict[str, int] | None
    """By path there, the rows of each parquet file of steps; None where it holds others."""


def read_manifest_facts(data: bytes, where: str) -> ManifestFacts | None:
    """Return what the manifest of a build says; None for one of something else.

    Raises: MismatchError for one that is damaged, or lacks what is read here.
    """
    # A damaged one, which names no format, must not pass for none.
    if format_of(data) not in (FORMAT, None):
        return None
    where = f"{where}/{MANIFEST}"
    manifest = parse_manifest(data, where)
    assert isinstance(manifest, Manifest)
    try:
        return _describe(manifest)
    except (KeyError, TypeError, InputError) as error:
        raise MismatchError(
            f"{where}: got a manifest that lacks what this version reads: {error}",
            "build again to write it",
        ) from error


def _describe(manifest: Manifest) -> ManifestFacts:
    """Raises: KeyError, TypeError or InputError for what its declaration or its files lack."""
    order, declared = manifest.order, manifest.mixture.declaration
    prefix = f"{ORDER}/"
    digests = {
        path.removeprefix(prefix): file.sha256
        for path, file in manifest.files.items()
        if path.startswith(prefix)
    }
    about = {
        "digest": order.ledger.sequence_root,
        "manifest": manifest,
        "view": order.view,
        "num_rows_per_step": declared["order"]["global_batch_size"],
        "max_seq_len": declared["order"]["max_seq_len"],
        "tokenizer_digest": manifest.tokenizer.sha256,
        "phase": declared["phase"],
    }
    num_rows = _rows_of_files(digests, order.windows)
    return ManifestFacts(
        about=about, ledger=order.ledger.load(), digests=digests, num_rows=num_rows
    )


def _rows_of_files(
    paths: Collection[str], windows: Sequence[OrderedWindow]
) -> dict[str, int] | None:
    """Return the rows of each parquet file of steps; all steps of a window are equally long."""
    if INDEX_NAME in paths or any(one.num_rows % max(one.num_steps, 1) for one in windows):
        return None
    names = [path for path in paths if "/" in path and path.endswith(".parquet")]
    per_step = {
        window.folder.removeprefix(f"{ORDER}/"): window.num_rows // window.num_steps
        for window in windows
        if window.num_steps
    }
    files = arrange(ORDER, names) if names else ()
    return {file.path: (file.num_steps or 0) * per_step[file.window.folder] for file in files}
