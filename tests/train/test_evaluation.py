"""Evaluation: losses equal those of a plain model, pairs are fair, memorisation is found."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import builds
from support.models import as_options, stock, tiny
from support.strategies import QUICK

from pipeline.cli.main import main
from pipeline.config.recipe import ModelKind
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.feed import IGNORED, SpecialIds, make_feed
from pipeline.show.token_text import TokenText
from pipeline.train.evaluation import held_out as held_outs
from pipeline.train.evaluation import recall as recalls
from pipeline.train.evaluation.bootstrap import interval
from pipeline.train.evaluation.held_out import held_out
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.recall import Text, draw_texts, pair_texts, recall
from pipeline.train.evaluation.row_losses import objective_of, row_losses
from pipeline.train.models import make_model

KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")


def opened(kind: ModelKind) -> OpenedModel:
    model = make_model(tiny(kind), seed=5).eval()
    return OpenedModel(name="tiny", kind=kind, model=model, max_seq_len=512)


def places_of(out: Path) -> list[Place]:
    return [Place.open(one) for one in (out, out / "validation")]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_rows_are_those_of_a_plain_model(data: Path, kind: ModelKind) -> None:
    made, place = opened(kind), Place.open(data)
    order, special = place.order, place.special
    numbers = np.array([300, 7, 8, 9, 150, 0])
    found = row_losses(made, place, numbers)
    text = TokenText.of(place.trace.load_tokenizer())
    plain = stock(made.model, tiny(kind))
    feed = make_feed(order, objective=objective_of(made), micro_batch_rows=1, global_batch_rows=1,
                     max_seq_len=512, special=special)  # fmt: skip
    for at, number in enumerate(numbers.tolist()):
        feed.seek_row(number)
        inputs = next(iter(feed)).inputs
        ids, labels = (torch.as_tensor(inputs[name]) for name in ("input_ids", "labels"))
        with torch.no_grad():
            logits = plain(input_ids=ids).logits
        if kind == "decoder":
            logits, labels = logits[:, :-1], labels[:, 1:]
        kept = labels != IGNORED
        total = torch.nn.functional.cross_entropy(logits[kept], labels[kept], reduction="sum")
        assert found.sums[at] == pytest.approx(float(total), rel=1e-4)
        assert found.num_labels[at] == int(kept.sum())
        spelled = [id_ for id_ in labels[kept].tolist() if id_ not in text.special]
        assert text.pieces is not None
        assert found.num_bytes[at] == sum(len(text.pieces[id_]) for id_ in spelled)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_one_loss_whatever_is_beside_it(data: Path, kind: ModelKind) -> None:
    made, place = opened(kind), Place.open(data)
    many = row_losses(made, place, np.array([5, 90, 3]))
    alone = row_losses(made, place, np.array([3]))
    assert alone.means[0] == pytest.approx(many.means[2], rel=1e-5)
    none = row_losses(made, place, np.zeros(0, np.int64))
    assert len(none.means) == 0


def test_draws_mask_other_ids_of_an_encoder_and_change_nothing_of_a_decoder(data: Path) -> None:
    place, numbers = Place.open(data), np.array([7, 3])
    one, eight = (row_losses(opened("encoder"), place, numbers, draws) for draws in (1, 8))
    assert (eight.num_labels > 6 * one.num_labels).all()
    assert (eight.means != one.means).all()
    one, eight = (row_losses(opened("decoder"), place, numbers, draws) for draws in (1, 8))
    assert (eight.sums == one.sums).all()
    assert (eight.num_labels == one.num_labels).all()


def test_losses_that_are_not_finite_are_refused(data: Path) -> None:
    made = opened("decoder")
    with torch.no_grad():
        next(made.model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="tiny: got losses that are not finite, expected"):
        row_losses(made, Place.open(data), np.array([3]))


TEXTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 900)), max_size=30)


@QUICK
@given(TEXTS, TEXTS)
def test_pairs_are_of_one_source_and_about_one_length(
    seen: list[tuple[str, int]], unseen: list[tuple[str, int]]
) -> None:
    first, second = (
        [Text(place=0, row=row, source=source, num_tokens=length, num_times=1)
         for row, (source, length) in enumerate(texts)]
        for texts in (seen, unseen)
    )  # fmt: skip
    pairs = pair_texts(first, second)
    for one in pairs:
        assert one.seen.source == one.unseen.source
        lengths = (one.seen.num_tokens, one.unseen.num_tokens)
        assert max(lengths) - min(lengths) <= 0.25 * max(lengths)
    for side in ("seen", "unseen"):
        rows = [getattr(one, side).row for one in pairs]
        assert len({*rows}) == len(rows)
    # What is left over has no partner left.
    used = {one.unseen.row for one in pairs}
    for text in set(first) - {one.seen for one in pairs}:
        for other in second:
            if other.row not in used and other.source == text.source:
                longer = max(other.num_tokens, text.num_tokens)
                assert abs(other.num_tokens - text.num_tokens) > 0.25 * longer


def test_intervals_hold_the_mean_and_nothing_is_told_of_one_pair() -> None:
    draws = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = interval(draws.normal(0.5, 1, 60), "mean")
        assert found["low"] <= found["mean"] <= found["high"]
        hits += found["low"] <= 0.5 <= found["high"]
    assert 180 <= hits <= 199
    assert interval(np.array([1.0]), "mean") == {"mean": None, "low": None, "high": None}


@pytest.mark.parametrize("drawn", [40, 2000])
def test_seen_and_unseen_texts_are_what_the_order_says(
    data: Path, monkeypatch: pytest.MonkeyPatch, drawn: int
) -> None:
    monkeypatch.setattr(recalls, "_MOST_DRAWN", drawn)
    places, num_rows = places_of(data), 160
    seen, unseen = draw_texts(places, num_rows)
    rows = places[0].trace.provenance.rows(0, places[0].order.rows.num_rows)
    keys = [(one.source, one.document, one.chunk) for one in rows]
    times = Counter(keys[:num_rows])
    documents = {key[:2] for key in keys[:num_rows]}
    assert seen
    assert {one.num_times for one in seen} > {1}
    assert max(len(seen), len(unseen) // 2) <= drawn
    # Pairs are made of the first, which must not be the earliest.
    assert [one.row for one in seen] != sorted(one.row for one in seen)
    for one in seen:
        assert one.row < num_rows
        assert one.num_times == times[keys[one.row]]
    assert len({keys[one.row] for one in seen}) == len(seen)
    later = [one for one in unseen if one.place == 0]
    assert later
    for one in later:
        assert one.row >= num_rows
        assert keys[one.row][:2] not in documents
    assert len(unseen) > len(later)
    if drawn == 2000:
        assert len(seen) == len(times)
        assert len(unseen) - len(later) == places[1].order.rows.num_rows


def test_nothing_is_recalled_by_a_model_that_saw_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalls, "_MOST_PAIRS", 24)
    monkeypatch.setattr(recalls, "_NUM_DRAWS", 2)
    places = places_of(data)
    for kind in KINDS:
        found = recall(opened(kind), 160, places)
        once = found["by_times_seen"]["1"]
        assert once["num_pairs"] > 20
        assert once["low"] < 0 < once["high"]


def shuffled_numbers(name: str, number: int) -> list[dict[str, str]]:
    """Return documents of thirty numbers: eight have all below 240, and so have the next eight."""
    draw, texts = random.Random(name).random, list[str]()
    while len(texts) < number:
        shuffled = sorted(map(str, range(240)), key=lambda _: draw())
        texts += [" ".join(shuffled[at : at + 30]) for at in range(0, 240, 30)]
    return [{"id": f"{name}-{at}", "text": text} for at, text in enumerate(texts)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_planted_memorisation_is_found(tmp_path: Path, kind: ModelKind) -> None:
    # The words of all are the same, so that only their order and company can be remembered.
    for name, number in (("planted", 24), ("other", 304)):
        (tmp_path / f"{name}.jsonl").write_bytes(builds.json_lines(shuffled_numbers(name, number)))
    mixture = builds.write_mixture(tmp_path, """\
name: memorised
tokenizer: {name: modernbert, add_prefix_space: true}
chunk: {size: 64}
sources:
  planted: {from: {path: planted.jsonl}, epochs: 200}
  other: {from: {path: other.jsonl}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
validation: {fraction: 0.4}
""")  # fmt: skip
    builds.run_well("build", mixture, "--out", tmp_path / "out")
    # An encoder learns nothing but how often words come in fewer steps, or at a higher rate.
    settings = ("tokens=10M", "save_every_tokens=10M", "optimizer.peak_rate=0.003",
                "model.num_layers=1", "global_batch_rows=4", "micro_batch_rows=4")  # fmt: skip
    arguments = ["train", f"sample-{kind}-pretraining", "--data", tmp_path / "out", "--out",
                 tmp_path / "run", "--device", "cpu",
                 *as_options(settings)]  # fmt: skip
    assert main([str(one) for one in arguments]) == 0
    stdout = builds.run_well("evaluate", tmp_path / "run", "--data", tmp_path / "out", "--device",
                             "cpu", "--suite", "recall", "--json")  # fmt: skip
    (answer,) = json.loads(stdout)
    often, once = (answer["recall"]["by_times_seen"][times] for times in ("100+", "1"))
    assert often["num_pairs"] >= 5
    assert often["low"] > 1
    assert once["high"] < 0.5


def test_an_encoder_scores_the_first_tokens_of_some_rows_of_each_source(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_outs, "_MOST_SCORED", 2)
    place, asked = places_of(data)[1], []

    def scores(_: OpenedModel, rows: Rows, special: SpecialIds, report: object) -> object:
        asked.extend(rows)
        return np.array([-2.0 * sum(~special.is_special[ids]) for ids in rows])

    monkeypatch.setattr(held_outs, "row_scores", scores)
    found = held_out(opened("encoder"), place)
    sources = found["by_source"].values()
    assert len(asked) == sum(min(2, one["num_rows"]) for one in sources) < found["num_rows"]
    assert max(map(len, asked)) == 128
    assert {one["pseudo_log_likelihood"] for one in (found, *sources)} == {-2.0}
    assert "pseudo_log_likelihood" not in held_out(opened("decoder"), place)


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["evaluate", *[str(one) for one in arguments], "--device", "cpu"])
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("few_rows")
def test_a_trajectory_and_a_pair_are_one_answer_a_model(
    data: Path,
    runs: Path,
    few_sentences: list[str | Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = (runs / "decoder", runs / "encoder" / "step2", "--data", data, *few_sentences)
    drawn = ("--plot", tmp_path / "curves.svg", "--tensorboard", tmp_path / "events")
    code, out, err = evaluate(capsys, *command, *drawn, "--json")
    assert code == 0, err
    answers = json.loads(out)
    names = [f"{runs}/{one}" for one in ("decoder/step1", "decoder/step2", "encoder/step2")]
    assert [one["model"] for one in answers] == names
    assert "bias/neutral" in (tmp_path / "curves.svg").read_text()
    assert len([*(tmp_path / "events").iterdir()]) == 2
    for one in answers:
        assert one["model"].startswith(one["found_in"])
        assert one["minimal-pairs"]["num_pairs"] == 3
        shares = [each["share"] for each in one["bias"]["by_gender"].values()]
        assert sum(shares) == pytest.approx(1)
        found = one["held-out"]
        sources = found["by_source"].values()
        assert found["num_labels"] == sum(source["num_labels"] for source in sources)
        assert found["num_rows"] == sum(source["num_rows"] for source in sources)
        assert ("per_byte" in found) == (one["kind"] == "decoder")
        assert one["recall"]["num_seen"] in (4, 8)
    # A step of training is a step down.
    assert answers[1]["held-out"]["loss"] < answers[0]["held-out"]["loss"]
    # An export is its checkpoint.
    assert main(["export", str(runs / "decoder"), "--all", "--out", str(tmp_path / "models")]) == 0
    command = (tmp_path / "models", "--data", data, "--suite", "recall")
    code, out, err = evaluate(capsys, *command, "--json")
    assert code == 0, err
    exports = json.loads(out)
    assert [Path(one["model"]).name for one in exports] == ["step1", "step2"]
    for one, of in zip(exports, answers, strict=False):
        same = {"model": "", "found_in": ""}
        assert {**of, **one, **same} == {**of, **same}
    code, out, err = evaluate(capsys, runs / "encoder" / "step2", "--data", data, *few_sentences)
    assert code == 0
    # Held-out rows once for their loss and once by token.
    stages = [line.removeprefix(f"{runs}/encoder/step2: ") for line in err.splitlines()]
    suites = [stage.partition(",")[0].rpartition(": ")[0] for stage in stages]
    assert suites == [
        *("held-out: losses", "held-out: scores", "recall: losses"),
        *("minimal-pairs: scores", "bias: scores"),
    ]
    done = [stage.partition(",")[0].rpartition(": ")[2].split("/") for stage in stages]
    assert all(number == total for number, total in done)
    assert done[-2:] == [["6", "6"], ["6", "6"]]
    assert f"{runs}/encoder/step2: encoder" in out
    assert "nats a masked token" in out
    assert "recall of the 8 rows that it saw" in out


def test_sentences_need_no_data_and_several_models_are_a_table(
    runs: Path, few_sentences: list[str | Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = evaluate(capsys, runs / "encoder", *few_sentences)
    assert code == 0, err
    assert "held-out:" not in out
    assert "of 3 pairs, the mean of phenomena" in out
    *_, heading, first, second = (line.split() for line in out.splitlines())
    assert heading[-4:] == ["pairs", "male", "female", "neutral"]
    for step, line in enumerate((first, second), 1):
        assert line[:2] == [f"{runs}/encoder/step{step}", "encoder"]
        assert all(re.fullmatch(r"\d+\.\d%", share) for share in line[-4:])


def test_the_held_out_loss_is_that_of_training(
    data: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (runs / "decoder" / "metrics.jsonl").read_text().splitlines()
    last = [one for one in map(json.loads, lines) if one["kind"] == "validation"][-1]
    command = (runs / "decoder" / "step2", "--data", data, "--suite", "held-out", "--json")
    (answer,) = json.loads(evaluate(capsys, *command)[1])
    assert answer["held-out"]["loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert answer["held-out"]["num_labels"] == last["num_labels"]
    assert "recall" not in answer


@pytest.mark.usefixtures("few_rows")
def test_what_cannot_be_evaluated_is_refused_in_words(
    data: Path, runs: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str | Path) -> str:
        code, out, err = evaluate(capsys, *arguments)
        assert code in (1, 2)
        assert out == ""
        assert "Traceback" not in err
        return err

    run = runs / "decoder"
    assert "invalid choice: 'grammar'" in refused(run, "--suite", "grammar")
    err = refused(run, "--suite", "recall", "--suite", "held-out")
    assert "--suite held-out, recall: got no --data, expected the output of the build" in err
    assert "hint: held-out and recall need --data DIR" in err
    assert "a.gif: got the ending .gif, expected" in refused(run, "--plot", "a.gif")
    assert f"{tmp_path}/none: got" in refused(run, "--pairs", tmp_path / "none")
    assert "got no validation/, expected a validation split" in refused(run, "--data", finished)
    assert "got a model of the order" in refused(run, "--data", finished, "--suite", "recall")
    assert f"{tmp_path}: got no model, expected a checkpoint" in refused(tmp_path, "--data", data)
    assert main(["export", str(run), "--out", str(tmp_path / "model")]) == 0
    told = tmp_path / "model" / "provenance.json"
    told.write_text('{"format": "ettin-export-v1", "rows": 3}')
    assert "provenance.json: rows: got 3, expected a list" in refused(tmp_path / "model")
    told.unlink()
    command = (tmp_path / "model", "--data", data)
    assert "nothing says which rows it has seen" in refused(*command)
    assert evaluate(capsys, *command, "--suite", "held-out")[0] == 0
    (tmp_path / "model" / "config.json").write_text('{"architectures": ["ModernBertForMaskedLM"]}')
    err = refused(*command, "--suite", "held-out")
    assert "config.json: got a model of another shape" in err
