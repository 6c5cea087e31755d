"""Training end to end: a pair in miniature through all phases, on the sample, by the command."""

import fcntl
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.made_once import made_once
from support.models import TINY_RUN, as_options

from pipeline.cli.main import main
from pipeline.core.digest import FileDigest
from pipeline.dataset.checkpoint_record import check_files, read_record, write_record

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

KINDS = ("encoder", "decoder")
OTHER = {"encoder": "decoder", "decoder": "encoder"}
# Of which only a position in a hundred is predicted.
FEW = (*TINY_RUN, "objective.mask_prob=0.01", "objective.evaluation_mask_prob=0.01")
# Phases as short as the loss can be seen to fall in.
SHORT = {
    "pretraining": ("tokens=44k",),
    "extension": ("tokens=8k", "learning_rate.decay_tokens=8k"),
    "decay": ("tokens=8k", "learning_rate.decay_tokens=8k"),
}


def train(recipe: str, data: Path, out: Path, *more: str, sets: tuple[str, ...] = ()) -> None:
    settings = as_options(sets)
    arguments = ["train", recipe, "--data", str(data), "--out", str(out), "--device", "cpu"]
    assert main([*arguments, *more, *settings]) == 0


def metrics(out: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("tokens_per_second", "waiting")
    return [{name: value for name, value in one.items() if name not in timed} for one in lines]


@pytest.fixture(scope="module")
def suite(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, trained through three phases and crossed both ways; not to be changed."""

    def make(out: Path) -> None:
        for kind in KINDS:
            before: tuple[str, ...] = ()
            for phase in ("pretraining", "extension", "decay"):
                where, sets = out / f"{kind}-{phase}", SHORT[phase]
                train(f"sample-{kind}-{phase}", data, where, *before, sets=sets)
                before = ("--from", str(where))
        for kind in KINDS:
            source = out / f"{OTHER[kind]}-decay"
            train(f"sample-{kind}-cross", data, out / f"{kind}-cross", "--from", str(source))

    return made_once(tmp_path_factory, "suite", make)


@pytest.fixture(scope="module")
def begun(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that has taken a step; not to be changed."""

    def make(out: Path) -> None:
        for kind in KINDS:
            train(f"sample-{kind}-pretraining", data, out / kind, "--max-steps", "1")

    return made_once(tmp_path_factory, "begun", make)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_crossed_model_knows_what_the_other_kind_learned(suite: Path, kind: str) -> None:
    fresh = metrics(suite / f"{kind}-pretraining")[0]["loss"]
    crossed = metrics(suite / f"{kind}-cross")
    # Each step has rows of its own, so that one is not held against the next.
    assert crossed[0]["loss"] < fresh - 0.5
    assert crossed[-1]["loss"] < fresh - 2


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["pretraining", "extension", "decay", "cross"])
def test_a_pair_saw_the_same_rows_at_every_step(suite: Path, phase: str) -> None:
    seen = [
        [(line["step"], line["rows"], line["rows_multiset"]) for line in metrics(suite / name)]
        for name in (f"encoder-{phase}", f"decoder-{phase}")
    ]
    assert seen[0]
    assert seen[0] == seen[1]


@pytest.mark.slow
def test_checkpoints_have_the_names_of_the_suite(suite: Path) -> None:
    names = {path.parent.name for path in suite.glob("encoder-*/*/checkpoint.json")}
    assert {name.rstrip("0123456789") for name in names} == {"step", "ext", "decay", "cross"}
    assert len(list(suite.glob("encoder-pretraining/step*"))) > 1


# Going on


def test_a_run_that_is_stopped_and_goes_on_comes_to_the_same_bytes(
    data: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for kind, sets in (("encoder", FEW), ("decoder", TINY_RUN)):
        recipe = f"sample-{kind}-pretraining"
        train(recipe, data, whole / kind, "--max-steps", "6", sets=sets)
        for last in ("2", "5", "6"):
            train(recipe, data, broken / kind, "--max-steps", last, sets=sets)
        assert without_times(metrics(whole / kind)) == without_times(metrics(broken / kind))
        before = _digests(broken / kind)
        train(recipe, data, broken / kind, "--max-steps", "3", sets=sets)
        assert _digests(broken / kind) == before
        for name in ("model.safetensors", "optimizer.pt"):
            one, other = (out / kind / "step6" / name for out in (whole, broken))
            assert one.read_bytes() == other.read_bytes()


def test_a_killed_run_goes_on_to_the_same_losses(data: Path, tmp_path: Path) -> None:
    recipe, sets = "sample-encoder-pretraining", (*FEW, "tokens=15k", "save_every_tokens=2k")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(recipe, data, whole, sets=sets)
    command = builds.command("train", recipe, "--data", data, "--out", killed, "--device", "cpu",
                             *as_options(sets))  # fmt: skip
    for num_lines in (3, 7):
        process = subprocess.Popen(
            command,
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
    train(recipe, data, killed, sets=sets)
    for told in ("train", "validation", "checkpoint"):
        ours, theirs = (without_times(metrics(out, told)) for out in (killed, whole))
        assert ours
        assert [_without_path(one) for one in ours] == [_without_path(one) for one in theirs]
    assert _digests(killed) == _digests(whole)


def _without_path(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "path"}


def _lines(out: Path) -> list[str]:
    path = out / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def _digests(out: Path) -> dict[str, Any]:
    return {
        path.parent.name: json.loads(path.read_bytes())["digest"]
        for path in out.glob("*/checkpoint.json")
    }


def test_an_order_without_a_copy_of_its_rows_trains_the_same(data: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    settings = ("--set", "validation={fraction: 0.03}", "--set", "order.rows=index")
    builds.run_well("build", "sample", "--out", index, *settings)
    for name, rows in (("one", data), ("other", index)):
        train("sample-encoder-pretraining", rows, tmp_path / name, "--max-steps", "2")
    one, other = (without_times(metrics(tmp_path / name)) for name in ("one", "other"))
    assert len(one) == 2
    assert one == other


def test_once_through_an_order_the_rows_add_up_to_its_ledger(data: Path, tmp_path: Path) -> None:
    train("sample-encoder-pretraining", data, tmp_path, sets=(*FEW, "tokens=1M"))
    manifest = json.loads((data / "manifest.json").read_bytes())
    record = read_record(max(tmp_path.glob("step*"), key=lambda one: int(one.name[4:])))
    ledger = manifest["order"]["ledger"]
    assert record.seen.multiset_root == ledger["multiset_root"]
    assert record.seen.order == ledger["sequence_root"]
    assert record.clock.next_row == ledger["num_rows"]
    assert record.clock.num_tokens == manifest["order"]["num_tokens"]


# Which documents a checkpoint saw


@pytest.mark.slow
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


# What cannot be


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    code = main([str(one) for one in arguments])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "more", "told"),
    [
        ("sample-encoder-extension", [],
         "sample-encoder-extension: got no --from, expected the checkpoint that it starts from"),
        ("sample-encoder-pretraining", ["--from", "{begun}/encoder"],
         "expected none, since sample-encoder-pretraining starts fresh"),
        ("sample-encoder-extension", ["--from", "{begun}/decoder"],
         "of decoder weights, expected those of the encoder that sample-encoder-extension"),
        ("sample-encoder-extension", ["--from", "{data}"],
         "got no checkpoint, expected one, or a folder of them"),
        ("sample-encoder-extension",
         ["--from", "{begun}/encoder", "--set", "model.num_layers=4"],
         "of another shape than sample-encoder-extension: num_layers 7, here 4"),
        ("sample-encoder-pretraining", ["--set", "global_batch_rows=1000000"],
         "rows, expected at least the 1,000,000 of a step"),
        ("sample-encoder-pretraining", ["--set", "max_seq_len=512"],
         "got rows of up to 1,024 ids, expected up to 512"),
        ("ettin-17m-encoder-pretrainig", [], "got neither a file nor one of the shipped recipes"),
        ("sample-encoder-pretraining", ["--set", "optimiser=1"], "got an unknown key"),
        ("sample-encoder-pretraining", ["--set", "model.vocab_size=50290"],
         "model.vocab_size: got 50,290, expected at least 50,368, the ids of the tokenizer"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_words(
    data: Path,
    begun: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    more: list[str],
    told: str,
) -> None:
    more = [one.format(begun=begun, data=data) for one in more]
    arguments = ["train", recipe, "--data", data, "--out", tmp_path / "out", "--device", "cpu"]
    code, err = refused(capsys, *arguments, *more)
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_processor_must_be_asked_for(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = refused(
        capsys, "train", "sample-encoder-pretraining", "--data", data, "--out", tmp_path
    )
    assert code == 2
    assert "got no GPU that torch can use" in err
    assert "hint: add --device cpu" in err


def test_checkpoints_of_another_recipe_or_order_are_left_alone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "out", "sample-encoder-pretraining"
    train(recipe, data, out, "--max-steps", "1", sets=TINY_RUN)
    before = _digests(out)
    tiny = as_options(TINY_RUN)
    arguments = ["train", recipe, "--out", out, "--device", "cpu", *tiny]
    code, err = refused(capsys, *arguments, "--data", data, "--set", "seed=22")
    assert code == 2
    assert (
        "got a checkpoint of another recipe than sample-encoder-pretraining: seed 21, here 22"
        in err
    )
    code, err = refused(capsys, *arguments, "--data", data / "train", "--set", "seed=21")
    assert code == 1
    assert f", that of {data / 'train'}\n" in err
    assert _digests(out) == before


def test_a_folder_is_for_one_run_at_a_time_and_for_no_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = as_options(FEW)
    arguments = ["train", "sample-encoder-pretraining", "--data", data, "--device", "cpu", *few]
    (tmp_path / "file").touch()
    code, err = refused(capsys, *arguments, "--out", tmp_path / "file")
    assert code == 2
    assert f"{tmp_path / 'file'}: got a file, expected a folder" in err
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, err = refused(capsys, *arguments, "--out", tmp_path)
    assert code == 2
    assert "another run is using it" in err
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_that_goes_on_must_have_begun_from_what_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, other, out = tmp_path / "begun", tmp_path / "other", tmp_path / "out"
    train("sample-encoder-pretraining", data, begun, "--max-steps", "1", sets=FEW)
    train("sample-encoder-pretraining", data, other, "--max-steps", "2", sets=FEW)
    few = as_options(FEW)
    arguments = ["train", "sample-encoder-extension", "--data", data, "--out", out,
                 "--device", "cpu", *few]  # fmt: skip
    assert refused(capsys, *arguments, "--from", begun, "--max-steps", "1")[0] == 0
    code, err = refused(capsys, *arguments, "--from", other, "--max-steps", "2")
    assert code == 2
    assert f"started from another checkpoint than {other}" in err
    assert refused(capsys, *arguments, "--from", begun / "step1", "--max-steps", "2")[0] == 0


def test_a_loss_that_is_no_number_stops_and_names_step_and_rows(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("sample-encoder-pretraining", data, tmp_path, "--max-steps", "2", sets=TINY_RUN)
    weights = tmp_path / "step2" / "model.safetensors"
    _poison(tmp_path / "step2")
    saved = weights.read_bytes()
    tiny = as_options(TINY_RUN)
    code, err = refused(
        capsys, "train", "sample-encoder-pretraining", "--data", data, "--out", tmp_path,
        "--device", "cpu", *tiny,
    )  # fmt: skip
    assert code == 1
    assert "step 3, rows 8:12: training diverged: loss is NaN" in err
    assert f"hint: {tmp_path / 'step2'} is unchanged" in err
    assert weights.read_bytes() == saved
    assert [one.name for one in tmp_path.glob("step*")] == ["step2"]


def test_an_optimizer_of_a_stranger_is_refused_in_words(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, sets = "sample-encoder-pretraining", (*FEW, "save_every_tokens=1k")
    train(recipe, data, tmp_path, "--max-steps", "1", sets=sets)
    path = next(tmp_path.glob("step*")) / "optimizer.pt"
    state = torch.load(path, weights_only=True)
    first = state["state"][0]
    record = read_record(path.parent)
    for content, said in (
        (Path("any object"), "got objects that are neither tensors nor numbers"),
        ({}, "got"),
        ({**state, "state": {**state["state"], 0: {**first, "exp_avg": torch.zeros(3)}}}, "shapes"),
    ):
        torch.save(content, path)
        files = {**record.files, path.name: FileDigest.of(path)}
        write_record(path.parent, replace(record, files=files))
        capsys.readouterr()
        settings = as_options(sets)
        code = main(["train", recipe, "--data", str(data), "--out", str(tmp_path),
                     "--device", "cpu", *settings])  # fmt: skip
        err = capsys.readouterr().err
        assert code == 2
        assert f"error: {path}: " in err
        assert said in err
        assert "expected the tensors of this model\nhint: use another checkpoint" in err


def _poison(checkpoint: Path) -> None:
    """Put a NaN among the weights of a checkpoint, and write its record anew."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = load_file(path)
    name = min(weights)
    weights[name].flatten()[0] = math.nan
    save_file(weights, path, metadata=metadata)
    record = read_record(checkpoint)
    files = {**record.files, path.name: FileDigest.of(path)}
    write_record(checkpoint, replace(record, files=files))


def test_a_full_disk_leaves_the_last_good_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may make a small disk")
    try:
        settings = as_options((*FEW, "save_every_tokens=500"))
        code, err = refused(
            capsys, "train", "sample-encoder-pretraining", "--data", data, "--out", disk,
            "--device", "cpu", *settings,
        )  # fmt: skip
        assert code == 2, err
        assert "the disk is full" in err
        saved = sorted(path.parent for path in disk.glob("*/checkpoint.json"))
        assert saved
        for checkpoint in saved:
            check_files(checkpoint, read_record(checkpoint))
        assert not [path for path in disk.glob("*/model.safetensors") if path.parent not in saved]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_rows_that_cannot_be_read_stop_the_run_or_are_stood_in_for(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    shard = max(damaged.glob("order/*_000001/*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    tiny = as_options(TINY_RUN)
    arguments = ["train", "sample-encoder-pretraining", "--data", damaged, "--device", "cpu", *tiny]
    code, err = refused(capsys, *arguments, "--out", tmp_path / "stopped")
    assert code == 1
    assert "rows 0" in err
    arguments += ["--on-damage", "tombstone", "--max-steps", "2"]
    code, err = refused(capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    record = read_record(tmp_path / "out" / "step2")
    assert record.seen.tombstones == ((0, 8),)
    assert "cannot be read, fed as placeholders: " in err
    # Nothing was to be predicted, so nothing was learned.
    assert "step 1: no labels" in err
    assert [line["loss"] for line in metrics(tmp_path / "out")] == [None, None]
    assert [line["num_tombstones"] for line in metrics(tmp_path / "out")] == [4, 4]
    code = main(["trace", str(damaged), "--checkpoint", str(tmp_path / "out" / "step2")])
    assert code == 0
    assert "could not be read: rows 0 to 7" in capsys.readouterr().out


# Several ranks


def test_two_ranks_see_the_rows_of_one_and_come_to_its_losses(data: Path, tmp_path: Path) -> None:
    settings = as_options(TINY_RUN)
    arguments = ["train", "sample-encoder-pretraining", "--data", str(data), "--device", "cpu",
                 "--max-steps", "3", *settings]  # fmt: skip
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    # A free port, and the loopback interface whatever the machine's name resolves to.
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "--standalone", "--local-addr", "127.0.0.1", "-m", "pipeline",
    ]  # fmt: skip
    environment = builds.environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    command = [*torchrun, *arguments, "--out", tmp_path / "two"]
    log = tmp_path / "two.log"
    with log.open("w") as file, subprocess.Popen(
        command, env=environment, stdout=file, stderr=file
    ) as running:  # fmt: skip
        try:
            # Three processes that import torch: 20 s alone, minutes beside other tests.
            code = running.wait(3 * builds.SECONDS)
        finally:
            # torchrun ends its ranks only when it is asked; if killed, it leaves them running.
            running.terminate()
    assert code == 0, log.read_text()
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one) == len(two) == 3
    for line, other in zip(one, two, strict=True):
        assert line["rows"] == other["rows"]
        assert line["rows_multiset"] == other["rows_multiset"]
        assert line["num_labels"] == other["num_labels"]
        # Dropout differs, since micro-batches do.
        assert line["loss"] == pytest.approx(other["loss"], abs=0.05)
