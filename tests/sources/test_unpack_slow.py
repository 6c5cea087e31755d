"""xz and bzip2: every stream is read, in pieces, and one that is cut or damaged is an error."""

import bz2
import lzma
from collections.abc import Callable

import pytest

from pipeline.sources.readers.unpack_slow import unpack_slow

_PACK: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("suffix", _PACK)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_all_streams_are_read(suffix: str, block: int) -> None:
    data = _PACK[suffix](b"one\n") + _PACK[suffix](b"") + _PACK[suffix](b"two\n") + bytes(4)
    blocks = (data[start : start + block] for start in range(0, len(data), block))
    assert b"".join(unpack_slow(blocks, suffix)) == b"one\ntwo\n"


@pytest.mark.parametrize("suffix", _PACK)
def test_pieces_are_bounded_whatever_they_unpack_to(suffix: str) -> None:
    sizes = [len(piece) for piece in unpack_slow(iter([_PACK[suffix](bytes(50 << 20))]), suffix)]
    assert (sum(sizes), max(sizes)) == (50 << 20, 1 << 20)


@pytest.mark.parametrize("suffix", _PACK)
def test_what_is_cut_or_damaged_is_an_error(suffix: str) -> None:
    data = _PACK[suffix](b"text " * 100)
    for damaged in (data[:-3], data[:20] + b"\xff\xff" + data[22:], data + b"more", b""):
        with pytest.raises(EOFError):
            list(unpack_slow(iter([damaged]), suffix))
