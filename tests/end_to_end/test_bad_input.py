"""Bad input in a whole build: a count, or one clear line, and nothing lost."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bad_lines import BAD_LINES
from support.here import Here, run_here
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pipeline.config import Origin
from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError, DocumentError, InputError
from pipeline.dataset.manifest import manifest_bytes
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import index_bytes, merge_indexes
from pipeline.runner import run as building
from pipeline.runner import sampled_shards
from pipeline.runner.tasks.read_documents import Input
from pipeline.sources.partitions import InputFile
from pipeline.sources.readers import SKIP_HINT, file_reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the mixtures of all builds, so that the tokenizer is loaded once."""
    return tmp_path_factory.mktemp("mixtures")


@pytest.fixture
def build(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that builds files of one source; its output is `tmp_path / out`."""

    run_here(monkeypatch, sampled_shards, Here())

    def run(
        files: Mapping[str, bytes],
        *settings: str,
        algorithm: str = "whole-v1",
        on_error: str = "skip",
        out: str = "out",
    ) -> dict[str, Any]:
        inputs = tmp_path / f"{out}-inputs"
        inputs.mkdir(exist_ok=True)
        for name, data in files.items():
            (inputs / name).write_bytes(data)
        ettin = "" if algorithm == "whole-v1" else ", min_size: 10, skip_below: 3, seed: 42"
        declared = f"""
name: bad
chunk: {{algorithm: {algorithm}, size: 16{ettin}}}
sources: {{s: {{from: {{path: "{inputs}/*"}}}}}}
order: {{seed: 1, global_batch_size: 2, max_seq_len: 16}}
on_error: {on_error}
"""
        mixture = load_mixture(folder / "mixture.yaml", settings, text=declared.encode())
        made = building.build(
            mixture, tmp_path / out, workers=1, scheduler=None, report=lambda *_: None
        )
        content: dict[str, Any] = json.loads(manifest_bytes(made))
        return content

    return run


def lines(*documents: tuple[str, str]) -> bytes:
    return b"".join(
        json.dumps({"id": id_, "text": text}).encode() + b"\n" for id_, text in documents
    )


def stored(out: Path) -> dict[str, bytes]:
    """Return the shards of an output by path, less what names no rows."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted((out / "train").rglob("*"))
        if path.is_file()
    }


def written_ids(out: Path) -> list[str]:
    """Return the document ids of all rows, in the order of the root index."""
    pool = Pool.open(out / "train")
    ids = []
    for shard in pool.shards:
        names = shard.names(np.arange(len(shard.row_offsets) - 1))
        ids += [names[row].tobytes().decode() for row in range(len(names))]
    return ids


PROSE = "The tide tables hang beside the door, and nobody reads them but the cat. " * 4


def test_every_kind_of_bad_document_is_counted_and_the_rest_is_as_without_it(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    good = [("a", PROSE), ("b", "short"), ("c", PROSE[5:])]
    bad = b"".join(line + b"\n" for line, _, _ in BAD_LINES.values())
    bad += lines(("only", "[CLS][SEP]"), ("only 2", "[MASK]"), ("a", "again"))
    manifest = build({"f.jsonl": lines(good[0]) + bad + lines(*good[1:])}, "max_bad=1")
    build({"f.jsonl": lines(*good)}, out="clean")
    documents = manifest["sources"]["s"]["documents"]
    assert documents["dropped"] == {
        "duplicate_field": 2,
        "duplicate_id": 1,
        "empty_text": 1,
        "invalid_json": 10,
        "invalid_utf8": 2,
        "no_id": 4,
        "no_text": 5,
        "only_special_tokens": 2,
    }
    assert documents["kept"] == 3
    assert documents["in"] == 3 + sum(documents["dropped"].values())
    assert stored(tmp_path / "out") == stored(tmp_path / "clean")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (("x", "[CLS] [SEP]"), None),
        (("x", "[CLS][SEP]"), 'id "x" has only special tokens'),
        (("a", "again"), 'id "a" was seen before'),
    ],
    ids=["a space is content", "only special tokens", "duplicate"],
)
def test_a_bad_document_stops_a_build_by_name(
    build: Callable[..., dict[str, Any]],
    tmp_path: Path,
    document: tuple[str, str],
    what: str | None,
) -> None:
    files = {"f.jsonl": lines(("a", PROSE), document)}
    if what is None:
        assert build(files, on_error="stop")["sources"]["s"]["documents"]["kept"] == 2
        return
    with pytest.raises(DocumentError) as raised:
        build(files, on_error="stop")
    assert raised.value.message.endswith(f"f.jsonl: document 2: {what}")
    assert raised.value.hint == SKIP_HINT
    assert not list((tmp_path / "out").rglob("*.mds")), "nothing half-written stays"


@pytest.mark.parametrize("algorithm", ["whole-v1", "ettin-slice-v1", "ettin-reencode-v1"])
def test_the_first_of_a_repeated_id_is_kept_and_the_bytes_are_as_without_the_later_ones(
    build: Callable[..., dict[str, Any]], tmp_path: Path, algorithm: str
) -> None:
    one = [("a", PROSE), ("b", PROSE[3:]), ("c", "short text"), ("d", PROSE[9:])]
    two = [("e", PROSE[1:]), ("f", PROSE[2:])]
    repeated_one = [one[0], ("a", "adjacent"), one[1], one[2], ("a", PROSE[7:]), one[3], ("c", "x")]
    repeated_two = [("b", "of the other file"), two[0], ("e", PROSE), two[1], ("e", "later")]
    files = {"1.jsonl": lines(*repeated_one), "2.jsonl": lines(*repeated_two)}
    manifest = build(files, algorithm=algorithm)
    build({"1.jsonl": lines(*one), "2.jsonl": lines(*two)}, algorithm=algorithm, out="clean")
    documents = manifest["sources"]["s"]["documents"]
    assert documents == {"in": 12, "kept": 6, "dropped": {"duplicate_id": 6}}
    assert stored(tmp_path / "out") == stored(tmp_path / "clean")


def test_repeated_ids_across_files_are_all_named_when_the_build_stops(
    build: Callable[..., dict[str, Any]],
) -> None:
    files = {"1.jsonl": lines(("a", "x"), ("b", "y")), "2.jsonl": lines(("b", "z"), ("a", "w"))}
    with pytest.raises(DocumentError) as raised:
        build(files, on_error="stop")
    assert raised.value.message == (
        "sources.s: got documents that share an id, expected ids unique in a source: "
        '"a" in 1 and 2; "b" in 1 and 2'
    )
    # Of files that hold the same documents, `id: null` would read every one twice.
    same, counted, rest = str(raised.value.hint).split("; ")
    assert same == "if files hold the same documents, leave one out with a narrower pattern"
    assert counted.startswith("if each file counts its own, write `id: null`")
    assert rest == "`on_error: skip` keeps only the first document of each id"


@pytest.mark.parametrize("apart", [[], [("b", "y")]])
def test_an_id_that_recurs_in_one_file_is_no_reason_to_make_ids(
    build: Callable[..., dict[str, Any]], apart: list[tuple[str, str]]
) -> None:
    with pytest.raises(DocumentError, match='id "a" was seen before') as raised:
        build({"f.jsonl": lines(("a", "x"), *apart, ("a", "x"))}, on_error="stop")
    assert raised.value.hint == SKIP_HINT
    assert "id: null" not in SKIP_HINT


def test_the_first_file_by_name_wins_whatever_was_listed_first(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    build({"b.jsonl": lines(("x", "from b"), ("y", "y")), "a.jsonl": lines(("x", "from a"))})
    assert written_ids(tmp_path / "out") == ["x", "y"]


@pytest.mark.parametrize("middle", [14, 40, 3_000])
def test_a_document_with_a_piece_that_decodes_to_nothing_is_counted_or_named(
    build: Callable[..., dict[str, Any]], tmp_path: Path, middle: int
) -> None:
    # Pieces are of 14 ids, CLS among those of the first: one of the pieces is special ids alone.
    hole = ("hole", PROSE + "[SEP]" * (middle + 13) + PROSE)
    files = {"f.jsonl": lines(("a", PROSE), hole, ("b", PROSE))}
    with pytest.raises(DocumentError) as raised:
        build(files, algorithm="ettin-reencode-v1", on_error="stop")
    assert raised.value.message.endswith(
        'f.jsonl: document 2: id "hole" has a piece that decodes to nothing, which '
        "ettin-reencode-v1 cannot chunk"
    )
    manifest = build(files, algorithm="ettin-reencode-v1", out="skipped")
    source = manifest["sources"]["s"]
    assert source["documents"] == {"in": 3, "kept": 2, "dropped": {"undecodable": 1}}
    tokens = source["tokens"]
    assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"]
    assert set(written_ids(tmp_path / "skipped")) == {"a", "b"}


@pytest.mark.parametrize(
    "model",
    [models.WordLevel, models.WordPiece, models.BPE, models.Unigram],
    ids=lambda model: model.__name__,
)
def test_a_document_that_the_tokenizer_has_no_ids_for_is_counted_or_named(
    build: Callable[..., dict[str, Any]], tmp_path: Path, model: Any
) -> None:
    path = tmp_path / "tok.json"
    write_tokenizer_without_unknown(path, model)
    files = {"f.jsonl": lines(("a", "boat"), ("hole", "boat \N{SNOWMAN}"), ("b", "boat"))}
    with pytest.raises(DocumentError) as raised:
        build(files, f"tokenizer.name={path}", on_error="stop")
    assert f'f.jsonl: document 2: id "hole" has no ids: {path}: cannot' in raised.value.message
    manifest = build(files, f"tokenizer.name={path}", out="skipped")
    documents = manifest["sources"]["s"]["documents"]
    assert documents == {"in": 3, "kept": 2, "dropped": {"unencodable": 1}}


def write_tokenizer_without_unknown(path: Path, model: Any) -> None:
    special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {one: id_ for id_, one in enumerate([*special, "boat", *"boat"])}
    if model is models.Unigram:
        tokenizer = Tokenizer(model([(one, -1.0) for one in vocabulary]))
    else:
        merges = {"merges": []} if model is models.BPE else {}
        tokenizer = Tokenizer(model(vocabulary, unk_token="[UNK]", **merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))


@pytest.mark.parametrize("algorithm", ["whole-v1", "ettin-slice-v1"])
def test_the_same_document_is_no_trouble_for_the_others(
    build: Callable[..., dict[str, Any]], tmp_path: Path, algorithm: str
) -> None:
    hole = ("hole", PROSE + "[SEP]" * 100 + PROSE)
    manifest = build({"f.jsonl": lines(hole)}, algorithm=algorithm, on_error="stop")
    assert manifest["sources"]["s"]["documents"] == {"in": 1, "kept": 1, "dropped": {}}
    assert set(written_ids(tmp_path / "out")) == {"hole"}


def test_a_source_without_a_good_document_builds_to_nothing_and_says_so(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    manifest = build({"f.jsonl": lines(("empty", "")), "g.jsonl": b"", "h.txt": b"\xff"})
    source = manifest["sources"]["s"]
    dropped = {"empty_text": 1, "invalid_utf8": 1}
    assert source["documents"] == {"in": 2, "kept": 0, "dropped": dropped}
    assert source["chunks"] == {"written": 0, "validation": 0, "drawn": 0}
    assert manifest["order"]["num_samples"] == 0
    index = (tmp_path / "out" / "train" / "index.json").read_bytes()
    assert index == index_bytes(merge_indexes([]), merged=True)


def many(num_good: int, num_bad: int) -> bytes:
    good = lines(*((str(number), "text") for number in range(num_good)))
    return good + b"{\n" * num_bad


@pytest.mark.parametrize(
    ("num_good", "num_bad", "settings", "is_built"),
    [
        (1, 20, [], True),
        (1, 21, [], False),
        (2_079, 21, [], True),
        (2_078, 21, ["max_bad=1/100"], False),
        (30, 30, ["max_bad=0.5"], True),
        (30, 31, ["max_bad=0.5"], False),
        (0, 1, ["max_bad=1"], False),
    ],
)
def test_a_file_of_which_too_many_documents_fail_stops_a_build_that_skips(
    build: Callable[..., dict[str, Any]],
    tmp_path: Path,
    num_good: int,
    num_bad: int,
    settings: list[str],
    is_built: bool,
) -> None:
    files = {"f.jsonl": many(num_good, num_bad), "g.jsonl": lines(("other", PROSE))}
    if is_built:
        dropped = build(files, *settings)["sources"]["s"]["documents"]["dropped"]
        assert dropped == {"invalid_json": num_bad}
        return
    with pytest.raises(InputError) as raised:
        build(files, *settings)
    assert not isinstance(raised.value, DocumentError)
    what = f"f.jsonl: {num_bad} of {num_good + num_bad:,} documents cannot be read (invalid_json "
    assert what in raised.value.message
    assert "first: document " in raised.value.message
    assert ("with max_bad" in str(raised.value.hint)) == (num_good > 0)
    assert not list((tmp_path / "out").rglob("f/*.mds"))


def test_a_build_that_stopped_at_too_many_goes_on_where_more_are_accepted(
    build: Callable[..., dict[str, Any]],
) -> None:
    files = {"f.jsonl": many(30, 30), "g.jsonl": lines(("other", PROSE))}
    with pytest.raises(InputError, match="30 of 60 documents cannot be read"):
        build(files)
    manifest = build(files, "max_bad=0.5")
    assert manifest["sources"]["s"]["documents"]["dropped"] == {"invalid_json": 30}
    assert build(files, "max_bad=0.6")["files"] == manifest["files"]


def test_what_is_left_out_is_counted_in_the_manifest(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    files = {"f.jsonl": lines(("a", PROSE))}
    assert "num_left_out" not in build(files)["sources"]["s"]
    (tmp_path / "again-inputs").mkdir()
    (tmp_path / "again-inputs" / "gone.jsonl").symlink_to("nowhere")
    made = build(files, "sources.s.from.on_missing=skip", out="again")
    assert made["sources"]["s"]["num_left_out"] == 1


def test_a_tokenizer_without_ids_for_many_documents_stops_a_build_that_skips(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "tok.json"
    write_tokenizer_without_unknown(path, models.WordLevel)
    files = {"f.jsonl": lines(*((f"d{number}", "ship") for number in range(21)), ("a", "boat"))}
    with pytest.raises(InputError, match=r"21 of 22 documents cannot be read \(unencodable 21\)"):
        build(files, f"tokenizer.name={path}")
    files = {f"{number}.txt": b"ship" for number in range(21)} | {"a.txt": b"boat"}
    with pytest.raises(InputError, match=r"sources.s: 21 of 22 documents .* \(unencodable 21\)"):
        build(files, f"tokenizer.name={path}", out="text")


@pytest.mark.parametrize(("num_bad", "is_built"), [(20, True), (21, False)])
def test_files_of_text_of_which_too_many_fail_stop_a_build_that_skips(
    build: Callable[..., dict[str, Any]], num_bad: int, is_built: bool
) -> None:
    files = {f"{number}.txt": b"latin \xe9" for number in range(num_bad)} | {"a.txt": b"good"}
    if is_built:
        source = build(files)["sources"]["s"]
        assert source["documents"] == {
            "in": num_bad + 1, "kept": 1, "dropped": {"invalid_utf8": num_bad},
        }  # fmt: skip
        return
    with pytest.raises(InputError, match=r"sources.s: 21 of 22 documents cannot be read \(inv"):
        build(files)
    assert build(files, "max_bad=1")["sources"]["s"]["documents"]["kept"] == 1


@pytest.mark.parametrize(
    ("good", "settings", "message"),
    [
        # Of files of text alone, whatever else the source has.
        ({"f.jsonl": lines(*((str(number), PROSE) for number in range(99)))}, (), "21 of 21"),
        ({}, ("max_bad=1",), "21 of 21 .* expected one that can"),
    ],
)
def test_files_of_text_that_fail_together_stop_a_build_that_skips(
    build: Callable[..., dict[str, Any]],
    good: Mapping[str, bytes],
    settings: Sequence[str],
    message: str,
) -> None:
    files = {f"{number}.txt": b"latin \xe9" for number in range(21)}
    with pytest.raises(InputError, match=message):
        build({**files, **good}, *settings)


def test_repeated_ids_and_empty_texts_are_no_sign_of_a_wrong_file(
    build: Callable[..., dict[str, Any]],
) -> None:
    documents = [("a", "text"), *[("a", "text")] * 30, *[("b", "")] * 30]
    dropped = build({"f.jsonl": lines(*documents)})["sources"]["s"]["documents"]["dropped"]
    assert dropped == {"duplicate_id": 30, "empty_text": 30}


@pytest.mark.parametrize("setting", ["text=contnet", "id=key"])
@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_a_field_that_no_document_has_is_an_error_that_names_those_there_are(
    build: Callable[..., dict[str, Any]], tmp_path: Path, setting: str, on_error: str
) -> None:
    name = setting.partition("=")[2]
    files = {"f.jsonl": lines(("a", "text"), ("b", "text"))}
    with pytest.raises(InputError, match=f'f.jsonl: got fields id, text, expected "{name}"'):
        build(files, f"sources.s.from.{setting}", on_error=on_error)
    assert not (tmp_path / "out").exists()


def test_a_field_that_a_later_file_lacks_is_an_error_too(
    build: Callable[..., dict[str, Any]],
) -> None:
    other = b'{"id": "b", "contnet": "text"}\n' * 3
    with pytest.raises(InputError) as raised:
        build({"f.jsonl": lines(("a", "text")), "g.jsonl": other})
    assert raised.value.message.endswith(
        "g.jsonl: 3 of 3 documents cannot be read (no_text 3), expected one that can; first: "
        'document 1: field "text" is missing among id, contnet, expected text'
    )
    assert raised.value.hint == "name the field that holds the text with from.text"


def test_max_document_bytes_is_part_of_what_a_partition_is_made_from(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    documents = [("a", PROSE), ("b", "x " * 2_000)]
    assert build({"f.jsonl": lines(*documents)})["sources"]["s"]["documents"]["kept"] == 2
    manifest = build({"f.jsonl": lines(*documents)}, "max_document_bytes=1024", out="small")
    documents_of = manifest["sources"]["s"]["documents"]
    assert documents_of == {"in": 2, "kept": 1, "dropped": {"too_large": 1}}
    assert manifest["mixture"]["declaration"]["max_document_bytes"] == 1024
    file = InputFile(path=tmp_path, declared="f", partition="f", kind=".jsonl")
    one = Input(source="s", file=file, origin=Origin(path=("f",)), filters=(), folder=tmp_path)
    assert replace(one, max_document_bytes=1024).declaration() != one.declaration()


def test_a_budget_over_nothing_is_refused(build: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.s\.tokens: needs 5 tokens, has 0\n"):
        build({"f.jsonl": b""}, "sources.s.tokens=5")


def test_budgets_over_what_filters_and_errors_left_are_refused_together(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    lines = b'{"text": "a"}\n{"text": "one two three"}\n{\n'
    found = r"^sources\.s\.tokens: needs 100 tokens, has 8 at max_repetition 1 "
    lost = r"\(dropped 1 of 3 documents: invalid_json 1\)\n"
    with pytest.raises(ConfigError, match=found + lost):
        build({"f.jsonl": lines}, "sources.s.tokens=100", "sources.s.from.id=null")
    assert not (tmp_path / "out" / "train").exists()


def test_a_damaged_file_stops_a_build_that_skips(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="broken compressed data after document "):
        build({"f.json.gz": gzip.compress(lines(("a", PROSE)) * 100)[:-3]})
    assert not list((tmp_path / "out").rglob("*.mds"))


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_repeats_are_told_apart_whatever_is_dropped_between_and_wherever_blocks_end(
    build: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(file_reader, "BLOCK_BYTES", block_bytes)
    special, hole = "[SEP]", PROSE + "[SEP]" * 40 + PROSE
    documents = [
        *[("a", special), ("a", PROSE), ("b", special), ("a", "again"), ("c", hole), ("a", "more")],
        *[("d", PROSE), ("e", special), ("d", "again"), ("a", "late"), ("e", "first of its id")],
    ]
    source = build({"f.jsonl": lines(*documents)}, algorithm="ettin-reencode-v1")["sources"]["s"]
    dropped = {"duplicate_id": 4, "only_special_tokens": 3, "undecodable": 1}
    assert source["documents"] == {"in": 11, "kept": 3, "dropped": dropped}
    kept = dict.fromkeys(written_ids(tmp_path / "out"))
    assert list(kept) == ["a", "d", "e"]


def test_names_of_documents_lead_nowhere(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    ids = ["../../up", "/etc/passwd", "a\nb", "", ".", "\u00e9\x00", "x" * 5_000]
    build({"f.jsonl": lines(*((id_, "text") for id_ in ids))})
    assert written_ids(tmp_path / "out") == ids
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out-inputs"}
