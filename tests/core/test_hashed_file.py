"""What is written in parts has the digest of the file that is there in the end."""

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.digest import FileDigest
from pipeline.core.hashed_file import HashedFile, write_hashed


@QUICK
@given(parts=st.lists(st.binary(max_size=40), max_size=5))
def test_the_digest_is_that_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("hashed") / "file"
    digest = write_hashed(path, parts)
    assert path.read_bytes() == b"".join(parts)
    assert digest == FileDigest.of(path) == FileDigest.of_bytes(b"".join(parts))


def test_arrays_count_by_their_bytes(tmp_path: Path) -> None:
    numbers = np.arange(5, dtype="<u4")
    with HashedFile(tmp_path / "file") as file:
        assert file.write(numbers.data) == file.tell() == 20
    assert file.closed
    assert file.digest == FileDigest.of(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == numbers.tobytes()


def test_a_full_disk_is_not_hidden() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_hashed(Path("/dev/full"), [b"data"])
    assert caught.value.errno == errno.ENOSPC
