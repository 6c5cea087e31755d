"""Training end to end: a pair in miniature through all phases, on the sample, by the command."""

import json
import math
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import builds
import pytest

from pipeline.checkpoint import read_record
from pipeline.cli import main

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

KINDS = ("encoder", "decoder")
OTHER = {"encoder": "decoder", "decoder": "encoder"}
# So small that a step takes a fraction of a second, for what is not about learning.
TINY = (
    "model.num_layers=1",
    "model.hidden_size=16",
    "model.intermediate_size=16",
    "model.num_heads=1",
)


def train(recipe: str, data: Path, out: Path, *more: str, sets: tuple[str, ...] = ()) -> None:
    settings = [word for one in sets for word in ("--set", one)]
    arguments = ["train", recipe, "--data", str(data), "--out", str(out), "--device", "cpu"]
    assert main([*arguments, *more, *settings]) == 0


def metrics(out: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("tokens_per_second", "waiting")
    return [{name: value for name, value in one.items() if name not in timed} for one in lines]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with some documents set aside; not to be changed."""
    out = tmp_path_factory.mktemp("data") / "out"
    builds.run_well("build", "sample", "--out", out, "--workers", "1",
                    "--set", "validation={fraction: 0.1}")  # fmt: skip
    return out


@pytest.fixture(scope="module")
def suite(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, trained through three phases and crossed both ways; not to be changed."""
    out = tmp_path_factory.mktemp("suite")
    for kind in KINDS:
        before: tuple[str, ...] = ()
        for phase in ("pretraining", "extension", "decay"):
            train(f"sample-{kind}-{phase}", data, out / f"{kind}-{phase}", *before)
            before = ("--from", str(out / f"{kind}-{phase}"))
    for kind in KINDS:
        source = out / f"{OTHER[kind]}-decay"
        train(f"sample-{kind}-cross", data, out / f"{kind}-cross", "--from", str(source))
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_from_that_of_a_guess(suite: Path, kind: str) -> None:
    losses = [line["loss"] for line in metrics(suite / f"{kind}-pretraining")]
    assert losses[0] == pytest.approx(math.log(50_368), abs=0.2)
    assert losses[-1] < losses[0] - 1
    for phase in ("extension", "decay"):
        assert metrics(suite / f"{kind}-{phase}")[0]["loss"] < losses[0] - 1
    held_out = metrics(suite / f"{kind}-decay", "validation")[-1]
    assert held_out["loss"] < losses[0] - 1
    assert held_out["num_labels"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_crossed_model_knows_what_the_other_kind_learned(suite: Path, kind: str) -> None:
    fresh = metrics(suite / f"{kind}-pretraining")[0]["loss"]
    crossed = metrics(suite / f"{kind}-cross")
    assert crossed[0]["loss"] < fresh - 0.5
    assert crossed[-1]["loss"] < crossed[0]["loss"]


@pytest.mark.parametrize("phase", ["pretraining", "extension", "decay", "cross"])
def test_a_pair_saw_the_same_rows_at_every_step(suite: Path, phase: str) -> None:
    seen = [
        [(line["step"], line["rows"], line["rows_multiset"]) for line in metrics(suite / name)]
        for name in (f"encoder-{phase}", f"decoder-{phase}")
    ]
    assert seen[0]
    assert seen[0] == seen[1]


def test_checkpoints_have_the_names_of_the_suite(suite: Path) -> None:
    names = {path.parent.name for path in suite.glob("encoder-*/*/checkpoint.json")}
    assert {name.rstrip("0123456789") for name in names} == {"step", "ext", "decay", "cross"}
    assert len(list(suite.glob("encoder-pretraining/step*"))) > 1


# Going on


def test_a_run_that_is_stopped_and_goes_on_comes_to_the_same_bytes(
    data: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for kind in KINDS:
        recipe = f"sample-{kind}-pretraining"
        train(recipe, data, whole / kind, "--max-steps", "6", sets=TINY)
        for last in ("2", "5", "6"):
            train(recipe, data, broken / kind, "--max-steps", last, sets=TINY)
        assert without_times(metrics(whole / kind)) == without_times(metrics(broken / kind))
        for name in ("model.safetensors", "optimizer.pt"):
            one, other = (out / kind / "step6" / name for out in (whole, broken))
            assert one.read_bytes() == other.read_bytes()


def test_a_killed_run_goes_on_to_the_same_losses(data: Path, tmp_path: Path) -> None:
    settings = [word for one in (*TINY, "save_every_tokens=8k") for word in ("--set", one)]
    arguments = ["train", "sample-encoder-pretraining", "--data", str(data), "--device", "cpu",
                 *settings]  # fmt: skip
    builds.run_well(*arguments, "--out", tmp_path / "whole")
    killed = tmp_path / "killed"
    for num_lines in (3, 7):
        process = subprocess.Popen(
            builds.command(*arguments, "--out", killed),
            env=builds.environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        until = time.monotonic() + builds.SECONDS
        while len(_lines(killed)) < num_lines and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    builds.run_well(*arguments, "--out", killed)
    whole = tmp_path / "whole"
    assert without_times(metrics(killed)) == without_times(metrics(whole))
    assert _digests(killed) == _digests(whole)


def _lines(out: Path) -> list[str]:
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def _digests(out: Path) -> dict[str, Any]:
    return {
        path.parent.name: json.loads(path.read_bytes())["digest"]
        for path in out.glob("*/checkpoint.json")
    }


def test_once_through_an_order_the_rows_add_up_to_its_ledger(data: Path, tmp_path: Path) -> None:
    train("sample-decoder-pretraining", data, tmp_path, sets=(*TINY, "tokens=1M"))
    manifest = json.loads((data / "manifest.json").read_bytes())
    record = read_record(max(tmp_path.glob("step*"), key=lambda one: int(one.name[4:])))
    ledger = manifest["order"]["ledger"]
    assert record.seen.multiset_root == ledger["multiset_root"]
    assert record.seen.order == ledger["sequence_root"]
    assert record.clock.next_row == ledger["num_rows"]
    assert record.clock.num_tokens == manifest["order"]["num_tokens"]


# Which documents a checkpoint saw


def test_a_checkpoint_is_traced_to_its_documents(
    data: Path, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered = sorted(
        (int(one.name[4:]), one) for one in (suite / "encoder-pretraining").glob("step*")
    )
    (first, one), (second, other) = numbered[:2]
    capsys.readouterr()
    for checkpoint in (one, other):
        assert main(["trace", str(data), "--checkpoint", str(checkpoint), "--json"]) == 0
    spans = capsys.readouterr().out
    decoder = json.JSONDecoder()
    span, end = decoder.raw_decode(spans)
    following, _ = decoder.raw_decode(spans[end:].lstrip())
    assert (span["first_step"], span["last_step"]) == (1, first)
    assert (following["first_step"], following["last_step"]) == (first + 1, second)
    lines = metrics(suite / "encoder-pretraining")
    assert span["num_tokens"] == sum(line["num_tokens"] for line in lines[:first])
    assert span["sources"]
