"""Buckets of numbers: every number is in its bucket, of all files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.errors import OutputError
from pipeline.runner import number_buckets
from pipeline.runner.number_buckets import Buckets

files_of_numbers = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=30), max_size=4)


@QUICK
@given(files=files_of_numbers, count=st.integers(0, 40))
def test_buckets_are_ranges_of_all_files(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], count: int
) -> None:
    folder = tmp_path_factory.mktemp("buckets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_buckets, "LARGEST", 8)
        buckets = Buckets.of("run", 0, 2**64, count)
    assert len(buckets) == max(-(-count // 8), 1)
    paths = [folder / str(number) for number in range(len(files))]
    for path, own in zip(paths, files, strict=True):
        buckets.save(path, folder / "scratch", np.array(own, np.uint64))
    edges = [0, *buckets.ends.tolist(), 2**64]
    for number, (start, stop) in enumerate(pairwise(edges)):
        expected = [sorted(one for one in own if start <= one < stop) for own in files]
        assert buckets.load(paths, number).tolist() == [one for own in expected for one in own]


@pytest.mark.parametrize("change", ["gone", "damaged", "of another run"])
def test_a_bucket_that_is_lost_between_passes_is_one_clear_line(
    tmp_path: Path, change: str
) -> None:
    path, buckets = tmp_path / "numbers", Buckets.of("run", 0, 2**64, 2)
    other = Buckets.of("another run", 0, 2**64, 2)
    saved = other if change == "of another run" else buckets
    saved.save(path, tmp_path / "scratch", np.array([3, 1], np.uint64))
    if change == "gone":
        path.unlink()
    elif change == "damaged":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(OutputError) as raised:
        buckets.load([path], 0)
    assert raised.value.message.startswith(f"{path}: ")
    assert "run the same command again" in raised.value.hint
