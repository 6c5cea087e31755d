"""What tests of training share: the sample, to train and be evaluated on."""

import json
from pathlib import Path

import pytest
from support import builds
from support.models import TINY_RUN, as_options


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with some documents held out; not to be changed."""
    out = tmp_path_factory.mktemp("data") / "out"
    builds.run_well("build", "sample", "--out", out, "--workers", "1",
                    "--set", "validation={fraction: 0.03}")  # fmt: skip
    return out


@pytest.fixture(scope="session")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that has taken steps, a checkpoint after each; not to be changed."""
    out = tmp_path_factory.mktemp("runs")
    for kind in ("encoder", "decoder"):
        builds.run_well("train", f"sample-{kind}-pretraining", "--data", data, "--out", out / kind,
                        "--device", "cpu", "--max-steps", "2",
                        *as_options((*TINY_RUN, "save_every_tokens=500")))  # fmt: skip
    return out


@pytest.fixture
def few_sentences(tmp_path: Path) -> list[str | Path]:
    """The options of files with some sentences, so that a test takes seconds."""
    lines = {
        "pairs": [{"phenomenon": str(at % 2), "good": f"It is {at}.", "bad": f"It are {at}."}
                  for at in range(3)],
        "templates": [{"occupation": "smith", "participant": "groom", "answer": "occupation",
                       "sentence": f"The smith {verb} the groom {{possessive}} hammer."}
                      for verb in ("gave", "lent")],
    }  # fmt: skip
    options: list[str | Path] = []
    for name, records in lines.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        options += [f"--{name}", path]
    return options


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test takes seconds: a loss is over 50,368 ids."""
    from pipeline.train.evaluation import held_out, recall

    monkeypatch.setattr(recall, "_MOST_PAIRS", 12)
    monkeypatch.setattr(recall, "_NUM_DRAWS", 2)
    monkeypatch.setattr(held_out, "_MOST_SCORED", 1)
