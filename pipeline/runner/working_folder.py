"""Working folder: where a build works whose output lies in an object store.

The output's address -> a folder on this machine's disk that mirrors it, held by a lease. What a
machine without that folder needs of an earlier run it finds in the store.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import OutputError
from pipeline.dataset import MANIFEST, PARTIAL, STEPS, VALIDATION, State, output_above
from pipeline.storage import StoreMirror, holding, is_store_address, open_writable

_DIGITS: Final = 16


@contextmanager
def working_folder(
    out: str | Path, *, scratch: Path | None = None, shares: bool = False
) -> Iterator[Path]:
    """Yield the folder to build in: a path as it is, or the mirror of an address.

    scratch: where mirrors lie, else below the system's folder of temporary files. It is kept when
    the block fails, for the next run. shares: whether workers on other machines take part.

    Raises: OutputError when another build runs in that place, or it holds something else.
    """
    if not is_store_address(out):
        yield Path(out)
        return
    address = str(out).rstrip("/")
    store, folder = open_writable(address), _mirror_folder(address, scratch)
    states = State(out=folder), State(out=folder / VALIDATION)
    if (above := output_above(address)) is not None:
        raise OutputError(
            f"--out {address}: lies in {above}, the output of a build",
            "choose an --out outside of it",
        )
    with holding(store) as token:
        mirror = StoreMirror(
            folder=folder,
            address=address,
            token=token,
            shares=shares,
            records=tuple(one.records for one in states),
        )
        with mirror.using():
            _fetch_state(mirror, states)
            yield folder
        # While nobody else may work in it.
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def raw_folder(raw: str | Path, *, scratch: Path | None = None) -> Iterator[Path]:
    """Yield the folder of pulled files: a path as it is, or the mirror of an address.

    Of an address, files are uploaded as they are pulled; a worker that lacks one has it only while
    it reads it. The mirror is of this command alone, since others may read the same files.
    """
    if not is_store_address(raw):
        yield Path(raw)
        return
    address, above = str(raw).rstrip("/"), _scratch_folder(scratch)
    above.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="raw-", dir=above, ignore_cleanup_errors=True) as own:
        folder = Path(own, "raw")
        mirror = StoreMirror(folder=folder, address=address, token=None, shares=True)
        with mirror.using():
            yield folder


def _mirror_folder(address: str, scratch: Path | None) -> Path:
    """Return the folder on this machine that mirrors an address."""
    return _scratch_folder(scratch) / sha256_bytes(address.encode())[:_DIGITS] / "out"


def _scratch_folder(scratch: Path | None) -> Path:
    # By default one of this user, who may write there.
    above = Path(tempfile.gettempdir(), f"ettin-data-{os.getuid()}")
    return above if scratch is None else scratch.absolute()


def _fetch_state(mirror: StoreMirror, states: Sequence[State]) -> None:
    """Bring here what says whose output this is, and what earlier runs have made."""
    signs = [path for state in states for path in _signs(state)]
    for path in signs:
        mirror.fetch(path, anew=True)
    for state in states:
        shutil.rmtree(state.records, ignore_errors=True)
        mirror.fetch_records(state.records)


def _signs(state: State) -> tuple[Path, ...]:
    return (state.owner, *(state.out / name for name in (MANIFEST, PARTIAL, STEPS)))
