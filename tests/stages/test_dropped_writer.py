"""The file of dropped documents: all of them or a fair share, whatever the blocks."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import zstandard
from support.filters import document

from pipeline.core import digest
from pipeline.stages.filters.dropped_writer import DroppedWriter
from pipeline.stages.filters.verdict import Dropped


def drops(count: int) -> list[Dropped]:
    return [
        Dropped(document=document(f"text {row}", row, n=row), reason="length/too_short")
        for row in range(count)
    ]


def written(path: Path) -> list[dict[str, Any]]:
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    return [json.loads(line) for line in data.decode().splitlines()]


def write(path: Path, share: Fraction, blocks: list[list[Dropped]], name: str = "a-0000") -> bytes:
    writer = DroppedWriter(path, share, "web")
    for block in blocks:
        writer.write(block, name)
    writer.close()
    return path.read_bytes()


def test_all_that_was_dropped_is_kept_aside_with_its_reason(tmp_path: Path) -> None:
    one = Dropped(document=document("a\nb é", 3, url="u", inner={"k": [1]}), reason="url/domain")
    odd = Dropped(document=document("c", 4, of={1}, n=Decimal("1.5"), b=b"x"), reason="regex/found")
    write(tmp_path / "a", Fraction(1), [[one], [odd]])
    assert written(tmp_path / "a") == [
        {
            "id": "id-3",
            "row": 3,
            "reason": "url/domain",
            "text": "a\nb é",
            "metadata": {"url": "u", "inner": {"k": [1]}},
        },
        {
            "id": "id-4",
            "row": 4,
            "reason": "regex/found",
            "text": "c",
            "metadata": {"of": "{1}", "n": "1.5", "b": "b'x'"},
        },
    ]


def test_half_a_surrogate_pair_is_written_as_json_escapes_it(tmp_path: Path) -> None:
    one = Dropped(document=document("a", 0, url="x\udc80"), reason="url/domain")
    write(tmp_path / "a", Fraction(1), [[one]])
    [record] = written(tmp_path / "a")
    assert record["metadata"] == {"url": "x\udc80"}


def test_the_share_of_a_file_is_the_same_beside_other_files(tmp_path: Path) -> None:
    writer = DroppedWriter(tmp_path / "both", Fraction(1, 4), "web")
    for name in ("a-0000", "a-0001"):
        writer.write(drops(40), name, f"in/{name}.jsonl")
    writer.close()
    both = [(record.pop("file"), record) for record in written(tmp_path / "both")]
    for name in ("a-0000", "a-0001"):
        write(tmp_path / name, Fraction(1, 4), [drops(40)], name)
        alone = written(tmp_path / name)
        assert alone == [record for file, record in both if file == f"in/{name}.jsonl"] != []


def test_the_share_kept_aside_is_frozen(tmp_path: Path) -> None:
    write(tmp_path / "a", Fraction(1, 4), [drops(40)])
    assert [record["row"] for record in written(tmp_path / "a")] == [0, 1, 2, 29, 36, 37]
    write(tmp_path / "b", Fraction(1, 4), [drops(40)], name="a-0001")
    assert [record["row"] for record in written(tmp_path / "b")] == [3, 6, 11, 23, 29, 37]


def test_a_share_is_fair_and_part_of_a_larger_one(tmp_path: Path) -> None:
    rows = []
    for share in (Fraction(1, 10), Fraction(1, 2), Fraction(1)):
        write(tmp_path / "a", share, [drops(4000)])
        rows.append({record["row"] for record in written(tmp_path / "a")})
    assert rows[0] < rows[1] < rows[2] == set(range(4000))
    assert abs(len(rows[0]) - 400) < 80
    assert abs(len(rows[1]) - 2000) < 130


def test_bytes_do_not_depend_on_blocks(tmp_path: Path) -> None:
    # More than a block of zstd, which is 128 KiB, and texts that hardly shrink.
    many = [
        Dropped(document=document(digest.sha256_bytes(b"%d" % row), row), reason="a/b")
        for row in range(8000)
    ]
    whole = write(tmp_path / "a", Fraction(1), [many])
    singles = write(tmp_path / "b", Fraction(1), [[one] for one in many])
    parts = write(tmp_path / "c", Fraction(1), [many[:7], [], many[7:3000], many[3000:]])
    assert whole == singles == parts
    assert len(whole) > 300_000
    assert write(tmp_path / "d", Fraction(1), []) == write(tmp_path / "e", Fraction(1), [[]])
    assert written(tmp_path / "d") == []


def test_what_is_nested_too_deeply_for_the_writer_is_written_all_the_same(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    one = Dropped(document=document("a", 3, deep=deep, n=1 << 70), reason="length/too_short")
    write(tmp_path / "a", Fraction(1), [[one], drops(1)])
    data = zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "a").read_bytes())
    first, second = data.splitlines()
    assert b'"deep":' + b"[" * 1001 + b"]" * 1001 in first
    assert b'"n":1180591620717411303424' in first
    assert json.loads(second)["text"] == "text 0"
