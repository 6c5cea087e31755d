"""Searches: exactly the places of `trace --find`, so far or all, and how often over training."""

import json
import os
import shlex
import shutil
import time
from importlib import import_module
from pathlib import Path

import pytest
from support.builds import run, run_well

from pipeline import dataset
from pipeline.audit.search import build_index, default_folder
from pipeline.core.errors import ConfigError, MismatchError, NotFoundError
from pipeline.show import Shown, answer, search_view

RARE = "copper lantern"
"""A text at fewer places than are listed."""


def whole(shown: Shown, text: str, first: int = 50) -> dict:
    """Ask until the scan is done, as a page does."""
    shown.is_served = True
    found = search_view(shown, text=text, first=first)
    stop = time.monotonic() + 300
    while found["done"] < 1:
        assert time.monotonic() < stop
        found = search_view(shown, text=text, first=first, job=found["job"])
    return found


@pytest.mark.parametrize("text", ["tide", "harbour", " the", "don't", "東京"])
def test_places_are_those_of_trace(shown: Shown, finished: Path, text: str) -> None:
    traced = json.loads(run_well("trace", finished, "--find", text, "--json"))
    assert traced
    answer = whole(shown, text)
    assert (answer["count"], answer["is_exact"]) == (len(traced), True)
    keys = ("row", "step", "offset", "source", "document")
    places = [tuple(one[key] for key in keys) for one in answer["rows"]]
    assert places == [tuple(one[key] for key in keys) for one in traced][:50]
    for one in answer["rows"]:
        assert one["match"] in (text, text.strip())
        assert one["offset"] < one["stop"]
    assert sum(one["count"] for one in answer["over_time"]) == len(traced)
    for one in answer["over_time"]:
        within = [row for row in traced if one["first_step"] <= row["step"] <= one["last_step"]]
        assert one["count"] == len(within)
    assert shown.manifest is not None
    tokens = sum(one["num_tokens"] for one in answer["over_time"])
    assert tokens == shown.manifest.order.num_tokens


@pytest.fixture(scope="module")
def index(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the small build; not to be changed."""
    folder = tmp_path_factory.mktemp("indexed") / "index"
    build_index(dataset.open(finished), folder, section_tokens=3000, report=lambda *_: None)
    return folder


@pytest.fixture
def indexed(
    finished: Path, index: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shown:
    """A copy of the small build, with an index beside it."""
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    shutil.copytree(index, default_folder(out))
    monkeypatch.chdir(small.parent)
    return Shown.open(out)


@pytest.mark.parametrize("text", ["tide", " the", "東京", "the tide went out", "nobody wrote this"])
def test_an_index_answers_as_a_scan_does(shown: Shown, indexed: Shown, text: str) -> None:
    assert answer(indexed, "about", "")["has_search_index"]
    for first in (3, 50):
        scanned, found = whole(shown, text, first), search_view(indexed, text=text, first=first)
        keys = ("text", "count", "is_exact", "done", "rows", "over_time")
        assert [found[key] for key in keys] == [scanned[key] for key in keys]
        assert found["method"] == "index"


def test_an_index_of_rows_without_provenance_is_not_promised(
    finished: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished / "order", tmp_path / "order"))
    order = dataset.open(out)
    build_index(order, default_folder(out), section_tokens=3000, report=lambda *_: None)
    shown = Shown.open(out)
    assert not answer(shown, "about", "")["has_search_index"]
    with pytest.raises(NotFoundError, match="no provenance is read here"):
        search_view(shown, text="tide")
    assert "beside the output of a build" in " ".join(run_well("search-index", "--help").split())


def test_who_asks_once_gets_the_whole_answer(shown: Shown) -> None:
    once = answer(shown, "search", "text=tide")
    assert (once["done"], once["is_exact"], once["rows"]) == (
        1.0,
        True,
        whole(shown, "tide")["rows"],
    )


def test_an_index_that_is_made_meanwhile_is_used(shown: Shown, indexed: Shown) -> None:
    folder = default_folder(indexed.where)
    away = folder.rename(folder.with_name("away"))
    assert whole(indexed, "tide")["method"] == "scan"
    away.rename(folder)
    assert whole(indexed, "tide")["method"] == "index"


@pytest.mark.parametrize(("view", "query"), [("search", "text=tide"), ("compare", "with=sample")])
def test_another_output_in_the_folder_is_not_taken_for_what_was_opened(
    indexed: Shown, sliced: Path, view: str, query: str
) -> None:
    shutil.rmtree(default_folder(indexed.where))
    answer(indexed, view, query)
    shutil.rmtree(indexed.where)
    shutil.copytree(sliced, indexed.where)
    with pytest.raises(MismatchError, match="is another output than was opened"):
        answer(indexed, view, query)


def test_the_command_of_a_text_that_begins_with_a_hyphen_runs(indexed: Shown) -> None:
    found = search_view(indexed, text="-nobody")
    done = run(*shlex.split(found["command"])[1:])
    # Exit code 2 would be misuse.
    assert (done.returncode, found["count"]) == (1, 0)
    assert "the text is in none of the" in done.stderr


def test_an_index_that_is_damaged_is_said_by_a_search(indexed: Shown, tmp_path: Path) -> None:
    path = next((tmp_path / "out.search-index").rglob("places*"))
    path.write_bytes(path.read_bytes()[:-1])
    assert answer(indexed, "about", "")["has_search_index"]
    with pytest.raises(MismatchError, match=f"{path}: is damaged"):
        search_view(indexed, text="tide")


@pytest.mark.parametrize("method", ["index", "scan"])
@pytest.mark.parametrize("way", ["missing", "cut", "changed"])
def test_what_can_be_read_is_found_and_what_cannot_is_a_problem(
    indexed: Shown, method: str, way: str
) -> None:
    assert indexed.folder is not None
    whole_answer = search_view(indexed, text=RARE, first=100)
    if method == "scan":
        shutil.rmtree(default_folder(indexed.where))
    (*_, path) = sorted(indexed.folder.glob("order/*/*.parquet"))
    data = path.read_bytes()
    path.unlink()
    if way != "missing":
        path.write_bytes(data[:-9] if way == "cut" else data[:99] + b"x" * 999 + data[1098:])
    shown = Shown.open(indexed.folder)
    found = whole(shown, RARE, 100)
    assert found["method"] == method
    assert found["problems"]
    assert any(str(path) in one for one in found["problems"])
    assert found["is_exact"] == (method == "index")
    if method == "index":
        assert found["count"] == whole_answer["count"]
        assert found["over_time"] == whole_answer["over_time"]
    readable = [one for one in found["rows"] if one["match"] is not None]
    assert 0 < len(readable) < len(whole_answer["rows"])
    assert all(one in whole_answer["rows"] for one in readable)
    places = [(one["row"], one["step"], one["document"]) for one in found["rows"]]
    expected = [(one["row"], one["step"], one["document"]) for one in whole_answer["rows"]]
    assert places == (expected if method == "index" else expected[: len(places)])


@pytest.mark.parametrize("method", ["index", "scan"])
def test_places_are_found_without_a_file_of_provenance(indexed: Shown, method: str) -> None:
    assert indexed.folder is not None
    if method == "scan":
        shutil.rmtree(default_folder(indexed.where))
    (path, *_) = sorted(indexed.folder.glob("provenance/checkpoint*/*.parquet"))
    path.write_bytes(b"PAR1")
    found = whole(indexed, RARE, 100)
    assert (found["method"], found["is_exact"]) == (method, True)
    assert found["count"] == len(found["rows"])
    assert any(path.name in one for one in found["problems"])
    lost = [one for one in found["rows"] if one["document"] is None]
    assert lost
    assert all(one["match"] == RARE and one["step"] for one in lost)


def test_an_index_that_changes_while_it_is_open_is_looked_at_again(indexed: Shown) -> None:
    whole_answer = search_view(indexed, text=RARE)
    folder = default_folder(indexed.where)
    path = sorted(folder.rglob("places.npy"))[1]
    # In place, and less than a page, of which no read fails.
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(MismatchError, match=f"{path}: is damaged"):
        search_view(indexed, text=RARE)
    order = dataset.open(indexed.where)
    build_index(order, folder, section_tokens=3000, report=lambda *_: None)
    keys = ("count", "rows", "method")
    assert [search_view(indexed, text=RARE)[key] for key in keys] == [
        whole_answer[key] for key in keys
    ]
    shutil.rmtree(folder)
    assert whole(indexed, RARE)["method"] == "scan"


def test_few_places_are_listed_and_all_are_counted(shown: Shown) -> None:
    every, few = whole(shown, "tide", 1000), whole(shown, "tide", 2)
    assert few["rows"] == every["rows"][:2]
    assert few["count"] == every["count"] > len(every["rows"]) == 1000


def test_a_text_that_is_nowhere_is_no_error(shown: Shown) -> None:
    answer = whole(shown, "nobody wrote this sentence")
    assert (answer["count"], answer["rows"], answer["done"]) == (0, [], 1.0)


def test_a_scan_that_is_over_or_of_another_text_is_refused(shown: Shown) -> None:
    answer = whole(shown, "tide")
    with pytest.raises(NotFoundError, match="has ended, or is of another search"):
        search_view(shown, text="other", job=answer["job"])
    with pytest.raises(NotFoundError, match="has ended, or is of another search"):
        search_view(shown, text="tide", job="nobody")


def test_the_oldest_of_many_scans_ends(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("pipeline.show.search_view"), "_MOST_JOBS", 2)
    jobs = [search_view(shown, text=f"nobody wrote {number}")["job"] for number in range(4)]
    assert [*shown.jobs] == jobs[2:]


def test_texts_without_tokens_or_too_long_are_refused(shown: Shown) -> None:
    with pytest.raises(ConfigError, match="got an empty text"):
        search_view(shown, text="")
    with pytest.raises(ConfigError, match=r"got 10,001 .*, expected at most 10,000\nhint: search"):
        search_view(shown, text="a" * 10_001)
