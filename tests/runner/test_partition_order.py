"""The order of partitions: sorted, or as a listing has them; everywhere that rows are numbered."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import builds

from pipeline.audit.verify.build_output import Output
from pipeline.config import OrderSpec
from pipeline.core.errors import ConfigError, InputError
from pipeline.dataset.mds import read_index
from pipeline.runner.partition_order import arrange, check_listed

MIXTURE = """\
name: listed
chunk: {algorithm: ettin-slice-v2, size: 64, min_size: 32, skip_below: 8, seed: 42}
sources:
  b: {from: {path: "in/b/*.jsonl"}}
  b-a: {from: {path: "in/b-a/*.jsonl"}}
order: {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 4, max_seq_len: 64%s}
shards: {dtype: uint16, size_limit: 4KiB}
"""
SUFFIX = "-tokenized-chunked-64-32-8-backfill-nodups"
SORTED = [f"{name}{SUFFIX}" for name in ("b/x_0", "b/x_1", "b-a/y_0")]
LISTED = [SORTED[1], SORTED[2], SORTED[0]]
MADE = ("b/x", "b-a/y", "b-a/z")


def spec(listing: str | None) -> OrderSpec:
    kind = "sorted" if listing is None else "listed"
    return OrderSpec(
        seed=1,
        global_batch_size=1,
        max_seq_len=8,
        partitions=kind,
        listing=listing,  # type: ignore[arg-type]
    )


def index_of(folders: Sequence[str], shards: int = 2) -> str:
    names = [f"{folder}/shard.{number:05d}.mds" for folder in folders for number in range(shards)]
    return json.dumps({"shards": [{"raw_data": {"basename": one}, "samples": 1} for one in names]})


def arranged(folder: Path, content: str | bytes, **options: Any) -> tuple[str, ...]:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "listing").write_bytes(data)
    return arrange(MADE, spec("listing"), folder, **options)


def test_partitions_are_sorted_by_source_and_then_by_folder(tmp_path: Path) -> None:
    assert arrange(reversed(MADE), spec(None), tmp_path) == ("b/x", "b-a/y", "b-a/z")


@pytest.mark.parametrize(
    "content",
    [
        "b-a/z\nb/x\nb-a/y",
        "\ufeff\n b-a/z/\r\nb/x/ \n\nb-a/y\n",
        index_of(["b-a/z", "b/x", "b-a/y"]),
    ],
)
def test_a_listing_is_lines_or_an_index(tmp_path: Path, content: str) -> None:
    assert arranged(tmp_path, content) == ("b-a/z", "b/x", "b-a/y")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("b/x\nb-a/y", "got no b-a/z; expected each partition once"),
        ("b/x\nb-a/y\nb-a/z\nc/a\nc/b", "got c/a, c/b, which the mixture does not make; expected"),
        ("b/x\nb-a/zz\nb-a/y", "got no b-a/z; got b-a/zz, which the mixture does not make; expect"),
        ("\n".join(f"c/{n}" for n in range(7)), "c/0, c/1, c/2, c/3, c/4 and 2 more, which"),
        ("b/x\nb-a/y\nb-a/z\nb/x", "got b/x in two places, expected each once"),
        (index_of(["b/x", "b-a/y", "b-a/z", "b/x"]), "got b/x in two places, expected each once"),
        (index_of(["b/x"])[:-3], "is not an index of MDS shards"),
        ('{"shards": []}', "lists nothing, expected a partition a line, or an index.json"),
        ("\n \n", "lists nothing, expected a partition a line, or an index.json"),
        (b"b/x\nb-a/\xff", "invalid UTF-8 at byte 8"),
        (index_of(["b/x"]).replace("00000", "00009"), "got the shards of b/x out of order"),
    ],
)
def test_any_other_listing_is_one_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(InputError) as raised:
        arranged(tmp_path, content)
    assert raised.value.message.startswith("order.listing: listing: ")
    assert expected in raised.value.message
    assert "\n" not in raised.value.message


def test_of_a_part_of_the_partitions_a_listing_may_name_more(tmp_path: Path) -> None:
    assert arranged(tmp_path, "b-a/z\nc/c\nb/x\nb-a/y", is_whole=False) == ("b-a/z", "b/x", "b-a/y")
    with pytest.raises(InputError, match="got no b-a/z"):
        arranged(tmp_path, "b/x\nb-a/y", is_whole=False)


def test_what_may_have_no_row_may_be_left_out_and_is_asked_for_if_it_has(tmp_path: Path) -> None:
    found = arranged(tmp_path, "b-a/z\nb/x", may_be_empty={"b-a/y"})
    assert found == ("b-a/z", "b/x")
    check_listed(found, {"b/x": 3, "b-a/y": 0, "b-a/z": 0}, spec("listing"))
    with pytest.raises(InputError, match=r"listing: got no b-a/y; expected each partition"):
        check_listed(found, {"b/x": 3, "b-a/y": 1, "b-a/z": 0}, spec("listing"))
    # If it is listed, it keeps its place.
    assert arranged(tmp_path, "b-a/z\nb-a/y\nb/x", may_be_empty={"b-a/y"})[1] == "b-a/y"
    with pytest.raises(InputError, match=r"got no b/x; got c/c"):
        arranged(tmp_path, "b-a/z\nc/c", may_be_empty={"b-a/y"})


def test_a_listing_needs_listed_and_listed_a_listing() -> None:
    with pytest.raises(ConfigError, match="listing: got nothing, expected a file with partitions"):
        OrderSpec(seed=1, global_batch_size=1, max_seq_len=8, partitions="listed")
    with pytest.raises(ConfigError, match='listing: got "a", expected none without partitions: li'):
        OrderSpec(seed=1, global_batch_size=1, max_seq_len=8, listing="a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs, and builds of them: `sorted`, and `listed` in another order."""
    folder = tmp_path_factory.mktemp("listed")
    for name in ("b/x-0", "b/x-1", "b-a/y-0"):
        path = folder / "in" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builds.json_lines(builds.documents(name.replace("/", "-"), 20, 200)))
    builds.write_mixture(folder, MIXTURE % "", "sorted.yaml")
    builds.write_mixture(folder, MIXTURE % ", partitions: listed, listing: list.txt", "listed.yaml")
    (folder / "list.txt").write_text("\n".join(LISTED))
    for kind in ("sorted", "listed"):
        builds.run_well("build", f"{kind}.yaml", "--out", kind, cwd=folder)
    return folder


def folders_of(index: Path) -> list[str]:
    shards = json.loads(index.read_bytes())["shards"]
    return list(dict.fromkeys(one["raw_data"]["basename"].rpartition("/")[0] for one in shards))


def test_a_listing_decides_the_rows_of_the_pool_and_nothing_else_of_it(folder: Path) -> None:
    assert folders_of(folder / "sorted/train/index.json") == SORTED
    assert folders_of(folder / "listed/train/index.json") == LISTED
    assert folders_of(folder / "listed/train/b/index.json") == [
        one.removeprefix("b/") for one in LISTED if one.startswith("b/")
    ]
    ours, theirs = (builds.digests(folder / one / "train") for one in ("listed", "sorted"))
    assert builds.differences(ours, theirs) == ["b/index.json", "index.json"]


def test_the_listed_pool_put_in_order_by_itself_gives_the_order_of_the_build(folder: Path) -> None:
    settings = ("seed=21", "algorithm=ettin-pcg64dxsm-v1", "global_batch_size=4", "max_seq_len=64")
    order = [f"--set=order.{one}" for one in settings]
    builds.run_well("order", "listed/train", "--out", "again", *order, cwd=folder)
    ledgers = [
        json.loads((folder / one / "manifest.json").read_bytes())["order"]["ledger"]
        for one in ("again", "listed", "sorted")
    ]
    assert ledgers[0] == ledgers[1]
    assert ledgers[1] != ledgers[2]
    told = builds.run_well("verify", "listed", "--against", "listed/train", cwd=folder)
    assert told.endswith("equal\n")


def test_partitions_alone_need_no_listing_of_themselves(folder: Path, tmp_path: Path) -> None:
    names = ("--partitions", "b/x_1,b-a/y_0")
    arguments = ("listed.yaml", "--out", tmp_path / "out", *names)
    builds.run_well("build", *arguments, cwd=folder)
    found = builds.digests(tmp_path / "out/train")
    assert {one.rpartition("/")[0] for one in found} == {SORTED[1], SORTED[2]}
    whole = builds.digests(folder / "listed/train")
    assert found == {path: whole[path] for path in found}


def test_rows_of_the_pool_are_named_by_their_partition(folder: Path) -> None:
    for kind, expected in (("listed", LISTED), ("sorted", SORTED)):
        output = Output.open(folder / kind)
        entries = read_index(folder / kind / "train/index.json")
        stops, stop = {}, 0
        for entry in entries:
            stop += entry["samples"]
            stops[entry["raw_data"]["basename"].rpartition("/")[0]] = stop
        found = [(one.name.removeprefix("train/"), one.stop) for one in output.partitions]
        assert found == [(name, stops[name]) for name in expected]


def test_the_manifest_records_the_listing_and_another_one_is_another_mixture(folder: Path) -> None:
    def identity() -> dict[str, object]:
        told = json.loads(builds.run_well("plan", "listed.yaml", "--json", cwd=folder))
        return {"fingerprint": told["fingerprint"]}

    mixture = json.loads((folder / "listed/manifest.json").read_bytes())["mixture"]
    order = mixture["declaration"]["order"]
    assert order["partitions"] == "listed"
    assert order["listing"] == builds.digests(folder)["list.txt"]
    assert identity()["fingerprint"] == mixture["fingerprint"]
    written = (folder / "list.txt").read_text()
    (folder / "list.txt").write_text("\n".join(reversed(LISTED)))
    try:
        assert identity()["fingerprint"] != mixture["fingerprint"]
        done = builds.run("build", "listed.yaml", "--out", "listed", cwd=folder)
        assert "listed: holds another mixture" in done.stderr
    finally:
        (folder / "list.txt").write_text(written)
    plain = json.loads((folder / "sorted/manifest.json").read_bytes())["mixture"]["declaration"]
    assert not {"listing", "partitions"} & plain["order"].keys()


def _remove(path: Path) -> None:
    path.unlink()


def _leave_one_out(path: Path) -> None:
    path.write_text("\n".join([*LISTED[:2], "b/x_9"]))


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (_remove, "order.listing: list.txt: cannot be read: No such file or directory"),
        (_leave_one_out, f"order.listing: list.txt: got no {SORTED[0]}; got b/x_9, which the mix"),
    ],
)
def test_nothing_is_written_where_the_listing_is_wrong(
    folder: Path, harm: Callable[[Path], None], expected: str
) -> None:
    written = (folder / "list.txt").read_text()
    harm(folder / "list.txt")
    try:
        for verb in (("plan", "listed.yaml"), ("build", "listed.yaml", "--out", "wrong")):
            done = builds.run(*verb, cwd=folder)
            assert done.returncode == 2
            assert expected in done.stderr
            assert "Traceback" not in done.stderr
        assert not (folder / "wrong").exists()
    finally:
        (folder / "list.txt").write_text(written)
