"""Which documents go, compared with a naive search over all texts in memory."""

import os
import random
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.mixture import DedupSpec, MinHashSpec
from pipeline.core.digest import FileDigest
from pipeline.core.document import Document
from pipeline.stages.dedup.decontaminate import Contamination, read_evaluation
from pipeline.stages.dedup.find_drops import REASONS, DroppedRows, find_drops, save_drops
from pipeline.stages.dedup.minhash import band_keys
from pipeline.stages.dedup.ngrams import hash_ngrams, hash_words
from pipeline.stages.dedup.scan import ScannedFile, save_scan, scan_documents
from pipeline.stages.text_digest import normalise

Place = tuple[str, str, int]
"""Source, file and row of a document."""
Corpus = Mapping[tuple[str, str], Mapping[int, str]]
"""Texts by source and file, then by row."""
Found = dict[Place, tuple[str, Place | None]]
"""Why a document goes, and what it is a copy of."""

NEAR = MinHashSpec(ngram_words=2, num_bands=4, rows_per_band=2)
EVALUATION = read_evaluation(["x y z"], 3)


def documents(texts: Mapping[int, str]) -> list[Document]:
    return [Document(id=str(row), text=text, row=row) for row, text in sorted(texts.items())]


def scanned(
    folder: Path,
    corpus: Corpus,
    minhash: MinHashSpec | None = None,
    split: Callable[[list[Document]], list[list[Document]]] = lambda block: [block],
) -> list[ScannedFile]:
    contamination = Contamination(EVALUATION.ngrams, 3)
    files = []
    for number, ((source, file), texts) in enumerate(corpus.items()):
        path = folder / f"{number}.parquet"
        blocks = (
            scan_documents(block, minhash, contamination) for block in split(documents(texts))
        )
        save_scan(path, folder / "scratch", minhash, blocks)
        files.append(ScannedFile(source=source, file=file, path=path))
    return files


def told(drops: Sequence[DroppedRows]) -> Found:
    """Return what was found by name."""
    found: Found = {}
    for one in drops:
        file = one.files[one.file]
        columns = (one.rows, one.reasons, one.survivor_files, one.survivor_rows)
        for row, reason, of_file, of_row in zip(*(c.tolist() for c in columns), strict=True):
            of = one.files[of_file]
            survivor = None if of_file == -1 else (of.source, of.file, of_row)
            word = ("contaminated", "duplicate_text", "near_duplicate")[reason]
            found[file.source, file.file, row] = (word, survivor)
    return found


def naive(corpus: Corpus, spec: DedupSpec | None) -> Found:
    """Compare every document with every one before it."""
    places = sorted(
        (source, file, row) for (source, file), texts in corpus.items() for row in texts
    )
    text_by_place = {(s, f, row): normalise(corpus[s, f][row]) for s, f, row in places}
    found: Found = {}
    for place in places:
        if "x y z" in " ".join(re.findall(r"\w+", text_by_place[place].lower())):
            found[place] = ("contaminated", None)
    if spec is None:
        return found
    scopes = defaultdict(list)
    for place in places:
        scopes["" if spec.scope == "mixture" else place[0]].append(place)
    for scope in scopes.values():
        if spec.exact:
            firsts: dict[str, Place] = {}
            for place in scope:
                if place not in found:
                    first = firsts.setdefault(text_by_place[place], place)
                    if first != place:
                        found[place] = ("duplicate_text", first)
        if spec.minhash is not None:
            rest = [place for place in scope if place not in found]
            words = hash_words([text_by_place[place] for place in rest])
            keys = band_keys(hash_ngrams(words, spec.minhash.ngram_words), spec.minhash).tolist()
            groups = [{i} for i in range(len(rest))]
            for i in range(len(rest)):
                for j in range(i):
                    if any(one == other != 0 for one, other in zip(keys[i], keys[j], strict=True)):
                        joined = groups[i] | groups[j]
                        for member in joined:
                            groups[member] = joined
            for i, place in enumerate(rest):
                if min(groups[i]) != i:
                    found[place] = ("near_duplicate", rest[min(groups[i])])
    return found


words = st.lists(st.sampled_from(["a", "b", "A", "x", "y", "z", "?"]), max_size=4).map(" ".join)
long = st.builds(
    lambda base, i: " ".join([*(f"{base}{chr(97 + k)}" for k in range(12)), chr(97 + i)]),
    st.sampled_from("pq"),
    st.integers(0, 3),
)
corpora = st.dictionaries(
    st.tuples(st.sampled_from(["s", "t", "é"]), st.sampled_from(["1", "10", "2", "ä"])),
    st.dictionaries(st.integers(0, 40), words | long, max_size=8),
    min_size=1,
    max_size=4,
)
specs = st.none() | st.builds(
    DedupSpec,
    scope=st.sampled_from(["mixture", "source"]),
    exact=st.booleans(),
    minhash=st.none() | st.just(NEAR),
)


@QUICK
@given(
    corpus=corpora,
    spec=specs,
    shuffle=st.randoms(use_true_random=False),
    memory_bytes=st.sampled_from([200, 2000, 1 << 30]),
)
def test_what_goes_is_what_a_naive_search_finds(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Corpus,
    spec: DedupSpec | None,
    shuffle: random.Random,
    memory_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    files = scanned(folder, corpus, NEAR)
    shuffle.shuffle(files)
    scratch = folder / "scratch"
    drops = list(find_drops(files, spec, scratch, memory_bytes=memory_bytes))
    assert told(drops) == naive(corpus, spec)
    assert [(one.files[one.file].source, one.files[one.file].file) for one in drops] == sorted(
        corpus
    )
    assert list(scratch.iterdir()) == []
    counts = sum(len(one.rows) for one in drops)
    assert counts == len(told(drops))


@QUICK
@given(texts=st.dictionaries(st.integers(0, 40), words | long, max_size=12), cut=st.integers(0, 12))
def test_a_scan_does_not_show_where_blocks_ended(
    tmp_path_factory: pytest.TempPathFactory, texts: Mapping[int, str], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("survey")
    corpus = {("s", "1"): texts}
    [one] = scanned(folder, corpus, NEAR)
    whole = one.path.read_bytes()
    [other] = scanned(folder, corpus, NEAR, lambda block: [block[:cut], block[cut:]])
    assert other.path.read_bytes() == whole


def test_a_scan_of_more_than_a_group_of_rows_is_whole(tmp_path: Path) -> None:
    texts = {row: f"text {row % 70_000:x}" for row in range(150_000)}
    parts = 11

    def split(block: list[Document]) -> list[list[Document]]:
        return [
            block[i : i + len(block) // parts] for i in range(0, len(block), len(block) // parts)
        ]

    files = scanned(tmp_path, {("s", "1"): texts}, split=split)
    assert pq.read_metadata(files[0].path).num_row_groups == 3
    found = told(list(find_drops(files, DedupSpec(), tmp_path / "work", memory_bytes=1 << 20)))
    assert found == {
        ("s", "1", row): ("duplicate_text", ("s", "1", row % 70_000))
        for row in range(70_000, 150_000)
    }


def test_one_text_everywhere_fills_no_bucket(tmp_path: Path) -> None:
    corpus = {("s", f"{i}"): dict.fromkeys(range(300), "the same") for i in range(3)}
    files = scanned(tmp_path, corpus)
    drops = list(find_drops(files, DedupSpec(), tmp_path / "work", memory_bytes=1))
    assert sum(len(one.rows) for one in drops) == 899
    assert told(drops)["s", "2", 299] == ("duplicate_text", ("s", "0", 0))


def test_a_copy_of_a_contaminated_text_is_contaminated_too(tmp_path: Path) -> None:
    corpus = {("s", "1"): {0: "so x, y z then", 1: "so  x, y z then"}}
    files = scanned(tmp_path, corpus)
    drops = list(find_drops(files, DedupSpec(), tmp_path / "work"))
    assert [[REASONS[code] for code in one.reasons] for one in drops] == [["contaminated"] * 2]


def test_near_duplicates_of_near_duplicates_go_with_the_first(tmp_path: Path) -> None:
    words = [f"w{chr(97 + i)}" for i in range(24)]
    chain = {i: " ".join(words[i : i + 20]) for i in range(5)}
    spec = DedupSpec(minhash=MinHashSpec(ngram_words=1, num_bands=60, rows_per_band=2))
    files = scanned(tmp_path, {("s", "1"): chain}, spec.minhash)
    [drops] = find_drops(files, spec, tmp_path / "work")
    assert drops.rows.tolist() == [1, 2, 3, 4]
    assert drops.survivor_rows.tolist() == [0, 0, 0, 0]


def test_documents_without_words_are_like_no_other(tmp_path: Path) -> None:
    files = scanned(tmp_path, {("s", "1"): {0: "?!", 1: "...", 2: "?!"}}, NEAR)
    [drops] = find_drops(files, DedupSpec(minhash=NEAR), tmp_path / "work")
    assert drops.rows.tolist() == [2]


def test_saved_drops_name_the_survivors_alone(tmp_path: Path) -> None:
    corpus: Corpus = {
        ("a", "one"): {0: "the same", 1: "x y z"},
        ("b", "two"): {0: "another"},
        ("c", "three"): {0: "another", 1: "the same", 2: "x y z"},
    }
    spec = DedupSpec(exact=True)
    saved = {}
    for drops in find_drops(scanned(tmp_path, corpus), spec, tmp_path / "scratch"):
        path = tmp_path / f"drops-{drops.file}"
        with mock.patch.object(os, "fsync", side_effect=AssertionError):
            written = save_drops(path, tmp_path / "scratch", drops)
        assert written == FileDigest.of(path)
        columns = ("row", "of_source", "of_file", "of_row")
        table = pq.read_table(path)
        saved[drops.file] = list(zip(*(table[c].to_pylist() for c in columns), strict=True))
    assert saved == {
        0: [(1, None, None, None)],
        1: [],
        2: [(0, "b", "two", 0), (1, "a", "one", 0), (2, None, None, None)],
    }


def test_drops_explain_themselves(tmp_path: Path) -> None:
    corpus = {
        ("a", "one.jsonl"): {3: "same"},
        ("b", "two.jsonl"): {0: "x y z", 4: "same", 5: "other", 7: " same"},
    }
    files = scanned(tmp_path, corpus)
    drops = list(find_drops(files, DedupSpec(), tmp_path / "work"))
    for number, one in enumerate(drops):
        save_drops(tmp_path / f"drops-{number}", tmp_path / "scratch", one)
    assert pq.read_table(tmp_path / "drops-0").num_rows == 0
    first, *others = pq.read_table(tmp_path / "drops-1").to_pylist()
    assert (first["row"], first["reason"], first["of_file"]) == (0, "contaminated", None)
    assert others == [
        {
            "row": row,
            "reason": "duplicate_text",
            "of_source": "a",
            "of_file": "one.jsonl",
            "of_row": 3,
        }
        for row in (4, 7)
    ]
    assert pq.read_table(tmp_path / "drops-1").to_pylist()[0]["of_row"] is None


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    files = scanned(tmp_path, {("s", "1"): {row: f"text {row}" for row in range(2000)}})
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from pipeline.stages.dedup import ScannedFile, find_drops\n"
        "from pipeline.core.errors import OutputError\n"
        "from pipeline.config.mixture import DedupSpec\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "file = ScannedFile(source='s', file='1', path=Path(sys.argv[1]))\n"
        "try:\n"
        "    list(find_drops([file], DedupSpec(), Path(sys.argv[2])))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    # Less than the arrays of all documents need; enough for those, but not for the keys.
    for most in (10_000, 40_000):
        command = [sys.executable, "-c", code, str(files[0].path), str(tmp_path / "w"), str(most)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "got File too large, expected room for the keys of all documents" in said
        assert "hint: make room" in said


def test_hash_seeds_change_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.stages.dedup import *\n"
        "from pipeline.config.mixture import DedupSpec, MinHashSpec\n"
        "from pipeline.core.document import Document\n"
        "folder = Path(sys.argv[1])\n"
        "near = MinHashSpec(ngram_words=1, num_bands=9, rows_per_band=2)\n"
        "texts = [f'{chr(97 + i % 7)} b c {chr(97 + i % 5)}' for i in range(40)]\n"
        "rows = [Document(id='', text=text, row=i) for i, text in enumerate(texts)]\n"
        "evaluation = read_evaluation(['f b c', 'a b c d e'], 3)\n"
        "contamination = Contamination(evaluation.ngrams, 3)\n"
        "save_scan(folder / 'survey', folder, near, [scan_documents(rows, near, contamination)])\n"
        "file = ScannedFile(source='s', file='1', path=folder / 'survey')\n"
        "[drops] = find_drops([file], DedupSpec(minhash=near), folder / 'work')\n"
        "save_drops(folder / 'drops', folder, drops)\n"
        "assert len(set(drops.reasons.tolist())) == 3\n"
    )
    outputs = []
    for seed in ("0", "1"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=True)
        outputs.append([(folder / name).read_bytes() for name in ("survey", "drops")])
    assert outputs[0] == outputs[1]
