"""Every kind of divergence, planted once, is named, and nothing else is."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import builds, planted
from support.clusters import Build
from support.paths import SHARED

from pipeline.audit.verify import compare
from pipeline.audit.verify import output as outputs
from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.comparison import Finding
from pipeline.audit.verify.explain import chunk_variants, pool_index
from pipeline.audit.verify.explain.arrangement import Arrangement, Edit, partitions_of
from pipeline.audit.verify.explain.causes import NegativeIds
from pipeline.audit.verify.explain.pool_edits import PoolEdits
from pipeline.audit.verify.output import Output
from pipeline.core.errors import InputError
from pipeline.stages.tokenizer.resolve import load_tokenizer

REFERENCE = SHARED / "golden"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)

MIXTURE = """\
name: planted
tokenizer: {name: modernbert, add_prefix_space: false}
chunk: CHUNK
sources:
  prose: {from: {path: "in/prose/*.json.gz"}}
  notes: {from: {path: in/notes/*.jsonl.zst, text: body, id: key}, epochs: 5/2}
  tables: {from: {path: in/tables/*.parquet, id: null}}
  long: {from: {path: in/long/long-0.jsonl}, tokens: 60000}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  global_batch_size: 16
  max_seq_len: 128
  view: encoder
  window_tokens: 40k
shards: {size_limit: 32KiB}
on_error: skip
"""
WHOLE = "{algorithm: whole-v1, size: 128}"
CUT = "{algorithm: ettin-slice-v1, size: 128, min_size: 64, skip_below: 16, seed: 42}"
SETTINGS = {
    "whole": (),
    "whole, prefix space": ("tokenizer.add_prefix_space=true",),
    "whole at 96": ("chunk.size=96",),
    "whole, longer": ("chunk.size=200", "order.max_seq_len=200"),
    "whole, stored": ("order.view=stored",),
    "whole, feistel": ("order.algorithm=feistel-v1",),
    "doubled": ("sources.notes.epochs=2",),
    "slice": (),
    "slice, prefix space": ("tokenizer.add_prefix_space=true",),
    "slice, other tails": ("chunk.min_size=126", "chunk.skip_below=32"),
    "reencode": ("chunk.algorithm=ettin-reencode-v1",),
    "reencode, prefix space": (
        "chunk.algorithm=ettin-reencode-v1",
        "tokenizer.add_prefix_space=true",
    ),
}
OTHERS = ("  prose:", "  tables:", "  long:")
Made = Callable[[str], Path]


@pytest.fixture(scope="session")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> Made:
    """Returns the output of one of `SETTINGS`, built when it is first asked for."""
    folder = tmp_path_factory.mktemp("planted")

    @lru_cache
    def make(name: str) -> Path:
        chunk = CUT if name.startswith(("slice", "reencode")) else WHOLE
        text = MIXTURE.replace("CHUNK", chunk)
        if name == "doubled":
            text = "".join(line for line in text.splitlines(True) if not line.startswith(OTHERS))
        file = f"{name.partition(',')[0]}.yaml"
        mixture = builds.write_mixture(small.parent, text, file)
        out = folder / name.replace(",", "").replace(" ", "-")
        return build_here(mixture, out, *SETTINGS[name])

    return make


@pytest.fixture(scope="session")
def whole(made: Made) -> planted.Planted:
    """The pool of the output that most plants are made from."""
    return planted.read(made("whole"))


@pytest.fixture(autouse=True)
def loads_each_tokenizer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables take half a second to make, and are always the same."""
    for module in (outputs, chunk_variants):
        monkeypatch.setattr(module, "load_tokenizer", _load_once)


_load_once = lru_cache(load_tokenizer)


def findings(out: Path, what: Path, **part: Any) -> dict[str, Finding]:
    """Return what explains a difference, by kind; no kind comes twice."""
    report = verify_against(out, str(what), **part)
    assert not report.equal
    found = {finding.kind: finding for finding in report.findings}
    assert len(found) == len(report.findings), report.findings
    for finding in report.findings:
        json.dumps(finding.evidence)
    return found


def only(found: dict[str, Finding], kind: str) -> Finding:
    """Return the one finding there is to be."""
    assert set(found) == {kind}, found
    return found[kind]


def test_what_is_the_same_needs_no_explanation(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    for dtype in ("uint32", "uint16", "int64"):
        report = verify_against(
            made("whole"), str(planted.published(tmp_path / dtype, whole, dtype=dtype))
        )
        assert report.equal
        assert report.findings == ()


@pytest.mark.parametrize("rows", [[300], [40, 41, 42, 500]])
def test_missing_rows_are_counted_and_named(
    made: Made, whole: planted.Planted, tmp_path: Path, rows: list[int]
) -> None:
    theirs = planted.published(tmp_path / "order", whole.without(rows))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -len(rows)
    assert found.evidence["their_num_samples"] == len(whole.rows) - len(rows)
    places = found.evidence["places"]
    assert sum(place["k"] for place in places) == -len(rows)
    for row, place in zip((rows[0], rows[-1]), (places[0], places[-1]), strict=True):
        assert _row_of(whole, row) in place["text"]
    assert f"{len(rows)} fewer" in found.text


def _row_of(pool: planted.Planted, row: int) -> str:
    """Say of a row of the pool which it is of its partition, as findings do."""
    source, folder = pool.partitions[row].split("/")
    inside = row - pool.rows_of(pool.partitions[row])[0]
    return f"row {inside:,} of {source}/{folder.split('-tokenized')[0]}"


def test_missing_rows_are_told_from_a_part_of_the_order(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    theirs = planted.published(tmp_path / "order", whole.without([300]), steps_per_window=15)
    for part in ({"rows": (100, 260)}, {"steps": (3, 12)}):
        found = only(findings(made("whole"), theirs, **part), "row count")
        assert found.evidence["k"] == -1
        assert whole.partitions[300].split("-tokenized")[0] in found.text


def test_of_a_large_order_a_few_rows_are_read_and_the_missing_one_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_EVIDENCE", 40)
    monkeypatch.setattr(pool_index, "_ROWS_AT_PLACE", 6)
    theirs = planted.published(tmp_path / "order", whole.without([300, 700]))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -2
    for row in (300, 700):
        assert f"{_row_of(whole, row)} (document " in found.text


def test_added_rows_are_counted_whether_they_are_new_or_copies(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    new = np.array([planted.CLS_ID, 5, 6, 7, planted.SEP_ID], np.uint32)
    for name, ids, num_unknown in (("new", new, 1), ("copy", whole.rows[299], 0)):
        theirs = planted.published(tmp_path / name, whole.with_row(300, ids))
        found = only(findings(made("whole"), theirs), "row count")
        assert found.evidence["k"] == 1
        assert found.evidence["places"][0]["num_unknown"] == num_unknown
        assert f"added after {_row_of(whole, 299)}" in found.text


def test_a_partition_that_is_missing_is_named_with_all_its_rows(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    gone = whole.rows_of(whole.names[2])
    theirs = planted.published(tmp_path / "order", whole.without(gone))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -len(gone)
    assert f"{_row_of(whole, gone[0])} to {_row_of(whole, gone[-1])} are missing" in found.text


def _swapped(pool: planted.Planted, one: int, other: int) -> list[str]:
    names = list(pool.names)
    names[one], names[other] = names[other], names[one]
    return names


def test_partitions_in_another_order_are_listed(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    assert len(whole.names) == 6
    for number, names in enumerate((_swapped(whole, 2, 4), whole.names[::-1])):
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
    names = _swapped(whole, 0, 1)
    theirs = planted.published_pool(tmp_path / "swapped", whole.in_order(names))
    found = only(findings(made("whole"), theirs), "shard order")
    assert found.evidence["theirs"] == [name.split("-tokenized")[0] for name in names[:2]]
    theirs = planted.published_pool(tmp_path / "gone", whole.without([300]))
    assert only(findings(made("whole"), theirs), "row count").evidence["k"] == -1


@pytest.mark.parametrize(
    "other", ["whole, prefix space", pytest.param("whole at 96", marks=pytest.mark.slow)]
)
def test_a_partition_that_was_made_again_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path, other: str
) -> None:
    name = whole.names[3]
    again = planted.read(made(other)).with_partitions(whole.names)
    theirs = planted.published(tmp_path / "order", whole.remade(name, again))
    found = only(findings(made("whole"), theirs), "partition")
    [place] = found.evidence["places"]
    assert place["partitions"] == [name.split("-tokenized")[0]]
    assert place["their_num_rows"] == len(again.rows_of(name))
    assert place["our_num_rows"] == len(whole.rows_of(name))
    assert ("prefix space on" if "prefix" in other else "whole-v1 at 96") in found.text


def test_a_partition_of_other_texts_is_named_without_a_guess(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    name = whole.names[3]
    draw = np.random.default_rng(3)
    changed = whole
    for row in whole.rows_of(name):
        changed = changed.with_ids(row, draw.permutation(whole.rows[row]))
    theirs = planted.published(tmp_path / "order", changed)
    found = only(findings(made("whole"), theirs), "partition")
    assert found.evidence["places"][0]["partitions"] == [name.split("-tokenized")[0]]
    assert "fits" not in found.text


def test_a_single_altered_id_is_put_down_to_its_document(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    ids = whole.rows[300].copy()
    ids[3] += 1
    theirs = planted.published(tmp_path / "order", whole.with_ids(300, ids))
    found = only(findings(made("whole"), theirs), "rows")
    assert found.evidence["num_rows"] == 1
    assert f"{_row_of(whole, 300)} (document " in found.text


@pytest.mark.parametrize(
    ("unknown", "num_rows", "said"),
    [
        (
            [2],
            8,
            "1 row is not in the output's pool, which has others there: 1 of the rows from row 3",
        ),
        ([2, 5], 2, "2 rows are not in the output's pool, which has others there: row 3 of "),
    ],
)
def test_altered_rows_are_named_in_words_that_can_be_read(
    made: Made, unknown: list[int], num_rows: int, said: str
) -> None:
    output = Output.open(made("whole"))
    parts = partitions_of(output)
    arrangement = Arrangement(parts=parts, order=np.arange(len(parts.names)))
    edit = Edit(
        first=3, place=3, num_ours=num_rows, num_theirs=num_rows,
        unknown=np.array(unknown), moved=np.empty(0, np.int64),
    )  # fmt: skip
    changes = PoolEdits(output, arrangement, [edit], np.arange(100, 200))
    [finding] = changes.findings(len(arrangement.row_of))
    assert finding.text.startswith(said)
    where = "at position 2" if len(unknown) == 1 else "first at position 2"
    assert finding.text.endswith(f" to row {2 + num_rows} of {parts.names[0]}, {where}")


@pytest.mark.parametrize(
    ("given", "kind", "ways"),
    [
        ({"seed": 22}, "seed or epoch", "epoch 1 of seed 21, or seed 22 at epoch 0"),
        ({"epoch": 2}, "seed or epoch", "seed + epoch = 23: epoch 2 of seed 21, or seed 23"),
        ({"seed": 17}, "seed", "seed 17 at epoch 0"),
        ({"seed": 12345}, "seed", "seed 12345 at epoch 0"),
    ],
)
def test_another_seed_or_epoch_is_found(
    made: Made,
    whole: planted.Planted,
    tmp_path: Path,
    given: dict[str, Any],
    kind: str,
    ways: str,
) -> None:
    theirs = planted.published(tmp_path / "order", whole, **given)
    for part in ({}, {"rows": (200, 330)}):
        assert ways in only(findings(made("whole"), theirs, **part), kind).text


def test_another_algorithm_is_found(made: Made, whole: planted.Planted, tmp_path: Path) -> None:
    """Ours is the published one by default of its mixture, theirs that of a mixture without one."""
    feistel = {**whole.order, "algorithm": "feistel-v1"}
    theirs = planted.published(tmp_path / "order", replace(whole, order=feistel))
    found = only(findings(made("whole"), theirs), "order algorithm")
    assert found.evidence["algorithm"] == "feistel-v1"
    theirs = planted.published(tmp_path / "published", whole)
    found = only(findings(made("whole, feistel"), theirs), "order algorithm")
    assert "ettin-pcg64dxsm-v1, epoch 0 of seed 21" in found.text


def test_seed_and_epoch_are_told_apart_where_the_order_knows_both(
    made: Made, tmp_path: Path
) -> None:
    pool = planted.read(made("whole, feistel"))
    for kind, value in (("seed", 22), ("epoch", 2)):
        given: dict[str, Any] = {kind: value}
        theirs = planted.published(tmp_path / kind, pool, **given)
        found = only(findings(made("whole, feistel"), theirs), kind)
        assert found.evidence[kind] == value
    theirs = planted.published(tmp_path / "gone", pool.without([300]))
    found = only(findings(made("whole, feistel"), theirs), "row count")
    assert found.evidence["k"] == -1


def test_several_things_may_differ_at_once(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    pool = whole.in_order(_swapped(whole, 1, 2)).without([200])
    theirs = planted.published(tmp_path / "order", pool, seed=42)
    found = findings(made("whole"), theirs)
    assert set(found) == {"seed", "shard order", "row count"}
    assert found["row count"].evidence["k"] == -1

    sliced = planted.read(made("slice"))
    theirs = planted.published(tmp_path / "view", sliced, view="stored", epoch=3)
    assert set(findings(made("slice"), theirs)) == {"seed or epoch", "view"}


def test_another_view_is_named(made: Made, tmp_path: Path) -> None:
    pool = planted.read(made("slice"))
    for view in ("stored", "decoder"):
        theirs = planted.published(tmp_path / view, pool, view=view)
        assert verify_against(made("slice"), str(theirs)).equal
        found = only(findings(made("slice"), theirs, view="encoder"), "view")
        assert found.evidence["theirs"] == view
        assert found.evidence["ours"] == "encoder"
    theirs = planted.published(tmp_path / "shorter", pool, max_seq_len=100)
    found = only(findings(made("slice"), theirs), "view")
    assert found.evidence["their_max_seq_len"] == 100


def test_ids_that_were_kept_in_too_few_bits_are_told(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    def narrow(rows: list[planted.Ids]) -> list[planted.Ids]:
        return [row.astype(np.int16).astype(np.int64).astype(np.uint32) for row in rows]

    theirs = planted.published(tmp_path / "wider again", whole, change=narrow)
    assert only(findings(made("whole"), theirs), "dtype").evidence["modulo"] == 1 << 16
    theirs = planted.published(tmp_path / "and gone", whole.without([300]), change=narrow)
    assert set(findings(made("whole"), theirs)) == {"dtype", "row count"}


def test_negative_ids_are_named_even_where_rows_are_equal_without_the_sign() -> None:
    rows = SimpleNamespace(num_wrapped=7, dtype="int16")
    comparison: Any = SimpleNamespace(theirs=rows)
    cause = NegativeIds()
    assert cause.applies(comparison)
    [found] = cause.explain(comparison)
    assert found.kind == "dtype"
    assert "7 ids that were read of the other side are negative in int16" in found.text
    rows.num_wrapped = 0
    assert not cause.applies(comparison)


@pytest.mark.parametrize(
    ("ours", "theirs", "kinds", "words"),
    [
        ("whole", "whole, prefix space", {"prefix space"}, "prefix space on, whole-v1 at 128"),
        ("whole", "whole at 96", {"chunk size"}, "whole-v1 at 96"),
        ("whole", "slice", {"chunk algorithm"}, "ettin-slice-v1 at 128-64-16"),
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


def test_another_tokenizer_is_told_from_other_texts(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    plain = np.arange(2, 50_250)
    others = dict(
        zip(plain.tolist(), np.random.default_rng(3).permutation(plain).tolist(), strict=True)
    )
    theirs = planted.published(
        tmp_path / "vocabulary", whole, change=partial(planted.with_other_ids, change=others)
    )
    found = only(findings(made("whole"), theirs), "tokenizer")
    assert found.evidence["share_of_words"] < 0.05

    def larger(rows: list[planted.Ids]) -> list[planted.Ids]:
        return [row + np.uint32(70_000) for row in rows]

    theirs = planted.published(tmp_path / "larger", whole, change=larger)
    found = only(findings(made("whole"), theirs), "tokenizer")
    assert found.evidence["vocab_size"] == 50_368

    def mixed(rows: list[planted.Ids]) -> list[planted.Ids]:
        draw = np.random.default_rng(4)
        return [np.concatenate([row[:1], draw.permutation(row[1:-1]), row[-1:]]) for row in rows]

    theirs = planted.published(tmp_path / "texts", whole, change=mixed)
    assert only(findings(made("whole"), theirs), "text").evidence["share_of_words"] > 0.2


def test_the_same_rows_in_another_order_are_told_apart(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    def swap(rows: list[planted.Ids]) -> list[planted.Ids]:
        rows[100], rows[200] = rows[200], rows[100]
        return rows

    num_rows = len(planted.ordered(whole))
    windows = json.loads((made("whole") / "manifest.json").read_bytes())["order"]["windows"]
    steps = windows[0]["num_steps"]
    assert len(windows) > 1
    changes: dict[str, tuple[Callable[[list[planted.Ids]], list[planted.Ids]], str]] = {
        "steps": (partial(planted.shuffled, inside=16), "all inside their step"),
        "order": (
            partial(planted.shuffled, inside=num_rows),
            "rows that the output's pool has once are at other positions: ",
        ),
        "windows": (
            lambda rows: [
                *planted.shuffled(rows[: steps * 16], steps * 16),
                *rows[steps * 16 :],
            ],
            "all inside their window",
        ),
        "ranks": (partial(planted.rank_after_rank, batch=16, ranks=4), "one of 4 ranks after"),
        "two": (swap, "2 of "),
    }
    for name, (change, words) in changes.items():
        theirs = planted.published(tmp_path / name, whole, change=change)
        found = findings(made("whole"), theirs)
        assert words in only(found, "row order").text, name


def test_an_order_that_begins_elsewhere_is_told_by_how_far(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    theirs = planted.published(tmp_path / "order", whole, change=lambda rows: rows[16:] + rows[:16])
    found = only(findings(made("whole"), theirs), "position")
    assert found.evidence["shift"] == 16
    assert "16 rows earlier" in found.text


def test_an_order_that_goes_on_is_told_by_its_number_of_rows(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    num_rows = len(planted.ordered(whole))
    for name, change in (
        ("longer", lambda rows: rows + rows[:16]),
        ("shorter", lambda rows: rows[:-32]),
    ):
        theirs = planted.published(tmp_path / name, whole, change=change)
        found = only(findings(made("whole"), theirs), "row count")
        their_num_rows = num_rows + (16 if name == "longer" else -32)
        assert found.evidence == {"our_num_rows": num_rows, "their_num_rows": their_num_rows}
        assert f"{their_num_rows:,} ordered rows, the output {num_rows:,}" in found.text


def test_rows_that_were_not_put_in_order_are_told(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    rows = planted.viewed(whole.rows, "encoder", 128)
    theirs = planted.publish(tmp_path / "order", rows, 16)
    assert (
        "in the order of the pool, as if never shuffled"
        in only(findings(made("whole"), theirs), "row order").text
    )


@pytest.mark.slow
@needs_reference
@pytest.mark.parametrize("name", ["slice-edge", "reencode-edge"])
def test_divergences_from_the_reference_chain_are_named(
    name: str, tmp_path: Path, build_here: Build
) -> None:
    golden = REFERENCE / name
    out = build_here(golden / "mixture.yaml", tmp_path / "out")
    for view in ("encoder", "decoder"):
        assert verify_against(out, str(golden / "order" / view)).equal
    pool = planted.read(out)
    gone = len(pool.rows) // 3
    theirs = planted.published(tmp_path / "gone", pool.without([gone]), view="decoder")
    found = findings(out, theirs)
    assert found.pop("row count").evidence["k"] == -1
    assert set(found) <= {"view"}
    theirs = planted.published(tmp_path / "epoch", pool, epoch=1)
    only(findings(out, theirs), "seed or epoch")
    shards = planted.rows_by_shard(out)
    assert len(shards) > 2
    theirs = planted.published(
        tmp_path / "shards", pool.take(np.concatenate(shards[::-1]).tolist())
    )
    only(findings(out, theirs), "shard order")


def test_what_nothing_explains_says_what_was_tried(made: Made, tmp_path: Path) -> None:
    # Every row is there twice, so that none tells where it belongs.
    pool = planted.read(made("doubled"))
    theirs = planted.published(tmp_path / "order", pool, seed=777_777)
    found = only(findings(made("doubled"), theirs), "unknown")
    assert found.evidence["num_known"] == found.evidence["num_read"]
    assert found.evidence["num_orders_tried"] > 50
    assert (
        f"none of the {found.evidence['num_orders_tried']:,} orders that were tried" in found.text
    )
    # A neighbour is found all the same.
    theirs = planted.published(tmp_path / "near", pool, seed=23)
    assert set(findings(made("doubled"), theirs)) == {"seed or epoch"}


def test_without_the_tokenizer_what_needs_none_is_explained(
    made: Made, whole: planted.Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Output) -> None:
        raise InputError("modernbert: is gone")

    monkeypatch.setattr(Output, "tokenizer", property(gone))
    theirs = planted.published(tmp_path / "order", whole, seed=17)
    found = findings(made("whole, stored"), theirs, view="stored")
    assert set(found) == {"seed"}
    other = planted.read(made("whole, prefix space"))
    theirs = planted.published(tmp_path / "prefix", other, view="stored")
    found = findings(made("whole, stored"), theirs, view="stored")
    assert "could not be tried: modernbert: is gone" in only(found, "unknown").text
