"""What the tests of the examples share."""

from pathlib import Path

import pytest
import torch
from support.models import tiny

from examples.scripts import FineTune, run
from pipeline.stages.tokenizer import read_json
from pipeline.train.export import export_model
from pipeline.train.models import make_model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """More make models as small as these slower, by far."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exports `encoder` and `decoder`; not to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    for kind in ("encoder", "decoder"):
        spec = tiny(kind)
        export_model(
            make_model(spec, seed=5), spec, 400, read_json("modernbert"), folder / kind, {}
        )
    return folder


@pytest.fixture
def fine_tune(
    exports: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> FineTune:
    def run_example(name: str, kind: str, *options: object) -> tuple[Path, str]:
        out = tmp_path / "out"
        run(monkeypatch, name, exports / kind, "--out", out, *options)
        return out, capsys.readouterr().out

    return run_example
