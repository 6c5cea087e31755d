"""Trace: positions mean the rows they should, texts are found and nothing else, answers in words.

The golden pools lie beside the checkout, where there is one.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import builds
from support.clusters import Build
from support.manifests import manifest_of, window
from support.paths import SHARED
from support.strategies import QUICK, cuts

from pipeline.audit.trace import trace as tracing
from pipeline.audit.trace.positions import RowRange
from pipeline.audit.trace.report import (
    counts_json,
    counts_lines,
    row_json,
    row_line,
    text_lines,
)
from pipeline.audit.trace.text_search import find, find_ids, id_patterns
from pipeline.audit.trace.trace import Trace
from pipeline.cli.main import main
from pipeline.core.errors import ConfigError, InputError, MismatchError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset.manifest import manifest_bytes
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.open import open_rows
from pipeline.dataset.parquet.writer import write_steps
from pipeline.dataset.provenance.counts import SourceCounts
from pipeline.dataset.provenance.document_index import (
    index_tasks,
    sort_rows,
    sort_tasks,
    write_index,
)
from pipeline.dataset.provenance.reader import RowProvenance
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter
from pipeline.dataset.rows import RowSource
from pipeline.order.permutation.pcg64dxsm import pcg64dxsm_permutation
from pipeline.stages.tokenizer.encode import Tokenizer
from pipeline.stages.tokenizer.resolve import load_tokenizer

# Every example publishes files, which waits for the disk.
FEW = settings(QUICK, max_examples=20)
REFERENCE = SHARED / "golden"
NAMES = ("reencode-1024", "reencode-8192-eos", "reencode-edge", "slice-1024", "slice-edge")


class ListedRows:
    """Rows in memory, read in blocks of three: the least that a row source is."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.rows = rows

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        for first in range(start, stop, 3):
            block = self.rows[first : min(first + 3, stop)]
            ids = np.array([id_ for row in block for id_ in row], np.uint32)
            offsets = np.cumsum([0, *map(len, block)], dtype=np.int64)
            yield Rows(values=ids, offsets=offsets)


def write_output(
    out: Path,
    rows: Sequence[tuple[str, str]],
    *,
    steps: Sequence[int] | None = None,
    windows: Sequence[int] | None = None,
    phase: str = "checkpoint",
    num_dropped: int = 0,
    tokenizer: dict[str, str] | None = None,
) -> list[RowProvenance]:
    """Write as much of an output as traces read; return where its rows come from.

    rows: source and document of each; steps: the rows of each step; windows: the steps of each.
    """
    steps = [1] * len(rows) if steps is None else steps
    windows = [len(steps)] if windows is None else windows
    ends = np.cumsum(steps)
    origins = [
        RowProvenance(
            row,
            int(np.searchsorted(ends, row, side="right")) + 1,
            source,
            f"in/{source}.jsonl",
            document,
            sum(1 for one in rows[:row] if one == (source, document)),
            rows.count((source, document)),
            10 + row,
        )
        for row, (source, document) in enumerate(rows)
    ]
    _write_provenance(out, origins, phase)
    (out / "order").mkdir()
    write_steps(
        out / "order" / "steps.parquet",
        num_rows=np.array(steps, np.int64),
        num_tokens=np.zeros(len(steps), np.int64),
        sha256=[""] * len(steps),
    )
    bounds = [0, *np.cumsum(windows).tolist()]
    first_rows = [0, *ends.tolist()]
    made = manifest_of(
        [
            window(
                f"order/{phase}_{number:06d}", (first, stop), (first_rows[first], first_rows[stop])
            )
            for number, (first, stop) in enumerate(pairwise(bounds), 1)
        ]
    )
    declared = {
        "tokenizer": {"revision": None, "add_prefix_space": False},
        "chunk": {"algorithm": "whole-v1"},
    }
    manifest = replace(
        made,
        mixture=replace(made.mixture, declaration=declared),
        tokenizer=replace(made.tokenizer, **(tokenizer or {"name": "modernbert"})),
        order=replace(made.order, num_rows_dropped=num_dropped),
    )
    (out / "manifest.json").write_bytes(manifest_bytes(manifest))
    return origins


def _write_provenance(out: Path, origins: Sequence[RowProvenance], phase: str) -> None:
    path = out / "provenance" / f"{phase}_000001" / "steps_000001_to_000001.parquet"
    path.parent.mkdir(parents=True)
    places = sorted({(origin.source, origin.file) for origin in origins})
    ids = [origin.document.encode() for origin in origins]
    with ProvenanceWriter(path, 0, places) as writer:
        writer.write(
            ProvenanceBlock(
                steps=np.array([one.step for one in origins], np.int64),
                places=np.array([places.index((o.source, o.file)) for o in origins], np.int32),
                documents=np.frombuffer(b"".join(ids), np.uint8),
                offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
                chunks=np.array([one.chunk for one in origins], np.uint32),
                num_chunks=np.array([one.num_chunks for one in origins], np.uint32),
                num_tokens=np.array([one.num_tokens for one in origins], np.uint32),
            )
        )
    state = out / "state"
    tasks = sort_tasks([path], [len(origins)], state, state / "tmp")
    for task in tasks:
        sort_rows(task)
    made = index_tasks([one.path for one in tasks], len(origins), out / "provenance", state / "tmp")
    for one in made:
        write_index(one)


def rows_of(span: RowRange) -> range:
    return range(span.start_row, span.stop_row)


# Positions.

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=9)


@FEW
@given(data=st.data(), steps=sizes, phase=st.sampled_from(["checkpoint", "ext", "decay", "my_2"]))
def test_positions_mean_their_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, steps: list[int], phase: str
) -> None:
    out = tmp_path_factory.mktemp("out")
    bounds = sorted({*data.draw(cuts(len(steps)))})
    windows = [stop - start for start, stop in pairwise(bounds)]
    write_output(out, [("s", "d")] * sum(steps), steps=steps, windows=windows, phase=phase)
    positions = Trace.open(out).positions
    ends = [0, *np.cumsum(steps).tolist()]
    for step in range(1, len(steps) + 1):
        span = positions.step(step)
        assert rows_of(span) == range(ends[step - 1], ends[step])
        assert span.first_step == span.last_step == step
        for row in rows_of(span):
            one = positions.row(row)
            assert (rows_of(one), one.first_step, one.last_step) == (
                range(row, row + 1),
                step,
                step,
            )
    prefix = "step" if phase == "checkpoint" else phase
    for number, (start, stop) in enumerate(pairwise(bounds), 1):
        window, checkpoint = positions.window(number), positions.checkpoint(f"{prefix}{stop}")
        assert rows_of(window) == rows_of(checkpoint) == range(ends[start], ends[stop])
        assert (window.first_step, window.last_step) == (start + 1, stop)
    assert positions.checkpoint("latest") == checkpoint


@pytest.fixture
def traced(tmp_path: Path) -> Trace:
    """Six rows in four steps and two windows."""
    rows = [("a", "x"), ("b", "y"), ("a", "x"), ("b", "x"), ("a", "z"), ("b", "y")]
    write_output(tmp_path / "out", rows, steps=[1, 2, 2, 1], windows=[3, 1], num_dropped=5)
    return Trace.open(tmp_path / "out")


Ask = Callable[[Trace], object]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.positions.step(0), "step 0: is not in the order, which has steps 1 to 4\nhint:"
         " 5 rows were dropped with the incomplete last step"),
        (lambda t: t.positions.step(5), "step 5: is not in the order, which has steps 1 to 4"),
        (lambda t: t.positions.row(-1), "row -1: is not in the order, which has rows 0 to 5"),
        (lambda t: t.positions.row(6), "row 6: is not in the order, which has rows 0 to 5"),
        (lambda t: t.positions.window(0),
         "window 0: is not in the order, which has windows 1 to 2"),
        (lambda t: t.positions.window(3), "window 3: is not in the order"),
        (lambda t: t.positions.checkpoint("step2"),
         "checkpoint step2: got a step at which no window ends, expected step3"),
        (lambda t: t.positions.checkpoint("step03x"), "got no checkpoint of phase 'checkpoint'"),
        (lambda t: t.positions.checkpoint("step"), "expected stepN or latest"),
        (lambda t: t.positions.checkpoint("3"), "expected stepN or latest"),
        (lambda t: t.positions.checkpoint("step9"), "no window ends, expected step4"),
        (lambda t: t.positions.checkpoint("step" + "9" * 5000), "no window ends, expected step4"),
        (lambda t: t.positions.checkpoint("ext3"),
         "checkpoint ext3: got no checkpoint of phase 'checkpoint', expected stepN or latest\n"
         "hint: another phase is in another output"),
        (lambda t: t.document("w"), "document 'w': is in none of the 6 rows of the order\nhint: 5"),
        (lambda t: t.document("z", "b"), "document 'z' of source 'b': is in none of the 6 rows of"
         " the order\nhint: 'a' has a document of this id"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_so(traced: Trace, ask: Ask, message: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        ask(traced)
    assert message in str(raised.value)
    assert raised.value.exit_code == 1


def test_an_order_without_a_step_has_no_positions(tmp_path: Path) -> None:
    write_output(tmp_path, [], windows=[], num_dropped=3)
    (tmp_path / "provenance" / "checkpoint_000001" / "steps_000001_to_000001.parquet").unlink()
    trace = Trace.open(tmp_path)
    with pytest.raises(NotFoundError, match=r"step 1: is not in the order, which has no steps"):
        trace.positions.step(1)
    with pytest.raises(NotFoundError, match=r"got an order without a whole step"):
        trace.positions.checkpoint("latest")
    with pytest.raises(NotFoundError, match=r"is in none of the 0 rows"):
        trace.document("d")


def test_several_sources_have_a_document(tmp_path: Path) -> None:
    write_output(tmp_path, [("a", "x"), ("b", "x")])
    with pytest.raises(NotFoundError, match="hint: 'a' and 'b' have a document of this id"):
        Trace.open(tmp_path).document("x", "c")


def test_an_id_that_is_no_unicode_is_refused(traced: Trace) -> None:
    with pytest.raises(ConfigError, match=r"document '\\udcff': got an id that is no valid Unic"):
        traced.document("\udcff")


# Rows and documents.


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


# Texts.


def naive_find(rows: Sequence[Sequence[int]], needles_: Sequence[list[int]]) -> set:
    """Look at every place of every row."""
    return {
        (number, place)
        for number, row in enumerate(rows)
        for needle in needles_
        if {*needle} <= {*row}
        for place in range(len(row) - len(needle) + 1)
        if list(row[place : place + len(needle)]) == needle
    }


few = st.integers(0, 3) | st.just(2**32 - 1)
runs = st.lists(few, min_size=1, max_size=4)


@QUICK
@given(rows=st.lists(st.lists(few, max_size=200)), wanted=st.lists(runs, min_size=1, max_size=3))
def test_runs_of_ids_are_found_where_they_stand_and_nowhere_else(
    rows: list[list[int]], wanted: list[list[int]]
) -> None:
    arrays = [np.array(one, np.uint32) for one in wanted]
    found = [match for block in find(arrays, ListedRows(rows)) for match in block]
    places = [(match.row, match.offset) for match in found]
    assert places == sorted(naive_find(rows, wanted))


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 300])
def test_a_run_of_any_length_is_found_anywhere(length: int) -> None:
    ids = np.arange(1000, dtype=np.uint32)
    for start in (0, 1, 63, 64, 65, 1000 - length):
        assert find_ids(ids, ids[start : start + length]).tolist() == [start]
    assert find_ids(ids[: length - 1], ids[:length]).tolist() == []


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=False)


@pytest.fixture(scope="module")
def spacing() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=True)


def spelled(
    text: str, plain: Tokenizer, built: Tokenizer, *, reencodes: bool = False, joint: str = ""
) -> list[str]:
    """Return what is looked for, as texts in which `joint` stands between tokens."""
    found = id_patterns(text, plain, built, reencodes=reencodes)
    return [joint.join(plain.decode_reference([id_]) for id_ in ids.tolist()) for ids in found]


def test_a_text_is_looked_for_with_and_without_a_space(tokenizer: Tokenizer) -> None:
    for text in ("harbour", " harbour"):
        assert spelled(text, tokenizer, tokenizer) == ["harbour", " harbour"]
    assert spelled(" ", tokenizer, tokenizer) == [" "]


def test_a_text_is_looked_for_as_a_build_with_a_prefix_space_wrote_it(
    tokenizer: Tokenizer, spacing: Tokenizer
) -> None:
    plain = ["at|  |sea", " at|  |sea"]
    assert spelled("at  sea", tokenizer, tokenizer, joint="|") == plain
    written = [" at|  | sea", "at|  | sea"]
    assert spelled("at  sea", tokenizer, spacing, joint="|") == [*plain, *written]
    # Where a chunk was encoded again, the prefix space has gone to the run of spaces.
    again = [" at|   | sea", "at|   | sea", " at|    | sea", "at|    | sea"]
    found = spelled("at  sea", tokenizer, spacing, reencodes=True, joint="|")
    assert found == [*plain, *written, *again]
    assert spelled("harbour", tokenizer, spacing, reencodes=True) == ["harbour", " harbour"]


def test_a_text_is_looked_for_without_the_spaces_that_a_clean_up_takes(
    tokenizer: Tokenizer,
) -> None:
    found = spelled("at . sea", tokenizer, tokenizer, reencodes=True)
    assert found == ["at . sea", " at . sea", "at. sea", " at. sea"]


def test_no_space_is_looked_for_in_place_of_special_tokens(
    tokenizer: Tokenizer, spacing: Tokenizer
) -> None:
    found = id_patterns("[CLS]", tokenizer, spacing, reencodes=True)
    assert all(tokenizer.cls_id in ids for ids in found)


@pytest.mark.parametrize(
    ("text", "message"), [("", "got an empty text"), ("\ud800", "is no valid Unicode")]
)
def test_texts_without_ids_are_refused(text: str, message: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=message):
        id_patterns(text, tokenizer, tokenizer, reencodes=False)


PASSAGE = "the copper lantern of the 東京 harbour"


def planted(tokenizer: Tokenizer) -> list[list[int]]:
    """Rows in some of which the passage stands."""
    texts = [
        PASSAGE,
        f"At night {PASSAGE}, and again {PASSAGE}.",
        "the copper lantern of the",
        " 東京 harbour",  # Goes on where the row before has ended.
        "nothing of the kind",
        f'"{PASSAGE}"',
        PASSAGE.upper(),
    ]
    encoded = tokenizer.encode(texts)
    # Without frames, so that rows stand beside each other as if they were one text.
    return [
        encoded.values[start + 1 : stop - 1].tolist() for start, stop in pairwise(encoded.offsets)
    ]


def test_planted_passages_are_found_and_nothing_else(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = planted(tokenizer)
    origins = write_output(
        tmp_path,
        [("a", f"d{number}") for number in range(len(rows))],
        tokenizer={"name": "modernbert", "sha256": tokenizer.digest},
    )
    trace = Trace.open(tmp_path)
    found = [*trace.find(trace.patterns(PASSAGE), ListedRows(rows))]
    assert [origin for _, origin in found] == [origins[row] for row in (0, 1, 1, 5)]
    assert [match.row for match, _ in found] == [0, 1, 1, 5]
    ids = [needle.tolist() for needle in trace.patterns(PASSAGE)]
    assert {(match.row, match.offset) for match, _ in found} == naive_find(rows, ids)
    for match, _ in found:
        text = tokenizer.decode_reference(rows[match.row][match.offset :])
        assert text.removeprefix(" ").startswith(PASSAGE)
    told = "find: the text is in none of the 7 rows of the order"
    with pytest.raises(NotFoundError, match=told):
        next(trace.find(trace.patterns("is not there"), ListedRows(rows)))


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


# Outputs that cannot be used.


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
    with pytest.raises(MismatchError, match="got 2 steps of 2 rows, manifest says 3 of 3"):
        Trace.open(tmp_path)
    for sizes in ([2, 2, 2], [3]):
        num_rows = np.array(sizes, np.int64)
        write_steps(steps, num_rows=num_rows, num_tokens=num_rows, sha256=[""] * len(sizes))
        told = f"got {len(sizes)} steps of {sum(sizes)} rows, manifest says 3 of 3"
        with pytest.raises(MismatchError, match=told):
            Trace.open(tmp_path)
    pq.write_table(table.slice(1, 2), steps)
    with pytest.raises(MismatchError, match="got steps that do not follow one another"):
        Trace.open(tmp_path)
    steps.write_bytes(b"no parquet")
    with pytest.raises(MismatchError, match=r"steps\.parquet: cannot be read"):
        Trace.open(tmp_path)


def test_the_provenance_of_another_order_is_refused(tmp_path: Path) -> None:
    for name, num_rows in (("one", 3), ("other", 4)):
        write_output(tmp_path / name, [("a", "x")] * num_rows)
    (tmp_path / "one" / "provenance").rename(tmp_path / "gone")
    (tmp_path / "other" / "provenance").rename(tmp_path / "one" / "provenance")
    with pytest.raises(MismatchError, match="provenance: got 4 rows, manifest says 3"):
        Trace.open(tmp_path / "one")
    with pytest.raises(MismatchError, match="got no complete provenance of an order"):
        Trace.open(tmp_path / "other")


def test_other_rows_or_another_tokenizer_are_refused(traced: Trace, tokenizer: Tokenizer) -> None:
    with pytest.raises(MismatchError, match="got 1 ordered rows, manifest says 6"):
        next(traced.find([np.array([1], np.uint32)], ListedRows([[1]])))
    with pytest.raises(MismatchError, match="got 1 ordered rows, manifest says 6"):
        next(traced.texts([0], ListedRows([[1]]), tokenizer))
    with pytest.raises(MismatchError, match=r"modernbert: sha256 is .*, manifest says"):
        traced.load_tokenizer()


# Builds with passages in them.

NONCES = (
    PASSAGE,
    "def quartz(x):\n    return  x + 1\n\n\tpass",
    "zeppelin  brim   fog\n\n  ember",
    "glasswork\n    quixotic . marble 's  owl",
    'said  "velvet !  heron',
)
BEFORE = ("", "\n", " ", '"', "  ", "so (", "end.\n\n")
AFTER = ("", ".", " and", "\n", ")", "  or")
MIXTURE = """\
name: planted
tokenizer: {{name: modernbert, add_prefix_space: {prefix}}}
chunk: {chunk}
sources: {{tales: {{from: {{path: tales.jsonl}}, tokens: all}}}}
order: {{algorithm: feistel-v1, seed: 3, global_batch_size: 8, max_seq_len: 64, view: stored}}
"""
CUT = "{{algorithm: {}, size: 64, min_size: 32, skip_below: 4, seed: 42}}"
WAYS = {
    "reencode": ("true", CUT.format("ettin-reencode-v1")),
    "slice": ("true", CUT.format("ettin-slice-v1")),
    "whole": ("true", "{algorithm: whole-v1, size: 64}"),
    "reencode, no prefix": ("false", CUT.format("ettin-reencode-v1")),
}


def tales() -> list[dict[str, str]]:
    """Return documents of which each fourth has no passage, but words of one."""
    made = []
    for number in range(160):
        passage = NONCES[number % len(NONCES)]
        if number % 4 == 3:
            passage = "  ".join(reversed(passage.split()))
        before = builds.text(f"before-{number}", number % 83) if number % 9 else ""
        after = builds.text(f"after-{number}", number % 61)
        joints = BEFORE[number % len(BEFORE)], AFTER[number % len(AFTER)]
        text = f"{before}{joints[0]}{passage}{joints[1]} {after}"
        made.append({"id": f"tale-{number}", "text": text})
    return made


# Half of them; all with -m "".
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(way, marks=[] if way in ("reencode", "whole") else [pytest.mark.slow])
        for way in WAYS
    ],
)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build_here: Build
) -> Path:
    """A build in which passages are planted, with chunks so small that many are cut."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "tales.jsonl").write_bytes(builds.json_lines(tales()))
    prefix, chunk = WAYS[request.param]
    mixture = builds.write_mixture(folder, MIXTURE.format(prefix=prefix, chunk=chunk))
    return build_here(mixture, folder / "out")


def unspaced(text: str) -> str:
    return "".join(text.split())


def test_passages_of_a_build_are_found_however_it_wrote_them(
    told: Path, tokenizer: Tokenizer
) -> None:
    trace, rows = Trace.open(told), open_rows(told)
    lists = as_lists(rows)
    texts = [unspaced(tokenizer.decode_reference(ids)) for ids in lists]
    for passage in NONCES:
        matches = [*trace.find(trace.patterns(passage), rows)]
        places = naive_find(lists, [ids.tolist() for ids in trace.patterns(passage)])
        assert {(match.row, match.offset) for match, _ in matches} == places
        # What a build does to a text is to put spaces in and to take some out.
        whole = {row for row, text in enumerate(texts) if unspaced(passage) in text}
        found = {match.row for match, _ in matches}
        assert found <= whole
        assert len(found) > 10
        # Of a tail that borrowed, one half of a passage may have been encoded again, and one not.
        missed = trace.provenance.rows(0, rows.num_rows)
        missed = [missed[row] for row in sorted(whole - found)]
        assert len(missed) < 3
        assert all(one.chunk == one.num_chunks - 1 > 0 for one in missed)
        halves = "reencode" in trace.manifest.mixture.declaration["chunk"]["algorithm"]
        assert not missed or (halves and passage != PASSAGE)


def as_lists(rows: RowSource) -> list[list[int]]:
    return [
        block.values[start:stop].tolist()
        for block in rows.read(0, rows.num_rows)
        for start, stop in pairwise(block.offsets)
    ]


@pytest.mark.parametrize("told", ["reencode"], indirect=True)
def test_find_without_a_match_says_how_many_rows_there_are(
    told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_rows = open_rows(told).num_rows
    message = f"find: the text is in none of the {num_rows:,} rows of the order"
    assert main(["trace", str(told), "--find", "no such passage", "--text"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}\n")
    assert main(["trace", str(told), "--find", "no such passage", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == message
    assert main(["trace", str(told), "--find", PASSAGE, "--text"]) == 0
    assert "lantern of the 東京 harbour" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "latest", "--text"], "--text: got --checkpoint, which shows no rows"),
        (["--step", "1", "--tokenizer", "t.json"], "--tokenizer: got neither --find nor --text"),
        (["--checkpoint", "latest", "--tokenizer", "t.json"], "--tokenizer: got neither --find"),
        (["--step", "1", "--source", "a"], "--source: got no --document"),
        (["--document", "\udcff"], r"document '\udcff': got an id that is no valid Unicode"),
    ],
)
def test_options_without_a_use_are_refused(
    traced: Trace, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["trace", str(traced.out), *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


# Answers in words.

ORIGIN = RowProvenance(12, 3, "books", "in/b.jsonl", 'a "b"\n', 1, 5, 1024)


def test_origins_are_worded_for_people_and_for_machines() -> None:
    line = r'row 12, step 3: books in/b.jsonl "a \"b\"\n" chunk 2 of 5, 1,024 tokens'
    assert row_line(ORIGIN) == line
    assert row_line(ORIGIN, 7).startswith("row 12 at 7, step 3: ")
    assert row_json(ORIGIN) == ORIGIN._asdict()
    assert row_json(ORIGIN, text="", offset=0) == {**ORIGIN._asdict(), "text": "", "offset": 0}


def test_no_text_leaves_its_place() -> None:
    assert text_lines("é\ta\x1b[2J\r\nrow 5\u2028x") == "    é\ta\\x1b[2J\\r\n    row 5\\u2028x"


def test_counts_are_worded_for_people_and_for_machines() -> None:
    span = RowRange(name="window 2", start_row=8, stop_row=1300, first_step=2, last_step=9)
    counts = {
        "books": SourceCounts(num_rows=1290, num_documents=40, num_tokens=1_000_000),
        "a": SourceCounts(num_rows=2, num_documents=1, num_tokens=7),
    }
    assert counts_lines(span, counts) == [
        "window 2: steps 2 to 9, rows 8 to 1299",
        "source   rows  documents     tokens",
        "books   1,290         40  1,000,000",
        "a           2          1          7",
        "total   1,292             1,000,007",
    ]
    told = counts_json(span, counts)
    assert (told["num_rows"], told["num_tokens"], told["start_row"]) == (1292, 1_000_007, 8)
    assert told["sources"]["a"] == {"num_rows": 2, "num_documents": 1, "num_tokens": 7}
    json.dumps(told)


# The golden pools.


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
