"""The beginning of a shard: its header, the size of each row, and the rows that are whole."""

import numpy as np
import pytest
from support.published_suite import encode_row, rows_of, write_parts

from pipeline.audit.attest.shard_head import read_head
from pipeline.core.errors import InputError

ROWS = rows_of(seed=3, num_rows=20)


@pytest.fixture(scope="module", params=["uint16", "uint32"])
def shard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, bytes]:
    folder = tmp_path_factory.mktemp("head") / "part"
    write_parts(folder, [ROWS], dtype=request.param)
    return request.param, (folder / "shard.00000.mds").read_bytes()


def test_a_whole_shard_has_all_its_rows(shard: tuple[str, bytes]) -> None:
    dtype, data = shard
    head = read_head(data, "shard")
    assert head.is_whole
    assert (head.dtype, head.config["compression"]) == (dtype, "zstd")
    assert head.row_bytes.tolist() == [len(encode_row(*row, dtype)) for row in ROWS]
    assert [*zip(head.ids, (row.tolist() for row in head.rows), strict=True)] == ROWS


@pytest.mark.parametrize("num_whole", [0, 1, 7, 19])
def test_of_a_beginning_come_the_rows_that_are_whole(
    num_whole: int, shard: tuple[str, bytes]
) -> None:
    _, data = shard
    whole = read_head(data, "shard")
    stop = int(np.frombuffer(data, "<u4", 1, 4)[0] + whole.row_bytes[:num_whole].sum())
    for length in (stop, stop + 1, stop + int(whole.row_bytes[num_whole]) - 1):
        head = read_head(data[:length], "shard")
        assert not head.is_whole
        assert head.row_bytes.tolist() == whole.row_bytes.tolist()
        assert [row.tolist() for row in head.rows] == [ids for _, ids in ROWS[:num_whole]]
        assert head.ids == whole.ids[:num_whole]


def test_what_begins_no_shard_is_refused(shard: tuple[str, bytes]) -> None:
    _, data = shard
    header = data.index(b"{")
    for damaged in (
        b"",
        data[:3],
        data[: header - 1],
        data[: header + 20],
        data[:header] + b"[" + data[header + 1 :],
        data.replace(b"input_ids", b"other_ids"),
        data[:4] + data[8:12] + data[8:],
        b"\x28\xb5\x2f\xfd" * 100,
    ):
        with pytest.raises(InputError, match=r"x: got .* that do not begin a raw MDS shard"):
            read_head(damaged, "x")
