"""Checkpoints as revisions: pushed to a stand-in for the Hub, resumed, and loaded by their tags."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from support import builds
from support.hub_push import Hub, running_hub
from support.models import TINY_RUN, as_options
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.cli.main import main
from pipeline.core.errors import ConfigError
from pipeline.train.evaluation.opened_models import find_models
from pipeline.train.hub_models import parse_hub_model

# How the library of the Hub calls its own client.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Hub]:
    with running_hub(tmp_path / "cache", monkeypatch, capsys) as hub:
        yield hub


def push(hub: Hub, run: Path, out: Path, name: str = "org/pair") -> tuple[int, str, str]:
    return hub.run("export", run, "--all", "--out", out, "--push", f"hf://{name}")


def train(folder: Path, kind: str, out: Path, steps: int) -> None:
    arguments = ["train", f"sample-{kind}-pretraining", "--data", folder / "data", "--out", out,
                 "--device", "cpu", "--max-steps", steps,
                 *as_options((*TINY_RUN, "save_every_tokens=500"))]  # fmt: skip
    assert main([str(one) for one in arguments]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder's run of three checkpoints, beside the sample; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    builds.run_well("build", "sample", "--out", folder / "data")
    train(folder, "decoder", folder / "run", 3)
    return folder


def test_checkpoints_become_tags_that_load_by_revision(
    hub: Hub, trained: Path, tmp_path: Path
) -> None:
    code, out, err = push(hub, trained / "run", tmp_path / "models")
    assert code == 0, err
    assert "hf://org/pair: 3 new tags, 0 were there" in out
    assert sorted(hub.tags("org/pair")) == ["step1", "step2", "step3"]
    assert len({*hub.tags("org/pair").values()}) == 3
    ids = torch.tensor([[50281, 7, 8, 9]])
    for tag in ("step1", "step2", "step3"):
        ours = AutoModelForCausalLM.from_pretrained(tmp_path / "models" / tag)
        theirs = AutoModelForCausalLM.from_pretrained("org/pair", revision=tag)
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
        assert AutoTokenizer.from_pretrained("org/pair", revision=tag)("tide").input_ids
        # What it saw comes with it.
        (found,) = find_models(f"hf://org/pair@{tag}")
        assert found.num_rows == 4 * int(tag[-1])
    last = AutoModelForCausalLM.from_pretrained("org/pair")
    assert torch.equal(last(ids).logits, theirs(ids).logits)


@pytest.mark.parametrize(
    ("part", "status"),
    # The library itself tries an upload of a large file five times before it gives up.
    [("/commit/", 503), ("/tag/", 0), pytest.param("/lfs/", 500, marks=pytest.mark.slow)],
)
def test_a_push_that_broke_goes_on(
    hub: Hub, trained: Path, tmp_path: Path, part: str, status: int
) -> None:
    code, _, err = push(hub, trained / "run" / "step1", tmp_path / "models")
    assert code == 0, err
    before = hub.tags("org/pair")
    hub.refuse(part, status, 99)
    code, _, err = push(hub, trained / "run", tmp_path / "models")
    assert code == 75
    assert "hf://org/pair@step2: the Hub" in err
    assert "hint: run it again later" in err
    assert hub.tags("org/pair") == before
    hub.refuse(part, status, 0)
    # Of what was exported before, something is gone.
    weights = tmp_path / "models" / "step2" / "model.safetensors"
    weights.unlink()
    code, out, err = push(hub, trained / "run", tmp_path / "models")
    assert code == 0, err
    assert weights.exists()
    assert "2 new tags, 1 were there" in out
    assert hub.tags("org/pair").items() > before.items()
    assert "step1: was there" in err


def test_what_is_not_ours_is_left_alone(hub: Hub, trained: Path, tmp_path: Path) -> None:
    assert push(hub, trained / "run" / "step1", tmp_path / "models")[0] == 0
    other = tmp_path / "other"
    train(trained, "encoder", other, 1)
    before = hub.tags("org/pair")
    code, _, err = push(hub, other, tmp_path / "others")
    assert code == 2
    assert "hf://org/pair@step1: got the checkpoint" in err
    assert hub.tags("org/pair") == before
    hub.ask("/api/repos/create", {"name": "theirs", "organization": "org"})
    line = {"key": "file", "value": {"path": "x.bin", "content": b64encode(b"x").decode()}}
    hub.ask("/api/models/org/theirs/commit/main", line)
    code, _, err = push(hub, other, tmp_path / "others", "org/theirs")
    assert code == 2
    assert "got a repository with x.bin, expected an empty one" in err


def test_a_hub_that_refuses_is_one_line(
    hub: Hub, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuse("/api/repos/create", 403, 1)
    code, _, err = push(hub, trained / "run", tmp_path / "models")
    assert code == 2
    assert "hf://org/pair: the Hub refuses: " in err
    assert "hint: log in with `hf auth login`, or set HF_TOKEN" in err
    assert err.count("\n") == 3 + 2
    code, _, err = push(hub, trained / "run", tmp_path / "none", "org/pair@main")
    assert code == 2
    assert "--push hf://org/pair@main: got a revision, expected none" in err
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, err = push(hub, trained / "run", tmp_path / "models")
    assert code == 75
    assert "hf://org/pair: the Hub cannot be reached" in err


def test_a_phase_starts_from_a_model_of_the_hub(hub: Hub, trained: Path, tmp_path: Path) -> None:
    assert push(hub, trained / "run", tmp_path / "models")[0] == 0

    def begin(name: str, where: str | Path, *more: str) -> tuple[int, str, str]:
        return hub.run("train", "sample-decoder-extension", "--data", trained / "data", "--out",
                       tmp_path / name, "--from", where, "--device", "cpu", "--max-steps", "1",
                       *as_options(TINY_RUN), *more)  # fmt: skip

    weights = ("--set", "start=weights")
    saved = []
    for name, where in (("hub", "hf://org/pair@step2"), ("disk", tmp_path / "models" / "step2")):
        code, _, err = begin(name, where, *weights)
        assert code == 0, err
        saved.append((tmp_path / name / "ext1" / "checkpoint.json").read_bytes())
    assert saved[0] == saved[1]
    # It goes on from what it began with, and from nothing else.
    assert begin("disk", tmp_path / "models" / "step2", *weights)[0] == 0
    code, _, err = begin("disk", tmp_path / "models" / "step1", *weights)
    assert code == 2
    assert "got a run that started from another checkpoint" in err
    code, _, err = begin("none", "hf://org/pair@step9", *weights)
    assert code == 2
    assert "hf://org/pair@step9: the Hub refuses" in err
    code, _, err = begin("none", tmp_path / "models" / "step2")
    assert code == 2
    assert "which has weights alone, expected a checkpoint with the optimizer" in err
    assert "hint: add --set start=weights" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("address", ["hf://pair", "hf://datasets/org/x", "hf://a/b/c", "s3://a/b"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected hf://ORG/NAME"):
        parse_hub_model(address)
