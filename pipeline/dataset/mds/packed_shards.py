"""Compressed MDS shards: each is unpacked whole, into an unnamed file, when it is first read.

Orders that read a shard often unpack it as often, so a large pool is better unpacked once.
"""

import gzip
import shutil
import tempfile
import zlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from pipeline.core.errors import InputError
from pipeline.core.files import writing
from pipeline.core.mirrored import may_exist
from pipeline.core.zstd import PACK_AGAIN, has_large_window, make_decompressor
from pipeline.dataset.mds.shard import RemoteShard

PACKINGS: Final = (".zstd", ".zst", ".gz")


def packed_shard(path: Path, num_bytes: int) -> RemoteShard | None:
    """Return the shard that lies beside the place of a missing one, compressed, if there is one.

    num_bytes: unpacked, by the index.
    """
    if may_exist(path):
        return None
    packed = (path.with_name(path.name + ending) for ending in PACKINGS)
    found = next(filter(Path.is_file, packed), None)
    if found is None:
        return None
    return RemoteShard(where=str(found), num_bytes=num_bytes, fetch=partial(_unpack, found))


def _unpack(packed: Path) -> BinaryIO:
    """Return an open copy, which is deleted when it is closed.

    Raises: InputError for damage; OutputError on a full disk. That nothing is missing at the end is
    checked by the header of the shard.
    """
    with writing(Path(tempfile.gettempdir())), ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        try:
            with packed.open("rb") as raw:
                if packed.suffix == ".gz":
                    shutil.copyfileobj(gzip.GzipFile(fileobj=raw), file)
                else:
                    make_decompressor().copy_stream(raw, file)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            hint = PACK_AGAIN if has_large_window(error) else "build or pull it again"
            raise InputError(f"{packed}: broken compressed data: {error}", hint) from error
        file.seek(0)
        stack.pop_all()
    return file
