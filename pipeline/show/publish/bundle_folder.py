"""Where a bundle is written: a folder that is free or an earlier bundle's, and one beside it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import MismatchError, OutputError
from pipeline.core.files import refuse_links, writing
from pipeline.show.publish.bundle_record import is_bundle, read_record, unknown_paths


def check_bundle_path(out: Path, folder: Path) -> None:
    """Check that a folder is free, or has a bundle and nothing else. Raises: OutputError."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            f"{out}: lies in {folder}, expected a folder beside it",
            "an output has the files of its manifest alone; `verify` refuses any other",
        )
    if out.is_symlink():
        raise OutputError(
            f"{out}: got a link to {os.readlink(out)}, expected a folder, or nothing",
            f"name the folder itself: --out {out.resolve()}",
        )
    if os.path.lexists(out) and not out.is_dir():
        raise OutputError(f"{out}: got a file, expected a folder, or nothing")
    with writing(out):
        if out.is_dir() and any(out.iterdir()):
            _check_replaced(out)


def _check_replaced(out: Path) -> None:
    """Check that a folder has only what an earlier bundle wrote. Raises: OutputError, OSError."""
    if not is_bundle(out):
        raise OutputError(
            f"{out}: got a folder with other files, expected a bundle to replace, or nothing",
            "name a folder that is not there yet",
        )
    try:
        unknown = unknown_paths(out, read_record(out))
    except MismatchError as error:
        raise OutputError(
            f"{out}: got a bundle whose record cannot be read: {error.message}",
            "remove the folder, or name one that is not there yet",
        ) from error
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise OutputError(
            f"{out}: got {unknown[0]}{more} beside a bundle, expected only the bundle to replace",
            "move away what is yours, or name a folder that is not there yet",
        )


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside a bundle for this process alone, and remove it at the end.

    What a killed process left there is removed first. Raises: OutputError.
    """
    scratch = out.absolute().parent / f".{out.absolute().name}.partial"
    refuse_links(scratch.parent, scratch)
    held = _hold(scratch, out)
    try:
        for left in sorted(scratch.iterdir()):
            shutil.rmtree(left)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(held)


def _hold(scratch: Path, out: Path) -> int:
    """Make a folder and lock it; return what holds it. The system releases it with the process."""
    try:
        with writing(out):
            scratch.mkdir(parents=True, exist_ok=True)
            held = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written: {error.strerror}", "choose another --out"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have ended, and removed the folder, since this one opened it.
        is_named = os.path.samestat(os.fstat(held), scratch.stat())
    except OSError as error:
        os.close(held)
        raise OutputError(
            f"{out}: cannot be locked: {error.strerror}; another run may write it",
            "wait for it, or choose another --out",
        ) from error
    if not is_named:
        os.close(held)
        raise OutputError(f"{out}: another run has just written it", "run the same command again")
    return held
