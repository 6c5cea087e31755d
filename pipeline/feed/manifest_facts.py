"""What the manifest of a build tells a feed of the order beside it.

Enters: the bytes of a manifest. Leaves: its ledger, what the order was made for, and which files
hold how many rows, so that an order can be opened whatever became of its files.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import FORMAT, MANIFEST, ORDER, Ledger, Manifest, manifest_bytes
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


def _is_of_build(data: bytes) -> bool:
    """Tell whether this is a manifest of a build; beside rows may lie one of something else."""
    try:
        written = json.loads(data)["format"]
    except (ValueError, TypeError, KeyError):
        return True  # A damaged one must not pass for none.
    return bool(written == FORMAT)


def read_manifest_facts(data: bytes, where: str) -> ManifestFacts | None:
    """Return what a manifest of a build tells; None for one of something else.

    Raises: MismatchError for one that is damaged, or lacks what is read here.
    """
    if not _is_of_build(data):
        return None
    where = f"{where}/{MANIFEST}"
    try:
        manifest: Manifest = json.loads(data)
        is_whole = manifest_bytes(manifest) == data
    except (ValueError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise MismatchError(
            f"{where}: is not as it was written: its digest does not match its content",
            "get it again, or build again to write it",
        )
    try:
        return _describe(manifest)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise MismatchError(
            f"{where}: got a manifest that lacks what this version reads: {error}",
            "build again to write it",
        ) from error


def _describe(manifest: Manifest) -> ManifestFacts:
    """Raises: KeyError, TypeError, ValueError, AttributeError or InputError for what is missing."""
    order, declared = manifest["order"], manifest["mixture"]["declaration"]
    ledger = Ledger.from_description(order["ledger"])
    prefix = f"{ORDER}/"
    digests = {
        path.removeprefix(prefix): _text(one["sha256"])
        for path, one in manifest["files"].items()
        if path.startswith(prefix)
    }
    about = {
        "digest": ledger.sequence_root,
        "manifest": manifest,
        "view": order["view"],
        "num_rows_per_step": declared["order"]["global_batch_size"],
        "max_seq_len": declared["order"]["max_seq_len"],
        "tokenizer_digest": manifest["tokenizer"]["sha256"],
        "phase": declared["phase"],
    }
    num_rows = _rows_of_files(digests, order["windows"])
    return ManifestFacts(about=about, ledger=ledger, digests=digests, num_rows=num_rows)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"got {value!r}, expected text")
    return value


def _rows_of_files(
    paths: Collection[str], windows: Sequence[Mapping[str, Any]]
) -> dict[str, int] | None:
    """Return the rows of each parquet file of steps; all steps of a window are equally long."""
    if INDEX_NAME in paths or any(one["num_rows"] % max(one["num_steps"], 1) for one in windows):
        return None
    names = [path for path in paths if "/" in path and path.endswith(".parquet")]
    per_step = {
        window["folder"].removeprefix(f"{ORDER}/"): window["num_rows"] // window["num_steps"]
        for window in windows
        if window["num_steps"]
    }
    files = arrange(ORDER, names) if names else ()
    return {file.path: (file.num_steps or 0) * per_step[file.window.folder] for file in files}
