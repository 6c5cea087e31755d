"""`ettin-data feed`: what a person sees of a feed."""

import json
import lzma
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import commands, source_server
from support.parquet import write_phase
from support.paths import REPOSITORY


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    return commands.call(capsys, "feed", *arguments)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    code, out, _ = call(capsys, *arguments, "--json")
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_the_first_step_is_shown(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, finished, "--micro-batch", "6")
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.startswith(f"{finished}: ")
    assert head.endswith("steps of 16, 0 rows dropped; rank 0 of 1; view stored")
    assert [line.split(":")[:2] for line in lines] == [
        ["step 1", " rows 0 … 5"], ["step 1", " rows 6 … 11"], ["step 1", " rows 12 … 15"],
    ]  # fmt: skip
    assert all(" 0 labels, input_ids 1×" in line and ": 50281 " in line for line in lines)
    assert [line.endswith("ends the step") for line in lines] == [False, False, True]


def test_ranks_share_the_steps_that_are_asked_for(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = [
        shown(capsys, finished, "--steps", "2:4", "--world-size", "4", "--rank", f"{rank}")
        for rank in range(4)
    ]
    assert [batch["step"] for batch in ranks[0]] == [2, 3]
    rows = sorted(row for batches in ranks for batch in batches for row in batch["rows"])
    assert rows == list(range(16, 48))
    assert {batch["next_row"] for batches in ranks for batch in batches} == {32, 48}


def test_a_line_of_json_has_all_that_a_batch_says(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted((finished / "order").glob("*/*.parquet"))[0]
    stored = pq.read_table(path)["input_ids"].to_pylist()
    found = shown(
        capsys, finished, "--objective", "mlm", "--mask-prob", "1", "--form", "padded",
        "--steps", "2", "--micro-batch", "16",
    )  # fmt: skip
    assert [(batch["step"], batch["next_row"], batch["ends_step"]) for batch in found] == [
        (1, 16, True), (2, 32, True),
    ]  # fmt: skip
    rows = stored[:16]
    longest = max(map(len, rows))
    assert found[0]["num_tokens"] == sum(map(len, rows))
    assert found[0]["num_labels"] == sum(id_ < 50280 for row in rows for id_ in row)
    assert found[0]["tombstones"] == []
    assert found[0]["inputs"] == {
        "input_ids": [16, longest], "attention_mask": [16, longest], "labels": [16, longest],
    }  # fmt: skip
    assert found[0]["begins"][0] == 50281


def test_masks_follow_from_the_seed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, again = (
        shown(capsys, finished, "--objective", "mlm", "--micro-batch", "16", "--seed", seed)
        for seed in ("1", "2", "1")
    )
    assert first == again != second
    found = first[0]["num_labels"] / first[0]["num_tokens"]
    assert found == pytest.approx(0.3, abs=0.05)


def test_the_bench_counts_what_it_read(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((finished / "order").glob("*/*.parquet"))
    lengths = [len(row) for path in paths for row in pq.read_table(path)["input_ids"].to_pylist()]
    (found,) = shown(capsys, finished, "--bench")
    assert (found["num_rows"], found["num_tokens"]) == (len(lengths), sum(lengths))
    assert found["num_batches"] == len(lengths) / 16
    assert 0 < found["first_batch_seconds"] <= found["seconds"]
    assert found["tokens_per_second"] == pytest.approx(sum(lengths) / found["seconds"])
    (found,) = shown(capsys, finished, "--bench", "--steps", "2:4", "--micro-batch", "5")
    assert (found["num_rows"], found["num_batches"]) == (32, 8)
    code, out, _ = call(capsys, finished, "--bench", "--steps", "1")
    assert code == 0
    assert f"{finished}: {sum(lengths[:16]):,} tokens of 16 rows in 1 batches, " in out
    assert " tokens/s; opened in " in out


def test_damage_is_an_error_or_said_at_the_end(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    path = sorted((folder / "order").glob("*/*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[200:240] = bytes(40)
    path.write_bytes(data)
    code, _, err = call(capsys, folder)
    assert code in (1, 2)
    assert path.name in err
    code, out, _ = call(capsys, folder, "--on-damage", "tombstone")
    assert code == 0
    assert (
        "step 1: rows 0 … 7: 0 tokens, 0 labels, 8 placeholder rows, input_ids 1×16: 50281 50282"
        in out
    )
    assert f"cannot be read: {path}" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--world-size", "5"], 2, "world size: got 5, expected one that divides the 16 rows"),
        (["--rank", "1"], 2, "rank: got 1 of world size 1"),
        (["--steps", "0:2"], 2, "got '0:2', expected A:B with A below B, as 1:11: steps count"),
        (["--steps", "3:3"], 2, "got '3:3', expected A:B with A below B, as 1:11: steps count"),
        (["--steps", "x"], 2, "got 'x', expected an integer of at least 1"),
        (["--steps", "9999"], 1, "--steps: got step 9,999, expected one of 1 to "),
        (["--phase", "none"], 1, "got phase 'none', expected 'checkpoint'"),
        (["--mask-prob", "0.2"], 2, "--mask-prob, --seed: got --objective none, expected mlm"),
        (["--objective", "mlm", "--mask-prob", "1.5"], 2, "got '1.5', expected a number above 0"),
        (["--objective", "clm", "--seed", "3"], 2, "--seed: got --objective clm, expected mlm"),
        (["--objective", "clm"], 2, "was written for the view encoder, expected decoder, or"),
        (["--max-seq-len", "9"], 2, " ids, expected at most 9"),
        (["--max-seq-len", "9"], 2, "hint: raise max_seq_len (--max-seq-len), or feed it with an"),
        (["--global-batch", "100000"], 2, "expected at least the 100,000 of a step"),
    ],
)
def test_misuse_is_told(
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    got, _, err = call(capsys, finished, *arguments)
    assert (got, message in err) == (code, True), err
    assert err.startswith("error: ")


def test_an_order_of_another_tokenizer_is_fed_with_it_alone(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = files("pipeline.stages.tokenizer").joinpath("modernbert.json.xz").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(lzma.decompress(packed) + b"\n")
    code, _, err = call(capsys, finished, "--tokenizer", tmp_path / "tokenizer.json")
    assert code == 1
    assert "got ids of the tokenizer " in err
    assert "hint: feed it with the tokenizer.json that made them: --tokenizer FILE" in err


def test_the_example_of_the_page_runs(finished: Path) -> None:
    page = REPOSITORY / "docs" / "guide" / "feed.md"
    example = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[0]
    told: dict[str, Any] = {}
    exec(example.replace("sample-out", str(finished)), told)
    assert told["state"]["row"] == 16
    assert told["batch"].rows.tolist() == [8, 10, 12, 14]


def test_the_bench_times_an_order_that_was_opened_anew(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with source_server.serve({"org/order": finished}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        shown(capsys, "hf://datasets/org/order", "--steps", "1")
        once = len(server.log("manifest.json"))
        shown(capsys, "hf://datasets/org/order", "--bench", "--steps", "1")
        assert len(server.log("manifest.json")) == 3 * once > 0


def test_a_phase_is_chosen_of_an_order_that_has_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = write_phase(tmp_path, 1)
    write_phase(tmp_path, 2, phase="decay")
    code, _, err = call(capsys, tmp_path, "--global-batch", "4")
    assert code == 2
    assert "hint: choose one with phase (--phase), or name the folder of a window" in err
    found = shown(capsys, tmp_path, "--global-batch", "4", "--phase", "checkpoint")
    assert found[0]["begins"] == [id_ for row in expected for id_ in row][:8]


def test_an_address_that_nothing_reads_is_told_what_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = call(capsys, "nosuch://x")
    assert code == 2
    assert "hint: write a path, or an address that begins with hf:, https:, s3: or gs:" in err


def test_nothing_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, tmp_path / "nothing")
    assert code == 2
    assert "nothing: not found, expected an order" in err
