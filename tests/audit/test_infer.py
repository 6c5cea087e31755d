"""Infer: which way of making rows gave a shard: from raw text, a digest, or the shard alone."""

import gzip
import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support import builds
from support.chunks import CLS, SEP, Case, clean_up, published, slices
from support.chunks import tokenizer as load
from support.commands import call
from support.paths import SHARED
from tokenizers import Tokenizer as Library

from pipeline.audit.attest import digest_of, infer, load_facts, open_shard
from pipeline.audit.attest.facts import Fact
from pipeline.audit.attest.infer import ways_of
from pipeline.audit.attest.raw_head import RawHead
from pipeline.audit.attest.variants import ID_FORMS, Form, Making, Tails, forms, makings
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows

FOLDER = "tales_0001-tokenized-chunked-64-32-8-backfill-nodups"
LIMIT = 64 << 20
DATA = SHARED / "data" / "books" / "books-0001.json.gz"
READING = SHARED / "published" / "retokenize-1024"


def documents() -> list[dict[str, str]]:
    """Documents in which each way of making rows shows: marks, cut characters, runs of spaces."""
    marks = (
        " It is n't so , they 've said ; he 's here !  \u6f6e\u6c50\u8868 \U0001f30a  caf\u00e9 .\n"
    )
    made = []
    for number in range(40):
        words = builds.text(f"tale {number}", 17 * number % 190 + 3)
        made.append({"id": f"tale-{number}", "text": f"Tale {number}:{marks}{words}{marks * 3}"})
    return made


def make_rows(
    making: Making, told: Sequence[dict[str, str]] | None = None
) -> list[tuple[str, list[int]]]:
    """Make rows in a way, plainly, with the library alone."""
    told = documents() if told is None else told
    tokenizer = load(making.add_prefix_space)
    encoded = tokenizer.encode_reference([one["text"] for one in told])
    if making.rewrite == "bare":
        encoded = Rows.pack([ids[1:-1] for ids in encoded])
    cut, tails = making.cut, making.tails
    case = Case(cut, min(tails.min_size, cut), tails.skip_below)
    if making.rewrite == "re-encoded":
        case = case._replace(size=cut + 2)
        chunks, failed, _ = published(encoded, case, making.add_prefix_space, making.cleans_up)
        assert not failed
    else:
        chunks, _ = slices(encoded, case)
    if making.rewrite == "framed":
        chunks = [
            (one, [*([] if ids[0] == CLS else [CLS]), *ids, *([] if ids[-1] == SEP else [SEP])])
            for one, ids in chunks
        ]
    if making.rewrite in ("framed twice", "bare"):
        chunks = [(one, [CLS, *ids, SEP]) for one, ids in chunks]
    if making.rewrite in ("retokenized", "kept specials"):
        library = Library.from_str(tokenizer.data.decode())
        skips = making.rewrite == "retokenized"
        texts = [library.decode(ids, skip_special_tokens=skips) for _, ids in chunks]
        texts = [clean_up(text) if making.cleans_up else text for text in texts]
        again = tokenizer.encode_reference(texts)
        chunks = [(one, ids.tolist()) for (one, _), ids in zip(chunks, again, strict=True)]
    return [(told[one]["id"], ids) for one, ids in chunks]


def write_shard(path: Path, rows: Sequence[tuple[str, list[int]]], form: Form) -> Path:
    """Write one shard by the rules of the format alone."""
    header = json.dumps(
        {
            "column_encodings": ["str", f"ndarray:{form.dtype}"],
            "column_names": ["id", "input_ids"],
            "column_sizes": [None, None],
            "compression": form.header,
            "format": "mds",
            "hashes": [],
            "size_limit": LIMIT,
            "version": 2,
        },
        sort_keys=True,
    ).encode()
    spell = {
        "as they are": lambda id_: id_,
        "<urn:uuid:…>": lambda id_: f"<urn:uuid:{id_}>",
        "sha1": lambda id_: hashlib.sha1(id_.encode()).hexdigest(),
        "none": lambda id_: "",
    }[form.ids]
    bodies = []
    for id_, ids in rows:
        shape = (
            struct.pack("<BB", 4, len(ids)) if len(ids) < 256 else struct.pack("<BH", 5, len(ids))
        )
        array = (
            shape
            + np.array(ids, form.dtype).astype(f"<u{2 if form.dtype == 'uint16' else 4}").tobytes()
        )
        name = spell(id_).encode()
        bodies.append(struct.pack("<II", len(name), len(array)) + name + array)
    ends = np.cumsum([0, *map(len, bodies)]) + 8 + 4 * len(bodies) + len(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack("<I", len(bodies)) + ends.astype("<u4").tobytes() + header + b"".join(bodies)
    )
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "tales-0001.json.gz"
    path.write_bytes(gzip.compress(builds.json_lines(documents())))
    return path


USUAL = Form(dtype="uint16", header="zstd", ids="as they are")


CUTS = (64, 62, 66)
TAILS = Tails(min_size=32, skip_below=8)
WAYS = makings(CUTS, TAILS)
QUICK = (WAYS[1], WAYS[4], WAYS[5], WAYS[7], WAYS[-1])


def way(rewrite: str, cleans_up: bool = False) -> Making:
    return next(one for one in WAYS if (one.rewrite, one.cleans_up) == (rewrite, cleans_up))


def told_digest(path: Path) -> tuple[str, dict[str, tuple[Fact, ...]]]:
    """Return the digest of a shard, and a fact of it, that names its folder."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fact = Fact(
        repo="made/up",
        path=f"train/{path.parent.name}/{path.name}",
        kind="sha256",
        value={"sha256": digest},
        revision="",
        source="",
        note="",
    )
    return digest, {"made/up": (fact,)}


def check_way(making: Making, raw: Path, folder: Path) -> None:
    """See that a way alone is found, by a shard and by its digest."""
    shard = write_shard(folder / FOLDER / "shard.00000.mds", make_rows(making), USUAL)
    found = infer(raw, str(shard), {})
    assert found.num_tried == len(WAYS) == 60
    exact = [fit for fit in found.fits if fit.is_exact]
    assert [(fit.making, fit.form) for fit in exact] == [(making, USUAL)]
    assert found.fits[0] == exact[0]
    assert exact[0].num_compared == exact[0].num_rows == found.num_rows > 80
    # The nearest of the others says what is different.
    assert "from id " in found.fits[1].difference
    [fit] = infer(raw, *told_digest(shard)).fits
    assert (fit.making, fit.form) == (making, USUAL)


@pytest.mark.parametrize("making", QUICK, ids=lambda making: making.words)
def test_a_way_is_found_from_a_shard_and_a_digest(
    making: Making, raw: Path, tmp_path: Path
) -> None:
    check_way(making, raw, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("making", WAYS, ids=lambda making: making.words)
def test_each_way_is_found_from_a_shard_and_a_digest(
    making: Making, raw: Path, tmp_path: Path
) -> None:
    check_way(making, raw, tmp_path)


@pytest.mark.parametrize("form", [*forms()], ids=lambda form: form.words)
def test_each_form_is_found_from_a_digest(form: Form, raw: Path, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", make_rows(WAYS[0]), form)
    found = infer(raw, *told_digest(shard))
    assert [(fit.making, fit.form) for fit in found.fits] == [(WAYS[0], form)]


def test_settings_name_what_a_mixture_can_be_set_to() -> None:
    assert way("retokenized", True).settings == [
        "chunk.algorithm=ettin-retokenize-v1",
        "chunk.size=64",
        "chunk.min_size=32",
        "chunk.skip_below=8",
        "tokenizer.add_prefix_space=false",
    ]
    assert [one.rewrite for one in WAYS if one.settings is not None] == 6 * [
        "none",
        "retokenized",
        "re-encoded",
    ]


def test_the_ways_and_forms_are_all_there() -> None:
    assert len(set(WAYS)) == 60
    assert len(set(forms())) == 4 * len(ID_FORMS)


@pytest.mark.parametrize("making", [WAYS[1], WAYS[5]], ids=lambda making: making.words)
def test_the_ids_of_a_later_shard_say_where_it_lies(
    making: Making, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(making)
    owners = [id_ for id_, _ in rows]
    # Rows within a document, after several whose random numbers count.
    start = owners.index("tale-25") + 1
    part = rows[start : start + 60]
    path = tmp_path / FOLDER / "shard.00007.mds"
    shard = write_shard(path, part, replace(USUAL, ids="sha1"))
    code, out, _ = call(capsys, "attest", "--infer", raw, "--against", shard)
    assert code == 0
    assert f"{len({id_ for id_, _ in part})} documents were tokenized\n" in out
    assert "the shard begins with document 26\n" in out
    assert f"reproduces 60 of 60 rows ({sum(len(ids) for _, ids in part):,} ids): " in out
    assert making.words in out
    assert "ids of documents: sha1" in out


def test_a_folder_that_tells_no_size_is_tried_at_the_lengths_of_rows(
    raw: Path, tmp_path: Path
) -> None:
    # Of " '", "student" clean-up makes "'s" and "tudent", and such rows get longer by far.
    told = [*documents(), {"id": "quoted", "text": " 'student" * 80}]
    path = tmp_path / "tales-0001.jsonl"
    path.write_bytes(builds.json_lines(told))
    making = replace(way("retokenized", True), tails=Tails())
    rows = make_rows(making, told)
    lengths = [len(ids) for _, ids in rows]
    assert max(lengths) > 66 + 4
    shard = write_shard(tmp_path / "shard.00000.mds", rows, USUAL)
    assert making in [fit.making for fit in infer(path, str(shard), {}).fits if fit.is_exact]


def test_what_is_tried_follows_from_names_and_lengths() -> None:
    lengths = np.array([1026] * 9 + [1040, 30])
    cuts = [one.cut for one in ways_of("", lengths)]
    assert cuts[0] == 1024
    assert {1022, 1024, 1026, 7998, 8000, 8192, 1025, 1027, 1028, 1038, 1042} <= set(cuts)
    assert {one.cut for one in ways_of("", None)} == {
        size + more for size in (1024, 8000, 8192) for more in (-2, 0, 2)
    }
    named = ways_of("pes2o_0005-tokenized-chunked-8192-512-32-backfill-nodups", lengths)
    assert {one.cut for one in named} == {8190, 8192, 8194}
    assert {one.tails for one in named} == {Tails(min_size=512, skip_below=32)}
    assert "chunk.skip_below=32" in (named[0].settings or [])


def test_rows_that_repeat_misplace_nothing(tmp_path: Path) -> None:
    told = documents()
    told[2]["text"] = " ha" * 1000
    path = tmp_path / "tales-0001.jsonl"
    path.write_bytes(builds.json_lines(told))
    rows = make_rows(WAYS[0], told)
    # The shard begins with one of the rows that are all alike, not with the first.
    start = [id_ for id_, _ in rows].index("tale-2") + 5
    assert rows[start] == rows[start - 2]
    shard = write_shard(tmp_path / FOLDER / "shard.00001.mds", rows[start:], USUAL)
    assert [fit.making for fit in infer(path, str(shard), {}).fits if fit.is_exact] == [WAYS[0]]


def test_what_none_makes_is_told_by_the_nearest(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(WAYS[0])
    rows[7] = (rows[7][0], [*rows[7][1][:5], 11, *rows[7][1][6:]])
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    code, out, err = call(capsys, "attest", "--infer", raw, "--against", shard)
    assert code == 1
    assert err.startswith("ways tried on the first rows: 60/60\n")
    assert "none reproduces it" in out
    assert f"{len(rows) - 1} of {len(rows)} rows" in out
    assert "but row 7: 64 ids, made 64; from id 5 on it has " in out
    code, out, _ = call(capsys, "attest", "--infer", raw, "--against", "0" * 64)
    assert code == 1
    assert "none reproduces it" in out


def test_other_ids_of_documents_are_no_fit(raw: Path, tmp_path: Path) -> None:
    rows = [("x", ids) for _, ids in make_rows(WAYS[0])]
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    found = infer(raw, str(shard), {})
    assert not any(fit.is_exact for fit in found.fits)
    assert found.fits[0].num_rows == found.num_rows


@pytest.mark.parametrize("suffix", [".json.gz", ".jsonl.zst", ".jsonl"])
def test_a_head_may_be_cut_anywhere(suffix: str, tmp_path: Path) -> None:
    told = documents()
    data = builds.json_lines(told)
    pack = {".json.gz": gzip.compress, ".jsonl.zst": zstandard.compress, ".jsonl": bytes}[suffix]
    whole = pack(data)
    path = tmp_path / f"head{suffix}"
    for size in (len(whole), len(whole) - 1, len(whole) * 2 // 3, len(whole) // 2):
        path.write_bytes(whole[:size])
        head = RawHead(path)
        if suffix == ".jsonl.zst" and size < len(whole):
            # One block of a frame: nothing is given of it before all is there.
            with pytest.raises(InputError, match="truncated"):
                [*head.documents()]
            continue
        found = [*head.documents()]
        assert found == [(one["id"], one["text"]) for one in told[: len(found)]]
        # A byte less is that of the checksum, or of the last line's end.
        assert (len(found) == len(told)) == (size >= len(whole) - 1)
        is_plain = suffix == ".jsonl" and size == len(whole) - 1
        assert (head.end == "") == (size == len(whole) or is_plain)
        # It may be read again.
        assert [*head.documents()] == found


def test_raw_files_of_other_kinds_are_read(raw: Path, tmp_path: Path) -> None:
    told = documents()
    ids, texts = ([one[key] for one in told] for key in ("id", "text"))
    path = tmp_path / "tales-0001.parquet"
    pq.write_table(pa.table({"id": ids, "text": texts}), path)
    assert [*RawHead(path).documents()] == [*RawHead(raw).documents()]
    path = tmp_path / "tales-0002.jsonl"
    path.write_bytes(builds.json_lines([{"text": text} for text in texts]))
    shard = write_shard(
        tmp_path / FOLDER / "shard.00000.mds",
        [(id_.replace("tale-", "tales_0002/"), row) for id_, row in make_rows(WAYS[0])],
        USUAL,
    )
    # Documents without ids have those that a build makes for them.
    assert infer(path, str(shard), {}).fits[0].is_exact


def test_bad_raw_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    line = b'{"id": "a", "text": "x"}\n'
    for name, data, said in (
        ("none.jsonl", None, "none.jsonl: got nothing, expected a file of documents"),
        ("folder.jsonl", None, "got a folder, expected a file"),
        ("pipe.jsonl", None, "got a pipe, expected a file"),
        ("name.bin", line, "name.bin, expected a file that ends in one of .arrow, "),
        ("empty.jsonl", b"", "got no whole document"),
        ("empty.json.gz", b"", "the file is "),
        ("bad.jsonl", b'"x"\n', "document 1: got a JSON str, expected an object"),
        ("open.jsonl", b"[1, 2\n", "broken JSON array after document 1"),
        ("zeros.jsonl", b"\x00\x01\n", "document 1: got a line that is not JSON"),
        ("latin.jsonl", b'{"id": "a", "text": "\xe9"}\n' + line, "document 1: invalid UTF-8"),
        ("texts.jsonl", b'{"id": "a", "body": "x"}\n', 'field "text" is missing among id, body'),
        ("middle.jsonl", line + b"{\n" + line, "document 2: got a line that is not JSON"),
        ("cut.parquet", b"PAR1\x15\x00\x00", "broken parquet after document 0"),
        ("page.jsonl", b"<!doctype html><p>404</p>", "got a page of HTML, expected JSON lines"),
        ("half.jsonl", rb'{"id": "\ud800", "text": "x"}', "document 1: got an id that is no text"),
        (
            "object.jsonl",
            b'{"id": {"a": 0}, "text": "x"}\n',
            "document 1: got an id that is no text",
        ),
        ("wrong.jsonl", gzip.compress(line), "got gzip, expected JSON lines"),
    ):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError) as raised:
            [*RawHead(path).documents()]
        assert said in raised.value.message, name
        assert "\n" not in raised.value.message


def test_bad_targets_are_refused_in_one_line(raw: Path, tmp_path: Path) -> None:
    shard = tmp_path / "shard.00000.mds"
    for data in (b"", b"\xff" * 100, b"\x00" * 100):
        shard.write_bytes(data)
        with pytest.raises(InputError, match="do not begin a raw MDS shard"):
            open_shard(shard)
    os.mkfifo(tmp_path / "pipe.mds")
    with pytest.raises(InputError, match="not a regular file"):
        open_shard(tmp_path / "pipe.mds")
    with pytest.raises(InputError, match="neither a file nor a digest"):
        infer(raw, "nowhere.mds", {})
    head = tmp_path / "head.json.gz"
    head.write_bytes(raw.read_bytes()[:-1000])
    with pytest.raises(InputError, match="documents, which fill no shard of 67,108,864 bytes"):
        infer(head, "0" * 64, {})
    facts = load_facts()
    for end, said in (
        ("shard.00009.mds", r"shard\.00009\.mds, expected the first shard"),
        ("books_0001/shard.00000.mds", "taken longest first, expected file order"),
    ):
        digest = next(
            one.value["sha256"]
            for own in facts.values()
            for one in own
            if one.kind == "sha256" and one.path.endswith(end)
        )
        with pytest.raises(InputError, match=said):
            infer(raw, digest, facts)


def test_documents_without_text_are_tried(raw: Path, tmp_path: Path) -> None:
    # Without special tokens, they have no rows.
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b'{"id": "a", "text": ""}\n')
    assert infer(path, "0" * 64, {}).fits == ()
    rows = [("a", [CLS, SEP])]
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    assert infer(path, str(shard), {}).fits[0].making == WAYS[0]
    assert infer(path, *told_digest(shard)).fits[0].making == WAYS[0]


def test_few_rows_are_no_proof(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = documents()
    rows = make_rows(WAYS[0], told)
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    for number, code in ((3, 1), (30, 0)):
        path = tmp_path / "tales-0001.jsonl"
        path.write_bytes(builds.json_lines(told[:number]))
        num_made = len(make_rows(WAYS[0], told[:number]))
        got, out, _ = call(capsys, "attest", "--infer", path, "--against", shard)
        assert (num_made >= 100, got) == (not code, code)
        assert f"{num_made} of {num_made} rows compared, of {len(rows)} (" in out
        assert ("too few rows to tell, expected all, or 100: give more of RAW" in out) == bool(code)


@pytest.mark.skipif(not READING.is_dir(), reason=f"the readings do not lie at {READING}")
def test_the_reading_of_published_rows_is_found() -> None:
    folder = READING / "train" / "books"
    [shard] = folder.glob("books_0001*/shard.00000.mds")
    for against in (str(shard), hashlib.sha256(shard.read_bytes()).hexdigest()):
        fit = infer(DATA, against, {}).fits[0]
        assert fit.is_exact
        assert fit.making.settings == [
            "chunk.algorithm=ettin-retokenize-v1",
            "chunk.size=1024",
            "chunk.min_size=512",
            "chunk.skip_below=128",
            "tokenizer.add_prefix_space=false",
        ]
    told = json.loads((SHARED / "published" / "slice2-1024" / "order" / "golden.json").read_bytes())
    digest = told["shards_sha256"][f"books/{shard.parent.name}/{shard.name}"]
    [fit] = infer(DATA, digest, {}).fits
    assert fit.making.words == "cut at 1,024 ids, kept as they are, without prefix space"


@pytest.mark.parametrize("name", ["0-0-0", "1-1-1", "99999999999999999999-1-1", "64-128-8"])
def test_folders_whose_names_tell_nothing_possible_tell_nothing(name: str) -> None:
    assert ways_of(f"x-chunked-{name}", None) == ways_of("x", None)


def test_a_digest_is_read_as_a_lock_or_a_person_spells_it(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert digest_of("sha256:" + "A0" * 32) == "a0" * 32
    assert digest_of("a0") is None
    code, _, err = call(capsys, "attest", "--infer", "--against", "A0" * 32)
    assert code == 2
    assert "without raw documents, expected a shard" in err
