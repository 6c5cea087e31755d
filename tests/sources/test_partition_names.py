"""Partitions of files that an origin has listed: their names, and files that would share one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.errors import InputError
from pipeline.sources.partitions import name_partitions
from pipeline.storage.store import StoredFile

HERE = Path()


def named(declared: Sequence[str], rule: Any = "path") -> dict[str, str]:
    files = [(one, Path("there", one), None) for one in declared]
    return {file.partition: file.declared for file in name_partitions("s", files, rule)}


def test_the_size_that_an_origin_tells_goes_with_the_file() -> None:
    known = StoredFile(path="x/a.mds.zstd", num_bytes=7, digest="sha256:" + "1" * 64)
    [file] = name_partitions("s", [("hf://datasets/o/n@1/x/a.mds.zstd", HERE, known)], "name")
    assert (file.num_bytes, file.partition, file.kind) == (7, "a", ".mds.zstd")


def test_a_path_names_a_partition_where_names_recur() -> None:
    shards = [f"hf://datasets/o/n@1/top/{s}/proc-{p}/shard.00000.mds" for s in "ab" for p in "01"]
    assert named(shards) == {
        f"{s}=proc_{p}=shard.00000": f"hf://datasets/o/n@1/top/{s}/proc-{p}/shard.00000.mds"
        for s in "ab"
        for p in "01"
    }
    hint = "name partitions by path, with `partition: path`"
    with pytest.raises(InputError, match=rf'would both be partition "shard.00000"(.*\n.*){hint}'):
        named(shards, "name")
    assert named(shards[:1]) == {"shard.00000": shards[0]}
    assert named(["a/b.jsonl", "a/c/d.jsonl"]) == {"b": "a/b.jsonl", "c=d": "a/c/d.jsonl"}


def test_addresses_name_partitions_without_their_query() -> None:
    addresses = ["https://host/a/x.json.gz?download=true&v=1", "https://host/b/%78-y.json.gz"]
    assert set(named(addresses, "name")) == {"x", "x_y"}
    assert set(named(addresses)) == {"a=x", "b=x_y"}


def test_paths_that_come_to_one_partition_are_refused() -> None:
    told = r'"a/b=c.txt" and "a=b/c.txt" .* "a=b=c"(.*\n.*)rename'
    for declared in (["a/b=c.txt", "a=b/c.txt"], ["a=b/c.txt", "a/b=c.txt"]):
        with pytest.raises(InputError, match=told):
            named(declared)
    with pytest.raises(InputError, match=r"expected one that can name a folder"):
        named([f"{'a' * 80}/{'b' * 80}.txt", "c.txt"])


names = st.text("ab-_=", min_size=1, max_size=3)


@QUICK
@given(
    paths=st.lists(st.lists(names, min_size=1, max_size=3), min_size=1, unique_by=tuple),
    data=st.data(),
)
def test_partitions_do_not_depend_on_the_order_of_a_listing(
    paths: list[list[str]], data: st.DataObject
) -> None:
    declared = ["x/" + "/".join(path) + ".txt" for path in paths]
    for rule in ("name", "path"):
        outcomes = []
        for listed in (declared, data.draw(st.permutations(declared))):
            try:
                outcomes.append(named(listed, rule))
                assert list(outcomes[-1]) == sorted(outcomes[-1])
                assert len(outcomes[-1]) == len(declared)
            except InputError:
                outcomes.append({})
        assert outcomes[0] == outcomes[1]
