"""What a shard alone tells: the way of making its rows, whatever one odd row says."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support import published_layouts as layouts
from support.commands import call
from support.published_suite import Row, write_parts
from tokenizers import Tokenizer

from pipeline.audit.attest import describe_shard, open_shard
from pipeline.audit.attest.candidates import candidates
from pipeline.stages.tokenizer import read_json

SIZE = 600
HOW = {
    "": "slice",
    ", decoded with clean-up of spaces and tokenized again": "retokenize",
    ", decoded without clean-up of spaces and tokenized again": "retokenize",
    ", decoded with their special tokens and tokenized again": "retokenize",
    " with CLS and SEP put around them where they lack them": "framed",
    " of documents without CLS and SEP, which are put around each": "wrapped",
    ", some of them encoded again": "reencode",
}
CLEANED, UNCLEAN, KEPT, *_ = [f"so rows are slices of {SIZE} ids{one}" for one in [*HOW][1:]]
SLICES = f"so rows are slices of {SIZE} ids"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(read_json("modernbert").decode())


def rows_of(tokenizer: Tokenizer, how: str, size: int = SIZE, **way: object) -> list[Row]:
    maker = layouts.Maker(tokenizer, layouts.Way(**way))  # type: ignore[arg-type]
    documents = layouts.texts(1, [20, 900, 1600, 70, 1500, 2100, 40, 700] * 12, "{}", marks=0.002)
    return maker.rows(documents, how, size)[0]


def told_of(folder: Path, rows: Sequence[Row]) -> list[str]:
    write_parts(folder / "part", [rows])
    return describe_shard(open_shard(folder / "part" / "shard.00000.mds"))


def conclusions(told: Sequence[str]) -> list[str]:
    return [line for line in told if line.startswith(("so ", "undecided", "no known"))]


@pytest.mark.parametrize("says", [one.says for one in candidates(SIZE)][:6] + [
    one.says for one in candidates(SIZE)][-1:])  # fmt: skip
def test_each_way_is_named(says: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    cut = int(says.split()[2])
    how = HOW[says.removeprefix(f"slices of {cut} ids")]
    clean, keep = "without clean-up" not in says, "their special" in says
    fewer = SIZE - cut
    rows = rows_of(tokenizer, how, clean=clean, keep_specials=keep, fewer=fewer)
    found = conclusions(told_of(tmp_path, rows))
    assert found == [f"so rows are {says}", "so no space was put before texts"]


def test_the_commonest_length_tells_the_cut_and_no_odd_row(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    ways: list[tuple[str, dict[str, object], str]] = [
        ("slice", {}, SLICES),
        ("retokenize", {}, CLEANED),
        ("retokenize", {"clean": False}, UNCLEAN),
        ("retokenize", {"keep_specials": True}, KEPT),
    ]
    for number, (how, way, says) in enumerate(ways):
        rows = rows_of(tokenizer, how, **way)
        id_, ids = rows[len(rows) // 2]
        # Ids of a word in two parts, which nobody tokenizes to; longer than any; CLS inside.
        odd = (id_, [layouts.CLS, *ids[1:-1], 80, 70, layouts.CLS, 80, 70, *ids[:40]])
        rows[len(rows) // 2] = odd
        found = conclusions(told_of(tmp_path / str(number), rows))
        assert found == [says, "so no space was put before texts"]


def test_rows_taken_longest_first_are_told_from_slices(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for how in ("slice", "wrapped"):
        rows = rows_of(tokenizer, how, 2000)
        rows.sort(key=lambda row: -(len(row[1]) // 1000))
        found = conclusions(told_of(tmp_path / how, rows))
        if how == "slice":
            assert found[0] == "so rows are slices of 2,000 ids"
        else:
            # Which row of a document is its first is not known, nor so a space before it.
            assert "so rows are slices of 2,000 ids of documents without CLS and SEP" in str(found)
            assert found[-1] == "undecided: prefix space"


def test_without_ids_of_documents_the_full_rows_tell(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [(f"{row:032x}", ids) for row, (_, ids) in enumerate(rows_of(tokenizer, "slice"))]
    assert SLICES in told_of(tmp_path, rows)


def test_short_documents_leave_the_cut_undecided(tokenizer: Tokenizer, tmp_path: Path) -> None:
    maker = layouts.Maker(tokenizer, layouts.Way())
    documents = layouts.texts(2, list(range(20, 220, 2)), "{}")
    told = told_of(tmp_path, maker.rows(documents, "retokenize", SIZE)[0])
    assert "CLS and SEP around documents of one row each" in told
    assert "undecided: the cut, since no document has several rows and few rows are full" in told


def test_a_shard_without_rows_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = told_of(tmp_path, [])
    assert told == ['ids of tokens: uint16; header: compression "zstd"', "it has no rows"]
    shard = tmp_path / "part" / "shard.00000.mds"
    code, out, err = call(capsys, "attest", "--infer", "--against", shard)
    assert (code, out.splitlines(), err) == (0, told, "")


def test_slices_of_long_documents_are_slices(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Though fewer than one row in fifty begins or ends a document."""
    [cls, *body, sep] = tokenizer.encode(layouts.texts(1, [9000], "{}", marks=0.002)[0][1]).ids
    body = body[: 64 * 120]
    ids = [cls, *body, sep]
    rows = [
        (f"{document:040d}", ids[at : at + 64])
        for document in range(12)
        for at in range(0, len(body), 64)
    ]
    told = told_of(tmp_path, rows)
    assert "CLS and SEP around documents, not rows" in told
    assert "so rows are slices of 64 ids" in told
