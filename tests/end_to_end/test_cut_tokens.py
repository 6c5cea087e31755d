"""Tokens that no trainer sees are counted where they are lost, warned of, and refused if many."""

import json
from pathlib import Path

import pytest
from support import builds

from pipeline import dataset
from pipeline.feed import Clm, Mlm, make_feed

MIXTURE = """
name: long
chunk: {algorithm: whole-v1, size: SIZE}
sources: {s: {from: {path: in.jsonl}}}
order: {seed: 1, global_batch_size: 2, max_seq_len: 64, view: VIEW}
"""


def write(folder: Path, view: str = "stored", size: int = 400) -> Path:
    """Write documents of 300 words and more, and a mixture of them."""
    lines = builds.json_lines({"id": f"d{n}", "text": builds.text(f"{n}", 300)} for n in range(8))
    (folder / "in.jsonl").write_bytes(lines)
    declared = MIXTURE.replace("VIEW", view).replace("SIZE", str(size))
    return builds.write_mixture(folder, declared)


@pytest.mark.parametrize("view", ["stored", "encoder"])
def test_many_tokens_beyond_the_longest_row_are_refused_or_counted(
    view: str, tmp_path: Path
) -> None:
    mixture = write(tmp_path, view)
    out = tmp_path / "out"
    done = builds.run("build", mixture, "--out", out)
    assert done.returncode == 2
    assert "order.max_seq_len: " in done.stderr
    assert "lie beyond 64 in their rows, where no trainer sees them" in done.stderr
    assert "write `allow_cut: true` below `order`" in done.stderr
    assert not (out / "manifest.json").exists()

    built = builds.run("build", mixture, "--out", out, "--set", "order.allow_cut=true")
    assert built.returncode == 0, built.stderr
    manifest = json.loads((out / "manifest.json").read_bytes())
    lengths = [
        end - start
        for block in dataset.open(out).rows.read(0, manifest["order"]["num_rows"])
        for start, end in zip(block.offsets[:-1], block.offsets[1:], strict=True)
    ]
    order, drawn = manifest["order"], manifest["sources"]["s"]["tokens"]["drawn"]
    if view == "stored":
        lost = order["num_tokens_beyond"]
        # All rows of full steps, and none is left over.
        assert order["num_rows_dropped"] == 0
        assert lost == sum(length - 64 for length in lengths if length > 64) > drawn // 2
        assert order["num_tokens"] == drawn
    else:
        lost = order["num_tokens_cut"]
        assert "num_tokens_beyond" not in order
        assert max(lengths) == 64
        assert lost == drawn + order["num_tokens_added"] - order["num_tokens"]
    assert f"warning: order: {lost:,} tokens (" in built.stderr


def test_tokens_of_the_holdout_that_are_cut_are_warned_of_too(tmp_path: Path) -> None:
    mixture = write(tmp_path)
    given = ["--set", "order.allow_cut=true", "--set", "validation.fraction=0.5"]
    built = builds.run("build", mixture, "--out", tmp_path / "out", *given)
    assert built.returncode == 0, built.stderr
    manifest = json.loads((tmp_path / "out" / "validation" / "manifest.json").read_bytes())
    lost = manifest["order"]["num_tokens_beyond"]
    assert f"warning: validation: {lost:,} tokens (" in built.stderr


def test_a_trainer_counts_what_its_view_cuts(tmp_path: Path) -> None:
    mixture = write(tmp_path)
    builds.run_well("build", mixture, "--out", tmp_path / "out", "--set", "order.allow_cut=true")
    order = dataset.open(tmp_path / "out")
    beyond = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["order"][
        "num_tokens_beyond"
    ]
    for objective, num_replaced in ((Clm(), 0), (Mlm(mask_prob=0.3, seed=1), 1)):
        batches = [*make_feed(order, objective=objective, micro_batch_rows=2)]
        assert sum(len(batch.rows) for batch in batches) == order.rows.num_rows
        # An encoder puts SEP in the place of another id of each cut row.
        num_cut = sum(batch.num_tokens_cut for batch in batches)
        num_long = sum(
            int((block.lengths() > 64).sum()) for block in order.rows.read(0, order.rows.num_rows)
        )
        assert num_cut == beyond + num_replaced * num_long > 0


def test_the_published_algorithms_keep_their_known_losses(tmp_path: Path) -> None:
    mixture = write(tmp_path)
    text = mixture.read_text().replace(
        "algorithm: whole-v1,", "algorithm: ettin-slice-v1, min_size: 8, skip_below: 2, seed: 1,"
    )
    mixture.write_text(text)
    built = builds.run("build", mixture, "--out", tmp_path / "out")
    assert built.returncode == 0, built.stderr
    assert "where no trainer sees them" in built.stderr


def test_plan_warns_before_anything_is_built(tmp_path: Path) -> None:
    out = builds.run_well("plan", write(tmp_path))
    assert (
        "warning: chunk.size 400 is above order.max_seq_len 64: up to 84.0% of the tokens lie where"
        " no trainer sees them; a build with more than 0.1 % of such tokens is refused"
    ) in out
    assert "warning" not in builds.run_well("plan", write(tmp_path, size=64))


def test_rows_that_fit_lose_nothing_and_say_nothing(tmp_path: Path) -> None:
    built = builds.run("build", write(tmp_path, size=64), "--out", tmp_path / "out")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    assert "num_tokens_beyond" not in (tmp_path / "out" / "manifest.json").read_text()
