"""Infer: which way of making rows gave a shard: from raw text, a digest, or the shard alone."""

import gzip
import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard
from support import builds
from support.chunks import CLS, SEP, Case, clean_up, published, slices
from support.chunks import tokenizer as load
from support.commands import call
from support.paths import SHARED

from pipeline.audit.attest import infer, load_facts, open_shard
from pipeline.audit.attest.raw_head import read_documents
from pipeline.audit.attest.variants import ID_FORMS, Form, Making, forms, makings
from pipeline.core.errors import InputError

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


def make_rows(making: Making) -> list[tuple[str, list[int]]]:
    """Make rows in a way, plainly, with the library alone."""
    told = documents()
    tokenizer = load(making.add_prefix_space)
    encoded = tokenizer.encode_reference([one["text"] for one in told])
    if making.rewrite == "re-encoded":
        case = Case(making.cut + 2, min(32, making.cut), 8)
        chunks, failed, _ = published(encoded, case, making.add_prefix_space)
        assert not failed
    else:
        chunks, _ = slices(encoded, Case(making.cut, min(32, making.cut), 8))
    if making.rewrite == "framed":
        chunks = [
            (one, [*([] if ids[0] == CLS else [CLS]), *ids, *([] if ids[-1] == SEP else [SEP])])
            for one, ids in chunks
        ]
    if making.rewrite == "retokenized":
        texts = [tokenizer.decode_reference(ids) for _, ids in chunks]
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


@pytest.mark.parametrize("making", [*makings(64)], ids=lambda making: making.words)
def test_each_way_is_found_from_raw_text_and_a_shard(
    making: Making, raw: Path, tmp_path: Path
) -> None:
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", make_rows(making), USUAL)
    found = infer(raw, str(shard), {})
    assert found.num_tried == 30
    exact = [fit for fit in found.fits if fit.is_exact]
    assert [(fit.making, fit.form) for fit in exact] == [(making, USUAL)]
    assert found.fits[0] == exact[0]
    assert found.fits[0].num_rows == found.num_rows > 80
    # The nearest of the others says what is different.
    assert "from id " in found.fits[1].difference


@pytest.mark.parametrize("form", [*forms()], ids=lambda form: form.words)
def test_each_form_is_found_from_raw_text_and_a_digest(
    form: Form, raw: Path, tmp_path: Path
) -> None:
    making = next(one for one in makings(1024) if one.rewrite == "retokenized")
    shard = write_shard(tmp_path / "shard.00000.mds", make_rows(making), form)
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    found = infer(raw, digest, {})
    assert [(fit.making, fit.form) for fit in found.fits] == [(making, form)]
    settings = making.settings
    assert settings is not None
    assert "chunk.algorithm=ettin-retokenize-v1" in settings


def test_the_ways_and_forms_are_all_there() -> None:
    assert len(set(makings(1024))) == 30
    assert len(set(forms())) == 4 * len(ID_FORMS)
    assert {one.cut for one in makings(1024)} == {1022, 1024, 1026}


def test_a_later_shard_is_found_where_it_lies(raw: Path, tmp_path: Path) -> None:
    making = next(makings(64))
    rows = make_rows(making)[100:160]
    shard = write_shard(tmp_path / FOLDER / "shard.00001.mds", rows, USUAL)
    [fit] = [fit for fit in infer(raw, str(shard), {}).fits if fit.is_exact]
    assert fit.making == making


def test_what_none_makes_is_told_by_the_nearest(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(next(makings(64)))
    rows[7] = (rows[7][0], [*rows[7][1][:5], 11, *rows[7][1][6:]])
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    code, out, err = call(capsys, "attest", "--infer", raw, "--against", shard)
    assert (code, err) == (1, "")
    assert "none reproduces it" in out
    assert f"{len(rows) - 1} of {len(rows)} rows" in out
    assert "first difference: row 7: 64 ids, made 64; from id 5 on it has " in out
    code, out, _ = call(capsys, "attest", "--infer", raw, "--against", "0" * 64)
    assert code == 1
    assert "none reproduces it" in out


def test_other_ids_of_documents_are_no_fit(raw: Path, tmp_path: Path) -> None:
    rows = [("x", ids) for _, ids in make_rows(next(makings(64)))]
    shard = write_shard(tmp_path / FOLDER / "shard.00000.mds", rows, USUAL)
    found = infer(raw, str(shard), {})
    assert not any(fit.is_exact for fit in found.fits)
    assert found.fits[0].num_rows == found.num_rows


@pytest.mark.parametrize("packed", ["gzip", "zstd", "plain"])
def test_a_head_may_be_cut_anywhere(packed: str, tmp_path: Path) -> None:
    data = builds.json_lines(documents())
    pack = {"gzip": gzip.compress, "zstd": zstandard.compress, "plain": bytes}[packed]
    whole = pack(data)
    path = tmp_path / "head"
    told = documents()
    for size in (len(whole), len(whole) - 1, len(whole) * 2 // 3, len(whole) // 2):
        path.write_bytes(whole[:size])
        if packed == "zstd" and size < len(whole):
            # One block of a frame: nothing is given of it before all is there.
            with pytest.raises(InputError, match="no whole document"):
                read_documents(path, 1 << 30)
            continue
        head = read_documents(path, 1 << 30)
        assert head.texts == [one["text"] for one in told[: len(head.texts)]]
        # A byte less is that of the checksum, or of the last line's end.
        assert (len(head.texts) == len(told)) == (size >= len(whole) - 1)
        if packed == "gzip" or size < len(whole) - 1:
            assert head.is_whole == (size == len(whole))
    path.write_bytes(whole)
    assert len(read_documents(path, 100).texts) < len(told)


def test_bad_input_is_refused_in_one_line(raw: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"\x00\x01\n")
    shard = tmp_path / "shard.00000.mds"
    for data in (b"", b"\xff" * 100, b"\x00" * 100):
        shard.write_bytes(data)
        with pytest.raises(InputError, match="do not begin a raw MDS shard"):
            open_shard(shard)
    with pytest.raises(InputError, match="neither a file nor a digest"):
        infer(raw, "nowhere.mds", {})
    with pytest.raises(InputError, match="line 1: got no JSON object with a text"):
        infer(bad, "0" * 64, {})
    with pytest.raises(InputError, match="cannot be read"):
        infer(tmp_path / "none", "0" * 64, {})
    head = tmp_path / "head.json.gz"
    head.write_bytes(raw.read_bytes()[:-1000])
    with pytest.raises(InputError, match="documents, which fill no shard of 67,108,864 bytes"):
        infer(head, "0" * 64, {})
    facts = load_facts()
    digest = next(
        one.value["sha256"]
        for own in facts.values()
        for one in own
        if one.path.endswith("shard.00009.mds")
    )
    with pytest.raises(InputError, match=r"shard\.00009\.mds, expected the first shard"):
        infer(raw, digest, facts)


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
            "tokenizer.add_prefix_space=false",
        ]
    told = json.loads((SHARED / "published" / "slice2-1024" / "order" / "golden.json").read_bytes())
    digest = told["shards_sha256"][f"books/{shard.parent.name}/{shard.name}"]
    [fit] = infer(DATA, digest, {}).fits
    assert fit.making.words == "cut at 1,024 ids, kept as they are, without prefix space"
