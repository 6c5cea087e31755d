"""An export has the same logits, to the bit, in the oldest `transformers` that the card names.

Needs what `tests/adapters/setup.sh FOLDER` makes:
`ETTIN_ADAPTERS=FOLDER python -m pytest -m oracle`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import tiny
from support.paths import REPOSITORY

from adapters import environments
from pipeline.config.recipe import ModelKind
from pipeline.stages.tokenizer import read_json
from pipeline.train.export import export_model
from pipeline.train.models import make_model

pytestmark = environments.needed

# Longer than the window of local layers.
TEXT = "The tide tables hang beside the door, and nobody reads them but the cat. " * 12


def here(*arguments: object) -> Any:
    """Return what `logits_of_export` prints in the interpreter of the tests."""
    done = subprocess.run(
        [sys.executable, "-m", "adapters.logits_of_export", *map(str, arguments)],
        cwd=REPOSITORY / "tests",
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("kind", "local_theta", "are_equal"),
    [
        ("encoder", 160_000, True),
        ("encoder", 10_000, True),
        ("decoder", 160_000, True),
        # 4.x has one base for all layers of a decoder: the card names 5.
        ("decoder", 10_000, False),
    ],
)
def test_logits_are_those_of_the_present_version(
    kind: ModelKind, local_theta: int, are_equal: bool, tmp_path: Path
) -> None:
    spec = tiny(kind, local_theta=local_theta)
    out = tmp_path / "model"
    export_model(make_model(spec, seed=5), spec, 400, read_json("modernbert"), out, {})
    new = here(out, TEXT, tmp_path / "new.pt")
    old = environments.run("transformers4", "logits_of_export", out, TEXT, tmp_path / "old.pt")
    assert (old["version"], new["version"][0]) == ("4.56.2", "5")
    assert old["ids"] == new["ids"]
    logits = [torch.load(tmp_path / f"{name}.pt") for name in ("new", "old")]
    assert logits[0].shape == (1, len(new["ids"]), spec.vocab_size)
    assert ((logits[0] - logits[1]).abs().max().item() == 0.0) == are_equal
    card = (out / "README.md").read_text()
    assert ("Needs transformers 4.56 or later." in card) == are_equal
    assert ("Needs transformers 5 or later" in card) != are_equal
