"""A holdout that another chunker makes, as the suite's validation rows were."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import builds
from support.chunks import Case, listed, slices
from support.chunks import chunker as make_chunker
from support.chunks import tokenizer as load
from support.here import Here, run_here
from support.outputs import read_rows

from pipeline.audit.verify import verify
from pipeline.config import load_mixture
from pipeline.core.errors import ConfigError, InternalError
from pipeline.core.ragged import Rows
from pipeline.runner import run, sampled_shards
from pipeline.stages import chunking
from pipeline.stages.chunking import Chunks, Cutter, SliceChunker

CASE = Case(64, 32, 8)
MIXTURE = """\
name: held
chunk: {algorithm: ettin-retokenize-v1, size: 64, min_size: 32, skip_below: 8, seed: 42}
sources:
  tales: {from: {path: "tales-*.jsonl"}}
validation: {algorithm: ettin-validation-v1, fraction: 0.4, seed: 3, chunker: ettin-slice-v2}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
shards: {dtype: uint16}
"""
FOLDER = "tales_{}-tokenized-chunked-64-32-8-backfill-nodups"


def texts(number: int) -> list[dict[str, str]]:
    """Documents of one chunk and of several, with spaces that clean-up removes."""
    return [
        {"id": f"{number}-{n}", "text": f"{builds.text(f'{number} {n}', 12 * n + 3)} , and so on ."}
        for n in range(1, 14)
    ]


def build(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *overrides: str,
    also: Sequence[dict[str, str]] = (),
) -> Path:
    """Build the mixture in a folder; each of its files ends with the documents of `also`."""
    for number in range(3):
        data = builds.json_lines([*texts(number), *also])
        (folder / f"tales-{number}.jsonl").write_bytes(data)
    path = builds.write_mixture(folder, MIXTURE)
    run_here(patch, sampled_shards, Here())
    mixture = load_mixture(path, overrides)
    run.build(mixture, folder / "out", workers=1, scheduler=None, report=lambda *_: None)
    return folder / "out"


def test_rows_of_the_holdout_are_slices_and_the_others_are_tokenized_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = build(tmp_path, monkeypatch)
    num_held = {}
    for number in range(3):
        documents = texts(number)
        encoded = load(False).encode([one["text"] for one in documents])
        sliced, num_discarded = slices(encoded, CASE)
        again = listed([make_chunker("ettin-retokenize-v1", CASE, False).chunk(encoded)], [0])
        name = FOLDER.format(number)
        held = out / "validation" / "train" / "tales" / name
        rows = read_rows(held) if held.exists() else []
        num_held[number] = len(rows)
        ids = [one["id"] for one in documents]
        assert [(row.document, [*row.ids]) for row in rows] == [
            (ids[document], chunk) for document, chunk in sliced[: len(rows)]
        ]
        trained = out / "train" / "tales" / name
        whole = len(rows) == len(sliced)
        assert trained.exists() != whole
        kept = [] if whole else read_rows(trained)
        assert [(row.document, [*row.ids]) for row in kept] == [
            (ids[document], chunk) for document, chunk in again[len(rows) :]
        ]
        assert whole or sorted(path.name for path in trained.glob("*.json")) == [
            "index.json",
            "num_tokens.json",
        ]
        if rows:
            stats = json.loads((held / "stats.json").read_text())
            assert stats["total_tokens_written"] == sum(len(row.ids) for row in rows)
            assert stats["total_tokens_skipped"] == (num_discarded if whole else 0)
            assert (held / "token_decile.json").exists()
            assert not (held / "num_tokens.json").exists()
    with_some = [number for number, count in num_held.items() if count]
    assert len(with_some) == 2, "one folder whole, and the first chunks of another"
    assert sorted(path.name for path in (out / "train").iterdir()) == ["index.json", "tales"]
    assert verify(out) == []


def test_by_documents_the_holdout_has_all_slices_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = build(tmp_path, monkeypatch, "validation.algorithm=validation-v1")
    held = read_rows(out / "validation" / "train")
    expected = {}
    for number in range(3):
        documents = texts(number)
        sliced, _ = slices(load(False).encode([one["text"] for one in documents]), CASE)
        for document, chunk in sliced:
            expected.setdefault(documents[document]["id"], []).append(tuple(chunk))
    chosen = {row.document for row in held}
    assert chosen
    assert {row.document for row in read_rows(out / "train")} == expected.keys() - chosen
    for document in chosen:
        assert [row.ids for row in held if row.document == document] == expected[document]
    assert verify(out) == []


def test_budgets_and_files_in_one_partition_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = build(
        tmp_path,
        monkeypatch,
        "validation.algorithm=validation-v1",
        "sources.tales.from.files_per_partition=2",
        "sources.tales.tokens=2000",
    )
    manifest = json.loads((out / "manifest.json").read_bytes())
    tokens, chunks = (manifest["sources"]["tales"][name] for name in ("tokens", "chunks"))
    assert chunks["validation"] == len(read_rows(out / "validation" / "train"))
    assert 2000 <= tokens["drawn"] < 2000 + 70
    assert tokens["drawn"] == sum(len(row.ids) for row in read_rows(out / "train"))
    held = json.loads((out / "validation" / "manifest.json").read_bytes())
    rows = read_rows(out / "validation" / "train")
    # Steps of the holdout are of whole rows, and the rest is left out.
    num_rows = held["order"]["num_rows"]
    assert 0 <= len(rows) - num_rows < held["mixture"]["declaration"]["order"]["global_batch_size"]
    [ordered] = (out / "validation" / "order").glob("validation_*")
    lengths = [len(ids) for ids in pq.read_table(ordered)["input_ids"].to_pylist()]
    assert (len(lengths), sum(lengths)) == (num_rows, held["order"]["num_tokens"])
    assert not Counter(lengths) - Counter(len(row.ids) for row in rows)
    # Counted is what training would have of it.
    documents = [one for number in range(3) for one in texts(number)]
    encoded = load(False).encode([one["text"] for one in documents])
    # Numbers are drawn anew for each partition, of two files and of one.
    parts = [encoded.take(np.arange(len(documents)) // 26 == part) for part in range(2)]
    again = [
        (documents[26 * part + document]["id"], len(chunk))
        for part, own in enumerate(parts)
        for document, chunk in listed(
            [make_chunker("ettin-retokenize-v1", CASE, False).chunk(own)], [0]
        )
    ]
    names = {row.document for row in rows}
    assert tokens["validation"] == sum(length for name, length in again if name in names)
    assert tokens["written"] == sum(length for _, length in again)
    assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"]


@pytest.mark.parametrize("algorithm", ["ettin-slice-v1", "ettin-reencode-v1", "whole-v1"])
def test_a_chunker_that_cuts_elsewhere_is_refused(algorithm: str, tmp_path: Path) -> None:
    text = MIXTURE.replace("ettin-retokenize-v1", algorithm)
    if algorithm == "whole-v1":
        text = text.replace(", min_size: 32, skip_below: 8, seed: 42", "")
    with pytest.raises(ConfigError, match=f"ettin-slice-v2 beside chunk.algorithm {algorithm}"):
        load_mixture(builds.write_mixture(tmp_path, text))


def test_a_fraction_below_the_first_chunk_holds_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = build(tmp_path, monkeypatch, "validation.fraction=0.00001")
    held = json.loads((out / "validation" / "manifest.json").read_bytes())
    assert held["order"]["num_rows"] == 0
    assert verify(out) == []


def test_of_documents_that_are_skipped_the_holdout_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that recur in a file and across files, and texts that are none, as if left out before."""
    bad = [{"id": "none", "text": ""}, {"id": "special", "text": "[CLS][SEP]"}, texts(0)[1]]
    plain, skipped = tmp_path / "plain", tmp_path / "skipped"
    plain.mkdir()
    outs = [build(plain, monkeypatch)]
    skipped.mkdir()
    outs.append(build(skipped, monkeypatch, "on_error=skip", also=bad))
    counts = json.loads((outs[1] / "manifest.json").read_bytes())["sources"]["tales"]["documents"]
    assert counts["dropped"] == {"duplicate_id": 3, "empty_text": 3, "only_special_tokens": 3}
    for part in ("train", "validation/train"):
        ours, theirs = (builds.digests(out / part) for out in outs)
        assert ours == theirs
    assert read_rows(outs[1] / "validation" / "train")
    assert verify(outs[1]) == []


@pytest.mark.parametrize("harm", ["more", "failed"])
def test_another_number_of_chunks_than_in_training_is_one_line(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(SliceChunker):
        def chunk(self, documents: Rows) -> Chunks:
            if harm == "more":
                cutter = Cutter(piece_size=32, min_size=16, skip_below=4, seed=42)
                return SliceChunker(cutter).chunk(documents)
            made = super().chunk(documents.take(np.arange(len(documents)) > 0))
            return replace(made, documents=made.documents + 1, failed=np.array([0]))

    monkeypatch.setattr(chunking, "SliceChunker", Wrong)
    with pytest.raises(InternalError) as raised:
        build(tmp_path, monkeypatch)
    got, of, expected = ("2", '"0-2"', "1") if harm == "more" else ("0", '"0-1"', "1")
    assert f"got {got} chunks of document {of} by ettin-slice-v2, expected {expected} as for" in (
        raised.value.message
    )
    assert "\n" not in raised.value.message
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_fraction_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fraction: got 1, expected a number below 1"):
        load_mixture(builds.write_mixture(tmp_path, MIXTURE.replace("0.4", "1")))
    load_mixture(builds.write_mixture(tmp_path, MIXTURE), ["validation={fraction: 1}"])
