"""Curves: one panel a measure, one line a MODEL, and encoders never beside decoders in nats."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.core.errors import ConfigError, OutputError
from pipeline.train.evaluation import curves
from pipeline.train.evaluation.curves import (
    check_folder,
    check_picture,
    draw_curves,
    measures,
    write_events,
)


def answer(found_in: str, kind: str, tokens: int | None, at: float) -> dict[str, Any]:
    own = "per_byte" if kind == "decoder" else "pseudo_log_likelihood"
    times = {"difference": at, "low": at - 0.1, "high": at + 0.1, "num_pairs": 9}
    unknown = {"difference": None, "low": None, "high": None, "num_pairs": 0}
    share = {"share": 0.3, "low": 0.2, "high": 0.4, "preferred": 0.1}
    return {
        "model": f"{found_in}/step{tokens}",
        "found_in": found_in,
        "kind": kind,
        "num_tokens": tokens,
        "held-out": {"loss": at, own: 2 * at, "by_source": {}},
        "recall": {"num_seen": 3, "by_times_seen": {"1": times, "2-9": unknown}},
        "minimal-pairs": {"accuracy": at / 10, "num_pairs": 5, "by_phenomenon": {}},
        "bias": {"by_gender": dict.fromkeys(("male", "female", "neutral"), share)},
    }


ANSWERS = [
    answer("runs/decoder", "decoder", 2000, 5.0),
    answer("runs/decoder", "decoder", 1000, 6.0),
    answer("runs/encoder", "encoder", 1000, 7.0),
    answer("hf://ORG/NAME", "encoder", None, 4.0),
]


def test_a_measure_of_nats_is_of_one_kind() -> None:
    found = {one["kind"]: {each.name: each for each in measures(one)} for one in ANSWERS}
    shared = found["encoder"].keys() & found["decoder"].keys()
    assert shared == {"minimal-pairs/accuracy", "bias/male", "bias/female", "bias/neutral"}
    assert len(found["decoder"]) == len(found["encoder"]) == 3 + 4
    once = found["encoder"]["recall/encoder-seen-1"]
    assert once == ("recall/encoder-seen-1", "nats a label", 4.0, 3.9, 4.1)


def test_a_line_is_drawn_for_each_model_in_each_panel_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **settings: Any) -> None:
        drawn.append(figure)
        save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    for path in ("a.svg", "b.svg", "c.png", "d.pdf"):
        draw_curves(ANSWERS, tmp_path / path)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "d.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.svg", "b.svg", "c.png", "d.pdf"]
    panels = {one.get_title(): one for one in drawn[0].axes}
    assert len(panels) == 2 * 3 + 4
    loss = panels["held-out/decoder-loss"]
    (line,) = loss.lines
    assert line.get_xydata().tolist() == [[1000, 6], [2000, 5]]
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("tokens seen", "nats a label")
    (band,) = panels["recall/decoder-seen-1"].collections
    edges = band.get_datalim(panels["recall/decoder-seen-1"].transData).get_points()
    assert edges.ravel().tolist() == pytest.approx([1000, 4.9, 2000, 6.1])
    # Of the model of which no tokens are known a dotted line.
    styles = [one.get_linestyle() for one in panels["minimal-pairs/accuracy"].lines]
    assert styles.count(":") == 1
    (legend,) = drawn[0].legends
    names = [one.get_text() for one in legend.get_texts()]
    assert names == ["runs/decoder", "runs/encoder", "hf://ORG/NAME"]


def test_events_are_a_run_for_each_model_and_written_again_they_replace(tmp_path: Path) -> None:
    write_events(ANSWERS, tmp_path)
    again = [{**one, "minimal-pairs": {"accuracy": 0.5}} for one in ANSWERS]
    write_events(again, tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "hf-ORG-NAME", "runs-decoder", "runs-encoder"]  # fmt: skip
    read = EventAccumulator(str(tmp_path / "runs-decoder"))
    read.Reload()
    found = {one.step: one.value for one in read.Scalars("minimal-pairs/accuracy")}
    assert found == {1000: 0.5, 2000: 0.5}
    losses = [(one.step, one.value) for one in read.Scalars("held-out/decoder-loss")]
    assert sorted(losses) == [(1000, 6), (2000, 5)]


def test_runs_of_tensorboard_lie_in_its_folder_and_are_as_many_as_models(tmp_path: Path) -> None:
    places = ["..", ".", "a/b", "../a-b", "/a/b"]
    write_events([answer(one, "encoder", 1, 1.0) for one in places], tmp_path / "events")
    assert [one.name for one in tmp_path.iterdir()] == ["events"]
    runs = sorted(one.parent.name for one in (tmp_path / "events").glob("*/events*"))
    assert runs == ["a-b", "a-b-2", "a-b-3", "models", "models-2"]


def test_what_cannot_be_drawn_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"a\.gif: got the ending \.gif, expected \.pdf, \.png"):
        check_picture(tmp_path / "a.gif")
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "a.svg"
    with pytest.raises(OutputError, match="file"):
        draw_curves(ANSWERS, inside)
    with pytest.raises(OutputError, match="file"):
        write_events(ANSWERS, tmp_path / "file")
    not_there = "file: got Not a directory, expected a writable"
    with pytest.raises(OutputError, match=not_there):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=not_there):
        check_picture(inside)
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="got no matplotlib") as caught:
        check_picture(tmp_path / "a.svg")
    assert caught.value.hint == "pip install 'ettin-data[train]'"
