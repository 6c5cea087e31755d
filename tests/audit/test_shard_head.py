"""The beginning of a shard: its header, the size of each row, and the rows that are whole."""

from pathlib import Path

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
    header, first = data.index(b"{"), int.from_bytes(data[4:8], "little")
    no_shard = r"got [\d,]+ bytes that do not begin a raw MDS shard: "
    for damaged, says in (
        (b"", no_shard + "a table of 0 rows would take 8"),
        (data[:3], no_shard + "a table of"),
        (data[: header - 1], no_shard + "a table of 20 rows would take 88"),
        (data[: header + 20], no_shard + "its header would end at "),
        (data[:header] + b"[" + data[header + 1 :], no_shard + "its header is no JSON: "),
        (data[:header] + b"1".ljust(first - header) + data[first:], no_shard + ".* JSON object"),
        (data[:4] + data[8:12] + data[8:], no_shard + "the offsets of its rows do not rise"),
        (data[:4] + b"\0\0\0\0" + data[8:], no_shard + "the offsets of its rows do not rise"),
        (data + b"\0", no_shard + f"its last row would end at {len(data):,}"),
        (b"<!DOCTYPE html>" * 99, no_shard + "a table of 1,329,865,020 rows"),
        (b"\x28\xb5\x2f\xfd" * 100, "got zstd, expected a raw MDS shard"),
        (data.replace(b"input_ids", b"other_ids"), "header: got columns id: str, other_ids"),
        (data.replace(b'"id"', b'"no"').replace(b"uint", b"ints"), "header: got columns no: str"),
    ):
        with pytest.raises(InputError, match=rf"^hf://a/x: {says}") as caught:
            read_head(damaged, "hf://a/x")
        assert "\n" not in caught.value.message


def test_damaged_rows_name_the_place(shard: tuple[str, bytes]) -> None:
    _, data = shard
    name = data.index(b"<urn:")
    for damaged, says in (
        (data[:name] + b"\xff" + data[name + 1 :], "got an id of a document that is no UTF-8"),
        (data[: name - 8] + b"\xff\xff" + data[name - 6 :], "row 0: got bytes that are no row"),
    ):
        with pytest.raises(InputError, match=rf"^hf://a/x: {says}"):
            read_head(damaged, "hf://a/x")


def test_a_shard_of_no_rows_has_none(tmp_path: Path) -> None:
    write_parts(tmp_path / "part", [[]])
    head = read_head((tmp_path / "part" / "shard.00000.mds").read_bytes(), "shard.00000.mds")
    assert (len(head.rows), head.ids, head.num_rises) == (0, (), 0)
    assert head.is_whole
    assert head.is_first


def test_longest_first_is_told_by_bins_whatever_one_row_says(tmp_path: Path) -> None:
    lengths = [8000] * 60 + [7300, 7900] * 20 + [6100, 6900] * 20 + [900, 40] * 30
    told = {}
    for name, chosen in {
        "longest first": lengths,
        "one row elsewhere": [*lengths[:90], 8000, *lengths[90:]],
        "file order": [*lengths[::7], *lengths[1::7], *lengths[2::7], *lengths[3::7]] * 2,
        "short": [900, 40] * 20,
        "one": [8000],
    }.items():
        # Ids of documents of several lengths.
        rows = [("1" * (row % 9), [7] * length) for row, length in enumerate(chosen)]
        write_parts(tmp_path / name, [rows])
        data = (tmp_path / name / "shard.00000.mds").read_bytes()
        # The table tells of rows that are not there.
        told[name] = read_head(data[: 120_000 if len(data) > 120_000 else None], "x").falls
    assert told == {"longest first": True, "one row elsewhere": True, "file order": False,
                    "short": None, "one": None}  # fmt: skip
