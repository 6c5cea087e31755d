"""Rows of `ettin-retokenize-v1` are those of the transformers that made the published rows.

Needs the interpreter that `tests/oracle/setup_transformers.sh FOLDER` makes:
`ETTIN_TRANSFORMERS_PYTHON=FOLDER/bin/python python -m pytest -m oracle`.
"""

import gzip
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from support.chunks import HOSTILE, OWN_TEXT, Case, chunker, in_blocks, listed, real_texts, slices
from support.chunks import tokenizer as load
from support.paths import SHARED

_PYTHON = os.environ.get("ETTIN_TRANSFORMERS_PYTHON")
_EDGE = SHARED / "data" / "edge"

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(_PYTHON is None, reason="ETTIN_TRANSFORMERS_PYTHON names no interpreter"),
]

_FRAGMENTS = [" ", "  ", "\n", "\t", " .", " ,", " !", " ?", " '", "' ", " n't", " 's", "a"]
_FRAGMENTS += ["\u00e9", "e\u0301", "\u6f6e", "\U0001f30a", "\U0001f468\u200d\U0001f469"]
_FRAGMENTS += ["\ufffd", "[CLS]", "[SEP]", " [MASK]", "[PAD]", "[UNK]", "[unused7]", "0", "42"]
_FRAGMENTS += ["<|endoftext|>", "|||IP_ADDRESS|||", "<|padding|>", "    ", " Don 't", " we 're"]
_FRAGMENTS += [" the", " word" * 7]


def ask(folder: Path, **what: object) -> list[list[int]]:
    """Have the older library make ids of texts, or of what pieces decode to."""
    assert _PYTHON is not None
    file = folder / "tokenizer.json"
    file.write_bytes(load(False).data)
    script = Path(__file__).with_name("old_transformers.py")
    told = json.dumps({"tokenizer_file": str(file), **what})
    done = subprocess.run(
        [_PYTHON, "-W", "ignore", script], input=told, capture_output=True, text=True, check=True
    )
    rows: list[list[int]] = json.loads(done.stdout)
    return rows


def check(documents: list[str], case: Case, folder: Path) -> int:
    """Compare documents and chunks; return how many chunks there are."""
    encoded = load(False).encode(documents)
    assert [ids.tolist() for ids in encoded] == ask(folder, texts=documents)
    pieces, _ = slices(encoded, case)
    expected = ask(folder, pieces=[ids for _, ids in pieces])
    made = chunker("ettin-retokenize-v1", case, prefix=False)
    got = listed(*in_blocks(made, encoded, [0, len(documents)]))
    for (_, ours), theirs in zip(got, expected, strict=True):
        assert ours == theirs
    return len(got)


@pytest.mark.parametrize("case", [Case(16, 14, 3), Case(64, 32, 8), Case(1024, 512, 128)])
def test_rows_of_hostile_text_are_those_of_the_library(case: Case, tmp_path: Path) -> None:
    documents = [*real_texts(), *HOSTILE, *(text + OWN_TEXT for text in HOSTILE)]
    assert check(documents, case, tmp_path) > 30


@pytest.mark.parametrize("case", [Case(16, 14, 3), Case(1024, 512, 128)])
@pytest.mark.skipif(not _EDGE.is_dir(), reason=f"there are no texts at {_EDGE}")
def test_rows_of_the_edge_texts_are_those_of_the_library(case: Case, tmp_path: Path) -> None:
    documents = []
    for path in sorted(_EDGE.glob("*.json.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            documents += [json.loads(line)["text"] for line in lines]
    assert check([text for text in documents if text], case, tmp_path) > 30


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_random_text_are_those_of_the_library(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    documents = ["".join(draw.choices(_FRAGMENTS, k=draw.randrange(1, 400))) for _ in range(100)]
    assert check(documents, Case(draw.choice([5, 16, 64]), 4, 2), tmp_path) > 300
