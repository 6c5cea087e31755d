"""Chunk variants: how rows were made is found by making them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from support import planted
from support.explained import Made, findings

from pipeline.audit.verify.explain.chunk_variants import Variant, _choose
from pipeline.config import ChunkSpec
from pipeline.order import View
from pipeline.stages.tokenizer import Tokenizer

Algorithm = Literal["whole-v1", "ettin-slice-v1"]


@pytest.mark.parametrize(
    ("ours", "theirs", "kinds", "words"),
    [
        ("whole", "whole, prefix space", {"prefix space"}, "prefix space on, whole-v1 at 128"),
        ("whole", "whole at 96", {"chunk size"}, "whole-v1 at 96"),
        ("whole", "slice", {"chunk algorithm"}, "ettin-slice-v1 at 128-64-16"),
        ("slice", "slice 2", {"cut"}, "ettin-slice-v2 at 128-64-16"),
        ("slice 2", "retokenize", {"chunk algorithm"}, "ettin-retokenize-v1 at 128-64-16"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("whole, prefix space", "whole", {"prefix space"}, "prefix space off, whole-v1"),
                ("slice", "slice, prefix space", {"prefix space"}, "space on, ettin-slice-v1"),
                ("whole", "whole, longer", {"chunk size"}, "whole-v1 at 200"),
                ("slice", "whole", {"chunk algorithm"}, "whole-v1 at 128"),
                ("slice", "slice, other tails", {"chunk tails"}, "ettin-slice-v1 at 128-126-32"),
                ("slice", "reencode", {"chunk algorithm"}, "ettin-reencode-v1 at 128-64-16"),
                ("reencode", "slice", {"chunk algorithm"}, "ettin-slice-v1 at 128-64-16"),
                (
                    "whole",
                    "reencode, prefix space",
                    {"chunk algorithm", "prefix space"},
                    "prefix space on, ettin-reencode-v1 at 128-64-16",
                ),
            )
        ),
    ],
)
def test_how_rows_were_made_is_found_by_making_them(
    made: Made, tmp_path: Path, ours: str, theirs: str, kinds: set[str], words: str
) -> None:
    what = planted.published(tmp_path / "order", planted.read(made(theirs)))
    found = findings(made(ours), what)
    assert set(found) == kinds, found
    for finding in found.values():
        assert words in finding.text
        # Texts of chunks that were encoded again are not what was read, so fewer rows are found.
        least = 1 if ours == "reencode" else finding.evidence["num_made"] // 2
        assert finding.evidence["num_found"] > least


def test_how_rows_were_made_is_found_from_a_part_of_the_order(made: Made, tmp_path: Path) -> None:
    what = planted.published(tmp_path / "order", planted.read(made("whole, prefix space")))
    assert set(findings(made("whole"), what, steps=(5, 15))) == {"prefix space"}


def test_the_view_is_found_with_how_rows_were_made(made: Made, tmp_path: Path) -> None:
    what = planted.published(tmp_path / "order", planted.read(made("slice")), view="stored")
    found = findings(made("whole"), what)
    assert set(found) == {"chunk algorithm", "view"}
    assert found["view"].evidence["theirs"] == "stored"
    assert "ettin-slice-v1 at 128-64-16" in found["chunk algorithm"].text


def test_rows_that_were_rewritten_without_clean_up_are_named(
    made: Made, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    pool = planted.read(made("slice 2"))
    texts = [tokenizer.decode_reference(row) for row in pool.rows]
    rows = tuple(np.array(ids) for ids in tokenizer.encode_reference(texts))
    what = planted.published(tmp_path / "order", replace(pool, rows=rows))
    found = findings(made("slice 2"), what)
    assert set(found) == {"chunk algorithm", "clean-up"}
    told = found["clean-up"]
    assert "was rewritten without a clean-up of spaces" in told.text
    assert "ettin-retokenize-v1 at 128-64-16, without clean-up" in told.text
    assert told.evidence["num_found"] > told.evidence["num_made"] // 2


def test_rows_that_were_cut_two_ids_earlier_are_named(made: Made, tmp_path: Path) -> None:
    what = planted.published(tmp_path / "order", planted.read(made("slice")))
    found = findings(made("slice 2"), what)
    assert set(found) == {"cut"}
    assert "was cut into pieces of 126 ids, the output into 128" in found["cut"].text


def _way(size: int, *, algorithm: Algorithm = "whole-v1") -> Variant:
    tails = {} if algorithm == "whole-v1" else {"min_size": 64, "skip_below": 16, "seed": 42}
    return Variant(add_prefix_space=False, chunk=ChunkSpec(algorithm=algorithm, size=size, **tails))


def test_fewer_changes_explain_what_many_hardly_explain_better() -> None:
    ours, one, two = _way(128), _way(96), _way(96, algorithm="ettin-slice-v1")

    def chosen(rows: dict[tuple[View, Variant], range]) -> tuple[View, Variant]:
        found = {which: np.array(numbers, np.uint64) for which, numbers in rows.items()}
        return _choose(found, "encoder", ours)

    def of(ours_made: range, one_made: range, two_made: range) -> dict[Any, range]:
        made = zip((ours, one, two), (ours_made, one_made, two_made), strict=True)
        return {("encoder", variant): numbers for variant, numbers in made}

    none = range(0)
    assert chosen(of(none, range(6), range(3, 10)))[1] == one
    assert chosen(of(none, range(85), range(100)))[1] == two
    # One that makes hardly more than ours, or nothing, explains nothing.
    assert chosen(of(range(480), range(500, 1090), range(2000, 2620)))[1] == two
    assert chosen(of(none, none, range(4)))[1] == two
    alike = {
        **of(none, range(100), range(101)),
        ("decoder", one): range(100),
        ("decoder", ours): none,
    }
    assert chosen(dict(reversed(alike.items()))) == ("encoder", one)
