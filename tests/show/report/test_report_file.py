"""The file of a report: nothing in it is obeyed, asked for or overwritten."""

import os
import re
import shutil
from base64 import b64encode
from collections.abc import Iterable
from copy import deepcopy
from hashlib import sha256
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.traced import write_output

from pipeline.core.errors import OutputError
from pipeline.show import Shown
from pipeline.show.report import check_report_path, render, report_content
from pipeline.show.report.pictures import ticks
from pipeline.show.report.unseen import UNSEEN

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=y>\u202etxt\u202c\x1b[31m\x00\u2028\ud800"
)


class Tags(HTMLParser):
    """The names and attributes of all elements, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def content(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return report_content(Shown.open(finished), lambda *_: None)


def hostile(value: Any, kept: Iterable[str] = ("class", "path", "name")) -> Any:
    """Return content of which every text is hostile but those of the pictures."""
    if isinstance(value, dict):
        is_picture = "layers" in value or "class" in value
        return {
            name: one if (is_picture and name in kept) or name == "used" else hostile(one, kept)
            for name, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [hostile(one, kept) for one in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_hostile_text_is_shown_and_is_never_markup(content: dict[str, Any]) -> None:
    names = {tag for tag, _ in Tags(render(content)).found}
    changed = hostile({key: one for key, one in content.items() if key != "colours"})
    changed["problems"] = changed["notes"] = [HOSTILE]
    changed["about"]["assumptions"] = [{"says": HOSTILE, "confidence": 0.5, "because": [HOSTILE]}]
    page = render({**changed, "colours": {}})
    tags = Tags(page)
    assert {tag for tag, _ in tags.found} <= names | {"span", "ul", "li", "div"}
    assert not {"script", "img", "a", "link", "iframe", "object"} & {tag for tag, _ in tags.found}
    assert not [name for _, attrs in tags.found for name in attrs if name.startswith("on")]
    assert not UNSEEN.search(page)
    assert "".join(tags.texts).count("<script>alert(1)</script>") > 50
    page.encode()


def test_nothing_is_loaded_and_the_style_is_the_one_that_is_allowed(
    content: dict[str, Any],
) -> None:
    page = render(content)
    assert not re.search(r"https?://|\burl\(|@import|\bsrc=|\bhref=|\bstyle=", page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page.replace("&#39;", "'")


def test_ten_thousand_sources_are_under_three_megabytes(tmp_path: Path) -> None:
    rows = [(f"source-{number:05}-{'x' * 40}", "d") for number in range(10_000)]
    write_output(tmp_path / "out", rows, steps=[100] * 100)
    page = render(report_content(Shown.open(tmp_path / "out"), lambda *_: None))
    assert "9,500 other sources" in page
    assert len(page.encode()) < 3_000_000


def test_many_checkpoints_and_long_ids_are_cut(content: dict[str, Any]) -> None:
    path = ticks([number / 99_999 for number in range(100_000)])
    assert re.findall(r"M(\d+),0v-6", path) == [str(place) for place in range(901)]
    assert ticks([0.25, 1.0]) == "M225,0v-6M900,0v-6"
    changed = deepcopy(content)
    changed["samples"][0]["document"] = changed["budget"]["listed"][0]["category"] = "x" * 10**7
    page = render(changed)
    assert len(page) < 10**6
    assert page.count("x" * 300 + "…") == 2


def test_the_marked_characters_are_those_that_the_page_of_show_marks() -> None:
    source = resources.files("pipeline.show").joinpath("page/dom.js").read_text()
    (parts,) = re.findall(r"UNSEEN = new RegExp\((.*?)\"gu\"", source, re.DOTALL)
    pattern = "".join(re.findall(r'"(.*?)"', parts))
    pattern = pattern.replace("\\\\", "\\")
    pattern = re.sub(r"\\u\{(\w+)\}", lambda match: f"\\U{match[1]:0>8}", pattern)
    characters = [chr(code) for code in range(0x110000)]
    marked = [one for one in characters if re.fullmatch(pattern, one)]
    assert marked == [one for one in characters if UNSEEN.fullmatch(one)]


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ({}, "are those drawn."),
        ({"dropped": 7}, "are those drawn, less 7 of 1 row at the end that fill no step."),
        ({"cut": 9}, "are those drawn, less 9 that were cut from rows that were too long."),
        (
            {"dropped": 7, "cut": 9, "view_added": 5},
            "are those drawn, and 5 that were added to begin and end rows, less 7 of 1 row at the"
            " end that fill no step and 9 that were cut from rows that were too long.",
        ),
        ({"beyond": 3}, "A trainer does not see 3 of them, which lie beyond what it takes"),
    ],
)
def test_what_is_not_in_the_steps_is_said(
    content: dict[str, Any], totals: dict[str, int], expected: str
) -> None:
    changed = deepcopy(content)
    nothing = dict.fromkeys(("dropped", "cut", "view_added", "beyond"), 0)
    changed["budget"]["totals"] |= nothing | totals
    changed["budget"]["steps"]["dropped_rows"] = 1
    assert expected in " ".join(render(changed).split())


def test_nothing_is_written_into_an_output_or_a_pipe(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished)
    for path in (finished / "report.html", tmp_path / "link" / "new" / "report.html"):
        with pytest.raises(OutputError, match=r"report.html: lies in .*, expected a file beside"):
            check_report_path(path, finished)
    check_report_path(tmp_path / "report.html", finished)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OutputError, match="got a device or a pipe"):
            check_report_path(path)


def test_only_a_report_is_replaced(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    check_report_path(path)
    path.write_text(render(content))
    check_report_path(path)
    path.write_text("<!doctype html><p>mine</p>")
    with pytest.raises(OutputError, match="got a file that is not a report"):
        check_report_path(path)
    with pytest.raises(OutputError, match="got a folder"):
        check_report_path(tmp_path)
    with pytest.raises(OutputError, match="Not a directory"):
        check_report_path(path / "inside")


def test_the_command_writes_a_report_and_says_what_is_not_in_it(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    done = builds.run("report", finished, "--out", out, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout == f"{out}: {out.stat().st_size:,} bytes\n"
    before = out.read_bytes()
    assert (
        builds.run("report", finished, "--out", out, XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    )
    assert out.read_bytes() == before
    rows = next((shutil.copytree(finished, tmp_path / "out") / "provenance").glob("*/steps_*"))
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    done = builds.run("report", tmp_path / "out", "--out", out, XDG_CACHE_HOME=str(tmp_path / "c"))
    assert done.returncode == 1
    assert f"damaged: {rows.relative_to(tmp_path / 'out')}: " in done.stderr
    done = builds.run("report", finished / "order", "--out", out)
    assert done.returncode == 0
    assert "not in the report: has no manifest of a build" in done.stderr
