"""Arrangement: partitions and shards in another order are listed."""

from pathlib import Path

import numpy as np
from support import planted
from support.explained import Made, findings, only, swapped


def test_partitions_in_another_order_are_listed(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    assert len(whole.names) == 6
    for number, names in enumerate((swapped(whole, 2, 4), whole.names[::-1])):
        theirs = planted.published(tmp_path / str(number), whole.in_order(names))
        found = only(findings(made("whole"), theirs), "shard order")
        first = found.evidence["first"]
        expected = [name.split("-tokenized")[0] for name in names]
        last = first + len(found.evidence["theirs"])
        assert found.evidence["theirs"] == expected[first:last]
        assert expected[first] in found.text
        # As swapped parts are of different lengths, all between them lie elsewhere, too.
        part = findings(made("whole"), theirs, rows=(64, 320))
        assert set(part) == {"shard order"}


def test_shards_of_a_partition_in_another_order_are_listed(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    shards = planted.rows_by_shard(made("whole"))
    assert len(shards) > len(whole.names) + 2
    # The first of all shards and the second, which is of the same partition, change places.
    assert whole.partitions[shards[0][0]] == whole.partitions[shards[1][0]]
    changed = [shards[1], shards[0], *shards[2:]]
    theirs = planted.published(tmp_path / "order", whole.take(np.concatenate(changed).tolist()))
    found = only(findings(made("whole"), theirs), "shard order")
    folder = whole.partitions[0]
    expected = [f"{folder}/shard.0000{number}.mds" for number in (1, 0)]
    assert found.evidence["theirs"] == expected


def test_the_pools_themselves_can_be_compared(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    names = swapped(whole, 0, 1)
    theirs = planted.published_pool(tmp_path / "swapped", whole.in_order(names))
    found = only(findings(made("whole"), theirs), "shard order")
    assert found.evidence["theirs"] == [name.split("-tokenized")[0] for name in names[:2]]
    theirs = planted.published_pool(tmp_path / "gone", whole.without([300]))
    assert only(findings(made("whole"), theirs), "row count").evidence["k"] == -1
