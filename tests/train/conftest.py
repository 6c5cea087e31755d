"""What tests of training share: the sample, to train and be evaluated on."""

import json
from pathlib import Path

import pytest
from support import builds
from support.made_once import made_once
from support.models import TINY_RUN, as_options


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with some documents held out; not to be changed."""

    def make(folder: Path) -> None:
        builds.run_well("build", "sample", "--out", folder / "out",
                        "--set", "validation={fraction: 0.03}")  # fmt: skip

    return made_once(tmp_path_factory, "data", make) / "out"


@pytest.fixture(scope="session")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that has taken steps, a checkpoint after each; not to be changed."""

    def make(out: Path) -> None:
        settings = as_options((*TINY_RUN, "save_every_tokens=500"))
        for kind in ("encoder", "decoder"):
            arguments = (f"sample-{kind}-pretraining", "--data", data, "--out", out / kind)
            builds.run_well("train", *arguments, "--device", "cpu", "--max-steps", "2", *settings)

    return made_once(tmp_path_factory, "runs", make)


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
