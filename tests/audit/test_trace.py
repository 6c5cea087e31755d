"""Trace: documents and rows lead to one another; the golden pools lie beside the checkout."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clusters import Build
from support.orders import open_rows
from support.paths import SHARED
from support.strategies import QUICK, cuts
from support.traced import ListedRows, as_lists, unspaced, write_output

from pipeline.audit.trace import lookup as tracing
from pipeline.audit.trace.lookup import Trace
from pipeline.audit.trace.positions import Positions
from pipeline.cli.main import main
from pipeline.core.errors import ConfigError, InputError, MismatchError, NotFoundError
from pipeline.dataset.manifest import read_manifest
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.parquet.writer import write_steps
from pipeline.dataset.provenance.reader import RowProvenance, SourceCounts
from pipeline.dataset.rows import RowSource
from pipeline.order.permutation.pcg64dxsm import pcg64dxsm_permutation
from pipeline.stages.tokenizer import Tokenizer

# Every example publishes files, which waits for the disk.
FEW = settings(QUICK, max_examples=20)


REFERENCE = SHARED / "golden"


NAMES = ("reencode-1024", "reencode-8192-eos", "reencode-edge", "slice-1024", "slice-edge")


def test_several_sources_have_a_document(tmp_path: Path) -> None:
    write_output(tmp_path, [("a", "x"), ("b", "x")])
    with pytest.raises(NotFoundError, match="hint: 'a' and 'b' have a document of this id"):
        Trace.open(tmp_path).document("x", "c")


def test_an_id_that_is_no_unicode_is_refused(traced: Trace) -> None:
    with pytest.raises(ConfigError, match=r"document '\\udcff': got an id that is not valid Unic"):
        traced.document("\udcff")


def test_documents_are_shown_with_every_source_that_has_them(traced: Trace) -> None:
    seen = [(one.source, one.row, one.step, one.chunk) for one in traced.document("x")]
    assert seen == [("a", 0, 1, 0), ("a", 2, 2, 1), ("b", 3, 3, 0)]
    assert [one.row for one in traced.document("x", "b")] == [3]


def test_origins_of_a_span_are_those_of_its_rows(traced: Trace) -> None:
    everything = [*traced.rows(traced.positions.window(1))]
    assert [origin.row for origin in everything] == [0, 1, 2, 3, 4]
    assert [*traced.rows(traced.positions.step(2))] == everything[1:3]
    assert everything[3].file == "in/b.jsonl"


@FEW
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("wxyz")), min_size=1),
    data=st.data(),
)
def test_sources_are_counted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("out")
    bounds = sorted({*data.draw(cuts(len(rows)))})
    windows = [stop - start for start, stop in pairwise(bounds)]
    origins = write_output(out, rows, windows=windows)
    trace = Trace.open(out)
    number = data.draw(st.integers(1, len(windows)))
    part = origins[bounds[number - 1] : bounds[number]]
    assert trace.count_sources(trace.positions.window(number)) == {
        source: SourceCounts(
            num_rows=sum(one.source == source for one in part),
            num_documents=len({one.document for one in part if one.source == source}),
            num_tokens=sum(one.num_tokens for one in part if one.source == source),
        )
        for source in sorted({one.source for one in part})
    }


def test_texts_of_rows_come_as_they_are_asked_for(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_MOST_AHEAD", 4)
    words = ["zero", "one", "two", "three", "four", "five", "six"]
    rows = [[*encoded.tolist()] for encoded in (tokenizer.encode([word]).values for word in words)]
    write_output(tmp_path, [("a", word) for word in words])
    trace = Trace.open(tmp_path)
    for wanted in ([], [3], range(7), [0, 1, 5, 6], [4, 4, 2]):
        texts = [*trace.texts(wanted, ListedRows(rows), tokenizer)]
        assert texts == [words[number] for number in wanted]


def test_an_output_that_is_none_or_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got no folder, expected the output of a build"):
        Trace.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"got no manifest\.json, expected the output .*\n.*path"):
        Trace.open(tmp_path)
    (tmp_path / ".ettin").mkdir()
    with pytest.raises(InputError, match=r"got no manifest\.json, .*\n.*run the build to its end"):
        Trace.open(tmp_path)
    with pytest.raises(InputError, match="hf://datasets/a/b: got an address, expected the path of"):
        Trace.open(Path("hf://datasets/a/b"))
    write_output(tmp_path, [("a", "x")] * 3)
    steps = tmp_path / "order" / "steps.parquet"
    table = pq.read_table(steps)
    pq.write_table(table.slice(0, 2), steps)
    with pytest.raises(MismatchError, match=r"steps\.parquet: has other bytes than the manifest"):
        Trace.open(tmp_path)
    order = read_manifest(tmp_path / "manifest.json").order
    with pytest.raises(MismatchError, match="got 2 steps of 2 rows, manifest says 3 of 3"):
        Positions.of(order, "checkpoint", steps)
    for sizes in ([2, 2, 2], [3]):
        num_rows = np.array(sizes, np.int64)
        write_steps(steps, num_rows=num_rows, num_tokens=num_rows, sha256=[""] * len(sizes))
        told = f"got {len(sizes)} steps of {sum(sizes)} rows, manifest says 3 of 3"
        with pytest.raises(MismatchError, match=told):
            Positions.of(order, "checkpoint", steps)
    pq.write_table(table.slice(1, 2), steps)
    with pytest.raises(MismatchError, match="got steps that do not follow one another"):
        Positions.of(order, "checkpoint", steps)
    steps.unlink()
    with pytest.raises(MismatchError, match=r"steps\.parquet: cannot be read"):
        Trace.open(tmp_path)


def test_the_provenance_of_another_order_is_refused(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_output(tmp_path / name, [("a", name)] * 3)
    (tmp_path / "one" / "provenance").rename(tmp_path / "gone")
    (tmp_path / "other" / "provenance").rename(tmp_path / "one" / "provenance")
    with pytest.raises(MismatchError, match=r"\.parquet: has other bytes than the manifest says"):
        Trace.open(tmp_path / "one")
    with pytest.raises(MismatchError, match=r"\.parquet: cannot be read"):
        Trace.open(tmp_path / "other")


def test_other_rows_or_another_tokenizer_are_refused(traced: Trace, tokenizer: Tokenizer) -> None:
    with pytest.raises(MismatchError, match="got 1 ordered rows, manifest says 6"):
        next(traced.find([np.array([1], np.uint32)], ListedRows([[1]])))
    with pytest.raises(MismatchError, match="got 1 ordered rows, manifest says 6"):
        next(traced.texts([0], ListedRows([[1]]), tokenizer))
    with pytest.raises(MismatchError, match=r"modernbert: sha256 is .*, the manifest says"):
        traced.load_tokenizer()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "latest", "--text"], "--text: got --checkpoint, which shows no rows"),
        (["--step", "1", "--tokenizer", "t.json"], "--tokenizer: got neither --find nor --text"),
        (["--checkpoint", "latest", "--tokenizer", "t.json"], "--tokenizer: got neither --find"),
        (["--step", "1", "--source", "a"], "--source: got no --document"),
        (["--document", "a", "--beside", "."], "--beside: expected --step, --row or --window"),
        (["--step", "1", "--text", "--beside", "."], "--beside: expected --step, --row or"),
        (["--step", "3:3"], "argument --step: got '3:3', expected a number, or A:B with A below"),
        (["--document", "\udcff"], r"document '\udcff': got an id that is not valid Unicode"),
    ],
)
def test_options_without_a_use_are_refused(
    traced: Trace, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["trace", str(traced.out), *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_ranges_end_with_what_they_hold_of_each_source(
    traced: Trace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", str(traced.out), "--step", "2:4"]) == 0
    *rows, empty, heading, names, a, b, total = capsys.readouterr().out.splitlines()
    assert [row.partition(":")[0] for row in rows] == [
        "row 1, step 2", "row 2, step 2", "row 3, step 3", "row 4, step 3"
    ]  # fmt: skip
    assert (empty, heading) == ("", "steps 2 to 3, rows 1 to 4")
    assert names.split() == ["source", "rows", "documents", "tokens"]
    assert [line.split()[:2] for line in (a, b, total)] == [["a", "2"], ["b", "2"], ["total", "4"]]
    assert main(["trace", str(traced.out), "--row", "1:3", "--json"]) == 0
    assert [one["row"] for one in json.loads(capsys.readouterr().out)] == [1, 2]


def test_a_step_is_shown_beside_that_of_another_output(
    traced: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_output(tmp_path / "other", [("a", "x"), ("a", "x"), ("b", "y")], steps=[1, 2])
    arguments = ["trace", str(traced.out), "--step", "2", "--beside", str(tmp_path / "other")]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines[:-1]] == [
        "- row 1", "+ row 1", "- row 2", "+ row 2"
    ]  # fmt: skip
    assert lines[-1].startswith("2 rows here, 2 there: 0 are of the same chunk at the same place")
    assert main([*arguments, "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert [(one["here"]["document"], one["there"]["document"]) for one in pairs] == [
        ("y", "x"), ("x", "y")
    ]  # fmt: skip


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)
# The small ones of them; all with -m "".
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.endswith("edge") else [pytest.mark.slow])
        for name in NAMES
    ],
)
def test_every_rows_document_of_a_golden_pool_leads_back_to_it(
    name: str, tmp_path: Path, build_here: Build
) -> None:
    golden = REFERENCE / name
    out = build_here(golden / "mixture.yaml", tmp_path / "out")
    trace, rows = Trace.open(out), open_rows(out)
    lengths = np.concatenate([np.diff(block.offsets) for block in rows.read(0, rows.num_rows)])
    expected = expected_origins(golden)
    assert len(expected) == rows.num_rows == trace.positions.num_rows > 100
    sightings: dict[tuple[str, str], list[RowProvenance]] = {}
    for row, origin in enumerate(trace.provenance.rows(0, len(expected))):
        told = (origin.source, origin.document, origin.chunk, origin.num_chunks, origin.step)
        assert told == expected[row]
        assert (origin.row, origin.num_tokens) == (row, lengths[row])
        assert (golden / origin.file).is_file()
        key = (origin.source, origin.document)
        if key not in sightings:
            sightings[key] = trace.document(origin.document, origin.source)
        assert origin in sightings[key]
    assert sum(map(len, sightings.values())) == len(expected)
    assert _check_find(trace, rows) > 1 or name.endswith("edge")


def _check_find(trace: Trace, rows: RowSource) -> int:
    """Look for words of some rows, found there and where they stand alone; return how many."""
    tokenizer = trace.load_tokenizer()
    lists = as_lists(rows)
    texts = [unspaced(tokenizer.decode_reference(ids)) for ids in lists]
    num_tried = 0
    for row in range(0, len(lists), len(lists) // 9):
        tokens = [tokenizer.decode_reference([id_]) for id_ in lists[row]]
        begins = [at for at, token in enumerate(tokens) if token[:1] == " " and token[1:].isalpha()]
        passage = "".join(tokens[begins[3] : begins[12]]) if len(begins) > 12 else ""
        # Decoded, a run of spaces is longer by a prefix space than what was encoded.
        if passage.isprintable() and passage and "  " not in passage:
            found = {match.row for match, _ in trace.find(trace.patterns(passage), rows)}
            assert row in found
            assert all(unspaced(passage) in texts[other] for other in found)
            num_tried += 1
    return num_tried


def expected_origins(golden: Path) -> list[tuple[str, str, int, int, int]]:
    """Return source, document, chunk, number of chunks and step of each row, from the pool."""
    pool = Pool.open(golden / "train")
    sources = [
        shard.path.relative_to(golden / "train").parts[0]
        for shard, num_rows in zip(pool.shards, pool.num_rows.tolist(), strict=True)
        for _ in range(num_rows)
    ]
    documents = [*zip(sources, pool.document_ids(np.arange(len(sources))), strict=True)]
    num_chunks = Counter(documents)
    before: Counter[tuple[str, str]] = Counter()
    chunks = []
    for document in documents:
        chunks.append(before[document])
        before[document] += 1
    told = json.loads((golden / "order" / "golden.json").read_bytes())
    batch_size = len(told["indices_first_step"])
    seed, epoch = told["setup"]["shuffle_seed"], told["setup"]["epoch"]
    order = pcg64dxsm_permutation(len(documents), seed=seed, epoch=epoch).tolist()
    return [
        (*documents[index], chunks[index], num_chunks[documents[index]], row // batch_size + 1)
        for row, index in enumerate(order[: told["encoder"]["steps"] * batch_size])
    ]
