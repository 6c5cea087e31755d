"""A file that is read whole, or an error at once."""

import os
from pathlib import Path

import pytest

from pipeline.core.regular_file import read_file


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_file(tmp_path / "a") == read_file(tmp_path / "b") == b"x"


def test_what_may_never_end_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_file(path)


@pytest.mark.parametrize("name", ["", "nothing", "a\0b"])
def test_what_is_no_file_is_an_error_of_the_system(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"directory|not a name of a file"):
        read_file(tmp_path / name)
