"""Tokenizers with other templates than ModernBERT's: built, verified, fed and traced."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import builds, outputs
from support.commands import call
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline import dataset
from pipeline.core.errors import ConfigError
from pipeline.feed import Clm, Mlm, make_feed, special_ids
from pipeline.stages.tokenizer import load_tokenizer

TEXTS = {f"d{n}": builds.text(f"d{n}", 1 + n * 7) for n in range(24)} | {"special": "<|end|>"}
MIXTURE = """
name: other
tokenizer: {name: own.json, add_prefix_space: false}
chunk: {algorithm: whole-v1, size: 32}
sources: {s: {from: {path: in.jsonl}}}
order: {seed: 1, global_batch_size: 4, max_seq_len: 32}
on_error: skip
"""
TEMPLATES = {
    "gpt-2": "$A",
    "llama-3": "<|begin|> $A",
    "t5": "$A <|end|>",
    "bert": "<|begin|> $A <|end|>",
}
SPECIAL = ("<|begin|>", "<|end|>")


def write_tokenizer(path: Path, template: str) -> Tokenizer:
    """Write a byte-level BPE with a template and without tokens for padding and masks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS.values(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    used = [(token, tokenizer.token_to_id(token)) for token in SPECIAL if token in template]
    # As Llama 3 has it: the template after a processor that adds nothing.
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=template, special_tokens=used),
        ]
    )
    tokenizer.save(str(path))
    return tokenizer


@pytest.fixture(scope="module", params=TEMPLATES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a build by a tokenizer that is gone since."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder / "own.json", TEMPLATES[request.param])
    lines = builds.json_lines({"id": id_, "text": text} for id_, text in TEXTS.items())
    (folder / "in.jsonl").write_bytes(lines)
    done = builds.run("build", builds.write_mixture(folder, MIXTURE), "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    (folder / "own.json").unlink()
    return folder / "out"


def load(built: Path) -> Tokenizer:
    return Tokenizer.from_file(str(built / "tokenizer.json"))


def test_rows_are_the_documents_between_the_tokens_of_the_template(built: Path) -> None:
    tokenizer = load(built)
    frame = tokenizer.encode("").ids
    rows = outputs.read_rows(built / "train")
    assert {row.document for row in rows} == TEXTS.keys() - {"special"}
    for id_, text in TEXTS.items():
        whole = tokenizer.encode(text).ids
        before = whole[:1] if frame and whole[0] == frame[0] else []
        after = whole[-1:] if frame and whole[-1] == frame[-1] else []
        chunks = [list(row.ids) for row in rows if row.document == id_]
        assert all(chunk[: len(before)] == before for chunk in chunks)
        assert all(chunk[len(chunk) - len(after) :] == after for chunk in chunks)
        content = [one for chunk in chunks for one in chunk[len(before) : len(chunk) - len(after)]]
        if chunks:
            assert [*before, *content, *after] == whole
            assert all(len(chunk) == 32 for chunk in chunks[:-2])
        else:
            assert id_ == "special"


def test_it_is_verified_and_its_copy_of_the_tokenizer_too(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "verify", built)[0] == 0
    path = built / "tokenizer.json"
    data = path.read_bytes()
    try:
        path.write_bytes(data.replace(b"<|end|>", b"<|END|>"))
        code, out, err = call(capsys, "verify", built)
        assert (code, "tokenizer.json" in out + err) == (1, True)
        code, out, err = call(capsys, "feed", built, "--steps", "1")
        assert (code, "expected those of" in err) == (1, True), err
    finally:
        path.write_bytes(data)


def test_it_is_traced_without_naming_the_tokenizer(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXTS["d9"][:40]
    code, out, err = call(capsys, "trace", built, "--find", text, "--text", "--json")
    assert code == 0, err
    [found] = [row for row in json.loads(out) if "d9" in json.dumps(row)]
    assert text in found["text"]


@pytest.mark.parametrize("form", ["flat", "padded"])
def test_it_is_fed_without_naming_the_tokenizer(built: Path, form: str) -> None:
    order = dataset.open(built)
    special = special_ids(order)
    tokenizer = load(built)
    end = tokenizer.token_to_id("<|end|>")
    assert (special.pad_id, special.mask_id) == (end, -1)
    stored = [block[row] for block in order.rows.read(0, 4) for row in range(len(block))]
    feed = make_feed(order, objective=Clm(), micro_batch_rows=4, form=form)
    batch = next(iter(feed))
    if form == "padded":
        for row, ids in enumerate(stored):
            assert batch.inputs["input_ids"][row, : len(ids)].tolist() == ids.tolist()
            assert (batch.inputs["labels"][row, len(ids) :] == -100).all()
    else:
        expected = np.concatenate(stored)
        assert batch.inputs["input_ids"][0].tolist() == expected.tolist()


def test_masks_need_a_token_for_them(built: Path) -> None:
    with pytest.raises(ConfigError, match=r"its tokenizer has no mask(?: and no end)? token"):
        make_feed(dataset.open(built), objective=Mlm(mask_prob=0.3, seed=1), micro_batch_rows=4)


@pytest.mark.parametrize(
    ("template", "setting", "message"),
    [
        ("$A", "chunk.algorithm=ettin-slice-v1", "chunk.algorithm: got ettin-slice-v1 with own"),
        (
            "<|begin|> $A",
            "chunk.algorithm=ettin-reencode-v1",
            "template does not add one token on each",
        ),
        ("<|begin|> $A", "order.view=encoder", "order.view: got encoder with own.json"),
        ("<|begin|> <|end|> $A", "on_error=stop", "adds 2 tokens before a document and 0 after"),
    ],
)
def test_what_a_tokenizer_lacks_is_one_line(
    template: str, setting: str, message: str, tmp_path: Path
) -> None:
    write_tokenizer(tmp_path / "own.json", template)
    (tmp_path / "in.jsonl").write_bytes(builds.json_lines([{"id": "a", "text": "text"}]))
    given = ["--set", setting]
    if "ettin" in setting:
        for one in ("chunk.min_size=8", "chunk.skip_below=2", "chunk.seed=1"):
            given += ["--set", one]
    mixture = builds.write_mixture(tmp_path, MIXTURE)
    done = builds.run("build", mixture, "--out", tmp_path / "out", *given)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_pool_is_ordered_under_the_view_of_a_decoder(built: Path, tmp_path: Path) -> None:
    sets = ["order.global_batch_size=1", "order.max_seq_len=16", "order.allow_cut=true"]
    sets += ["order.view=decoder", f"tokenizer.name={built / 'tokenizer.json'}", "order.seed=1"]
    given = [one for setting in sets for one in ("--set", setting)]
    out = tmp_path / "out"
    builds.run_well("order", built / "train", "--out", out, *given)
    (tmp_path / "elsewhere").mkdir()
    builds.run_well("verify", out, cwd=tmp_path / "elsewhere")
    order = dataset.open(out)
    blocks = order.rows.read(0, order.rows.num_rows)
    got = sorted(block[row].tolist() for block in blocks for row in range(len(block)))
    assert got == sorted(list(row.ids[:16]) for row in outputs.read_rows(built / "train"))
    assert special_ids(order).vocab_size == special_ids(dataset.open(built)).vocab_size


def test_lost_rows_are_replaced_by_tokens_that_mean_nothing(built: Path) -> None:
    special = special_ids(dataset.open(built))
    assert special.is_special[special.placeholder].all()


@pytest.mark.parametrize("vocabulary", [{}, {"a": 0, "b": 4_294_967_295}])
def test_a_vocabulary_that_no_table_holds_is_one_line(
    vocabulary: dict[str, int], tmp_path: Path
) -> None:
    Tokenizer(models.WordLevel(vocabulary)).save(str(tmp_path / "own.json"))
    with pytest.raises(ConfigError, match=r"own.json: got ids below [\d,]+, expected 1 to 16,777"):
        load_tokenizer("own.json", add_prefix_space=False, folder=tmp_path)
