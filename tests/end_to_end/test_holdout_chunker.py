"""A holdout that another chunker makes, as the suite's validation rows were."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import builds
from support.chunks import Case, listed, slices
from support.chunks import chunker as make_chunker
from support.chunks import tokenizer as load
from support.here import Here, run_here
from support.outputs import read_rows

from pipeline.audit.verify import verify
from pipeline.config import load_mixture
from pipeline.core.errors import ConfigError
from pipeline.runner import run, sampled_shards

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


def build(folder: Path, patch: pytest.MonkeyPatch, *overrides: str) -> Path:
    for number in range(3):
        (folder / f"tales-{number}.jsonl").write_bytes(builds.json_lines(texts(number)))
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
        assert [(row.document, [*row.ids]) for row in read_rows(trained)] == [
            (ids[document], chunk) for document, chunk in again[len(rows) :]
        ]
        assert (trained / "num_tokens.json").exists()
        assert not (trained / "stats.json").exists()
        if rows:
            stats = json.loads((held / "stats.json").read_text())
            assert stats["total_tokens_written"] == sum(len(row.ids) for row in rows)
            whole = len(rows) == len(sliced)
            assert stats["total_tokens_skipped"] == (num_discarded if whole else 0)
            assert (held / "token_decile.json").exists()
            assert not (held / "num_tokens.json").exists()
    whole = [number for number, count in num_held.items() if count]
    assert len(whole) == 2, "one folder whole, and the first chunks of another"
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
    assert held["order"]["num_tokens"] <= int(np.sum([len(row.ids) for row in rows]))


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
