"""Text search: texts are found however a build wrote them, and nothing else is."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import builds
from support.clusters import Build
from support.orders import open_rows
from support.strategies import QUICK
from support.traced import ListedRows, as_lists, naive_find, unspaced, write_output

from pipeline.audit.trace.lookup import Trace
from pipeline.audit.trace.text_search import find, find_ids, id_patterns
from pipeline.cli.main import main
from pipeline.core.errors import ConfigError, NotFoundError
from pipeline.dataset.manifest import manifest_bytes, read_manifest
from pipeline.stages.tokenizer import Tokenizer

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


def spelled(
    text: str, plain: Tokenizer, built: Tokenizer, *, chunker: str = "whole-v1", joint: str = ""
) -> list[str]:
    """Return what is looked for, as texts in which `joint` stands between tokens."""
    found = id_patterns(text, plain, built, chunker=chunker)
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
    found = spelled("at  sea", tokenizer, spacing, chunker="ettin-reencode-v1", joint="|")
    assert found == [*plain, *written, *again]
    found = spelled("harbour", tokenizer, spacing, chunker="ettin-reencode-v1")
    assert found == ["harbour", " harbour"]


def test_a_text_is_looked_for_without_the_spaces_that_a_clean_up_takes(
    tokenizer: Tokenizer,
) -> None:
    found = spelled("at . sea", tokenizer, tokenizer, chunker="ettin-reencode-v1")
    assert found == ["at . sea", " at . sea", "at. sea", " at. sea"]


def test_no_space_is_looked_for_in_place_of_special_tokens(
    tokenizer: Tokenizer, spacing: Tokenizer
) -> None:
    found = id_patterns("[CLS]", tokenizer, spacing, chunker="ettin-reencode-v1")
    assert all(tokenizer.cls_id in ids for ids in found)


@pytest.mark.parametrize(
    ("text", "message"), [("", "got an empty text"), ("\ud800", "is not valid Unicode")]
)
def test_texts_without_ids_are_refused(text: str, message: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=message):
        id_patterns(text, tokenizer, tokenizer, chunker="whole-v1")


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


def test_the_rows_of_a_foreign_pool_are_searched(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Its manifest does not say how chunks were made."""
    named = {"name": "modernbert", "sha256": tokenizer.digest}
    write_output(tmp_path, [("a", "x")], tokenizer=named)
    manifest = read_manifest(tmp_path / "manifest.json")
    declared = {"tokenizer": manifest.mixture.declaration["tokenizer"], "pool": "0" * 64}
    changed = replace(manifest, mixture=replace(manifest.mixture, declaration=declared))
    (tmp_path / "manifest.json").write_bytes(manifest_bytes(changed))
    trace = Trace.open(tmp_path)
    ids = tokenizer.encode(["a boat"]).values.tolist()
    [(match, row)] = trace.find(trace.patterns("boat"), ListedRows([ids]))
    assert (match.row, row.document) == (0, "x")


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
    "retokenize": ("false", CUT.format("ettin-retokenize-v1")),
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


USUAL = ("reencode", "retokenize", "whole")


# All with -m "".
@pytest.fixture(
    scope="module",
    params=[pytest.param(way, marks=[] if way in USUAL else [pytest.mark.slow]) for way in WAYS],
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
