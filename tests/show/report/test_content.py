"""What a report says: equal to plain counts, whole, and the same for whoever has the bytes."""

import html
import re
import shlex
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support import builds
from support.clusters import Build
from support.paths import REPOSITORY
from support.traced import write_output

from pipeline.config import Replay, load_config
from pipeline.core.errors import NotFoundError
from pipeline.show import Shown
from pipeline.show.report import content as contents
from pipeline.show.report import mixture_text as mixture_texts
from pipeline.show.report import render, report_content
from pipeline.show.report.mixture_text import mixture_text
from pipeline.show.report.unseen import UNSEEN
from pipeline.show.strip import LENGTHS


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


def content_of(where: Path) -> dict:
    return report_content(Shown.open(where), quiet)


def test_rows_by_source_are_what_reading_every_row_gives(finished: Path) -> None:
    shown = Shown.open(finished)
    assert shown.trace is not None
    origins = shown.trace.provenance.rows(0, shown.num_rows)
    rows = report_content(shown, quiet)["rows"]
    assert report_content(shown, quiet)["assumed_tokenizer"] is None
    numbers, tokens = Counter[str](), Counter[str]()
    for one in origins:
        numbers[one.source] += 1
        tokens[one.source] += one.num_tokens
    assert {one["name"]: one["rows"] for one in rows["listed"]} == numbers
    assert {one["name"]: one["tokens"] for one in rows["listed"]} == tokens
    assert rows["num_tokens"] == sum(tokens.values())
    assert rows["later"] == sum(one.chunk > 0 for one in origins)
    chunks = {(one.source, one.document, one.chunk) for one in origins}
    assert rows["repeated"] == len(origins) - len(chunks) > 0
    lengths = [one.num_tokens for one in origins]
    assert rows["lengths"] == [min(lengths), max(lengths)]
    counted = shown.strip_maker.strip
    assert counted is not None
    for place, source in enumerate(shown.sources):
        of = [one.num_tokens for one in origins if one.source == source]
        expected = np.histogram(of, [*LENGTHS.tolist(), np.inf])[0]
        assert counted.lengths[place].tolist() == expected.tolist()


def test_shares_of_columns_are_what_reading_every_row_gives(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_NUM_COLUMNS", 4)
    shown = Shown.open(finished)
    assert shown.trace is not None
    origins = shown.trace.provenance.rows(0, shown.num_rows)
    rows = report_content(shown, quiet)["rows"]
    num_steps = origins[-1].step
    bounds = [place * num_steps // 4 for place in range(5)]
    parts = [[one for one in origins if a <= one.step - 1 < b] for a, b in pairwise(bounds)]
    whole = sum(one.num_tokens for one in origins)
    for source in rows["listed"]:
        shares = [
            sum(one.num_tokens for one in part if one.source == source["name"])
            / sum(one.num_tokens for one in part)
            for part in parts
        ]
        assert (source["lowest"], source["highest"]) == (min(shares), max(shares))
        assert source["share"] == source["tokens"] / whole
        assert (source["outside"] is None) == (source["rows"] < 40)
    assert any(one["outside"] is None for one in rows["listed"])
    assert sum(one["outside"] or 0 for one in rows["listed"]) <= 2


def test_columns_outside_of_the_band_are_counted(tmp_path: Path) -> None:
    rows = [("a", "d")] * 100 + [("b", "d")] * 100
    write_output(tmp_path / "out", rows, steps=[50] * 4)
    found = content_of(tmp_path / "out")["rows"]
    assert {one["name"]: one["outside"] for one in found["listed"]} == {"a": 4, "b": 4}


def test_the_mixture_table_adds_up(finished: Path) -> None:
    budget = content_of(finished)["budget"]
    for key in contents._SUMMED:
        assert sum(one[key] for one in budget["listed"]) == budget["totals"][key]
        assert key in budget["used"] or not budget["totals"][key]
    dropped = sum(number for _, number in budget["reasons"])
    assert dropped == budget["totals"]["documents"] - budget["totals"]["kept"] > 0


def test_sources_beyond_the_listed_ones_are_summed(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content_of(finished)
    monkeypatch.setattr(contents, "MOST_LISTED", 2)
    cut = content_of(finished)
    for part, key in (("budget", "drawn"), ("rows", "tokens")):
        assert len(cut[part]["listed"]) == 2
        assert cut[part]["num_rest"] == len(whole[part]["listed"]) - 2
        listed = sum(one[key] for one in cut[part]["listed"])
        assert listed + cut[part]["rest"][key] == sum(one[key] for one in whole[part]["listed"])
    assert "3 other sources" in render(cut)


def test_a_report_depends_on_the_bytes_alone(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = render(content_of(finished))
    shutil.copytree(finished, tmp_path / "elsewhere" / "renamed")
    monkeypatch.chdir(tmp_path)
    assert render(content_of(Path("elsewhere/renamed"))) == here
    assert str(finished) not in here


def test_the_printed_mixture_builds_the_same_order(
    finished: Path, small: Path, tmp_path: Path
) -> None:
    content = content_of(finished)
    assert content["mixture"]["is_mixture"]
    shutil.copytree(small.parent / "in", tmp_path / "in")
    mixture = builds.write_mixture(tmp_path, content["mixture"]["text"], "mixture.yaml")
    builds.run_well("build", mixture, "--out", tmp_path / "out")
    assert render(content_of(tmp_path / "out")) == render(content)


def test_a_pool_is_reported_the_same_wherever_it_lies(finished: Path, tmp_path: Path) -> None:
    for name in ("train", "order"):
        shutil.copytree(finished / name, tmp_path / name / "renamed")
        page = render(content_of(tmp_path / name / "renamed"))
        assert page == render(content_of(finished / name))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "mixtures").glob("*.yaml")))
def test_every_shipped_mixture_is_printed_with_its_meaning(path: Path) -> None:
    mixture = load_config(path)
    if isinstance(mixture, Replay):
        pytest.skip("a replay is no mixture: it declares no pool")
    text = mixture_text(mixture.declaration())
    assert load_config(Path("again.yaml"), text=text.encode()).fingerprint == mixture.fingerprint


def test_a_mixture_is_printed_whatever_it_has_for_names() -> None:
    text = (
        'name: "null"\nchunk: {size: 9}\norder: {seed: 1, global_batch_size: 1, max_seq_len: 9}\n'
        "sources:\n"
        '  name: {category: "\\u202e{{x}}", from: {path: "a"}, filters: [length: {min_chars: 4}]}\n'
        '  options: {category: "1e3", from: {path: "b", id: null}}\n'
    )
    mixture = load_config(Path("odd.yaml"), text=text.encode())
    printed = mixture_text(mixture.declaration())
    assert not UNSEEN.search(printed)
    assert load_config(Path("odd.yaml"), text=printed.encode()).fingerprint == mixture.fingerprint


def test_a_mixture_that_is_too_long_is_not_called_something_else(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture_texts, "_MOST_DECLARED", 10)
    page = render(content_of(finished))
    assert "too long to print" in page
    assert "no mixture file" not in page
    assert "ettin-data build" not in page


def test_a_mixture_is_printed_with_what_lets_its_build_end(
    tmp_path: Path, build_here: Build
) -> None:
    documents = [*builds.documents("some", 40, 200), *({"id": f"bad-{i}"} for i in range(30))]
    (tmp_path / "some.jsonl").write_bytes(builds.json_lines(documents))
    text = (
        "name: cut\nchunk: {size: 64}\nsources: {some: {from: {path: some.jsonl}}}\n"
        "order: {seed: 1, global_batch_size: 4, max_seq_len: 32, allow_cut: true, view: decoder}\n"
        "on_error: skip\nmax_bad: 0.9\n"
    )
    out = build_here(builds.write_mixture(tmp_path, text), tmp_path / "out")
    content = content_of(out)
    assert content["mixture"]["is_mixture"]
    printed = builds.write_mixture(tmp_path, content["mixture"]["text"], "printed.yaml")
    assert render(content_of(build_here(printed, tmp_path / "again"))) == render(content)


def test_a_replay_is_reported_with_the_command_that_repeats_it(
    finished: Path, tmp_path: Path
) -> None:
    given = ("--set", "order.seed=3", "--set", "order.global_batch_size=8")
    builds.run_well("order", finished / "train", "--out", tmp_path / "one", *given)
    content = content_of(tmp_path / "one")
    assert content["budget"] is None
    assert content["notes"] == ["its manifest has no sources, so its budgets are not known"]
    assert len(content["colours"]) == len(content["rows"]["listed"]) == 5
    page = render(content)
    assert "Documents dropped" not in page
    shown = html.unescape(page)
    (command,) = re.findall(r"ettin-data order POOL --out out ([^<]*)<", shown)
    settings = shlex.split(command.replace("\\\n", " "))
    builds.run_well("order", finished / "train", "--out", tmp_path / "two", *settings)
    assert render(content_of(tmp_path / "two")) == page


def test_samples_are_rows_of_the_order(finished: Path) -> None:
    shown = Shown.open(finished)
    samples = report_content(shown, quiet)["samples"]
    assert [one["row"] for one in samples] == sorted({one["row"] for one in samples})
    assert len(samples) == 8
    for one in samples:
        ids = shown.need_order().rows.take(np.array([one["row"]]))[0]
        # A chunk may begin or end within a character, whose bytes are spelled.
        text = re.sub(r"(\\x[0-9a-f]{2})+", "\ufffd", "".join(part for _, part in one["parts"]))
        assert shown.token_text.plain(ids).startswith(text)
        assert one["num_tokens"] == len(ids)


def test_what_is_not_finished_has_no_report(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "manifest.json").unlink()
    (out / ".ettin").mkdir(exist_ok=True)
    with pytest.raises(NotFoundError, match="is not finished") as raised:
        content_of(out)
    assert raised.value.hint == "run the same build again to finish it"


@pytest.mark.parametrize(
    "pattern", ["order/*/steps_*.parquet", "provenance/*/steps_*.parquet", "provenance/documents/*"]
)
def test_damage_that_is_found_when_it_is_read_is_said(
    finished: Path, tmp_path: Path, pattern: str
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    for path in out.glob(pattern):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    content = content_of(out)
    # Where a file cannot be opened, what needs it is a problem of the output as well.
    assert not any("parquet" in one for one in content["notes"])
    assert pattern.partition("*")[0] in content["problems"][0]
    page = render(content)
    assert "This output is damaged" in page
    assert str(tmp_path) not in page


def test_damage_is_said_and_the_rest_is_reported(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    part = next((out / "provenance").glob("*/steps_*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    content = content_of(out)
    assert content["rows"] is None
    assert content["budget"]["listed"]
    assert any(part.name in one for one in content["problems"])
    page = render(content)
    assert "This output is damaged" in page
    assert part.name in page


def test_rows_without_a_build_are_reported_as_far_as_they_are_known(finished: Path) -> None:
    for where, has_steps in ((finished / "order", True), (finished / "train", False)):
        content = content_of(where)
        assert bool(content["about"]["num_steps"]) == has_steps
        assert content["rows"] is content["budget"] is content["mixture"] is None
        assert len(content["samples"]) == 8
        assert "they are read as those of modernbert." in " ".join(render(content).split())
        notes = " ".join(content["notes"])
        assert "no provenance is read here" in notes
        assert "has no manifest of a build" in notes
        assert len(set(content["notes"])) == len(content["notes"])
        assert str(where) not in render(content)


def test_an_order_without_a_full_step_has_a_report(small: Path, build_here: Build) -> None:
    out = build_here(small, small.parent / "none", "order.global_batch_size=100000")
    content = content_of(out)
    assert content["rows"] is None
    assert content["samples"] == content["problems"] == []
    assert content["notes"] == ["it has no full step, and so no rows"]
    page = " ".join(render(content).split())
    assert "at the end that fill no step" in page
    assert "How to reproduce" in page


def test_an_order_of_one_row_has_a_report(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [("a", "b")])
    rows = content_of(tmp_path / "out")["rows"]
    assert [one["share"] for one in rows["listed"]] == [1.0]
    assert re.fullmatch(r"M0\.0,[\d.]+H900\.0L900\.0,220\.0H0\.0Z",
                        rows["charts"][0]["layers"][0]["path"])  # fmt: skip
