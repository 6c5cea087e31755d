"""A stored output: an address in an object store -> a folder whose files come as they are read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.errors import InputError, OutputError
from pipeline.dataset.paths import INDEX_NAME, MANIFEST, PARTIAL, STEPS, TRAIN, State
from pipeline.storage import StoreMirror, is_store_address, open_writable

# What is looked for before it is read.
_SIGNS = (MANIFEST, PARTIAL, STEPS, INDEX_NAME, f"{TRAIN}/{INDEX_NAME}")
# Of one that is finished, or has begun; a manifest.json may be anyone's.
_OF_OUTPUTS = (STEPS, PARTIAL, State(out=Path()).owner.as_posix())


@contextmanager
def readable_folder(where: str | Path, *, scratch: Path | None = None) -> Iterator[Path]:
    """Yield the folder of an output: a path as it is, or one that stands for an address.

    Of an address each file is fetched whole when it is first read; all are removed at the end.
    scratch: the folder to fetch to, else that of temporary files.

    Raises: InputError where the address has nothing.
    """
    if not is_store_address(where):
        yield Path(where)
        return
    address = str(where).rstrip("/")
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ettin-data-", dir=scratch) as above:
        folder = Path(above).resolve() / address.rpartition("/")[2]
        mirror = StoreMirror(folder=folder, address=address, token=None, shares=False)
        with mirror.using():
            names = mirror.sizes(folder).keys()
            if not names:
                raise InputError(f"{address}: not found, expected an output", "check the address")
            for parent in {Path(name).parent for name in names}:
                (folder / parent).mkdir(parents=True, exist_ok=True)
            for name in names & set(_SIGNS):
                mirror.fetch(folder / name)
            if (records := State(out=folder).records).is_dir():
                mirror.fetch_records(records)
            yield folder


def output_above(address: str) -> str | None:
    """Return the output that an address lies in, as far as one may look. Raises: NetworkError."""
    scheme, _, path = address.rstrip("/").partition("://")
    parts = path.split("/")
    for stop in range(len(parts) - 1, 0, -1):
        store = open_writable(f"{scheme}://{'/'.join(parts[:stop])}")
        with suppress(OutputError):
            if any(store.head(name) is not None for name in _OF_OUTPUTS):
                return store.address
    return None
